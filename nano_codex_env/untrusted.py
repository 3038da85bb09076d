"""Untrusted input: parse JSON strictly, read files within limits, make text safe to print on a terminal.

Logs, dataset rows, models and servers may send anything. Every fault is an `OSError` or a `ValueError` that says what
was found; callers name the file and raise their own error.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

FILE_LIMIT = 1 << 30
"""Bytes of a file that is read whole (1 GiB)."""
LINE_LIMIT = 64 << 20
"""Bytes of one line, or of one JSON document (64 MiB)."""
MAX_LINES = 1_000_000
"""Lines of a log file; a file of nothing but `{}` would otherwise fill the memory."""
MAX_DEPTH = 100
"""Levels of nested lists and objects, far below Python's recursion limit."""

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters except tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # text direction, which reorders the text around it
    "\u2028\u2029\ufff9-\ufffb\U000e0000-\U000e007f"  # separators, annotations and tags, which are invisible
    "\ud800-\udfff]"  # lone surrogates, which cannot be encoded
)


def for_terminal(text: str) -> str:
    r"""Escape everything that a terminal would obey, reorder or hide; tabs and line feeds stay.

    >>> for_terminal("\x1b[2Jok\n")
    '\\x1b[2Jok\n'
    """
    return text if text.isprintable() else _HIDDEN.sub(_escaped, text)


def on_one_line(text: str) -> str:
    r"""Escape line feeds too: a name that holds one could fake a line of output.

    >>> on_one_line("a\nb")
    'a\\x0ab'
    """
    return for_terminal(text).replace("\n", "\\x0a")


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def parse_json(text: str | bytes, limit: int = LINE_LIMIT, depth: int = MAX_DEPTH) -> Any:
    """Parse a JSON document; NaN and Infinity are allowed, as Python's json writes them.

    Raises:
        ValueError: it is not JSON, longer than `limit`, nested more than `depth` levels, or an object has a key twice.
    """
    if len(text) > limit:
        raise ValueError(f"it is longer than {limit >> 20} MiB")
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError(f"it is nested more than {depth} levels deep") from error
    except MemoryError as error:
        raise ValueError("it takes more memory than there is") from error
    check_depth(value, depth)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        [(repeated, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {repeated!r:.80} is there twice")
    return made


def check_depth(value: object, limit: int = MAX_DEPTH) -> None:
    """Check how deeply lists and objects are nested, level by level, without recursion.

    Raises:
        ValueError: there are more than `limit` levels.
    """
    level: list[Any] = [[value]]
    for _ in range(limit + 2):
        children = (item for each in level for item in (each.values() if isinstance(each, dict) else each))
        level = [item for item in children if isinstance(item, dict | list | tuple)]
        if not level:
            return
    raise ValueError(f"it is nested more than {limit} levels deep")


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading, and nothing else: a pipe could block, a device could never end.

    Raises:
        OSError: it is not a regular file, or cannot be read.
    """
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:  # a NUL in its name
        raise OSError(str(error)) from error
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
        raise OSError(f"it is {kinds.get(stat.S_IFMT(mode), 'a device')}, not a regular file")
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def read_file(path: str | os.PathLike[str], limit: int = FILE_LIMIT) -> bytes:
    """Read a regular file.

    Raises:
        OSError: it cannot be read, or holds more than `limit` bytes.
    """
    with open_regular(path) as file:
        too_large = os.fstat(file.fileno()).st_size > limit
        content = b"" if too_large else file.read(limit + 1)
    if too_large or len(content) > limit:
        raise OSError(f"it holds more than {limit >> 20} MiB")
    return content


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines with their line feeds; of a line longer than `LINE_LIMIT` only the beginning."""
    while line := file.readline(LINE_LIMIT):
        yield line
        while line and not line.endswith(b"\n"):  # skip the rest of a line that is too long
            line = file.readline(LINE_LIMIT)
