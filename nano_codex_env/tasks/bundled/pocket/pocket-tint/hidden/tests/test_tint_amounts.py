"""A tint goes from the colour to white, as a shade goes to black."""

import pytest

from pocket.colours import BLACK, WHITE, mix, shade, tint

RED = (255, 0, 0)
OLIVE = (100, 120, 40)


@pytest.mark.parametrize(
    ("colour", "expected"),
    [(RED, (255, 0, 0)), (OLIVE, (100, 120, 40)), (BLACK, (0, 0, 0))],
    ids=["red", "olive", "black"],
)
def test_no_tint_leaves_the_colour(colour, expected):
    assert tint(colour, 0) == expected


@pytest.mark.parametrize("colour", [RED, OLIVE, BLACK], ids=["red", "olive", "black"])
def test_a_full_tint_is_white(colour):
    assert tint(colour, 1) == (255, 255, 255)


def test_a_little_tint():
    assert tint(RED, 0.2) == (255, 51, 51)
    assert tint(BLACK, 0.2) == mix(BLACK, WHITE, 0.2) == (51, 51, 51)


def test_a_lot_of_tint():
    assert tint(RED, 0.8) == (255, 204, 204)
    assert tint((55, 155, 5), 0.9) == (235, 245, 230)


def test_shade_and_mix_are_as_before():
    assert shade(RED, 0.2) == (204, 0, 0)
    assert mix(WHITE, BLACK, 0.2) == (204, 204, 204)
