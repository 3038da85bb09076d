"""Rows that a long job adds as it goes, one JSON object a line: what is finished is never lost and never done twice."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Hashable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nano_codex_env.atomic import write_all, write_locked
from nano_codex_env.errors import ConfigError, TrajectoryError
from nano_codex_env.messages import dumps
from nano_codex_env.records.log_format import check_place
from nano_codex_env.untrusted import MOST_LINES, lines_of, open_regular, parse_json

Row = dict[str, Any]


class Records:
    """A file of rows, the last of each key counting; use it as a context manager.

    A line is written in one piece and is on disk before the next. A line that a killed process left torn is dropped on
    reading. Rows that a later one supersedes go when the file is closed: it is then replaced in one step.
    """

    def __init__(self, path: Path, key: Callable[[Row], Hashable], *, resume: bool) -> None:
        """Open `path`, taking up its rows if `resume`.

        Raises:
            ConfigError: there are rows and `resume` is not given, another process writes there, or it is no place to.
        """
        self._path, self._key = path, key
        self.rows: dict[Hashable, Row] = {}
        self._lines = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle: int | None = _open_locked(path)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error}; give another folder") from error
        try:
            self._take_up(resume)
        except BaseException:
            self._let_go()
            raise

    def _take_up(self, resume: bool) -> None:
        try:
            rows, whole, any_ = _rows(self._path)
        except OSError as error:
            raise ConfigError(f"cannot read {self._path}: {error}; give another folder") from error
        if whole and not rows:
            raise ConfigError(f"{self._path} is no file of results; give another one")
        if any_ and not resume:
            raise ConfigError(
                f"{self._path} holds {len(rows)} results of an earlier run; resume it, or give another folder"
            )
        for row in rows:
            with contextlib.suppress(TypeError):  # a key that is a list: no row of ours
                self.rows[self._key(row)] = row
        if resume:
            self._compact()

    def add(self, row: Row) -> None:
        """Write a row.

        Raises:
            TrajectoryError: the disk is full or gone.
        """
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
        """Replace the file by one that holds each key once; the old one is held until the new one is there."""
        try:
            handle = write_locked(self._path, "".join(dumps(row) + "\n" for row in self.rows.values()).encode("ascii"))
        except OSError as error:
            raise TrajectoryError(f"cannot write {self._path}: {error}") from error
        self._let_go()
        self._handle = handle
        self._lines = len(self.rows)

    def _let_go(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def close(self) -> None:
        """Drop superseded rows and let go of the file; a second call does nothing."""
        if self._handle is None:
            return
        try:
            if self._lines > len(self.rows):
                self._compact()
        finally:
            self._let_go()

    def __enter__(self) -> Self:
        """Itself; `close` at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See `close`."""
        self.close()


def _open_locked(path: Path) -> int:
    """A descriptor of the file, locked, and sure to be the one that has the name.

    Raises:
        ConfigError: another process holds it.
        OSError: it is a link, which could lead to any file, or cannot be written.
    """
    if path.is_symlink():  # O_NOFOLLOW would say "too many levels"
        raise OSError(f"it is a link to {os.readlink(path)}")
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    while True:
        handle = os.open(path, flags, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file", str(path))
            if os.path.samestat(found, os.lstat(path)):
                return handle
        except FileNotFoundError:
            pass  # replaced just now, as below
        except BlockingIOError as error:
            os.close(handle)
            raise ConfigError(f"another process is writing {path}; wait for it, or give another folder") from error
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # it was replaced between both calls


def read_rows(path: Path) -> list[Row]:
    """The whole rows of a file, which may not be there.

    Raises:
        TrajectoryError: it cannot be read.
    """
    if not os.path.lexists(path):
        return []
    try:
        return _rows(path)[0]
    except OSError as error:
        raise TrajectoryError(f"cannot read {path}: {error}") from error


def _rows(path: Path) -> tuple[list[Row], bool, bool]:
    """The whole rows of a file (what is torn, damaged or no object is left out); whether it has a line; or anything."""
    rows, whole, any_ = [], False, False
    check_place(path)
    with open_regular(path) as file:
        for number, line in enumerate(lines_of(file)):
            if number >= MOST_LINES:
                raise OSError(f"it holds more than {MOST_LINES} lines")
            whole, any_ = whole or line.endswith(b"\n"), True
            try:
                row = parse_json(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                rows.append(row)
    return rows, whole, any_
