"""Colours as in style sheets."""


def to_hex(red: int, green: int, blue: int) -> str:
    """Six hexadecimal digits, as in `#ffcc00`."""
    for part in (red, green, blue):
        if not 0 <= part <= 255:
            raise ValueError(f"not from 0 to 255: {part}")
    return f"#{red:02x}{green:02x}{blue:02x}"


def from_hex(code: str) -> tuple[int, int, int]:
    """Red, green and blue of `#ffcc00`, or of `#fc0` for short."""
    digits = code.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    if len(digits) != 6:
        raise ValueError(f"not a colour: {code}")
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue
