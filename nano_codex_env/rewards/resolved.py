"""Whether a patch resolves the issue by the task's tests: SWE-bench's rule, judged from outside the box."""

from __future__ import annotations

import errno
import math
import os
import random
import secrets
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nano_codex_env.cache import cache_dir, disk_errors
from nano_codex_env.errors import ConfigError, NanoCodexError, RewardError, TaskError, advice_for
from nano_codex_env.messages import Message
from nano_codex_env.repo.base_tree import base_tree
from nano_codex_env.repo.commit_range import resolve_range
from nano_codex_env.sandbox import Sandbox, get_sandbox
from nano_codex_env.score import Score
from nano_codex_env.scoring.facts import PASSED, TIMED_OUT, Control, Isolated, Round, TestRun
from nano_codex_env.scoring.hidden_tests import hidden_files
from nano_codex_env.scoring.mutants import Draw, function_of
from nano_codex_env.scoring.protection import Protection, key_of, known_protection, protection_of
from nano_codex_env.scoring.run import Scorer
from nano_codex_env.scoring.verdict import (
    TESTS_FAILED,
    functions_to_isolate,
    missing_fact,
    passes_in_control,
    score_of,
    single_pass,
    verdict,
)
from nano_codex_env.tasks.task import Task

REMOVED = {
    "warm": "runs start cold; leave it out",
    "siblings": "nothing takes its place; leave it out",
    "repeats": "mutant_runs",
    "processes": "tests and code share a process; leave it out",
}
"""Arguments of earlier versions, and their replacements."""


class Resolved:
    """1.0 if every FAIL_TO_PASS test passes and every PASS_TO_PASS test still does, else 0.0.

    Each run is a fresh box over the base, the source edits of the patch and the hidden tests. `integrity="fast"` is one
    run. With `"strict"` a patch that passes that run must then fail mutants: `mutant_runs` further runs of the
    FAIL_TO_PASS tests and a random share of PASS_TO_PASS, in each of which some tests expect something else. Tests and
    code share a process; docs/rewards.md has the odds of a forger who guesses.

    A failure is checked against the reference patch before it counts: a run that breaks off with the reference patch
    too, or a test that does not pass with it, is a failure of ours and raises.

    `Score.parts`: `resolved`, `fail_to_pass`, `pass_to_pass` (shares), `dropped` (paths that did not reach the tests),
    `failed` (test ids), `reason`, `integrity` (signs of forgery; each entry begins with `reports:`, `canary:` or
    `mutants:`) and `unprotected` (FAIL_TO_PASS tests of a patch that passed which no mutant judged).
    """

    needs_tests = True
    reads_transcript = False
    version = "2"
    """Of the scorer: rewards of two versions are not to be mixed in one file."""

    def __init__(
        self,
        *,
        timeout: float = 600.0,
        score_timeout: float | None = None,
        integrity: str = "strict",
        mutant_runs: int = 3,
        allow_builds: bool = False,
        sandbox: Sandbox | str = "bubblewrap",
        cache: str | os.PathLike[str] | None = None,
        chance: random.Random | None = None,
        **removed: Any,
    ) -> None:
        """A judge of patches; it may be shared by threads.

        Args:
            timeout: seconds for one run of the tests; a run whose reference took `t` has at most `30 + 10 * t`.
            score_timeout: seconds for all runs of a patch in one score; default: three times `timeout`.
            integrity: `"strict"` or `"fast"`.
            mutant_runs: runs with mutants of a patch that passed; twice as many where one function is protected.
            allow_builds: whether a package that a task's environment names may run its own build on this machine; else
                wheels only.
            sandbox: where tests run.
            cache: see `cache`.
            chance: draws the mutant runs; default: the system's randomness.
            **removed: arguments of earlier versions, refused with their replacement.

        Raises:
            ConfigError: an argument cannot be used.
        """
        for name in removed:
            hint = f"it was removed; instead: {REMOVED[name]}" if name in REMOVED else "there is no such argument"
            raise ConfigError(f"Resolved({name}=...): {hint}")
        if integrity not in ("strict", "fast"):
            raise ConfigError(f"integrity is one of strict, fast; got {integrity!r}")
        if isinstance(mutant_runs, bool) or not isinstance(mutant_runs, int) or not 2 <= mutant_runs <= 20:
            raise ConfigError(f"mutant_runs is a whole number from 2 to 20; got {mutant_runs!r}")
        score_timeout = 3 * timeout if score_timeout is None else score_timeout
        for name, seconds in (("timeout", timeout), ("score_timeout", score_timeout)):
            if not (isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds < math.inf):
                raise ConfigError(f"{name} is a number of seconds above 0; got {seconds!r}")
        self._scorer = Scorer(get_sandbox(sandbox, cache=cache), cache_dir(cache), timeout, allow_builds)
        self._strict, self._mutant_runs, self._score_timeout = integrity == "strict", mutant_runs, score_timeout
        self._chance = chance
        self._controls: dict[str, TestRun] = {}
        self._protections: dict[str, Protection] = {}
        self._failed_at_base: dict[str, Sequence[str]] = {}

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        """See `Reward`. The transcript is not read.

        Raises:
            TaskError: the task has no tests.
            RewardError: the score could not be computed; `BrokenTaskError`: no patch can solve the task here.
        """
        if not task.has_tests:
            raise TaskError(f"{task.instance_id} has no FAIL_TO_PASS tests; give another reward, or tasks with tests")
        with disk_errors(f"scoring {task.instance_id}"):
            return self._score(resolve_range(task, self._scorer.cache), diff)

    def _score(self, task: Task, diff: str) -> Score:
        base, _ = base_tree(task.repo, task.base_commit, self._scorer.cache)
        try:  # the row's own patches first: an error in them is not the fault of `diff`
            hidden_files(task, base)
            self._scorer.source(task, task.patch)
        except (ValueError, OSError) as error:
            if isinstance(error, NanoCodexError) or advice_for(error):
                raise
            raise TaskError(f"{task.instance_id}: its patches, ids or paths cannot be used: {error!r:.200}") from error
        try:
            patch, dropped = self._scorer.source(task, diff)
            patch.encode("utf-8", "surrogateescape")
        except (ValueError, OSError) as error:  # a number of thousands of digits, half a surrogate, a name too long
            if isinstance(error, NanoCodexError) or getattr(error, "errno", None) not in (None, errno.ENAMETOOLONG):
                raise
            wanted = [*task.FAIL_TO_PASS, *task.PASS_TO_PASS]
            return score_of(task, wanted, f"git would never write this patch: {error!r:.200}")
        return _Trial(self, task, patch, dropped).score()

    def protection(self, task: Task) -> Protection:
        """The protection of a task; made by one thread while others wait."""
        key = key_of(task)
        with _lock(f"protection {key}"):
            if key not in self._protections:
                self._protections[key] = protection_of(task, self._scorer)
            return self._protections[key]

    def control_run(self, task: Task, timeout: float) -> TestRun:
        """A run of all tests with the reference patch, or with no patch if there is none; kept if they pass."""
        key = key_of(task)
        with _lock(f"control {key}"):
            if key in self._controls:
                return self._controls[key]
            wanted = [*task.FAIL_TO_PASS, *task.PASS_TO_PASS]
            source, _ = self._scorer.source(task, task.patch)
            run = self._scorer.run_tests(task, source, wanted, timeout=timeout)
            passing = task.FAIL_TO_PASS if task.patch else ()
            if not run.reason and all(run.status(test) == PASSED for test in passing):
                self._controls[key] = run
            return run


_locks: dict[str, threading.Lock] = {}
os.register_at_fork(after_in_child=_locks.clear)


def _lock(name: str) -> threading.Lock:
    """A lock by name: the equal patches of a group share one control run."""
    return _locks.setdefault(name, threading.Lock())


class _Trial:
    """The runs of one patch."""

    def __init__(self, judge: Resolved, task: Task, patch: str, dropped: list[str]) -> None:
        self._judge, self._task, self._patch, self._dropped = judge, task, patch, dropped
        self._scorer, self._chance = judge._scorer, judge._chance or secrets.SystemRandom()
        self._rounds: list[Round] = []
        self._control = Control()
        self._protection = Protection()
        self._expected = 0.0
        """Seconds that a run of all tests takes with the reference patch; 0.0: not known."""
        self._spent, self._runs_done = 0.0, 0

    def score(self) -> Score:
        """Run what a verdict needs, and no more."""
        task, judge, key = self._task, self._judge, key_of(self._task)
        is_empty = not self._patch.strip()
        known, control = known_protection(task, self._scorer.cache), judge._controls.get(key)
        if known:
            self._use(known)
        elif control:
            self._expected = control.seconds
        failed_at_base = known.failed_at_base if known else judge._failed_at_base.get(key, ())
        if is_empty and failed_at_base:
            return score_of(task, failed_at_base, TESTS_FAILED, dropped=self._dropped)  # as a run would show

        self._run_round(Draw((*task.FAIL_TO_PASS, *task.PASS_TO_PASS), ()))
        score = self._verdict()
        if score.value == 0.0:
            first = self._rounds[0]
            if is_empty and not first.run.reason:
                failed = [test for test in first.tests if not passes_in_control(task, test, first.run)]
                judge._failed_at_base[key] = failed
            return score
        if not judge._strict:
            return self._verdict(task.FAIL_TO_PASS)

        protection = judge.protection(task)
        self._use(protection)
        unprotected = protection.unprotected(task)
        for draw in protection.draw(task, judge._mutant_runs, self._chance):
            self._run_round(draw)
            score = self._verdict(unprotected)
            if score.value == 0.0:
                return score
        if passed := single_pass(task, self._rounds, self._control):
            for _ in range(1 if len(protection.mutants) > 1 else 3):  # of one function alone, each is passed by chance
                self._run_round(self._other_mutants(passed.function))
                if self._verdict().value == 0.0:
                    break
        return self._verdict(unprotected)

    def _use(self, protection: Protection) -> None:
        self._protection, self._expected = protection, protection.seconds
        self._control = replace(self._control, flaky=frozenset(protection.flaky))

    def _verdict(self, unprotected: Sequence[str] = ()) -> Score:
        return verdict(self._task, self._rounds, self._control, dropped=self._dropped, unprotected=unprotected)

    def _other_mutants(self, passed: str) -> Draw:
        """A run like the others, with the second mutants of some functions, among them the one whose mutant passed."""
        draw = self._chance.choice(self._protection.draw(self._task, self._judge._mutant_runs, self._chance))
        functions = {passed, *(mutant.function for mutant in draw.mutants)}
        others = [mutants[1] for name, mutants in self._protection.mutants.items() if name in functions and mutants[1:]]
        return Draw(draw.tests, tuple(others))

    def _run_round(self, draw: Draw) -> None:
        """Run one set of tests, then whatever a verdict on it needs."""
        one = Round(draw.tests, self._run(draw), draw.mutants)
        while need := missing_fact(self._task, [*self._rounds, one], self._control):
            if need == "control":
                run = self._judge.control_run(self._task, self._limit())
                self._control = replace(self._control, run=run)
            elif need == "repeat":
                one = replace(one, repeat=self._run(draw))
            elif need == "reference":
                source, _ = self._scorer.source(self._task, self._task.patch)
                run = self._run_tests(source, draw, self._limit())  # whatever time the patch has used up
                one = replace(one, reference=run)
            else:
                function = functions_to_isolate(self._task, one, self._control)[0]
                one = replace(one, isolated=(*one.isolated, self._isolate(function, one)))
        self._rounds.append(one)

    def _isolate(self, function: str, one: Round) -> Isolated:
        """Run one function in isolation: unmodified, and with its mutant, in a random order."""
        mutant = next(iter(self._protection.mutants.get(function, ())), None)
        draws = [Draw(tuple(test for test in one.tests if function_of(test) == function), ())]
        draws += [Draw(mutant.tests, (mutant,))] if mutant else []
        order = self._chance.sample(range(len(draws)), len(draws))
        runs = {number: self._run(draws[number]) for number in order}
        return Isolated(function, runs[0], mutant, runs.get(1))

    def _run(self, draw: Draw) -> TestRun:
        """A run of the patch, in what is left of its time.

        Raises:
            RewardError: the time is over, and the patch is hardly slower than the reference patch.
        """
        limit = self._limit()
        left = self._judge._score_timeout - limit - self._spent
        if left <= min(5.0, limit / 2):  # in less time not even a box opens, which would look like a failure of ours
            if self._spent >= (1.5 * self._expected + 10.0) * self._runs_done:
                return TestRun(reason=TIMED_OUT)
            raise RewardError(
                f"{self._task.instance_id}: no verdict within score_timeout ({self._judge._score_timeout:g} seconds) "
                f"after {self._runs_done} runs; one of the reference patch takes {self._expected:.0f} seconds: raise it"
            )
        run = self._run_tests(self._patch, draw, min(limit, left))
        self._spent += run.seconds
        self._runs_done += 1
        return run

    def _run_tests(self, patch: str, draw: Draw, limit: float) -> TestRun:
        return self._scorer.run_tests(self._task, patch, draw.tests, mutants=draw.mutants, timeout=limit)

    def _limit(self) -> float:
        """Seconds that one run may take."""
        most = min(self._scorer.timeout, self._judge._score_timeout / 2)
        return min(most, 30.0 + 10.0 * self._expected) if self._expected else most
