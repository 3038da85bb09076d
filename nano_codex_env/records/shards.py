"""Shards: files that hold a finished episode a line, for file systems with a quota of files.

<log_dir>/episodes-<timestamp>-<id>.jsonl
    {"episode": <name of its folder>, "metadata": {...}, "tools": [...], "messages": [...], "diff": "...", ...}

A line holds the files of an episode's folder as values, and they can be restored from it byte for byte. An episode in a
shard has the path `<shard>/<name>`, as if the shard were a folder.
"""

from __future__ import annotations

import errno
import json
import os
import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from nano_codex_env.errors import TrajectoryError
from nano_codex_env.messages import dumps
from nano_codex_env.records.log_format import check_link, check_object, read_log_file
from nano_codex_env.untrusted import (
    FILE_LIMIT,
    LINE_LIMIT,
    MAX_DEPTH,
    MAX_LINES,
    open_regular,
    parse_json,
    read_lines,
)

PATTERN = "episodes-*.jsonl"
"""The names of shards in a run's folder."""
KEYS = {
    "metadata.json": "metadata",
    "tools.json": "tools",
    "messages.jsonl": "messages",
    "diff.patch": "diff",
    "tokens.jsonl": "tokens",
}
"""The keys of an episode's files; any other file, such as `stats.json`, has its name as the key."""

_BEGINNING = re.compile(rb'\{"episode": ?"([A-Za-z0-9_][A-Za-z0-9_.-]{0,254})"[,}]')
"""How our lines begin: the name is known without parsing the rest."""


class LogFiles:
    """The files of one episode, in a folder or on a line of a shard."""

    def __init__(self, episode: Path) -> None:
        """Find the episode; a folder need not exist.

        Raises:
            TrajectoryError: it is in a shard that does not hold it, its line is damaged, or it is a shard of several.
        """
        self.path = episode = _place(episode)
        """Where it is."""
        self._values: dict[str, Any] | None = None
        if is_shard(episode.parent):
            self._values = _read_episode(episode.parent, episode.name)
        elif is_shard(episode):
            _index(episode)  # it raises if the shard cannot be read
            paths = list(episodes_in(episode))
            hint = f"; name one of them, such as {paths[0]}" if paths else ""
            raise TrajectoryError(f"{episode} holds {len(paths)} episodes{hint}")

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        if self._values is None:
            return os.path.lexists(self.path / name)
        return self._values.get(KEYS.get(name, name)) is not None

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            OSError: it is not there or cannot be read; see `read_log_file`.
            ValueError: the shard holds something else in its place.
        """
        if self._values is None:
            return read_log_file(self.path / name)
        value = self._values.get(KEYS.get(name, name))
        if value is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path / name))
        return as_file(name, value)


def is_shard(path: Path) -> bool:
    """Whether a path is that of a shard, though perhaps of one that cannot be read: any `.jsonl` but a folder."""
    return path.suffix == ".jsonl" and os.path.lexists(path) and not os.path.isdir(path)


def is_episode(path: Path) -> bool:
    """Whether a path is that of an episode, though perhaps of a damaged one.

    Raises:
        TrajectoryError: it is in a shard that cannot be read.
    """
    path = _place(path)
    if is_shard(path.parent):
        return path.name in _index(path.parent)
    return path in episodes_in(path) if is_shard(path) else os.path.lexists(path / "messages.jsonl")


def _place(episode: Path) -> Path:
    """Where an episode is: a folder that is gone may be in a shard beside it by now."""
    if not is_shard(episode.parent) and not os.path.lexists(episode / "messages.jsonl"):
        for shard in episode.parent.glob(PATTERN):
            with suppress(TrajectoryError):  # it is in another one, or in none
                if episode.name in _index(shard):
                    return shard / episode.name
    return episode


def episodes_in(shard: Path) -> dict[Path, bool]:
    """The paths of a shard's episodes, and whether their lines tell their names; the others are called `line-<number>`.

    A torn last line is left out while its episode still has a folder. A shard that cannot be read is returned as its
    only episode; reading that says why.
    """
    try:
        lines = _index(shard)
    except TrajectoryError:
        return {shard: False}
    return {
        shard / name: line.named
        for name, line in lines.items()
        if not (line.torn and os.path.lexists(shard.parent / name / "messages.jsonl"))
    }


class _Line(NamedTuple):
    number: int
    start: int
    length: int
    named: bool
    damage: str | None
    """Why it cannot be read, as far as is known before it is."""
    torn: bool
    """It is the last line and has no end: its process was killed, or is still writing it."""


def _index(shard: Path) -> dict[str, _Line]:
    """Where each episode's line is, by the episode's name."""
    try:
        check_link(shard)
        found = os.stat(shard)
    except OSError as error:
        raise TrajectoryError(f"cannot read {shard}: {error}") from error
    lines, problem = _kept_index(shard, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    if problem:
        raise TrajectoryError(f"cannot read {shard}: {problem}")
    return lines


@lru_cache(maxsize=256)
def _kept_index(shard: Path, *_version: int) -> tuple[dict[str, _Line], str]:
    """The index of a file, read once while the file does not change, and why there is none."""
    try:
        return _read_index(shard), ""
    except OSError as error:
        return {}, str(error)


def _read_index(shard: Path) -> dict[str, _Line]:
    lines: dict[str, _Line] = {}
    with open_regular(shard) as file:
        if os.fstat(file.fileno()).st_size > FILE_LIMIT:
            raise OSError(f"it holds more than {FILE_LIMIT >> 20} MiB")
        for number, raw in enumerate(read_lines(file), 1):
            if number > MAX_LINES:
                raise OSError(f"it holds more than {MAX_LINES} lines")
            name, damage, torn = _name_of(raw)
            if name in lines:
                name, damage = None, f"the episode {name} is there twice"
            if name or not torn:
                place = (number, file.tell() - len(raw), len(raw))
                lines[name or f"line-{number}"] = _Line(*place, name is not None, damage, torn)
    if lines and not any(line.named for line in lines.values()):
        first = next(iter(lines.values()))
        raise OSError(f"it is no shard of episodes: line {first.number} is damaged: {first.damage}")
    return lines


def _name_of(line: bytes) -> tuple[str | None, str | None, bool]:
    """The name of a line's episode, why it cannot be read, and whether it is torn."""
    found, ends = _BEGINNING.match(line), line.endswith(b"\n")
    name = found[1].decode("ascii") if found else None
    if name and ends:
        return name, None, False
    try:
        return str(parse_line(line)["episode"]), None, False
    except ValueError as error:
        return name, str(error), not ends and len(line) < LINE_LIMIT


def parse_line(line: bytes, wanted: str | None = None) -> dict[str, Any]:
    """The values of an episode's line; what its files hold is checked when they are read.

    Raises:
        ValueError: it is not the line of this episode, or of any.
    """
    if not line.endswith(b"\n") and len(line) >= LINE_LIMIT:
        raise ValueError(f"it is longer than {LINE_LIMIT >> 20} MiB")
    values = parse_json(line, depth=MAX_DEPTH + 2)  # a message is two levels down
    check_object(values)
    name = values.get("episode")
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\0" in name or len(name.encode()) > 255:
        raise ValueError(f"its key 'episode' must be the name of a folder; got {name!r:.80}")
    if wanted not in (None, name):
        raise ValueError(f"it holds the episode {name}; the file was changed while it was read")
    return dict(values)


def _read_episode(shard: Path, name: str) -> dict[str, Any]:
    line = _index(shard).get(name)
    if line is None:
        raise TrajectoryError(f"{shard} holds no episode {name}")
    try:
        if line.damage:
            raise ValueError(line.damage)
        with open_regular(shard) as file:
            file.seek(line.start)
            return parse_line(file.read(line.length), name)
    except (OSError, MemoryError) as error:
        raise TrajectoryError(f"cannot read {shard}: {error}") from error
    except ValueError as error:
        raise TrajectoryError(f"{shard}, line {line.number} is damaged: {error}") from error


def as_file(name: str, value: Any) -> bytes:
    """The content of a file whose value this is, as an episode writes it.

    Raises:
        ValueError: the file cannot hold this.
    """
    if name == "diff.patch":
        if not isinstance(value, str):
            raise ValueError(f"it must be text; got {type(value).__name__}")
        return value.encode("utf-8", "surrogateescape")
    if not name.endswith(".jsonl"):
        return f"{json.dumps(value, indent=2)}\n".encode("ascii")
    if not isinstance(value, list):
        raise ValueError(f"it must be a list; got {type(value).__name__}")
    return "".join(f"{dumps(item)}\n" for item in value).encode("ascii")
