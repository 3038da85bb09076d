"""Start processes with posix_spawn, and wait for their exit, never for the end of a pipe.

A child that another thread forks (a DataLoader worker, for example) holds copies of all our pipes while it lives.
`subprocess` waits for the end of such pipes, even inside `Popen`, and would hang.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import resource
import select
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class Process:
    """A child process of ours."""

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
        """The exit status; None if it has not ended after `timeout` seconds."""
        deadline, handle = time.monotonic() + (math.inf if timeout is None else timeout), -1
        with contextlib.suppress(OSError):  # without one it looks again and again
            handle = open_pidfd(self.pid)
        poller = select.poll()
        if handle >= 0:
            poller.register(handle, select.POLLIN)
        try:
            while (status := self.poll()) is None and (left := deadline - time.monotonic()) > 0:
                poller.poll(1000 * min(left, 60.0 if handle >= 0 else 0.002))
            return status
        finally:
            if handle >= 0:
                os.close(handle)


def open_pidfd(pid: int) -> int:
    """A descriptor that becomes readable when the process ends; -1 where the kernel or a container forbids it.

    Raises:
        OSError: there are no more descriptors.
    """
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise
        return -1


def above_standard(handle: int) -> int:
    """`handle`, moved to a number that is free above 2: where a daemon has closed 0 to 2, new ones land there."""
    if handle > 2:
        return handle
    try:
        return fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(handle)


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
    """Start `argv`, found on PATH, with the environment `env` and nothing else.

    Of our descriptors it gets these three, and those in `keep` under their own numbers, which are 3 or more (see
    `above_standard`). `session`: it leads a new session and process group.

    Raises:
        OSError: it cannot be started.
    """
    handles: list[int] = []
    try:
        for handle in (stdin, stdout, stderr):  # above those that are about to be replaced
            handles.append(fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, 3))
        actions = [(os.POSIX_SPAWN_DUP2, handle, number) for number, handle in enumerate(handles)]
        actions += [(os.POSIX_SPAWN_DUP2, handle, handle) for handle in keep]
        start = os.posix_spawn if argv[0].startswith("/") else os.posix_spawnp
        ignored = [signal.SIGPIPE, signal.SIGXFSZ]  # by Python, but not by its children
        return Process(start(argv[0], list(argv), env, file_actions=actions, setsid=session, setsigdef=ignored))
    finally:
        for handle in handles:
            os.close(handle)


@dataclass(frozen=True)
class CompletedRun:
    """The outcome of `run`."""

    status: int | None
    """The exit status, negative for a signal; None: it was stopped at its time limit."""
    stdout: bytes
    stderr: bytes


def run(
    argv: Sequence[str], *, env: Mapping[str, str], stdin: bytes = b"", timeout: float, memory: int | None = None
) -> CompletedRun:
    """Run a program to its end; after `timeout` seconds it is stopped, with all that it started.

    `memory`: bytes that it, and each process that it starts, may allocate.

    Raises:
        OSError: it cannot be started.
    """
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(open(os.memfd_create("spawn"), "w+b")) for _ in range(3)]
        files[0].write(stdin)
        files[0].seek(0)
        process = spawn(argv, *(file.fileno() for file in files), env=env, session=True)
        status = None
        try:
            if memory is not None:
                hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
                most = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
                with contextlib.suppress(ProcessLookupError):  # it has already ended
                    resource.prlimit(process.pid, resource.RLIMIT_DATA, (most, most))
            status = process.wait(timeout)
        finally:
            if status is None:  # the time limit, or Ctrl-C: SIGTERM first, so that it can clean up
                try:
                    _kill_group(process, signal.SIGTERM, 5.0)
                finally:
                    _kill_group(process, signal.SIGKILL, None)
        for file in files:
            file.seek(0)
        return CompletedRun(status, files[1].read(), files[2].read())


def _kill_group(process: Process, number: signal.Signals, patience: float | None) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    process.wait(patience)
