"""`apply_patch(search, replace, file)`: replace a text that occurs exactly once in a file.

The search is literal: no regular expression, no fuzzy match, white space counts. Kept are the encoding (UTF-8, or bytes
as Latin-1), a byte order mark, the mode, a missing newline at the end, and line endings. In a file whose lines all end
in CR LF, a line feed in `search` and `replace` means CR LF, because a policy cannot see the difference in the output.
"""

from __future__ import annotations

from nano_codex_env.diff import File
from nano_codex_env.errors import ToolError
from nano_codex_env.repo import MAX_FILE
from nano_codex_env.tools.base import Tool, ToolContext, ToolResult

MAX_TEXT = 200_000
"""Characters of the longest `search` or `replace`."""

IN_PROMPT = (
    "apply_patch(search, replace, file): replace a text that occurs exactly once in a file by another one. This"
    " is the only way to change a file; an empty search creates a new file."
)
"""The tool's line in the default system prompt."""

_LISTED = 10
"""Occurrences of an ambiguous search that the answer lists."""
_SAME = "search and replace are the same; nothing would change"


def apply_patch() -> Tool:
    """The patch tool."""
    description = (
        "Replace a text in a file of the repository. `search` must occur exactly once in the file, character for "
        "character, indentation included; add neighbouring lines until it is unique. An empty `search` creates a "
        f"new file that holds `replace`. Texts may have up to {MAX_TEXT} characters."
    )
    parameters = {
        "search": "the exact text to be replaced; empty to create a file",
        "replace": "the text to put there instead",
        "file": "the file's path, relative to the root of the repository",
    }
    return Tool("apply_patch", description, parameters, _run, IN_PROMPT)


def _run(context: ToolContext, search: str, replace: str, file: str) -> ToolResult:
    for name, text in (("search", search), ("replace", replace)):
        if len(text) > MAX_TEXT:
            raise ToolError(f"{name} is too long ({len(text)} characters; the limit is {MAX_TEXT})")
    old = context.workspace.read(file)
    if old is None:
        if search:
            raise ToolError(f"there is no file {file}; look for it with shell, or give an empty search to create it")
        if "\0" in replace:
            raise ToolError("replace holds a NUL character; only text files can be made")
        new, answer = File(replace.encode()), f"created {file}"
    else:
        if b"\0" in old.data:
            raise ToolError(f"{file} is a binary file; only text can be patched")
        if not search and old.data:
            raise ToolError(
                f"{file} exists already; an empty search is for a new file, so give the text to be replaced"
            )
        if search == replace:
            raise ToolError(_SAME)
        data, line = _replace(old.data, search, replace, file)
        new, answer = File(data, old.executable), f"patched {file} at line {line}"
    if len(new.data) > MAX_FILE:
        raise ToolError(f"{file} would be too large ({len(new.data)} bytes; the limit is {MAX_FILE})")
    context.workspace.write(file, new)
    return ToolResult(answer)


def _replace(data: bytes, search: str, replace: str, file: str) -> tuple[bytes, int]:
    """The new bytes, and the line of the replacement."""
    encoding = "utf-8"
    if not data.isascii():  # decoding a large file takes longer than all the rest
        try:
            data.decode()
        except UnicodeDecodeError:
            encoding = "latin-1"
    if b"\r" in data and b"\r\n" in data and data.count(b"\n") == data.count(b"\r\n"):
        search, replace = (text.replace("\r\n", "\n").replace("\n", "\r\n") for text in (search, replace))
    not_found = ToolError(
        f"search text not found in {file}; look at it with shell (`grep -n`, `sed -n`) and copy the text exactly"
    )
    try:
        old = search.encode(encoding)
    except UnicodeEncodeError:
        raise not_found from None
    try:
        new = replace.encode(encoding)
    except UnicodeEncodeError as error:
        raise ToolError(
            f"{file} is not UTF-8 and replace holds characters beyond Latin-1; use only those it can hold"
        ) from error
    if b"\0" in new:
        raise ToolError("replace holds a NUL character; only text can be written")
    if old == new:
        raise ToolError(_SAME)
    if not old:
        return new, 1
    places = _places(data, old)
    if not places:
        raise not_found
    if len(places) > 1:
        lines = [data.count(b"\n", 0, place) + 1 for place in places[:_LISTED]]
        more = ", ..." if len(places) > _LISTED else ""
        raise ToolError(
            f"search occurs {max(len(places), data.count(old))} times in {file} "
            f"(at lines {', '.join(map(str, lines))}{more}); "
            "add neighbouring lines until it is unique"
        )
    place = places[0]
    view = memoryview(data)
    return b"".join((view[:place], new, view[place + len(old) :])), data.count(b"\n", 0, place) + 1


def _places(data: bytes, text: bytes) -> list[int]:
    """The first places of `text`, one more than are listed; they may overlap (`aa` occurs twice in `aaa`)."""
    places: list[int] = []
    place = data.find(text)
    while place >= 0 and len(places) <= _LISTED:
        places.append(place)
        place = data.find(text, place + 1)
    return places
