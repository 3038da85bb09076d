"""Zones by rule: offsets, and the clocks when they are changed."""

import copy
import pickle
from datetime import UTC, date, datetime, time, timedelta

import pytest

from roster import ClockChange, Zone, ZoneError, instant

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("rule", "year", "day"),
    [
        ("last Sunday of March 02:00", 2024, "2024-03-31T02:00:00"),
        ("last Sunday of October 03:00", 2024, "2024-10-27T03:00:00"),
        ("first Sunday of April 03:00", 2024, "2024-04-07T03:00:00"),
        ("second Sunday of March 02:00", 2026, "2026-03-08T02:00:00"),
        ("last Thursday of February 00:30", 2024, "2024-02-29T00:30:00"),
        ("fourth Friday of May 12:00", 2025, "2025-05-23T12:00:00"),
    ],
    ids=["march", "october", "april", "second", "leap", "fourth"],
)
def test_the_days_of_a_rule(rule, year, day):
    assert ClockChange.parse(rule).of(year) == datetime.fromisoformat(day)


@pytest.mark.parametrize(
    "rule",
    ["", "last Sunday of March", "fifth Sunday of March 02:00", "last Sun of March 02:00",
     "last Sunday of Marzo 02:00", "last Sunday of March 24:00"],
    ids=["empty", "no-time", "fifth", "short", "month", "midnight"],
)  # fmt: skip
def test_rules_that_are_refused(rule):
    with pytest.raises(ZoneError, match="not a rule"):
        ClockChange.parse(rule)


@pytest.mark.parametrize(
    "offset",
    ["1", "+1:00", "+15:00", "01:00", "+01:60"],
    ids=["number", "one-digit", "too-far", "no-sign", "minutes"],
)
def test_offsets_that_are_refused(offset):
    with pytest.raises(ZoneError, match="not an offset"):
        Zone("Nowhere", offset)


def test_summer_time_that_begins_must_end():
    with pytest.raises(ZoneError, match="must end"):
        Zone("Nowhere", "+01:00", "last Sunday of March 02:00")


def test_a_zone_without_summer_time(pune):
    moment = datetime(2024, 7, 1, 12, tzinfo=pune.zone)
    assert moment.isoformat() == "2024-07-01T12:00:00+05:30"
    assert moment.dst() == timedelta(0)


@pytest.mark.parametrize(
    ("day", "offset"),
    [(date(2024, 1, 15), 1), (date(2024, 3, 30), 1), (date(2024, 4, 1), 2),
     (date(2024, 10, 26), 2), (date(2024, 10, 28), 1)],
    ids=["january", "before", "after", "still", "over"],
)  # fmt: skip
def test_summer_time_in_the_north(hamburg, day, offset):
    assert datetime.combine(day, time(12), hamburg.zone).utcoffset() == offset * HOUR


@pytest.mark.parametrize(
    ("day", "offset"),
    [(date(2024, 1, 15), 13), (date(2024, 4, 6), 13), (date(2024, 4, 8), 12),
     (date(2024, 9, 28), 12), (date(2024, 9, 30), 13), (date(2024, 12, 31), 13)],
    ids=["january", "still", "over", "before", "after", "december"],
)  # fmt: skip
def test_summer_time_in_the_south(dunedin, day, offset):
    assert datetime.combine(day, time(12), dunedin.zone).utcoffset() == offset * HOUR


@pytest.mark.parametrize(
    ("utc", "shown"),
    [
        ("2024-03-31T00:59", "2024-03-31T01:59:00+01:00"),
        ("2024-03-31T01:00", "2024-03-31T03:00:00+02:00"),
        ("2024-10-27T00:30", "2024-10-27T02:30:00+02:00"),
        ("2024-10-27T01:30", "2024-10-27T02:30:00+01:00"),
        ("2024-10-27T02:00", "2024-10-27T03:00:00+01:00"),
    ],
    ids=["winter", "summer", "first", "second", "winter-again"],
)
def test_from_utc_and_back(hamburg, utc, shown):
    moment = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    there = moment.astimezone(hamburg.zone)
    assert there.isoformat() == shown
    assert instant(there) == moment


def test_there_and_back_around_every_change(hamburg, dunedin, tacoma):
    for zone in (hamburg.zone, dunedin.zone, tacoma.zone):
        for begin in ((3, 9), (3, 30), (4, 6), (9, 28), (10, 26), (11, 2)):
            moment = datetime(2024, *begin, tzinfo=UTC)
            for _ in range(96):
                assert instant(moment.astimezone(zone)) == moment
                moment += timedelta(minutes=30)


def test_a_time_that_is_there_twice(hamburg):
    first = hamburg.zone.at(date(2024, 10, 27), time(2, 30))
    second = hamburg.zone.at(date(2024, 10, 27), time(2, 30), later=True)
    assert (first.fold, second.fold) == (0, 1)
    assert instant(second) - instant(first) == HOUR


@pytest.mark.parametrize("later", [False, True], ids=["first", "later"])
def test_a_time_that_is_skipped_is_moved_on(hamburg, later):
    moment = hamburg.zone.at(date(2024, 3, 31), time(2, 30), later=later)
    assert moment.isoformat() == "2024-03-31T03:30:00+02:00"


def test_skipped_times_of_datetime_itself_follow_its_rules(hamburg):
    skipped = datetime(2024, 3, 31, 2, 30, tzinfo=hamburg.zone)
    assert skipped.utcoffset() == HOUR
    assert skipped.replace(fold=1).utcoffset() == 2 * HOUR


def test_zones_can_be_copied(hamburg):
    for zone in (copy.deepcopy(hamburg.zone), pickle.loads(pickle.dumps(hamburg.zone))):
        assert repr(zone) == repr(hamburg.zone)
        assert datetime(2024, 7, 1, tzinfo=zone).utcoffset() == 2 * HOUR


def test_names(hamburg, pune):
    assert datetime(2024, 7, 1, tzinfo=hamburg.zone).tzname() == "Central Europe summer"
    assert datetime(2024, 1, 1, tzinfo=hamburg.zone).tzname() == "Central Europe"
    assert repr(pune.zone) == "Zone('India', '+05:30')"


def test_a_time_without_a_zone_is_no_instant():
    with pytest.raises(ZoneError, match="no zone"):
        instant(datetime(2024, 7, 1))
