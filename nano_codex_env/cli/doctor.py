"""`nano-codex doctor`: what works on this machine, and how to fix what does not."""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nano_codex_env.cli.arguments import add_command
from nano_codex_env.cli.checks import Finding, boxes, folders, limits
from nano_codex_env.cli.terminal import table
from nano_codex_env.errors import NanoCodexError, WorkspaceError
from nano_codex_env.runtimes import find_uv
from nano_codex_env.sandbox.diagnosis import user_name
from nano_codex_env.untrusted import on_one_line

_NO_FOLDING = 10_000
"""Columns of a table in a pipe: each check is one line, for `grep`."""
_PURPOSES = {
    "namespaces": "each command runs in user namespaces of its own, without rights, network, or other people's files",
    "overlay": "a sandbox sees a repository and its changes as an overlay",
    "sandbox": "each command runs in a sandbox that an ordinary user makes",
    "cache": "repositories and the environments of their tests are kept there",
    "locks": "processes that share a folder exclude each other with flock(2)",
    "inodes": "an episode's log is a folder of five files, a repository one file for each of its own",
    "tmp": "hidden tests are laid out there before they are run",
    "memory": "one sandbox cannot take all the memory that a job has",
    "descriptors": "each episode has a few pipes open, and many run at once",
    "processes": "each episode is a few processes, and many run at once",
}
"""By check: what an administrator's lines are for."""


def add_commands(commands: Any) -> None:
    """Add `doctor`."""
    parser = add_command(commands, "doctor", _doctor)
    text = "print only what an administrator can change, as text for a mail"
    parser.add_argument("--admin", action="store_true", help=text)


def _doctor(arguments: argparse.Namespace) -> int:
    """Check what works on this machine, and say how to fix what does not.

    `ok`: it works; `no`: it is optional or works less well; `MISSING`: nothing runs without it, and the exit status is
    1. Lines for an administrator stand below the table.

    Example: nano-codex doctor --admin
    """
    findings: dict[str, Finding] = {}
    for check in _CHECKS:
        finding = _guarded(check)
        said = {line for earlier in findings.values() for line in earlier.admin}
        admin = tuple(line for line in finding.admin if line not in said)
        findings[check.__name__.strip("_")] = replace(finding, admin=admin)
    missing = [name for name, finding in findings.items() if finding.status == "MISSING"]
    if arguments.admin:
        _print_letter(findings)
        return int(bool(missing))
    rows = [(name, finding.status, finding.found, finding.fix) for name, finding in findings.items()]
    table(("check", "", "found", "fix"), rows, pipe_width=_NO_FOLDING)
    for name, finding in findings.items():
        for line in finding.admin:
            print(on_one_line(f"{name}, for the administrator: {line}"))
    print(f"not ready: {', '.join(missing)}" if missing else "ready")
    return int(bool(missing))


def _print_letter(findings: dict[str, Finding]) -> None:
    asked = {name: finding for name, finding in findings.items() if finding.admin}
    if not asked:
        print("there is nothing to ask the administrator for")
        return
    print(
        on_one_line(
            f"On {platform.node()} (Linux {platform.release()}) I, {user_name()}, would like to run nano-codex,"
        )
    )
    print("which runs commands of language models in unprivileged sandboxes (bubblewrap). It needs:")
    for number, (name, finding) in enumerate(asked.items(), 1):
        need = "nothing runs without it" if finding.status == "MISSING" else "it runs without it, but worse"
        print(f"\n{number}. {name} ({need}): {_PURPOSES[name]}.")
        print(on_one_line(f"   Found: {finding.found}"))
        for line in finding.admin:
            print(on_one_line(f"   {line}"))


def _guarded(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except (NanoCodexError, OSError, subprocess.SubprocessError) as error:
        found, _, fix = str(error).partition("; ")
        return Finding("MISSING", found, fix)


def _python() -> Finding:
    return Finding("ok", f"{platform.python_version()} at {sys.base_prefix}")


def _kernel() -> Finding:
    found = f"{platform.system()} {platform.release()}"
    return (
        Finding("ok", found) if platform.system() == "Linux" else Finding("MISSING", found, "use Linux, or a Linux VM")
    )


def _version(path: str) -> str:
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def _git() -> Finding:
    path = shutil.which("git")
    if path is None:
        return Finding("MISSING", "not on PATH", "install git >= 2.25")
    inside = path.startswith(("/usr/", "/bin/"))
    return Finding(
        "ok", _version(path), "" if inside else "policies need a git below /usr as well: install the package"
    )


def _uv() -> Finding:
    try:
        path = find_uv()
    except WorkspaceError:
        return Finding("no", "not installed", "only for tasks with packages: pip install uv")
    return Finding("ok", _version(path))


_CHECKS: tuple[Callable[[], Finding], ...] = (
    *(_python, _kernel, _git, boxes.bwrap, boxes.namespaces, boxes.overlay, boxes.sandbox, _uv),
    *(folders.cache, folders.locks, folders.inodes, folders.tmp),
    *(limits.memory, limits.descriptors, limits.processes),
)
