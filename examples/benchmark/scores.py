"""The judge: what it takes to run a task's tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

from examples.benchmark.measure import Row, Wanted, compare, interleave
from examples.benchmark.setting import Setting, git
from nano_codex_env import Resolved, load_tasks


def tests(setting: Setting) -> Iterator[Row]:
    """A whole score (a clean tree, a box, the tests, the verdict) against a cold pytest over the same tests."""
    task = load_tasks("bundled")[0]
    files = sorted({name.partition("::")[0] for name in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS)})
    with setting.folder() as folder:
        git(folder, "clone", "-q", task.repo, "c")
        checkout = folder / "c"
        git(checkout, "checkout", "-q", task.base_commit)
        for patch in (task.patch, task.test_patch):
            subprocess.run(["git", "apply", "-"], cwd=checkout, input=patch, text=True, check=True)
        env = {
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": "src:.",
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
        cases = {
            "fast": lambda: Resolved(integrity="fast")(task, [], task.patch),
            "strict": lambda: Resolved()(task, [], task.patch),
            "cold pytest": lambda: subprocess.run(command, cwd=checkout, env=env, capture_output=True, check=True),
        }
        times = interleave(cases, rounds=setting.rounds(10))
    yield compare("tests", "8", "a score, integrity fast", times, "fast", "cold pytest", wanted=Wanted(0.15))
    yield compare("tests", "8", "a score, integrity strict", times, "strict", "cold pytest")
