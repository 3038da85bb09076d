"""Lines of calendar files: escaped, folded, and back."""

import pytest

from roster import CalendarError, escape, fold, unescape, unfold
from roster.contentlines import split


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("Early shift", "Early shift"),
        ("gate, then desk; keys", "gate\\, then desk\\; keys"),
        ("one\ntwo", "one\\ntwo"),
        ("C:\\new", "C:\\\\new"),
        ("\\,\\n", "\\\\\\,\\\\n"),
        ("Zoë: 5 °C", "Zoë: 5 °C"),
    ],
    ids=["plain", "marks", "break", "backslash", "nested", "others"],
)
def test_escape_and_back(text, escaped):
    assert escape(text) == escaped
    assert unescape(escaped) == text


def test_all_line_breaks_are_one():
    assert escape("a\r\nb\rc\nd") == "a\\nb\\nc\\nd"
    assert unescape("a\\Nb") == "a\nb"


@pytest.mark.parametrize("length", [0, 1, 74, 75])
def test_short_lines_stay_as_they_are(length):
    assert fold("x" * length) == b"x" * length + b"\r\n"


def test_long_lines_go_on_after_a_space():
    line = "".join(chr(ord("a") + place % 26) for place in range(200))
    first, second, third = fold(line).decode("ascii").removesuffix("\r\n").split("\r\n")
    assert first == line[:75]
    assert second == " " + line[75:149]
    assert third == " " + line[149:]


@pytest.mark.parametrize("length", [76, 149, 150, 223, 224, 1000])
def test_folded_lines_are_unfolded(length):
    line = ("to be or not " * 80)[:length]
    folded = fold(line)
    assert max(map(len, folded.split(b"\r\n"))) == 75
    assert unfold(folded) == [line]


def test_other_letters():
    assert fold("SUMMARY:Früh") == b"SUMMARY:Fr\xc3\xbch\r\n"
    assert unfold(b"SUMMARY:Fr\xc3\xbch\r\n") == ["SUMMARY:Früh"]


def test_files_of_other_programs():
    assert unfold(b"A:1\n  2\n\nB:\n\t3\nC:4") == ["A:1 2", "B:3", "C:4"]


def test_a_file_that_is_not_utf_8_is_refused():
    with pytest.raises(CalendarError, match="not UTF-8: octet 4 is 0xfc"):
        unfold(b"A:Fr\xfch\r\n")


def test_a_line_is_split():
    assert split("SUMMARY:Desk: early") == ("SUMMARY", "Desk: early")
    assert split('dtstart;TZID="a:b";X=1:2024') == ("DTSTART", "2024")


@pytest.mark.parametrize("line", ["SUMMARY", ":x", 'A;B="c:d'], ids=["bare", "nameless", "quote"])
def test_what_is_not_a_line(line):
    with pytest.raises(CalendarError, match="not a line"):
        split(line)
