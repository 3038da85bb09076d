"""A file of JSON lines that a long job appends to and resumes from, such as `results.jsonl`."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Self

from nano_codex_env.atomic import write_all, write_locked
from nano_codex_env.errors import ConfigError, TrajectoryError
from nano_codex_env.locks import try_lock
from nano_codex_env.messages import dumps
from nano_codex_env.records.log_format import check_link
from nano_codex_env.untrusted import MAX_LINES, open_regular, parse_json, read_lines


class RowFile:
    """Rows by key, kept in a locked file of which the last row of a key counts; use it as a context manager.

    A row is on disk when `add` returns. Torn and damaged lines are dropped on reading; rows that a later one replaces
    are dropped when the file is closed, which rewrites it atomically.
    """

    def __init__(self, path: Path, key: Callable[[dict[str, Any]], Hashable], *, resume: bool) -> None:
        """Open and lock `path`; with `resume`, its rows are kept.

        Raises:
            ConfigError: it holds rows and `resume` is not given, another process has it open, it is not a file of rows,
                or it cannot be written.
        """
        self._path, self._key = path, key
        self.rows: dict[Hashable, dict[str, Any]] = {}
        self._lines = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle: int | None = _open_locked(path)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error}; give another folder") from error
        try:
            self._read(resume)
        except BaseException:
            self._unlock()
            raise

    def _read(self, resume: bool) -> None:
        try:
            rows, complete = _parse(self._path)
            is_empty = not self._path.stat().st_size
        except OSError as error:
            raise ConfigError(f"cannot read {self._path}: {error}; give another folder") from error
        if complete and not rows:
            raise ConfigError(f"{self._path} is not a file of results; give another one")
        if not is_empty and not resume:
            raise ConfigError(
                f"{self._path} holds {len(rows)} results of an earlier run; resume it, or give another folder"
            )
        for row in rows:
            with contextlib.suppress(TypeError):  # a key that cannot be hashed: not a row of ours
                self.rows[self._key(row)] = row
        if resume:
            self._compact()

    def add(self, row: dict[str, Any]) -> None:
        """Append a row; a `TrajectoryError` if the disk is full or gone."""
        if self._handle is None:
            raise TrajectoryError(f"{self._path} is closed")
        try:
            write_all(self._handle, dumps(row).encode("ascii") + b"\n")
            os.fsync(self._handle)
        except OSError as error:
            raise TrajectoryError(f"cannot write {self._path}: {error}") from error
        self.rows[self._key(row)] = row
        self._lines += 1

    def _compact(self) -> None:
        """Replace the file by one that holds each key once; the new file is locked before the old one is unlocked."""
        try:
            handle = write_locked(self._path, "".join(dumps(row) + "\n" for row in self.rows.values()).encode("ascii"))
        except OSError as error:
            raise TrajectoryError(f"cannot write {self._path}: {error}") from error
        self._unlock()
        self._handle, self._lines = handle, len(self.rows)

    def _unlock(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def close(self) -> None:
        """Drop replaced rows and unlock the file; a second call does nothing."""
        try:
            if self._handle is not None and self._lines > len(self.rows):
                self._compact()
        finally:
            self._unlock()

    def __enter__(self) -> Self:
        """Return the file, which `close` unlocks at the end."""
        return self

    def __exit__(self, *exception: object) -> None:
        """See `close`."""
        self.close()


def _open_locked(path: Path) -> int:
    """Open and lock a file; the descriptor is that of the file which has the name now.

    Raises:
        ConfigError: another process holds the lock.
        OSError: it is a link, which could lead to any file, or cannot be written.
    """
    if path.is_symlink():  # O_NOFOLLOW alone would say "too many levels"
        raise OSError(f"it is a link to {os.readlink(path)}")
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    while True:
        with contextlib.ExitStack() as undo:
            handle = os.open(path, flags, 0o644)
            undo.callback(os.close, handle)
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file", str(path))
            if not try_lock(handle, path):
                raise ConfigError(f"another process is writing {path}; wait for it, or give another folder")
            with contextlib.suppress(FileNotFoundError):  # replaced after it was opened: try again
                if os.path.samestat(os.fstat(handle), os.lstat(path)):
                    undo.pop_all()
                    return handle


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The undamaged rows of a file, which need not exist; a `TrajectoryError` if it cannot be read."""
    if not os.path.lexists(path):
        return []
    try:
        return _parse(path)[0]
    except OSError as error:
        raise TrajectoryError(f"cannot read {path}: {error}") from error


def _parse(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The undamaged rows of a file, and how many complete lines it has."""
    rows: list[dict[str, Any]] = []
    complete = 0
    check_link(path)
    with open_regular(path) as file:
        for number, line in enumerate(read_lines(file)):
            if number >= MAX_LINES:
                raise OSError(f"it holds more than {MAX_LINES} lines")
            complete += line.endswith(b"\n")
            with contextlib.suppress(ValueError):
                row = parse_json(line)
                rows += [row] if isinstance(row, dict) else []
    return rows, complete
