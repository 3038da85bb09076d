"""Calendar files, for phones and mail programs (RFC 5545)."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from roster.contentlines import escape, fold, split, unescape, unfold
from roster.errors import CalendarError, RosterError
from roster.intervals import Interval
from roster.shifts import Kind, Shift, Site
from roster.zones import instant

PRODUCT = "-//roster//shift planning//EN"
FORMAT = "%Y%m%dT%H%M%SZ"


def write_calendar(shifts: Iterable[Shift], *, stamp: datetime) -> bytes:
    """A file with one event for each shift; *stamp* is the time at which it is made."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", f"PRODID:{PRODUCT}"]
    for shift in shifts:
        lines += ["BEGIN:VEVENT", *_event(shift, stamp), "END:VEVENT"]
    return b"".join(map(fold, [*lines, "END:VCALENDAR"]))


def read_calendar(data: bytes, sites: Iterable[Site]) -> list[Shift]:
    """The shifts of a file that was written here; other programs may have reordered it.

    Lines that we do not write, and events without a person, are passed over.
    """
    known = {site.name: site for site in sites}
    return [_shift(event, known) for event in _events(data) if "X-ROSTER-PERSON" in event]


def _event(shift: Shift, stamp: datetime) -> Iterator[str]:
    start = _utc(shift.start)
    yield f"UID:{start}-{escape(shift.person)}"
    yield f"DTSTAMP:{_utc(stamp)}"
    yield f"DTSTART:{start}"
    yield f"DTEND:{_utc(shift.end)}"
    yield f"LOCATION:{escape(shift.site.name)}"
    yield f"CATEGORIES:{shift.kind.upper()}"
    yield f"X-ROSTER-PERSON:{escape(shift.person)}"
    if shift.pause:
        yield f"X-ROSTER-PAUSE:{shift.pause}"
    if shift.label:
        yield f"SUMMARY:{escape(shift.label)}"
    if shift.note:
        yield f"DESCRIPTION:{escape(shift.note)}"


def _events(data: bytes) -> Iterator[dict[str, str]]:
    """The lines of each event by name, without those of parts inside it."""
    event: dict[str, str] = {}
    parts: list[str] = []
    for line in unfold(data):
        name, value = split(line)
        if name == "BEGIN":
            parts.append(value.upper())
            if parts[-1] == "VEVENT":
                event = {}
        elif name == "END":
            if not parts or parts.pop() != value.upper():
                raise CalendarError(f"nothing to end here: {line!r}")
            if value.upper() == "VEVENT":
                yield event
        elif parts and parts[-1] == "VEVENT":
            event[name] = value
    if parts:
        raise CalendarError(f"{parts[-1]} does not end")


def _shift(event: Mapping[str, str], sites: Mapping[str, Site]) -> Shift:
    try:
        person, place = unescape(event["X-ROSTER-PERSON"]), unescape(event["LOCATION"])
        if place not in sites:
            raise CalendarError(f"not a site: {place!r}")
        return Shift(
            person=person,
            site=sites[place],
            span=Interval(_moment(event["DTSTART"]), _moment(event["DTEND"])),
            kind=Kind(event.get("CATEGORIES", Kind.WORK).lower()),
            pause=int(event.get("X-ROSTER-PAUSE", "0")),
            label=unescape(event.get("SUMMARY", "")),
            note=unescape(event.get("DESCRIPTION", "")),
        )
    except KeyError as error:
        raise CalendarError(f"an event has no {error.args[0]}") from None
    except RosterError:
        raise
    except ValueError as error:
        raise CalendarError(f"an event cannot be read: {error}") from None


def _utc(moment: datetime) -> str:
    return instant(moment).strftime(FORMAT)


def _moment(text: str) -> datetime:
    try:
        return datetime.strptime(text, FORMAT).replace(tzinfo=UTC)
    except ValueError:
        raise CalendarError(f"not a time in UTC: {text!r}") from None
