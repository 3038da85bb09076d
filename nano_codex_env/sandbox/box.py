"""The host's end of a box: a process, three pipes, a deadline, and output that is capped while it is read.

Inside, descriptor 1 is the output. Descriptor 2 is the control pipe: the launcher writes its error messages to it, then
the resident shell its answers, each with the nonce of its request, or a program its reports.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import select
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path

from nano_codex_env.errors import SandboxError, advice_for, closed_after
from nano_codex_env.sandbox.base import ExecResult, Output
from nano_codex_env.sandbox.cgroup import ControlGroup, MemoryWatch
from nano_codex_env.sandbox.rootfs import DROP_UID, MTIME
from nano_codex_env.sandbox.simple import direct
from nano_codex_env.spawn import Process, open_pidfd, spawn

_LINES = Path(__file__).with_name("server.sh").read_text(encoding="utf-8").splitlines()
SERVER = " ".join(line.strip() for line in _LINES if not line.lstrip().startswith("#"))
_OPENING = 60.0
_CLOSING = 5.0
_LINGERING = 0.5
"""Seconds that the pipes of a program that has ended may stay open."""
_MAX_REPORTS = 64 << 20
_ANSWER = re.compile(rb"([0-9a-f]{16}) ([0-9]{1,3})\0")
"""The resident shell's answer: the nonce of its request, and the exit status."""


@dataclass(frozen=True)
class Launch:
    """How a sandbox starts a box."""

    argv: Sequence[str]
    depth: int
    """Generations from `argv`'s process down to the one whose death ends the box."""
    descriptors: Sequence[int] = ()
    """Descriptors that it inherits; they are closed here once it runs."""
    group: ControlGroup | None = None
    """A control group to start it in; removed when the box closes."""


class CappedOutput:
    """Keeps the head and the tail of a stream up to `most` bytes, and counts the bytes between."""

    def __init__(self, keep: int, most: int) -> None:
        self._keep, self._most, self._head, self._tail, self.total = keep, most, bytearray(), bytearray(), 0

    @property
    def full(self) -> bool:
        """Whether the stream was longer than allowed."""
        return self.total > self._most

    def add(self, data: bytes) -> None:
        """Add the next piece; how the stream was split into pieces does not change what is kept."""
        self.total += len(data)
        data = data[: max(0, self._most - self.total + len(data))]
        room = max(0, self._keep - len(self._head))
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * self._keep + 65536:
            del self._tail[: -self._keep]

    def output(self) -> Output:
        """Head, tail, and the length of the gap."""
        tail = bytes(self._tail[max(0, len(self._tail) - self._keep) :])
        return Output(bytes(self._head), tail, min(self.total, self._most) - len(self._head) - len(tail))


_starters: dict[int, ThreadPoolExecutor] = {}
"""By process id, one thread that starts all boxes: bwrap's --die-with-parent means the thread that started it."""
os.register_at_fork(after_in_child=_starters.clear)


def _starter() -> ThreadPoolExecutor:
    """The executor with that thread, which runs already: what is submitted where no thread can start stays queued.

    Raises:
        RuntimeError: no thread can be started.
    """
    if starter := _starters.get(os.getpid()):
        return starter
    starter = ThreadPoolExecutor(1, thread_name_prefix="nano-codex-spawner")
    starter.submit(int).result()
    kept = _starters.setdefault(os.getpid(), starter)
    if kept is not starter:
        starter.shutdown(wait=False)
    return kept


class Box:
    """A running box; `close` ends every process inside."""

    def __init__(self, launch: Launch, *, max_output: int) -> None:
        self._owner, self._closed, self._max_output = os.getpid(), False, max_output
        self._depth, self._group, self._exit = launch.depth, launch.group, -1
        self._process: Process | None = None
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            ours.callback(self._remove_group)
            for handle in launch.descriptors:
                theirs.callback(os.close, handle)
            try:
                stdin, self._stdin = _pipe(theirs, ours)
                self._output, self._output_write = _pipe(ours, ours)
                self._control, control = _pipe(ours, theirs)
                ours.callback(self._end)
                self._memory = MemoryWatch(launch.group)
                if os.geteuid() == 0:  # `>/dev/stderr` opens the pipe anew, as the box's user
                    os.fchown(self._output_write.fileno(), DROP_UID, DROP_UID)
                argv = launch.group.entering(launch.argv) if launch.group else launch.argv
                handles = [stdin.fileno(), self._output_write.fileno(), control.fileno()]
                start = _starter().submit(spawn, argv, *handles, keep=launch.descriptors, env={}, session=True)
                try:
                    self._process = start.result()
                except KeyboardInterrupt:
                    self._process = None if start.cancel() else start.result()
                    raise
                self._exit = open_pidfd(self._process.pid)
                if self._exit >= 0:
                    ours.callback(os.close, self._exit)
                for pipe in (self._stdin, self._output, self._control):
                    os.set_blocking(pipe.fileno(), False)
            except (OSError, RuntimeError) as error:  # RuntimeError: no more threads
                raise SandboxError(f"cannot start {launch.argv[0]}: {error}{advice_for(error)}") from error
            self._resources = ours.pop_all()

    @property
    def alive(self) -> bool:
        """Whether it can be used: it is open, and was not inherited through a fork."""
        return not self._closed and self._owner == os.getpid()

    def close(self) -> None:
        """End every process inside and wait until they are gone; a second call does nothing."""
        self._closed = True
        self._resources.close()

    def _end(self) -> None:
        """Kill the innermost process first: the launchers above it then end by themselves and leave no orphan."""
        if self._owner != os.getpid():
            return
        if process := self._process:
            pid, ended = process.pid, False
            with contextlib.suppress(OSError, IndexError):  # it has not started its children yet, or has ended
                if process.poll() is None:
                    for _ in range(self._depth):
                        pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
                    os.kill(pid, signal.SIGKILL)
                    ended = process.wait(_CLOSING) is not None
            if not ended:
                with contextlib.suppress(ProcessLookupError):  # a new child may not have set its death signal yet
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _remove_group(self) -> None:
        if self._group and self._owner == os.getpid():
            self._group.remove()

    def finish(self, data: bytes, *, timeout: float, keep: int) -> ExecResult:
        """Write `data` to the program, and wait until it ends.

        Raises:
            SandboxError: it was killed from outside.
        """
        deadline = time.monotonic() + timeout
        self._output_write.close()
        result = self._exchange(data, timeout=timeout, keep=keep)
        status = None
        if not (result.timed_out or result.flooded):
            status = self._wait(max(0.0, deadline - time.monotonic()))
            result = replace(result, exit_code=status, timed_out=status is None)
        return replace(result, out_of_memory=self._memory.reached_own_limit(status))

    def _wait(self, timeout: float) -> int | None:
        return self._process.wait(timeout) if self._process else None

    def _exchange(self, data: bytes, *, timeout: float, keep: int, until: bytes | None = None) -> ExecResult:
        """Write `data`, then read until the control pipe ends with `until` (None: until the process has ended).

        A process forked elsewhere in this program may hold copies of the pipes, so their end alone is never awaited.
        """
        output, control, rest = CappedOutput(keep, self._max_output), bytearray(), memoryview(data)
        stdin, out, ctl = self._stdin.fileno(), self._output.fileno(), self._control.fileno()
        awaited = {ctl} if until else {out, ctl, self._exit} - {-1}
        poller, exited, deadline = select.poll(), False, time.monotonic() + timeout
        poller.register(stdin, select.POLLOUT)
        for handle in {out, ctl, self._exit} - {-1}:
            poller.register(handle, select.POLLIN)

        def result(*, timed_out: bool = False, flooded: bool = False) -> ExecResult:
            return ExecResult(output.output(), None, timed_out, flooded, bytes(control))

        while awaited and not (until and control.endswith(until)):
            left = deadline - time.monotonic()
            events = poller.poll(left * 1000) if left > 0 else []  # a command that never stops writing is stopped too
            if not events and exited:  # another process holds the pipes open
                break
            if not events:
                return result(timed_out=True)
            for handle, _ in events:
                ended = False
                if handle == self._exit:  # all its output is in the pipes by now
                    ended = exited = True
                    deadline = min(deadline, time.monotonic() + _LINGERING)
                elif handle == stdin:
                    try:
                        rest = rest[self._stdin.write(rest) or 0 :]
                    except BrokenPipeError:  # the program is gone, which the other pipes show
                        rest = rest[:0]
                    ended = not rest
                elif (piece := (self._output if handle == out else self._control).read(65536)) is not None:
                    output.add(piece) if handle == out else control.extend(piece)
                    ended = not piece
                if ended:
                    poller.unregister(handle)
                    awaited.discard(handle)
                    if handle == stdin and until is None:
                        self._stdin.close()
            if output.full or len(control) > _MAX_REPORTS:
                return result(flooded=True)
        while until and (piece := self._output.read(65536)):
            output.add(piece)
        return result(flooded=output.full)


def _pipe(read: contextlib.ExitStack, write: contextlib.ExitStack) -> tuple[FileIO, FileIO]:
    ends = os.pipe()
    return read.enter_context(FileIO(ends[0], "r")), write.enter_context(FileIO(ends[1], "w"))


class ResidentShell(Box):
    """A box with a resident bash that runs `server.sh` and forks a subshell for each command."""

    def __init__(self, launch: Launch, *, max_output: int) -> None:
        super().__init__(launch, max_output=max_output)
        self._pipe_size = fcntl.fcntl(self._output_write.fileno(), fcntl.F_GETPIPE_SZ)
        """A user of very many pipes gets small ones, and may not enlarge them."""
        with contextlib.ExitStack() as failed:
            failed.callback(self.close)
            result = self._exchange(b"", timeout=_OPENING, keep=4096, until=b"\0")
            if result.reports != b"ready\0":
                why = "took too long" if result.timed_out else f"exit status {self._wait(1.0)}"
                message = (result.reports + result.output.head).decode("utf-8", "backslashreplace").strip()
                raise SandboxError(f"the box did not open ({why}): {message or 'no message'}")
            failed.pop_all()

    def run(self, command: str, *, timeout: float, keep: int) -> ExecResult:
        """Run `command` in a fresh subshell at /testbed; see `Shell.run`."""
        if not self.alive:
            raise SandboxError("this box is closed")
        pipe = self._output_write.fileno()  # all commands share it: undo what the last one changed of it
        fcntl.fcntl(pipe, fcntl.F_SETFL, os.O_WRONLY)
        if fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) != self._pipe_size:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, self._pipe_size)
        os.fchmod(pipe, 0o600)
        os.utime(pipe, (MTIME, MTIME))
        nonce = secrets.token_hex(8).encode()
        request = nonce + b"\0" + direct(command).encode() + b"\0"
        result = self._exchange(request, timeout=timeout, keep=keep, until=b"\0")
        answer = _ANSWER.fullmatch(result.reports)
        if result.flooded or not answer or answer[1] != nonce:
            with closed_after(self.close):
                stopped = result.timed_out or result.flooded or result.reports.endswith(b"\0")
                reached = self._memory.reached_own_limit(None if stopped else self._wait(1.0), resident=True)
            return replace(result, reports=b"", out_of_memory=reached)
        return replace(result, exit_code=int(answer[2]), reports=b"")
