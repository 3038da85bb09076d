"""Which parts of a policy's patch reach the tests: source does, what could steer the verdict does not.

Dropped, and said so, not punished: files that the hidden tests bring; tests and what configures them (a fix is in the
source); modules that would stand before one that the test run itself imports; what makes Python run code by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

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
    patch: str, test_patch: str, roots: Sequence[str], allowed: Sequence[str] = ()
) -> tuple[str, list[str]]:
    """The part of `patch` that is applied, and the paths that were dropped.

    `roots` are the folders that are on `sys.path`, relative to the repository ("" is its root). Paths in `allowed`
    are kept whatever they are.
    """
    hidden = {path for part in split(test_patch) for path in part.paths}
    kept: list[str] = []
    dropped: list[str] = []
    for part in split(patch):
        if all(path in allowed and path not in hidden for path in part.paths) or not _steers(part, hidden, roots):
            kept.append(part.text)
        else:
            dropped += part.paths
    return "".join(kept), dropped


def _steers(part: FilePatch, hidden: set[str], roots: Sequence[str]) -> bool:
    return any(path in hidden or is_test(path) or _configures(path) for path in part.paths) or (
        (part.is_new or len(part.paths) > 1) and any(_shadows(path, roots) for path in part.paths)
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


def _shadows(path: str, roots: Sequence[str]) -> bool:
    """Whether a new file is a top-level module of the name of one that the test run imports."""
    for root in roots:
        inside = path.removeprefix(f"{root}/") if root else path
        if root and inside == path:
            continue
        name = inside.split("/")[0].split(".")[0]
        if name in sys.stdlib_module_names or name in _RUNNER_MODULES:
            return True
    return False
