import pytest

from pocket.hexcodes import from_hex, to_hex


def test_there_and_back():
    assert to_hex(255, 204, 0) == "#ffcc00"
    assert from_hex("#ffcc00") == (255, 204, 0)
    assert from_hex(to_hex(1, 2, 3)) == (1, 2, 3)


def test_short_and_bare_codes():
    assert from_hex("#fc0") == (255, 204, 0)
    assert from_hex("FFCC00") == (255, 204, 0)


@pytest.mark.parametrize("code", ["", "#ffcc", "#ggcc00"], ids=["empty", "four", "not-hex"])
def test_codes_that_are_refused(code):
    with pytest.raises(ValueError):
        from_hex(code)


def test_parts_that_are_refused():
    with pytest.raises(ValueError, match="256"):
        to_hex(0, 256, 0)
