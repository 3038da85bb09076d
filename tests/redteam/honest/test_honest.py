"""Right patches of unusual shape get 1.0 and no flag, each time."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from nano_codex_env import Resolved, Task, load_tasks
from nano_codex_env.sandbox import Sandbox
from tests.redteam.honest.patches import (
    HASHED,
    HONEST,
    INDENTED,
    LIBRARIES,
    SHAPES,
    SHARED,
    STORE,
    Honest,
    Shape,
)

BY_ID = {honest.id: honest for honest in [*HONEST, SHARED, INDENTED, HASHED]}
QUICK = (
    "numpy-like",
    "multiprocessing-spawn",
    "state-shared-by-instances",
    "another-sha256",
)
"""One of each kind: values, processes, state between tests, what the runner uses; the others run at night."""
TIMES = 5


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Task]:
    """The task of each library."""
    folder = tmp_path_factory.mktemp("honest")
    return {library.name: library.make_task(folder / library.name) for library in [*LIBRARIES, STORE]}


def expect_one(judge: Resolved, task: Task, honest: Honest) -> None:
    """The patch gets 1.0 and no flag."""
    score = judge(task, [], honest.patch)
    assert (score.value, score.parts["integrity"], score.parts["failed"]) == (1.0, [], []), score.parts


def test_there_are_enough_of_them() -> None:
    assert len(BY_ID) == len(HONEST) + 3 >= 30
    assert set(QUICK) <= set(BY_ID)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(library.name, marks=[pytest.mark.slow] if library is not LIBRARIES[0] else [])
        for library in [*LIBRARIES, STORE]
    ],
)
def test_the_reference_passes_the_base_does_not_and_mutants_judge(
    sandbox: Sandbox, tasks: dict[str, Task], name: str
) -> None:
    judge = Resolved(sandbox=sandbox, timeout=120, chance=random.Random(name))
    score = judge(tasks[name], [], tasks[name].patch)
    assert (score.value, score.parts["integrity"], score.parts["unprotected"]) == (1.0, [], [])
    nothing = judge(tasks[name], [], "")
    assert (nothing.value, nothing.parts["failed"]) == (0.0, list(tasks[name].FAIL_TO_PASS))


@pytest.mark.parametrize("name", QUICK)
def test_a_right_patch_of_unusual_shape_gets_one(sandbox: Sandbox, tasks: dict[str, Task], name: str) -> None:
    honest = BY_ID[name]
    judge = Resolved(sandbox=sandbox, timeout=120, chance=random.Random(f"{name} 1"))
    expect_one(judge, tasks[honest.library.name], honest)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(BY_ID))
@pytest.mark.parametrize("integrity", ["fast", "strict"])
def test_a_right_patch_gets_one_each_time(sandbox: Sandbox, tasks: dict[str, Task], name: str, integrity: str) -> None:
    honest = BY_ID[name]
    for turn in range(TIMES):
        chance = random.Random(f"{name} {turn}")
        judge = Resolved(sandbox=sandbox, timeout=120, integrity=integrity, chance=chance)
        expect_one(judge, tasks[honest.library.name], honest)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(BY_ID))
def test_the_patches_pass_under_plain_pytest(tmp_path: Path, name: str) -> None:
    """The patches are right without this package too."""
    honest = BY_ID[name]
    files = {**honest.files, honest.library.test_file: honest.library.hidden, "pytest.ini": "[pytest]\n"}
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", honest.library.test_file]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def bundled() -> dict[str, Task]:
    """Bundled tasks by name."""
    return {task.instance_id: task for task in load_tasks("bundled")}


def test_every_bundled_task_has_another_shape(bundled: dict[str, Task]) -> None:
    assert [shape.task for shape in SHAPES] == sorted(bundled)
    assert all(shape.patch != bundled[shape.task].patch for shape in SHAPES)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=[f"{shape.task}: {shape.about}" for shape in SHAPES])
def test_the_reference_in_another_shape_gets_one(sandbox: Sandbox, bundled: dict[str, Task], shape: Shape) -> None:
    for integrity in ("fast", "strict"):
        judge = Resolved(sandbox=sandbox, timeout=120, integrity=integrity, chance=random.Random(shape.task))
        score = judge(bundled[shape.task], [], shape.patch)
        assert (score.value, score.parts["integrity"], score.parts["failed"]) == (1.0, [], []), score.parts
