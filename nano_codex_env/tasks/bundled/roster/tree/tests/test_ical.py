"""Calendar files are written, and read back."""

from datetime import UTC, date, datetime

import pytest

from roster import CalendarError, Kind, Shift, read_calendar, write_calendar

STAMP = datetime(2024, 4, 30, 12, tzinfo=UTC)
MONDAY = date(2024, 5, 6)

EVENT = """\
BEGIN:VCALENDAR
BEGIN:VTIMEZONE
LOCATION:elsewhere
END:VTIMEZONE
BEGIN:VEVENT
DTSTART:20240506T040000Z
DTEND:20240506T120000Z
LOCATION;LANGUAGE=de:Hamburg
X-ROSTER-PERSON:Ana
BEGIN:VALARM
DESCRIPTION:wake up
END:VALARM
END:VEVENT
BEGIN:VEVENT
SUMMARY:Birthday
END:VEVENT
END:VCALENDAR
"""


def test_a_calendar_as_it_is_written(hamburg):
    shift = Shift.on("Ana", hamburg, MONDAY, "06:00", "14:00", pause=30, label="Early; desk")
    assert write_calendar([shift], stamp=STAMP).decode("ascii").split("\r\n") == [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//roster//shift planning//EN",
        "BEGIN:VEVENT",
        "UID:20240506T040000Z-Ana",
        "DTSTAMP:20240430T120000Z",
        "DTSTART:20240506T040000Z",
        "DTEND:20240506T120000Z",
        "LOCATION:Hamburg",
        "CATEGORIES:WORK",
        "X-ROSTER-PERSON:Ana",
        "X-ROSTER-PAUSE:30",
        "SUMMARY:Early\\; desk",
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ]


def test_what_is_written_is_read_back(hamburg, pune):
    shifts = [
        Shift.on("Ana", hamburg, MONDAY, "22:00", "06:00", pause=45, label="Night"),
        Shift.on("Ben, B.", pune, MONDAY, "08:00", "08:00", kind=Kind.STANDBY, note="a\nb\\n"),
        Shift.on("Cem", hamburg, MONDAY, "06:00", "14:00", note="Please bring the keys. " * 12),
    ]
    data = write_calendar(shifts, stamp=STAMP)
    assert read_calendar(data, [hamburg, pune]) == shifts


def test_files_that_others_have_touched(hamburg):
    shifts = read_calendar(EVENT.encode(), [hamburg])
    assert shifts == [Shift.on("Ana", hamburg, MONDAY, "06:00", "14:00")]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("DTEND:20240506T120000Z\n", "", "no DTEND"),
        ("20240506T120000Z", "20240506T120000", "not a time in UTC"),
        ("LANGUAGE=de:Hamburg", "LANGUAGE=de:Husum", "not a site: 'Husum'"),
        ("X-ROSTER-PERSON:Ana", "X-ROSTER-PERSON:Ana\nX-ROSTER-PAUSE:x", "cannot be read"),
        ("END:VALARM", "END:VEVENT", "nothing to end"),
        ("END:VCALENDAR\n", "", "does not end"),
    ],
    ids=["missing", "local", "site", "pause", "nesting", "cut"],
)
def test_files_that_are_refused(hamburg, old, new, message):
    with pytest.raises(CalendarError, match=message):
        read_calendar(EVENT.replace(old, new).encode(), [hamburg])
