"""Untrusted input: JSON parsed strictly, files read within bounds, text made safe to print on a terminal.

Logs, dataset rows, models and servers may send anything. What reads them goes through here, so that every fault is an
`OSError` or a `ValueError` that says what was found; the callers add the file and raise the error of their own kind.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO

FILE_LIMIT = 1 << 30
"""Bytes of a file that is read as a whole (1 GiB)."""
LINE_LIMIT = 64 << 20
"""Bytes of one line, or of one JSON document (64 MiB)."""
MOST_LINES = 1_000_000
"""Lines of a log's file: one of nothing but `{}` would else fill the memory before it is refused."""
MAX_DEPTH = 100
"""Levels of lists and objects inside each other: far below what any recursion of ours or Python's can take."""

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed: ESC, CR, backspace, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # direction overrides, which reorder what stands beside them
    "\u2028\u2029\ufff9-\ufffb\U000e0000-\U000e007f"  # separators, annotations and tags, which show nothing
    "\ud800-\udfff]"  # lone surrogates, which no terminal can be sent
)


def for_terminal(text: str) -> str:
    r"""The text with everything a terminal would obey, reorder or hide written out, such as `\x1b`.

    Tabs and line feeds stay.

    >>> for_terminal("\x1b[2Jok\n")
    '\\x1b[2Jok\n'
    """
    return text if text.isprintable() else _HIDDEN.sub(_written_out, text)


def on_one_line(text: str) -> str:
    r"""The text for a terminal, line feeds written out too: a name that holds one could fake a line of ours.

    >>> on_one_line("a\nb")
    'a\\x0ab'
    """
    return for_terminal(text).replace("\n", "\\x0a")


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def parse_json(text: str | bytes, limit: int = LINE_LIMIT) -> Any:
    """The value of a JSON document; NaN and Infinity are read as Python's json writes them.

    Raises:
        ValueError: it is no JSON, longer than `limit`, nested too deeply, or has a key twice.
    """
    if len(text) > limit:
        raise ValueError(f"it is longer than {limit >> 20} MiB")
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep") from error
    except MemoryError as error:
        raise ValueError("it takes more memory than there is") from error
    check_depth(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r:.80} is there twice")
    return made


def check_depth(value: object, limit: int = MAX_DEPTH) -> None:
    """Look level by level, without recursion, how deeply lists and objects are nested.

    Raises:
        ValueError: more than `limit` levels.
    """
    level = [value]
    for _ in range(limit + 1):
        level = [
            item
            for each in level
            if isinstance(each, dict | list | tuple)
            for item in (each.values() if isinstance(each, dict) else each)
            if isinstance(item, dict | list | tuple)
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {limit} levels deep")


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """A file opened for reading; a pipe or a device, which could block or never end, is not opened.

    Raises:
        OSError: it is no regular file, or cannot be read.
    """
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:  # a NUL in its name
        raise OSError(str(error)) from error
    if not stat.S_ISREG(mode):
        raise OSError(f"it is {_kind(mode)}, not a regular file")
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def read_file(path: str | os.PathLike[str], limit: int = FILE_LIMIT) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: it cannot be read, or holds more than `limit` bytes.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > limit:
            raise OSError(f"it holds more than {limit >> 20} MiB")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(f"it holds more than {limit >> 20} MiB")
    return content


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file with their line feeds; of one longer than `LINE_LIMIT` the beginning, and without."""
    while line := file.readline(LINE_LIMIT):
        yield line
        while not line.endswith(b"\n"):  # what is left of a line that is too long is passed over
            line = file.readline(LINE_LIMIT)
            if not line:
                return
