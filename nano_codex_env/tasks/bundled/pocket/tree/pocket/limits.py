"""Numbers that stay between two others."""


def clamp(value: float, low: float, high: float) -> float:
    """`value`, or the limit that it goes beyond."""
    if low > high:
        raise ValueError("low is above high")
    return max(low, min(value, high))


def wrap(value: float, low: float, high: float) -> float:
    """Go round from `high` to `low`, as the hand of a clock does.

    The result may be `low`, but not `high`.
    """
    if low >= high:
        raise ValueError("there is nothing between low and high")
    return low + (value - low) % (high - low)
