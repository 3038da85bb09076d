"""Roman numerals from 1 to 3999."""

NUMERALS = (
    (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"),
    (100, "C"), (90, "XC"), (50, "L"), (40, "XL"),
    (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
)


def to_roman(number: int) -> str:
    """A number as a Roman numeral in capitals."""
    if not 1 <= number <= 3999:
        raise ValueError(f"no Roman numeral for {number}")
    text = ""
    for value, letters in NUMERALS:
        count, number = divmod(number, value)
        text += letters * count
    return text


def from_roman(text: str) -> int:
    """The number of a Roman numeral; only the usual form is read."""
    number, rest = 0, text
    for value, letters in NUMERALS:
        while rest.startswith(letters):
            number += value
            rest = rest.removeprefix(letters)
    if not 1 <= number <= 3999 or to_roman(number) != text:
        raise ValueError(f"not a Roman numeral: {text}")
    return number
