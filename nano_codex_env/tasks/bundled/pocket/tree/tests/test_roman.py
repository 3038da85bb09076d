import pytest

from pocket.roman import from_roman, to_roman


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "I"), (4, "IV"), (9, "IX"), (14, "XIV"), (40, "XL"), (1994, "MCMXCIV"), (3999, "MMMCMXCIX")],
)
def test_there_and_back(number, text):
    assert to_roman(number) == text
    assert from_roman(text) == number


@pytest.mark.parametrize("number", [-1, 0, 4000])
def test_numbers_that_are_refused(number):
    with pytest.raises(ValueError, match="no Roman numeral"):
        to_roman(number)


@pytest.mark.parametrize("text", ["", "IIII", "VX", "MMMM", "x", "XQ"], ids=["empty", "four", "minus", "large", "small", "letter"])
def test_texts_that_are_refused(text):
    with pytest.raises(ValueError, match="not a Roman numeral"):
        from_roman(text)
