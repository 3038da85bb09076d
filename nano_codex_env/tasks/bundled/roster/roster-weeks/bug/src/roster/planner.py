"""Planning: may this person take that shift, and who else could?"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import time, timedelta

from roster.checks import Finding, Limits, short_rests
from roster.errors import Refused
from roster.intervals import Interval
from roster.rosters import Roster
from roster.shifts import Kind, Shift
from roster.zones import instant


def objections(roster: Roster, shift: Shift, limits: Limits | None = None) -> list[Finding]:
    """What one more shift would break, in the terms of `check`: its rests, then its week."""
    limits = limits or Limits()
    if shift.kind is Kind.STANDBY:
        return []
    findings = short_rests(_neighbours(roster, shift), limits)
    worked = week_load(roster, shift) + shift.worked
    if worked > limits.week:
        findings.append(Finding(shift.person, "week", str(shift.week), worked))
    return findings


def assign(roster: Roster, shift: Shift, limits: Limits | None = None) -> None:
    """Add a shift to the roster, unless it would break the limits."""
    if roster.clash(shift) is None:
        findings = objections(roster, shift, limits)
        if findings:
            raise Refused("; ".join(map(str, findings)))
    roster.add(shift)


def candidates(
    roster: Roster, shift: Shift, people: Iterable[str], limits: Limits | None = None
) -> list[str]:
    """Those who could take a shift, whoever it is planned for now.

    The one who has worked least in the week of the shift comes first, equals by name.
    """
    free = []
    for person in people:
        taken = replace(shift, person=person)
        if roster.clash(taken) is None and not objections(roster, taken, limits):
            free.append((week_load(roster, taken), person))
    return [person for _, person in sorted(free)]


def week_load(roster: Roster, shift: Shift) -> timedelta:
    """What the person of a shift works in its week already."""
    zone = shift.site.zone
    first, after = shift.week.monday, shift.week.following.monday
    week = Interval(zone.at(first, time(0)), zone.at(after, time(0)))
    others = [other for other in roster.of(shift.person) if other.span.overlaps(week)]
    return sum((other.worked for other in others), timedelta(0))


def _neighbours(roster: Roster, shift: Shift) -> list[Shift]:
    """The shift between the last work of its person before it and their next."""
    work = [other for other in roster.of(shift.person) if other.kind is Kind.WORK]
    before = [other for other in work if instant(other.start) < instant(shift.start)]
    return [*before[-1:], shift, *work[len(before) :][:1]]
