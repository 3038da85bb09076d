"""What a sandbox is: a way to open a shell over a tree, and to run one program over a tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

TESTBED = "/testbed"
"""Where the repository is seen inside, as in SWE-bench's images."""


@dataclass(frozen=True)
class Limits:
    """What one command inside may use; the kernel holds these per process, or per user namespace."""

    processes: int = 128
    """Processes and threads of one box at a time."""
    memory: int = 4 << 30
    """Bytes of address space of one process."""
    total_memory: int = 8 << 30
    """Bytes of memory of all processes of a box together, where cgroup v2 is delegated to us; elsewhere unbounded."""
    cpu: int = 300
    """Seconds of processor time of one process."""
    file_size: int = 64 << 20
    """Bytes of one written file."""
    tmp: int = 64 << 20
    """Bytes in /tmp."""
    output: int = 32 << 20
    """Bytes of output after which a command is stopped."""


@dataclass(frozen=True)
class View:
    """What a box shows: the tree at /testbed, and what else is mounted beside the system's /usr."""

    layers: tuple[Path, ...]
    """Folders that lie over one another at /testbed, lowest first."""
    writable: bool = False
    """Whether /testbed takes writes; they are kept in memory and go with the box."""
    mounts: tuple[tuple[Path, str], ...] = ()
    """More folders or files, read-only: (path on the host, path inside)."""
    env: Mapping[str, str] = field(default_factory=dict)
    """More environment variables; nothing is inherited."""
    limits: Limits = Limits()
    hidden: tuple[Path, ...] = ()
    """Folders on the host that shall not be seen, should they lie in what is shown of the system."""


@dataclass(frozen=True)
class Output:
    """What a command wrote, stdout and stderr as one; the middle of a long output is counted, not kept."""

    head: bytes
    tail: bytes = b""
    left_out: int = 0

    def text(self) -> str:
        r"""The output as text, with a line in the middle that says how much is left out.

        Bytes that are not UTF-8 and control characters other than white space stand as `\xNN`.
        """
        if not self.left_out:
            return visible(self.head + self.tail)
        head, tail = _whole_end(self.head), _whole_start(self.tail)
        left_out = self.left_out + len(self.head) - len(head) + len(self.tail) - len(tail)
        gap = "" if head.endswith(b"\n") else "\n"
        return f"{visible(head)}{gap}[... {left_out} bytes left out ...]\n{visible(tail)}"


def visible(raw: bytes) -> str:
    """`raw` as text that any terminal, JSON reader and tokenizer takes."""
    text = raw.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else text.translate(_CONTROLS)


_CONTROLS = {code: f"\\x{code:02x}" for code in [*range(32), *range(127, 160)] if chr(code) not in "\t\n\v\f\r"}


def _whole_end(raw: bytes) -> bytes:
    for back in range(1, min(4, len(raw)) + 1):
        byte = raw[-back]
        if byte >= 0xC0:  # the start of a character: is all of it there?
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return raw[:-back] if length > back else raw
        if byte < 0x80:
            break
    return raw


def _whole_start(raw: bytes) -> bytes:
    start = 0
    while start < min(3, len(raw)) and 0x80 <= raw[start] < 0xC0:
        start += 1
    return raw[start:]


@dataclass(frozen=True)
class ExecResult:
    """What one command did; that it failed, hung or flooded is data, not an exception."""

    output: Output
    exit_code: int | None
    """None: it was stopped, or took its shell down with it."""
    timed_out: bool = False
    flooded: bool = False
    """It was stopped because it wrote more than the limit."""
    reports: bytes = b""
    """What `run`'s program wrote to the report pipe (its file descriptor 2)."""


class Shell(Protocol):
    """An open box; each command starts in a fresh subshell at /testbed."""

    def run(self, command: str, *, timeout: float, keep: int) -> ExecResult:
        """Run `command`; keep the first and last `keep` bytes of its output.

        Raises:
            SandboxError: the box is gone, or never came up.
        """

    @property
    def alive(self) -> bool:
        """Whether another command can be run; a stopped command takes its box down."""

    def close(self) -> None:
        """End every process inside; a second call does nothing."""


class Sandbox(Protocol):
    """Where commands run; `Bubblewrap` is the one that is here. Inherit from this to write another."""

    def open(self, view: View) -> Shell:
        """A box with a resident shell, read-only unless the view says otherwise.

        Raises:
            SandboxError: it cannot be built, or its walls do not stand.
        """

    def run(
        self, view: View, argv: Sequence[str], *, stdin: bytes = b"", timeout: float, keep: int = 8192
    ) -> ExecResult:
        """Run one program in a fresh box to its end; its descriptor 1 is output, its descriptor 2 the report pipe.

        It ends when its process does: neither it nor its input's end waits for others that hold the pipes.

        Raises:
            SandboxError: as for `open`.
        """
