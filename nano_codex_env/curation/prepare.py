"""Build ahead what tasks need, and prove that each can be solved and is not solved yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nano_codex_env.errors import NanoCodexError, TaskError
from nano_codex_env.parallel import each
from nano_codex_env.repo.base_tree import base_tree
from nano_codex_env.rewards import Resolved, Score
from nano_codex_env.scoring import Scorer, protection_of
from nano_codex_env.tasks.task import Task

_OF_THE_RUNNER = ("pytest", "_pytest", "pluggy")


@dataclass(frozen=True)
class Check:
    """What became of one task."""

    instance_id: str
    problem: str = ""
    """Empty: all is well."""
    note: str = ""
    """What is good to know of a task without a problem."""


def prepare(tasks: Sequence[Task], scorer: Scorer) -> Iterator[Check]:
    """Build each task's base tree, runtime and mutants, several at once; after that reset and scoring need no network.

    A task with tests and a reference patch is run some ten times: the reference three times, then with mutants. One
    whose tests do not pass with its reference patch has a problem that names them.
    """

    def build(task: Task) -> Check:
        try:
            base, _ = base_tree(task.repo, task.base_commit, scorer.cache)
            runtime = scorer.runtime(task)
            roots = [base / path.removeprefix("/testbed").lstrip("/") for path in runtime.pythonpath]
            own = [name for name in _OF_THE_RUNNER if any((root / name).is_dir() for root in roots)][:1]
            if own:
                raise TaskError(
                    f"{task.instance_id}: its repository is {own[0]} itself, which runs the tests; such a task can be "
                    "played and judged by another reward, but not scored by tests"
                )
            if not task.has_tests or not task.patch:
                return Check(task.instance_id)
            found = protection_of(task, scorer, thorough=True)
        except NanoCodexError as error:
            return Check(task.instance_id, str(error))
        unprotected, total = len(found.unprotected(task)), len(task.FAIL_TO_PASS)
        return Check(task.instance_id, note=f"{unprotected} of {total} tests unprotected" if unprotected else "")

    return each(build, tasks)


def validate(tasks: Sequence[Task], reward: Resolved) -> Iterator[Check]:
    """Score each task's reference patch, which must give 1.0, and no patch, which must give 0.0; several at once."""

    def prove(task: Task) -> Check:
        try:
            return Check(task.instance_id, _problem(reward(task, [], task.patch), reward(task, [], "")))
        except NanoCodexError as error:
            return Check(task.instance_id, str(error))

    return each(prove, tasks)


def _problem(reference: Score, nothing: Score) -> str:
    if reference.value != 1.0:
        dropped = f"; dropped: {', '.join(reference.parts['dropped'])}" if reference.parts["dropped"] else ""
        return f"the reference patch gives {reference.value}: {_why(reference)}{dropped}"
    if nothing.value != 0.0:
        return f"no patch gives {nothing.value}: the tests do not need the reference patch"
    return ""


def _why(score: Score) -> str:
    return f"{score.parts['reason']} {', '.join(score.parts['failed'][:3])}".strip()
