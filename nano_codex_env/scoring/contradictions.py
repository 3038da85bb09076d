"""Facts about a patch, and what contradicts it among mutants; see `verdict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nano_codex_env.errors import RewardError
from nano_codex_env.scoring.mutants import Mutant, function_of
from nano_codex_env.scoring.reports import PASSED, SKIPPED, XFAILED, XPASSED, TestRun
from nano_codex_env.tasks.task import Task

MOST_ALONE = 3
"""Functions that may fail unmodified in a mutant run and be cleared by runs of their own; more are never cleared."""
SET_ASIDE = (SKIPPED, XFAILED, XPASSED)
"""Statuses that are good enough for a PASS_TO_PASS test whose control run has the same."""


@dataclass(frozen=True)
class Alone:
    """One function by itself with the patch, so that no other test can have left it anything."""

    function: str
    unmodified: TestRun
    mutant: Mutant | None = None
    mutated: TestRun | None = None
    """A second run, with its mutant; None: it has none."""


@dataclass(frozen=True)
class Round:
    """One set of tests, run with the patch, and what was run to check what it showed."""

    tests: tuple[str, ...]
    run: TestRun
    mutants: tuple[Mutant, ...] = ()
    """At most one for a function; none in the first round."""
    repeat: TestRun | None = None
    """The same set with the patch once more."""
    reference: TestRun | None = None
    """The same set with the reference patch, run after it."""
    alone: tuple[Alone, ...] = ()
    """Functions that failed unmodified, by themselves: a mutated test may have left its state to those behind it."""


@dataclass(frozen=True)
class Control:
    """What holds without the patch: all tests with the reference patch (the empty one, where a task has none)."""

    run: TestRun | None = None
    """None: not run yet."""
    flaky: frozenset[str] = field(default_factory=frozenset)
    """Tests that do not always pass with the reference patch."""


def unexplained(task: Task, one: Round, control: Control) -> list[str]:
    """Functions that failed unmodified among mutants and are to be run by themselves; none where it is too many."""
    if not one.mutants or one.reference is None or one.reference.reason:
        return []
    bad = [test for test in confirmed(task, one, control) if test not in must_fail(one.mutants)]
    left = list(dict.fromkeys(map(function_of, bad)))
    done = {alone.function for alone in one.alone}
    return [function for function in left if function not in done] if len({*left, *done}) <= MOST_ALONE else []


def passes(task: Task, test: str, run: TestRun) -> bool:
    """Whether a control run shows a test as it should be: a PASS_TO_PASS test may be skipped or expected to fail."""
    status = run.status(test)
    return status == PASSED or (status in SET_ASIDE and test not in task.FAIL_TO_PASS)


def holds(task: Task, test: str, status: str, control: Control) -> bool:
    """Whether a status is good enough: a pass, or what a PASS_TO_PASS test has in the control run as well."""
    if status == PASSED:
        return True
    if status not in SET_ASIDE or test in task.FAIL_TO_PASS or control.run is None:
        return False
    return control.run.status(test) == status


def contradictions(task: Task, one: Round, run: TestRun, control: Control) -> list[str]:
    """Unmodified tests of a mutant run that do not hold, and mutated ones that pass."""
    functions, mutated = {mutant.function for mutant in one.mutants}, must_fail(one.mutants)
    bad = []
    for test in one.tests:
        if test in mutated:
            if run.status(test) == PASSED:
                bad.append(test)
        elif function_of(test) in functions or test in control.flaky:
            continue
        elif not holds(task, test, run.status(test), control):
            bad.append(test)
    return bad


def is_flake(task: Task, one: Round, control: Control) -> bool:
    """Whether a round's contradictions may be chance: unmodified tests failed in one of its runs, or others in each.

    A run that broke off may be, if the second run contradicts nothing; a mutated test that passed is none.
    """
    if one.repeat is None or one.repeat.reason:
        return False
    found, again = (set(contradictions(task, one, run, control)) for run in (one.run, one.repeat))
    if one.run.reason:
        return not again
    return bool(found) and (found | again).isdisjoint(must_fail(one.mutants)) and found.isdisjoint(again)


def confirmed(task: Task, one: Round, control: Control) -> list[str]:
    """Contradictions of a round that count; which of them a flake explains is the caller's to ask first.

    Raises:
        RewardError: the reference patch's own run broke off.
    """
    if one.repeat is None or one.reference is None or not contradictions(task, one, one.run, control):
        return []
    if one.reference.reason:
        raise RewardError(
            f"{task.instance_id}: a mutant run of the reference patch broke off ({one.reference.reason}): "
            f"{one.reference.output.strip()[-1500:]}"
        )
    found, again = (set(contradictions(task, one, run, control)) for run in (one.run, one.repeat))
    both = found & again
    if one.run.reason or not (found | again).isdisjoint(must_fail(one.mutants)) or not both:
        both = found | again  # now this, now that: whoever tosses a coin for each run
    excused = set(contradictions(task, one, one.reference, control)) | _cleared(task, one, control)
    return [test for test in one.tests if test in both and test not in excused]


def _cleared(task: Task, one: Round, control: Control) -> set[str]:
    """Tests that failed unmodified among mutants, and hold by themselves, where their own mutant fails too."""
    found: set[str] = set()
    for alone in one.alone:
        own = [test for test in one.tests if function_of(test) == alone.function]
        mutated = [alone.mutated.status(test) for test in alone.mutant.tests] if alone.mutant and alone.mutated else []
        if PASSED not in mutated and not (alone.mutated and alone.mutated.reason):
            found |= {test for test in own if holds(task, test, alone.unmodified.status(test), control)}
    return found - must_fail(one.mutants)


def must_fail(mutants: Sequence[Mutant]) -> set[str]:
    """The ids by which mutants are judged."""
    return {test for mutant in mutants for test in mutant.tests}
