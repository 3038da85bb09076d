"""The verdict: a pure function of facts, which runs no box.

`lacking` says which fact a verdict needs next, `verdict` gives the score. A mutant run contradicts a patch where an
unmodified test fails or a mutated one passes. A contradiction counts if a second run of the same set shows it too and
the reference patch, run now, does not. A test that failed unmodified is cleared if it passes among other mutants, all
of which fail: then a mutated test has left its state to it, as one does whose last lines tidy up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nano_codex_env.errors import BrokenTaskError, RewardError
from nano_codex_env.score import Score
from nano_codex_env.scoring.mutants import Mutant, function_of
from nano_codex_env.scoring.reports import (
    FLOODED,
    MISSING,
    NOT_APPLIED,
    PASSED,
    SKIPPED,
    TAMPERED,
    TIMED_OUT,
    XFAILED,
    XPASSED,
    TestRun,
)
from nano_codex_env.task import Task

LISTED = 20
REDRAWS = 3
"""Runs among other mutants that may clear a test which failed unmodified."""
TESTS_FAILED = "tests failed"
_SET_ASIDE = (SKIPPED, XFAILED, XPASSED)
"""Statuses that are good enough for a PASS_TO_PASS test whose control run has the same."""


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
    redraws: tuple[tuple[tuple[Mutant, ...], TestRun], ...] = ()
    """The same tests among other mutants, with the patch: a mutated test may have left its state to those behind it."""


@dataclass(frozen=True)
class Control:
    """What holds without the patch: all tests with the reference patch (the empty one, where a task has none)."""

    run: TestRun | None = None
    """None: not run yet."""
    flaky: frozenset[str] = field(default_factory=frozenset)
    """Tests that do not always pass with the reference patch."""


def lacking(task: Task, rounds: Sequence[Round], control: Control) -> str:
    """The fact that a verdict needs: `control`, or of the last round `repeat`, `reference`, `redraw`; or none, ""."""
    last, is_first = rounds[-1], len(rounds) == 1
    if last.run.reason == NOT_APPLIED:
        return ""
    if control.run is None and any(
        last.run.status(test) in (*_SET_ASIDE, *([MISSING, "failed"] if is_first and not last.run.reason else []))
        for test in last.tests
    ):
        return "control"
    if is_first:
        return "reference" if last.run.reason and last.reference is None else ""
    if not _contradictions(task, last, last.run, control):
        return ""
    if last.repeat is None:
        return "repeat"
    if not _repeated(task, last, control):
        return ""
    if last.reference is None:
        return "reference"
    if last.reference.reason or len(last.redraws) == REDRAWS:
        return ""
    return "redraw" if set(_confirmed(task, last, control)) - _must_fail(last.mutants) else ""


def verdict(
    task: Task,
    rounds: Sequence[Round],
    control: Control,
    *,
    dropped: Sequence[str] = (),
    unprotected: Sequence[str] = (),
) -> Score:
    """The score of a patch from what its runs showed; the first round is the unmodified run of all tests.

    Args:
        task: whose FAIL_TO_PASS and PASS_TO_PASS are judged.
        rounds: the unmodified run, then the mutant runs.
        control: see `Control`.
        dropped: paths of the patch that never reached the tests; kept in the parts.
        unprotected: FAIL_TO_PASS tests without a mutant; kept in the parts.

    Raises:
        RewardError: a failure of ours: a run broke off, and does so with the reference patch too.
        BrokenTaskError: a test fails that does not pass with the reference patch either.
    """
    first = rounds[0]
    wanted = [*task.FAIL_TO_PASS, *task.PASS_TO_PASS]
    _raise_if_ours(task, first)
    failed = {test: None for test in wanted if not _holds(task, test, first.run.status(test), control)}
    reason, flags = first.run.reason, _flags(first.run.reason)
    if failed and not reason:
        raise_if_broken(task, list(failed), control)
    passing: dict[Mutant, None] = {}
    for one in rounds[1:]:
        contradictions = _confirmed(task, one, control)
        mutated = {test: mutant for mutant in one.mutants for test in mutant.tests}
        bad = [test for test in contradictions if test not in mutated]
        if bad:
            failed |= dict.fromkeys(bad)
            why = (one.repeat or one.run).reason
            if why not in (TIMED_OUT, FLOODED):
                flags += _flags(why) or [f"mutants: passed at first, failed among mutants: {', '.join(bad[:3])}"]
            reason = reason or why
        passing |= {mutated[test]: None for test in contradictions if test in mutated}
    if passing:
        names = list(dict.fromkeys(mutant.function for mutant in passing))
        flags.append(f"mutants: {len(passing)} passed that must fail: {', '.join(names[:3])}")
    if len(passing) > 1:
        failed |= {test: None for mutant in passing for test in mutant.tests}
    reason = reason or (TESTS_FAILED if failed else "")
    return score_of(task, list(failed), reason, flags, dropped=dropped, unprotected=unprotected)


def score_of(
    task: Task,
    failed: Sequence[str],
    reason: str,
    flags: Sequence[str] = (),
    *,
    dropped: Sequence[str] = (),
    unprotected: Sequence[str] = (),
) -> Score:
    """The score where the tests `failed` count as failed."""
    bad = set(failed)
    parts: dict[str, Any] = {"resolved": float(not bad)}
    for name in ("FAIL_TO_PASS", "PASS_TO_PASS"):
        tests = getattr(task, name)
        parts[name.lower()] = sum(test not in bad for test in tests) / len(tests) if tests else 1.0
    ordered = [test for test in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS) if test in bad]
    parts |= {"dropped": list(dropped), "failed": ordered[:LISTED], "reason": reason, "integrity": list(flags)}
    return Score(parts["resolved"], parts | {"unprotected": list(unprotected)})


def single_pass(task: Task, rounds: Sequence[Round], control: Control) -> Mutant | None:
    """The mutant that passed, if exactly one did: another mutant of its function can decide."""
    found = {
        mutant
        for one in rounds[1:]
        for test in _confirmed(task, one, control)
        for mutant in one.mutants
        if test in mutant.tests
    }
    return found.pop() if len(found) == 1 else None


def _raise_if_ours(task: Task, one: Round) -> None:
    if one.run.reason and one.run.reason != NOT_APPLIED and one.reference is not None and one.reference.reason:
        raise RewardError(
            f"{task.instance_id}: {one.run.reason}; with the reference patch too ({one.reference.reason}), so the "
            f"environment is at fault: {one.reference.output.strip()[-1500:]}"
        )


def raise_if_broken(task: Task, failed: Sequence[str], control: Control) -> None:
    """Raise if a test that failed fails with the reference patch as well: it tells nothing of this patch.

    Raises:
        RewardError: the control run broke off.
        BrokenTaskError: names the tests, and the nearest ids of those that were not found.
    """
    if control.run is None:
        return
    environment = dict(task.environment) or "none given"
    if control.run.reason:
        raise RewardError(
            f"{task.instance_id}: its tests do not run here, not even with the reference patch "
            f"({control.run.reason}); look at its environment ({environment})\n{control.run.output.strip()[-1500:]}"
        )
    judged = [test for test in failed if task.patch or test in task.PASS_TO_PASS]
    broken = [test for test in judged if test not in control.flaky and not passes(task, test, control.run)]
    if not broken:
        return
    control_name, verb = "the reference patch" if task.patch else "no patch", "does" if len(broken) == 1 else "do"
    lines = []
    for test in broken[:5]:
        near = control.run.nearest.get(test, ())
        hint = f"; not found, the nearest are {', '.join(near)}" if near else ""
        lines.append(f"{test} ({control.run.status(test)}{hint})")
    raise BrokenTaskError(
        f"{task.instance_id} cannot be solved here: {len(broken)} of its tests {verb} not pass with {control_name}: "
        f"{'; '.join(lines)}. Its tests do not run here as the task says; look at the ids and at its environment "
        f"({environment})\n{control.run.output.strip()[-1500:]}"
    )


def passes(task: Task, test: str, run: TestRun) -> bool:
    """Whether a control run shows a test as it should be: a PASS_TO_PASS test may be skipped or expected to fail."""
    status = run.status(test)
    return status == PASSED or (status in _SET_ASIDE and test not in task.FAIL_TO_PASS)


def _holds(task: Task, test: str, status: str, control: Control) -> bool:
    """Whether a status is good enough: a pass, or what a PASS_TO_PASS test has in the control run as well."""
    if status == PASSED:
        return True
    if status not in _SET_ASIDE or test in task.FAIL_TO_PASS or control.run is None:
        return False
    return control.run.status(test) == status


def _contradictions(task: Task, one: Round, run: TestRun, control: Control) -> list[str]:
    """Unmodified tests of a mutant run that do not hold, and mutated ones that pass."""
    functions, must_fail = {mutant.function for mutant in one.mutants}, _must_fail(one.mutants)
    bad = []
    for test in one.tests:
        if test in must_fail:
            if run.status(test) == PASSED:
                bad.append(test)
        elif function_of(test) in functions or test in control.flaky:
            continue
        elif not _holds(task, test, run.status(test), control):
            bad.append(test)
    return bad


def _repeated(task: Task, one: Round, control: Control) -> list[str]:
    if one.repeat is None:
        return []
    again = set(_contradictions(task, one, one.repeat, control))
    return [test for test in _contradictions(task, one, one.run, control) if test in again]


def _confirmed(task: Task, one: Round, control: Control) -> list[str]:
    """Contradictions that count.

    Raises:
        RewardError: the reference patch's own run broke off.
    """
    repeated = _repeated(task, one, control)
    if not repeated or one.reference is None:
        return []
    if one.reference.reason:
        raise RewardError(
            f"{task.instance_id}: a mutant run of the reference patch broke off ({one.reference.reason}): "
            f"{one.reference.output.strip()[-1500:]}"
        )
    excused = set(_contradictions(task, one, one.reference, control)) | _cleared(task, one, control)
    return [test for test in repeated if test not in excused]


def _cleared(task: Task, one: Round, control: Control) -> set[str]:
    """Tests that failed unmodified, and pass among other mutants, all of which fail."""
    found: set[str] = set()
    must_fail = _must_fail(one.mutants)
    for mutants, run in one.redraws:
        again = _contradictions(task, replace(one, mutants=mutants), run, control)
        if not run.reason and _must_fail(mutants).isdisjoint(again):
            found |= set(one.tests) - set(again) - _must_fail(mutants) - must_fail
    return found


def _must_fail(mutants: Sequence[Mutant]) -> set[str]:
    return {test for mutant in mutants for test in mutant.tests}


def _flags(reason: str) -> list[str]:
    """What a run that does not count shows of who did it."""
    if reason == TAMPERED:
        return [f"canary: {reason}"]
    if not reason or reason in (TIMED_OUT, FLOODED) or "patch" in reason:
        return []
    return [f"reports: {reason}"]
