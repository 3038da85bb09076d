"""What breaks the limits in a roster that is there already."""

from datetime import date, timedelta

import pytest

from roster import Kind, Limits, Roster, Shift, check

MONDAY = date(2024, 5, 6)


def shift(site, day, begins, ends, person="Ana", **more):
    return Shift.on(person, site, MONDAY + timedelta(days=day), begins, ends, **more)


def found(shifts, limits=None):
    return [str(finding) for finding in check(Roster(shifts), limits)]


def test_nothing_to_find(hamburg):
    assert found([]) == []
    assert found([shift(hamburg, day, "08:00", "16:00") for day in range(6)]) == []


def test_a_short_rest(hamburg):
    shifts = [shift(hamburg, 0, "14:00", "22:00"), shift(hamburg, 1, "08:30", "12:00")]
    assert found(shifts) == ["Ana: rest of 10:30 (2024-05-07)"]
    assert found(shifts, Limits(rest=timedelta(hours=10, minutes=30))) == []


def test_eleven_hours_are_enough(hamburg):
    assert found([shift(hamburg, 0, "14:00", "22:00"), shift(hamburg, 1, "09:00", "12:00")]) == []


def test_standby_is_rest(hamburg):
    assert found(
        [
            shift(hamburg, 0, "06:00", "14:00"),
            shift(hamburg, 0, "14:00", "22:00", kind=Kind.STANDBY),
            shift(hamburg, 1, "06:00", "14:00"),
        ]
    ) == []  # fmt: skip
    assert found(
        [
            shift(hamburg, 0, "14:00", "22:00"),
            shift(hamburg, 0, "22:00", "05:00", kind=Kind.STANDBY),
            shift(hamburg, 1, "05:00", "12:00"),
        ]
    ) == ["Ana: rest of 7:00 (2024-05-07)"]


def test_rest_holds_across_sites(hamburg, pune):
    shifts = [shift(hamburg, 0, "08:00", "16:00"), shift(pune, 1, "06:00", "10:00")]
    assert found(shifts) == ["Ana: rest of 10:30 (2024-05-07)"]


@pytest.mark.parametrize(
    ("pause", "findings"),
    [(60, []), (50, ["Ana: week of 49:00 (2024-W19)"])],
    ids=["enough", "too-short"],
)
def test_a_long_week(hamburg, pause, findings):
    shifts = [shift(hamburg, day, "08:00", "17:00", pause=pause) for day in range(6)]
    assert found(shifts) == findings


def test_each_week_alone(hamburg):
    days = [day for day in range(14) if day != 6]
    shifts = [shift(hamburg, day, "08:00", "16:30", pause=20) for day in days]
    assert found(shifts) == [
        "Ana: week of 49:00 (2024-W19)",
        "Ana: week of 57:10 (2024-W20)",
    ]


def test_person_by_person_and_rests_first(hamburg):
    shifts = [shift(hamburg, 0, "12:00", "20:00"), shift(hamburg, 1, "06:00", "14:00")]
    shifts += [shift(hamburg, 0, "06:00", "14:00", "Aki")]
    shifts += [shift(hamburg, 0, "15:00", "20:00", "Aki")]
    limits = Limits(week=timedelta(hours=15))
    assert found(shifts, limits) == [
        "Aki: rest of 1:00 (2024-05-06)",
        "Ana: rest of 10:00 (2024-05-07)",
        "Ana: week of 16:00 (2024-W19)",
    ]
