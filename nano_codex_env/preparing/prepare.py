"""Build ahead what tasks need, and prove that each can be solved and is not solved yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nano_codex_env.errors import NanoCodexError
from nano_codex_env.parallel import each
from nano_codex_env.rewards import Resolved, Score
from nano_codex_env.scoring import Scorer
from nano_codex_env.task import Task
from nano_codex_env.workspace.tree import base_tree
from nano_codex_env.worlds import world_of


@dataclass(frozen=True)
class Check:
    """What became of one task."""

    instance_id: str
    problem: str = ""
    """Empty: all is well."""


def prepare(tasks: Sequence[Task], scorer: Scorer) -> Iterator[Check]:
    """Build each task's base tree and world, several at once; after that, reset and scoring need no network."""

    def build(task: Task) -> Check:
        try:
            base_tree(task.repo, task.base_commit, scorer.cache)
            world_of(task, scorer.cache)
        except NanoCodexError as error:
            return Check(task.instance_id, str(error))
        return Check(task.instance_id)

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
