"""`apply_patch(search, replace, file)`: put one text in the place of another that occurs exactly once in a file.

Literal: no regular expression, no fuzzy match, white space counts. What is kept: the encoding (UTF-8, else bytes as
Latin-1), a byte order mark, the mode, a missing newline at the end, and line endings. In a file whose lines all end in
CR LF, a line feed in `search` and `replace` stands for CR LF, since a policy cannot see the difference in the output.
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
"""What the default system prompt says of the tool."""

_LISTED = 10
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
        return _create(context, search, replace, file)
    if b"\0" in old.data:
        raise ToolError(f"{file} is a binary file; only text can be patched")
    if not search and old.data:
        raise ToolError(f"{file} exists already; an empty search is for a new file, so give the text to be replaced")
    if search == replace:
        raise ToolError(_SAME)
    new, line = _replace(old.data, search, replace, file)
    _check_size(file, new)
    context.workspace.write(file, File(new, old.executable))
    return ToolResult(f"patched {file} at line {line}")


def _create(context: ToolContext, search: str, replace: str, file: str) -> ToolResult:
    if search:
        raise ToolError(f"there is no file {file}; look for it with shell, or give an empty search to create it")
    if "\0" in replace:
        raise ToolError("replace holds a NUL character; only text files can be made")
    data = replace.encode()
    _check_size(file, data)
    context.workspace.write(file, File(data))
    return ToolResult(f"created {file}")


def _check_size(file: str, data: bytes) -> None:
    if len(data) > MAX_FILE:
        raise ToolError(f"{file} would be too large ({len(data)} bytes; the limit is {MAX_FILE})")


def _replace(data: bytes, search: str, replace: str, file: str) -> tuple[bytes, int]:
    """The new bytes, and the line where they differ."""
    encoding = _encoding(data)
    if _all_crlf(data):
        search, replace = (text.replace("\r\n", "\n").replace("\n", "\r\n") for text in (search, replace))
    wanted, instead = _encode(search, encoding), _encode(replace, encoding)
    if wanted is None:
        raise ToolError(_not_found(file))
    if instead is None:
        raise ToolError(f"{file} is not UTF-8 and replace holds characters beyond Latin-1; use only those it can hold")
    if b"\0" in instead:
        raise ToolError("replace holds a NUL character; only text can be written")
    if wanted == instead:
        raise ToolError(_SAME)
    if not wanted:
        return instead, 1
    places = _places(data, wanted)
    if not places:
        raise ToolError(_not_found(file))
    if len(places) > 1:
        lines = [data.count(b"\n", 0, place) + 1 for place in places[:_LISTED]]
        more = ", ..." if len(places) > _LISTED else ""
        raise ToolError(
            f"search occurs {max(len(places), data.count(wanted))} times in {file} "
            f"(at lines {', '.join(map(str, lines))}{more}); "
            "add neighbouring lines until it is unique"
        )
    place = places[0]
    view = memoryview(data)
    return b"".join((view[:place], instead, view[place + len(wanted) :])), data.count(b"\n", 0, place) + 1


def _places(data: bytes, wanted: bytes) -> list[int]:
    """Where `wanted` begins, overlaps counted (`aa` occurs twice in `aaa`); no more than are told of, and one."""
    places: list[int] = []
    place = data.find(wanted)
    while place >= 0 and len(places) <= _LISTED:
        places.append(place)
        place = data.find(wanted, place + 1)
    return places


def _not_found(file: str) -> str:
    return f"search text not found in {file}; look at it with shell (`grep -n`, `sed -n`) and copy the text exactly"


def _encoding(data: bytes) -> str:
    if data.isascii():
        return "utf-8"
    try:
        data.decode()
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _encode(text: str, encoding: str) -> bytes | None:
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        return None


def _all_crlf(data: bytes) -> bool:
    return b"\r" in data and b"\r\n" in data and data.count(b"\n") == data.count(b"\r\n")
