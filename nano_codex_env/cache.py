"""Where things live on disk: a cache that processes share, and a folder for each process that goes with it.

    <cache>/mirrors/   bare clones             <cache>/trees/    base trees, one per commit
    <cache>/bundled/   the bundled tasks       <cache>/venvs/    environments of tasks
    <cache>/roots/     the box's root          <cache>/sessions/ what the episodes of living processes touch

An entry is built in a temporary folder beside its place, under a lock, and published by one rename: it is whole
or not there. A process holds a lock on its session folder for as long as it lives; a folder whose lock can be
taken belongs to a process that is gone, however it went, and the next process removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nano_codex_env.errors import WorkspaceError

logger = logging.getLogger(__name__)

ENV_VAR = "NANO_CODEX_CACHE"

LOCK_LIMIT = 4 * 3600.0
"""Seconds to wait for a lock: more than all that is done under one may take."""

_TOLD_AFTER = 10.0
_HOLDER = 300
"""Bytes of what a lock's file says of its holder."""


def cache_dir(override: str | os.PathLike[str] | None = None) -> Path:
    """The cache's folder: the argument, else $NANO_CODEX_CACHE, else the platform's cache directory."""
    chosen = override or os.environ.get(ENV_VAR)
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("nano-codex")


@contextlib.contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn the operating system's errors on the cache into ours, with the mend."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            mend = f"free some space, or set {ENV_VAR} to a folder on a larger disk"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            mend = f"set {ENV_VAR} to a folder that you may write"
        else:
            mend = "see the cause above"
        raise WorkspaceError(f"{what}: {error}; {mend}") from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`, which is made if need be; the file says who holds it.

    Raises:
        WorkspaceError: another process has held it for `LOCK_LIMIT` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait_for(handle, path)
        os.pwrite(handle, f"{os.getpid()} {socket.gethostname()}\n".ljust(_HOLDER).encode(), 0)
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)  # a child forked meanwhile has the descriptor, and shall not keep the lock
        os.close(handle)


def _wait_for(handle: int, path: Path) -> None:
    started, pause, told = time.monotonic(), 0.001, False
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            waited = time.monotonic() - started
            if waited > LOCK_LIMIT:
                raise WorkspaceError(
                    f"{path} has been locked for {LOCK_LIMIT:g} seconds by {_holder(handle)}; end that, then try again"
                ) from error
            if waited > _TOLD_AFTER and not told:
                told = True
                logger.warning("waiting for %s, which is locked by %s", path, _holder(handle))
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)


def _holder(handle: int) -> str:
    """Who holds a lock, as its file says, and what is odd about that."""
    pid, _, host = os.pread(handle, _HOLDER, 0).decode("ascii", "replace").strip(" \n\0").partition(" ")
    if not pid.isdigit():
        return "a process that does not say who it is"
    if host != socket.gethostname():
        return f"process {pid} of {host}"
    if Path(f"/proc/{pid}").exists():
        return f"process {pid}"
    return f"process {pid}, which is gone; a process that it started holds the lock on (`fuser` names it)"


def publish(path: Path, build: Callable[[Path], None]) -> Path:
    """`path`, built by `build(temporary folder)` if it is not there yet; safe for many processes.

    What an earlier process left half-built is removed first.

    Raises:
        WorkspaceError: the disk is full, or the cache cannot be written.
    """
    if path.exists():
        mark_used(path)
        return path
    with disk_errors(f"building {path}"), locked(_lock_of(path)):
        if path.exists():
            return path
        for stale in path.parent.glob(f".{path.name}..*"):
            shutil.rmtree(stale)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}..", dir=path.parent))
        try:
            temporary.chmod(0o755)
            build(temporary)
            temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return path


def mark_used(path: Path) -> None:
    """Note that an entry is used now, in its lock's time; a cache that cannot be written keeps what it says."""
    with contextlib.suppress(OSError):
        os.utime(_lock_of(path))


@dataclass(frozen=True)
class Entry:
    """Something in the cache that is made anew when it is needed and not there."""

    kind: str
    path: Path
    used: float
    """When it was used last, in seconds since the epoch."""

    def size(self) -> int:
        """Bytes on disk."""
        return sum(os.lstat(Path(top, name)).st_blocks * 512 for top, _, files in os.walk(self.path) for name in files)


def entries(cache: Path) -> list[Entry]:
    """What the cache holds, by kind and name; not what episodes are using to write into."""
    found = []
    for lock in sorted(cache.glob("*/*.lock")):
        path = lock.with_suffix("")
        if path.is_dir() and path.parent.name != "sessions":
            found.append(Entry(path.parent.name, path, lock.stat().st_mtime))
    return found


def remove(entry: Entry) -> None:
    """Remove an entry; at no moment is it there in part. An episode that has it open would lose it.

    Raises:
        WorkspaceError: it cannot be removed.
    """
    with disk_errors(f"removing {entry.path}"), locked(_lock_of(entry.path)):
        going = Path(tempfile.mkdtemp(prefix=f".{entry.path.name}..", dir=entry.path.parent))
        with contextlib.suppress(FileNotFoundError):
            entry.path.rename(going / "gone")
        shutil.rmtree(going)


class Scratch:
    """A folder of one episode's: gone when closed, or removed by the next process if this one was killed."""

    def __init__(self, cache: Path) -> None:
        with disk_errors(f"making a folder for an episode in {cache}"):
            self._session = _sessions.join(cache / "sessions")
            self.path = Path(tempfile.mkdtemp(prefix="e-", dir=self._session))
            self.path.chmod(0o755)
        self._pid = os.getpid()

    def close(self) -> None:
        """Remove the folder; a second call, or one in a forked child, does nothing."""
        if self._pid == os.getpid():
            self._pid = 0
            try:
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(self.path)
            finally:
                _sessions.leave(self._session)


class _Sessions:
    """The session folders of our process and how many episodes use each; forgotten in a forked child."""

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Path, tuple[int, int]] = {}  # folder -> (lock's descriptor, users)

    def join(self, parent: Path) -> Path:
        with self._lock:
            for folder, (handle, users) in self._open.items():
                if folder.parent == parent and folder.is_dir():
                    self._open[folder] = (handle, users + 1)
                    return folder
            folder, handle = _open_session(parent)
            self._open[folder] = (handle, 1)
            return folder

    def leave(self, folder: Path) -> None:
        with self._lock:
            handle, users = self._open[folder]
            self._open[folder] = (handle, users - 1)
            if users == 1:
                del self._open[folder]
                shutil.rmtree(folder, ignore_errors=True)
                _lock_of(folder).unlink(missing_ok=True)
                os.close(handle)


_sessions = _Sessions()


def _lock_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ".lock")


def _open_session(parent: Path) -> tuple[Path, int]:
    with locked(parent / ".lock"):
        _remove_dead(parent)
        folder = Path(tempfile.mkdtemp(prefix="s-", dir=parent))
        folder.chmod(0o755)
        handle = os.open(_lock_of(folder), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
    return folder, handle


def remove_dead_sessions(cache: Path) -> list[Path]:
    """Remove the session folders whose process is gone, and name them."""
    with disk_errors(f"looking for left-over folders in {cache}"), locked(cache / "sessions" / ".lock"):
        return _remove_dead(cache / "sessions")


def _remove_dead(parent: Path) -> list[Path]:
    removed = []
    for lock in parent.glob("s-*.lock"):
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # its process has just ended by itself
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder = lock.with_suffix("")
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)
            removed.append(folder)
        except BlockingIOError:
            continue  # its process lives
        finally:
            os.close(handle)
    return removed
