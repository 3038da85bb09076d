"""Text for narrow places: table cells, tabs, log lines."""


def shorten(text: str, width: int, mark: str = "...") -> str:
    """Cut `text` so that it is at most `width` long.

    Text that fits is left as it is. Longer text loses its end,
    and `mark` takes the place of what was cut.
    """
    if len(mark) > width:
        raise ValueError("no room for the mark")
    if len(text) <= width:
        return text
    return text[: width - len(mark)] + mark


def squeeze(text: str) -> str:
    """One space for each run of white space, none at the ends."""
    return " ".join(text.split())
