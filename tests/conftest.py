"""A real git repository with a real bug, an environment over it, and a detector for what a test leaves behind."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

from nano_codex_env import NanoCodexEnv, Task, from_function
from nano_codex_env.cache import cache_dir
from nano_codex_env.sandbox import Bubblewrap, Sandbox

GIT_ENV = {
    **os.environ,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@localhost",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@localhost",
    # One repository is one commit, whenever it is made, so that its task's plan is made once for all tests.
    "GIT_AUTHOR_DATE": "2000-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2000-01-01T00:00:00Z",
}
BUG = '"""Sums."""\n\n\ndef add(a, b):\n    return a - b\n\n\ndef twice(a):\n    return add(a, a)\n'
HIDDEN = """diff --git a/tests/test_sums.py b/tests/test_sums.py
new file mode 100644
--- /dev/null
+++ b/tests/test_sums.py
@@ -0,0 +1,9 @@
+from sums import add, twice
+
+
+def test_add():
+    assert add(2, 3) == 5
+
+
+def test_zero():
+    assert add(0, 0) == twice(0) == 0
"""
FIX = """diff --git a/sums.py b/sums.py
--- a/sums.py
+++ b/sums.py
@@ -2,5 +2,5 @@
 
 
 def add(a, b):
-    return a - b
+    return a + b
 
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """See test_golden.py."""
    parser.addoption("--golden", action="store_true", help="record the goldens of test_golden.py anew")


def git(folder: Path, *arguments: str) -> str:
    """What git prints."""
    done = subprocess.run(["git", *arguments], cwd=folder, env=GIT_ENV, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def mostly_slow(cases: Iterable[Any], keep: int) -> list[ParameterSet]:
    """Cases of one kind: the first `keep` for every day, the others slow."""
    made = []
    for number, case in enumerate(cases):
        name = case.id if isinstance(case, ParameterSet) else None
        values = case.values if isinstance(case, ParameterSet) else case if isinstance(case, tuple) else (case,)
        made.append(pytest.param(*values, id=name, marks=() if number < keep else pytest.mark.slow))
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was captured may hold lone surrogates, which no process can send to another (pytest-xdist)."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All tests share one cache of their own, never the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NANO_CODEX_CACHE", str(folder))
        yield folder


@pytest.fixture
def make_repo(tmp_path: Path) -> Callable[..., Path]:
    """Makes a git repository from `{path: content}`, committed."""

    def make(files: dict[str, str | bytes], name: str = "repo") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        git(folder, "init", "-q", "-b", "main")
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "first")
        return folder

    return make


@pytest.fixture
def repo(make_repo: Callable[..., Path]) -> Path:
    """A library whose `add` subtracts."""
    return make_repo({"sums.py": BUG, "README.md": "# sums\n", "pkg/__init__.py": "", "pkg/data.txt": "one\ntwo\n"})


@pytest.fixture
def task(repo: Path) -> Task:
    """The task to fix it."""
    return Task(
        instance_id="sums-1",
        repo=str(repo),
        base_commit=git(repo, "rev-parse", "HEAD"),
        problem_statement="add(2, 3) gives -1",
        patch=FIX,
        test_patch=HIDDEN,
        FAIL_TO_PASS=("tests/test_sums.py::test_add",),
        PASS_TO_PASS=("tests/test_sums.py::test_zero",),
    )


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    """One sandbox for all tests, so that it tests itself once."""
    return Bubblewrap()


MENDED = from_function(lambda task, transcript, diff: float("+    return a + b" in diff))
"""Gives the reward that the hidden tests would give here, without running them."""


@pytest.fixture
def env(task: Task, sandbox: Sandbox, tmp_path: Path) -> Iterator[NanoCodexEnv]:
    """An environment over the task, logging to a temporary folder; it runs no tests."""
    with NanoCodexEnv([task], reward=MENDED, sandbox=sandbox, log_dir=tmp_path / "log") as made:
        yield made


@pytest.fixture
def tested(task: Task, sandbox: Sandbox, tmp_path: Path) -> Iterator[NanoCodexEnv]:
    """The same, judged by the hidden tests."""
    with NanoCodexEnv([task], sandbox=sandbox, log_dir=tmp_path / "log") as made:
        yield made


def descendants(pid: int | str = "self") -> set[int]:
    """The processes that a process has started, and those that these have."""
    found: set[int] = set()
    for file in Path("/proc", str(pid), "task").glob("*/children"):
        try:
            found.update(map(int, file.read_text().split()))
        except OSError:  # the thread or the process has ended
            continue
    return found.union(*map(descendants, found))


def leavings() -> set[str]:
    """What this process has open now: boxes (processes) and session folders."""
    sessions = cache_dir() / "sessions"
    return {f"process {pid}" for pid in descendants() if _is_box(pid)} | {
        f"folder {path}" for path in sessions.glob("s-*")
    }


def _is_box(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return "(bwrap)" in stat and stat.rpartition(")")[2].split()[0] not in "ZX"


@contextmanager
def leaving_nothing(patience: float = 60) -> Iterator[None]:
    """No box, session folder or thread of ours outlives what is done meanwhile.

    Only this process and those that it has started are looked at: suites may run side by side.
    """
    before, threads = leavings(), set(threading.enumerate())
    yield
    deadline = time.monotonic() + patience

    def ours() -> list[str]:
        found = set(threading.enumerate()) - threads
        return [one.name for one in found if not one.daemon and not one.name.startswith("nano-codex-spawner")]

    while ((left := leavings() - before) or ours()) and time.monotonic() < deadline:
        time.sleep(0.02)  # a killed process and a thread that was asked to end take a moment
    assert not left
    assert not ours()


@pytest.fixture(autouse=True)
def _leak_detector() -> Iterator[None]:
    """Runs around every test."""
    with leaving_nothing():
        yield
