"""Whether the issue is solved, by the task's tests: SWE-bench's rule, judged from outside the box."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any

from nano_codex_env.cache import cache_dir
from nano_codex_env.errors import RewardError, TaskError
from nano_codex_env.messages import Message
from nano_codex_env.rewards.base import Score
from nano_codex_env.sandbox import TESTBED, Sandbox, get_sandbox
from nano_codex_env.scoring import FAILED, MISSING, PASSED, STOPPED, TAMPERED, Run, Scorer, keep_source
from nano_codex_env.task import Task
from nano_codex_env.workspace.tree import base_tree
from nano_codex_env.worlds.world import repository_paths

_LISTED = 20


class Resolved:
    """1.0 if every FAIL_TO_PASS test passes and every PASS_TO_PASS test still does, else 0.0.

    Each of `repeats` runs is a fresh box over the base, the source edits of the patch and the hidden tests. The first
    keeps the order of the files and decides; the others are shuffled, and a test must hold in all of them.

    What a test does beside passing is weighed against a control, the reference patch in the same order, run only when
    it is needed and kept: a PASS_TO_PASS test may be skipped or expected to fail where it is so with the reference;
    in a shuffled run a test may fail that cannot bear that order; a run that times out with the reference as well
    is a failure of ours.
    """

    needs_tests = True

    def __init__(
        self,
        *,
        timeout: float = 600.0,
        repeats: int = 2,
        sandbox: Sandbox | str = "bubblewrap",
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        """`timeout`: seconds for one run of the tests."""
        self._scorer = Scorer(get_sandbox(sandbox, cache=cache), cache_dir(cache), timeout)
        self._repeats = repeats
        self._controls: dict[tuple[object, ...], Run] = {}

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        """See `Reward`. The transcript is not looked at.

        Raises:
            TaskError: the task has no tests.
            RewardError: the score could not be computed.
        """
        if not task.has_tests:
            raise TaskError(f"{task.instance_id} has no FAIL_TO_PASS tests; give another reward, or tasks with tests")
        roots = [path.removeprefix(TESTBED).lstrip("/") for path in repository_paths(task.environment)]
        allowed = task.environment.get("allowed_edits", ())
        base, _ = base_tree(task.repo, task.base_commit, self._scorer.cache)
        patch, dropped = keep_source(diff, task.test_patch, base, roots, allowed)
        good = {*task.FAIL_TO_PASS, *task.PASS_TO_PASS}
        reason = ""
        for number in range(self._repeats):
            seed = _seed(task, number)
            run = self._scorer.run(task, patch, _wanted(task), seed=seed)
            if run.reason in (*STOPPED, TAMPERED) and self._control(task, seed).reason == run.reason:
                raise RewardError(f"{task.instance_id}: {run.reason}, and so they do with the reference patch")
            if number == 0 and not run.reason:
                self._check_world(task, run)
            good = {test for test in good if self._holds(task, test, run.status(test), seed)}
            if reason := run.reason or ("" if len(good) == len(set(_wanted(task))) else "tests failed"):
                break
        return _score(task, good, dropped, reason)

    def _check_world(self, task: Task, run: Run) -> None:
        """Where no test that should be mended was even found, or none passed at all, look whether any patch can pass.

        A missing dependency would else make every reward of a task 0.0, and nobody would know.
        """
        found = any(run.status(test) != MISSING for test in task.FAIL_TO_PASS)
        if (found and any(run.status(test) == PASSED for test in _wanted(task))) or not task.patch:
            return
        control = self._control(task, None)
        if all(control.status(test) != PASSED for test in task.FAIL_TO_PASS):
            raise RewardError(
                f"{task.instance_id}: its tests do not run here, not even with the reference patch; look at its "
                f"environment ({dict(task.environment) or 'none given'}): {control.output.strip()[-1500:]}"
            )

    def _holds(self, task: Task, test: str, status: str, seed: int | None) -> bool:
        if status == PASSED:
            return True
        if seed is None and (status in (MISSING, FAILED) or test in task.FAIL_TO_PASS):
            return False
        return status != MISSING and self._control(task, seed).status(test) == status

    def _control(self, task: Task, seed: int | None) -> Run:
        """The tests with the reference patch, in the same order; run once per task and order."""
        key = (task.instance_id, task.base_commit, task.patch, task.test_patch, seed)
        if key not in self._controls:
            self._controls[key] = self._scorer.run(task, task.patch, _wanted(task), seed=seed)
        return self._controls[key]


def _wanted(task: Task) -> list[str]:
    return [*task.FAIL_TO_PASS, *task.PASS_TO_PASS]


def _seed(task: Task, number: int) -> int | None:
    """No shuffling in the first run; later ones by a hash of the task, so that every patch meets the same orders."""
    if number == 0:
        return None
    return int.from_bytes(hashlib.sha256(f"{task.instance_id} {number}".encode()).digest()[:8], "big")


def _score(task: Task, good: set[str], dropped: list[str], reason: str) -> Score:
    bad = [test for test in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS) if test not in good]
    parts: dict[str, Any] = {"resolved": float(not bad)}
    for name in ("FAIL_TO_PASS", "PASS_TO_PASS"):
        tests = getattr(task, name)
        parts[name.lower()] = sum(test in good for test in tests) / len(tests) if tests else 1.0
    parts |= {"dropped": dropped, "failed": bad[:_LISTED], "reason": reason}
    return Score(parts["resolved"], parts)
