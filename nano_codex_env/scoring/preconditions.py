"""What can be said of a task before anything is run: whether its tests can be run here at all."""

from __future__ import annotations

from nano_codex_env.errors import TaskError
from nano_codex_env.tasks.task import Task


def why_unscorable(task: Task) -> str:
    """Why the task's tests cannot be run here, and what to do; empty if nothing speaks against it."""
    if not task.has_tests:
        problem = "it has no FAIL_TO_PASS tests, so tests cannot judge a patch; give another reward"
        return f"{problem}; {_environment(task)}".removesuffix("; ")
    return _environment(task) or _ids(task)


def _environment(task: Task) -> str:
    try:
        return task.environment.unsupported
    except TaskError as error:
        return str(error)


def _ids(task: Task) -> str:
    """What is wrong with ids that pytest would not write: with those that it would, `runner.py` finds the test."""
    ids = (*task.FAIL_TO_PASS, *task.PASS_TO_PASS)
    foreign = [name for name in ids if not name.partition("::")[0] or not name.partition("::")[2]]
    if foreign:
        return (
            f"no runner here knows {len(foreign)} of its {len(ids)} test ids, such as {foreign[0]!r:.200}: tests are "
            "run by pytest, whose ids are FILE::TEST; write them so, or leave those tests out"
        )
    cut = [name for name in ids if "[" in name.partition("::")[2] and not name.endswith("]")]
    if cut:
        return (
            f"{len(cut)} of its {len(ids)} test ids are cut off, such as {cut[0]!r:.200} (`[` without `]`): write "
            "the whole id, as `pytest --collect-only -q` prints it, or leave those tests out"
        )
    return ""
