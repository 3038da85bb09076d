"""Short shifts beside long ones."""

import random
from datetime import UTC, date, datetime, timedelta

import pytest

from roster import Demand, Interval, Kind, Roster, Shift, headcounts, shortfalls

FRIDAY = date(2024, 5, 3)


def at(site, day, hour):
    return datetime(2024, 5, 3 + day, hour, tzinfo=site.zone)


def shift(site, person, start, end, **more):
    return Shift(person, site, Interval(at(site, *start), at(site, *end)), label=person, **more)


@pytest.fixture
def weekend(hamburg):
    """P14 is on standby from Friday to Monday; the others work by day."""
    return Roster(
        [
            shift(hamburg, "P14", (0, 18), (3, 6), kind=Kind.STANDBY),
            shift(hamburg, "P26", (1, 6), (1, 14)),
            shift(hamburg, "P31", (1, 8), (1, 20)),
            shift(hamburg, "P48", (2, 6), (2, 14)),
            shift(hamburg, "P57", (2, 14), (2, 22)),
        ]
    )


def names(roster, site, start, end):
    return [found.label for found in roster.during(Interval(at(site, *start), at(site, *end)))]


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        ((0, 19), (0, 20), ["P14"]),
        ((1, 7), (1, 9), ["P14", "P26", "P31"]),
        ((1, 15), (1, 16), ["P14", "P31"]),
        ((1, 21), (1, 23), ["P14"]),
        ((2, 13), (2, 15), ["P14", "P48", "P57"]),
        ((2, 14), (2, 15), ["P14", "P57"]),
        ((2, 23), (3, 1), ["P14"]),
        ((3, 6), (3, 8), []),
    ],
    ids=["friday", "saturday", "afternoon", "evening", "handover", "late", "night", "monday"],
)
def test_a_weekend_of_standby(weekend, hamburg, start, end, found):
    assert names(weekend, hamburg, start, end) == found


def test_a_stay_of_six_weeks(hamburg, bremen):
    stay = Interval(datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 6, 12, tzinfo=UTC))
    roster = Roster([Shift("P14", bremen, stay, kind=Kind.STANDBY, label="P14")])
    for number in range(30):
        day = FRIDAY + timedelta(days=number)
        roster.add(Shift.on("P26", hamburg, day, "06:00", "14:00", label="P26"))
    for number in range(0, 30, 3):
        span = hamburg.span(FRIDAY + timedelta(days=number), "15:00", "16:00")
        assert [found.label for found in roster.during(span)] == ["P14"]


def test_some_begin_together_and_end_one_by_one(hamburg):
    roster = Roster(
        shift(hamburg, f"P{hour}", (0, 8), (0, hour)) for hour in (20, 10, 18, 12, 16, 14)
    )
    seen = [sorted(names(roster, hamburg, (0, hour), (0, hour + 1))) for hour in range(9, 21, 2)]
    assert seen == [
        ["P10", "P12", "P14", "P16", "P18", "P20"],
        ["P12", "P14", "P16", "P18", "P20"],
        ["P14", "P16", "P18", "P20"],
        ["P16", "P18", "P20"],
        ["P18", "P20"],
        ["P20"],
    ]


def test_who_has_left_is_not_there(hamburg):
    roster = Roster(
        [
            shift(hamburg, "P14", (0, 6), (0, 8)),
            shift(hamburg, "P26", (0, 7), (2, 7)),
            shift(hamburg, "P31", (1, 6), (1, 8)),
        ]
    )
    assert names(roster, hamburg, (0, 8), (0, 9)) == ["P26"]
    assert names(roster, hamburg, (1, 8), (1, 9)) == ["P26"]
    assert names(roster, hamburg, (2, 7), (2, 9)) == []


def test_a_desk_staffed_round_the_clock(hamburg):
    roster = Roster(
        [
            shift(hamburg, "P14", (0, 8), (1, 8)),
            shift(hamburg, "P26", (0, 10), (0, 14)),
            shift(hamburg, "P31", (0, 12), (0, 18)),
        ]
    )
    assert shortfalls(roster, Demand.on(hamburg, FRIDAY, "19:00", "07:00", people=1)) == []
    counts = headcounts(roster, hamburg, hamburg.span(FRIDAY, "16:00", "09:00"))
    assert [(span.start.hour, people) for span, people in counts] == [(16, 2), (18, 1), (8, 0)]


def test_nothing_is_lost_when_a_shift_is_removed(weekend, hamburg):
    weekend.remove(weekend.of("P31")[0])
    assert names(weekend, hamburg, (1, 15), (1, 16)) == ["P14"]
    weekend.remove(weekend.of("P14")[0])
    assert names(weekend, hamburg, (0, 0), (3, 0)) == ["P26", "P48", "P57"]


def test_shifts_of_all_lengths(hamburg):
    dice = random.Random(7)
    begin = at(hamburg, 0, 0)
    roster = Roster()
    for number in range(40):
        start = begin + timedelta(hours=dice.randrange(200))
        length = timedelta(hours=dice.choice([1, 4, 8, 12, 24, 72]))
        roster.add(Shift(f"P{number}", hamburg, Interval(start, start + length)))
    counts = []
    for hour in range(0, 280, 7):
        start = begin + timedelta(hours=hour)
        span = Interval(start, start + timedelta(hours=dice.choice([1, 2, 24])))
        expected = [one for one in roster if one.start < span.end and span.start < one.end]
        assert roster.during(span) == expected
        counts.append(len(expected))
    assert (sum(counts), max(counts)) == (156, 12)


def test_without_long_shifts_nothing_changes(hamburg):
    roster = Roster(shift(hamburg, f"P{day}", (day, 6), (day, 14)) for day in range(5))
    assert names(roster, hamburg, (1, 14), (3, 6)) == ["P2"]
    assert names(roster, hamburg, (1, 13), (3, 7)) == ["P1", "P2", "P3"]
