"""The lines of a calendar file: escaped, folded, and back (RFC 5545, 3.1 and 3.3.11)."""

import re

from roster.errors import CalendarError

LIMIT = 75
"""The most octets of a line, without its end."""

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SPECIAL = re.compile(r"[\\;,]")
_BREAK = re.compile(r"\r\n|\r|\n")
_NAME = re.compile(r"[A-Za-z0-9-]+")


def escape(text: str) -> str:
    """Write a text so that it is one value on one line."""
    return _BREAK.sub(r"\\n", _SPECIAL.sub(r"\\\g<0>", text))


def unescape(text: str) -> str:
    """Read an escaped text."""
    return _ESCAPED.sub(lambda found: "\n" if found[1] in "nN" else found[1], text)


def fold(line: str) -> bytes:
    """Encode a line, divided into as many as it needs, each with its end.

    A line after the first begins with a space that is not part of the text.
    """
    folded = b""
    room = LIMIT
    for character in line:
        octets = character.encode("utf-8")
        if len(octets) > room:
            folded += b"\r\n "
            room = LIMIT - 1
        folded += octets
        room -= len(octets)
    return folded + b"\r\n"


def unfold(data: bytes) -> list[str]:
    """Decode the lines of a file, each in one piece again.

    Files that end their lines with LF alone are read as well; empty lines are left out.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CalendarError(f"not UTF-8: octet {error.start} is {data[error.start]:#04x}") from None
    lines: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        if line[:1] in (" ", "\t") and lines:
            lines[-1] += line[1:]
        elif line:
            lines.append(line)
    return lines


def split(line: str) -> tuple[str, str]:
    """The name of a line in capitals and its value; parameters in between are left out.

    A colon inside quotes does not end the parameters.
    """
    found = _NAME.match(line)
    quoted = False
    for place, character in enumerate(line):
        if character == '"':
            quoted = not quoted
        elif character == ":" and not quoted and found is not None:
            return found[0].upper(), line[place + 1 :]
    raise CalendarError(f"not a line of a calendar: {line!r}")
