"""A box for one program, started ahead of its input if need be, and two boxes with a bridge between them."""

from __future__ import annotations

import contextlib
import fcntl
import os

from nano_codex_env.sandbox.base import ExecResult
from nano_codex_env.sandbox.box import Box, Launch
from nano_codex_env.sandbox.root import MTIME


class OneProgram(Box):
    """A box with one program, which waits for its input and then runs to its end; see `Program`."""

    def __init__(self, launch: Launch, *, max_output: int, peer: Box | None = None) -> None:
        """`peer`: the box at the other end of its bridge, which waits for the end of its input."""
        self._max_output, self._peer = max_output, peer
        super().__init__(launch)

    @property
    def alive(self) -> bool:
        """See `Program.alive`."""
        return super().alive and self.running and (not self._peer or self._peer.running)

    def finish(self, stdin: bytes = b"", *, timeout: float, keep: int = 8192) -> ExecResult:
        """See `Program.finish`."""
        try:
            _forget_times()
            if self._peer:
                self._peer.end_input()
            result, reports = self.interact(stdin, timeout=timeout, keep=keep, max_output=self._max_output, until=None)
            status = None if result.timed_out or result.flooded else self.wait(timeout)
            return ExecResult(result.output, status, result.timed_out, result.flooded, reports)
        finally:
            self.close()

    def close(self) -> None:
        """End both boxes; a second call does nothing."""
        try:
            super().close()
        finally:
            if self._peer:
                self._peer.close()


def _forget_times() -> None:
    """Give the device nodes other times: all boxes have the host's, and may have left news there for the next.

    As their owner one that is always the same, else the present. Where they cannot be touched from here (a read-only
    /dev), no box can touch them either.
    """
    times = (MTIME, MTIME) if os.geteuid() == 0 else None
    for node in ("null", "zero", "full", "random", "urandom", "tty"):
        with contextlib.suppress(OSError):
            os.utime(f"/dev/{node}", times)


def two_pipes() -> tuple[tuple[int, int], tuple[int, int]]:
    """A (read, write) pair for each of two ends, with numbers above those that a shell redirects."""
    ends = [high for pair in (os.pipe(), os.pipe()) for high in map(_raised, pair)]
    return (ends[0], ends[3]), (ends[2], ends[1])


def _raised(handle: int) -> int:
    high = fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(handle)
    return high
