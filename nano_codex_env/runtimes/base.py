"""What a task's tests need to run: an interpreter, its packages, and where they are mounted in a box."""

from __future__ import annotations

import os
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nano_codex_env.errors import TaskError
from nano_codex_env.sandbox import TESTBED


@dataclass(frozen=True)
class Runtime:
    """An interpreter as seen from inside a box."""

    python: str
    """Its path inside."""
    mounts: tuple[tuple[Path, str], ...]
    site: tuple[str, ...]
    """Folders inside that go on `sys.path` beside the interpreter's own packages."""
    pythonpath: tuple[str, ...]
    """Folders inside of the repository that go on `sys.path`, after the standard library and before other packages."""
    plugins: tuple[str, ...] = ()
    """pytest plugins that are loaded by name; none is found by itself."""
    packages: Path | None = None
    """The folder on the host with the packages that are installed for the task."""
    packages_inside: str = ""
    blank: Path | None = None
    """An empty file on the host."""

    @property
    def top_level(self) -> frozenset[str]:
        """The names of modules and packages that are installed for the task."""
        return _top_level(self.packages) if self.packages else frozenset()

    def masks(self, names: Set[str]) -> tuple[tuple[Path, str], ...]:
        """Mounts that hide installed test files with these names: a package may bring its tests along."""
        if not self.packages or not self.blank:
            return ()
        found = [path for name in sorted(names) for path in _installed_tests(self.packages).get(name, ())]
        return tuple((self.blank, f"{self.packages_inside}/{path}") for path in found)


@cache
def _top_level(packages: Path) -> frozenset[str]:
    names = (path.name for path in packages.iterdir())
    return frozenset(name.split(".")[0] for name in names if not name.endswith((".dist-info", ".egg-info", ".pth")))


@cache
def _installed_tests(packages: Path) -> dict[str, list[str]]:
    """File name -> paths below `packages` of Python files in test folders, and of what was compiled from them."""
    found: dict[str, list[str]] = {}
    for top, _, files in os.walk(packages):
        for name in files:
            stem, _, rest = name.partition(".")
            if "test" in f"{top}/{name}" and (rest == "py" or (rest.endswith(".pyc") and top.endswith("__pycache__"))):
                found.setdefault(f"{stem}.py", []).append(os.path.relpath(os.path.join(top, name), packages))
    return found


def repository_paths(environment: Mapping[str, Any]) -> tuple[str, ...]:
    """`environment["pythonpath"]`, which is relative to the repository, as paths inside.

    Raises:
        TaskError: it is no list of relative paths.
    """
    given = environment.get("pythonpath") or ["."]
    if not isinstance(given, list | tuple) or not all(isinstance(path, str) for path in given):
        raise TaskError(f"environment.pythonpath must be a list of folders; got {given!r}")
    if any(path.startswith("/") or ".." in path.split("/") for path in given):
        raise TaskError(f"environment.pythonpath must lie in the repository; got {given!r}")
    return tuple(TESTBED if path in (".", "") else f"{TESTBED}/{path}" for path in given)


def pytest_arguments(environment: Mapping[str, Any]) -> tuple[str, ...]:
    """`environment["pytest_args"]`: more arguments for pytest, such as `--doctest-modules`.

    Raises:
        TaskError: it is not a list of strings.
    """
    given = environment.get("pytest_args") or []
    if not isinstance(given, list | tuple) or not all(isinstance(word, str) for word in given):
        raise TaskError(f"environment.pytest_args must be a list of strings; got {given!r}")
    return tuple(given)


def interpreter_mounts(prefix: Path, empty: Path) -> tuple[tuple[Path, str], ...]:
    """The mounts that show the interpreter at `prefix`, without the packages installed beside it."""
    if prefix in (Path("/usr"), Path("/usr/local")):
        return ()
    covered = [path for path in prefix.glob("lib/python3*/*-packages") if path.is_dir()]
    return ((prefix, str(prefix)), *((empty, str(path)) for path in covered))
