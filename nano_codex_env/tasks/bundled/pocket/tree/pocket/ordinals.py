"""Numbers that say a place in a row."""

ENDINGS = {1: "st", 2: "nd", 3: "rd"}


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `3rd`, `4th`; but `11th`, `12th`, `13th`."""
    if number < 0:
        raise ValueError("a place is not negative")
    if 11 <= number % 100 <= 13:
        return f"{number}th"
    return f"{number}{ENDINGS.get(number % 10, 'th')}"
