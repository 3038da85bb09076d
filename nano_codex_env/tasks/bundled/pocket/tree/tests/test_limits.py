import pytest

from pocket.limits import clamp, wrap


def test_clamp():
    assert [clamp(one, 2, 5) for one in (1, 2, 3, 5, 6)] == [2, 2, 3, 5, 5]
    with pytest.raises(ValueError, match="low is above high"):
        clamp(1, 5, 2)


def test_wrap():
    assert [wrap(one, 0, 360) for one in (-90, 0, 359, 360, 725)] == [270, 0, 359, 0, 5]
    assert [wrap(one, 1, 13) for one in (0, 1, 12, 13)] == [12, 1, 12, 1]
    with pytest.raises(ValueError, match="nothing between"):
        wrap(1, 2, 2)
