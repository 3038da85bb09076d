"""The venv runtime: a virtual environment that `uv` builds in the cache from a task's packages."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from nano_codex_env.cache import publish
from nano_codex_env.errors import WorkspaceError
from nano_codex_env.runtimes.host import interpreter_mounts, repository_paths
from nano_codex_env.sandbox.runtime import Runtime
from nano_codex_env.spawn import run
from nano_codex_env.tasks.environment import Environment

logger = logging.getLogger(__name__)
INSIDE = "/opt/venv"
_LIMIT = 3600.0
"""Seconds that one step of an installation may take."""

_RANDOM_ORDER = ("pytest_randomly", "random_order", "pytest_random_order")
"""Plugins that change the order of tests from run to run; they are not loaded."""


def venv_runtime(environment: Environment, cache: Path, empty: Path, *, allow_builds: bool = False) -> Runtime:
    """The runtime of tests that need packages; `empty` is an empty folder.

    Raises:
        TaskError: the environment names no packages, or is invalid.
        WorkspaceError: uv is missing, or an installation failed.
    """
    folder = build_venv(environment, cache, allow_builds=allow_builds)
    python = Path(os.path.realpath(folder / "bin" / "python"))
    site = next(folder.glob("lib/python3*/site-packages"))
    # plugins by name, since one in the repository must not be found by its entry point
    points = [point for found in _distributions(folder) for point in found.entry_points if point.group == "pytest11"]
    plugins = sorted({point.value for point in points if not point.value.startswith(_RANDOM_ORDER)})
    return Runtime(
        python=f"{INSIDE}/bin/python",
        mounts=(*interpreter_mounts(python.parent.parent, empty), (folder, INSIDE)),
        site=(),
        pythonpath=repository_paths(environment),
        plugins=tuple(plugins),
        packages=site,
        packages_inside=f"{INSIDE}/{site.relative_to(folder)}",
        blank=empty.parent / "ld.so.cache",
    )


def build_venv(environment: Environment, cache: Path, *, allow_builds: bool = False) -> Path:
    """The virtual environment with the environment's packages, built if it is not in the cache.

    Rows come from anywhere, so nothing of a package may run on the host: only wheels are installed, and no interpreter
    starts in the environment. `allow_builds`: a package without a wheel may run its own build on this machine.

    Raises:
        TaskError: the environment's packages or Python version are invalid.
        WorkspaceError: uv is missing, or an installation failed.
    """
    packages, python = environment.packages, environment.python or os.path.realpath(sys.executable)
    key = hashlib.sha256(json.dumps([python, sorted(packages)]).encode()).hexdigest()[:20]
    return publish(cache / "venvs" / key, lambda folder: _build(folder, python, packages, allow_builds))


def _build(folder: Path, python: str, packages: Sequence[str], allow_builds: bool) -> None:
    uv = [find_uv(), "--directory", str(folder)]  # the current folder may hold somebody else's settings for uv
    logger.info("building a virtual environment with %s", ", ".join(packages))
    _run([*uv, "venv", "--quiet", "--relocatable", "--allow-existing", "--python", python, str(folder)])
    base = os.path.realpath(folder / "bin" / "python")
    install = [*uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python")]
    has_pytest = any(canonicalize_name(Requirement(name).name) == "pytest" for name in packages)
    wanted = [*packages, *([] if has_pytest else ["pytest"])]
    try:
        _run([*install, *([] if allow_builds else ["--no-build"]), "--", *wanted])
    except WorkspaceError as error:
        if allow_builds:
            raise
        raise WorkspaceError(
            f"{error}\nPackages are installed from wheels only. Where one has none and you trust what it runs when it "
            "is built: `nano-codex tasks prepare --allow-builds`, or Resolved(allow_builds=True)"
        ) from error
    if not (folder / "bin" / "python").is_symlink() or os.path.realpath(folder / "bin" / "python") != base:
        raise WorkspaceError(f"one of {', '.join(wanted)} replaces the environment's interpreter; it is not used")
    _run([base, "-I", "-S", "-m", "compileall", "-q", "-j", "0", str(folder / "lib")], may_fail=True)
    for path in folder.rglob("*"):
        if not path.is_symlink():  # the box runs as another user
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or path.stat().st_mode & 0o100 else 0o444))


def find_uv() -> str:
    """The path of uv: next to this interpreter, or on PATH.

    Raises:
        WorkspaceError: it is not installed.
    """
    local = Path(sys.executable).with_name("uv")
    found = str(local) if local.exists() else shutil.which("uv")
    if not found:
        raise WorkspaceError(
            "tasks with packages of their own need uv; `pip install uv`, or install this package with its extra [uv]"
        )
    return found


def _run(command: list[str], *, may_fail: bool = False) -> None:
    """Run a step of an installation; `may_fail`: any exit status is accepted."""
    done = run(command, env=os.environ, timeout=_LIMIT)
    if done.status is None or (done.status and not may_fail):
        output = (done.stderr or done.stdout).decode("utf-8", "backslashreplace").strip()[-2000:]
        late = f"it took more than {_LIMIT:g} seconds. " if done.status is None else ""
        raise WorkspaceError(f"{os.path.basename(command[0])} failed: {late}{output}")


def freeze(folder: Path) -> list[str]:
    """The packages of a virtual environment as pinned requirements."""
    return sorted({f"{found.name}=={found.version}" for found in _distributions(folder)}, key=str.lower)


def _distributions(folder: Path) -> list[Distribution]:
    """The installed distributions of a virtual environment, with readable metadata."""
    site = [str(path) for path in folder.glob("lib/python3*/site-packages")]
    try:
        found = list(distributions(path=site))
        for one in found:  # metadata is parsed only when it is read
            _ = one.name, one.version, [point.value for point in one.entry_points]
    except Exception as error:
        raise WorkspaceError(f"the metadata of a package in {folder} cannot be read: {error!r:.300}") from error
    return found
