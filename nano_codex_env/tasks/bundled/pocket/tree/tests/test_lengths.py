import pytest

from pocket.lengths import convert, knots_to_kmh


@pytest.mark.parametrize(
    ("value", "unit", "metres"),
    [(1, "m", 1), (1.5, "km", 1500), (1, "in", 0.0254), (6, "ft", 1.8288), (100, "yd", 91.44), (2, "mi", 3218.688)],
    ids=["metre", "kilometre", "inch", "foot", "yard", "mile"],
)
def test_to_metres_and_back(value, unit, metres):
    assert convert(value, unit, "m") == pytest.approx(metres)
    assert convert(metres, "m", unit) == pytest.approx(value)


def test_between_two_units():
    assert convert(3, "ft", "in") == pytest.approx(36)
    assert convert(5, "nmi", "nmi") == pytest.approx(5)


def test_a_ship_that_lies_still():
    assert knots_to_kmh(0) == 0


def test_an_unknown_unit():
    with pytest.raises(KeyError):
        convert(1, "league", "m")
