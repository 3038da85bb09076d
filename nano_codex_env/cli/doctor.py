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
from pathlib import Path
from typing import Any

from nano_codex_env.cache import cache_dir, remove_dead_sessions
from nano_codex_env.cli.arguments import add_command
from nano_codex_env.cli.terminal import table
from nano_codex_env.errors import NanoCodexError, WorkspaceError
from nano_codex_env.runtimes import find_uv
from nano_codex_env.sandbox import Bubblewrap, View
from nano_codex_env.sandbox.bubblewrap import advice, bwrap_version, find_bwrap
from nano_codex_env.sandbox.privileges import can_mount

_TOOLS = ("git", "python3", "awk", "sed", "grep", "find", "file", "diff")

Finding = tuple[str, str, str]
"""The status (`ok`, `no` for something optional, or `MISSING`), what was found, and how to fix it."""


def add_commands(commands: Any) -> None:
    """Add `doctor`."""
    add_command(commands, "doctor", _doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    """Check what works on this machine, and say how to fix what does not."""
    checks = (_python, _kernel, _git, _bwrap, _namespaces, _overlay, _sandbox, _uv, _cache)
    rows = [(check.__name__.strip("_"), *_guarded(check)) for check in checks]
    table(("check", "", "found", "fix"), rows)
    missing = [name for name, status, _, _ in rows if status == "MISSING"]
    print(f"not ready: {', '.join(missing)}" if missing else "ready")
    return int(bool(missing))


def _guarded(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except (NanoCodexError, OSError, subprocess.SubprocessError) as error:
        found, _, fix = str(error).partition("; ")
        return "MISSING", found, fix


def _python() -> Finding:
    return "ok", f"{platform.python_version()} at {sys.base_prefix}", ""


def _kernel() -> Finding:
    found = f"{platform.system()} {platform.release()}"
    return ("ok", found, "") if platform.system() == "Linux" else ("MISSING", found, "use Linux, or a Linux VM")


def _version(path: str) -> str:
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def _git() -> Finding:
    path = shutil.which("git")
    if path is None:
        return "MISSING", "not on PATH", "install git >= 2.25"
    inside = path.startswith(("/usr/", "/bin/"))
    return "ok", _version(path), "" if inside else "policies need a git below /usr as well: install the package"


def _bwrap() -> Finding:
    path = find_bwrap()
    return "ok", f"{'.'.join(map(str, bwrap_version(path)))} at {path}", ""


def _try_bwrap(*arguments: str) -> str | None:
    """The error message of bwrap with these arguments; None if it works."""
    command = [find_bwrap(), "--unshare-all", "--unshare-user", "--ro-bind", "/", "/", *arguments, "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return done.stderr.strip() if done.returncode else None


def _namespaces() -> Finding:
    user = "an ordinary user"
    if os.geteuid() == 0:
        may = "may mount" if can_mount() else "may not mount: cache and Python must be readable for everyone"
        user = f"root, {may}"
    error = _try_bwrap()
    return ("ok", user, "") if error is None else ("MISSING", f"{user}: {error}", advice(error))


def _overlay() -> Finding:
    with tempfile.TemporaryDirectory() as folder:
        layers = [Path(folder, name) for name in ("lower", "upper")]
        for layer in layers:
            layer.mkdir()
        sources = [word for layer in layers for word in ("--overlay-src", str(layer))]
        if (error := _try_bwrap(*sources, "--ro-overlay", "/mnt")) is not None:
            return "MISSING", error, "Linux 5.11 or newer allows overlays in user namespaces"
    return "ok", "in a user namespace", ""


def _sandbox() -> Finding:
    """A box as an episode gets it, and the tools that a policy finds in it."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with closing(Bubblewrap().open(View((Path(folder),)))) as box:
            result = box.run(f"for tool in {' '.join(_TOOLS)}; do command -v $tool; done", timeout=20, keep=4096)
    missing = sorted(set(_TOOLS) - {Path(path).name for path in result.output.text().split()})
    fix = f"policies will miss {', '.join(missing)}: install them below /usr" if missing else ""
    return "ok", "self-test passed: namespaces, seccomp, read-only root, no network", fix


def _uv() -> Finding:
    try:
        path = find_uv()
    except WorkspaceError:
        return "no", "not installed", "only for tasks with packages: pip install uv"
    return "ok", _version(path), ""


def _cache() -> Finding:
    folder = cache_dir()
    removed = remove_dead_sessions(folder)
    free = shutil.disk_usage(folder).free >> 30
    left = f"; {len(removed)} left-over session folder(s) removed" if removed else ""
    return "ok", f"{folder}, {free} GiB free{left}", ""
