"""The reverse of a patch: the fix of an injected bug."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from nano_codex_env.diff import FilePatch, hunk_lengths, normalize_patch, quote, split

_COUNTERPARTS = {"new file mode ": "deleted file mode ", "rename from ": "rename to ", "old mode ": "new mode "}
_COUNTERPARTS |= {new: old for old, new in _COUNTERPARTS.items()}
_KEYS = ("--- ", "+++ ", "index ", "diff --git ", *_COUNTERPARTS)
_OPPOSITE = {"+": "-", "-": "+", " ": " "}


def reverse(patch: str) -> str:
    """The patch that undoes `patch`, which is in git's format.

    Raises:
        ValueError: it changes no file, holds a binary file or a copy, or a hunk is cut short.
    """
    parts = split(normalize_patch(patch))
    if not parts:
        raise ValueError("it changes no file")
    return "".join(line + "\n" for part in parts for line in _file(part))


def _file(part: FilePatch) -> Iterator[str]:
    lines = part.text.split("\n")
    start = next((n for n, line in enumerate(lines) if line.startswith("@@ ")), len(lines))
    if any(line.startswith(("GIT binary patch", "Binary files ", "copy from ")) for line in lines[:start]):
        raise ValueError(f"{part.paths[-1]!r:.200} is binary or a copy")
    header = {next((key for key in _KEYS if line.startswith(key)), line): line for line in lines[:start] if line}
    values = {key: line.removeprefix(key) for key, line in header.items()}
    for key, value in values.items():
        other = _COUNTERPARTS.get(key, "")
        if key == "--- ":
            yield key + re.sub('^("?)b/', r"\1a/", values.get("+++ ", value))
        elif key == "+++ ":
            yield key + re.sub('^("?)a/', r"\1b/", values.get("--- ", value))
        elif key == "index ":
            ids, blank, mode = value.partition(" ")
            yield key + "..".join(reversed(ids.split(".."))) + blank + mode
        elif key == "diff --git " and len(part.paths) == 2:
            yield f"{key}{quote(f'a/{part.paths[1]}')} {quote(f'b/{part.paths[0]}')}"
        elif other in values:  # a rename, or a change of the mode: two lines that change places
            yield key + values[other]
        else:
            yield (other or key) + value
    yield from _hunks(lines[start:])


def _hunks(lines: list[str]) -> Iterator[str]:
    n = 0
    while n < len(lines):
        head, (old, new) = lines[n], hunk_lengths(lines[n])
        n += 1
        if not old and not new:
            continue  # between hunks, as of an e-mail's signature
        changes: list[tuple[str, list[str]]] = []
        while n < len(lines) and (old > 0 or new > 0 or lines[n].startswith("\\")):
            mark, text = lines[n][:1] or " ", lines[n][1:]
            n += 1
            if mark == "\\" and changes:  # "\ No newline at end of file", of the line before
                changes[-1][1].append(mark + text)
                continue
            if mark not in _OPPOSITE:
                raise ValueError(f"a hunk holds the line {lines[n - 1]!r:.80}")
            old, new = old - (mark != "+"), new - (mark != "-")
            changes.append((_OPPOSITE[mark], [_OPPOSITE[mark] + text]))
        if old or new:
            raise ValueError(f"the hunk {head!r:.80} is cut short")
        words = head.split(" ")
        yield " ".join(["@@", f"-{words[2][1:]}", f"+{words[1][1:]}", *words[3:]])
        for is_context, run in groupby(changes, key=lambda change: change[0] == " "):
            for _, entry in run if is_context else sorted(run, key=lambda change: change[0] == "+"):
                yield from entry
