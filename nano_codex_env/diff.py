"""Write and parse patches in git's format, since git never runs on the host over files that a policy has written."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

CONTEXT = 3
"""Unchanged lines around a change."""

_MOST_PAIRS = 100_000
"""Pairs of equal lines that difflib is given; above this the differing lines are written as one replaced block."""


@dataclass(frozen=True)
class File:
    """A file as git sees it."""

    data: bytes
    """Its content; of a symbolic link, what it points to."""
    executable: bool = False
    is_link: bool = False

    @property
    def mode(self) -> str:
        """Git's mode: `100755`, `100644` or `120000`."""
        return "120000" if self.is_link else "100755" if self.executable else "100644"


def file_diff(path: str, old: File | None, new: File | None) -> str:
    """The patch in git's format that turns `old` into `new`; None stands for no file.

    Bytes that are not UTF-8 are surrogate escapes in the text: encode it with "surrogateescape".
    """
    if old == new:
        return ""
    a, b = quote(f"a/{path}"), quote(f"b/{path}")
    lines = [f"diff --git {a} {b}"]
    if old is None and new is not None:
        lines.append(f"new file mode {new.mode}")
    elif new is None and old is not None:
        lines.append(f"deleted file mode {old.mode}")
    elif old is not None and new is not None and old.mode != new.mode:
        lines += [f"old mode {old.mode}", f"new mode {new.mode}"]
    before, after = old.data if old else b"", new.data if new else b""
    hunks = b""
    if before != after or old is None or new is None:
        suffix = f" {new.mode}" if old and new and old.mode == new.mode else ""
        lines.append(f"index {_blob_id(old)}..{_blob_id(new)}{suffix}")
    if before != after:
        end = "\t" if " " in path else ""  # as git does, or GNU patch would read what follows the blank as a date
        lines += [f"--- {a}{end}" if old else "--- /dev/null", f"+++ {b}{end}" if new else "+++ /dev/null"]
        hunks = b"".join(_hunks(_lines(before), _lines(after)))
    return "".join(line + "\n" for line in lines) + hunks.decode("utf-8", "surrogateescape")


def _blob_id(file: File | None) -> str:
    if file is None:
        return "0" * 40
    return hashlib.sha1(b"blob %d\0" % len(file.data) + file.data, usedforsecurity=False).hexdigest()


def _lines(data: bytes) -> list[bytes]:
    *lines, last = data.split(b"\n")
    return [line + b"\n" for line in lines] + ([last] if last else [])


def _hunks(a: list[bytes], b: list[bytes]) -> Iterator[bytes]:
    matcher: difflib.SequenceMatcher[bytes] = difflib.SequenceMatcher(None, [], [])
    matcher.opcodes = _opcodes(a, b)  # type: ignore[attr-defined]  # where `get_opcodes` keeps its result
    for group in matcher.get_grouped_opcodes(CONTEXT):
        first, last = group[0], group[-1]
        yield b"@@ -%s +%s @@\n" % (_range(first[1], last[2]), _range(first[3], last[4]))
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from (_line(b" ", line) for line in a[i1:i2])
            else:
                yield from (_line(b"-", line) for line in a[i1:i2])
                yield from (_line(b"+", line) for line in b[j1:j2])


def _opcodes(a: list[bytes], b: list[bytes]) -> list[tuple[str, int, int, int, int]]:
    """Difflib's opcodes of two texts that differ; it compares only what lies between their common head and tail."""
    head = _common_head(a, b)
    tail = _common_head(a[head:][::-1], b[head:][::-1])
    i, j = len(a) - tail, len(b) - tail
    counts = Counter(b[head:j])
    if sum(counts[line] for line in a[head:i]) > _MOST_PAIRS:
        middle = [("replace", head, i, head, j)]
    else:
        matcher = difflib.SequenceMatcher(None, a[head:i], b[head:j], autojunk=False)
        middle = [(tag, i1 + head, i2 + head, j1 + head, j2 + head) for tag, i1, i2, j1, j2 in matcher.get_opcodes()]
    return [("equal", 0, head, 0, head), *middle, ("equal", i, len(a), j, len(b))]


def _common_head(a: list[bytes], b: list[bytes]) -> int:
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _line(mark: bytes, line: bytes) -> bytes:
    return mark + line if line.endswith(b"\n") else mark + line + b"\n\\ No newline at end of file\n"


def _range(start: int, stop: int) -> bytes:
    length = stop - start
    if length == 1:
        return b"%d" % (start + 1)
    return b"%d,%d" % (start + 1 if length else start, length)


_ESCAPES = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 34: '"', 92: "\\"}
_UNESCAPES = {letter.encode(): bytes([byte]) for byte, letter in _ESCAPES.items()}
_QUOTED = {byte: chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}" for byte in range(256)}
_QUOTED |= {byte: f"\\{letter}" for byte, letter in _ESCAPES.items()}
_ESCAPE = re.compile(rb'\\(?:([abtnvfr"\\])|([0-3][0-7]{2})|\Z)')


def quote(name: str) -> str:
    """A file name as git writes it in a patch: C-quoted where it holds more than plain ASCII.

    >>> quote("a/plain name.py")
    'a/plain name.py'
    """
    quoted = "".join(_QUOTED[byte] for byte in name.encode("utf-8", "surrogateescape"))
    return name if quoted == name else f'"{quoted}"'


def unquote(name: str) -> str:
    """The file name that git wrote as `name`; a name with a malformed escape is returned as it is."""
    if len(name) < 2 or not name.startswith('"') or not name.endswith('"'):
        return name
    raw = name[1:-1].encode("utf-8", "surrogateescape")
    if b"\\" in _ESCAPE.sub(b"", raw):
        return name

    def unescape(match: re.Match[bytes]) -> bytes:
        letter, octal = match.groups()
        return bytes([int(octal, 8)]) if octal else _UNESCAPES[letter or b"\\"]

    return _ESCAPE.sub(unescape, raw).decode("utf-8", "surrogateescape")


def normalize_patch(text: str) -> str:
    """A patch as git accepts it, from one that was stored or sent.

    A missing last newline, which datasets and models strip, is added. Where every header ends with CRLF, the patch was
    converted as a whole, and all its line ends become LF; a CRLF of a file's own lines stays.
    """
    if not text.strip():
        return ""
    lines = text.split("\n")
    headers = [line for line in lines if line.startswith(("diff --git ", "--- ", "+++ ", "@@ "))]
    if headers and all(line.endswith("\r") for line in headers):
        lines = [line.removesuffix("\r") for line in lines]
    return "\n".join(lines) + ("" if not lines[-1] else "\n")


@dataclass(frozen=True)
class FilePatch:
    """The part of a patch that changes one file."""

    paths: tuple[str, ...]
    """Its path; two where it is renamed or copied (old, new)."""
    text: str
    is_new: bool
    """Whether it creates the file."""


def split(patch: str) -> list[FilePatch]:
    """The files of a patch, in order, without any text before the first.

    A file begins at `diff --git`, or at `---`, `+++` and `@@` lines that do not belong to the current file's header,
    even after another file's hunks, because git would apply them there. Lines inside a hunk are never read as headers.
    """
    lines = patch.split("\n")
    starts = list(_starts(lines))
    ends = [*starts[1:], len(lines)]
    return [_file_patch(lines[start:end], last=end == len(lines)) for start, end in zip(starts, ends, strict=False)]


def _starts(lines: list[str]) -> Iterator[int]:
    """The line numbers at which files begin."""
    n, has_header = 0, True
    while n < len(lines):
        if lines[n].startswith("diff --git "):
            yield n
            has_header = False
        elif [line[:4] for line in lines[n : n + 3]] == ["--- ", "+++ ", "@@ -"]:
            if has_header:
                yield n
            has_header, n = True, n + 2
        old, new = hunk_lengths(lines[n])
        has_header |= bool(old or new)
        n += 1
        while n < len(lines) and (old > 0 or new > 0):
            old -= lines[n][:1] in ("-", " ", "")
            new -= lines[n][:1] in ("+", " ", "")
            n += 1


def hunk_lengths(line: str) -> tuple[int, int]:
    """The numbers of old and new lines after `@@ -start,length +start,length @@`; zeros for any other line."""
    words = line.split(" ")
    if len(words) < 4 or words[0] != "@@" or words[3] != "@@":
        return 0, 0
    lengths = [word[1:].partition(",")[2] or "1" for word in words[1:3]]
    if not all(length.isdecimal() and len(length) < 19 for length in lengths):  # git reads no more digits either
        return 0, 0
    return int(lengths[0]), int(lengths[1])


_NAMES = ("rename from ", "copy from ", "rename old ", "rename to ", "copy to ", "rename new ")


def _file_patch(lines: list[str], *, last: bool) -> FilePatch:
    header: dict[str, str] = {}
    for line in lines:
        if line.startswith(("@@ ", "GIT binary patch")):
            break
        for key in ("--- ", "+++ ", *_NAMES, "new file mode "):
            if line.startswith(key):
                header[key] = line.removeprefix(key)
    paths = [unquote(header[key]) for key in _NAMES if key in header]
    paths += [path for key in ("--- ", "+++ ") if (path := _path(header.get(key, "/dev/null")))]  # git may use either
    if not paths:  # `diff --git a/X b/X` is the only line with a name
        names = lines[0].removeprefix("diff --git ")
        paths = [unquote(names[: len(names) // 2]).partition("/")[2]]
    is_new = "new file mode " in header or header.get("--- ", "").startswith("/dev/null")
    text = "\n".join(lines) + ("" if last else "\n")
    return FilePatch(tuple(dict.fromkeys(paths)), text, is_new)


def _path(name: str) -> str:
    """The path in a `---` or `+++` line; empty for /dev/null."""
    name = name[: name.rindex('"') + 1] if name.startswith('"') else name.split("\t")[0]
    path = unquote(name.rstrip("\r"))
    return "" if path == "/dev/null" else path.partition("/")[2] or path  # plain `diff` puts no prefix before a name
