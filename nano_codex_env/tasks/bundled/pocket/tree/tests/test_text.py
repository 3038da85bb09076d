import pytest

from pocket.text import shorten, squeeze


def test_short_text_is_left_alone():
    assert shorten("Mon", 10) == "Mon"
    assert shorten("", 3) == ""


def test_long_text_loses_its_end():
    assert shorten("Wednesday", 6) == "Wed..."
    assert len(shorten("a" * 100, 40)) == 40


def test_another_mark():
    assert shorten("Wednesday", 6, mark="~") == "Wedne~"
    assert shorten("Wednesday", 6, mark="") == "Wednes"


def test_a_mark_needs_room():
    with pytest.raises(ValueError, match="no room"):
        shorten("Wednesday", 2)


def test_squeeze():
    assert squeeze("  two \n\t words ") == "two words"
    assert squeeze(" ") == ""
