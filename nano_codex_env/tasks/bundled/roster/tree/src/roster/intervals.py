"""Spans of time, each from a moment up to, and without, another."""

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from roster.errors import IntervalError
from roster.zones import instant


@dataclass(frozen=True)
class Interval:
    """The time from start up to end, which does not belong to it.

    The two may be in different zones. Lengths and order are those of the time that goes by.
    Python takes two datetimes of one zone for what their clocks show, and that is something
    else in a night in which the clocks are changed, so all of this is worked out in UTC.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for moment in (self.start, self.end):
            if moment.utcoffset() is None:
                raise IntervalError(f"{moment} has no zone")
        if instant(self.end) <= instant(self.start):
            raise IntervalError(f"{self.end} is not after {self.start}")

    @property
    def length(self) -> timedelta:
        return instant(self.end) - instant(self.start)

    def __contains__(self, moment: datetime) -> bool:
        return instant(self.start) <= instant(moment) < instant(self.end)

    def overlaps(self, other: "Interval") -> bool:
        """Whether the two have any time in common."""
        return self.meet(other) is not None

    def meet(self, other: "Interval") -> "Interval | None":
        """The time that the two have in common, None where there is none."""
        start = max(self.start, other.start, key=instant)
        end = min(self.end, other.end, key=instant)
        return Interval(start, end) if instant(start) < instant(end) else None

    def until(self, other: "Interval") -> timedelta:
        """How long it is from the end of this one to the start of the other.

        Negative where the other starts before this one is over.
        """
        return instant(other.start) - instant(self.end)

    def within(self, zone: tzinfo) -> "Interval":
        """The same time, by the clocks of a zone."""
        return Interval(instant(self.start).astimezone(zone), instant(self.end).astimezone(zone))
