"""`check_sandbox` finds each fault of a sandbox that breaks its protocol; that ours keeps it: see test_contract.py."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nano_codex_env.sandbox import ExecResult, Limits, Sandbox, View
from nano_codex_env.sandbox.bubblewrap import find_bwrap
from nano_codex_env.testing import check_sandbox
from tests.conftest import mostly_slow
from tests.sandbox.faulty import AlwaysAlive, AnswersWhenClosed, ClosesOnce, Faulty, NeverCloses
from tests.sandbox.test_bubblewrap import ROOT, python


def without(limit: str) -> dict[str, Callable[[View], View]]:
    """Views in which a limit is the default."""
    default = {limit: getattr(Limits(), limit)}
    return changed_views(lambda view: {"limits": replace(view.limits, **default)})


def remembering(memory: list[str]) -> Callable[[str], str]:
    """Commands that begin in the folder that the last one went to."""

    def changed(command: str) -> str:
        prefix = "".join(memory)
        memory[:] = [f"{command}; "] if command.startswith("cd ") else []
        return prefix + command

    return changed


def changed_views(change: Callable[[View], dict[str, Any]]) -> dict[str, Callable[[View], View]]:
    """Views with these fields changed."""
    return {"view": lambda view: replace(view, **change(view))}


def changed_results(change: Callable[[ExecResult], dict[str, Any]]) -> dict[str, Callable[[ExecResult], ExecResult]]:
    """Results with these fields changed."""
    return {"result": lambda result: replace(result, **change(result))}


def host_variables(view: View) -> dict[str, Any]:
    return {"env": {name: value for name, value in os.environ.items() if name.startswith("NANO")}}


def existing_layers(view: View) -> dict[str, Any]:
    return {"layers": tuple(layer if layer.exists() else layer.parent for layer in view.layers)}


def stripped(result: ExecResult) -> dict[str, Any]:
    return {"output": replace(result.output, head=result.output.head.strip())}


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "exit status": (changed_results(lambda _: {"exit_code": 0}), "command 'exit 7': expected"),
    "env": (changed_views(host_variables), "reads a variable of the host"),
    "writable": (changed_views(lambda _: {"writable": True}), "read-only view: 'rm README.md' succeeds"),
    "time-out": (changed_results(lambda _: {"timed_out": False}), "a command that hangs: expected"),
    "flood": (changed_results(lambda _: {"flooded": False}), "left_out of a flood: expected"),
    "strip": (changed_results(stripped), "command .*indented.*: expected"),
    "tail": (
        changed_results(lambda r: {"output": replace(r.output, tail=b"")}),
        "head, left_out and tail of an output",
    ),
    "cap": (without("output"), r"flooded, exit_code, left_out, alive of 3000000 bytes"),
    "processes": (without("processes"), r"Limits\.processes is not applied"),
    "memory": (without("memory"), r"Limits\.memory is not applied"),
    "cpu": (without("cpu"), r"Limits\.cpu is not applied"),
    "file size": (without("file_size"), r"Limits\.file_size is not applied"),
    "tmp": (without("tmp"), r"Limits\.tmp is not applied"),
    "state": ({"command": remembering([])}, "a folder outlives its command"),
    "never writable": (changed_views(lambda _: {"writable": False}), "writable view: expected"),
    "layers": (changed_views(lambda view: {"layers": view.layers[::-1]}), "layers: expected"),
    "mounts": (changed_views(lambda _: {"mounts": ()}), "mounts and env of a view: expected"),
    "missing folder": (changed_views(existing_layers), "a view of a missing folder opens"),
    "reports": (changed_results(lambda _: {"reports": b""}), "run: reports: expected"),
    "input": ({"takes_input": False}, "run: output and exit status: expected"),
    "close": ({"shell": NeverCloses}, "a closed shell runs a command"),
    "second close": ({"shell": ClosesOnce}, "close: SandboxError: closed twice"),
    "alive": ({"shell": AlwaysAlive}, "alive after a time-out: expected False"),
    "closed": ({"shell": AnswersWhenClosed}, "a closed shell runs a command"),
}


@pytest.mark.parametrize("name", mostly_slow(FAULTS, 1))
def test_a_fault_is_found(sandbox: Sandbox, name: str) -> None:
    options, finding = FAULTS[name]
    faulty = Faulty(sandbox, **options)
    try:
        with pytest.raises(AssertionError, match=finding) as raised:
            check_sandbox(faulty)
    finally:
        for shell in faulty.opened:
            shell.close()
    assert str(raised.value).startswith("Faulty breaks the sandbox protocol:\n")


@pytest.mark.slow
def test_a_sandbox_without_isolation_has_each_finding() -> None:
    """In a namespace of its own, in which it may do what it likes."""
    around = [find_bwrap(), "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev"]
    around += ["--proc", "/proc", "--tmpfs", "/tmp"]
    around += [word for folder in (sys.prefix, str(ROOT)) for word in ("--ro-bind", folder, folder)]
    report = python(
        "from nano_codex_env.testing import check_sandbox\nfrom tests.sandbox.faulty import Unconfined\n"
        "try:\n    check_sandbox(Unconfined())\nexcept AssertionError as error:\n    print(error)",
        prefix=around,
        TMPDIR="/tmp",
    )
    for finding in (
        "a file in /tmp outlives",
        "a process outlives",
        "processes after a time-out",
        "processes after the program",
        "reads a file of the host",
        "reads a variable of the host",
        "writes a file of the host",
        "sees a process of the host",
        "kills a process of the host",
        "connects to a TCP port of the host",
        "connects to a UNIX socket of the host",
        "a command changed the tree on the host",
        "alive after close",
        r"Limits\.processes",
        r"Limits\.cpu",
    ):
        assert re.search(finding, report), f"{finding}\n{report}"
