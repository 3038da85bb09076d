"""Start processes so that a fork elsewhere in this program holds nothing up.

A child that some other thread forks (a DataLoader's worker, a vector's) holds copies of all pipes for as long as it
lives. `subprocess` waits for the end of such pipes, one of them inside of `Popen` itself; here none is waited for: a
process is started by posix_spawn, and its end is what `waitpid` tells.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

_DEFAULTS = [signal.SIGPIPE, signal.SIGXFSZ]  # Python ignores them; its children shall not


class Process:
    """A child of ours."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        with self._lock:
            if self._status is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self._status = os.waitstatus_to_exitcode(status) if pid else None
            return self._status

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit status; None if it does not end in time."""
        deadline = None if timeout is None else time.monotonic() + timeout
        handle = open_pidfd(self.pid)
        try:
            while (status := self.poll()) is None:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                if handle < 0:
                    time.sleep(0.002 if left is None else min(0.002, left))
                else:
                    poller = select.poll()
                    poller.register(handle, select.POLLIN)
                    poller.poll(None if left is None else left * 1000)
            return status
        finally:
            if handle >= 0:
                os.close(handle)


def open_pidfd(pid: int) -> int:
    """A descriptor that is readable once the process has ended; -1 where the kernel or a container has none."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return -1


def spawn(
    argv: Sequence[str],
    stdin: int,
    stdout: int,
    stderr: int,
    *,
    keep: Sequence[int] = (),
    env: Mapping[str, str],
    session: bool = False,
) -> Process:
    """Start `argv` with these descriptors and `keep` left open, in this environment; the program is looked for on PATH.

    Args:
        argv: the program and its arguments.
        stdin: a descriptor for its input.
        stdout: a descriptor for its output.
        stderr: a descriptor for its errors.
        keep: more descriptors, which keep their numbers; all others of ours are closed on exec, as Python makes them.
        env: all of its environment.
        session: whether it leads a session and process group of its own.

    Raises:
        OSError: it cannot be started.
    """
    handles = [stdin, stdout, stderr]
    high = [os.dup(handle) for handle in handles]  # above those that are about to be replaced
    try:
        actions = [(os.POSIX_SPAWN_DUP2, handle, number) for number, handle in enumerate(high)]
        actions += [(os.POSIX_SPAWN_DUP2, handle, handle) for handle in keep]
        start = os.posix_spawn if argv[0].startswith("/") else os.posix_spawnp
        return Process(start(argv[0], list(argv), env, file_actions=actions, setsid=session, setsigdef=_DEFAULTS))
    finally:
        for handle in high:
            os.close(handle)


@dataclass(frozen=True)
class Done:
    """What a program that has ended came to."""

    status: int | None
    """Its exit status, negative for a signal; None: it was stopped, since its time was over."""
    stdout: bytes
    stderr: bytes


def run(
    argv: Sequence[str], *, env: Mapping[str, str], stdin: bytes = b"", timeout: float, memory: int | None = None
) -> Done:
    """Run a program to its end, and end all that it started if that takes more than `timeout` seconds.

    `memory`: bytes that it, and what it starts, may allocate each.

    Raises:
        OSError: it cannot be started.
    """
    with _in_memory() as given, _in_memory() as printed, _in_memory() as complaints:
        given.write(stdin)
        given.seek(0)
        process = spawn(argv, given.fileno(), printed.fileno(), complaints.fileno(), env=env, session=True)
        status = None
        try:
            if memory is not None:
                _bound(process.pid, memory)
            status = process.wait(timeout)
        finally:  # Ctrl-C, or late: what it was about goes with us
            if status is None:
                _end(process)
        printed.seek(0)
        complaints.seek(0)
        return Done(status, printed.read(), complaints.read())


def _bound(pid: int, memory: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    most = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        resource.prlimit(pid, resource.RLIMIT_DATA, (most, most))


def _in_memory() -> BinaryIO:
    """A file for what a program reads or prints; nobody waits for the end of a pipe."""
    return open(os.memfd_create("spawn"), "w+b")


def _end(process: Process) -> None:
    """End a process and its group; it may clean up first."""
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        process.wait(patience)
