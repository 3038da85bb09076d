"""`nano-codex doctor`: what works on this machine, and how to fix what does not."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nano_codex_env.cache import cache_dir, remove_dead_sessions
from nano_codex_env.cli.arguments import add_command
from nano_codex_env.cli.terminal import table
from nano_codex_env.errors import NanoCodexError
from nano_codex_env.sandbox import Bubblewrap, View
from nano_codex_env.sandbox.bubblewrap import advice, bwrap_version, find_bwrap
from nano_codex_env.sandbox.privileges import can_mount

_TOOLS = ("git", "python3", "awk", "sed", "grep", "find", "file", "diff")


@dataclass(frozen=True)
class Diagnosis:
    """A row of the table."""

    name: str
    found: str
    fix: str = ""
    ok: bool = True
    needed: bool = True

    @property
    def status(self) -> str:
        """The second column."""
        return "ok" if self.ok else "MISSING" if self.needed else "no"


def add_commands(commands: Any) -> None:
    """Add `doctor`."""
    add_command(commands, "doctor", _doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    """Check what works on this machine, and say how to fix what does not."""
    checks = (_python, _kernel, _git, _bwrap, _namespaces, _overlay, _sandbox, _uv, _cache)
    findings = [_guarded(check) for check in checks]
    table(("check", "", "found", "fix"), [(item.name, item.status, item.found, item.fix) for item in findings])
    missing = [item.name for item in findings if item.status == "MISSING"]
    print(f"not ready: {', '.join(missing)}" if missing else "ready")
    return int(bool(missing))


def _guarded(check: Callable[[], Diagnosis]) -> Diagnosis:
    try:
        return check()
    except (NanoCodexError, OSError, subprocess.SubprocessError) as error:
        found, _, fix = str(error).partition("; ")
        return Diagnosis(check.__name__.strip("_"), found, fix, ok=False)


def _python() -> Diagnosis:
    return Diagnosis("python", f"{platform.python_version()} at {sys.base_prefix}")


def _kernel() -> Diagnosis:
    ok = platform.system() == "Linux"
    return Diagnosis(
        "kernel", f"{platform.system()} {platform.release()}", "" if ok else "use Linux, or a Linux VM", ok
    )


def _version(path: str) -> str:
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def _git() -> Diagnosis:
    path = shutil.which("git")
    if path is None:
        return Diagnosis("git", "not on PATH", "install git >= 2.25", ok=False)
    inside = path.startswith(("/usr/", "/bin/"))
    return Diagnosis(
        "git", _version(path), "" if inside else "policies need a git below /usr as well: install the package"
    )


def _bwrap() -> Diagnosis:
    path = find_bwrap()
    return Diagnosis("bwrap", f"{'.'.join(map(str, bwrap_version(path)))} at {path}")


def _try_bwrap(*arguments: str) -> str | None:
    """The error message of bwrap with these arguments; None if it works."""
    command = [find_bwrap(), "--unshare-all", "--unshare-user", "--ro-bind", "/", "/", *arguments, "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return done.stderr.strip() if done.returncode else None


def _namespaces() -> Diagnosis:
    user = "an ordinary user"
    if os.geteuid() == 0:
        may = "may mount" if can_mount() else "may not mount: cache and Python must be readable for everyone"
        user = f"root, {may}"
    if (error := _try_bwrap()) is not None:
        return Diagnosis("namespaces", f"{user}: {error}", advice(error), ok=False)
    return Diagnosis("namespaces", user)


def _overlay() -> Diagnosis:
    with tempfile.TemporaryDirectory() as folder:
        layers = [Path(folder, name) for name in ("lower", "upper")]
        for layer in layers:
            layer.mkdir()
        sources = [word for layer in layers for word in ("--overlay-src", str(layer))]
        if (error := _try_bwrap(*sources, "--ro-overlay", "/mnt")) is not None:
            return Diagnosis("overlay", error, "Linux 5.11 or newer allows overlays in user namespaces", ok=False)
    return Diagnosis("overlay", "in a user namespace")


def _sandbox() -> Diagnosis:
    """A box as an episode gets it, and the tools that a policy finds in it."""
    sandbox = Bubblewrap()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with closing(sandbox.open(View((Path(folder),)))) as box:
            result = box.run(f"for tool in {' '.join(_TOOLS)}; do command -v $tool; done", timeout=20, keep=4096)
    missing = sorted(set(_TOOLS) - {Path(path).name for path in result.output.text().split()})
    fix = f"policies will miss {', '.join(missing)}: install them below /usr" if missing else ""
    return Diagnosis("sandbox", "self-test passed: namespaces, seccomp, read-only root, no network", fix)


def _uv() -> Diagnosis:
    installed = Path(sys.executable).with_name("uv")
    path = str(installed) if installed.exists() else shutil.which("uv")
    if path is None:
        return Diagnosis("uv", "not installed", "only for tasks with packages: pip install uv", ok=False, needed=False)
    return Diagnosis("uv", _version(path), needed=False)


def _cache() -> Diagnosis:
    folder = cache_dir()
    removed = remove_dead_sessions(folder)
    free = shutil.disk_usage(folder).free >> 30
    left = f"; {len(removed)} left-over session folder(s) removed" if removed else ""
    return Diagnosis("cache", f"{folder}, {free} GiB free{left}")
