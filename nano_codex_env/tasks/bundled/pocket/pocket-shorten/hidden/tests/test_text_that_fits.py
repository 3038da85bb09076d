"""Text that is as long as the width fits, and is left as it is."""

import pytest

from pocket.text import shorten


@pytest.mark.parametrize("text", ["Mon", "Monday", "Wednesday", "two words"], ids=["three", "six", "nine", "words"])
def test_text_as_long_as_the_width(text):
    assert shorten(text, len(text)) == text


def test_text_as_long_as_the_width_with_another_mark():
    assert shorten("Friday", 6, mark="~") == "Friday"
    assert shorten("a", 1, mark="~") == "a"


def test_every_length():
    for length in range(3, 30):
        text = "x" * length
        assert shorten(text, length) == text
        assert shorten(text + "x", length) == text[3:] + "..."


def test_one_letter_more_is_cut():
    assert shorten("Mondays", 6) == "Mon..."
    assert shorten("Fridays", 6, mark="~") == "Frida~"


def test_one_letter_less_is_left_alone():
    assert shorten("Sunda", 6) == "Sunda"
