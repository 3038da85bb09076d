"""Sandboxes that break their protocol, each in one way, and one without any isolation."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nano_codex_env.errors import SandboxError
from nano_codex_env.sandbox import ExecResult, Output, Sandbox, Shell, View


def same(value: object) -> object:
    return value


@dataclass
class Faulty(Sandbox):
    """A good sandbox, whose views, commands or results are changed on the way."""

    inner: Sandbox
    view: Callable[[View], View] = same  # type: ignore[assignment]
    command: Callable[[str], str] = same  # type: ignore[assignment]
    result: Callable[[ExecResult], ExecResult] = same  # type: ignore[assignment]
    takes_input: bool = True
    shell: type[FaultyShell] | None = None
    opened: list[Shell] = field(default_factory=list)
    """Real shells; the test closes them."""

    def open(self, view: View) -> Shell:
        self.opened.append(self.inner.open(self.view(view)))
        return (self.shell or FaultyShell)(self, self.opened[-1])

    def run(
        self, view: View, argv: Sequence[str], *, stdin: bytes = b"", timeout: float, keep: int = 8192
    ) -> ExecResult:
        given = stdin if self.takes_input else b""
        return self.result(self.inner.run(self.view(view), argv, stdin=given, timeout=timeout, keep=keep))


class FaultyShell(Shell):
    """A shell of it."""

    def __init__(self, sandbox: Faulty, inner: Shell) -> None:
        self.sandbox, self.inner, self.closed = sandbox, inner, False

    def run(self, command: str, *, timeout: float, keep: int) -> ExecResult:
        return self.sandbox.result(self.inner.run(self.sandbox.command(command), timeout=timeout, keep=keep))

    @property
    def alive(self) -> bool:
        return self.inner.alive

    def close(self) -> None:
        self.inner.close()


class NeverCloses(FaultyShell):
    def close(self) -> None:
        pass


class ClosesOnce(FaultyShell):
    def close(self) -> None:
        if self.closed:
            raise SandboxError("closed twice")
        self.closed = True
        self.inner.close()


class AlwaysAlive(FaultyShell):
    @property
    def alive(self) -> bool:
        return True


class AnswersWhenClosed(FaultyShell):
    def run(self, command: str, *, timeout: float, keep: int) -> ExecResult:
        if not self.inner.alive:
            return ExecResult(Output(b""), 0)
        return super().run(command, timeout=timeout, keep=keep)


class Unconfined(Sandbox):
    """Runs everything on the host; the test puts a namespace around it."""

    def open(self, view: View) -> Shell:
        return UnconfinedShell(view)

    def run(
        self, view: View, argv: Sequence[str], *, stdin: bytes = b"", timeout: float, keep: int = 8192
    ) -> ExecResult:
        return unconfined(view.layers[0], argv, timeout, stdin)


class UnconfinedShell(Shell):
    alive = True

    def __init__(self, view: View) -> None:
        self.view = view

    def run(self, command: str, *, timeout: float, keep: int) -> ExecResult:
        return unconfined(self.view.layers[0], ["bash", "-c", command], timeout)

    def close(self) -> None:
        pass


def unconfined(folder: Path, argv: Sequence[str], timeout: float, stdin: bytes = b"") -> ExecResult:
    """Output goes to a file, so that children in the background are not waited for."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output:
        given.write(stdin)
        given.seek(0)
        process = subprocess.Popen(argv, cwd=folder, stdin=given, stdout=output, stderr=output)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            return ExecResult(Output(b""), None, timed_out=True)
        output.seek(0)
        return ExecResult(Output(output.read()), status)
