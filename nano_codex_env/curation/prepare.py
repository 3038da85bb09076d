"""Build everything that tasks need, and check that each is solved by its reference patch and unsolved without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nano_codex_env.errors import NanoCodexError, TaskError
from nano_codex_env.parallel import parallel_map
from nano_codex_env.repo.base_tree import base_tree
from nano_codex_env.repo.commit_range import resolve_range
from nano_codex_env.rewards import Resolved
from nano_codex_env.scoring import Scorer, protection_of
from nano_codex_env.scoring.hidden_tests import hidden_files, outside
from nano_codex_env.scoring.preconditions import why_unscorable
from nano_codex_env.tasks.task import Task
from nano_codex_env.tasks.trees import file_at

_RUNNER_PACKAGES = ("pytest", "_pytest", "pluggy")


@dataclass(frozen=True)
class Check:
    """The result of preparing or validating one task."""

    instance_id: str
    problem: str = ""
    """Empty: no problem was found."""
    note: str = ""
    """A remark on a task without a problem."""


def prepare(tasks: Sequence[Task], scorer: Scorer) -> Iterator[Check]:
    """Build each task's base tree, runtime and mutants, several at once; afterwards, reset and scoring need no network.

    The tests of a task with a reference patch run about ten times: three times as they are, then with mutants. If some
    do not pass with the reference patch, the problem names them. A task that cannot be scored here has a problem too.
    """

    def build(task: Task) -> Check:
        try:
            task = resolve_range(task, scorer.cache)
            base, _ = base_tree(task.repo, task.base_commit, scorer.cache)
            if problem := why_unscorable(task) or _missing_files(task, base):
                return Check(
                    task.instance_id, f"cannot be scored: {problem} (its base tree is built: it can be played)"
                )
            runtime = scorer.runtime(task)
            roots = [base / path.removeprefix("/testbed").lstrip("/") for path in runtime.pythonpath]
            own = [name for name in _RUNNER_PACKAGES if any((root / name).is_dir() for root in roots)][:1]
            if own:
                raise TaskError(
                    f"{task.instance_id}: its repository is {own[0]} itself, which runs the tests; such a task can be "
                    "played and judged by another reward, but not scored by tests"
                )
            if not task.patch:
                return Check(task.instance_id, note="no reference patch, so its tests were not run")
            found = protection_of(task, scorer, thorough=True)
        except NanoCodexError as error:
            return Check(task.instance_id, str(error))
        unprotected, total = len(found.unprotected(task)), len(task.FAIL_TO_PASS)
        return Check(task.instance_id, note=f"{unprotected} of {total} tests unprotected" if unprotected else "")

    return parallel_map(build, tasks)


def _missing_files(task: Task, base: Path) -> str:
    """What to say if a test's file is neither in the base nor in the test patch."""
    hidden = hidden_files(task, base)
    files = dict.fromkeys(test.partition("::")[0] for test in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS))
    missing = [file for file in files if not outside([file]) and not (hidden.get(file) or file_at(base, file))]
    return f"the test file {missing[0]!r:.200} is neither in the base nor in the test patch" if missing else ""


def validate(tasks: Sequence[Task], reward: Resolved) -> Iterator[Check]:
    """Score each task's reference patch, which must give 1.0, and no patch, which must give 0.0; several at once."""

    def check(task: Task) -> Check:
        if problem := why_unscorable(task):
            return Check(task.instance_id, f"cannot be scored: {problem}")
        try:
            reference, nothing = reward(task, [], task.patch), reward(task, [], "")
        except NanoCodexError as error:
            return Check(task.instance_id, str(error))
        if reference.value != 1.0:
            reason = f"{reference.parts['reason']} {', '.join(reference.parts['failed'][:3])}".strip()
            dropped = f"; dropped: {', '.join(reference.parts['dropped'])}" if reference.parts["dropped"] else ""
            return Check(task.instance_id, f"the reference patch gives {reference.value}: {reason}{dropped}")
        problem = f"no patch gives {nothing.value}: the tests do not need the reference patch"
        return Check(task.instance_id, problem if nothing.value != 0.0 else "")

    return parallel_map(check, tasks)
