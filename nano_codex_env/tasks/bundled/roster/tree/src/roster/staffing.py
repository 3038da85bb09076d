"""Staffing: how many people are at work at a site, and where they are too few."""

from dataclasses import dataclass
from datetime import date, datetime

from roster.intervals import Interval
from roster.rosters import Roster
from roster.shifts import Kind, Site
from roster.zones import instant


@dataclass(frozen=True)
class Demand:
    """How many people a site needs at least."""

    site: Site
    span: Interval
    people: int

    @classmethod
    def on(cls, site: Site, day: date, begins: str, ends: str, *, people: int) -> "Demand":
        """A demand by the clocks of the site."""
        return cls(site, site.span(day, begins, ends), people)


@dataclass(frozen=True)
class Shortfall:
    """A span in which people are missing."""

    span: Interval
    missing: int


def headcounts(roster: Roster, site: Site, span: Interval) -> list[tuple[Interval, int]]:
    """How many people are at work at a site, in spans that follow each other.

    Together the spans are the whole one that was asked for, and two neighbours never have
    the same number: a handover does not divide a span.
    """
    changes: dict[datetime, int] = {instant(span.start): 0, instant(span.end): 0}
    for shift in roster.during(span):
        common = shift.span.meet(span)
        if shift.site == site and shift.kind is Kind.WORK and common is not None:
            for moment, change in ((common.start, 1), (common.end, -1)):
                changes[instant(moment)] = changes.get(instant(moment), 0) + change
    *moments, end = sorted(changes)
    counts: list[tuple[datetime, int]] = []
    people = 0
    for moment in moments:
        people += changes[moment]
        if not counts or counts[-1][1] != people:
            counts.append((moment, people))
    ends = [moment for moment, _ in counts[1:]] + [end]
    return [
        (Interval(moment, until).within(site.zone), people)
        for (moment, people), until in zip(counts, ends, strict=True)
    ]


def shortfalls(roster: Roster, demand: Demand) -> list[Shortfall]:
    """The spans in which fewer people are at work than the demand asks for."""
    return [
        Shortfall(span, demand.people - people)
        for span, people in headcounts(roster, demand.site, demand.span)
        if people < demand.people
    ]
