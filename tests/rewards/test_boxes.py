"""Boxes that wait for a run: one run each, and the same verdicts as without them."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nano_codex_env import Resolved, Task
from nano_codex_env.cache import cache_dir
from nano_codex_env.diff import File, file_diff
from nano_codex_env.errors import ConfigError, RewardError, SandboxError
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.scoring import PASSED, Run, Scorer
from nano_codex_env.scoring.boxes import Boxes, Ready, Setting
from tests.conftest import BUG, FIX, HIDDEN, git

ADD = "tests/test_sums.py::test_add"


def source(text: str) -> str:
    """A diff that makes the library this text."""
    return file_diff("sums.py", File(BUG.encode()), File(text.encode()))


PATCHES = {
    "mends": FIX,
    "nothing": "",
    "no Python": source("def add("),
    "applies to nothing": FIX.replace("return a - b", "return b - a"),
    "leaves": source("import os\nos._exit(0)\n"),
    "raises": source("raise SystemExit(3)\n"),
    "takes one number only": source(BUG.replace("a - b", "a + b").replace("add(a, a)", "1")),
}


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """A library whose `add` subtracts, and the task to mend it."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "sums.py").write_text(BUG)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return Task(
        "sums-1",
        str(folder),
        git(folder, "rev-parse", "HEAD"),
        "add(2, 3) gives -1",
        patch=FIX,
        test_patch=HIDDEN,
        FAIL_TO_PASS=(ADD,),
        PASS_TO_PASS=("tests/test_sums.py::test_zero",),
    )


@pytest.fixture
def ready() -> Iterator[Ready]:
    """Room for two."""
    ready = Ready(2)
    yield ready
    ready.close()


@pytest.fixture
def scorer(sandbox: Sandbox, ready: Ready) -> Scorer:
    return Scorer(sandbox, cache_dir(), 60, ready)


def run(scorer: Scorer, task: Task, patch: str = FIX) -> Run:
    return scorer.run(task, patch, [ADD], seed=None)


def waiting(ready: Ready) -> list[Boxes]:
    return list(ready._waiting)


def until_up(boxes: Boxes) -> int:
    """The process id of a runner, once it waits for its input."""
    scripts = f"{boxes._tests.path.name}"
    assert scripts
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                line, mounts = (folder / "cmdline").read_bytes(), (folder / "mountinfo").read_text()
            except OSError:  # it ended meanwhile
                continue
            if b"runner.py" in line and b"bash" not in line and b"bwrap" not in line and scripts in mounts:
                return int(folder.name)
        time.sleep(0.02)
    raise AssertionError("no runner came up")


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)
@pytest.mark.parametrize("integrity", ["fast", "strict"])
def test_scores_are_the_same_as_without_them(sandbox: Sandbox, task: Task, patch: str, integrity: str) -> None:
    cold, warm = (Resolved(sandbox=sandbox, timeout=60, integrity=integrity, warm=number) for number in (0, 2))
    try:
        assert [warm(task, [], patch) for _ in range(2)] == [cold(task, [], patch)] * 2
    finally:
        warm.close()


def test_failures_of_ours_are_the_same_as_without_them(sandbox: Sandbox, task: Task) -> None:
    warm = Resolved(sandbox=sandbox, timeout=60, integrity="fast", warm=1)
    broken = task.with_(test_patch=task.test_patch.replace("+from sums", " from sums"))
    try:
        assert warm(task, [], FIX).value == 1.0
        with pytest.raises(RewardError, match="the hidden tests do not apply to the base"):
            warm(broken, [], FIX)
        assert warm(task, [], FIX).value == 1.0
    finally:
        warm.close()


def test_boxes_serve_one_run_and_others_take_their_place(scorer: Scorer, ready: Ready, task: Task) -> None:
    seen = []
    for _ in range(3):
        assert run(scorer, task).status(ADD) == PASSED
        seen += [boxes for boxes in waiting(ready) if boxes not in seen]
        assert len(waiting(ready)) == 1
    assert len(seen) == 3
    assert [boxes.program.alive for boxes in seen] == [False, False, True]
    assert [boxes._tests.path.exists() for boxes in seen] == [False, False, True]
    ready.close()
    assert (seen[-1].program.alive, seen[-1]._tests.path.exists()) == (False, False)


def test_what_waits_has_neither_the_patch_nor_the_tests(scorer: Scorer, ready: Ready, task: Task) -> None:
    run(scorer, task)
    [boxes] = waiting(ready)
    names = {str(path.relative_to(boxes._tests.path)) for path in boxes._tests.path.rglob("*") if path.is_file()}
    assert {"runner.py", "apply.sh"} <= names
    assert not [name for name in names if "test" in name or "source" in name or "removed" in name]


def test_there_are_never_more_than_there_is_room_for_and_the_oldest_go(
    scorer: Scorer, ready: Ready, task: Task
) -> None:
    run(scorer, task)
    [first] = waiting(ready)
    other = task.with_(environment={"kind": "host", "pythonpath": ["."]})
    for path in (["."], [".", "a"], [".", "b"]):
        run(scorer, other.with_(environment={"kind": "host", "pythonpath": path}))
    assert len(waiting(ready)) == 2
    assert first not in waiting(ready)
    assert not first.program.alive
    assert {boxes.setting.world.pythonpath[-1] for boxes in waiting(ready)} == {"/testbed/a", "/testbed/b"}


def test_one_that_died_of_waiting_is_no_verdict(scorer: Scorer, ready: Ready, task: Task) -> None:
    run(scorer, task)
    [boxes] = waiting(ready)
    os.kill(until_up(boxes), signal.SIGKILL)
    assert run(scorer, task).status(ADD) == PASSED
    assert boxes not in waiting(ready)


def test_one_that_dies_as_it_is_taken_is_no_verdict(
    scorer: Scorer, ready: Ready, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(scorer, task)
    [boxes] = waiting(ready)
    fill = Boxes.fill

    def fatal(self: Boxes, *arguments: object) -> None:
        fill(self, *arguments)  # type: ignore[arg-type]
        if self is boxes:
            os.kill(until_up(boxes), signal.SIGKILL)

    monkeypatch.setattr(Boxes, "fill", fatal)
    assert run(scorer, task).status(ADD) == PASSED


def test_a_tree_that_was_made_anew_is_another(scorer: Scorer, ready: Ready, task: Task) -> None:
    run(scorer, task)
    [boxes] = waiting(ready)
    base = boxes.setting.base
    aside = base.with_name(f"{base.name}-aside")
    base.rename(aside)
    try:
        assert run(scorer, task).status(ADD) == PASSED
        assert boxes in waiting(ready)
    finally:
        for path in sorted(aside.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        aside.rmdir()


def test_a_child_and_a_copy_have_boxes_of_their_own(scorer: Scorer, ready: Ready, task: Task) -> None:
    run(scorer, task)
    [boxes] = waiting(ready)
    child = os.fork()
    if not child:
        usable = boxes.program.alive
        ready.close()
        os._exit(usable)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (boxes.program.alive, boxes._tests.path.is_dir()) == (True, True)
    assert waiting(pickle.loads(pickle.dumps(ready))) == []
    assert run(scorer, task).status(ADD) == PASSED


def test_threads_share_them(scorer: Scorer, ready: Ready, task: Task) -> None:
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda number: run(scorer, task, [FIX, ""][number % 2]), range(12)))
    assert [found.status(ADD) == PASSED for found in runs] == [True, False] * 6
    assert len(waiting(ready)) == 2


def test_boxes_that_cannot_be_started_close_those_that_were_taken(ready: Ready, scorer: Scorer, task: Task) -> None:
    run(scorer, task)
    [boxes] = waiting(ready)

    def fail(setting: Setting) -> Boxes:
        raise SandboxError("no more of them")

    with pytest.raises(SandboxError, match="no more of them"):
        ready.take(boxes.setting, fail)
    assert not boxes.program.alive


@pytest.mark.parametrize("warm", [-1, True, 1.5, "2"])
def test_how_many_wait_is_a_number(warm: int) -> None:
    with pytest.raises(ConfigError, match="warm is how many boxes wait, 0 or more; got"):
        Resolved(warm=warm)
