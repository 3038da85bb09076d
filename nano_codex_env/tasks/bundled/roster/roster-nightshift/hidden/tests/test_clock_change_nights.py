"""The nights in which the clocks are changed."""

from datetime import date, datetime, time, timedelta

import pytest

from roster import (
    DoubleBooked,
    Interval,
    IntervalError,
    Roster,
    Shift,
    by_calendar_day,
    by_day,
    by_week,
    check,
    headcounts,
    hours,
    night_time,
    objections,
)

SPRING = date(2024, 3, 30)
AUTUMN = date(2024, 10, 26)
CHANGE = date(2024, 10, 27)


def minutes(length):
    return length // timedelta(minutes=1)


@pytest.fixture
def twice(hamburg):
    """Makes moments of the night in autumn; the later ones have a stroke: `2:30'`."""

    def moment(text):
        hour, minute = text.removesuffix("'").split(":")
        later = text.endswith("'")
        return hamburg.zone.at(CHANGE, time(int(hour), int(minute)), later=later)

    return moment


@pytest.fixture
def shift(hamburg, twice):
    def make(person, first, last):
        return Shift(person, hamburg, Interval(twice(first), twice(last)), label=person)

    return make


@pytest.mark.parametrize(
    ("day", "pause", "worked", "week"),
    [
        (SPRING, 0, "7:00", "11:30"),
        (SPRING, 45, "6:15", "10:45"),
        (AUTUMN, 0, "9:00", "13:30"),
        (AUTUMN, 45, "8:15", "12:45"),
    ],
    ids=["spring", "spring-pause", "autumn", "autumn-pause"],
)
def test_hours_of_a_night_shift(hamburg, day, pause, worked, week):
    shift = Shift.on("Ana", hamburg, day, "22:00", "06:00", pause=pause)
    assert hours(shift.worked) == worked
    assert [hours(length) for length in by_day([shift]).values()] == [worked]
    thursday = Shift.on("Ana", hamburg, day - timedelta(days=2), "13:00", "17:30")
    assert [hours(length) for length in by_week([thursday, shift]).values()] == [week]


def test_other_zones(dunedin, tacoma, pune):
    nights = [
        (dunedin, date(2024, 4, 6)),
        (dunedin, date(2024, 9, 28)),
        (tacoma, date(2024, 3, 9)),
        (tacoma, date(2024, 11, 2)),
        (pune, AUTUMN),
    ]
    shifts = [Shift.on("Ana", site, day, "22:00", "06:00") for site, day in nights]
    assert [minutes(shift.worked) for shift in shifts] == [540, 420, 420, 540, 480]
    assert [minutes(shift.span.length) for shift in shifts] == [540, 420, 420, 540, 480]


@pytest.mark.parametrize(
    ("day", "expected"),
    [(SPRING, [2820, 1380, 1020]), (AUTUMN, [2940, 1500, 1140])],
    ids=["spring", "autumn"],
)
def test_length_of_a_span(hamburg, day, expected):
    noon = datetime.combine(day, time(12), hamburg.zone)
    ends = [noon + timedelta(days=2), noon + timedelta(days=1), noon + timedelta(hours=18)]
    assert [minutes(Interval(noon, end).length) for end in ends] == expected


@pytest.mark.parametrize(
    ("day", "parts", "night"),
    [(SPRING, ["2:00", "5:00"], "6:00"), (AUTUMN, ["2:00", "7:00"], "8:00")],
    ids=["spring", "autumn"],
)
def test_parts_of_a_night_shift(hamburg, day, parts, night):
    shift = Shift.on("Ana", hamburg, day, "22:00", "06:00")
    assert [hours(length) for length in by_calendar_day(shift).values()] == parts
    assert hours(night_time(shift)) == night


def test_a_rest_in_spring_is_an_hour_shorter(hamburg):
    late = Shift.on("Ana", hamburg, SPRING, "13:00", "21:00")
    early = Shift.on("Ana", hamburg, date(2024, 3, 31), "08:00", "14:00")
    assert [str(one) for one in objections(Roster([late]), early)] == [
        "Ana: rest of 10:00 (2024-03-31)"
    ]
    assert [finding.limit for finding in check(Roster([late, early]))] == ["rest"]


def test_a_rest_in_autumn_is_an_hour_longer(hamburg):
    late = Shift.on("Ana", hamburg, AUTUMN, "13:00", "21:00")
    early = Shift.on("Ana", hamburg, CHANGE, "07:00", "14:00")
    assert objections(Roster([late]), early) == []
    assert check(Roster([late, early])) == []
    earlier = Shift.on("Ana", hamburg, CHANGE, "06:30", "14:00")
    assert [str(one) for one in objections(Roster([late]), earlier)] == [
        "Ana: rest of 10:30 (2024-10-27)"
    ]


def test_a_week_is_full_with_the_hour_that_is_there_twice(hamburg):
    week = [
        Shift.on("Ana", hamburg, date(2024, 10, day), "22:00", "06:00") for day in range(21, 26)
    ]
    roster = Roster(week)
    night = Shift.on("Ana", hamburg, AUTUMN, "22:00", "06:00")
    assert [str(one) for one in objections(roster, night)] == ["Ana: week of 49:00 (2024-W43)"]


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [("2:45", "2:15'", 30), ("2:30", "2:30'", 60), ("2:00", "2:00'", 60), ("1:30", "2:15'", 105),
     ("2:15'", "3:15", 60), ("2:15", "3:15", 120)],
    ids=["backwards", "same", "whole-hour", "before", "second", "first"],
)  # fmt: skip
def test_spans_in_the_hour_that_is_there_twice(twice, first, last, expected):
    assert minutes(Interval(twice(first), twice(last)).length) == expected


@pytest.mark.parametrize(
    ("first", "last", "back"),
    [("2:15'", "2:45", 30), ("2:30'", "2:30", 60)],
    ids=["forwards", "same"],
)
def test_a_span_does_not_end_before_it_begins(twice, first, last, back):
    with pytest.raises(IntervalError):
        Interval(twice(first), twice(last))
    assert minutes(Interval(twice(last), twice(first)).length) == back


@pytest.mark.parametrize(
    ("moment", "begun"),
    [
        ("2:15", ["2:00"]),
        ("2:45", ["2:30", "2:00"]),
        ("2:00'", ["2:30"]),
        ("2:15'", ["2:30", "2:10'"]),
        ("2:40'", ["2:10'"]),
    ],
    ids=["before", "begun", "again", "still", "over"],
)
def test_moments_inside(twice, moment, begun):
    """The spans are named by their begin."""
    spans = [("2:30", "2:40'"), ("2:00", "2:50"), ("2:10'", "3:00")]
    inside = [
        first for first, last in spans if twice(moment) in Interval(twice(first), twice(last))
    ]
    assert inside == begun


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (("2:15'", "5:00"), 0),
        (("2:45", "5:00"), 0),
        (("2:30", "5:00"), 15),
        (("1:00", "2:10"), 10),
        (("1:00", "2:20'"), 45),
    ],
    ids=["second", "touching", "first", "end-first", "end-second"],
)
def test_what_two_spans_have_in_common(twice, other, expected):
    span = Interval(twice("2:00"), twice("2:45"))
    other = Interval(*map(twice, other))
    for one, two in ((span, other), (other, span)):
        common = one.meet(two)
        assert (minutes(common.length) if common else 0) == expected
        assert one.overlaps(two) is (common is not None)


def test_two_spans_that_end_together(twice):
    first, second = Interval(twice("2:45"), twice("4:00")), Interval(twice("2:15'"), twice("4:00"))
    for common in (first.meet(second), second.meet(first)):
        assert common.start.isoformat() == "2024-10-27T02:15:00+01:00"
        assert minutes(common.length) == 105


def test_one_shift_after_the_other(shift):
    roster = Roster([shift("Ana", "0:00", "2:45")])
    roster.add(shift("Ana", "2:15'", "5:00"))
    assert len(roster) == 2


def test_an_hour_twice_is_no_way_to_be_in_two_places(shift):
    roster = Roster([shift("Ana", "0:00", "2:15'")])
    with pytest.raises(DoubleBooked):
        roster.add(shift("Ana", "2:45", "5:00"))
    assert [minutes(one.worked) for one in roster.of("Ana")] == [195]


def test_nobody_is_there_for_an_hour(shift, hamburg, twice):
    roster = Roster([shift("Ana", "0:00", "2:30"), shift("Ben", "2:30'", "5:00")])
    counts = headcounts(roster, hamburg, Interval(twice("1:00"), twice("4:00")))
    assert [(minutes(span.length), people) for span, people in counts] == [
        (90, 1),
        (60, 0),
        (90, 1),
    ]


def test_who_is_there_in_the_second_hour(shift, twice):
    roster = Roster([shift("Ana", "0:10", "2:45"), shift("Ben", "2:15'", "5:00")])
    first = roster.during(Interval(twice("2:20"), twice("2:40")))
    second = roster.during(Interval(twice("2:20'"), twice("2:40'")))
    assert [(one.label, minutes(one.worked)) for one in first] == [("Ana", 155)]
    assert [(one.label, minutes(one.worked)) for one in second] == [("Ben", 165)]


def test_shifts_keep_the_clock_of_their_site(hamburg):
    shift = Shift.on("Ana", hamburg, AUTUMN, "22:00", "06:00")
    assert shift.start.isoformat() == "2024-10-26T22:00:00+02:00"
    assert shift.end.isoformat() == "2024-10-27T06:00:00+01:00"
    assert shift.span.within(hamburg.zone) == shift.span
