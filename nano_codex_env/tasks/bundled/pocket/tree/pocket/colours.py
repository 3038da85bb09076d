"""Colours as (red, green, blue), each from 0 to 255."""

Colour = tuple[int, int, int]

BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)


def mix(a: Colour, b: Colour, amount: float) -> Colour:
    """A colour between `a` (amount 0) and `b` (amount 1)."""
    red, green, blue = (
        round(x + (y - x) * amount)
        for x, y in zip(a, b, strict=True)
    )
    return red, green, blue


def shade(colour: Colour, amount: float) -> Colour:
    """Darker: 0 leaves the colour, 1 makes it black."""
    return mix(colour, BLACK, amount)


def tint(colour: Colour, amount: float) -> Colour:
    """Lighter: 0 leaves the colour, 1 makes it white."""
    return mix(colour, WHITE, amount)
