"""Make tasks from two consecutive releases of a package, the newer of which fixes a bug.

The base is the older release, the reference patch is the difference of the sources, and the hidden tests are those of
the newer release. Running the changed test files on both gives the test ids. The issue is the entry in the changelog,
or else a list of the failing tests; `metadata["issue_from"]` says which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path

from nano_codex_env.cache import publish
from nano_codex_env.curation.sdist import sdist_tree
from nano_codex_env.errors import TaskError
from nano_codex_env.runtimes.venv import build_venv, freeze
from nano_codex_env.scoring import PASSED, Scorer, is_test
from nano_codex_env.tasks.environment import Environment
from nano_codex_env.tasks.task import Task
from nano_codex_env.tasks.trees import Tree, commits_of, fast_import, make_repository, tree_patch

PYTEST = "pytest==8.4.2"
_NOT_SOURCE = ("doc", "docs", "examples", "example", "benchmarks", "bench", "scripts", "tools")
_CHANGELOGS = ("change", "history", "news", "release")


def release_pair(
    package: str,
    older: str,
    newer: str,
    *,
    packages: Sequence[str],
    repos: Path,
    scorer: Scorer,
    say: Callable[[str], None] = lambda text: None,
) -> Task:
    """The task to turn version `older` of a package into version `newer`, which fixes a bug.

    Args:
        package: its name on the index.
        older: the version that has the bug.
        newer: the version that fixes it.
        packages: what the tests need besides pytest.
        repos: the folder in which the git repository is created.
        scorer: runs the tests.
        say: called with progress messages.

    Raises:
        TaskError: no test fails on `older` and passes on `newer`.
        WorkspaceError: a download or an installation failed.
    """
    say(f"downloading {package} {older} and {newer}")
    old, new = (sdist_tree(package, version, scorer.cache) for version in (older, newer))
    tests = {path for path in old.keys() | new.keys() if is_test(path)}
    changed = sorted(path for path in tests & new.keys() if _is_test_module(path) and old.get(path) != new[path])
    source = [path for path in sorted(old.keys() | new.keys()) if path not in tests and _is_source(path)]
    if not changed:
        raise TaskError(f"{package} {newer} changes no tests over {older} (or its source distribution holds none)")
    say(f"building an environment with {', '.join([PYTEST, *packages])}")
    venv = build_venv(Environment({"packages": [PYTEST, *packages]}), scorer.cache, allow_builds=scorer.allow_builds)
    root = "src" if any(path.startswith("src/") and path.endswith(".py") for path in new) else "."
    repo = publish(repos / f"{package}-{older}.git", lambda folder: make_repository(folder, fast_import({"main": old})))
    task = Task(
        instance_id=f"{package}-{newer}",
        repo=str(repo),
        base_commit=commits_of(repo)["main"],
        problem_statement="-",
        patch=tree_patch(_only(old, source), _only(new, source)),
        test_patch=tree_patch(_only(old, tests), _only(new, tests)),
        version=older,
        environment=Environment({"kind": "venv", "packages": freeze(venv), "pythonpath": [root]}),
        metadata={"package": package, "older": older, "newer": newer},
    )
    say(f"running {len(changed)} test file(s) without and with the reference patch")
    before, after = (
        scorer.run_tests(task, scorer.source(task, patch)[0], None, files=changed) for patch in ("", task.patch)
    )
    if after.reason or not after.statuses:
        reason = after.reason or "no test was reported"
        raise TaskError(f"{task.instance_id}: the tests do not run on the newer release: {reason}\n{after.output}")
    passing = [test for test in sorted(after.statuses) if after.status(test) == PASSED]
    fixed = tuple(test for test in passing if before.status(test) != PASSED)
    if not fixed:
        raise TaskError(f"{task.instance_id}: no test fails on {older} and passes on {newer}")
    log = _changelog(new, older, newer)
    return task.with_(
        problem_statement=_issue(package, older, log, fixed),
        FAIL_TO_PASS=fixed,
        PASS_TO_PASS=tuple(test for test in passing if test not in fixed),
        metadata={**task.metadata, "issue_from": "changelog" if log else "tests"},
    )


def _is_test_module(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.endswith("_test.py") or (name.startswith("test_") and name.endswith(".py"))


def _is_source(path: str) -> bool:
    top, _, below = path.partition("/")
    is_library = not (below and top in _NOT_SOURCE) and path not in ("setup.py", "conftest.py")
    return is_library and path.endswith((".py", ".pyi"))


def _only(tree: Tree, paths: Sequence[str] | set[str]) -> Tree:
    return {path: tree[path] for path in paths if path in tree}


def _changelog(tree: Tree, older: str, newer: str) -> str:
    """The changelog's entry for `newer`: the lines between its heading and the next release's."""
    for path in sorted(tree, key=lambda path: path.count("/")):
        name = path.rpartition("/")[2].lower()
        if not name.startswith(_CHANGELOGS) or name.endswith(".py"):
            continue
        lines = iter(tree[path].data.decode("utf-8", "replace").splitlines())
        if any(_is_heading_of(newer, line) for line in lines):  # the iterator goes on behind the heading
            below = takewhile(lambda line: not _is_heading(line) and not _is_heading_of(older, line), lines)
            if entry := [line for line in below if line.strip(" -=~^*\t")]:
                return "\n".join(entry[:40])
    return ""


def _is_heading_of(version: str, line: str) -> bool:
    """Whether a line is a heading that names exactly this version (`0.14.1` is not in `0.14.10`)."""
    parts = line.translate(dict.fromkeys(map(ord, "()[],"), " ")).split()
    return len(line) < 80 and any(part.strip(":#*`").removeprefix("v") == version for part in parts)


def _is_heading(line: str) -> bool:
    """Whether a line starts with a version, as a release's heading does."""
    first = line.lstrip("#*[ v").split(" ")[0].strip("]():*,")
    parts = first.split(".")
    return len(parts) >= 2 and not line.startswith((" ", "\t", "-")) and all(part.isdigit() for part in parts)


def _issue(package: str, older: str, log: str, fixed: Sequence[str]) -> str:
    if log:
        return f"{package} {older} has a bug. The changelog of the release that mends it says:\n\n{log}\n"
    behaviours = dict.fromkeys(map(_readable, fixed))
    listed = "\n".join(f"- {behaviour}" for behaviour in list(behaviours)[:20])
    return f"In {package} {older} the following does not work as it should:\n\n{listed}\n"


def _readable(test: str) -> str:
    """A test id as text: `tests/t.py::C::test_keep_space[a-b]` -> `keep space (a-b)`."""
    path, _, parameters = test.partition("[")
    name = path.rpartition("::")[2]
    words = name.removeprefix("test").strip("_").replace("_", " ")
    return f"{words} ({parameters.removesuffix(']')})" if parameters else words
