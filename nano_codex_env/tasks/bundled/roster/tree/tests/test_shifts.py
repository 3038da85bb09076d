"""Shifts and the weeks they belong to."""

from datetime import UTC, date, datetime, timedelta

import pytest

from roster import Interval, Kind, Shift, ShiftError, Week

MONDAY = date(2024, 5, 6)


def test_a_shift_by_the_clocks_of_its_site(hamburg):
    shift = Shift.on("Ana", hamburg, MONDAY, "06:00", "14:00", pause=30)
    assert shift.start.isoformat() == "2024-05-06T06:00:00+02:00"
    assert shift.end.isoformat() == "2024-05-06T14:00:00+02:00"
    assert shift.worked == timedelta(hours=7, minutes=30)


@pytest.mark.parametrize(
    ("begins", "ends", "day", "length"),
    [("22:00", "06:00", 7, 8), ("08:00", "08:00", 7, 24), ("00:00", "08:00", 6, 8)],
    ids=["night", "round-the-clock", "early"],
)
def test_a_shift_may_end_on_the_next_day(hamburg, begins, ends, day, length):
    shift = Shift.on("Ana", hamburg, MONDAY, begins, ends)
    assert shift.end.day == day
    assert shift.span.length == timedelta(hours=length)


def test_a_shift_is_kept_in_the_zone_of_its_site(pune):
    span = Interval(datetime(2024, 5, 6, 2, tzinfo=UTC), datetime(2024, 5, 6, 8, tzinfo=UTC))
    assert Shift("Ana", pune, span).start.isoformat() == "2024-05-06T07:30:00+05:30"


def test_a_shift_belongs_to_the_day_on_which_it_begins(hamburg):
    night = Shift.on("Ana", hamburg, date(2024, 5, 5), "22:00", "06:00")
    assert night.day == date(2024, 5, 5)
    assert night.week == Week(2024, 18)


def test_standby_is_not_work(hamburg):
    shift = Shift.on("Ana", hamburg, MONDAY, "22:00", "06:00", kind=Kind.STANDBY)
    assert shift.worked == timedelta(0)


@pytest.mark.parametrize("pause", [-1, 480, 600], ids=["negative", "all", "more"])
def test_a_pause_fits_into_its_shift(hamburg, pause):
    with pytest.raises(ShiftError, match="pause"):
        Shift.on("Ana", hamburg, MONDAY, "06:00", "14:00", pause=pause)


@pytest.mark.parametrize(
    "text",
    ["6:00", "24:00", "06:60", "0600", "06:00 "],
    ids=["one-digit", "midnight", "minutes", "no-colon", "space"],
)
def test_what_is_not_a_time_of_day(hamburg, text):
    with pytest.raises(ShiftError, match="not a time of day"):
        Shift.on("Ana", hamburg, MONDAY, text, "14:00")


def test_a_shift_needs_a_person(hamburg):
    with pytest.raises(ShiftError, match="a person"):
        Shift.on(" ", hamburg, MONDAY, "06:00", "14:00")


@pytest.mark.parametrize(
    ("day", "week"),
    [(date(2024, 12, 29), "2024-W52"), (date(2024, 12, 30), "2025-W01"),
     (date(2027, 1, 3), "2026-W53"), (date(2027, 1, 4), "2027-W01")],
    ids=["sunday", "monday", "long-year", "next"],
)  # fmt: skip
def test_weeks_around_new_year(day, week):
    assert str(Week.of(day)) == week


def test_the_days_of_a_week():
    week = Week(2024, 52)
    assert week.monday == date(2024, 12, 23)
    assert week.following == Week(2025, 1)
