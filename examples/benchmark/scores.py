"""The cost of a score: running the tests of a task."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from examples.benchmark.measure import Row, Wanted, compare, interleave
from examples.benchmark.setting import Setting, git
from nano_codex_env import Resolved, Task, load_tasks
from nano_codex_env.cache import cache_dir
from nano_codex_env.diff import File, file_diff
from nano_codex_env.sandbox import get_sandbox
from nano_codex_env.scoring import Scorer, protection_of

_ENV = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": "src:."}
_PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
_BUG, _FIX = "def add(a, b):\n    return a - b\n", "def add(a, b):\n    return a + b\n"
_HIDDEN = "from sums import add\n\n" + "".join(
    f"\ndef test_add_{n}():\n    assert add({n}, 12) == {n + 12}\n\n" for n in range(3, 9)
)
_OLD = """import time

import pytest


@pytest.mark.parametrize("n", range({tests}))
def test_old(n):
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
"""


def tests(setting: Setting) -> Iterator[Row]:
    """A whole score (clean tree, sandbox, tests, verdict) against plain pytest on the same tests."""
    task = load_tasks("bundled")[0]
    files = sorted({name.partition("::")[0] for name in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS)})
    fast, strict = Resolved(integrity="fast"), Resolved()
    with setting.folder() as folder:
        checkout = checkout_of(task, folder)
        cases = {
            "fast": lambda: fast(task, [], task.patch),
            "strict": lambda: strict(task, [], task.patch),
            "cold pytest": lambda: plain_pytest(checkout, *files),
        }
        times = interleave(cases, rounds=setting.rounds(10))
    yield compare("tests", "8", "a score, integrity fast", times, "fast", "cold pytest")
    yield compare("tests", "8", "a score, integrity strict (start-up counts)", times, "strict", "fast")


def strict(setting: Setting) -> Iterator[Row]:
    """The cost of `strict` over `fast` if the tests take seconds: for a failing patch, a passing one, and a group."""
    with setting.folder() as folder:
        task = _slow_task(folder, 120 if setting.rounds(10) > 3 else 20)
        judges = {name: Resolved(integrity=name) for name in ("fast", "strict")}
        protection_of(task, Scorer(get_sandbox(), cache_dir(), 600), thorough=True)
        wrong = task.patch.replace("a + b", "a * b")
        cases = {
            f"{name}, {kind}": (lambda name=name, diff=diff: judges[name](task, [], diff))
            for name in judges
            for kind, diff in (("passing", task.patch), ("failing", wrong))
        }
        times = interleave(cases, rounds=setting.rounds(5))
    for name in judges:
        pairs = zip(times[f"{name}, passing"], times[f"{name}, failing"], strict=True)
        times[f"{name}, one of five passes"] = [
            [(one + 4 * four) / 5 for one, four in zip(passing, failing, strict=True)] for passing, failing in pairs
        ]
    for kind, most in (("failing", 1.1), ("passing", 2.5), ("one of five passes", 1.4)):
        names = (f"strict, {kind}", f"fast, {kind}")
        yield compare("strict", "8", f"a patch, {kind}", times, *names, unit="s", wanted=Wanted(most))


def start(setting: Setting) -> Iterator[Row]:
    """The cost of a run before its first test: a score by one empty test."""
    nothing = "tests/test_nothing.py"
    test_patch = file_diff(nothing, None, File(b"def test_nothing():\n    assert True\n"))
    task = load_tasks("bundled")[0].with_(
        instance_id="nothing", test_patch=test_patch, FAIL_TO_PASS=(f"{nothing}::test_nothing",), PASS_TO_PASS=()
    )
    judge = Resolved(integrity="fast")
    with setting.folder() as folder:
        checkout = checkout_of(task, folder)
        cases = {
            "score": lambda: judge(task, [], task.patch),
            "cold pytest": lambda: plain_pytest(checkout, nothing),
        }
        times = interleave(cases, rounds=setting.rounds(20))
    yield compare("start", "8", "a score by one test", times, "score", "cold pytest")


def _slow_task(folder: Path, count: int) -> Task:
    """A task with `count` old tests of 50 ms of processor time each."""
    old = "tests/test_old.py"
    (folder / "sums.py").write_text(_BUG)
    (folder / "tests").mkdir()
    (folder / old).write_text(_OLD.format(tests=count))
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return Task(
        "slow-1",
        str(folder),
        git(folder, "rev-parse", "HEAD"),
        "add(3, 12) gives -9",
        patch=file_diff("sums.py", File(_BUG.encode()), File(_FIX.encode())),
        test_patch=file_diff("tests/test_add.py", None, File(_HIDDEN.encode())),
        FAIL_TO_PASS=tuple(f"tests/test_add.py::test_add_{n}" for n in range(3, 9)),
        PASS_TO_PASS=tuple(f"{old}::test_old[{n}]" for n in range(count)),
    )


def checkout_of(task: Task, folder: Path) -> Path:
    """A checkout of a task with its reference patch and its hidden tests."""
    git(folder, "clone", "-q", task.repo, "c")
    git(folder / "c", "checkout", "-q", task.base_commit)
    for patch in (task.patch, task.test_patch):
        subprocess.run(["git", "apply", "-"], cwd=folder / "c", input=patch, text=True, check=True)
    return folder / "c"


def plain_pytest(checkout: Path, *files: str) -> object:
    """Baseline: run test files without a sandbox; an error if they fail."""
    return subprocess.run([*_PYTEST, *files], cwd=checkout, env=_ENV, capture_output=True, check=True)
