"""Shift planning for teams in several places."""

from roster.checks import Finding, Limits, check
from roster.contentlines import escape, fold, unescape, unfold
from roster.errors import (
    CalendarError,
    DoubleBooked,
    IntervalError,
    Refused,
    RosterError,
    ShiftError,
    ZoneError,
)
from roster.ical import read_calendar, write_calendar
from roster.intervals import Interval
from roster.patterns import Pattern, Slot, fill
from roster.planner import assign, candidates, objections, week_load
from roster.rosters import Roster
from roster.shifts import Kind, Shift, Site, Week
from roster.staffing import Demand, Shortfall, headcounts, shortfalls
from roster.totals import by_calendar_day, by_day, by_week, hours, night_time
from roster.zones import ClockChange, Zone, instant

__all__ = [
    "CalendarError",
    "ClockChange",
    "Demand",
    "DoubleBooked",
    "Finding",
    "Interval",
    "IntervalError",
    "Kind",
    "Limits",
    "Pattern",
    "Refused",
    "Roster",
    "RosterError",
    "Shift",
    "ShiftError",
    "Shortfall",
    "Site",
    "Slot",
    "Week",
    "Zone",
    "ZoneError",
    "assign",
    "by_calendar_day",
    "by_day",
    "by_week",
    "candidates",
    "check",
    "escape",
    "fill",
    "fold",
    "headcounts",
    "hours",
    "instant",
    "night_time",
    "objections",
    "read_calendar",
    "shortfalls",
    "unescape",
    "unfold",
    "week_load",
    "write_calendar",
]
