"""Long lines of other letters than the English ones."""

from datetime import UTC, date, datetime

import pytest

from roster import Shift, Site, fold, read_calendar, unfold, write_calendar

STAMP = datetime(2024, 4, 30, 12, tzinfo=UTC)

LETTERS = pytest.mark.parametrize(
    "letter", ["\u010d", "\u20ac", "\U0001f6b2"], ids=["two-octets", "three", "four"]
)


def physical(data):
    """The lines of a file as a program finds them that decodes line by line."""
    assert data.endswith(b"\r\n")
    lines = data.removesuffix(b"\r\n").split(b"\r\n")
    assert max(map(len, lines)) <= 75
    return [line.decode("utf-8") for line in lines]


def joined(lines):
    assert all(line.startswith(" ") for line in lines[1:])
    return lines[0] + "".join(line[1:] for line in lines[1:])


@LETTERS
@pytest.mark.parametrize("before", range(70, 76))
def test_a_letter_at_the_end_of_the_first_line(letter, before):
    line = "x" * before + letter + "y" * 20
    lines = physical(fold(line))
    assert len(lines) == 2
    assert joined(lines) == line


@LETTERS
@pytest.mark.parametrize("before", range(144, 150))
def test_a_letter_at_the_end_of_the_second_line(letter, before):
    line = "x" * before + letter + "y" * 20
    lines = physical(fold(line))
    assert len(lines) == 3
    assert joined(lines) == line


@LETTERS
@pytest.mark.parametrize("before", range(4))
def test_nothing_but_such_letters(letter, before):
    line = "x" * before + letter * 300
    again = joined(physical(fold(line)))
    assert again.count(letter) == 300
    assert again == line


@LETTERS
def test_what_is_folded_is_unfolded(letter):
    lines = [f"DESCRIPTION:{'x' * before}{letter * 90}" for before in range(75)]
    again = unfold(b"".join(map(fold, lines)))
    assert [len(line) for line in again[::30]] == [102, 132, 162]
    assert again == lines


def test_letters_of_all_sizes():
    line = "DESCRIPTION:" + "K\u013c\u016bda: 5 \u20ac \u2013 \U0001f527 " * 40
    again = joined(physical(fold(line)))
    assert (again.count("\u20ac"), len(again)) == (40, 612)
    assert again == line


def test_a_line_of_75_octets_is_not_folded():
    line = "SUMMARY:" + "\u010d" * 33 + "x"
    assert len(line.encode()) == 75
    assert physical(fold(line)) == [line]


def test_a_file_of_events(hamburg):
    here = Site(
        "Sv\u0113tku iela, \u0112ka 4 \u2013 noliktava un s\u016bt\u012bjumu dau\u013ca",
        hamburg.zone,
    )
    shifts = [
        Shift.on(
            "\u012alze",
            here,
            date(2024, 5, day),
            "06:00",
            "14:00",
            note="x" * day + "\u0161\u0137\u0113" * 30,
        )
        for day in range(1, 31)
    ]
    data = write_calendar(shifts, stamp=STAMP)
    physical(data)
    found = read_calendar(data, [here])
    assert [len(shift.note) for shift in found[8:24:5]] == [99, 104, 109, 114]
    assert found[17].start.isoformat() == "2024-05-18T06:00:00+02:00"
    assert found == shifts


def test_long_english_lines_are_folded_as_before():
    line = "0123456789" * 16
    assert physical(fold(line)) == [line[:75], " " + line[75:149], " " + line[149:]]
