"""Which parts of a policy's patch reach the tests: source does, what could steer the verdict does not.

Dropped, and said so, not punished: files that the hidden tests bring; tests and what configures them (a fix is in the
source); modules that would stand before one that the test run itself imports; what makes Python run code by itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence, Set
from pathlib import Path

from nano_codex_env.diff import FilePatch, read_patch, split
from nano_codex_env.errors import WorkspaceError
from nano_codex_env.git import run_git
from nano_codex_env.runtimes import Runtime
from nano_codex_env.sandbox import TESTBED
from nano_codex_env.tasks.task import Task

_CONFIGURATION = {
    "conftest.py",
    "pytest.ini",
    ".pytest.ini",
    "pytest.toml",
    ".pytest.toml",
    "tox.ini",
    "setup.cfg",
    "pyproject.toml",
    "setup.py",
    "sitecustomize.py",
    "usercustomize.py",
    ".coveragerc",
    ".gitattributes",
    "pyvenv.cfg",
}
_RUNNER_MODULES = {"pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments", "exceptiongroup", "tomli"}
_COMPILED = (".pyc", ".so", ".pth", ".pyd")


def keep_source(patch: str, task: Task, base: Path, runtime: Runtime) -> tuple[str, list[str]]:
    """The part of `patch` that is applied over the tree `base`, and the paths that were dropped.

    Source by definition are the paths in `environment["allowed_edits"]`, the paths of the task's reference patch, and
    modules not named as tests in the folders that it touches; what is configuration there only by its exact path.

    Raises:
        ValueError: git reads other names in what is kept than we do: somebody has written a patch that git never would.
    """
    folders = [path.removeprefix(TESTBED).lstrip("/") for path in runtime.pythonpath]
    roots = [root for root in dict.fromkeys([*folders, *_test_roots(task, base)]) if (base / root).is_dir()]
    hidden = {path for part in split(read_patch(task.test_patch)) for path in part.paths}
    reference = {path for part in split(read_patch(task.patch)) for path in part.paths}
    allowed = reference.union(task.environment.allowed_edits)
    near = {path.rpartition("/")[0] for path in reference}
    taken = sys.stdlib_module_names | _RUNNER_MODULES | runtime.top_level
    kept: list[FilePatch] = []
    dropped: list[str] = []

    def is_source(part: FilePatch) -> bool:
        if all(path in allowed for path in part.paths):
            return True
        if any(_configures(path) for path in part.paths):
            return False
        if any(is_test(path) and not (path.rpartition("/")[0] in near and _is_plain(path)) for path in part.paths):
            return False
        makes = part.is_new or len(part.paths) > 1
        return not (makes and any(_shadows(path, base, roots, taken) for path in part.paths))

    for part in split(read_patch(patch)):
        in_the_way = any(_meets(path, other) for path in part.paths for other in hidden)
        if not in_the_way and is_source(part):
            kept.append(part)
        else:
            dropped += part.paths
    text = "".join(part.text for part in kept)
    if others := _names_by_git(text, base) - {path for part in kept for path in part.paths}:
        raise ValueError(f"its headers do not agree on {min(others)!r:.200}")
    return text, dropped


def _names_by_git(patch: str, base: Path) -> set[str]:
    """The files that git would change; none where it can read no patch, which then does not apply either."""
    text = patch.encode("utf-8", "surrogateescape")
    try:
        listed = run_git(["apply", "--numstat", "-z", "-"], cwd=base, stdin=text, memory=1 << 30) if patch else b""
    except WorkspaceError:
        return set()
    return {os.fsdecode(entry.split(b"\t", 2)[2]) for entry in listed.split(b"\0") if entry}


def _test_roots(task: Task, base: Path) -> list[str]:
    """Folders that pytest puts on `sys.path` for the task's tests: the first above each that is no package."""
    files = {test.partition("::")[0] for test in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS)}
    found = []
    for folder in sorted({file.rpartition("/")[0] for file in files}):
        while folder and (base / folder / "__init__.py").is_file():
            folder = folder.rpartition("/")[0]
        found.append(folder)
    return found


def _is_plain(path: str) -> bool:
    """Whether a file's own name is not a test's, whatever its folder is called."""
    return not is_test(path.rpartition("/")[2])


def _meets(path: str, hidden: str) -> bool:
    """Whether both cannot stand beside each other: they are one, or one is where the other has a folder."""
    return path == hidden or path.startswith(hidden + "/") or hidden.startswith(path + "/")


def is_test(path: str) -> bool:
    """Whether a path names a test by pytest's and unittest's customs: a `tests` folder, `test_*.py`, `*_test.py`."""
    *folders, name = path.split("/")
    in_folder = any(folder in ("test", "tests", "testing") for folder in folders)
    return in_folder or (
        name.endswith(".py") and (name.startswith("test_") or name.endswith(("_test.py", "_tests.py")))
    )


def _configures(path: str) -> bool:
    parts = path.split("/")
    package_data = any(part.endswith((".egg-info", ".dist-info")) or part == "__pycache__" for part in parts)
    return parts[-1] in _CONFIGURATION or parts[-1].endswith(_COMPILED) or package_data


def _shadows(path: str, base: Path, roots: Sequence[str], taken: Set[str]) -> bool:
    """Whether a new file makes a top-level module that has the name of an installed one, or of one of pytest's."""
    for root in roots:
        inside = path.removeprefix(f"{root}/") if root else path
        if root and inside == path:
            continue
        top = inside.split("/")[0]
        if not (base / root / top).exists() and top.split(".")[0] in taken and _is_importable(inside):
            return True
    return False


def _is_importable(inside: str) -> bool:
    """Whether a path below a folder on `sys.path` is a module, or lies in what may be a package."""
    return "/" in inside or inside.endswith(".py")
