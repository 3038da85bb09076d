"""`nano-codex doctor`: what works on this machine, and how to mend what does not."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nano_codex_env.cache import cache_dir, remove_dead_sessions
from nano_codex_env.errors import NanoCodexError
from nano_codex_env.sandbox import Bubblewrap, View
from nano_codex_env.sandbox.bubblewrap import advice, bwrap_version, find_bwrap
from nano_codex_env.sandbox.privileges import can_mount


@dataclass(frozen=True)
class Finding:
    """A row of the table."""

    name: str
    ok: bool
    found: str
    mend: str = ""
    needed: bool = True


def add_commands(commands: Any) -> None:
    """Add `doctor`."""
    parser = commands.add_parser("doctor", help="say what works on this machine, and how to mend what does not")
    parser.set_defaults(command=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    from nano_codex_env.cli.tables import table

    findings = [
        _guarded(check) for check in (_python, _kernel, _git, _bwrap, _namespaces, _overlay, _sandbox, _uv, _cache)
    ]
    rows = [
        (item.name, "ok" if item.ok else "MISSING" if item.needed else "no", item.found, item.mend) for item in findings
    ]
    table("", ("what", "", "found", "mend"), rows)
    broken = [item.name for item in findings if item.needed and not item.ok]
    print(f"not ready: {', '.join(broken)}" if broken else "ready")
    return int(bool(broken))


def _guarded(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except (NanoCodexError, OSError, subprocess.SubprocessError) as error:
        words, _, advice = str(error).partition("; ")
        return Finding(check.__name__.strip("_"), False, words, advice)


def _python() -> Finding:
    return Finding("python", True, f"{platform.python_version()} at {sys.base_prefix}")  # older ones cannot import us


def _kernel() -> Finding:
    ok = platform.system() == "Linux"
    return Finding("kernel", ok, f"{platform.system()} {platform.release()}", "" if ok else "use Linux, or a Linux VM")


def _git() -> Finding:
    path = shutil.which("git")
    if path is None:
        return Finding("git", False, "not on PATH", "install git >= 2.25")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    inside = path.startswith(("/usr/", "/bin/"))
    return Finding("git", True, said, "" if inside else "policies need a git below /usr as well: install the package")


def _bwrap() -> Finding:
    path = find_bwrap()
    return Finding("bwrap", True, f"{'.'.join(map(str, bwrap_version(path)))} at {path}")


def _namespaces() -> Finding:
    who = "root" if os.geteuid() == 0 else "an ordinary user"
    if os.geteuid() == 0:
        who += ", may mount" if can_mount() else ", may not mount: cache and Python must be readable for everyone"
    command = [find_bwrap(), "--unshare-all", "--unshare-user", "--ro-bind", "/", "/", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    if done.returncode:
        return Finding("namespaces", False, f"{who}: {done.stderr.strip()}", advice(done.stderr))
    return Finding("namespaces", True, who)


def _overlay() -> Finding:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a", "b"):
            Path(folder, name).mkdir()
        command = [
            find_bwrap(),
            "--unshare-all",
            "--unshare-user",
            "--ro-bind",
            "/",
            "/",
            "--overlay-src",
            f"{folder}/a",
        ]
        command += ["--overlay-src", f"{folder}/b", "--ro-overlay", "/mnt", "true"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    if done.returncode:
        return Finding("overlay", False, done.stderr.strip(), "Linux 5.11 or newer allows overlays in user namespaces")
    return Finding("overlay", True, "in a user namespace")


def _sandbox() -> Finding:
    """The sandbox as it is used, self-test and seccomp included."""
    sandbox = Bubblewrap()
    sandbox.check()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        box = sandbox.open(View((Path(folder),)))
        try:
            result = box.run(
                "for tool in git python3 awk sed grep find file diff; do command -v $tool; done", timeout=20, keep=4096
            )
        finally:
            box.close()
    names = {path.rpartition("/")[2] for path in result.output.text().split()}
    missing = sorted({"git", "python3", "awk", "sed", "grep", "find", "file", "diff"} - names)
    words = f"policies will miss {', '.join(missing)}: install them below /usr" if missing else ""
    return Finding("sandbox", True, "self-test passed: namespaces, seccomp, read-only root, no network", words)


def _uv() -> Finding:
    beside = Path(sys.executable).with_name("uv")
    path = str(beside) if beside.exists() else shutil.which("uv")
    if path is None:
        return Finding("uv", False, "not installed", "only for tasks with packages: pip install uv", False)
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    return Finding("uv", True, said, needed=False)


def _cache() -> Finding:
    folder = cache_dir()
    removed = remove_dead_sessions(folder)
    free = shutil.disk_usage(folder).free >> 30
    left = f"; {len(removed)} left-over session folder(s) removed" if removed else ""
    return Finding("cache", True, f"{folder}, {free} GiB free{left}")
