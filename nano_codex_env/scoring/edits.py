"""Which parts of a policy's patch reach the tests: source does, what could steer the verdict does not.

Dropped, and said so, not punished: files that the hidden tests bring; tests and what configures them (a fix is in the
source); modules that would stand before one that the test run itself imports; what makes Python run code by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from nano_codex_env.diff import FilePatch, split

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


def keep_source(
    patch: str, test_patch: str, base: Path, roots: Sequence[str], allowed: Sequence[str] = ()
) -> tuple[str, list[str]]:
    """The part of `patch` that is applied over the tree `base`, and the paths that were dropped.

    `roots` are the folders that are on `sys.path`, relative to the repository ("" is its root). Paths in `allowed`
    are kept whatever they are.
    """
    roots = [root for root in roots if (base / root).is_dir()]
    hidden = {path for part in split(test_patch) for path in part.paths}
    kept: list[str] = []
    dropped: list[str] = []
    for part in split(patch):
        in_the_way = any(_meets(path, other) for path in part.paths for other in hidden)
        if not in_the_way and (all(path in allowed for path in part.paths) or not _steers(part, base, roots)):
            kept.append(part.text)
        else:
            dropped += part.paths
    return "".join(kept), dropped


def _meets(path: str, hidden: str) -> bool:
    """Whether both cannot stand beside each other: they are one, or one is where the other has a folder."""
    return path == hidden or path.startswith(hidden + "/") or hidden.startswith(path + "/")


def _steers(part: FilePatch, base: Path, roots: Sequence[str]) -> bool:
    return any(is_test(path) or _configures(path) for path in part.paths) or (
        (part.is_new or len(part.paths) > 1) and any(_shadows(path, base, roots) for path in part.paths)
    )


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


def _shadows(path: str, base: Path, roots: Sequence[str]) -> bool:
    """Whether a new file makes a top-level module of the name of one that the test run imports."""
    for root in roots:
        inside = path.removeprefix(f"{root}/") if root else path
        if root and inside == path:
            continue
        top = inside.split("/")[0]
        name = top.split(".")[0]
        if not (base / root / top).exists() and name in (sys.stdlib_module_names | _RUNNER_MODULES):
            return True
    return False
