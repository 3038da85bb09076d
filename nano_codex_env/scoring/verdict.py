"""The verdict: a pure function of the facts that runs of the tests showed.

`missing_fact` names the run that a verdict needs next, `verdict` gives the score. A mutant run contradicts a patch
where an unmodified test fails or a mutated one passes. A contradiction counts if a second run of the same set confirms
it and the reference patch, run now, does not show it; one round of a score may be a flake. A function that failed
unmodified is cleared if it passes in isolation and fails there with its mutant: a mutated test that stops before its
own clean-up leaves state to the tests after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nano_codex_env.errors import BrokenTaskError, RewardError
from nano_codex_env.score import Score
from nano_codex_env.scoring.facts import (
    FAILED,
    FLOODED,
    MISSING,
    NOT_APPLIED,
    PASSED,
    SKIPPED,
    TAMPERED,
    TIMED_OUT,
    XFAILED,
    XPASSED,
    Control,
    Round,
    TestRun,
)
from nano_codex_env.scoring.mutants import Mutant, function_of
from nano_codex_env.tasks.task import Task

MAX_ISOLATED = 3
"""Functions of a round that isolated runs may clear; if more failed unmodified, no function is cleared."""
TESTS_FAILED = "tests failed"
_TOLERATED = (SKIPPED, XFAILED, XPASSED)
"""Statuses that are acceptable for a PASS_TO_PASS test whose control run has the same."""
_MAX_TEXT = 2000
"""Characters of the longest text in a score's parts."""
_MAX_LISTED = 20


def missing_fact(task: Task, rounds: Sequence[Round], control: Control) -> str:
    """The run that a verdict needs next: `control`, or for the last round `repeat`, `reference`, `isolated`, or ""."""
    last = rounds[-1]
    if len(rounds) == 1:
        if last.run.reason == NOT_APPLIED:
            return ""
        unclear = _TOLERATED if last.run.reason else (*_TOLERATED, MISSING, FAILED)
        if control.run is None and (last.run.foreign or any(last.run.status(test) in unclear for test in last.tests)):
            return "control"
        return "reference" if last.run.reason and last.reference is None else ""
    if control.run is None and any(last.run.status(test) in _TOLERATED for test in last.tests):
        return "control"
    if not _contradictions(task, last, last.run, control):
        return ""
    if last.repeat is None:
        return "repeat"
    if is_flake(task, last, control) and not any(is_flake(task, one, control) for one in rounds[1:-1]):
        return ""
    if last.reference is None:
        return "reference"
    return "isolated" if functions_to_isolate(task, last, control) else ""


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
        dropped: paths of the patch that did not reach the tests, for the parts.
        unprotected: FAIL_TO_PASS tests without a mutant, for the parts.

    Raises:
        RewardError: a run broke off, with the reference patch too.
        BrokenTaskError: a test fails that does not pass with the reference patch either.
    """
    first = rounds[0]
    _raise_if_ours(task, first, control)
    wanted = (*task.FAIL_TO_PASS, *task.PASS_TO_PASS)
    failed = {test for test in wanted if not _is_acceptable(task, test, first.run, control)}
    reason, flags = first.run.reason, _flags(first.run.reason)
    if failed and not reason:
        raise_if_broken(task, [test for test in wanted if test in failed], control)
    passing: dict[Mutant, None] = {}
    flake = next((one for one in rounds[1:] if is_flake(task, one, control)), None)
    for one in rounds[1:]:
        found = [] if one is flake else _confirmed_contradictions(task, one, control)
        mutated = one.mutated_tests
        bad = [test for test in found if test not in mutated]
        if bad:
            failed.update(bad)
            why = (one.repeat.reason if one.repeat else "") or one.run.reason
            if why not in (TIMED_OUT, FLOODED) and "patch" not in why:
                flags += _flags(why) or [f"mutants: passed at first, failed among mutants: {', '.join(bad[:3])}"]
            reason = reason or why
        passing |= {mutated[test]: None for test in found if test in mutated}
    if passing:
        names = list(dict.fromkeys(mutant.function for mutant in passing))
        flags.append(f"mutants: {len(passing)} passed that must fail: {', '.join(names[:3])}")
    if len(passing) > 1:
        failed.update(test for mutant in passing for test in mutant.tests)
    reason = reason or ("; ".join(filter(None, (TESTS_FAILED, first.run.memory))) if failed else "")
    return score_of(task, failed, reason, flags, dropped=dropped, unprotected=unprotected)


def score_of(
    task: Task,
    failed: Iterable[str],
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
    lists = {
        "dropped": dropped[: 10 * _MAX_LISTED],
        "failed": [test for test in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS) if test in bad][:_MAX_LISTED],
        "integrity": flags,
        "unprotected": unprotected,
    }
    parts |= {name: [_bounded(text) for text in texts] for name, texts in lists.items()}
    return Score(parts["resolved"], parts | {"reason": _bounded(reason)})


def single_pass(task: Task, rounds: Sequence[Round], control: Control) -> Mutant | None:
    """The mutant that passed, if exactly one did: another mutant of its function can decide."""
    found = {
        one.mutated_tests[test]
        for one in rounds[1:]
        for test in _confirmed_contradictions(task, one, control)
        if test in one.mutated_tests
    }
    return found.pop() if len(found) == 1 else None


def functions_to_isolate(task: Task, one: Round, control: Control) -> list[str]:
    """Functions that failed unmodified among mutants and need isolated runs; empty if there are too many."""
    if not one.mutants or one.reference is None or one.reference.reason:
        return []
    bad = [test for test in _confirmed_contradictions(task, one, control) if test not in one.mutated_tests]
    done = {isolated.function for isolated in one.isolated}
    left = [function for function in dict.fromkeys(map(function_of, bad)) if function not in done]
    return left if len(left) + len(done) <= MAX_ISOLATED else []


def is_flake(task: Task, one: Round, control: Control) -> bool:
    """Whether a round's contradictions may be chance: no unmodified test failed in both of its runs.

    A run that broke off is a flake if the second run contradicts nothing; a mutated test that passed never is.
    """
    if one.repeat is None or one.repeat.reason:
        return False
    found, again = (_contradictions(task, one, run, control) for run in (one.run, one.repeat))
    if one.run.reason:
        return not again
    return bool(found) and found.isdisjoint(again) and (found | again).isdisjoint(one.mutated_tests)


def _confirmed_contradictions(task: Task, one: Round, control: Control) -> list[str]:
    """Contradictions of a round that count, unless `is_flake` explains them.

    Raises:
        RewardError: the reference patch's own run broke off.
    """
    found = _contradictions(task, one, one.run, control)
    if not found or one.repeat is None or one.reference is None:
        return []
    if one.reference.reason:
        raise RewardError(
            f"{task.instance_id}: a mutant run of the reference patch broke off ({one.reference.reason}): "
            f"{one.reference.output.strip()[-1500:]}"
        )
    again = _contradictions(task, one, one.repeat, control)
    counted = found & again
    if one.run.reason or not counted or not (found | again).isdisjoint(one.mutated_tests):
        counted = found | again  # a patch that decides by chance fails other tests each time
    counted -= _contradictions(task, one, one.reference, control) | _cleared(task, one, control)
    return [test for test in one.tests if test in counted]


def _contradictions(task: Task, one: Round, run: TestRun, control: Control) -> set[str]:
    """Unmodified tests of a mutant run that are not acceptable, and mutated ones that pass."""
    mutated, ignored = one.mutated_tests, {mutant.function for mutant in one.mutants}
    bad = set()
    for test in one.tests:
        if test in mutated:
            contradicts = run.status(test) == PASSED
        elif function_of(test) in ignored or test in control.flaky:
            contradicts = False
        else:
            contradicts = not _is_acceptable(task, test, run, control)
        if contradicts:
            bad.add(test)
    return bad


def _cleared(task: Task, one: Round, control: Control) -> set[str]:
    """Tests that failed unmodified among mutants and are acceptable in isolation, where their own mutant fails too."""
    found: set[str] = set()
    for isolated in one.isolated:
        mutated = isolated.mutated
        judged = isolated.mutant.tests if isolated.mutant else ()
        if mutated and (mutated.reason or any(mutated.status(test) == PASSED for test in judged)):
            continue
        own = [test for test in one.tests if function_of(test) == isolated.function]
        found |= {test for test in own if _is_acceptable(task, test, isolated.unmodified, control)}
    return found.difference(one.mutated_tests)


def _is_acceptable(task: Task, test: str, run: TestRun, control: Control) -> bool:
    """Whether a test passes, or is a PASS_TO_PASS test with the same tolerated status in the control run."""
    status = run.status(test)
    if status not in _TOLERATED or test in task.FAIL_TO_PASS or control.run is None:
        return status == PASSED
    return control.run.status(test) == status


def passes_in_control(task: Task, test: str, run: TestRun) -> bool:
    """Whether a test of a control run is as it should be: a PASS_TO_PASS test may be skipped or expected to fail."""
    status = run.status(test)
    return status == PASSED or (status in _TOLERATED and test not in task.FAIL_TO_PASS)


def _raise_if_ours(task: Task, one: Round, control: Control) -> None:
    if one.run.reason and one.run.reason != NOT_APPLIED and one.reference is not None and one.reference.reason:
        raise RewardError(
            f"{task.instance_id}: {one.run.reason}; with the reference patch too ({one.reference.reason}), so the "
            f"environment is at fault: {one.reference.output.strip()[-1500:]}"
        )
    if one.run.foreign and control.run is not None and control.run.foreign:
        raise RewardError(
            f"{task.instance_id}: an installed copy of the task's own package was tested in its place, with the "
            f"reference patch too: {', '.join(control.run.foreign[:3])}; look at its environment "
            f"({dict(task.environment)})"
        )


def raise_if_broken(task: Task, failed: Sequence[str], control: Control) -> None:
    """Raise if a test that failed also fails with the reference patch, and so says nothing about this patch.

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
    broken = [test for test in judged if test not in control.flaky and not passes_in_control(task, test, control.run)]
    if not broken:
        return
    lines = []
    for test in broken[:5]:
        near = control.run.nearest.get(test, ())
        hint = f"; not found, the nearest are {', '.join(near)}" if near else ""
        lines.append(f"{test} ({control.run.status(test)}{hint})")
    raise BrokenTaskError(
        f"{task.instance_id} cannot be solved here: {len(broken)} of its tests {'does' if len(broken) == 1 else 'do'} "
        f"not pass with {'the reference patch' if task.patch else 'no patch'}: {'; '.join(lines)}. Its tests do not "
        f"run here as the task says; look at the ids and at its environment ({environment})\n"
        f"{control.run.output.strip()[-1500:]}"
    )


def _bounded(text: str) -> str:
    """A text cut to a length that every row and table of a run can hold."""
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]} [... {len(text) - _MAX_TEXT} characters]"


def _flags(reason: str) -> list[str]:
    """The integrity flag of a run that does not count; no flag if it was too slow or loud or did not apply."""
    if reason == TAMPERED:
        return [f"canary: {reason}"]
    if not reason or reason in (TIMED_OUT, FLOODED) or "patch" in reason:
        return []
    return [f"reports: {reason}"]
