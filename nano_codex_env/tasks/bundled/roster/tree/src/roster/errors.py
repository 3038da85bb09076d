"""What can go wrong: one class for each thing that a caller may want to catch."""


class RosterError(Exception):
    """The base of all errors here."""


class ZoneError(RosterError, ValueError):
    """A rule or an offset of a zone cannot be understood."""


class IntervalError(RosterError, ValueError):
    """A span of time has no zone, or does not end after it begins."""


class ShiftError(RosterError, ValueError):
    """A shift or a pattern of shifts makes no sense."""


class DoubleBooked(RosterError):
    """Somebody would be in two places at one time."""


class Refused(RosterError):
    """A shift would break the limits."""


class CalendarError(RosterError, ValueError):
    """A calendar file cannot be read."""
