"""Write a file in one step and through no symbolic link: the folder of a log or of a run may be anybody's."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

_NEW = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_whole(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Replace a file in one step: whoever is killed meanwhile leaves the old one or the new one.

    A link in its place is replaced, not followed. `sync`: it is on the disk before it has its name.

    Raises:
        OSError: the disk is full or gone; the old one stays.
    """
    os.close(_replaced(path, content, sync=sync, lock=False))


def write_locked(path: Path, content: bytes) -> int:
    """As `write_whole`, and on the disk; a descriptor of the new file to append to, locked before anybody can see it.

    Raises:
        OSError: as for `write_whole`.
    """
    return _replaced(path, content, sync=True, lock=True)


def write_new(path: Path, content: bytes) -> None:
    """Write a file that is not there yet; whatever has its name, a link to nowhere too, stays as it is.

    Raises:
        FileExistsError: something has its name.
        OSError: the disk is full or gone.
    """
    handle = os.open(path, _NEW, 0o666)
    try:
        write_all(handle, content)
    finally:
        os.close(handle)


def write_all(handle: int, content: bytes) -> None:
    """Write all of it, also where the disk takes it in pieces.

    Raises:
        OSError: the disk is full or gone.
    """
    while content:
        content = content[os.write(handle, content) :]


def _replaced(path: Path, content: bytes, *, sync: bool, lock: bool) -> int:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)  # left by a process that was killed, or laid there for us to follow
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
        raise
    return handle
