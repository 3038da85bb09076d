"""Working time, added up."""

from collections.abc import Iterable
from datetime import date, time, timedelta

from roster.intervals import Interval
from roster.shifts import Shift, Week, clock
from roster.zones import Zone, instant


def by_day(shifts: Iterable[Shift]) -> dict[date, timedelta]:
    """The hours worked, by the day to which each shift belongs."""
    hours: dict[date, timedelta] = {}
    for shift in shifts:
        hours[shift.day] = hours.get(shift.day, timedelta(0)) + shift.worked
    return dict(sorted(hours.items()))


def by_week(shifts: Iterable[Shift]) -> dict[Week, timedelta]:
    """The hours worked, by the week to which each shift belongs."""
    hours: dict[Week, timedelta] = {}
    for shift in shifts:
        hours[shift.week] = hours.get(shift.week, timedelta(0)) + shift.worked
    return dict(sorted(hours.items()))


def by_calendar_day(shift: Shift) -> dict[date, timedelta]:
    """How long one shift is on each day that it touches, by the clock of its site."""
    return _parts(shift, time(0), time(0))


def night_time(shift: Shift, begins: str = "23:00", ends: str = "06:00") -> timedelta:
    """How much of a shift lies between two times of the clock at its site."""
    return sum(_parts(shift, clock(begins), clock(ends)).values(), timedelta(0))


def hours(length: timedelta) -> str:
    """Hours and minutes, as in `37:30`; a part of a minute is left out."""
    minutes = abs(length) // timedelta(minutes=1)
    sign = "-" if length < timedelta(0) and minutes else ""
    return f"{sign}{minutes // 60}:{minutes % 60:02}"


def _parts(shift: Shift, begins: time, ends: time) -> dict[date, timedelta]:
    """What a shift has in common with the window of each day, by the day of its begin."""
    parts = {}
    day = shift.start.date() - timedelta(days=1)
    while day <= shift.end.date():
        window = _window(shift.site.zone, day, begins, ends)
        common = None if window is None else window.meet(shift.span)
        if common is not None:
            parts[day] = common.length
        day += timedelta(days=1)
    return parts


def _window(zone: Zone, day: date, begins: time, ends: time) -> Interval | None:
    """The time between two times of the clock; None if the clocks skip all of it."""
    last_day = day if begins < ends else day + timedelta(days=1)
    start, end = zone.at(day, begins), zone.at(last_day, ends)
    return Interval(start, end) if instant(start) < instant(end) else None
