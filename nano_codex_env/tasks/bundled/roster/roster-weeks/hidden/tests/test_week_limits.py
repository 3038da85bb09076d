"""The limit of a week, for planning and for checking."""

from datetime import date, timedelta

import pytest

from roster import (
    Interval,
    Limits,
    Refused,
    Roster,
    Shift,
    assign,
    by_week,
    candidates,
    check,
    hours,
    objections,
    week_load,
)

MONDAY = date(2024, 5, 6)
NO_REST = timedelta(0)
LIMITS = Limits(rest=NO_REST)


def shift(site, day, begins, ends, person="Ana", **more):
    return Shift.on(person, site, MONDAY + timedelta(days=day), begins, ends, **more)


def scenarios(hamburg, dunedin, tacoma):
    """Shifts that are there, and one more shift."""
    early = [shift(dunedin, day, "06:00", "15:00") for day in range(7)]
    evening = [shift(tacoma, day, "14:00", "23:00") for day in range(7)]
    office = [shift(hamburg, day, "09:00", "17:00") for day in range(7)]
    sunday_night = shift(hamburg, -1, "22:00", "06:00")
    return {
        "sunday_night_before": ([sunday_night, *office[:5]], office[5]),
        "sunday_night_itself": (office[:5], shift(hamburg, 6, "22:00", "06:00")),
        "sunday_night_on_top": (office[:6], shift(hamburg, 6, "22:00", "06:00")),
        "full_with_sunday_before": ([sunday_night, *office[:6]], office[6]),
        "monday_morning_in_the_east": (early[:5], early[5]),
        "monday_after_in_the_east": (early[1:6], shift(dunedin, 7, "06:00", "14:00")),
        "sunday_evening_in_the_west": (evening[2:6], shift(tacoma, 6, "17:00", "23:00")),
        "sunday_evening_too_long": (evening[1:6], shift(tacoma, 6, "17:00", "23:00")),
        "monday_after_in_the_west": (evening[2:7], shift(tacoma, 7, "09:00", "17:00")),
        "two_sites": (
            [shift(dunedin, 0, "06:00", "15:00"), *office[1:5]],
            shift(hamburg, 5, "09:00", "17:00", pause=30),
        ),
        "lent_on_monday": (
            [
                shift(hamburg, -3, "09:00", "17:00"),
                shift(dunedin, 0, "06:00", "15:00"),
                *office[1:5],
            ],
            shift(hamburg, 5, "09:00", "17:00", pause=30),
        ),
        "another_site_last_week": (
            [shift(tacoma, -1, "18:00", "02:00"), *office[1:6]],
            office[6],
        ),
        "another_site_same_week": (
            [shift(dunedin, 0, "01:00", "09:00"), *office[1:6]],
            shift(hamburg, 6, "12:00", "16:00"),
        ),
    }


NAMES = (
    "sunday_night_before",
    "sunday_night_itself",
    "sunday_night_on_top",
    "full_with_sunday_before",
    "monday_morning_in_the_east",
    "monday_after_in_the_east",
    "sunday_evening_in_the_west",
    "sunday_evening_too_long",
    "monday_after_in_the_west",
    "two_sites",
    "lent_on_monday",
    "another_site_last_week",
    "another_site_same_week",
)


@pytest.fixture
def scenario(request, hamburg, dunedin, tacoma):
    there, one = scenarios(hamburg, dunedin, tacoma)[request.param]
    return Roster(there), one


def weeks(findings):
    assert all(finding.limit == "week" for finding in findings)
    return [finding.when for finding in findings]


@pytest.mark.parametrize(
    ("scenario", "load", "found"),
    [
        ("sunday_night_before", "40:00", []),
        ("sunday_night_itself", "40:00", []),
        ("sunday_night_on_top", "48:00", ["Ana: week of 56:00 (2024-W19)"]),
        ("full_with_sunday_before", "48:00", ["Ana: week of 56:00 (2024-W19)"]),
        ("monday_morning_in_the_east", "45:00", ["Ana: week of 54:00 (2024-W19)"]),
        ("monday_after_in_the_east", "0:00", []),
        ("sunday_evening_in_the_west", "36:00", []),
        ("sunday_evening_too_long", "45:00", ["Ana: week of 51:00 (2024-W19)"]),
        ("monday_after_in_the_west", "0:00", []),
        ("two_sites", "41:00", ["Ana: week of 48:30 (2024-W19)"]),
        ("lent_on_monday", "41:00", ["Ana: week of 48:30 (2024-W19)"]),
        ("another_site_last_week", "40:00", []),
        ("another_site_same_week", "48:00", ["Ana: week of 52:00 (2024-W19)"]),
    ],
    ids=NAMES,
    indirect=["scenario"],
)
def test_planning_one_more_shift(scenario, load, found):
    roster, one = scenario
    assert hours(week_load(roster, one)) == load
    assert [str(finding) for finding in objections(roster, one, LIMITS)] == found


@pytest.mark.parametrize(
    ("scenario", "worked", "found"),
    [
        ("sunday_night_before", ["8:00", "48:00"], []),
        ("sunday_night_itself", ["48:00"], []),
        ("sunday_night_on_top", ["56:00"], ["Ana: week of 56:00 (2024-W19)"]),
        ("full_with_sunday_before", ["8:00", "56:00"], ["Ana: week of 56:00 (2024-W19)"]),
        ("monday_morning_in_the_east", ["54:00"], ["Ana: week of 54:00 (2024-W19)"]),
        ("monday_after_in_the_east", ["45:00", "8:00"], []),
        ("sunday_evening_in_the_west", ["42:00"], []),
        ("sunday_evening_too_long", ["51:00"], ["Ana: week of 51:00 (2024-W19)"]),
        ("monday_after_in_the_west", ["45:00", "8:00"], []),
        ("two_sites", ["48:30"], ["Ana: week of 48:30 (2024-W19)"]),
        ("lent_on_monday", ["8:00", "48:30"], ["Ana: week of 48:30 (2024-W19)"]),
        ("another_site_last_week", ["8:00", "48:00"], []),
        ("another_site_same_week", ["52:00"], ["Ana: week of 52:00 (2024-W19)"]),
    ],
    ids=NAMES,
    indirect=["scenario"],
)
def test_checking_afterwards(scenario, worked, found):
    roster, one = scenario
    assert check(roster, LIMITS) == []
    roster.add(one)
    assert [hours(length) for length in by_week(roster).values()] == worked
    assert [str(finding) for finding in check(roster, LIMITS)] == found


@pytest.mark.parametrize(
    ("scenario", "total"),
    [
        ("sunday_night_before", "48:00"),
        ("sunday_night_itself", "48:00"),
        ("sunday_night_on_top", "56:00"),
        ("full_with_sunday_before", "56:00"),
        ("monday_morning_in_the_east", "54:00"),
        ("monday_after_in_the_east", "8:00"),
        ("sunday_evening_in_the_west", "42:00"),
        ("sunday_evening_too_long", "51:00"),
        ("monday_after_in_the_west", "8:00"),
        ("two_sites", "48:30"),
        ("lent_on_monday", "48:30"),
        ("another_site_last_week", "48:00"),
        ("another_site_same_week", "52:00"),
    ],
    ids=NAMES,
    indirect=["scenario"],
)
def test_both_say_the_same(scenario, total):
    roster, one = scenario
    found = objections(roster, one, LIMITS)
    load = week_load(roster, one)
    roster.add(one)
    assert check(roster, LIMITS) == found
    assert hours(load + one.worked) == hours(by_week(roster)[one.week]) == total


def test_a_shift_counts_as_a_whole_on_both_sides_of_midnight(hamburg):
    roster = Roster([shift(hamburg, -1, "16:00", "02:00", pause=45)])
    assert hours(week_load(roster, shift(hamburg, -3, "08:00", "16:00"))) == "9:15"
    assert hours(week_load(roster, shift(hamburg, 1, "08:00", "16:00"))) == "0:00"


def test_a_whole_day_from_sunday_to_monday(hamburg):
    limits = Limits(rest=NO_REST, week=timedelta(hours=20))
    roster = Roster([shift(hamburg, -1, "12:00", "12:00")])
    assert weeks(check(roster, limits)) == ["2024-W18"]
    assert objections(roster, shift(hamburg, 0, "20:00", "06:00"), limits) == []


def test_the_week_of_new_year(dunedin):
    monday = date(2024, 12, 30)
    days = [monday + timedelta(days=number) for number in range(6)]
    shifts = [Shift.on("Ana", dunedin, day, "06:00", "15:00") for day in days]
    roster = Roster(shifts[:5])
    assert weeks(objections(roster, shifts[5], LIMITS)) == ["2025-W01"]
    roster.add(shifts[5])
    assert weeks(check(roster, LIMITS)) == ["2025-W01"]


def test_assign_fills_a_week_to_the_last_hour(hamburg):
    roster = Roster()
    assign(roster, shift(hamburg, -1, "21:00", "05:00"))
    for day in range(1, 7):
        assign(roster, shift(hamburg, day, "09:00", "17:00"))
    with pytest.raises(Refused, match="week of 49:00"):
        assign(roster, shift(hamburg, 0, "20:00", "21:00"), LIMITS)
    assert check(roster) == []


def test_candidates_go_by_the_hours_of_the_week(hamburg):
    roster = Roster(
        [
            shift(hamburg, -1, "22:00", "06:00", "Ana"),
            shift(hamburg, 1, "08:00", "14:00", "Ben"),
            shift(hamburg, -1, "22:00", "06:00", "Cem"),
            shift(hamburg, 1, "08:00", "12:00", "Cem"),
        ]
    )
    open_shift = shift(hamburg, 3, "08:00", "16:00", "nobody")
    assert candidates(roster, open_shift, ["Ben", "Cem", "Ana"]) == ["Ana", "Cem", "Ben"]


def test_each_shift_by_the_clock_of_its_own_site(hamburg, dunedin):
    monday = shift(dunedin, 0, "02:00", "10:00")
    assert [str(week) for week in by_week([monday])] == ["2024-W19"]
    assert shift(hamburg, 0, "09:00", "17:00").week == monday.week
    roster = Roster([monday])
    assert hours(week_load(roster, shift(hamburg, 2, "09:00", "17:00"))) == "8:00"
    assert hours(week_load(roster, shift(hamburg, -2, "09:00", "17:00"))) == "0:00"


def test_weeks_without_any_edge(hamburg):
    roster = Roster([shift(hamburg, day, "08:00", "16:00") for day in range(1, 6)])
    noon = shift(hamburg, 6, "09:00", "18:00")
    span = Interval(noon.start, noon.end)
    assert weeks(objections(roster, Shift("Ana", hamburg, span), LIMITS)) == ["2024-W19"]
    roster.add(noon)
    assert weeks(check(roster, LIMITS)) == ["2024-W19"]
