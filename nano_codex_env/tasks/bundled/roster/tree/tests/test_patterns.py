"""Patterns come back week after week, by the clocks on the wall."""

from datetime import date, timedelta

import pytest

from roster import DoubleBooked, Pattern, Roster, ShiftError, Slot, fill

JANUARY = date(2024, 1, 1)


def shown(shifts):
    return [shift.start.strftime("%a %d %H:%M") for shift in shifts]


def test_a_week_is_read(hamburg):
    pattern = Pattern.parse(hamburg, ["Sat 22:00-06:00, Mon-Wed 06:00-14:00", ""], since=JANUARY)
    early = [Slot(day, "06:00", "14:00") for day in range(3)]
    assert pattern.weeks == ((*early, Slot(5, "22:00", "06:00")), ())


@pytest.mark.parametrize(
    "text",
    ["Monday 06:00-14:00", "Mon 06:00", "Mon-Xyz 06:00-14:00", "Fri-Mon 06:00-14:00",
     "Mon 06:00-25:00", "Mon 06:00-14:00; Tue 06:00-14:00"],
    ids=["long", "no-end", "no-day", "wraps", "no-time", "semicolon"],
)  # fmt: skip
def test_weeks_that_are_refused(hamburg, text):
    with pytest.raises(ShiftError):
        Pattern.parse(hamburg, [text], since=JANUARY)


def test_a_pattern_needs_a_week(hamburg):
    with pytest.raises(ShiftError, match="needs a week"):
        Pattern.parse(hamburg, [], since=JANUARY)


def test_weeks_take_turns(hamburg):
    pattern = Pattern.parse(hamburg, ["Mon 06:00-14:00", "Mon 14:00-22:00", ""], since=JANUARY)
    last = JANUARY + timedelta(weeks=5)
    assert shown(pattern.shifts("Ana", JANUARY, last)) == [
        "Mon 01 06:00",
        "Mon 08 14:00",
        "Mon 22 06:00",
        "Mon 29 14:00",
    ]
    assert shown(pattern.shifts("Ben", JANUARY, last, shifted=2)) == [
        "Mon 08 06:00",
        "Mon 15 14:00",
        "Mon 29 06:00",
        "Mon 05 14:00",
    ]


def test_the_rotation_goes_back_before_its_begin(hamburg):
    pattern = Pattern.parse(hamburg, ["Mon 06:00-14:00", "Mon 14:00-22:00"], since=date(2024, 1, 4))
    shifts = pattern.shifts("Ana", date(2023, 12, 20), date(2024, 1, 1))
    assert shown(shifts) == ["Mon 25 14:00", "Mon 01 06:00"]


@pytest.mark.parametrize("month", [3, 10], ids=["spring", "autumn"])
def test_times_are_those_on_the_wall(hamburg, month):
    pattern = Pattern.parse(hamburg, ["Fri-Sun 22:00-06:00, Mon-Thu 01:00-02:00"], since=JANUARY)
    for shift in pattern.shifts("Ana", date(2024, month, 20), date(2024, month, 31)):
        assert (shift.start.hour, shift.end.hour) in ((22, 6), (1, 2))


def test_a_roster_is_filled(hamburg):
    roster = Roster()
    pattern = Pattern.parse(hamburg, ["Mon-Fri 06:00-14:00"], since=JANUARY)
    away = {date(2024, 1, 3)}
    added = fill(roster, pattern, "Ana", JANUARY, date(2024, 1, 7), pause=30, away=away)
    assert shown(added) == ["Mon 01 06:00", "Tue 02 06:00", "Thu 04 06:00", "Fri 05 06:00"]
    assert {shift.pause for shift in roster} == {30}
    with pytest.raises(DoubleBooked):
        fill(roster, pattern, "Ana", JANUARY, JANUARY)
