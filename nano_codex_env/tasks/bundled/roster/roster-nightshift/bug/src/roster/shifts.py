"""Shifts: one person, one site, one span of time."""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import NamedTuple

from roster.errors import ShiftError
from roster.intervals import Interval
from roster.zones import Zone

_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


class Kind(StrEnum):
    WORK = "work"
    STANDBY = "standby"
    """Reachable, but not at work: no hours, and no end of anybody's rest."""


class Week(NamedTuple):
    """A week of ISO 8601, from Monday to Sunday."""

    year: int
    """The year that has most of its days, not always that of its Monday."""
    number: int

    @classmethod
    def of(cls, day: date) -> "Week":
        year, number, _ = day.isocalendar()
        return cls(year, number)

    @property
    def monday(self) -> date:
        return date.fromisocalendar(self.year, self.number, 1)

    @property
    def following(self) -> "Week":
        return Week.of(self.monday + timedelta(weeks=1))

    def __str__(self) -> str:
        return f"{self.year}-W{self.number:02}"


@dataclass(frozen=True)
class Site:
    """A place to work at, and the zone of the clocks there."""

    name: str
    zone: Zone

    def span(self, day: date, begins: str, ends: str) -> Interval:
        """From one time of the clocks here to another, on the next day if it is no later."""
        first, last = clock(begins), clock(ends)
        last_day = day if first < last else day + timedelta(days=1)
        return Interval(self.zone.at(day, first), self.zone.at(last_day, last))


@dataclass(frozen=True)
class Shift:
    """What one person does at one site, without a stop but for the pause.

    Start and end are given in any zone and kept in that of the site.
    """

    person: str
    site: Site
    span: Interval
    kind: Kind = Kind.WORK
    pause: int = 0
    """Minutes that are not worked; when they are taken is not planned."""
    label: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if not self.person.strip():
            raise ShiftError("a shift needs a person")
        object.__setattr__(self, "span", self.span.within(self.site.zone))
        if not timedelta(0) <= timedelta(minutes=self.pause) < self.span.length:
            raise ShiftError(f"no room for a pause of {self.pause} minutes in {self.span.length}")

    @classmethod
    def on(
        cls,
        person: str,
        site: Site,
        day: date,
        begins: str,
        ends: str,
        *,
        kind: Kind = Kind.WORK,
        pause: int = 0,
        label: str = "",
        note: str = "",
    ) -> "Shift":
        """A shift by the clocks of the site: `Shift.on("Ana", site, day, "22:00", "06:00")`."""
        return cls(person, site, site.span(day, begins, ends), kind, pause, label, note)

    @property
    def start(self) -> datetime:
        return self.span.start

    @property
    def end(self) -> datetime:
        return self.span.end

    @property
    def day(self) -> date:
        """The day on which it begins, by the clock of its site: it belongs there as a whole."""
        return self.start.date()

    @property
    def week(self) -> Week:
        """The week of its day."""
        return Week.of(self.day)

    @property
    def worked(self) -> timedelta:
        """What counts as working time."""
        if self.kind is Kind.STANDBY:
            return timedelta(0)
        return self.end - self.start - timedelta(minutes=self.pause)


def clock(text: str) -> time:
    """Read a time of day like `06:30`."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise ShiftError(f"not a time of day: {text!r}")
    return time(int(found[1]), int(found[2]))
