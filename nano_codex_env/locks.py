"""Take a lock on a file with `flock`, and say so where its file system grants none."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What `flock` says on NFS without a lock daemon, on Lustre mounted without `flock`, and elsewhere."""


class NoLocksError(OSError):
    """The file system grants no locks."""


def try_lock(handle: int, path: Path) -> bool:
    """Lock an open file for this descriptor alone, without waiting; False if another one holds the lock.

    Raises:
        NoLocksError: the file system of `path`, which names the file in the message, grants no locks.
        OSError: anything else went wrong.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
        said = f"{os.strerror(error.errno)}, so this file system grants no locks (flock)"
        raise NoLocksError(error.errno, said, str(path)) from error
    return True
