"""The host runtime: the interpreter of this process, with pytest and its requirements only."""

from __future__ import annotations

import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from nano_codex_env.errors import RewardError
from nano_codex_env.sandbox import TESTBED
from nano_codex_env.sandbox.runtime import Mounts, Runtime
from nano_codex_env.tasks.environment import Environment

SITE = "/opt/site"


def host_runtime(environment: Environment, empty: Path) -> Runtime:
    """The runtime of tests that need the standard library and pytest only; `empty` is an empty folder.

    Raises:
        RewardError: pytest is not installed.
    """
    prefix = Path(sys.base_prefix).resolve()
    python = prefix / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    mounts = (*interpreter_mounts(prefix, empty), *_pytest_mounts())
    return Runtime(str(python), mounts, (SITE,), repository_paths(environment))


@cache
def _pytest_mounts() -> Mounts:
    """One mount for each module of pytest and of the distributions that it requires."""
    found: dict[str, Path] = {}
    left, seen = ["pytest"], {"pytest"}
    while left:
        name = left.pop()
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError as error:
            if name == "pytest":
                raise RewardError("pytest is not installed here; `pip install pytest`") from error
            continue  # a requirement for another platform or Python
        for file in distribution.files or ():
            top = file.parts[0]
            if not top.endswith((".dist-info", ".egg-info")) and top not in ("..", "__pycache__", "bin"):
                found[top] = Path(str(distribution.locate_file(top)))
        for requirement in map(Requirement, distribution.requires or ()):
            if "extra" not in str(requirement.marker) and requirement.name not in seen:
                seen.add(requirement.name)
                left.append(requirement.name)
    return tuple((path.resolve(), f"{SITE}/{top}") for top, path in sorted(found.items()) if path.exists())


def interpreter_mounts(prefix: Path, empty: Path) -> Mounts:
    """The mounts that show the interpreter at `prefix`, without the packages installed for it."""
    if prefix in (Path("/usr"), Path("/usr/local")):
        return ()
    covered = [path for path in prefix.glob("lib/python3*/*-packages") if path.is_dir()]
    return ((prefix, str(prefix)), *((empty, str(path)) for path in covered))


def repository_paths(environment: Environment) -> tuple[str, ...]:
    """The environment's `pythonpath` as paths in the box."""
    return tuple(TESTBED if path in (".", "") else f"{TESTBED}/{path}" for path in environment.pythonpath)
