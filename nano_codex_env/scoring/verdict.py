"""The verdict: a pure function of facts, which runs no box.

`lacking` says which fact a verdict needs next, `verdict` gives the score. A mutant run contradicts a patch where an
unmodified test fails or a mutated one passes. It counts if a second run of the same set contradicts it too and the
reference patch, run now, does not; one round of a score may be a flake. A function that failed unmodified is cleared
if it passes by itself, and fails by itself with its mutant: then a mutated test has left its state to it, as one does
whose last lines tidy up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nano_codex_env.errors import BrokenTaskError, RewardError
from nano_codex_env.score import Score
from nano_codex_env.scoring.contradictions import (
    SET_ASIDE,
    Control,
    Round,
    confirmed,
    contradictions,
    holds,
    is_flake,
    passes,
    unexplained,
)
from nano_codex_env.scoring.mutants import Mutant
from nano_codex_env.scoring.reports import FLOODED, MISSING, NOT_APPLIED, TAMPERED, TIMED_OUT
from nano_codex_env.tasks.task import Task

_LONGEST = 2000
"""Characters of the longest text in a score's parts."""

LISTED = 20
TESTS_FAILED = "tests failed"


def lacking(task: Task, rounds: Sequence[Round], control: Control) -> str:
    """The fact that a verdict needs: `control`, or of the last round `repeat`, `reference`, `alone`; or none, ""."""
    last, is_first = rounds[-1], len(rounds) == 1
    if is_first and last.run.reason == NOT_APPLIED:
        return ""
    if control.run is None and any(
        last.run.status(test) in (*SET_ASIDE, *([MISSING, "failed"] if is_first and not last.run.reason else []))
        for test in last.tests
    ):
        return "control"
    if is_first and last.run.foreign and control.run is None:
        return "control"
    if is_first:
        return "reference" if last.run.reason and last.reference is None else ""
    if not contradictions(task, last, last.run, control):
        return ""
    if last.repeat is None:
        return "repeat"
    if is_flake(task, last, control) and not any(is_flake(task, one, control) for one in rounds[1:-1]):
        return ""
    if last.reference is None:
        return "reference"
    return "alone" if unexplained(task, last, control) else ""


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
    _raise_if_ours(task, first, control)
    failed = {test: None for test in wanted if not holds(task, test, first.run.status(test), control)}
    reason, flags = first.run.reason, _flags(first.run.reason)
    if failed and not reason:
        raise_if_broken(task, list(failed), control)
    passing: dict[Mutant, None] = {}
    flakes = [one for one in rounds[1:] if is_flake(task, one, control)][:1]  # one round of a score may be chance
    for one in rounds[1:]:
        found = [] if any(one is flake for flake in flakes) else confirmed(task, one, control)
        mutated = {test: mutant for mutant in one.mutants for test in mutant.tests}
        bad = [test for test in found if test not in mutated]
        if bad:
            failed |= dict.fromkeys(bad)
            why = (one.repeat.reason if one.repeat else "") or one.run.reason
            if why not in (TIMED_OUT, FLOODED) and "patch" not in why:
                flags += _flags(why) or [f"mutants: passed at first, failed among mutants: {', '.join(bad[:3])}"]
            reason = reason or why
        passing |= {mutated[test]: None for test in found if test in mutated}
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
    lists = {
        "dropped": dropped[: 10 * LISTED],
        "failed": ordered[:LISTED],
        "integrity": flags,
        "unprotected": unprotected,
    }
    parts |= {name: [_bounded(text) for text in texts] for name, texts in lists.items()}
    return Score(parts["resolved"], parts | {"reason": _bounded(reason)})


def _bounded(text: str) -> str:
    """A text that stands in every row and table of a run, whoever wrote parts of it."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} [... {len(text) - _LONGEST} characters]"


def single_pass(task: Task, rounds: Sequence[Round], control: Control) -> Mutant | None:
    """The mutant that passed, if exactly one did: another mutant of its function can decide."""
    found = {
        mutant
        for one in rounds[1:]
        for test in confirmed(task, one, control)
        for mutant in one.mutants
        if test in mutant.tests
    }
    return found.pop() if len(found) == 1 else None


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


def _flags(reason: str) -> list[str]:
    """What a run that does not count shows of who did it."""
    if reason == TAMPERED:
        return [f"canary: {reason}"]
    if not reason or reason in (TIMED_OUT, FLOODED) or "patch" in reason:
        return []
    return [f"reports: {reason}"]
