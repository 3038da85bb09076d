"""Half-open spans of time."""

from datetime import UTC, datetime, timedelta

import pytest

from roster import Interval, IntervalError


def at(hour, minute=0, tzinfo=UTC):
    return datetime(2024, 5, 6, hour, minute, tzinfo=tzinfo)


def span(first, last):
    return Interval(at(first), at(last))


def test_the_end_does_not_belong_to_it():
    morning = span(6, 14)
    assert at(6) in morning
    assert at(13, 59) in morning
    assert at(14) not in morning
    assert at(5, 59) not in morning


@pytest.mark.parametrize(
    ("other", "common"),
    [
        (span(14, 22), None),
        (span(2, 6), None),
        (span(13, 15), span(13, 14)),
        (span(2, 7), span(6, 7)),
        (span(8, 9), span(8, 9)),
        (span(2, 22), span(6, 14)),
    ],
    ids=["after", "before", "at-the-end", "at-the-start", "inside", "around"],
)
def test_what_two_have_in_common(other, common):
    assert span(6, 14).meet(other) == common
    assert other.meet(span(6, 14)) == common
    assert span(6, 14).overlaps(other) is (common is not None)


def test_length_and_distance():
    assert span(6, 14).length == timedelta(hours=8)
    assert span(6, 8).until(span(9, 10)) == timedelta(hours=1)
    assert span(6, 8).until(span(7, 10)) == timedelta(hours=-1)


def test_two_zones(hamburg, pune):
    here = Interval(at(8, tzinfo=hamburg.zone), at(16, tzinfo=hamburg.zone))
    there = Interval(at(9, 30, pune.zone), at(17, 30, pune.zone))
    common = here.meet(there)
    assert common.length == timedelta(hours=6)
    assert common.within(pune.zone).start.hour == 11
    assert at(12, tzinfo=UTC) in here and at(12, tzinfo=UTC) not in there


@pytest.mark.parametrize(
    ("first", "last"),
    [(at(8), at(8)), (at(9), at(8)), (at(8, tzinfo=None), at(9)), (at(8), at(9, tzinfo=None))],
    ids=["empty", "backwards", "naive-start", "naive-end"],
)
def test_spans_that_are_refused(first, last):
    with pytest.raises(IntervalError):
        Interval(first, last)
