"""A runtime: an interpreter, its packages, and the mounts that a box needs for both."""

from __future__ import annotations

import os
from collections.abc import Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path

Mounts = tuple[tuple[Path, str], ...]
"""(path on the host, path in the box) pairs."""


@dataclass(frozen=True)
class Runtime:
    """An interpreter and its packages; paths that are text are paths in the box."""

    python: str
    """The interpreter."""
    mounts: Mounts
    site: tuple[str, ...]
    """Folders that go on `sys.path` after the interpreter's own packages."""
    pythonpath: tuple[str, ...]
    """Folders of the repository that go on `sys.path`, after the standard library and before other packages."""
    plugins: tuple[str, ...] = ()
    """Modules of pytest plugins to load; pytest does not look for others."""
    packages: Path | None = None
    """The folder on the host in which the task's packages are installed."""
    packages_inside: str = ""
    """The same folder in the box."""
    blank: Path | None = None
    """An empty file on the host."""

    @property
    def top_level(self) -> frozenset[str]:
        """The names of the task's installed modules and packages."""
        return _top_level(self.packages) if self.packages else frozenset()

    def masks(self, names: Set[str]) -> Mounts:
        """Mounts that hide installed test files with these names, since a package may come with its tests."""
        if not self.packages or not self.blank:
            return ()
        found = [path for name in sorted(names) for path in _installed_tests(self.packages).get(name, ())]
        return tuple((self.blank, f"{self.packages_inside}/{path}") for path in found)


@cache
def _top_level(packages: Path) -> frozenset[str]:
    names = (path.name for path in packages.iterdir())
    return frozenset(name.split(".")[0] for name in names if not name.endswith((".dist-info", ".egg-info", ".pth")))


def _raise(error: OSError) -> None:
    raise error


@cache
def _installed_tests(packages: Path) -> dict[str, list[str]]:
    """File name -> paths below `packages` of Python files in test folders, and of their compiled files."""
    found: dict[str, list[str]] = {}
    for top, _, files in os.walk(packages, onerror=_raise):
        for name in files:
            stem, _, rest = name.partition(".")
            if "test" in f"{top}/{name}" and (rest == "py" or (rest.endswith(".pyc") and top.endswith("__pycache__"))):
                found.setdefault(f"{stem}.py", []).append(os.path.relpath(os.path.join(top, name), packages))
    return found
