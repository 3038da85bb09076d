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
    objections,
    week_load,
)

MONDAY = date(2024, 5, 6)
NO_REST = timedelta(0)
LIMITS = Limits(rest=NO_REST)


def shift(site, day, begins, ends, person="Ana", **more):
    return Shift.on(person, site, MONDAY + timedelta(days=day), begins, ends, **more)


def scenarios(hamburg, dunedin, tacoma):
    """Shifts that are there, one more shift, and the week that becomes too long by it."""
    early = [shift(dunedin, day, "06:00", "15:00") for day in range(7)]
    evening = [shift(tacoma, day, "14:00", "23:00") for day in range(7)]
    office = [shift(hamburg, day, "09:00", "17:00") for day in range(7)]
    sunday_night = shift(hamburg, -1, "22:00", "06:00")
    return {
        "sunday_night_before": ([sunday_night, *office[:5]], office[5], None),
        "sunday_night_itself": (office[:5], shift(hamburg, 6, "22:00", "06:00"), None),
        "sunday_night_on_top": (office[:6], shift(hamburg, 6, "22:00", "06:00"), "2024-W19"),
        "full_with_sunday_before": ([sunday_night, *office[:6]], office[6], "2024-W19"),
        "monday_morning_in_the_east": (early[:5], early[5], "2024-W19"),
        "monday_after_in_the_east": (early[1:6], shift(dunedin, 7, "06:00", "14:00"), None),
        "sunday_evening_in_the_west": (evening[2:6], shift(tacoma, 6, "17:00", "23:00"), None),
        "sunday_evening_too_long": (evening[1:6], shift(tacoma, 6, "17:00", "23:00"), "2024-W19"),
        "monday_after_in_the_west": (evening[2:7], shift(tacoma, 7, "09:00", "17:00"), None),
        "two_sites": (
            [shift(dunedin, 0, "06:00", "15:00"), *office[1:5]],
            shift(hamburg, 5, "09:00", "17:00", pause=30),
            "2024-W19",
        ),
        "lent_on_monday": (
            [
                shift(hamburg, -3, "09:00", "17:00"),
                shift(dunedin, 0, "06:00", "15:00"),
                *office[1:5],
            ],
            shift(hamburg, 5, "09:00", "17:00", pause=30),
            "2024-W19",
        ),
        "another_site_last_week": (
            [shift(tacoma, -1, "18:00", "02:00"), *office[1:6]],
            office[6],
            None,
        ),
        "another_site_same_week": (
            [shift(dunedin, 0, "01:00", "09:00"), *office[1:6]],
            shift(hamburg, 6, "12:00", "16:00"),
            "2024-W19",
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


@pytest.fixture(params=NAMES)
def scenario(request, hamburg, dunedin, tacoma):
    there, one, week = scenarios(hamburg, dunedin, tacoma)[request.param]
    return Roster(there), one, week


def weeks(findings):
    assert all(finding.limit == "week" for finding in findings)
    return [finding.when for finding in findings]


def test_planning_one_more_shift(scenario):
    roster, one, week = scenario
    found = objections(roster, one, LIMITS)
    assert weeks(found) == ([] if week is None else [week])
    roster.add(one)
    assert [finding.found for finding in found] == [by_week(roster)[one.week]] * len(found)


def test_checking_afterwards(scenario):
    roster, one, week = scenario
    assert check(roster, LIMITS) == []
    roster.add(one)
    assert weeks(check(roster, LIMITS)) == ([] if week is None else [week])


def test_both_say_the_same(scenario):
    roster, one, _ = scenario
    found = objections(roster, one, LIMITS)
    roster.add(one)
    assert check(roster, LIMITS) == found


def test_a_shift_counts_as_a_whole_on_both_sides_of_midnight(hamburg):
    roster = Roster([shift(hamburg, -1, "16:00", "02:00", pause=60)])
    assert week_load(roster, shift(hamburg, -3, "08:00", "16:00")) == timedelta(hours=9)
    assert week_load(roster, shift(hamburg, 1, "08:00", "16:00")) == timedelta(0)


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
    assert by_week([monday]).keys() == {shift(hamburg, 0, "09:00", "17:00").week}
    roster = Roster([monday])
    assert week_load(roster, shift(hamburg, 2, "09:00", "17:00")) == timedelta(hours=8)
    assert week_load(roster, shift(hamburg, -2, "09:00", "17:00")) == timedelta(0)


def test_weeks_without_any_edge(hamburg):
    roster = Roster([shift(hamburg, day, "08:00", "16:00") for day in range(1, 6)])
    noon = shift(hamburg, 6, "09:00", "18:00")
    span = Interval(noon.start, noon.end)
    assert weeks(objections(roster, Shift("Ana", hamburg, span), LIMITS)) == ["2024-W19"]
    roster.add(noon)
    assert weeks(check(roster, LIMITS)) == ["2024-W19"]
