"""The venv world: a virtual environment made by `uv` from a task's packages, once, in the cache."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nano_codex_env.cache import publish
from nano_codex_env.errors import TaskError, WorkspaceError
from nano_codex_env.worlds.world import World, interpreter_mounts, repository_paths

logger = logging.getLogger(__name__)
INSIDE = "/opt/venv"


def venv_world(environment: Mapping[str, Any], cache: Path, empty: Path) -> World:
    """The world of a task whose tests need packages.

    Raises:
        TaskError: the environment names no packages.
        WorkspaceError: uv is missing, or an installation failed.
    """
    folder = build_venv(environment, cache)
    python = Path(os.path.realpath(folder / "bin" / "python"))
    mounts = (*interpreter_mounts(python.parent.parent, empty), (folder, INSIDE))
    site = next(folder.glob("lib/python3*/site-packages"))
    return World(
        f"{INSIDE}/bin/python",
        mounts,
        (),
        repository_paths(environment),
        _plugins(folder),
        packages=site,
        packages_inside=f"{INSIDE}/{site.relative_to(folder)}",
        blank=empty.parent / "ld.so.cache",
    )


def build_venv(environment: Mapping[str, Any], cache: Path) -> Path:
    """The virtual environment for `environment["packages"]`, built if it is not in the cache."""
    packages, python = environment.get("packages"), str(environment.get("python") or _host_python())
    if not isinstance(packages, list | tuple) or not all(isinstance(name, str) for name in packages):
        raise TaskError(f"environment.packages must be a list of requirements; got {packages!r}")
    key = hashlib.sha256(json.dumps([python, sorted(packages)]).encode()).hexdigest()[:20]
    return publish(cache / "venvs" / key, lambda folder: _build(folder, python, list(packages)))


def _host_python() -> str:
    return os.path.realpath(sys.executable)


def _build(folder: Path, python: str, packages: list[str]) -> None:
    uv = find_uv()
    logger.info("building a virtual environment with %s", ", ".join(packages))
    _run([uv, "venv", "--quiet", "--relocatable", "--allow-existing", "--python", python, str(folder)])
    install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(folder / "bin" / "python")]
    has_pytest = any(name.startswith("pytest") for name in packages)
    _run([*install, *packages, *([] if has_pytest else ["pytest"])])
    for path in folder.rglob("*"):
        if not path.is_symlink():  # readable for the uid of the box
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or path.stat().st_mode & 0o100 else 0o444))


def find_uv() -> str:
    """The path of uv: beside our interpreter, or on PATH.

    Raises:
        WorkspaceError: it is not installed.
    """
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if not found:
        raise WorkspaceError(
            "tasks with packages of their own need uv; `pip install uv`, or install this package with its extra [uv]"
        )
    return found


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise WorkspaceError(f"{' '.join(command[:3])} failed: {(done.stderr or done.stdout).strip()[-2000:]}")


_SHUFFLE = ("pytest_randomly", "random_order", "pytest_random_order")
"""Plugins that change the order of tests from run to run."""


def _plugins(folder: Path) -> tuple[str, ...]:
    """The pytest plugins installed in `folder`: named, because ones in the repository shall not load by themselves."""
    from importlib.metadata import distributions

    site = [str(path) for path in folder.glob("lib/python3*/site-packages")]
    points = [point for found in distributions(path=site) for point in found.entry_points]
    values = {point.value for point in points if point.group == "pytest11"}
    return tuple(sorted(value for value in values if not value.startswith(_SHUFFLE)))


def freeze(folder: Path) -> list[str]:
    """What is installed in a virtual environment, pinned: a task that names it is built the same next year."""
    from importlib.metadata import distributions

    site = [str(path) for path in folder.glob("lib/python3*/site-packages")]
    return sorted({f"{found.name}=={found.version}" for found in distributions(path=site)}, key=str.lower)
