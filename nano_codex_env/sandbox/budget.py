"""One budget of boxes for a whole machine: a box that runs tests holds a slot, whichever process started it.

A slot is a byte of one file per user, which a process locks; the kernel frees the slots of a process that dies. Locks
are POSIX record locks (not OFD locks): a process needs one descriptor for all its slots, and a child that it forks
neither inherits them nor keeps them held. They do not exclude threads of one process, so that is done here.

Waiting is fair enough: within a process first come, first served; of each waiting process one thread looks,
every few milliseconds and not in step with the others. While somebody waits, newcomers queue too.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import random
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from nano_codex_env.errors import ConfigError, SandboxError, advice_for
from nano_codex_env.parallel import processors

logger = logging.getLogger(__name__)

ENV_VAR = "NANO_CODEX_BOXES"

WARN_AFTER = 10.0
"""Seconds of waiting for a slot before a warning, once in a process."""

_MOST = 1 << 20
"""Slots; the byte after them says by a shared lock that a process waits."""

_PAUSE = (0.004, 0.012)
"""Seconds between two looks, drawn anew each time."""


def slots() -> list[int]:
    """The slots that this thread may use: `NANO_CODEX_BOXES` of them, else one for each processor it may run on.

    By default they are the processors' numbers: processes that share processors share slots, and others do not.

    Raises:
        ConfigError: the variable is not a positive whole number.
    """
    text = os.environ.get(ENV_VAR, "").strip()
    if not text:
        return sorted(os.sched_getaffinity(0))[: processors()]
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0 and len(text) < 8 and int(text) <= _MOST):
        raise ConfigError(
            f"{ENV_VAR} must be a whole number from 1 to {_MOST}, the boxes that run tests at once on this machine; "
            f"got {text!r:.80}"
        )
    return list(range(int(text)))


_WAITING = (
    "a run of tests has waited %.0f seconds: at most %d run at once on this machine, over all your processes that "
    "share its processors; %s sets another number"
)
_ALONE = (
    "boxes that run tests are counted in this process only, not over all processes of this machine: %s; set TMPDIR to "
    "a folder on a disk of this machine that you may write"
)


class _Slots:
    """The slots of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = set[int]()
        self._waiting = 0
        self._warned = False
        self._file: int | None = None
        """The descriptor of the file; -1: it cannot be used, and this process counts its own boxes only."""

    def forget(self) -> None:
        """Begin anew, in a child that was forked: the slots are its parent's."""
        self._lock = threading.Lock()
        self._held.clear()
        self._waiting = 0
        self._close()
        self._file = None

    def acquire(self, taken: list[int], check: Callable[[], None]) -> float:
        """Add a slot to `taken`; returns the seconds waited. `check` is called while waiting and may raise."""
        wanted, started = slots(), time.monotonic()
        with self._lock:
            self._open()
            if not self._waiting and not self._others_wait() and self._take(wanted, taken):
                return 0.0
            self._waiting += 1
        try:
            while True:
                time.sleep(random.uniform(*_PAUSE))
                check()
                waited = time.monotonic() - started
                with self._lock:
                    self._say_whether_waiting()
                    if self._take(wanted, taken):
                        return waited
                    warn = waited > WARN_AFTER and not self._warned
                    self._warned |= warn
                if warn:
                    logger.warning(_WAITING, waited, len(wanted), ENV_VAR)
        finally:
            with self._lock:
                self._waiting -= 1
                self._say_whether_waiting()

    def release(self, slot: int) -> None:
        """Give a slot back."""
        with self._lock:
            self._held.discard(slot)
            self._try(fcntl.LOCK_UN, slot)

    def _take(self, wanted: list[int], taken: list[int]) -> bool:
        for slot in wanted:
            if slot not in self._held and self._try(fcntl.LOCK_EX, slot):
                taken.append(slot)
                self._held.add(slot)
                return True
        return False

    def _others_wait(self) -> bool:
        """Whether another process waits; asked only while none of ours does, since locks of one process merge."""
        nobody = self._try(fcntl.LOCK_EX, _MOST)
        if nobody:
            self._try(fcntl.LOCK_UN, _MOST)
        return not nobody

    def _say_whether_waiting(self) -> None:
        self._try(fcntl.LOCK_SH if self._waiting else fcntl.LOCK_UN, _MOST)

    def _try(self, how: int, byte: int) -> bool:
        """Lock or unlock one byte; False if another process holds it."""
        if self._file is not None and self._file >= 0:
            try:
                fcntl.lockf(self._file, how if how == fcntl.LOCK_UN else how | fcntl.LOCK_NB, 1, byte)
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    return False
                self._give_up(error)
        return True

    def _open(self) -> None:
        if self._file is None:
            try:
                self._file = _open_file()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    raise SandboxError(f"no slot for a box: {error}{advice_for(error)}") from error
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._close()
        self._file = -1
        logger.warning(_ALONE, error)

    def _close(self) -> None:
        if self._file is not None and self._file >= 0:
            os.close(self._file)


def _open_file() -> int:
    """The file of this user, in a folder that nobody else may use.

    Raises:
        OSError: it cannot be made, or is somebody else's.
    """
    folder = Path(tempfile.gettempdir(), f"nano-codex-{os.geteuid()}")
    with contextlib.suppress(FileExistsError):
        folder.mkdir(0o700)
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise PermissionError(errno.EPERM, "must be a folder of yours that no one else may use (mode 700)", str(folder))
    return os.open(folder / "boxes", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


_ours = _Slots()
os.register_at_fork(after_in_child=_ours.forget)
_checks = threading.local()


@contextlib.contextmanager
def slot() -> Iterator[float]:
    """Hold a slot; gives the seconds waited for it.

    Raises:
        ConfigError: see `slots`.
        SandboxError: this process can open no more files.
    """
    taken: list[int] = []
    try:
        yield _ours.acquire(taken, getattr(_checks, "check", _nothing))
    finally:
        for number in taken:
            _ours.release(number)


def _nothing() -> None:
    pass


@contextlib.contextmanager
def checked_while_waiting(check: Callable[[], None]) -> Iterator[None]:
    """Call `check` every few milliseconds while this thread waits for a slot; what it raises ends the waiting."""
    before = getattr(_checks, "check", _nothing)
    _checks.check = check
    try:
        yield
    finally:
        _checks.check = before
