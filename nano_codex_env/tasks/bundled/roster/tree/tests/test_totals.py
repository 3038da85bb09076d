"""Working time, added up."""

from datetime import date, timedelta

import pytest

from roster import Kind, Shift, Week, by_calendar_day, by_day, by_week, hours, night_time

MONDAY = date(2024, 5, 6)
SUNDAY = date(2024, 5, 5)


def test_days_and_weeks(hamburg):
    shifts = [
        Shift.on("Ana", hamburg, MONDAY, "06:00", "10:00"),
        Shift.on("Ana", hamburg, SUNDAY, "22:00", "06:00", pause=45),
        Shift.on("Ana", hamburg, MONDAY, "12:00", "14:30"),
        Shift.on("Ana", hamburg, date(2024, 5, 11), "06:00", "14:00", kind=Kind.STANDBY),
    ]
    assert {day.day: hours(worked) for day, worked in by_day(shifts).items()} == {
        5: "7:15",
        6: "6:30",
        11: "0:00",
    }
    assert list(by_week(shifts).items()) == [
        (Week(2024, 18), timedelta(hours=7, minutes=15)),
        (Week(2024, 19), timedelta(hours=6, minutes=30)),
    ]


def test_nothing_adds_up_to_nothing():
    assert by_day([]) == {} == by_week([])


def test_a_shift_divided_at_midnight(hamburg):
    night = Shift.on("Ana", hamburg, SUNDAY, "22:00", "06:00", pause=45)
    parts = by_calendar_day(night)
    assert {day.day: hours(length) for day, length in parts.items()} == {5: "2:00", 6: "6:00"}
    until_midnight = Shift.on("Ana", hamburg, SUNDAY, "16:00", "00:00")
    assert list(by_calendar_day(until_midnight)) == [SUNDAY]


@pytest.mark.parametrize(
    ("begins", "ends", "night"),
    [
        ("22:00", "06:00", "7:00"),
        ("06:00", "14:00", "0:00"),
        ("04:00", "12:00", "2:00"),
        ("16:00", "00:00", "1:00"),
        ("03:00", "23:30", "3:30"),
        ("12:00", "12:00", "7:00"),
    ],
    ids=["night", "day", "early", "late", "long", "round-the-clock"],
)
def test_night_time(hamburg, begins, ends, night):
    assert hours(night_time(Shift.on("Ana", hamburg, MONDAY, begins, ends))) == night


def test_a_night_of_other_hours(hamburg):
    shift = Shift.on("Ana", hamburg, MONDAY, "00:30", "08:00")
    assert hours(night_time(shift, "00:00", "05:00")) == "4:30"
    assert hours(night_time(shift, "20:00", "05:00")) == "4:30"


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(0, "0:00"), (5, "0:05"), (2250, "37:30"), (-90, "-1:30"), (0.5, "0:00"), (-0.5, "0:00")],
    ids=["none", "minutes", "week", "negative", "seconds", "negative-seconds"],
)
def test_hours_as_text(minutes, text):
    assert hours(timedelta(minutes=minutes)) == text
