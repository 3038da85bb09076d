"""Where an episode's log may lie and what its files may hold: what is read back is checked here first, key by key."""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nano_codex_env.atomic import write_new
from nano_codex_env.untrusted import read_file

_LARGEST = 1 << 53
"""Whole numbers up to here are exact in every JSON reader."""

LOG_DIR = Path(".nano-codex")
"""Where logs go unless a folder is named, below the current one."""

Check = Callable[[Any], bool]


def check_log_dir(log_dir: Path) -> None:
    """Refuse the default where it is a link: the current folder may be anybody's checkout, and nobody named the target.

    Raises:
        OSError: it is one.
    """
    if log_dir == LOG_DIR and log_dir.is_symlink():
        target = os.readlink(log_dir)
        raise OSError(
            f"it is a link to {target}, which a checkout may bring along; if it is yours, name {target} itself"
        )


def new_folder(log_dir: Path) -> Path:
    """Make a folder for one episode, below `log_dir`.

    Raises:
        OSError: `log_dir` is a link that nobody named, or cannot be written.
    """
    check_log_dir(log_dir)
    if not log_dir.is_dir():
        log_dir.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(log_dir / ".git"):
        with suppress(FileExistsError):  # so that a log inside a repository does not make it dirty
            write_new(log_dir / ".gitignore", b"*\n")
    now = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now)) + f"-{int(now * 1000) % 1000:03d}"
    while True:
        folder = log_dir / f"{stamp}-{secrets.token_hex(4)}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder


def read_log_file(path: Path) -> bytes:
    """The content of a file of a log.

    Raises:
        OSError: it is a link out of the log, no regular file, too large, or cannot be read.
    """
    check_place(path)
    return read_file(path)


def check_place(path: Path) -> None:
    """Follow no link out of a log or a run's folder: it could bring any file of this machine's into an export.

    Only the hub's cache is known to keep its files so: `snapshots/<revision>/...` are links to `blobs/...` beside it.

    Raises:
        OSError: the file is such a link.
    """
    real, folder = Path(os.path.realpath(path)), Path(os.path.realpath(path.parent))
    homes = [folder, *(above.parent / "blobs" for above in folder.parents if above.name == "snapshots")]
    if not any(real.is_relative_to(home) for home in homes):
        raise OSError(f"it is a link to {real}, outside of the log; copy the file there if you trust it")


def check_message(message: Any) -> None:
    """Look at one message.

    Raises:
        ValueError: it is none that an episode could have written; the key and what stands there are named.
    """
    _object("it", message)
    _keys(message, _MESSAGE)
    if "role" not in message:
        raise ValueError("it has no role")
    for number, call in enumerate(message.get("tool_calls") or ()):
        _object(f"tool_calls[{number}]", call)
        _keys(call, _CALL, f"tool_calls[{number}].")


def check_tools(tools: Any) -> None:
    """Look at a list of tool schemas.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(tools, list):
        raise ValueError(f"it must hold a list; got {_told(tools)}")
    for number, tool in enumerate(tools):
        _object(f"tool {number}", tool)
        _object(f"tool {number}: function", tool.get("function"))
        if not isinstance(tool["function"].get("name"), str):
            raise ValueError(f"tool {number}: function.name must be text; got {_told(tool['function'].get('name'))}")
    if not _all_finite(tools):
        raise ValueError("it holds a number that JSON has not: NaN or Infinity")


def check_metadata(about: Any) -> None:
    """Look at what `metadata.json` tells: each key that is known has its kind; others are left alone.

    Raises:
        ValueError: it is no object, or a key's value is of another kind.
    """
    _object("it", about)
    _keys(about, _METADATA)
    _keys(about.get("limits") or {}, dict.fromkeys(about.get("limits") or {}, _LIMIT), "limits.")


def check_row(row: Any) -> None:
    """Look at a row of `results.jsonl`.

    Raises:
        ValueError: as for `check_metadata`.
    """
    _object("it", row)
    _keys(row, _ROW)


def is_finite(value: object) -> bool:
    """Whether it is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1 << 64 if isinstance(value, int) else math.isfinite(value)


def _keys(found: Mapping[str, Any], kinds: Mapping[str, tuple[str, Check]], where: str = "") -> None:
    for key, (kind, check) in kinds.items():
        if key in found and not check(found[key]):
            raise ValueError(f"{where}{key} must be {kind}; got {_told(found[key])}")


def _object(where: str, value: object) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object; got {_told(value)}")


def _told(value: object) -> str:
    return "nothing" if value is None else f"{value!r:.80} ({type(value).__name__})"


def _all_finite(tree: object) -> bool:
    level = [tree]
    while level:
        if any(isinstance(value, float) and not math.isfinite(value) for value in level):
            return False
        below = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list))
        level = [item for items in below for item in items]
    return True


def _or_null(kind: tuple[str, Check]) -> tuple[str, Check]:
    words, check = kind
    return f"{words} or null", lambda value: value is None or check(value)


def _of(words: str, *kinds: type) -> tuple[str, Check]:
    return words, lambda value: isinstance(value, kinds)


_STR, _DICT, _LIST = _of("text", str), _of("an object", dict), _of("a list", list)
_NUMBER: tuple[str, Check] = ("a finite number", is_finite)
_COUNT: tuple[str, Check] = (
    "a whole number from 0 on",
    lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST,
)
_LIMIT = (
    "a positive number or null",
    lambda value: value is None or ((value == math.inf or is_finite(value)) and value > 0),
)
_CALL = {"id": _or_null(_STR)}
_MESSAGE = {
    "role": _STR,
    "content": _or_null(_of("text or a list of parts", str, list)),
    "tool_calls": _or_null(_LIST),
    "tool_call_id": _or_null(_STR),
}
_METADATA = {
    "task": _or_null(_DICT),
    "commit": _or_null(_STR),
    "limits": _or_null(_DICT),
    "on_inaction": _or_null(_STR),
    "notices": _or_null(_LIST),
    "started": _or_null(_NUMBER),
    "versions": _or_null(_DICT),
    "stop": _or_null(_STR),
    "void": _or_null(_STR),
    "reward": _or_null(_NUMBER),
    "attempt": _or_null(_COUNT),
    "steps": _or_null(_COUNT),
    "tokens": _or_null(_COUNT),
    "seconds": _or_null(_NUMBER),
    "parts": _or_null(_DICT),
    "metrics": _or_null(_DICT),
    "counts": _or_null(_DICT),
    "finish_reasons": _or_null(_LIST),
    "policy": _or_null(_of("an object or a name", dict, str)),
    "branched": _or_null(_DICT),
}
_ROW = {
    "instance_id": _STR,
    "attempt": _COUNT,
    "reward": _or_null(_NUMBER),
    "stop": _or_null(_STR),
    "steps": _COUNT,
    "seconds": _NUMBER,
    "void": _or_null(_STR),
    "folder": _or_null(_STR),
    "diff": _STR,
    "parts": _DICT,
    "metrics": _DICT,
    "scorer": _or_null(_STR),
}
