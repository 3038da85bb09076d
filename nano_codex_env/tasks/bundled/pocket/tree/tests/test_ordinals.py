import pytest

from pocket.ordinals import ordinal


@pytest.mark.parametrize("place", ["0th", "1st", "2nd", "3rd", "4th", "10th", "11th", "12th", "13th", "14th", "21st", "102nd", "111th", "113th", "1023rd"])
def test_ordinal(place):
    assert ordinal(int(place[:-2])) == place


def test_no_place_is_negative():
    with pytest.raises(ValueError, match="negative"):
        ordinal(-1)
