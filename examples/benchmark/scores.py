"""The judge: what it takes to run a task's tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from examples.benchmark.measure import Row, Wanted, compare, interleave
from examples.benchmark.setting import Setting, git
from nano_codex_env import Resolved, Task, load_tasks
from nano_codex_env.diff import File, file_diff

_ENV = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": "src:."}
_PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]


def tests(setting: Setting) -> Iterator[Row]:
    """A whole score (a clean tree, a box, the tests, the verdict) against a cold pytest over the same tests."""
    task = load_tasks("bundled")[0]
    files = sorted({name.partition("::")[0] for name in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS)})
    with setting.folder() as folder, closing(Resolved(warm=2)) as warm:
        checkout = _checkout(task, folder)
        cases = {
            "fast": lambda: Resolved(integrity="fast")(task, [], task.patch),
            "strict": lambda: Resolved()(task, [], task.patch),
            "strict, warm": lambda: warm(task, [], task.patch),
            "cold pytest": lambda: _pytest(checkout, *files),
        }
        times = interleave(cases, rounds=setting.rounds(10))
    yield compare("tests", "8", "a score, integrity fast", times, "fast", "cold pytest")
    yield compare("tests", "8", "a score, integrity strict", times, "strict", "cold pytest")
    yield compare("tests", "8", "the same, warm=2, one after another", times, "strict, warm", "strict")


def start(setting: Setting) -> Iterator[Row]:
    """What a run costs before its first test: a score by one test that tests nothing, in a box that waits for it."""
    nothing = "tests/test_nothing.py"
    test_patch = file_diff(nothing, None, File(b"def test_nothing():\n    assert True\n"))
    task = load_tasks("bundled")[0].with_(
        instance_id="nothing", test_patch=test_patch, FAIL_TO_PASS=(f"{nothing}::test_nothing",), PASS_TO_PASS=()
    )
    with setting.folder() as folder, closing(Resolved(integrity="fast", warm=1)) as warm:
        checkout = _checkout(task, folder)
        cases = {
            "warm": lambda: warm(task, [], task.patch),
            "cold": lambda: Resolved(integrity="fast")(task, [], task.patch),
            "cold pytest": lambda: _pytest(checkout, nothing),
        }
        times = interleave(cases, rounds=setting.rounds(20))
    yield compare("start", "8", "one test, in a box that waited", times, "warm", "cold pytest", wanted=Wanted(0.15))
    yield compare("start", "8", "one test, cold", times, "cold", "cold pytest")


def _checkout(task: Task, folder: Path) -> Path:
    git(folder, "clone", "-q", task.repo, "c")
    git(folder / "c", "checkout", "-q", task.base_commit)
    for patch in (task.patch, task.test_patch):
        subprocess.run(["git", "apply", "-"], cwd=folder / "c", input=patch, text=True, check=True)
    return folder / "c"


def _pytest(checkout: Path, *files: str) -> object:
    return subprocess.run([*_PYTEST, *files], cwd=checkout, env=_ENV, capture_output=True, check=True)
