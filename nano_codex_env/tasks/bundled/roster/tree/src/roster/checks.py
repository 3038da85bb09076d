"""Limits of working time, and what breaks them in a roster."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from roster.rosters import Roster
from roster.shifts import Kind, Shift
from roster.totals import by_week, hours


@dataclass(frozen=True)
class Limits:
    """What nobody may go below, or above."""

    rest: timedelta = timedelta(hours=11)
    """The least time between two shifts of work."""
    week: timedelta = timedelta(hours=48)
    """The most that is worked in one week."""


@dataclass(frozen=True)
class Finding:
    """A limit that one person's shifts break."""

    person: str
    limit: str
    """`rest` or `week`"""
    when: str
    """The day of the shift that comes too soon, or the week that is too long."""
    found: timedelta

    def __str__(self) -> str:
        return f"{self.person}: {self.limit} of {hours(self.found)} ({self.when})"


def check(roster: Roster, limits: Limits | None = None) -> list[Finding]:
    """All that breaks the limits, person by person: short rests first, then long weeks."""
    limits = limits or Limits()
    findings = []
    for person in roster.people:
        shifts = roster.of(person)
        findings += short_rests(shifts, limits)
        findings += long_weeks(shifts, limits)
    return findings


def short_rests(shifts: Sequence[Shift], limits: Limits) -> list[Finding]:
    """The rests of one person that are too short; standby is rest."""
    work = [shift for shift in shifts if shift.kind is Kind.WORK]
    rests = [(later, earlier.span.until(later.span)) for earlier, later in pairwise(work)]
    return [
        Finding(later.person, "rest", later.day.isoformat(), rest)
        for later, rest in rests
        if rest < limits.rest
    ]


def long_weeks(shifts: Sequence[Shift], limits: Limits) -> list[Finding]:
    """The weeks of one person that are too long."""
    return [
        Finding(shifts[0].person, "week", str(week), worked)
        for week, worked in by_week(shifts).items()
        if worked > limits.week
    ]
