"""A distance depends on both points, wherever they are."""

import pytest

from pocket.points import distance, route_length


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((1, 2), (4, 6), 5),
        ((4, 6), (1, 2), 5),
        ((-1, -2), (-4, -6), 5),
        ((0, 5), (0, 8), 3),
        ((0, -5), (0, 5), 10),
        ((2, 7), (9, 7), 7),
        ((10, -3), (4, 5), 10),
    ],
    ids=["issue", "back", "negative", "up", "across", "level", "slanted"],
)
def test_distance(a, b, expected):
    assert distance(a, b) == pytest.approx(expected)


@pytest.mark.parametrize("point", [(1, 2), (-3, 8)], ids=["first", "second"])
def test_a_point_is_where_it_is(point):
    x, y = point
    ahead = [(x + 24, y), (x, y), (x, y + 15)]
    assert [distance(point, other) for other in ahead] == [24, 0, 15]


def test_routes():
    assert route_length([(1, 1), (1, 4), (5, 4), (5, 1)]) == pytest.approx(10)


def test_distances_along_the_axis_are_as_before():
    assert distance((-2, 0), (9, 0)) == 11
