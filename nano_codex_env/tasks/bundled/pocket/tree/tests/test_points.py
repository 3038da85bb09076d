import pytest

from pocket.points import distance, midpoint, route_length


def test_midpoint():
    assert midpoint((1, 2), (5, 10)) == (3, 6)
    assert midpoint((-4, 0), (4, 0)) == (0, 0)


def test_distance_from_the_origin():
    assert distance((0, 0), (3, 4)) == 5
    assert distance((0, 0), (-5, 12)) == 13


def test_distance_along_the_axis():
    assert distance((2, 0), (9, 0)) == 7
    assert distance((9, 0), (2, 0)) == 7


def test_route_length():
    assert route_length([(3, 4), (0, 0), (6, 8)]) == pytest.approx(15)


def test_a_route_of_one_point_has_no_length():
    assert route_length([(3, 4)]) == 0
    assert route_length([]) == 0
