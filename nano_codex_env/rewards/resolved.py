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
from nano_codex_env.scoring import MISSING, PASSED, Run, Scorer, keep_source
from nano_codex_env.task import Task
from nano_codex_env.worlds.world import repository_paths

_LISTED = 20


class Resolved:
    """1.0 if every FAIL_TO_PASS test passes and every PASS_TO_PASS test still does, else 0.0.

    Each of `repeats` runs is a fresh box over the base, the source edits of the patch and the hidden tests; the first
    keeps the order of the files, the others shuffle (the same for the same patch). A test must pass in all of them.
    A PASS_TO_PASS test may be skipped, or be expected to fail, where it is so on the base as well.
    """

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
        self._controls: dict[tuple[str, str, str], Run] = {}

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
        patch, dropped = keep_source(diff, task.test_patch, roots, allowed)
        wanted = [*task.FAIL_TO_PASS, *task.PASS_TO_PASS]
        good: set[str] = set(wanted)
        reason = ""
        for number in range(self._repeats):
            run = self._scorer.run(task, patch, wanted, seed=_seed(task, diff, number))
            if run.reason:
                self._check_control(task, run)
            good &= {test for test in wanted if self._counts(task, test, run.status(test))}
            if reason := run.reason or ("" if len(good) == len(wanted) else "tests failed"):
                break
        return _score(task, good, dropped, reason)

    def _counts(self, task: Task, test: str, status: str) -> bool:
        if status == PASSED:
            return True
        if status in (MISSING, "failed") or test in task.FAIL_TO_PASS:
            return False
        return self._control(task).status(test) == status  # skipped or expected to fail where it always was

    def _check_control(self, task: Task, run: Run) -> None:
        """A run that was stopped is the patch's doing only if the base's own run is not stopped as well."""
        if run.reason in ("the tests timed out", "the tests flooded the output"):
            control = self._control(task)
            if control.reason == run.reason:
                raise RewardError(f"{task.instance_id}: {run.reason}, and so they do on the base without any patch")

    def _control(self, task: Task) -> Run:
        """The tests on the base without a patch, run once per task."""
        key = (task.instance_id, task.base_commit, task.test_patch)
        if key not in self._controls:
            self._controls[key] = self._scorer.run(task, "", [*task.FAIL_TO_PASS, *task.PASS_TO_PASS], seed=None)
        return self._controls[key]


def _seed(task: Task, diff: str, number: int) -> int | None:
    """No shuffling in the first run; later ones by a hash, so that the same patch gets the same orders."""
    if number == 0:
        return None
    text = f"{task.instance_id}\0{number}\0{diff}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")


def _score(task: Task, good: set[str], dropped: list[str], reason: str) -> Score:
    bad = [test for test in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS) if test not in good]
    parts: dict[str, Any] = {"resolved": float(not bad)}
    for name in ("FAIL_TO_PASS", "PASS_TO_PASS"):
        tests = getattr(task, name)
        parts[name.lower()] = sum(test in good for test in tests) / len(tests) if tests else 1.0
    parts |= {"dropped": dropped, "failed": bad[:_LISTED], "reason": reason}
    return Score(parts["resolved"], parts)
