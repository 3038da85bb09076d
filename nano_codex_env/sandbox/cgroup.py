"""A control group for each box, which limits the memory of all its processes together.

It needs cgroup v2 delegation: the group above ours has the memory controller enabled and is writable for us, as in a
user's systemd session, or in a service or job with `Delegate=yes`. Elsewhere total memory is not limited.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from nano_codex_env.errors import SandboxError, advice_for
from nano_codex_env.mounts import PROC, control_groups

_PREFIX = "nano-codex-"


@cache
def delegated_group(proc: Path = PROC) -> Path | None:
    """The group in which boxes may have groups of their own, or None; groups of processes that died are removed."""
    try:
        parent = find_group(proc)
    except SandboxError as error:
        if error.__cause__ and advice_for(error.__cause__):  # out of descriptors, say: the next box may have a group
            raise
        return None
    for folder in parent.glob(f"{_PREFIX}*"):
        if not Path("/proc", folder.name.split("-")[2]).exists():
            with contextlib.suppress(OSError):  # a process is still alive in it
                folder.rmdir()
    return parent


def find_group(proc: Path = PROC) -> Path:
    """The group in which boxes may have groups of their own.

    Raises:
        SandboxError: there is none; the message says why.
    """
    groups = control_groups(proc)
    if "" not in groups:
        raise SandboxError("control groups are of version 1 here, or not mounted")
    top, ours = groups[""]
    parent = top if ours == top else ours.parent
    try:
        controllers = (parent / "cgroup.subtree_control").read_text(encoding="ascii").split()
    except OSError as error:
        raise SandboxError(f"{parent} cannot be read: {error.strerror}") from error
    if "memory" not in controllers:
        if "memory" in groups:
            raise SandboxError("memory belongs to control groups of version 1 here")
        raise SandboxError(f"{parent} does not hand the memory controller down")
    if not all(os.access(path, os.W_OK) for path in (parent, parent / "cgroup.procs")):
        raise SandboxError(f"{parent} is not delegated: this user may not write in it")
    return parent


class ControlGroup:
    """The control group of one box."""

    def __init__(self, parent: Path, limits: Mapping[str, str]) -> None:
        """`limits`: file of the group -> what to write; a swap file is skipped where the kernel does not count swap.

        Raises:
            SandboxError: the group cannot be made.
        """
        with contextlib.ExitStack() as undo:
            try:
                self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))
                undo.callback(self.path.rmdir)
                for name, value in limits.items():
                    if "swap" not in name or (self.path / name).exists():
                        (self.path / name).write_text(value, encoding="ascii")
            except OSError as error:
                raise SandboxError(f"no control group for a box in {parent}: {error}{advice_for(error)}") from error
            undo.pop_all()

    def entering(self, argv: Sequence[str]) -> list[str]:
        """A command that enters the group and then becomes `argv`."""
        return ["/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self.path / "cgroup.procs"), *argv]

    def memory_events(self) -> dict[str, int]:
        """`oom`: how often it reached its own limit; `oom_kill`: its processes that were killed, for whatever limit."""
        return _counts(self.path / "memory.events")

    def remove(self) -> None:
        """Remove it, for up to a second after its processes were killed."""
        for _ in range(200):
            try:
                self.path.rmdir()
            except FileNotFoundError:
                return
            except OSError:  # the last of them takes a moment
                time.sleep(0.005)


class MemoryWatch:
    """Tells whose limit it was when processes of a box were killed: the box's own, or the machine's or its job's.

    A box with a control group of its own has its own counters. Elsewhere the group that this process is in counts all
    that was killed in the job; and where that cannot be read, there is only the count of the whole machine.
    """

    def __init__(self, group: ControlGroup | None) -> None:
        """Begin to watch, before the box starts."""
        self._group = group
        self._counter = None if group else _job_counter() or _MACHINE
        self._before = _counts(self._counter).get("oom_kill", 0)

    def reached_own_limit(self, status: int | None, *, resident: bool = False) -> bool:
        """Whether the kernel stopped processes of the box for the box's own limit.

        `status` is its launcher's; None: it was stopped here. With `resident` its commands may have been killed without
        ending it: only its own death counts.

        Raises:
            SandboxError: the box was killed from outside, for the memory of the machine or the job, or by somebody.
        """
        if self._group:
            found = self._group.memory_events()
            if found.get("oom"):
                return True
            killed = found.get("oom_kill", 0)
        else:
            is_killed = status in (-signal.SIGKILL, 128 + signal.SIGKILL)
            told = is_killed or (status and not resident and self._counter != _MACHINE)
            killed = _counts(self._counter).get("oom_kill", 0) - self._before if told else 0
        if killed or (status or 0) < 0:
            why = "the machine, or the job that this is, ran out of memory" if killed else f"by signal {-(status or 0)}"
            raise SandboxError(
                f"processes of the box were killed from outside: {why}. If it was for memory: run fewer tests at once "
                "(scorers=, NANO_CODEX_BOXES) and fewer episodes, or ask for more memory"
            )
        return False


_MACHINE = Path("/proc/vmstat")


@cache
def _job_counter(proc: Path = PROC) -> Path | None:
    """The file in which the group that this process is in counts the processes that were killed for memory, or None."""
    groups = control_groups(proc)
    for name, file in (("memory", "memory.oom_control"), ("", "memory.events")):
        if name in groups and os.access(path := groups[name][1] / file, os.R_OK):
            return path
    return None


def _counts(file: Path | None) -> dict[str, int]:
    """The counters in a file of the kernel's; none where it does not exist.

    Raises:
        SandboxError: this process can open no more files.
    """
    try:
        rows = [line.split() for line in file.read_text(encoding="ascii").splitlines()] if file else []
    except OSError as error:
        if advice := advice_for(error):
            raise SandboxError(f"cannot read {file}: {error}{advice}") from error
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
