"""The cache on disk that processes share, and the scratch folders of episodes.

    <cache>/mirrors/   bare clones             <cache>/trees/    base trees, one per commit
    <cache>/bundled/   the bundled tasks       <cache>/venvs/    environments of tasks
    <cache>/roots/     the box's root          <cache>/sessions/ files that running episodes have changed

An entry is built in a temporary folder next to its final place, under a lock, and published by one rename, so that it
is either complete or absent. A scratch folder is locked for as long as its process lives; whoever can take that lock
knows that the process is gone, and removes the folder. Locks use `fcntl` directly: `filelock` cannot name the holder,
and most of its versions empty or remove the file that records the holder and the last use (3.16, 3.32 and 4.0 do).
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
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nano_codex_env.errors import WorkspaceError, advice_for, closed_after
from nano_codex_env.locks import NoLocksError, try_lock
from nano_codex_env.spawn import Process

logger = logging.getLogger(__name__)

ENV_VAR = "NANO_CODEX_CACHE"

LOCK_LIMIT = 4 * 3600.0
"""Seconds to wait for a lock; longer than anything that is done under one."""

WARN_AFTER = 10.0
"""Seconds of waiting for a lock before a warning names its holder."""

_RECORD = 300
"""Bytes of a lock file's record of its holder."""

_open_here: set[Path] = set()
"""The scratch folders that this process has open."""


def cache_dir(override: str | os.PathLike[str] | None = None) -> Path:
    """The cache's folder: the argument, else $NANO_CODEX_CACHE, else the platform's cache directory."""
    chosen = override or os.environ.get(ENV_VAR)
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("nano-codex")


@contextlib.contextmanager
def disk_errors(action: str, variable: str = ENV_VAR) -> Iterator[None]:
    """Turn the operating system's errors on the cache, or the folder that `variable` names, into `WorkspaceError`."""
    try:
        yield
    except OSError as error:
        is_temporary = str(error.filename).startswith(f"{tempfile.tempdir}/nano-codex-tmp-")
        variable = "TMPDIR" if is_temporary else variable
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = f"free some space, or set {variable} to a folder on a larger disk"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            advice = f"set {variable} to a folder that you may write"
        elif isinstance(error, NoLocksError):
            advice = f"set {variable} to a folder on a local disk; `nano-codex doctor` says what else helps"
        else:
            raise WorkspaceError(f"{action}: {error}{advice_for(error)}") from error
        raise WorkspaceError(f"{action}: {error}; {advice}") from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`, a file that is made if needed and records its holder.

    Raises:
        WorkspaceError: another process has held it for `LOCK_LIMIT` seconds.
        OSError: the file cannot be made, or its file system grants no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with contextlib.ExitStack() as undo:
        undo.callback(os.close, handle)
        started, warned = time.monotonic(), False
        while not try_lock(handle, path):
            waited = time.monotonic() - started
            if waited > LOCK_LIMIT:
                raise WorkspaceError(
                    f"{path} has been locked for {LOCK_LIMIT:g} seconds by {_holder(handle)}; end that, then try again"
                )
            if waited > WARN_AFTER and not warned:
                warned = True
                logger.warning("waiting for %s, which is locked by %s", path, _holder(handle))
            time.sleep(min(0.001 + waited / 2, 0.5))
        undo.callback(
            fcntl.flock, handle, fcntl.LOCK_UN
        )  # closing is not enough: a forked child has the descriptor too
        os.pwrite(handle, f"{os.getpid()} {socket.gethostname()}\n".ljust(_RECORD).encode(), 0)
        yield


def _holder(handle: int) -> str:
    """Who holds a lock, according to its file."""
    pid, _, host = os.pread(handle, _RECORD, 0).decode("ascii", "replace").strip(" \n\0").partition(" ")
    if not pid.isdigit():
        return "a process that does not say who it is"
    if host != socket.gethostname():
        return f"process {pid} of {host}"
    if Path(f"/proc/{pid}").exists():
        return f"process {pid}"
    return f"process {pid}, which is gone; a process that it started holds the lock on (`fuser` names it)"


def _lock_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ".lock")


def publish(path: Path, build: Callable[[Path], None]) -> Path:
    """`path`, built by `build(temporary folder)` if it does not exist yet; safe for many processes.

    Raises:
        WorkspaceError: the disk is full, or the cache cannot be written.
    """
    if path.exists():
        mark_used(path)
        return path
    with disk_errors(f"building {path}"), locked(_lock_of(path)):
        if path.exists():
            return path
        for stale in path.parent.glob(f".{path.name}..*"):  # of a process that was killed
            remove_tree(stale)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}..", dir=path.parent))
        try:
            temporary.chmod(0o755)
            build(temporary)
            temporary.rename(path)
        except BaseException:
            with contextlib.suppress(OSError):
                remove_tree(temporary)
            raise
    return path


def mark_used(path: Path) -> None:
    """Record that an entry is in use, as its lock's modification time; does nothing where the cache is read-only."""
    with contextlib.suppress(OSError):
        os.utime(_lock_of(path))


def remove_tree(path: str | os.PathLike[str]) -> None:
    """Remove a folder with all that is in it, even where this process can open no more files.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        shutil.rmtree(path)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        command = ["rm", "-rf", "--", os.path.abspath(path)]
        if Process(os.posix_spawnp("rm", command, {"PATH": os.defpath})).wait() != 0:  # it has its own descriptors
            raise


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder outside of the cache for as long as the context lasts; removing it hides no error.

    Raises:
        WorkspaceError: it cannot be made or removed.
    """
    try:
        path = Path(tempfile.mkdtemp(prefix="nano-codex-tmp-"))
    except OSError as error:  # its text names the folder, or those that were tried
        raise WorkspaceError(f"no temporary folder: {error}{advice_for(error)}; TMPDIR names another place") from error

    def remove() -> None:
        with disk_errors(f"cannot remove {path}"):
            remove_tree(path)

    with closed_after(remove):
        yield path


@dataclass(frozen=True)
class Entry:
    """A folder in the cache; it is built again if it is removed and needed."""

    kind: str
    path: Path
    used: float
    """When it was used last, in seconds since the epoch."""

    def size(self) -> int:
        """Bytes on disk."""
        return sum(os.lstat(Path(top, name)).st_blocks * 512 for top, _, files in os.walk(self.path) for name in files)


def entries(cache: Path) -> list[Entry]:
    """The cache's entries by kind and name, without scratch folders."""
    found = [(lock.with_suffix(""), lock) for lock in sorted(cache.glob("*/*.lock"))]
    return [
        Entry(path.parent.name, path, lock.stat().st_mtime)
        for path, lock in found
        if path.is_dir() and path.parent.name != "sessions"
    ]


def remove(entry: Entry) -> None:
    """Remove an entry in one step; an episode that has it open would lose it.

    Raises:
        WorkspaceError: it cannot be removed.
    """
    with disk_errors(f"removing {entry.path}"), locked(_lock_of(entry.path)):
        trash = Path(tempfile.mkdtemp(prefix=f".{entry.path.name}..", dir=entry.path.parent))
        with contextlib.suppress(FileNotFoundError):
            entry.path.rename(trash / "entry")
        remove_tree(trash)


class Scratch:
    """A folder for one episode; it is removed by `close`, or by a later process if this one is killed."""

    def __init__(self, cache: Path) -> None:
        sessions = cache / "sessions"
        with disk_errors(f"making a folder for an episode in {cache}"):
            sessions.mkdir(parents=True, exist_ok=True)
            if sessions not in [path.parent for path in list(_open_here)]:  # not each time: on NFS it may take seconds
                remove_dead_sessions(cache)
            self.path, self._handle = _locked_folder(sessions)
        _open_here.add(self.path)
        self._pid = os.getpid()

    def close(self) -> None:
        """Remove the folder; a second call, or one in a forked child, does nothing.

        Raises:
            WorkspaceError: it cannot be removed.
        """
        if self._pid != os.getpid():
            return
        self._pid = 0
        _open_here.discard(self.path)
        with disk_errors(f"cannot remove {self.path}"), closed_after(lambda: os.close(self._handle)):
            with contextlib.suppress(FileNotFoundError):
                remove_tree(self.path)
            _lock_of(self.path).unlink(missing_ok=True)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """A new folder and the descriptor of its lock, which is held."""
    while True:
        with contextlib.ExitStack() as failed:
            handle, lock = tempfile.mkstemp(".lock", "s-", parent)
            failed.callback(os.close, handle)
            failed.callback(Path(lock).unlink, missing_ok=True)
            # else another process locked it first, to remove it as a dead one's
            if try_lock(handle, Path(lock)) and os.fstat(handle).st_nlink:
                folder = Path(lock).with_suffix("")
                folder.mkdir()
                folder.chmod(0o755)
                failed.pop_all()
                return folder, handle


def remove_dead_sessions(cache: Path) -> list[Path]:
    """Remove the scratch folders of processes that are gone, and return their paths."""
    removed = []
    with disk_errors(f"looking for left-over folders in {cache}"):
        (cache / "sessions").mkdir(parents=True, exist_ok=True)
        for lock in cache.glob("sessions/s-*.lock"):
            try:
                handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:  # closed a moment ago
                continue
            try:
                if try_lock(handle, lock):
                    removed.append(lock.with_suffix(""))
                    with contextlib.suppress(OSError):
                        remove_tree(removed[-1])
                    lock.unlink(missing_ok=True)
            finally:
                os.close(handle)
    return removed
