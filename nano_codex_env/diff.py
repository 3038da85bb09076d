"""Patches in git's format, made and taken apart in this process.

git itself is never run on the host over files that a policy may have written; this is what stands in its place.
"""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

CONTEXT = 3
_LARGE = 100_000
"""Above so many pairs of equal lines the differing middle is written as one replaced block: exact, and in time."""


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
    """The patch from `old` to `new` of one file, in git's format; None: there is no such file.

    Bytes that are not UTF-8 stand in the text as surrogate escapes: encode it with "surrogateescape".
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
    if before != after or old is None or new is None:
        suffix = f" {new.mode}" if old and new and old.mode == new.mode else ""
        lines.append(f"index {_blob_id(old)}..{_blob_id(new)}{suffix}")
    if before != after:
        end = "\t" if " " in path else ""  # git's own: without it GNU patch would read a date after the blank
        lines += [f"--- {a}{end}" if old else "--- /dev/null", f"+++ {b}{end}" if new else "+++ /dev/null"]
    head = "".join(line + "\n" for line in lines)
    return head + b"".join(_hunks(_lines(before), _lines(after))).decode("utf-8", "surrogateescape")


def _blob_id(file: File | None) -> str:
    if file is None:
        return "0" * 40
    return hashlib.sha1(b"blob %d\0" % len(file.data) + file.data, usedforsecurity=False).hexdigest()


def _lines(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    last = lines.pop()
    return [line + b"\n" for line in lines] + ([last] if last else [])


def _hunks(a: list[bytes], b: list[bytes]) -> Iterator[bytes]:
    for group in _groups(_opcodes(a, b)):
        first, last = group[0], group[-1]
        yield b"@@ -%s +%s @@\n" % (_range(first[1], last[2]), _range(first[3], last[4]))
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from (_line(b" ", line) for line in a[i1:i2])
            else:
                yield from (_line(b"-", line) for line in a[i1:i2])
                yield from (_line(b"+", line) for line in b[j1:j2])


def _line(mark: bytes, line: bytes) -> bytes:
    return mark + line if line.endswith(b"\n") else mark + line + b"\n\\ No newline at end of file\n"


def _range(start: int, stop: int) -> bytes:
    length = stop - start
    if length == 1:
        return b"%d" % (start + 1)
    return b"%d,%d" % (start + 1 if length else start, length)


Opcode = tuple[str, int, int, int, int]


def _opcodes(a: list[bytes], b: list[bytes]) -> list[Opcode]:
    """Difflib's opcodes, with the common head and tail taken off first: an edit costs what it touches."""
    head, limit = 0, min(len(a), len(b))
    while head < limit and a[head] == b[head]:
        head += 1
    tail = 0
    while tail < limit - head and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    i, j = len(a) - tail, len(b) - tail
    middle: list[Opcode]
    counts = Counter(b[head:j])
    if sum(counts[line] for line in a[head:i]) > _LARGE:
        middle = [("replace", head, i, head, j)]
    else:
        matcher = difflib.SequenceMatcher(None, a[head:i], b[head:j], autojunk=False)
        middle = [(tag, *(n + head for n in numbers)) for tag, *numbers in matcher.get_opcodes()]  # type: ignore[misc]
    return [("equal", 0, head, 0, head), *middle, ("equal", i, len(a), j, len(b))]


def _groups(opcodes: list[Opcode]) -> Iterator[list[Opcode]]:
    """Opcodes in hunks with their context; equal runs longer than two contexts part them."""
    group: list[Opcode] = []
    for tag, i1, i2, j1, j2 in opcodes:
        if tag != "equal":
            group.append((tag, i1, i2, j1, j2))
        elif i2 - i1 > 2 * CONTEXT or not group:
            if group:
                end = min(CONTEXT, i2 - i1)
                group.append(("equal", i1, i1 + end, j1, j1 + end))
                yield group
            start = min(CONTEXT, i2 - i1)
            group = [("equal", i2 - start, i2, j2 - start, j2)]
        else:
            group.append((tag, i1, i2, j1, j2))
    if group and any(tag != "equal" for tag, *_ in group):
        yield _trimmed(group)


def _trimmed(group: list[Opcode]) -> list[Opcode]:
    tag, i1, i2, j1, _ = group[-1]
    if tag == "equal":
        end = min(CONTEXT, i2 - i1)
        group[-1] = (tag, i1, i1 + end, j1, j1 + end)
    return group


def quote(name: str) -> str:
    """A file name as git writes it in a patch: C-quoted where it holds more than plain ASCII.

    >>> quote("a/plain name.py")
    'a/plain name.py'
    """
    raw = name.encode("utf-8", "surrogateescape")
    if all(32 <= byte < 127 and byte not in b'"\\' for byte in raw):
        return name
    return '"' + "".join(_escape(byte) for byte in raw) + '"'


_ESCAPES = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
_UNESCAPES = {text[1]: byte for byte, text in _ESCAPES.items()}


def _escape(byte: int) -> str:
    return _ESCAPES.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}")


def unquote(name: str) -> str:
    """The file name that git wrote as `name`."""
    if not (len(name) > 1 and name[0] == name[-1] == '"'):
        return name
    out, rest = bytearray(), iter(name[1:-1])
    for char in rest:
        if char != "\\":
            out += char.encode("utf-8", "surrogateescape")
            continue
        char = next(rest, "\\")
        if char in _UNESCAPES:
            out.append(_UNESCAPES[char])
            continue
        digits = char + next(rest, "") + next(rest, "")
        if len(digits) != 3 or digits[0] not in "0123" or not set(digits) <= set("01234567"):
            return name
        out.append(int(digits, 8))
    return out.decode("utf-8", "surrogateescape")


def read_patch(text: str) -> str:
    """A patch as git takes it, from one that was stored or sent: the one reading of patches everywhere.

    The last newline, which data sets and models strip, is there again; line ends of a patch that was turned into
    CRLF as a whole (its headers too) are LF again. A CRLF that belongs to a file's own lines stays.
    """
    if not text.strip():
        return ""
    lines = text.split("\n")
    marks = ("diff --git ", "--- ", "+++ ", "@@ ")
    heads = [line for line in lines if line.startswith(marks)]
    if heads and all(line.endswith("\r") for line in heads):
        lines = [line.removesuffix("\r") for line in lines]
    return "\n".join(lines) + ("" if not lines[-1] else "\n")


@dataclass(frozen=True)
class FilePatch:
    """The part of a patch that is about one file."""

    paths: tuple[str, ...]
    """Its path; two where it was renamed or copied (old, new)."""
    text: str
    is_new: bool
    """Whether it makes a file that was not there."""


def split(patch: str) -> list[FilePatch]:
    """The files of a patch, in order; what stands before the first is dropped.

    A file begins where git says so (`diff --git`), or where `---` is followed by `+++` and a hunk that is not its own,
    also behind another file's hunks: git applies it there, so nothing can hide in it. The lines that a hunk says it has
    are passed over, whatever they look like.
    """
    lines = patch.split("\n")
    starts = list(_starts(lines))
    ends = [*starts[1:], len(lines)]
    return [_file_patch(lines[start:end], last=end == len(lines)) for start, end in zip(starts, ends, strict=False)]


def _starts(lines: list[str]) -> Iterator[int]:
    """Where files begin."""
    n, has_header = 0, True
    while n < len(lines):
        if lines[n].startswith("diff --git "):
            yield n
            has_header = False
        elif _is_plain_header(lines[n : n + 3]):
            if has_header:
                yield n
            has_header, n = True, n + 2
        old, new = _hunk_lengths(lines[n])
        has_header |= bool(old or new)
        n += 1
        while n < len(lines) and (old > 0 or new > 0):
            old -= lines[n][:1] in ("-", " ", "")
            new -= lines[n][:1] in ("+", " ", "")
            n += 1


def _hunk_lengths(line: str) -> tuple[int, int]:
    """How many lines of each side follow `@@ -start,length +start,length @@`; no such line: none."""
    words = line.split(" ")
    if len(words) < 4 or words[0] != "@@" or words[3] != "@@":
        return 0, 0
    lengths = [word[1:].partition(",")[2] or "1" for word in words[1:3]]
    whole = all(length.isdecimal() and len(length) < 19 for length in lengths)  # git reads no more digits either
    return (int(lengths[0]), int(lengths[1])) if whole else (0, 0)


def _is_plain_header(lines: list[str]) -> bool:
    return (
        len(lines) == 3 and lines[0].startswith("--- ") and lines[1].startswith("+++ ") and lines[2].startswith("@@ -")
    )


_NAMES = ("rename from ", "copy from ", "rename old ", "rename to ", "copy to ", "rename new ")


def _file_patch(lines: list[str], *, last: bool) -> FilePatch:
    header: dict[str, str] = {}
    for line in lines:
        if line.startswith("@@ ") or line.startswith("GIT binary patch"):
            break
        for key in ("--- ", "+++ ", *_NAMES, "new file mode "):
            if line.startswith(key):
                header[key] = line[len(key) :]
    paths = [unquote(header[key]) for key in _NAMES if key in header]
    sides = [_side(header.get(key, "/dev/null")) for key in ("--- ", "+++ ")]
    paths += [side for side in sides if side]  # where they disagree with the names above, git takes one of them
    paths = paths or [_from_first_line(lines[0])]
    is_new = "new file mode " in header or header.get("--- ", "").startswith("/dev/null")
    text = "\n".join(lines) + ("" if last else "\n")
    return FilePatch(tuple(dict.fromkeys(paths)), text, is_new)


def _side(name: str) -> str:
    name = name[: name.rindex('"') + 1] if name.startswith('"') else name.split("\t")[0]
    path = unquote(name.rstrip("\r"))
    return "" if path == "/dev/null" else path.partition("/")[2] or path  # plain `diff` puts no prefix before a name


def _from_first_line(line: str) -> str:
    """The path in `diff --git a/X b/X`, where nothing else names it: both halves are alike."""
    names = line.removeprefix("diff --git ")
    return unquote(names[: len(names) // 2]).partition("/")[2]
