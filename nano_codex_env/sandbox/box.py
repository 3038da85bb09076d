"""The host's end of a box: one process with three pipes, a deadline, and output capped while it is read.

The program inside writes output to descriptor 1. Descriptor 2 is ours: the resident shell's answers (a nonce and an
exit status, so that bytes nobody asked for are seen), or a program's reports. Before either comes up it carries what
the sandbox's own launcher complains about, which is how a box that did not open says why.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import select
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from nano_codex_env.errors import SandboxError
from nano_codex_env.sandbox.base import ExecResult, Output
from nano_codex_env.sandbox.cgroup import Group
from nano_codex_env.sandbox.rootfs import DROP_UID, MTIME
from nano_codex_env.sandbox.simple import direct
from nano_codex_env.spawn import Process, spawn

SERVER = Path(__file__).with_name("server.sh").read_text(encoding="utf-8").strip()
_OPENING = 60.0
_CLOSING = 5.0
_LINGERING = 0.5
"""Seconds that the pipes of a program that has ended may stay open."""
_MAX_REPORTS = 64 << 20


@dataclass(frozen=True)
class Launch:
    """How a sandbox starts a box."""

    argv: Sequence[str]
    depth: int
    """How many processes lie between ours and the one whose death ends the box."""
    keep: Sequence[int] = ()
    """Descriptors for the launcher; closed here once it runs."""
    group: Group | None = None
    """A control group to start it in; removed when the box closes."""


class Collector:
    """Keeps the head and the tail of a stream up to `most` bytes, and counts what lies between."""

    def __init__(self, keep: int, most: int) -> None:
        self._keep, self._most, self._head, self._tail, self.total = keep, most, bytearray(), bytearray(), 0

    @property
    def full(self) -> bool:
        """Whether the stream was longer than it may be."""
        return self.total > self._most

    def add(self, data: bytes) -> None:
        """Take the next piece; what is too much is cut off at the same byte each time."""
        self.total += len(data)
        data = data[: max(0, self._most - self.total + len(data))]
        room = self._keep - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        if len(self._tail) > 2 * self._keep + 65536:
            del self._tail[: -self._keep]

    def output(self) -> Output:
        """What was kept."""
        tail = bytes(self._tail[max(0, len(self._tail) - self._keep) :])
        return Output(bytes(self._head), tail, min(self.total, self._most) - len(self._head) - len(tail))


_threads: dict[int, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=_threads.clear)


def _start(argv: Sequence[str], stdin: int, stdout: int, stderr: int, keep: Sequence[int]) -> Process:
    """Start a launcher from one long-lived thread, with an empty environment.

    bwrap's --die-with-parent follows the *thread* that started it: a box opened in a worker thread would die with that
    thread. So one thread of this process, which lives as long as it does, starts all; a forked child makes its own.
    """
    thread = _threads.setdefault(os.getpid(), ThreadPoolExecutor(1, thread_name_prefix="nano-codex-spawner"))
    return thread.submit(spawn, argv, stdin, stdout, stderr, keep=keep, env={}, session=True).result()


class Box:
    """A launched process and its pipes; `close` ends everything inside."""

    def __init__(self, launch: Launch) -> None:
        self._pid = os.getpid()
        self._depth, self._group = launch.depth, launch.group
        read_in, self._stdin = os.pipe()
        self._out, self._out_write = os.pipe()
        self._ctl, ctl_write = os.pipe()
        self._exit = -1
        self._process: Process | None = None
        if os.geteuid() == 0:  # so that `>/dev/stderr`, which opens the pipe anew, works for the box's uid
            os.fchown(self._out_write, DROP_UID, DROP_UID)
        try:
            argv = launch.group.entering(launch.argv) if launch.group else launch.argv
            self._process = _start(argv, read_in, self._out_write, ctl_write, launch.keep)
        except OSError as error:
            self.close()
            raise SandboxError(f"cannot start {launch.argv[0]}: {error}") from error
        finally:
            for handle in (read_in, ctl_write, *launch.keep):
                os.close(handle)
        self._poller = select.poll()
        for handle in (self._stdin, self._out, self._ctl):
            os.set_blocking(handle, False)
        for handle in (self._out, self._ctl):
            self._poller.register(handle, select.POLLIN)
        with contextlib.suppress(OSError):  # an old kernel, or a container that forbids it: the pipes' ends must do
            self._exit = os.pidfd_open(self._process.pid)
            self._poller.register(self._exit, select.POLLIN)

    @property
    def alive(self) -> bool:
        """Whether it may still be used: not closed, and not inherited through a fork."""
        return self._process is not None and self._pid == os.getpid()

    def close(self) -> None:
        """End every process inside and wait until they are gone; a second call does nothing."""
        process, self._process = self._process, None
        try:
            if process and self._pid == os.getpid():
                self._end(process)
            if self._group and self._pid == os.getpid():
                self._group.remove()
        finally:
            for name in ("_stdin", "_out", "_out_write", "_ctl", "_exit"):
                self._close_pipe(name)

    def finish(self, data: bytes, *, timeout: float, keep: int, max_output: int) -> ExecResult:
        """Write `data` and wait until the program ends."""
        started = time.monotonic()
        result, reports = self.interact(data, timeout=timeout, keep=keep, max_output=max_output, until=None)
        if result.timed_out or result.flooded:
            return replace(result, exit_code=None, reports=reports)
        status = self.wait(max(0.0, timeout - (time.monotonic() - started)))
        return ExecResult(result.output, status, status is None, reports=reports)

    def _close_pipe(self, name: str) -> None:
        handle: int = getattr(self, name)
        if handle >= 0:
            setattr(self, name, -1)
            os.close(handle)

    def _end(self, process: Process) -> None:
        """Kill the innermost process first: the launchers above it then end by themselves and leave no orphan."""
        if process.poll() is None and self._kill_innermost(process.pid) and process.wait(_CLOSING) is not None:
            return
        with contextlib.suppress(ProcessLookupError):  # on its way up: a child just forked has not asked to die with it
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _kill_innermost(self, pid: int) -> bool:
        try:
            for _ in range(self._depth):
                pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
            os.kill(pid, signal.SIGKILL)
        except (OSError, IndexError):  # it is on its way up or down
            return False
        return self._depth > 0

    def wait(self, timeout: float) -> int | None:
        """The launcher's exit status; None if it does not end in time."""
        return self._process.wait(timeout) if self._process else None

    def interact(
        self, data: bytes, *, timeout: float, keep: int, max_output: int, until: bytes | None
    ) -> tuple[ExecResult, bytes]:
        """Write `data`, then read until the control pipe ends with `until` (None: until the process ends).

        A process forked elsewhere in this program may hold copies of the pipes, so their ends are not waited for.
        Returns what came by the output pipe, and what came by the control pipe.
        """
        output, control, deadline = Collector(keep, max_output), bytearray(), time.monotonic() + timeout
        poller, open_pipes = self._poller, {self._out, self._ctl}
        if until is None:
            self._close_pipe("_out_write")
        else:  # the last command may have left marks on the shared pipe: the next shall not see them
            fcntl.fcntl(self._out_write, fcntl.F_SETFL, os.O_WRONLY)
            fcntl.fcntl(self._out_write, fcntl.F_SETPIPE_SZ, 65536)
            os.fchmod(self._out_write, 0o600)
            os.utime(self._out_write, (MTIME, MTIME))
        data, gone, ended = self._write(data, last=until is None), False, self._exit < 0
        while (open_pipes or not ended) and not gone and not (until and control.endswith(until)):
            left = deadline - time.monotonic()  # looked at each time: a command that writes on and on is late as well
            events = poller.poll(left * 1000) if left > 0 else []
            if not events and ended and self._exit >= 0:  # somebody else holds the pipes
                gone = bool(until)
                break
            if not events:
                return ExecResult(output.output(), None, timed_out=True), bytes(control)
            for handle, event in events:
                if handle == self._exit:  # all that it wrote is in the pipes; what it left behind is being killed
                    poller.unregister(handle)
                    ended, deadline = True, min(deadline, time.monotonic() + _LINGERING)
                elif handle == self._stdin:
                    poller.unregister(handle)
                    data = self._write(data, last=until is None)
                elif not (event & select.POLLIN and self._read(handle, output, control)):
                    poller.unregister(handle)
                    open_pipes.discard(handle)
                    gone = bool(until)
            if output.full or len(control) > _MAX_REPORTS:
                return ExecResult(output.output(), None, flooded=True), bytes(control)
        while until and self._read(self._out, output, control) == _MORE:
            continue
        return ExecResult(output.output(), None if gone else 0, flooded=output.full), bytes(control)

    def _write(self, data: bytes, *, last: bool) -> bytes:
        """Write what fits; ask for more room if need be, close the pipe after the `last` byte.

        That the box is gone shows in the reading.
        """
        try:
            data = data[os.write(self._stdin, data) :] if data else b""
        except BlockingIOError:
            pass
        except BrokenPipeError:
            data = b""
        if data:
            self._poller.register(self._stdin, select.POLLOUT)
        elif last:
            self._close_pipe("_stdin")
        return data

    def _read(self, handle: int, output: Collector, control: bytearray) -> int:
        """Take what is there: 0 at the end of the pipe, else _SOME, or _MORE if there may be more at once."""
        try:
            data = os.read(handle, 65536)
        except BlockingIOError:
            return _SOME
        if handle == self._out:
            output.add(data)
        else:
            control += data
        return _MORE if data else 0


_SOME, _MORE = 1, 2


class ResidentShell(Box):
    """A box whose program is `server.sh`: a bash that stays, and forks itself for each command."""

    def __init__(self, launch: Launch, *, max_output: int) -> None:
        super().__init__(launch)
        self._max_output = max_output
        try:
            result, said = self.interact(b"", timeout=_OPENING, keep=4096, max_output=max_output, until=b"\0")
        except BaseException:
            self.close()
            raise
        if said != b"ready\0":
            status = self.wait(1.0)
            self.close()
            words = (said + result.output.head).decode("utf-8", "backslashreplace").strip()
            why = "took too long" if result.timed_out else f"exit status {status}"
            raise SandboxError(f"the box did not open ({why}): {words or 'no message'}")

    def run(self, command: str, *, timeout: float, keep: int) -> ExecResult:
        """Run `command` in a fresh subshell at /testbed; see `Shell.run`."""
        if not self.alive:
            raise SandboxError("this box is closed")
        nonce = secrets.token_hex(8).encode()
        request = nonce + b"\0" + direct(command).encode() + b"\0"
        result, said = self.interact(request, timeout=timeout, keep=keep, max_output=self._max_output, until=b"\0")
        head, _, status = said.rstrip(b"\0").partition(b" ")
        if result.flooded or head != nonce or not (status.isdigit() and len(status) <= 3):
            self.close()
            return ExecResult(result.output, None, result.timed_out, result.flooded)
        return ExecResult(result.output, int(status))
