"""A nautical mile is 1852 metres, and a knot one of them per hour."""

import pytest

from pocket.lengths import convert, knots_to_kmh


@pytest.mark.parametrize(("miles", "metres"), [(1, 1852), (10, 18520), (2.5, 4630)], ids=["one", "ten", "half"])
def test_nautical_miles_in_metres(miles, metres):
    assert convert(miles, "nmi", "m") == pytest.approx(metres)


@pytest.mark.parametrize(("metres", "miles"), [(1852, 1), (46300, 25), (4630, 2.5)], ids=["one", "more", "half"])
def test_metres_in_nautical_miles(metres, miles):
    assert convert(metres, "m", "nmi") == pytest.approx(miles)


def test_nautical_miles_in_kilometres():
    assert convert(60, "nmi", "km") == pytest.approx(111.12)


@pytest.mark.parametrize(("knots", "kmh"), [(1, 1.852), (20, 37.04)], ids=["one", "ferry"])
def test_knots(knots, kmh):
    assert knots_to_kmh(knots) == pytest.approx(kmh)


def test_miles_on_land_are_shorter():
    assert convert(1, "mi", "m") == pytest.approx(1609.344)
    assert convert(1000, "yd", "m") == pytest.approx(914.4)
