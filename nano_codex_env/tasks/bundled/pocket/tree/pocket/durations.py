"""Durations as clocks show them."""


def clock(seconds: int) -> str:
    """`0:05`, `12:30`, or `1:02:03` from one hour on."""
    if seconds < 0:
        raise ValueError("a duration is not negative")
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}"


def from_clock(text: str) -> int:
    """The seconds of `12:30` or `1:02:03`."""
    seconds = 0
    for part in text.split(":"):
        seconds = seconds * 60 + int(part)
    return seconds
