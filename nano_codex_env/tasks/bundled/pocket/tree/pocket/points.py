"""Points in a plane, as pairs (x, y)."""

from itertools import pairwise
from math import fsum, hypot

Point = tuple[float, float]


def midpoint(a: Point, b: Point) -> Point:
    """The point halfway between `a` and `b`."""
    ax, ay = a
    bx, by = b
    return (ax + bx) / 2, (ay + by) / 2


def distance(a: Point, b: Point) -> float:
    """The length of the straight line from `a` to `b`."""
    ax, ay = a
    bx, by = b
    dx = bx - ax
    dy = by - ay
    return hypot(dx, dy)


def route_length(points: list[Point]) -> float:
    """The length of the way from point to point."""
    return fsum(distance(a, b) for a, b in pairwise(points))
