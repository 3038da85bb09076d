"""Patterns: shifts that come back every week, or every few weeks in turn."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from roster.errors import ShiftError
from roster.rosters import Roster
from roster.shifts import Shift, Site, clock

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SLOT = re.compile(r"(\w{3})(?:-(\w{3}))? (\d\d:\d\d)-(\d\d:\d\d)")


@dataclass(frozen=True)
class Slot:
    """A shift of a pattern: a weekday from 0 for Monday, and two times of the clock."""

    weekday: int
    begins: str
    ends: str


@dataclass(frozen=True)
class Pattern:
    """A rotation of one or more weeks at a site."""

    site: Site
    weeks: tuple[tuple[Slot, ...], ...]
    since: date
    """A day of a week in which the rotation is at its first week."""

    @classmethod
    def parse(cls, site: Site, weeks: Sequence[str], *, since: date) -> "Pattern":
        """Read a pattern, one text a week: `Mon-Fri 06:00-14:00, Sat 22:00-06:00`.

        A week without shifts is an empty text.
        """
        if not weeks:
            raise ShiftError("a pattern needs a week")
        return cls(site, tuple(tuple(_slots(week)) for week in weeks), since)

    def shifts(
        self, person: str, first: date, last: date, *, shifted: int = 0, pause: int = 0
    ) -> list[Shift]:
        """The shifts of one person that begin from the first day to the last, both included.

        *shifted* is by how many weeks they are ahead in the rotation.
        """
        monday = self.since - timedelta(days=self.since.weekday())
        found = []
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            week = self.weeks[((day - monday).days // 7 + shifted) % len(self.weeks)]
            found += [
                Shift.on(person, self.site, day, slot.begins, slot.ends, pause=pause)
                for slot in week
                if slot.weekday == day.weekday()
            ]
        return found


def fill(
    roster: Roster,
    pattern: Pattern,
    person: str,
    first: date,
    last: date,
    *,
    shifted: int = 0,
    pause: int = 0,
    away: Collection[date] = (),
) -> list[Shift]:
    """Add the shifts of a pattern, but for those that begin on a day on which they are away."""
    shifts = pattern.shifts(person, first, last, shifted=shifted, pause=pause)
    added = [shift for shift in shifts if shift.day not in away]
    for shift in added:
        roster.add(shift)
    return added


def _slots(text: str) -> list[Slot]:
    slots = []
    for part in text.split(","):
        if not part.strip():
            continue
        found = _SLOT.fullmatch(part.strip())
        if found is None or found[1] not in DAYS or found[2] not in (*DAYS, None):
            raise ShiftError(f"not a part of a week: {part.strip()!r}")
        first = DAYS.index(found[1])
        last = first if found[2] is None else DAYS.index(found[2])
        if last < first:
            raise ShiftError(f"{part.strip()!r} goes past the end of the week")
        clock(found[3]), clock(found[4])
        slots += [Slot(weekday, found[3], found[4]) for weekday in range(first, last + 1)]
    return sorted(slots, key=lambda slot: (slot.weekday, slot.begins))
