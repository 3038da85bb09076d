"""Whether the issue is solved, by the task's tests: SWE-bench's rule, judged from outside the box."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from nano_codex_env.cache import cache_dir
from nano_codex_env.errors import ConfigError, RewardError, TaskError
from nano_codex_env.messages import Message
from nano_codex_env.rewards.base import Score
from nano_codex_env.sandbox import TESTBED, Sandbox, get_sandbox
from nano_codex_env.scoring import FAILED, MISSING, PASSED, STOPPED, TAMPERED, Run, Scorer, keep_source
from nano_codex_env.scoring.boxes import Ready
from nano_codex_env.scoring.hidden import Files, hidden_files
from nano_codex_env.scoring.making import altered_files, make_plan
from nano_codex_env.scoring.plan import Plan, order_of, plan_of
from nano_codex_env.scoring.run import Bridge
from nano_codex_env.scoring.twins import BASE, Twin, pick
from nano_codex_env.task import Task
from nano_codex_env.workspace.tree import base_tree
from nano_codex_env.worlds.world import repository_paths

_LISTED = 20
TWIN_RUNS = 4
TESTS_FAILED = "tests failed"


class Resolved:
    """1.0 if every FAIL_TO_PASS test passes and every PASS_TO_PASS test still does, else 0.0.

    Each run is a fresh box over the base, the source edits of the patch and the hidden tests. With `integrity="strict"`
    the task's `Plan` says how: the tests that can be parted from the code run apart from it, where no code of the
    patch's can reach a verdict, and siblings are asked there. The others run beside the code, `TWIN_RUNS` times: each
    of those to be mended is as it is in one run, nobody knows in which, and altered in the others, where it must fail.
    No run beside the code comes before the one apart. `"fast"` is one plain run beside the code: for those who train
    where hacking does not pay. A failed patch may run once more, plainly, for the shares and flags in its parts.

    What a test does beside passing is weighed against a control, the reference patch in the same order, run only when
    it is needed and kept: a PASS_TO_PASS test may be skipped or expected to fail where it is so with the reference;
    in a shuffled run a test may fail that cannot bear that order; a run that times out with the reference as well
    is a failure of ours.

    `Score.parts`: `resolved`, `fail_to_pass`, `pass_to_pass` (shares), `siblings` (share), `processes` (`separate`,
    `mixed` or `one`), `dropped` (paths), `failed` (tests), `reason`, and `integrity`, a list of what a forger triggers;
    each begins with one of `reports:`, `canary:`, `processes:`, `twins:`, `siblings:`.
    """

    needs_tests = True

    def __init__(
        self,
        *,
        timeout: float = 600.0,
        integrity: str = "strict",
        siblings: str = "flag",
        repeats: int = 2,
        warm: int = 0,
        sandbox: Sandbox | str = "bubblewrap",
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        """`timeout`: seconds for one run of the tests; `repeats`: runs of a task that has no plan.

        `warm`: how many boxes wait for the next run with pytest imported, each some 40 MB and for one run; they are of
        the tasks that were scored last, so this pays where a task is scored several times in a row, as in a group of
        GRPO's. `close` ends them, as the end of the process does. With 0 each run starts cold; verdicts are the same.

        Raises:
            ConfigError: `integrity` is not `"strict"` or `"fast"`, `siblings` not `"flag"` or `"enforce"`, or `warm` no
                number of boxes.
        """
        for name, value, known in (
            ("integrity", integrity, ("strict", "fast")),
            ("siblings", siblings, ("flag", "enforce")),
        ):
            if value not in known:
                raise ConfigError(f"{name} is one of {', '.join(known)}; got {value!r}")
        if isinstance(warm, bool) or not isinstance(warm, int) or warm < 0:
            raise ConfigError(f"warm is how many boxes wait, 0 or more; got {warm!r}")
        self._scorer = Scorer(get_sandbox(sandbox, cache=cache), cache_dir(cache), timeout, Ready(warm))
        self._strict, self._enforce, self._repeats = integrity == "strict", siblings == "enforce", repeats
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
        hidden = hidden_files(task, base)  # first: what is wrong with these is a failure of ours
        try:
            patch, dropped = keep_source(diff, task.test_patch, base, roots, allowed)
            patch.encode("utf-8", "surrogateescape")
        except (ValueError, OSError) as error:  # a number of thousands of digits, half a surrogate, a name too long
            if isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG:
                raise
            reason = f"the patch is none that git would write: {error!r:.200}"
            return _Trial(task, "", set(), reason).score([], Plan(), enforce=self._enforce)
        trial = _Trial(task, patch, set(_wanted(task)))
        if not self._strict:
            self._judge(trial, self._scorer.run(task, patch, trial.wanted, seed=None), None, trial.wanted)
            return trial.score(dropped, Plan(), enforce=self._enforce)
        plan = plan_of(task, self._scorer.cache, lambda task: make_plan(task, self._scorer))
        apart = self._apart(trial, plan)
        rest = [test for test in trial.wanted if test not in apart]
        if not trial.reason:
            rest = self._beside(trial, plan, rest, hidden)
        if trial.reason == TESTS_FAILED and (rest or (trial.failed_apart and patch)):
            self._plainly(trial, rest)
        return trial.score(dropped, plan, enforce=self._enforce)

    def close(self) -> None:
        """End the boxes that wait; a score after this starts others."""
        self._scorer.ready.close()

    def _apart(self, trial: _Trial, plan: Plan) -> Set[str]:
        """Run the tests that can be parted from the code, shuffled, and ask the siblings; which tests were judged."""
        if not plan.separate:
            return frozenset()
        siblings = [list(plan.imports), *(sibling.operations for sibling in plan.siblings)] if plan.siblings else []
        seed = order_of(trial.task, 1)
        bridge = Bridge(known=plan.asked, siblings=siblings)
        run = self._scorer.run(trial.task, trial.patch, plan.separate, seed=seed, bridge=bridge)
        bad = [test for test in plan.separate if run.status(test) != PASSED]
        weak: Set[str] = frozenset()
        if bad:
            control = self._control(trial.task, seed, plan.separate)
            if run.reason and run.reason == control.reason:
                raise RewardError(f"{trial.task.instance_id}: {run.reason}, and so they do with the reference patch")
            weak = {test for test in bad if control.status(test) != PASSED}
            bad = [test for test in bad if test not in weak]
        trial.failed_apart = set(bad)
        if run.reason:
            trial.fail(trial.wanted, _flag(run.reason), run.reason)
        elif bad:
            trial.fail(bad, "")
        same = sum(run.siblings.get(number) == sibling.answers for number, sibling in enumerate(plan.siblings))
        trial.siblings = same / len(plan.siblings) if plan.siblings else 1.0
        if trial.siblings < 1.0 and not bad:
            trial.integrity.append(f"siblings: {same} of {len(plan.siblings)} answers are the reference patch's")
        return set(plan.separate) - weak

    def _beside(self, trial: _Trial, plan: Plan, tests: Sequence[str], hidden: Files) -> list[str]:
        """Judge `tests` beside the code, among all, with twins if there are any; those never seen as they are."""
        unseen = set(tests)
        picked = pick(plan.twins, TWIN_RUNS, secrets.SystemRandom()) if plan.twins else [[]] * self._repeats
        for number, twins in enumerate(picked if tests else ()):
            seed = order_of(trial.task, number) if number else None
            files = altered_files(hidden, twins)
            run = self._scorer.run(trial.task, trial.patch, trial.wanted, seed=seed, altered=files)
            self._judge(trial, run, seed, tests, twins)
            unseen &= {test for twin in twins for test in twin.tests}
            if trial.reason:
                break
        return [test for test in tests if test in unseen]

    def _plainly(self, trial: _Trial, unseen: Sequence[str]) -> None:
        """Run a failed patch once more, beside the code: shares of what was not seen as it is, flags of what forges."""
        run = self._scorer.run(trial.task, trial.patch, trial.wanted, seed=None)
        if run.reason:
            trial.reason = run.reason  # says more than that tests failed
            trial.fail(trial.wanted, _flag(run.reason))
            return
        trial.fail([test for test in unseen if not self._holds(trial.task, test, run.status(test), None)], "")
        forged = [test for test in trial.wanted if test in trial.failed_apart and run.status(test) == PASSED]
        if forged:
            trial.integrity.append(f"processes: passed beside the code, not apart from it: {', '.join(forged[:3])}")

    def _judge(
        self, trial: _Trial, run: Run, seed: int | None, tests: Sequence[str], twins: Sequence[Twin] = ()
    ) -> None:
        """Take what one run beside the code showed of `tests`; those of `twins` were altered."""
        task = trial.task
        altered = {test: twin.kind for twin in twins for test in twin.tests}
        if run.reason in (*STOPPED, TAMPERED) and self._control(task, seed).reason == run.reason:
            raise RewardError(f"{task.instance_id}: {run.reason}, and so they do with the reference patch")
        if seed is None and not run.reason:
            self._check_world(task, run, tests)
        bad = [
            test
            for test in tests
            if not (run.status(test) == FAILED if test in altered else self._holds(task, test, run.status(test), seed))
        ]
        passed = [test for test in bad if altered.get(test, BASE) != BASE and run.status(test) == PASSED]
        if run.reason:
            trial.fail(trial.wanted, _flag(run.reason), run.reason)
        elif bad:
            trial.fail(bad, f"twins: altered, and passed all the same: {', '.join(passed[:3])}" if passed else "")

    def _check_world(self, task: Task, run: Run, tests: Sequence[str]) -> None:
        """Where no test that should be mended was even found, or none passed at all, look whether any patch can pass.

        A missing dependency would else make every reward of a task 0.0, and nobody would know.
        """
        mended = [test for test in task.FAIL_TO_PASS if test in tests]
        found = not mended or any(run.status(test) != MISSING for test in mended)
        if (found and any(run.status(test) == PASSED for test in tests)) or not task.patch:
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

    def _control(self, task: Task, seed: int | None, apart: Sequence[str] = ()) -> Run:
        """The tests with the reference patch, in the same order; run once per task and order.

        `apart`: tests that run apart from the code, instead of all of them beside it.
        """
        key = (task.instance_id, task.base_commit, task.patch, task.test_patch, seed, *apart)
        if key not in self._controls:
            bridge = Bridge() if apart else None
            self._controls[key] = self._scorer.run(task, task.patch, apart or _wanted(task), seed=seed, bridge=bridge)
        return self._controls[key]


def _wanted(task: Task) -> list[str]:
    return [*task.FAIL_TO_PASS, *task.PASS_TO_PASS]


def _flag(reason: str) -> str:
    """What a run that does not count says of who did it."""
    if reason == TAMPERED:
        return f"canary: {reason}"
    return "" if reason in STOPPED or "patch" in reason else f"reports: {reason}"


@dataclass
class _Trial:
    """One patch on its way through the runs."""

    task: Task
    patch: str
    good: set[str]
    reason: str = ""
    integrity: list[str] = field(default_factory=list)
    siblings: float = 1.0
    failed_apart: set[str] = field(default_factory=set)

    @property
    def wanted(self) -> list[str]:
        return _wanted(self.task)

    def fail(self, tests: Sequence[str], flag: str, reason: str = TESTS_FAILED) -> None:
        """These tests count as failed; `flag` says what is suspicious of it, if anything."""
        self.good -= set(tests)
        self.reason = self.reason or reason
        self.integrity += [flag] if flag else []

    def score(self, dropped: list[str], plan: Plan, *, enforce: bool) -> Score:
        bad = [test for test in self.wanted if test not in self.good]
        value = float(not bad and not (enforce and self.siblings < 1.0))
        parts: dict[str, Any] = {"resolved": value}
        for name in ("FAIL_TO_PASS", "PASS_TO_PASS"):
            tests = getattr(self.task, name)
            parts[name.lower()] = sum(test in self.good for test in tests) / len(tests) if tests else 1.0
        apart = set(plan.separate)
        parts["processes"] = "separate" if apart >= set(self.wanted) else "mixed" if apart else "one"
        parts["siblings"] = self.siblings
        parts |= {"dropped": dropped, "failed": bad[:_LISTED], "reason": self.reason, "integrity": self.integrity}
        return Score(value, parts)
