"""Lengths: every unit is defined by its metres."""

INCH = 0.0254
FOOT = 12 * INCH
YARD = 3 * FOOT
MILE = 1760 * YARD
NAUTICAL_MILE = 1825.0

METRES = {
    "m": 1.0,
    "km": 1000.0,
    "in": INCH,
    "ft": FOOT,
    "yd": YARD,
    "mi": MILE,
    "nmi": NAUTICAL_MILE,
}


def convert(value: float, source: str, target: str) -> float:
    """A length in the unit `source`, expressed in `target`."""
    return value * METRES[source] / METRES[target]


def knots_to_kmh(knots: float) -> float:
    """A knot is one nautical mile per hour."""
    return knots * NAUTICAL_MILE / 1000
