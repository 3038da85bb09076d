"""Pack finished episodes: each process moves the folders of its own to lines of shards of its own."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from nano_codex_env.atomic import write_all
from nano_codex_env.messages import dumps
from nano_codex_env.records.log_format import read_log_file
from nano_codex_env.records.shards import KEYS, as_file, parse_line
from nano_codex_env.untrusted import LINE_LIMIT, on_one_line, parse_json

logger = logging.getLogger(__name__)

SHARD_LIMIT = 512 << 20
"""Bytes of a shard, after which a process begins another; readers take twice that."""

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def pack(folder: Path) -> Path:
    """Move an episode's folder, in which nobody writes any more, to a shard beside it; return its path there.

    The line is on disk before the folder is removed. An episode that cannot be written, or not be restored byte for
    byte (a full disk, a line too long for readers), stays a folder, whose path is returned; a warning says so once.
    """
    try:
        shard = _shard_in(folder.parent).append(folder.parent, _as_line(folder))
    except (OSError, ValueError, MemoryError) as error:
        _warn(folder.parent, "an episode's log stays a folder", getattr(error, "strerror", None) or str(error))
        return folder
    try:
        shutil.rmtree(folder)
    except OSError as error:  # readers take the line
        _warn(folder.parent, "the folder of a log that is in a shard stays too", error.strerror or str(error))
    return shard / folder.name


@cache
def _warn(log_dir: Path, what: str, why: str) -> None:
    logger.warning("%s", on_one_line(f"{log_dir}: {what}: {why} (said once)"))


def _as_line(folder: Path) -> bytes:
    """An episode's line, as readers take it.

    Raises:
        OSError: a file cannot be read.
        ValueError: the line would be too long, or a file would not be restored byte for byte.
    """
    there = [name for name in sorted(os.listdir(folder)) if not name.startswith(".")]  # those are unfinished files
    names = [*(name for name in KEYS if name in there), *(name for name in there if name not in KEYS)]
    if sum((folder / name).stat().st_size for name in names) > LINE_LIMIT:
        raise ValueError(f"it is larger than {LINE_LIMIT >> 20} MiB")
    files = {name: read_log_file(folder / name) for name in names}
    values = {"episode": dumps(folder.name).encode("ascii")}
    values |= {KEYS.get(name, name): _as_json(name, content) for name, content in files.items()}
    line = b"{%s}\n" % b", ".join(b"%s: %s" % (dumps(key).encode("ascii"), value) for key, value in values.items())
    restored = parse_line(line, folder.name)
    for name, content in files.items():
        value = restored[KEYS.get(name, name)]
        is_same = len(value) == content.count(b"\n") if name.endswith(".jsonl") else as_file(name, value) == content
        if not is_same:
            raise ValueError(f"{name} could not be restored byte for byte")
    return line


def _as_json(name: str, content: bytes) -> bytes:
    """The value of a file, as it stands in a line; the lines of a `.jsonl` file stand there as they are."""
    if name == "diff.patch":
        return dumps(content.decode("utf-8", "surrogateescape")).encode("ascii")
    if not name.endswith(".jsonl"):
        return dumps(parse_json(content)).encode("ascii")
    *lines, torn = content.split(b"\n")
    if torn:
        raise ValueError(f"the last line of {name} is torn")
    return b"[%s]" % b", ".join(lines)


class _Shard:
    """The file in a folder of logs to which this process appends, and no other one."""

    def __init__(self) -> None:
        self._name, self._lock = "", threading.Lock()

    def append(self, log_dir: Path, line: bytes) -> Path:
        """Add a line, to a new file if need be; it is on disk when this returns, and not there if it raises.

        `log_dir` is the folder, as the caller calls it now.

        Raises:
            OSError: the disk is full or gone.
        """
        with self._lock:
            handle = self._open(log_dir, len(line))
            try:
                name, size = self._name, os.fstat(handle).st_size
                try:
                    write_all(handle, line)
                    os.fsync(handle)
                except BaseException:
                    self._name = ""  # after half a line, nothing is appended
                    os.ftruncate(handle, size)
                    self._name = name
                    raise
            finally:
                os.close(handle)
            return log_dir / name

    def _open(self, log_dir: Path, length: int) -> int:
        with suppress(FileNotFoundError, IsADirectoryError):  # somebody removed it; there is none yet
            handle = os.open(log_dir / self._name, _FLAGS)
            if os.fstat(handle).st_size + length <= SHARD_LIMIT:
                return handle
            os.close(handle)
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        while True:
            name = f"episodes-{stamp}-{secrets.token_hex(4)}.jsonl"
            with suppress(FileExistsError):
                handle = os.open(log_dir / name, _FLAGS | os.O_CREAT | os.O_EXCL, 0o644)
                self._name = name
                return handle


_shards: dict[tuple[int, str], _Shard] = {}


def _shard_in(log_dir: Path) -> _Shard:
    """The shard of this process in a folder; a forked process has another id, so it gets its own file and lock."""
    return _shards.setdefault((os.getpid(), os.path.realpath(log_dir)), _Shard())
