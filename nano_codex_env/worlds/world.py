"""What a task's tests need to run: an interpreter, its packages, and where they are mounted in a box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nano_codex_env.errors import TaskError
from nano_codex_env.sandbox import TESTBED


@dataclass(frozen=True)
class World:
    """An interpreter as seen from inside a box."""

    python: str
    """Its path inside."""
    mounts: tuple[tuple[Path, str], ...]
    site: tuple[str, ...]
    """Folders inside that go on `sys.path` before the repository."""
    pythonpath: tuple[str, ...]
    """Folders inside of the repository that go on `sys.path`, after all others."""
    plugins: tuple[str, ...] = ()
    """pytest plugins that are loaded by name; none is found by itself."""

    def without_tests(self) -> World:
        """The same without the folders that only the tests need."""
        mounts = tuple((path, inside) for path, inside in self.mounts if not inside.startswith(self.site or ("//",)))
        return replace(self, mounts=mounts, site=(), plugins=())


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


def interpreter_mounts(prefix: Path, empty: Path) -> tuple[tuple[Path, str], ...]:
    """The mounts that show the interpreter at `prefix`, without the packages installed beside it."""
    if prefix in (Path("/usr"), Path("/usr/local")):
        return ()
    covered = [path for path in prefix.glob("lib/python3*/*-packages") if path.is_dir()]
    return ((prefix, str(prefix)), *((empty, str(path)) for path in covered))
