import pytest

from pocket.durations import clock, from_clock


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (5, "0:05"), (750, "12:30"), (3599, "59:59"), (3600, "1:00:00"), (3723, "1:02:03"), (90000, "25:00:00")],
    ids=["nothing", "seconds", "minutes", "below-hour", "hour", "all", "days"],
)
def test_there_and_back(seconds, text):
    assert clock(seconds) == text
    assert from_clock(text) == seconds


def test_nothing_is_shorter_than_nothing():
    with pytest.raises(ValueError, match="negative"):
        clock(-1)
