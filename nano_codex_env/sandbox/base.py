"""The sandbox protocol: open a shell over a file tree, or run one program over it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

TESTBED = "/testbed"
"""Where the repository is mounted inside, as in SWE-bench's images."""


@dataclass(frozen=True)
class Limits:
    """Resource limits, enforced by the kernel per process or per user namespace."""

    processes: int = 128
    """Processes and threads of a box at one time."""
    memory: int = 4 << 30
    """Bytes of address space of one process."""
    total_memory: int = 8 << 30
    """Bytes of memory of all processes of a box together; applied where cgroup v2 is delegated to us."""
    cpu: int = 300
    """Seconds of processor time of one process."""
    file_size: int = 64 << 20
    """Bytes of one file that is written."""
    tmp: int = 64 << 20
    """Bytes in /tmp."""
    output: int = 32 << 20
    """Bytes of output after which a command is stopped."""


@dataclass(frozen=True)
class View:
    """The files that a box shows: the tree at /testbed, and mounts in addition to the system's /usr."""

    layers: tuple[Path, ...]
    """Folders that are overlaid at /testbed, lowest first."""
    writable: bool = False
    """Whether /testbed can be written; changes are kept in memory and discarded with the box."""
    mounts: tuple[tuple[Path, str], ...] = ()
    """More folders or files, read-only: (path on the host, path inside)."""
    env: Mapping[str, str] = field(default_factory=dict)
    """More environment variables; nothing is inherited."""
    limits: Limits = Limits()
    hidden: tuple[Path, ...] = ()
    """Folders on the host that are covered where the box shows the system's folder that they lie in."""


@dataclass(frozen=True)
class Output:
    """A command's stdout and stderr, interleaved; of a long output only the head and the tail are kept."""

    head: bytes
    tail: bytes = b""
    left_out: int = 0

    def text(self) -> str:
        r"""The output as text; a line in the middle says how many bytes are left out, and no character is cut in two.

        Bytes that are not UTF-8, and control characters other than white space, become `\xNN`.
        """
        if not self.left_out:
            return visible(self.head + self.tail)
        head, tail = _CUT_END.sub(b"", self.head), _CUT_START.sub(b"", self.tail)
        left_out = self.left_out + len(self.head) - len(head) + len(self.tail) - len(tail)
        gap = "" if head.endswith(b"\n") else "\n"
        return f"{visible(head)}{gap}[... {left_out} bytes left out ...]\n{visible(tail)}"


def visible(raw: bytes) -> str:
    """`raw` as text that every terminal, JSON parser and tokenizer accepts."""
    text = raw.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else text.translate(_CONTROLS)


_CONTROLS = {code: f"\\x{code:02x}" for code in [*range(32), *range(127, 160)] if chr(code) not in "\t\n\v\f\r"}
_CUT_END = re.compile(rb"(?:[\xc0-\xff]|[\xe0-\xff][\x80-\xbf]|[\xf0-\xff][\x80-\xbf]{2})\Z")
_CUT_START = re.compile(rb"\A[\x80-\xbf]{1,3}")
"""A UTF-8 character of which the end or the start is missing."""


@dataclass(frozen=True)
class ExecResult:
    """The outcome of a command; a failure, time-out or flood is a result, not an exception."""

    output: Output
    exit_code: int | None
    """None if it was stopped, or if it ended its own box."""
    timed_out: bool = False
    flooded: bool = False
    """Whether it was stopped because it wrote more than `Limits.output`."""
    reports: bytes = b""
    """Bytes that the program of `Sandbox.run` wrote to its descriptor 2, the report pipe."""
    out_of_memory: bool = False
    """Whether processes of it were killed because all together had reached `Limits.total_memory`."""
    waited: float = 0.0
    """Seconds for which it waited for its turn on this machine before it was started; not part of its time limit."""


class Shell(Protocol):
    """An open box; each command runs in a new subshell at /testbed."""

    def run(self, command: str, *, timeout: float, keep: int) -> ExecResult:
        """Run `command` for at most `timeout` seconds; keep the first and the last `keep` bytes of its output.

        Raises:
            SandboxError: the box is closed.
        """

    @property
    def alive(self) -> bool:
        """Whether another command can be run; stopping a command closes its box."""

    def close(self) -> None:
        """End every process inside; a second call does nothing."""


class Sandbox(Protocol):
    """Where commands run; `nano_codex_env.testing.check_sandbox` checks an implementation."""

    def open(self, view: View) -> Shell:
        """Open a box with a resident shell; the tree is read-only unless `view.writable`.

        Raises:
            SandboxError: the box cannot be built, or is not isolated.
        """

    def run(
        self, view: View, argv: Sequence[str], *, stdin: bytes = b"", timeout: float, keep: int = 8192
    ) -> ExecResult:
        """Run one program in a new box; its descriptor 1 is the output, its descriptor 2 the report pipe.

        The call returns when the program ends, even if its children or other processes hold the pipes open.

        Raises:
            SandboxError: as for `open`.
        """
