"""The patch filter: the source edits of a policy's patch reach the tests, edits that could steer the verdict do not.

Dropped and reported, without a penalty: files of the hidden tests; other tests and their configuration; modules that
would shadow one that the test run imports; files that Python runs at its start.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence, Set
from pathlib import Path

from nano_codex_env.diff import FilePatch, normalize_patch, split
from nano_codex_env.errors import WorkspaceError
from nano_codex_env.git import GitDidNotRunError, run_git
from nano_codex_env.runtimes import Runtime
from nano_codex_env.sandbox import TESTBED
from nano_codex_env.tasks.task import Task

_PYTEST_FILES = {"conftest.py", "tox.ini", "setup.cfg", "pyproject.toml", ".coveragerc"}
_PYTEST_FILES |= {"pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml"}
_PYTHON_FILES = {"setup.py", "sitecustomize.py", "usercustomize.py", "pyvenv.cfg", ".gitattributes"}
_COMPILED = (".pyc", ".so", ".pth", ".pyd")
_RUNNER_MODULES = {"pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments", "exceptiongroup", "tomli"}


def keep_source(patch: str, task: Task, base: Path, runtime: Runtime) -> tuple[str, list[str]]:
    """The part of `patch` that is applied over the tree `base`, and the paths that were dropped.

    Always kept are the paths in `environment["allowed_edits"]`, the paths of the task's reference patch, and modules
    not named as tests in the folders that it touches; a configuration file there only if the patch names it.

    Raises:
        ValueError: git reads other file names in the kept part than we do; git itself never writes such a patch.
    """
    folders = [path.removeprefix(TESTBED).lstrip("/") for path in runtime.pythonpath]
    roots = [root for root in dict.fromkeys([*folders, *_test_roots(task, base)]) if (base / root).is_dir()]
    hidden = {path for part in split(normalize_patch(task.test_patch)) for path in part.paths}
    reference = {path for part in split(normalize_patch(task.patch)) for path in part.paths}
    allowed = reference.union(task.environment.allowed_edits)
    reference_folders = {path.rpartition("/")[0] for path in reference}
    taken = sys.stdlib_module_names | _RUNNER_MODULES | runtime.top_level

    def is_test_file(path: str) -> bool:
        folder, _, name = path.rpartition("/")
        return is_test(path) and (folder not in reference_folders or is_test(name))

    def is_source(part: FilePatch) -> bool:
        if any(_collides(path, other) for path in part.paths for other in hidden):
            return False
        if all(path in allowed for path in part.paths):
            return True
        if any(_configures(path) or is_test_file(path) for path in part.paths):
            return False
        adds = part.is_new or len(part.paths) > 1
        return not (adds and any(_shadows(path, base, roots, taken) for path in part.paths))

    kept: list[FilePatch] = []
    dropped: list[str] = []
    for part in split(normalize_patch(patch)):
        if is_source(part):
            kept.append(part)
        else:
            dropped += part.paths
    text = "".join(part.text for part in kept)
    if others := _names_by_git(text, base) - {path for part in kept for path in part.paths}:
        raise ValueError(f"its headers do not agree on {min(others)!r:.200}")
    return text, dropped


def is_test(path: str) -> bool:
    """Whether a path names a test by pytest's and unittest's customs: a `tests` folder, `test_*.py`, `*_test.py`."""
    *folders, name = path.split("/")
    if any(folder in ("test", "tests", "testing") for folder in folders):
        return True
    return name.endswith(".py") and (name.startswith("test_") or name.endswith(("_test.py", "_tests.py")))


def _names_by_git(patch: str, base: Path) -> set[str]:
    """The files that git would change; empty if git cannot read the patch, which then does not apply either."""
    text = patch.encode("utf-8", "surrogateescape")
    try:
        listed = run_git(["apply", "--numstat", "-z", "-"], cwd=base, stdin=text, memory=1 << 30) if patch else b""
    except GitDidNotRunError:
        raise
    except WorkspaceError:
        return set()
    return {os.fsdecode(entry.split(b"\t", 2)[2]) for entry in listed.split(b"\0") if entry}


def _test_roots(task: Task, base: Path) -> list[str]:
    """Folders that pytest puts on `sys.path` for the task's tests: for each, the nearest that is not a package."""
    files = {test.partition("::")[0] for test in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS)}
    found = []
    for folder in sorted({file.rpartition("/")[0] for file in files}):
        while folder and (base / folder / "__init__.py").is_file():
            folder = folder.rpartition("/")[0]
        found.append(folder)
    return found


def _collides(path: str, hidden: str) -> bool:
    """Whether the paths cannot both be files: they are equal, or one is a folder of the other."""
    return path == hidden or path.startswith(hidden + "/") or hidden.startswith(path + "/")


def _configures(path: str) -> bool:
    """Whether a file configures pytest or Python, is compiled code, or is metadata of a package."""
    parts = path.split("/")
    if parts[-1] in _PYTEST_FILES | _PYTHON_FILES or parts[-1].endswith(_COMPILED):
        return True
    return any(part.endswith((".egg-info", ".dist-info")) or part == "__pycache__" for part in parts)


def _shadows(path: str, base: Path, roots: Sequence[str], taken: Set[str]) -> bool:
    """Whether a new file makes a top-level module with the name of an installed one, or of one of pytest's."""
    for root in roots:
        if root and not path.startswith(f"{root}/"):
            continue
        inside = path.removeprefix(f"{root}/") if root else path
        top, below, _ = inside.partition("/")
        is_importable = below or inside.endswith(".py")
        if not (base / root / top).exists() and top.split(".")[0] in taken and is_importable:
            return True
    return False
