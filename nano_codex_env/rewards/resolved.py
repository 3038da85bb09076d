"""Whether the issue is solved, by the task's tests: SWE-bench's rule, judged from outside the box."""

from __future__ import annotations

import errno
import math
import os
import random
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nano_codex_env.cache import cache_dir
from nano_codex_env.errors import ConfigError, NanoCodexError, RewardError, TaskError
from nano_codex_env.messages import Message
from nano_codex_env.repo.base_tree import base_tree
from nano_codex_env.sandbox import Sandbox, get_sandbox
from nano_codex_env.score import Score
from nano_codex_env.scoring.contradictions import Alone, Control, Round, passes, unexplained
from nano_codex_env.scoring.hidden_tests import hidden_files
from nano_codex_env.scoring.mutants import Draw, function_of
from nano_codex_env.scoring.protection import Protection, key_of, known_protection, protection_of
from nano_codex_env.scoring.reports import PASSED, TIMED_OUT, TestRun
from nano_codex_env.scoring.run import Scorer
from nano_codex_env.scoring.verdict import TESTS_FAILED, lacking, score_of, single_pass, verdict
from nano_codex_env.tasks.task import Task

REMOVED = {
    "warm": "runs start cold; leave it out",
    "siblings": "nothing takes its place; leave it out",
    "repeats": "mutant_runs",
    "processes": "tests and code share a process; leave it out",
}
"""Arguments of earlier versions, and what takes their place."""


class Resolved:
    """1.0 if every FAIL_TO_PASS test passes and every PASS_TO_PASS test still does, else 0.0.

    Each run is a fresh box over the base, the source edits of the patch and the hidden tests. `integrity="fast"` is one
    run. With `"strict"` a patch that passes that run must then fail mutants: `mutant_runs` further runs of the
    FAIL_TO_PASS tests and a random share of PASS_TO_PASS, in each of which some tests expect something else. Tests and
    code share a process; what a forger can still win by guessing is written in the README with its odds.

    A failure is checked against the reference patch before it counts: a run that breaks off with the reference patch
    too, or a test that does not pass with it, is a failure of ours and raises.

    `Score.parts`: `resolved`, `fail_to_pass`, `pass_to_pass` (shares), `dropped` (paths that did not reach the tests),
    `failed` (test ids), `reason`, `integrity` (what a forger triggers; each entry begins with `reports:`, `canary:` or
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
            chance: what draws the mutant runs; default: the system's randomness.
            **removed: arguments of earlier versions, refused with what to do.

        Raises:
            ConfigError: an argument cannot be used.
        """
        _check(integrity, mutant_runs, removed)
        whole = 3 * timeout if score_timeout is None else score_timeout
        for name, seconds in (("timeout", timeout), ("score_timeout", whole)):
            if not (isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds < math.inf):
                raise ConfigError(f"{name} is a number of seconds above 0; got {seconds!r}")
        self._scorer = Scorer(get_sandbox(sandbox, cache=cache), cache_dir(cache), timeout, allow_builds)
        self._strict, self._runs, self._score_timeout = integrity == "strict", mutant_runs, whole
        self._chance = chance
        self._controls: dict[str, TestRun] = {}
        self._protections: dict[str, Protection] = {}
        self._failed_at_base: dict[str, tuple[str, ...]] = {}

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        """See `Reward`. The transcript is not read.

        Raises:
            TaskError: the task has no tests.
            RewardError: the score could not be computed; `BrokenTaskError`: no patch can solve the task here.
        """
        if not task.has_tests:
            raise TaskError(f"{task.instance_id} has no FAIL_TO_PASS tests; give another reward, or tasks with tests")
        base, _ = base_tree(task.repo, task.base_commit, self._scorer.cache)
        try:  # first the row's own: what is wrong with that is no fault of the patch
            hidden_files(task, base)
            self._scorer.source(task, task.patch)
        except (ValueError, OSError) as error:
            if isinstance(error, NanoCodexError):
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
        """What mutant runs of a task are made of; made by one thread while others wait."""
        key = key_of(task)
        with _one_at_a_time(f"protection {key}"):
            if key not in self._protections:
                self._protections[key] = protection_of(task, self._scorer)
            return self._protections[key]

    def control(self, task: Task, timeout: float) -> Control:
        """All tests with the reference patch (the empty one, where there is none), kept while they pass."""
        key, known = key_of(task), known_protection(task, self._scorer.cache)
        flaky = frozenset(known.flaky if known else ())
        with _one_at_a_time(f"control {key}"):
            run = self._controls.get(key)
            if run is None:
                wanted = [*task.FAIL_TO_PASS, *task.PASS_TO_PASS]
                source = self._scorer.source(task, task.patch)[0]
                run = self._scorer.run_tests(task, source, wanted, timeout=timeout)
                passing = task.FAIL_TO_PASS if task.patch else ()
                if not run.reason and all(run.status(test) == PASSED for test in passing):
                    self._controls[key] = run
        return Control(run, flaky)


_locks: dict[str, threading.Lock] = {}
os.register_at_fork(after_in_child=_locks.clear)


def _one_at_a_time(name: str) -> threading.Lock:
    """A lock by name: eight equal answers of a group need a task's control run once, not eight times."""
    return _locks.setdefault(name, threading.Lock())


def _check(integrity: str, mutant_runs: int, removed: Mapping[str, object]) -> None:
    for name in removed:
        hint = f"it was removed; instead: {REMOVED[name]}" if name in REMOVED else "there is no such argument"
        raise ConfigError(f"Resolved({name}=...): {hint}")
    if integrity not in ("strict", "fast"):
        raise ConfigError(f"integrity is one of strict, fast; got {integrity!r}")
    if isinstance(mutant_runs, bool) or not isinstance(mutant_runs, int) or not 2 <= mutant_runs <= 20:
        raise ConfigError(f"mutant_runs is a whole number from 2 to 20; got {mutant_runs!r}")


class _Trial:
    """One patch on its way through the runs."""

    def __init__(self, judge: Resolved, task: Task, patch: str, dropped: list[str]) -> None:
        self._judge, self._task, self._patch, self._dropped = judge, task, patch, dropped
        self._scorer, self._key = judge._scorer, key_of(task)
        self._expected = self._spent = 0.0
        self._runs_done = 0
        self._control = Control()
        self._protection: Protection | None = None
        self._chance = judge._chance or secrets.SystemRandom()
        self._rounds: list[Round] = []

    def score(self) -> Score:
        """Run what a verdict needs, and no more."""
        task, known = self._task, known_protection(self._task, self._scorer.cache)
        control = self._judge._controls.get(self._key)
        self._expected = known.seconds if known else control.seconds if control else 0.0
        failed = known.failed_at_base if known else self._judge._failed_at_base.get(self._key, ())
        if not self._patch.strip() and failed:
            return score_of(task, failed, TESTS_FAILED, dropped=self._dropped)  # as a run would show
        self._play(Draw((*task.FAIL_TO_PASS, *task.PASS_TO_PASS), ()))
        first = self._verdict()
        if first.value == 0.0 and not self._patch.strip() and not self._rounds[0].run.reason:
            run = self._rounds[0].run
            self._judge._failed_at_base[self._key] = tuple(t for t in self._rounds[0].tests if not passes(task, t, run))
        if first.value == 0.0 or not self._judge._strict:
            return first if first.value == 0.0 else replace(first, parts={**first.parts, **self._all_unprotected()})
        protection = self._judge.protection(task)
        self._expected = protection.seconds
        self._control = replace(self._control, flaky=frozenset(protection.flaky))
        self._protection = protection
        for draw in protection.draw(task, self._judge._runs, self._chance):
            self._play(draw)
            score = self._verdict(protection.unprotected(task))
            if score.value == 0.0:
                return score
        if single_pass(task, self._rounds, self._control):
            for _ in range(1 if len(protection.mutants) > 1 else 3):  # where one function is all, a coin would do
                self._try_others(protection)
                if self._verdict().value == 0.0:
                    break
        return self._verdict(protection.unprotected(task))

    def _all_unprotected(self) -> dict[str, Any]:
        return {"unprotected": list(self._task.FAIL_TO_PASS)}

    def _verdict(self, unprotected: Sequence[str] = ()) -> Score:
        return verdict(self._task, self._rounds, self._control, dropped=self._dropped, unprotected=unprotected)

    def _try_others(self, protection: Protection) -> None:
        """One mutant passed: a run like the others, with other mutants of these functions, decides."""
        passed = single_pass(self._task, self._rounds, self._control)
        others = {name: mutants[1] for name, mutants in protection.mutants.items() if len(mutants) > 1}
        draw = self._chance.choice(protection.draw(self._task, self._judge._runs, self._chance))
        functions = {mutant.function for mutant in draw.mutants} | ({passed.function} if passed else set())
        mutants = tuple(mutant for name, mutant in others.items() if name in functions)
        self._play(Draw(draw.tests, mutants))

    def _play(self, draw: Draw) -> None:
        """Run one set of tests, then what `lacking` names until a verdict on it is possible."""
        self._rounds.append(Round(draw.tests, self._run(draw, self._patch), draw.mutants))
        while need := lacking(self._task, self._rounds, self._control):
            one = self._rounds[-1]
            if need == "control":
                self._control = self._judge.control(self._task, self._longest())
            elif need == "repeat":
                self._rounds[-1] = replace(one, repeat=self._run(draw, self._patch))
            elif need == "alone":
                self._rounds[-1] = replace(one, alone=(*one.alone, self._alone(one)))
            else:
                self._rounds[-1] = replace(one, reference=self._reference(draw))

    def _alone(self, one: Round) -> Alone:
        """A function that failed unmodified, by itself: as it is, and with its mutant, in a random order."""
        function = unexplained(self._task, one, self._control)[0]
        tests = tuple(test for test in one.tests if function_of(test) == function)
        known = self._protection.mutants.get(function, ()) if self._protection else ()
        draws = [Draw(tests, ()), *(Draw(mutant.tests, (mutant,)) for mutant in known[:1])]
        order = self._chance.sample(range(len(draws)), len(draws))
        runs = {number: self._run(draws[number], self._patch) for number in order}
        return Alone(function, runs[0], known[0] if known else None, runs.get(1))

    def _run(self, draw: Draw, patch: str) -> TestRun:
        """A run of the patch, in what is left of its time.

        Raises:
            RewardError: the time is over, and the patch is hardly slower than the reference patch.
        """
        left = self._judge._score_timeout - self._longest() - self._spent
        if left <= 0 and self._spent < (1.5 * self._expected + 10.0) * self._runs_done:
            raise RewardError(
                f"{self._task.instance_id}: no verdict within score_timeout ({self._judge._score_timeout:g} seconds) "
                f"after {self._runs_done} runs; one of the reference patch takes {self._expected:.0f} seconds: raise it"
            )
        if left <= 0:
            return TestRun(reason=TIMED_OUT)
        started = time.monotonic()
        limit = min(self._longest(), left)
        run = self._scorer.run_tests(self._task, patch, draw.tests, mutants=draw.mutants, timeout=limit)
        self._spent += time.monotonic() - started
        self._runs_done += 1
        return run

    def _reference(self, draw: Draw) -> TestRun:
        """The same set with the reference patch, whatever time the patch has used up."""
        source = self._scorer.source(self._task, self._task.patch)[0]
        return self._scorer.run_tests(self._task, source, draw.tests, mutants=draw.mutants, timeout=self._longest())

    def _longest(self) -> float:
        """Seconds that one run may take."""
        most = min(self._scorer.timeout, self._judge._score_timeout / 2)
        return min(most, 30.0 + 10.0 * self._expected) if self._expected else most
