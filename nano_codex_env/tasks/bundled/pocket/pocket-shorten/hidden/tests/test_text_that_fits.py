"""Text that is as long as the width fits, and is left as it is."""

import pytest

from pocket.text import shorten


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("9am", 3, "9am"), ("May 17", 6, "May 17"), ("25 August", 9, "25 August"), ("room 1204", 9, "room 1204")],
    ids=["three", "six", "nine", "words"],
)
def test_text_as_long_as_the_width(text, width, expected):
    assert shorten(text, width) == expected


def test_text_as_long_as_the_width_with_another_mark():
    assert shorten("May 31", 6, mark="~") == "May 31"
    assert shorten("8", 1, mark="~") == "8"


def test_every_length():
    for length in range(3, 30):
        text = "x" * length
        assert shorten(text, length) == text
        assert shorten(text + "x", length) == text[3:] + "..."
    found = [shorten("1 May 2024", length) for length in (11, 10, 9, 8, 4)]
    assert found == ["1 May 2024", "1 May 2024", "1 May ...", "1 May...", "1..."]


def test_one_letter_more_is_cut():
    assert shorten("Mondays", 6) == "Mon..."
    assert shorten("Fridays", 6, mark="~") == "Frida~"


def test_one_letter_less_is_left_alone():
    assert shorten("Sunda", 6) == "Sunda"
