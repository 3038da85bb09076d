"""The roster: all shifts of all people at all sites."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from datetime import datetime

from roster.errors import DoubleBooked, RosterError
from roster.intervals import Interval
from roster.shifts import Shift
from roster.zones import instant


def _begin(shift: Shift) -> datetime:
    return instant(shift.start)


def _end(shift: Shift) -> datetime:
    return instant(shift.end)


class Roster:
    """Shifts in the order in which they begin; nobody has two at one time."""

    def __init__(self, shifts: Iterable[Shift] = ()) -> None:
        self._shifts: list[Shift] = []
        self._of: dict[str, list[Shift]] = {}
        for shift in shifts:
            self.add(shift)

    def add(self, shift: Shift) -> None:
        """Add a shift, unless its person has another one at that time."""
        other = self.clash(shift)
        if other is not None:
            raise DoubleBooked(
                f"{shift.person} is at {other.site.name} from {other.start} to {other.end}"
            )
        insort(self._shifts, shift, key=_begin)
        insort(self._of.setdefault(shift.person, []), shift, key=_begin)

    def remove(self, shift: Shift) -> None:
        """Take a shift out again; it is known by its person and its start."""
        own = self._of.get(shift.person, [])
        place = bisect_left(own, _begin(shift), key=_begin)
        if place == len(own) or _begin(own[place]) != _begin(shift):
            raise RosterError(f"{shift.person} has no shift from {shift.start}")
        found = own.pop(place)
        self._shifts = [other for other in self._shifts if other is not found]
        if not own:
            del self._of[shift.person]

    def clash(self, shift: Shift) -> Shift | None:
        """Another shift of its person that overlaps this one, None if there is none."""
        own = self._of.get(shift.person, ())
        return next((other for other in own if other.span.overlaps(shift.span)), None)

    @property
    def people(self) -> list[str]:
        """Everybody who has a shift, by name."""
        return sorted(self._of)

    def of(self, person: str) -> list[Shift]:
        """The shifts of one person."""
        return list(self._of.get(person, ()))

    def during(self, span: Interval) -> list[Shift]:
        """The shifts that have time in common with the span."""
        first = bisect_right(self._shifts, instant(span.start), key=_end)
        last = bisect_left(self._shifts, instant(span.end), key=_begin)
        return self._shifts[first:last]

    def __iter__(self) -> Iterator[Shift]:
        return iter(list(self._shifts))

    def __len__(self) -> int:
        return len(self._shifts)
