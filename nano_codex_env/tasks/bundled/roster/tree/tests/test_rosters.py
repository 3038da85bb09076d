"""The roster keeps shifts in order, and nobody in two places."""

from datetime import date

import pytest

from roster import DoubleBooked, Kind, Roster, RosterError, Shift

MONDAY = date(2024, 5, 6)
TUESDAY = date(2024, 5, 7)


@pytest.fixture
def roster(hamburg):
    return Roster(
        [
            Shift.on("Ben", hamburg, MONDAY, "14:00", "22:00", label="late"),
            Shift.on("Ana", hamburg, MONDAY, "06:00", "14:00", label="early"),
            Shift.on("Cem", hamburg, MONDAY, "22:00", "06:00", label="night"),
            Shift.on("Ana", hamburg, TUESDAY, "06:00", "14:00", label="next"),
        ]
    )


def labels(shifts):
    return [shift.label for shift in shifts]


def test_shifts_are_in_the_order_in_which_they_begin(roster):
    assert labels(roster) == ["early", "late", "night", "next"]
    assert len(roster) == 4
    assert roster.people == ["Ana", "Ben", "Cem"]
    assert labels(roster.of("Ana")) == ["early", "next"]
    assert roster.of("Dora") == []


@pytest.mark.parametrize(
    ("begins", "ends", "found"),
    [
        ("06:00", "07:00", ["early"]),
        ("14:00", "15:00", ["late"]),
        ("13:00", "15:00", ["early", "late"]),
        ("04:00", "06:00", []),
        ("00:00", "00:00", ["early", "late", "night"]),
        ("22:00", "07:00", ["night", "next"]),
    ],
    ids=["begin", "handover", "both", "before", "day", "night"],
)
def test_shifts_during_a_span(roster, hamburg, begins, ends, found):
    assert labels(roster.during(hamburg.span(MONDAY, begins, ends))) == found


def test_a_night_shift_is_there_after_midnight(roster, hamburg):
    assert labels(roster.during(hamburg.span(TUESDAY, "01:00", "02:00"))) == ["night"]


def test_one_shift_after_the_other(roster, hamburg):
    roster.add(Shift.on("Ana", hamburg, MONDAY, "14:00", "16:00"))
    assert len(roster.of("Ana")) == 3


@pytest.mark.parametrize(
    ("begins", "ends"),
    [("13:00", "15:00"), ("05:00", "07:00"), ("08:00", "09:00"), ("05:00", "15:00")],
    ids=["end", "start", "inside", "around"],
)
@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_nobody_is_in_two_places(roster, bremen, begins, ends, kind):
    with pytest.raises(DoubleBooked, match="Ana is at Hamburg"):
        roster.add(Shift.on("Ana", bremen, MONDAY, begins, ends, kind=kind))
    assert len(roster) == 4


def test_places_far_apart(roster, pune):
    roster.add(Shift.on("Ana", pune, MONDAY, "17:30", "20:00"))
    with pytest.raises(DoubleBooked):
        roster.add(Shift.on("Ben", pune, MONDAY, "18:00", "20:00"))


def test_a_shift_is_removed(roster, hamburg):
    roster.remove(Shift.on("Ana", hamburg, MONDAY, "06:00", "14:00"))
    assert labels(roster) == ["late", "night", "next"]
    roster.remove(roster.of("Ben")[0])
    assert roster.people == ["Ana", "Cem"]
    with pytest.raises(RosterError, match="Ben has no shift"):
        roster.remove(Shift.on("Ben", hamburg, MONDAY, "14:00", "22:00"))
