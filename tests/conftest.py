"""A real git repository with a real bug, an environment over it, and a detector for what a test leaves behind."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from nano_codex_env import NanoCodexEnv, Task
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


def git(folder: Path, *arguments: str) -> str:
    """What git prints."""
    done = subprocess.run(["git", *arguments], cwd=folder, env=GIT_ENV, capture_output=True, text=True, check=True)
    return done.stdout.strip()


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
    """The task to mend it."""
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
    """One sandbox for all tests: its walls are proved once."""
    return Bubblewrap()


@pytest.fixture
def env(task: Task, sandbox: Sandbox, tmp_path: Path) -> Iterator[NanoCodexEnv]:
    """An environment over the task, logging to a temporary folder."""
    with NanoCodexEnv([task], sandbox=sandbox, log_dir=tmp_path / "log") as made:
        yield made


def leavings() -> set[str]:
    """What of ours is there now: boxes (processes), session folders, open descriptors of pipes."""
    found = {f"process {name}" for name in os.listdir("/proc") if name.isdecimal() and _is_box(Path("/proc", name))}
    sessions = cache_dir() / "sessions"
    found |= {f"folder {path}" for path in sessions.glob("s-*")} if sessions.is_dir() else set()
    return found


def _is_box(folder: Path) -> bool:
    """Whether a process is a living bwrap over this cache: suites may run side by side."""
    try:
        stat = (folder / "stat").read_text()
        ours = str(cache_dir()).encode() in (folder / "cmdline").read_bytes()
        return ours and (folder / "comm").read_text() == "bwrap\n" and stat.rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture(autouse=True)
def _leak_detector() -> Iterator[None]:
    """No process, folder or thread of ours outlives a test."""
    before, threads = leavings(), set(threading.enumerate())
    yield
    for _ in range(50):  # a killed process takes a moment to be gone
        left = leavings() - before
        if not left:
            break
        time.sleep(0.02)
    assert not left
    ours = [
        thread for thread in set(threading.enumerate()) - threads if not thread.name.startswith("nano-codex-spawner")
    ]
    assert not [thread.name for thread in ours if not thread.daemon]
