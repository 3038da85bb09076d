"""One more shift: what it would break, and who could take it."""

from datetime import date, timedelta

import pytest

from roster import (
    DoubleBooked,
    Kind,
    Limits,
    Refused,
    Roster,
    Shift,
    assign,
    candidates,
    check,
    objections,
    week_load,
)

MONDAY = date(2024, 5, 6)


def shift(site, day, begins, ends, person="Ana", **more):
    return Shift.on(person, site, MONDAY + timedelta(days=day), begins, ends, **more)


def objected(roster, one, limits=None):
    return [str(finding) for finding in objections(roster, one, limits)]


def test_rest_before_and_after(hamburg):
    roster = Roster([shift(hamburg, 0, "06:00", "14:00"), shift(hamburg, 2, "06:00", "14:00")])
    assert objected(roster, shift(hamburg, 1, "06:00", "14:00")) == []
    assert objected(roster, shift(hamburg, 0, "23:00", "06:00")) == [
        "Ana: rest of 9:00 (2024-05-06)"
    ]
    assert objected(roster, shift(hamburg, 1, "14:00", "22:00")) == [
        "Ana: rest of 8:00 (2024-05-08)"
    ]


def test_standby_meets_no_objection_and_makes_none(hamburg):
    roster = Roster([shift(hamburg, 0, "06:00", "14:00")])
    assign(roster, shift(hamburg, 0, "14:00", "06:00", kind=Kind.STANDBY))
    assign(roster, shift(hamburg, 1, "06:00", "14:00"))
    assert len(roster) == 3


def test_a_week_is_full(hamburg):
    roster = Roster([shift(hamburg, day, "08:00", "16:00") for day in range(5)])
    assert objected(roster, shift(hamburg, 5, "08:00", "16:00")) == []
    long = shift(hamburg, 5, "08:00", "17:00", pause=15)
    assert objected(roster, long) == ["Ana: week of 48:45 (2024-W19)"]
    assert objected(roster, long, Limits(week=timedelta(hours=50))) == []
    assert objected(roster, shift(hamburg, 7, "08:00", "17:00")) == []


def test_the_same_judgement_as_check(hamburg):
    roster = Roster([shift(hamburg, day, "08:00", "18:00") for day in range(4)])
    last = shift(hamburg, 4, "02:00", "12:00")
    findings = objections(roster, last)
    assert [finding.limit for finding in findings] == ["rest", "week"]
    roster.add(last)
    assert check(roster) == findings


def test_assign_refuses(hamburg):
    roster = Roster([shift(hamburg, 0, "14:00", "22:00")])
    with pytest.raises(Refused, match="rest of 8:00"):
        assign(roster, shift(hamburg, 1, "06:00", "14:00"))
    with pytest.raises(DoubleBooked):
        assign(roster, shift(hamburg, 0, "20:00", "23:00"))
    assert len(roster) == 1


def test_candidates(hamburg):
    roster = Roster(
        [
            shift(hamburg, 0, "06:00", "14:00", "Ana"),
            shift(hamburg, 1, "06:00", "12:00", "Ben"),
            shift(hamburg, 3, "06:00", "14:00", "Cem"),
            shift(hamburg, 2, "16:00", "23:00", "Dora"),
            shift(hamburg, 2, "08:00", "10:00", "Eva"),
        ]
    )
    people = ["Flo", "Eva", "Dora", "Cem", "Ben", "Ana", "Gus"]
    open_shift = shift(hamburg, 2, "07:00", "15:00", "nobody")
    assert candidates(roster, open_shift, people) == ["Flo", "Gus", "Ben", "Ana", "Cem"]
    assert week_load(roster, shift(hamburg, 2, "07:00", "15:00", "Ben")) == timedelta(hours=6)
