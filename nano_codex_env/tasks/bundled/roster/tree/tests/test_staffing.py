"""How many people are there, and where they are too few."""

from datetime import date

import pytest

from roster import Demand, Kind, Roster, Shift, headcounts, shortfalls

MONDAY = date(2024, 5, 6)


@pytest.fixture
def roster(hamburg):
    return Roster(
        [
            Shift.on("Ana", hamburg, MONDAY, "06:00", "14:00"),
            Shift.on("Ben", hamburg, MONDAY, "08:00", "16:00"),
            Shift.on("Cem", hamburg, MONDAY, "14:00", "22:00"),
        ]
    )


def shown(counts):
    return [(f"{span.start:%H:%M}-{span.end:%H:%M}", people) for span, people in counts]


def test_headcounts(roster, hamburg):
    counts = headcounts(roster, hamburg, hamburg.span(MONDAY, "05:00", "23:00"))
    assert shown(counts) == [
        ("05:00-06:00", 0),
        ("06:00-08:00", 1),
        ("08:00-16:00", 2),
        ("16:00-22:00", 1),
        ("22:00-23:00", 0),
    ]


def test_headcounts_within_a_shift(roster, hamburg):
    counts = headcounts(roster, hamburg, hamburg.span(MONDAY, "09:00", "10:00"))
    assert shown(counts) == [("09:00-10:00", 2)]


def test_nobody_is_there(hamburg):
    counts = headcounts(Roster(), hamburg, hamburg.span(MONDAY, "09:00", "10:00"))
    assert shown(counts) == [("09:00-10:00", 0)]


def test_who_counts(roster, hamburg, bremen):
    roster.add(Shift.on("Dora", bremen, MONDAY, "10:00", "18:00"))
    roster.add(Shift.on("Eva", hamburg, MONDAY, "12:00", "20:00", kind=Kind.STANDBY))
    assert shown(headcounts(roster, hamburg, hamburg.span(MONDAY, "08:00", "16:00"))) == [
        ("08:00-16:00", 2)
    ]


def test_shortfalls(roster, hamburg):
    demand = Demand.on(hamburg, MONDAY, "07:00", "23:00", people=2)
    found = [(shortfall.span, shortfall.missing) for shortfall in shortfalls(roster, demand)]
    assert shown(found) == [("07:00-08:00", 1), ("16:00-22:00", 1), ("22:00-23:00", 2)]


def test_enough_people(roster, hamburg):
    assert shortfalls(roster, Demand.on(hamburg, MONDAY, "06:00", "22:00", people=1)) == []
