"""Time zones by rule, for machines that have no time-zone database."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from roster.errors import ZoneError

ORDINALS = ("first", "second", "third", "fourth", "last")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_RULE = re.compile(r"(\w+) (\w+) of (\w+) (\d\d):(\d\d)")
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)")


def instant(moment: datetime) -> datetime:
    """The moment in UTC, in which the clocks of all sites agree."""
    if moment.utcoffset() is None:
        raise ZoneError(f"{moment} has no zone")
    return moment.astimezone(UTC)


@dataclass(frozen=True)
class ClockChange:
    """A day of the year, and the time that clocks show just before they are changed."""

    ordinal: int
    """0 for the first such weekday of the month, -1 for the last."""
    weekday: int
    month: int
    clock: time

    @classmethod
    def parse(cls, text: str) -> "ClockChange":
        """Read a rule like `last Sunday of March 02:00`."""
        found = _RULE.fullmatch(text)
        try:
            if found is None:
                raise ValueError
            ordinal, weekday, month, hour, minute = found.groups()
            count = ORDINALS.index(ordinal)
            return cls(
                -1 if ordinal == "last" else count,
                WEEKDAYS.index(weekday),
                MONTHS.index(month) + 1,
                time(int(hour), int(minute)),
            )
        except ValueError:
            raise ZoneError(f"not a rule for changing clocks: {text!r}") from None

    def of(self, year: int) -> datetime:
        """What the clocks show in that year just before the change, without a zone."""
        first = date(year, self.month, 1)
        first += timedelta(days=(self.weekday - first.weekday()) % 7)
        if self.ordinal >= 0:
            day = first + timedelta(weeks=self.ordinal)
        else:
            day = first + timedelta(weeks=4)
            if day.month != self.month:
                day -= timedelta(weeks=1)
        return datetime.combine(day, self.clock)


class Zone(tzinfo):
    """An offset from UTC, with or without an hour of summer time."""

    SAVING = timedelta(hours=1)

    def __init__(
        self, name: str, offset: str, begins: str | None = None, ends: str | None = None
    ) -> None:
        if (begins is None) != (ends is None):
            raise ZoneError(f"{name}: summer time that begins must end")
        self._args = (name, offset, begins, ends)
        self.name = name
        self._standard = _offset(offset)
        self._begins = None if begins is None else ClockChange.parse(begins)
        self._ends = None if ends is None else ClockChange.parse(ends)
        self._years: dict[int, tuple[datetime, datetime]] = {}

    def __getinitargs__(self) -> tuple[str | None, ...]:
        return self._args

    def __repr__(self) -> str:
        return f"Zone({', '.join(repr(arg) for arg in self._args if arg is not None)})"

    def at(self, day: date, clock: time, *, later: bool = False) -> datetime:
        """The moment at which the clocks of this zone show that time.

        Of a time that is there twice it is the first one, or the second if *later*. A time
        that is skipped is moved on by as much as the clocks are.
        """
        moment = datetime.combine(day, clock, self).replace(fold=0)
        second = moment.replace(fold=1)
        if later and instant(second) > instant(moment):
            return second
        return instant(moment).astimezone(self)

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        saving = self.dst(dt)
        return None if saving is None else self._standard + saving

    def dst(self, dt: datetime | None) -> timedelta | None:
        if dt is None:
            return None
        shown = dt.replace(tzinfo=None)
        summer = self._is_summer(shown - self._standard - self.SAVING)
        standard = not self._is_summer(shown - self._standard)
        if summer == standard:
            # Shown twice, summer first; or skipped, and then fold is 0 for the rule before.
            summer = summer != bool(dt.fold)
        return self.SAVING if summer else timedelta(0)

    def tzname(self, dt: datetime | None) -> str:
        return f"{self.name} summer" if self.dst(dt) else self.name

    def fromutc(self, dt: datetime) -> datetime:
        utc = dt.replace(tzinfo=None)
        if self._is_summer(utc):
            return dt + self._standard + self.SAVING
        again = self._is_summer(utc - self.SAVING)
        return (dt + self._standard).replace(fold=int(again))

    def _is_summer(self, utc: datetime) -> bool:
        if self._begins is None or self._ends is None:
            return False
        year = (utc + self._standard).year
        if year not in self._years:
            begin = self._begins.of(year) - self._standard
            end = self._ends.of(year) - self._standard - self.SAVING
            self._years[year] = begin, end
        begin, end = self._years[year]
        if begin < end:
            return begin <= utc < end
        return not end <= utc < begin


def _offset(text: str) -> timedelta:
    found = _OFFSET.fullmatch(text)
    if found is None or int(found[2]) > 14 or int(found[3]) > 59:
        raise ZoneError(f"not an offset from UTC: {text!r}")
    size = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return -size if found[1] == "-" else size
