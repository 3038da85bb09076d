"""Write a file in one step and without following symbolic links, since anybody may own the folder of a log."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

_NEW = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_whole(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Replace a file in one step: if this process is killed, the old file or the new one is there.

    A symbolic link at `path` is replaced, not followed. `sync`: the content reaches the disk before the file has its
    name.

    Raises:
        OSError: the disk is full or gone; the old file stays.
    """
    os.close(_replace(path, content, sync=sync, lock=False))


def write_locked(path: Path, content: bytes) -> int:
    """As `write_whole` with `sync`; returns a descriptor for appending, locked before anybody can open the file.

    Raises:
        OSError: as for `write_whole`.
    """
    return _replace(path, content, sync=True, lock=True)


def write_new(path: Path, content: bytes) -> None:
    """Write a file that does not exist yet.

    Raises:
        FileExistsError: the name is taken, even by a broken symbolic link.
        OSError: the disk is full or gone.
    """
    handle = os.open(path, _NEW, 0o666)
    try:
        write_all(handle, content)
    finally:
        os.close(handle)


def write_all(handle: int, content: bytes) -> None:
    """Write all of `content`, in as many calls as the system needs.

    Raises:
        OSError: the disk is full or gone.
    """
    left = memoryview(content)
    while left:
        left = left[os.write(handle, left) :]


def _replace(path: Path, content: bytes, *, sync: bool, lock: bool) -> int:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)  # left by a killed process, or a link that somebody made for us to follow
    handle = os.open(temporary, _NEW, 0o666)
    try:
        write_all(handle, content)
        if sync:
            os.fsync(handle)
        if lock:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        temporary.replace(path)
    except BaseException:
        os.close(handle)
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return handle
