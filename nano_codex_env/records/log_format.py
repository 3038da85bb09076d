"""The format of logs: where an episode's folder may be, and checks of what its files and a run's rows hold.

A log may come from anyone. Everything that is read back passes a check here first, key by key. A check raises a
`ValueError` that names the key and its value.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nano_codex_env.atomic import write_new
from nano_codex_env.errors import ConfigError
from nano_codex_env.score import as_finite
from nano_codex_env.untrusted import read_file

LOG_DIR = Path(".nano-codex")
"""The default folder of logs, in the current folder."""

LOG_KINDS = ("folder", "shard")
"""How a finished episode is kept: in a folder of its own, or on a line of a file that many share (see `shards`)."""

Kind = tuple[str, Callable[[Any], bool]]
"""The name of a kind of value, and a test for it."""


def check_log(log: str | None) -> str | None:
    """Return an argument `log`, checked.

    Raises:
        ConfigError: it is none of `LOG_KINDS`, nor None.
    """
    if log is None or log in LOG_KINDS:
        return log
    raise ConfigError(f"log is 'folder', 'shard' or None; got {log!r:.200}")


def check_log_dir(log_dir: Path) -> None:
    """Refuse the default log folder if it is a link: whoever made the current folder chose its target.

    Raises:
        OSError: it is a link.
    """
    if log_dir == LOG_DIR and log_dir.is_symlink():
        target = os.readlink(log_dir)
        raise OSError(
            f"it is a link to {target}, which a checkout may bring along; if it is yours, name {target} itself"
        )


def new_folder(log_dir: Path) -> Path:
    """Make a folder for one episode in `log_dir`.

    Raises:
        OSError: `log_dir` is the default and a link, or cannot be written.
    """
    check_log_dir(log_dir)
    log_dir.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(log_dir / ".git"):
        with suppress(FileExistsError):  # a log inside a repository must not make it dirty
            write_new(log_dir / ".gitignore", b"*\n")
    now = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now)) + f"-{int(now * 1000) % 1000:03d}"
    while True:
        folder = log_dir / f"{stamp}-{secrets.token_hex(4)}"
        with suppress(FileExistsError):
            folder.mkdir()
            return folder


def read_log_file(path: Path) -> bytes:
    """The content of a log's file.

    Raises:
        OSError: it is a link out of the log, not a regular file, too large, or cannot be read.
    """
    check_link(path)
    return read_file(path)


def check_link(path: Path) -> None:
    """Refuse a link that leads out of its folder: it could bring any file of this machine into an export.

    Links of the Hugging Face hub's cache are allowed: `snapshots/<revision>/...` point to `blobs/...`.

    Raises:
        OSError: the file is such a link.
    """
    real, folder = Path(os.path.realpath(path)), Path(os.path.realpath(path.parent))
    homes = [folder, *(above.parent / "blobs" for above in folder.parents if above.name == "snapshots")]
    if not any(real.is_relative_to(home) for home in homes):
        raise OSError(f"it is a link to {real}, outside of the log; copy the file there if you trust it")


def check_object(value: object, where: str = "it") -> None:
    """Check that a JSON value is an object."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object; got {_describe(value)}")


def check_message(message: Any) -> None:
    """Check that an episode could have written this message."""
    check_object(message)
    _check_keys(message, _MESSAGE)
    if "role" not in message:
        raise ValueError("it has no role")
    for number, call in enumerate(message.get("tool_calls") or ()):
        check_object(call, f"tool_calls[{number}]")
        _check_keys(call, {"id": _or_null(_STR)}, f"tool_calls[{number}].")


def check_tools(tools: Any) -> None:
    """Check a list of tool schemas."""
    if not isinstance(tools, list):
        raise ValueError(f"it must hold a list; got {_describe(tools)}")
    for number, tool in enumerate(tools):
        check_object(tool, f"tool {number}")
        check_object(tool.get("function"), f"tool {number}: function")
        _check_keys({"name": None, **tool["function"]}, {"name": _STR}, f"tool {number}: function.")
    try:
        json.dumps(tools, allow_nan=False)
    except ValueError as error:
        raise ValueError("it holds NaN or Infinity, which JSON does not have") from error


def check_metadata(metadata: Any) -> None:
    """Check the known keys of `metadata.json`; others may hold anything."""
    check_object(metadata)
    _check_keys(metadata, _METADATA)
    limits = metadata.get("limits") or {}
    _check_keys(limits, dict.fromkeys(limits, _LIMIT), "limits.")


def check_fields(row: Mapping[str, Any], types: Mapping[str, str]) -> None:
    """Check a row whose columns have these types, written as annotations: `float | None`, `dict[str, Any]`."""
    kinds = {}
    for name, annotation in types.items():
        kind = _OF_TYPE[annotation.removesuffix(" | None").partition("[")[0]]
        kinds[name] = _or_null(kind) if annotation.endswith(" | None") else kind
    _check_keys(row, kinds)


def _check_keys(found: Mapping[str, Any], kinds: Mapping[str, Kind], where: str = "") -> None:
    for key, (kind, check) in kinds.items():
        if key in found and not check(found[key]):
            raise ValueError(f"{where}{key} must be {kind}; got {_describe(found[key])}")


def _describe(value: object) -> str:
    return "nothing" if value is None else f"{value!r:.80} ({type(value).__name__})"


def _of(kind: str, *types: type) -> Kind:
    return kind, lambda value: isinstance(value, types)


def _or_null(kind: Kind) -> Kind:
    return f"{kind[0]} or null", lambda value: value is None or kind[1](value)


def _is_count(value: object) -> bool:
    """Up to 2**53, which every JSON reader holds exactly."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1 << 53


def _is_limit(value: Any) -> bool:
    return value is None or ((value == math.inf or as_finite(value) is not None) and value > 0)


_STR, _DICT, _LIST = _of("text", str), _of("an object", dict), _of("a list", list)
_NUMBER: Kind = ("a finite number", lambda value: as_finite(value) is not None)
_COUNT: Kind = ("a whole number from 0 on", _is_count)
_LIMIT: Kind = ("a positive number or null", _is_limit)
_MESSAGE = {
    "role": _STR,
    "content": _or_null(_of("text or a list of parts", str, list)),
    "tool_calls": _or_null(_LIST),
    "tool_call_id": _or_null(_STR),
}
_METADATA = {
    **dict.fromkeys(("task", "limits", "versions", "parts", "metrics", "counts", "branched"), _or_null(_DICT)),
    **dict.fromkeys(("commit", "on_inaction", "stop", "void"), _or_null(_STR)),
    **dict.fromkeys(("started", "reward", "seconds"), _or_null(_NUMBER)),
    **dict.fromkeys(("attempt", "steps", "tokens", "max_reminders"), _or_null(_COUNT)),
    **dict.fromkeys(("notices", "finish_reasons"), _or_null(_LIST)),
    "policy": _or_null(_of("an object or a name", dict, str)),
}
_OF_TYPE = {"str": _STR, "int": _COUNT, "float": _NUMBER, "dict": _DICT}
