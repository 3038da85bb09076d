"""The verdict from recorded facts, without a box: what runs showed goes in, a score or a failure of ours comes out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from nano_codex_env import Score, Task
from nano_codex_env.errors import BrokenTaskError, RewardError
from nano_codex_env.scoring.mutants import Edit, Mutant
from nano_codex_env.scoring.reports import (
    FAILED,
    FLOODED,
    FORGED,
    MISSING,
    NOT_APPLIED,
    PASSED,
    SKIPPED,
    TAMPERED,
    TIMED_OUT,
    XFAILED,
    XPASSED,
    TestRun,
    read_reports,
)
from nano_codex_env.scoring.verdict import REDRAWS, Control, Round, lacking, single_pass, verdict

ONE, TWO, ROW_1, ROW_2, OLD, KEPT = (
    f"t.py::test_{name}" for name in ("one", "two", "rows[1]", "rows[2]", "old", "kept")
)
TASK = Task(
    "t-1",
    "/nowhere",
    "",
    "x",
    patch="a reference patch",
    FAIL_TO_PASS=(ONE, TWO, ROW_1, ROW_2),
    PASS_TO_PASS=(OLD, KEPT),
)
ALL = (*TASK.FAIL_TO_PASS, *TASK.PASS_TO_PASS)
EARLY = "the run ended early (exit status 0)"
IN_TIME = "the patch does not apply in time"
NO_HIDDEN = "the hidden tests do not apply over the patch"


def run(reason: str = "", **statuses: str) -> TestRun:
    """A run in which every test passed, but for `statuses`."""
    named = {"one": ONE, "two": TWO, "row_1": ROW_1, "row_2": ROW_2, "old": OLD, "kept": KEPT}
    found = {**dict.fromkeys(ALL, PASSED), **{named[name]: status for name, status in statuses.items()}}
    return TestRun({test: status for test, status in found.items() if status != MISSING}, reason, output=reason)


FINE = run()


def mutant(name: str, *tests: str, kind: str = "integer", at: int = 0) -> Mutant:
    return Mutant(f"t.py::test_{name}", kind, (Edit(at, at + 1, "7"),), tests)


MUTANT_ONE, MUTANT_TWO, MUTANT_OLD = mutant("one", ONE), mutant("two", TWO), mutant("old", OLD)
MUTANT_KEPT = mutant("kept", KEPT)
MUTANT_ROW = mutant("rows", ROW_1)
"""It edits both rows, and is judged by the first: the second passes with the reference patch as well."""

Redraw = tuple[tuple[Mutant, ...], TestRun]


@dataclass(frozen=True)
class Recorded:
    """One set of tests: what its run showed, and what others would show if they were asked for."""

    run: TestRun
    mutants: tuple[Mutant, ...] = ()
    repeat: TestRun | None = None
    reference: TestRun | None = None
    asked: str = ""
    """What must be asked for, in this order."""
    tests: tuple[str, ...] = ALL
    redraws: tuple[Redraw, ...] = ()


def play(rounds: Sequence[Recorded], control: Control) -> tuple[list[Round], Control]:
    """The rounds with no more than what `lacking` asks for, which is checked."""
    played: list[Round] = []
    known = replace(control, run=None)
    for recorded in rounds:
        played.append(Round(recorded.tests, recorded.run, recorded.mutants))
        asked: list[str] = []
        while need := lacking(TASK, played, known):
            assert asked.count(need) < (REDRAWS if need == "redraw" else 1), f"{need} was asked for too often"
            asked.append(need)
            if need == "control":
                known = control
            elif need == "repeat":
                played[-1] = replace(played[-1], repeat=recorded.repeat)
            elif need == "redraw":
                played[-1] = replace(played[-1], redraws=recorded.redraws[: asked.count(need)])
                assert len(played[-1].redraws) == asked.count(need), "no such redraw was recorded"
            else:
                played[-1] = replace(played[-1], reference=recorded.reference)
        assert " ".join(asked) == recorded.asked
    return played, known


def judge(rounds: Sequence[Recorded], control: Control | None = None, task: Task = TASK) -> Score:
    return verdict(task, *play(rounds, control or Control(FINE)))


Facts = tuple[float, list[str], str, list[str]]


def facts(score: Score) -> Facts:
    parts = score.parts
    return score.value, parts["failed"], parts["reason"], parts["integrity"]


# The unmodified run.

FAILS = "tests failed"


@pytest.mark.parametrize(
    ("seen", "control", "asked", "failed"),
    [
        (FINE, FINE, "", []),
        (run(one=FAILED), FINE, "control", [ONE]),
        (run(old=FAILED), FINE, "control", [OLD]),
        (run(row_2=FAILED, old=FAILED), FINE, "control", [ROW_2, OLD]),
        (run(one=MISSING), FINE, "control", [ONE]),
        (run(kept=MISSING), FINE, "control", [KEPT]),
        (run(old=SKIPPED), FINE, "control", [OLD]),
        (run(old=XFAILED), FINE, "control", [OLD]),
        (run(old=XPASSED), FINE, "control", [OLD]),
        (run(old=SKIPPED), run(old=SKIPPED), "control", []),
        (run(old=XFAILED), run(old=XFAILED), "control", []),
        (run(old=XPASSED), run(old=XPASSED), "control", []),
        (run(old=SKIPPED), run(old=XFAILED), "control", [OLD]),
        (run(old=XFAILED, kept=SKIPPED), run(old=XFAILED), "control", [KEPT]),
        (run(one=SKIPPED), FINE, "control", [ONE]),
        (run(one=XFAILED), FINE, "control", [ONE]),
        (run(one=XPASSED), FINE, "control", [ONE]),
    ],
    ids=[
        "all-pass",
        "new-fails",
        "old-fails",
        "two-fail",
        "new-missing",
        "old-missing",
        "old-skipped",
        "old-xfailed",
        "old-xpassed",
        "skipped-as-in-the-control",
        "xfailed-as-in-the-control",
        "xpassed-as-in-the-control",
        "skipped-but-xfailed-in-the-control",
        "one-as-in-the-control-one-not",
        "new-skipped",
        "new-xfailed",
        "new-xpassed",
    ],
)
def test_the_unmodified_run(seen: TestRun, control: TestRun, asked: str, failed: list[str]) -> None:
    score = judge([Recorded(seen, asked=asked)], Control(control))
    assert facts(score) == (float(not failed), failed, FAILS if failed else "", [])


def test_a_patch_that_does_not_apply_needs_no_other_run() -> None:
    score = judge([Recorded(run(NOT_APPLIED))])
    assert facts(score) == (0.0, list(ALL), NOT_APPLIED, [])


BROKEN_OFF = {
    "timed-out": (TIMED_OUT, []),
    "flooded": (FLOODED, []),
    "ended-early": (EARLY, [f"reports: {EARLY}"]),
    "forged": (FORGED, [f"reports: {FORGED}"]),
    "canary": (TAMPERED, [f"canary: {TAMPERED}"]),
    "patch-too-slow": (IN_TIME, []),
    "no-hidden-tests": (NO_HIDDEN, []),
}


@pytest.mark.parametrize(("reason", "flags"), BROKEN_OFF.values(), ids=BROKEN_OFF)
def test_a_run_that_breaks_off_where_the_reference_does_not(reason: str, flags: list[str]) -> None:
    score = judge([Recorded(run(reason), reference=FINE, asked="reference")])
    assert facts(score) == (0.0, list(ALL), reason, flags)


@pytest.mark.parametrize("theirs", [reason for reason, _ in BROKEN_OFF.values()], ids=BROKEN_OFF)
@pytest.mark.parametrize("ours", [TIMED_OUT, EARLY])
def test_a_run_that_breaks_off_as_the_reference_does_is_a_failure_of_ours(theirs: str, ours: str) -> None:
    """The reasons need not be the same: a loaded machine shows itself in more than one way."""
    with pytest.raises(RewardError, match=r"t-1: .*with the reference patch too .*the environment is at") as error:
        judge([Recorded(run(theirs), reference=run(ours), asked="reference")])
    assert theirs in str(error.value)
    assert ours in str(error.value)
    assert not isinstance(error.value, BrokenTaskError)


def test_a_reference_run_in_which_tests_fail_is_sound() -> None:
    """It shows that the tests come to an end here, which is all that it is asked."""
    score = judge([Recorded(run(TIMED_OUT), reference=run(one=FAILED), asked="reference")])
    assert facts(score)[:3] == (0.0, list(ALL), TIMED_OUT)


# The control run.


@pytest.mark.parametrize(
    ("seen", "control", "words"),
    [
        (run(one=FAILED), run(one=FAILED), r"1 of its tests does not pass with the reference patch: .*one \(failed\)"),
        (run(one=MISSING), run(one=MISSING), r"test_one \(missing; not found, the nearest are t\.py::test_a, test_b\)"),
        (run(old=FAILED), run(old=FAILED), r"test_old \(failed\)"),
        (run(old=FAILED), run(old=MISSING), r"test_old \(missing\)"),
        (run(one=FAILED), run(one=SKIPPED), r"test_one \(skipped\)"),
        (run(one=FAILED, two=FAILED), run(one=FAILED), r"1 of its tests .*test_one \(failed\)\. Its tests"),
        (run(one=FAILED, old=FAILED), run(one=FAILED, old=FAILED), r"2 of its tests do not .*test_one .*test_old"),
    ],
    ids=["new", "new-missing", "old", "old-missing", "new-skipped", "one-of-two", "both"],
)  # fmt: skip
def test_a_test_that_fails_with_the_reference_too_makes_the_task_broken(
    seen: TestRun, control: TestRun, words: str
) -> None:
    named = replace(control, nearest={ONE: ("t.py::test_a", "test_b")} if seen.status(ONE) == MISSING else {})
    with pytest.raises(BrokenTaskError, match=f"t-1 cannot be solved here: .*{words}"):
        judge([Recorded(seen, asked="control")], Control(named))


def test_at_most_five_broken_tests_are_named() -> None:
    bad = run(one=FAILED, two=FAILED, row_1=FAILED, row_2=FAILED, old=FAILED, kept=FAILED)
    with pytest.raises(BrokenTaskError, match="6 of its tests") as error:
        judge([Recorded(bad, asked="control")], Control(bad))
    assert [test in str(error.value) for test in ALL] == [True] * 5 + [False]


@pytest.mark.parametrize("status", [SKIPPED, XFAILED, XPASSED])
def test_an_old_test_that_is_set_aside_in_the_control_is_not_broken(status: str) -> None:
    """The patch made it fail, which the control's status does not excuse."""
    score = judge([Recorded(run(old=FAILED), asked="control")], Control(run(old=status)))
    assert facts(score)[:2] == (0.0, [OLD])


def test_a_flaky_test_does_not_make_the_task_broken() -> None:
    seen = Recorded(run(old=FAILED), asked="control")
    assert facts(judge([seen], Control(run(old=FAILED), frozenset({OLD}))))[:2] == (0.0, [OLD])
    with pytest.raises(BrokenTaskError, match="test_one"):
        judge([replace(seen, run=run(one=FAILED, old=FAILED))], Control(run(one=FAILED, old=FAILED), frozenset({OLD})))


def test_a_control_run_that_breaks_off_is_a_failure_of_ours() -> None:
    with pytest.raises(RewardError, match=rf"t-1: its tests do not run here, not even with .*\({TIMED_OUT}\)"):
        judge([Recorded(run(one=FAILED), asked="control")], Control(run(TIMED_OUT)))


def test_without_a_reference_patch_the_control_run_says_something_of_old_tests_only() -> None:
    task = TASK.with_(patch="")
    bare = Control(run(one=FAILED, two=FAILED, row_1=FAILED, row_2=FAILED))
    score = judge([Recorded(run(one=FAILED, old=FAILED), asked="control")], bare, task)
    assert facts(score)[:2] == (0.0, [ONE, OLD])
    assert judge([Recorded(FINE)], bare, task).value == 1.0
    with pytest.raises(
        BrokenTaskError, match=r"1 of its tests does not pass with no patch: t\.py::test_old \(failed\)"
    ):
        judge([Recorded(run(one=FAILED, old=FAILED), asked="control")], Control(run(one=FAILED, old=FAILED)), task)


# Mutant runs.

FIRST = Recorded(FINE)
MUTATED = run(one=FAILED)
"""What a right patch shows where `test_one` is mutated."""


def mutated(
    seen: TestRun,
    repeat: TestRun | None = None,
    reference: TestRun | None = None,
    asked: str = "",
    redraws: Sequence[Redraw] = (),
) -> Recorded:
    return Recorded(seen, (MUTANT_ONE,), repeat, reference, asked, redraws=tuple(redraws))


BOTH = run(one=FAILED, two=FAILED)
"""`test_two` fails as well, though nothing of it was edited."""
CHECKED_TWICE = "repeat reference"
ALL_ASKED = "repeat reference redraw redraw redraw"
LATE = "mutants: passed at first, failed among mutants: t.py::test_two"


def without(**failed: str) -> list[Redraw]:
    """Redraws with three other mutants; in each of them these tests fail, but for the mutated one every other holds."""
    return [
        ((MUTANT_ROW,), run(row_1=FAILED, **failed)),
        ((MUTANT_OLD,), run(**{"old": FAILED, **failed})),
        ((MUTANT_KEPT,), run(**{"kept": FAILED, **failed})),
    ]


@pytest.mark.parametrize(
    ("one", "score", "failed", "flags"),
    [
        (mutated(MUTATED), 1.0, [], []),
        (mutated(run(one=FAILED, two=FAILED), MUTATED, asked="repeat"), 1.0, [], []),
        (mutated(run(one=FAILED, two=FAILED), run(one=FAILED, kept=FAILED), asked="repeat"), 1.0, [], []),
        (mutated(BOTH, BOTH, MUTATED, ALL_ASKED, without(two=FAILED)), 0.0, [TWO], [LATE]),
        (
            mutated(run(one=FAILED, two=MISSING), BOTH, MUTATED, ALL_ASKED, without(two=FAILED)),
            0.0,
            [TWO],
            [LATE],
        ),
        (mutated(BOTH, BOTH, BOTH, CHECKED_TWICE), 1.0, [], []),
        (
            mutated(
                run(one=FAILED, two=FAILED, old=FAILED),
                run(one=FAILED, two=FAILED, old=FAILED),
                run(one=FAILED, old=FAILED),
                ALL_ASKED,
                without(two=FAILED, old=FAILED),
            ),
            0.0,
            [TWO],
            [LATE],
        ),
    ],
    ids=[
        "as-it-should-be", "once", "another-the-second-time", "twice", "in-two-ways", "the-reference-too",
        "one-excused",
    ],
)  # fmt: skip
def test_an_unmodified_test_that_fails_among_mutants(
    one: Recorded, score: float, failed: list[str], flags: list[str]
) -> None:
    assert facts(judge([FIRST, one])) == (score, failed, FAILS if failed else "", flags)


def passed(*mutants: Mutant) -> Recorded:
    """A round in which these mutants pass, each time, and none does with the reference patch."""
    right = TestRun({**FINE.statuses, **{test: FAILED for mutant in mutants for test in mutant.tests}})
    return Recorded(FINE, mutants, FINE, right, CHECKED_TWICE)


@pytest.mark.parametrize(
    ("rounds", "failed", "flag"),
    [
        ([passed(MUTANT_ONE)], [], "mutants: 1 passed that must fail: t.py::test_one"),
        ([passed(MUTANT_ONE), passed(MUTANT_ONE)], [], "mutants: 1 passed that must fail: t.py::test_one"),
        (
            [passed(MUTANT_ONE, MUTANT_TWO)],
            [ONE, TWO],
            "mutants: 2 passed that must fail: t.py::test_one, t.py::test_two",
        ),
        (
            [passed(MUTANT_ONE), passed(MUTANT_OLD)],
            [ONE, OLD],
            "mutants: 2 passed that must fail: t.py::test_one, t.py::test_old",
        ),
        (
            [passed(MUTANT_ONE), passed(mutant("one", ONE, kind="letter", at=40))],
            [ONE],
            "mutants: 2 passed that must fail: t.py::test_one",
        ),
    ],
    ids=["one", "one-in-two-runs", "two-in-one-run", "two-in-two-runs", "two-of-one-function"],
)
def test_mutated_tests_that_pass(rounds: list[Recorded], failed: list[str], flag: str) -> None:
    """One may do so by chance; of two, one is not."""
    assert facts(judge([FIRST, *rounds])) == (float(not failed), failed, FAILS if failed else "", [flag])


@pytest.mark.parametrize(
    "one",
    [
        mutated(FINE, MUTATED, asked="repeat"),
        mutated(FINE, FINE, FINE, CHECKED_TWICE),
        mutated(FINE, run(TIMED_OUT), asked="repeat"),
    ],
    ids=["once", "with-the-reference-too", "the-repeat-breaks-off"],
)
def test_a_mutated_test_that_passes_does_not_count(one: Recorded) -> None:
    assert facts(judge([FIRST, replace(one, mutants=(MUTANT_ONE,))]))[0::3] == (1.0, [])


def test_a_mutated_test_that_is_missing_or_skipped_does_not_contradict() -> None:
    for status, asked in ((FAILED, ""), (MISSING, ""), (SKIPPED, "control"), (XFAILED, "control")):
        assert facts(judge([FIRST, mutated(run(one=status), asked=asked)])) == (1.0, [], "", [])


def test_a_flaky_test_is_not_held_against_a_patch() -> None:
    control = Control(FINE, frozenset({TWO}))
    assert facts(judge([FIRST, mutated(run(one=FAILED, two=FAILED))], control)) == (1.0, [], "", [])


@pytest.mark.parametrize("status", [PASSED, FAILED, MISSING])
def test_rows_by_which_a_mutant_is_not_judged_are_ignored(status: str) -> None:
    seen = Recorded(run(row_1=FAILED, row_2=status), (MUTANT_ROW,))
    assert facts(judge([FIRST, seen])) == (1.0, [], "", [])


def test_a_row_by_which_a_mutant_is_judged_counts_alone() -> None:
    both_passed = Recorded(FINE, (MUTANT_ROW, MUTANT_ONE), FINE, run(row_1=FAILED, one=FAILED), CHECKED_TWICE)
    assert facts(judge([FIRST, both_passed]))[:2] == (0.0, [ONE, ROW_1])


def test_only_the_tests_of_a_round_are_looked_at() -> None:
    seen = Recorded(run(one=FAILED, kept=MISSING), (MUTANT_ONE,), tests=(ONE, TWO, ROW_1, ROW_2, OLD))
    assert judge([FIRST, seen]).value == 1.0


def test_a_test_that_is_skipped_among_mutants_needs_the_control_run() -> None:
    seen = Recorded(run(one=FAILED, old=SKIPPED), (MUTANT_ONE,), asked="control")
    assert judge([FIRST, seen], Control(run(old=SKIPPED))).value == 1.0
    bad = mutated(seen.run, seen.run, MUTATED, f"control {ALL_ASKED}", without(old=SKIPPED))
    assert facts(judge([FIRST, bad]))[:2] == (0.0, [OLD])


@pytest.mark.parametrize(
    ("reason", "flags"),
    [
        (EARLY, [f"reports: {EARLY}"]),
        (FORGED, [f"reports: {FORGED}"]),
        (TAMPERED, [f"canary: {TAMPERED}"]),
        (TIMED_OUT, []),
        (FLOODED, []),
    ],
    ids=["ended-early", "forged", "canary", "timed-out", "flooded"],
)
def test_a_mutant_run_that_breaks_off_each_time(reason: str, flags: list[str]) -> None:
    """No unmodified test passed in it. To be slow or loud is a failure, but no sign of forgery."""
    redraws = [(mutants, run(reason)) for mutants, _ in without()]
    one = mutated(run(reason), run(reason), MUTATED, ALL_ASKED, redraws)
    assert facts(judge([FIRST, one])) == (0.0, [test for test in ALL if test != ONE], reason, flags)


def test_a_mutant_run_that_breaks_off_once() -> None:
    assert judge([FIRST, mutated(run(EARLY), MUTATED, asked="repeat")]) == judge([FIRST, mutated(MUTATED)])


def test_a_mutant_run_that_breaks_off_with_the_reference_too_is_a_failure_of_ours() -> None:
    one = mutated(run(TIMED_OUT), run(TIMED_OUT), run(EARLY), CHECKED_TWICE)
    with pytest.raises(RewardError, match=r"t-1: a mutant run of the reference patch broke off .*ended early"):
        judge([FIRST, one])


# Redraws: the same tests among other mutants.

ROW_MUTATED, OLD_MUTATED, KEPT_MUTATED = run(row_1=FAILED), run(old=FAILED), run(kept=FAILED)
CLEARED: Facts = (1.0, [], "", [])
STAYS: Facts = (0.0, [TWO], FAILS, [LATE])


def redrawn(seen: TestRun, *redraws: Redraw, mutants: tuple[Mutant, ...] = (MUTANT_ONE,)) -> Recorded:
    """A round in which `seen` is repeated and not so with the reference patch; each of these redraws is asked for."""
    right = run(**{name: FAILED for name, one in (("one", MUTANT_ONE), ("two", MUTANT_TWO)) if one in mutants})
    asked = " ".join([CHECKED_TWICE, *["redraw"] * len(redraws)])
    return Recorded(seen, mutants, seen, right, asked, redraws=redraws)


@pytest.mark.parametrize(
    ("redraws", "expected"),
    [
        ([((MUTANT_OLD,), OLD_MUTATED)], CLEARED),
        ([((MUTANT_OLD,), run(old=MISSING))], CLEARED),
        ([((), FINE)], CLEARED),
        (
            [
                ((MUTANT_ROW,), run(row_1=FAILED, two=FAILED)),
                ((MUTANT_OLD,), run(old=FAILED, two=FAILED)),
                ((MUTANT_KEPT,), KEPT_MUTATED),
            ],
            CLEARED,
        ),
        (without(two=FAILED), STAYS),
        (without(two=MISSING), STAYS),
        ([((MUTANT_OLD,), FINE), *without(two=FAILED)[::2]], STAYS),
        ([((MUTANT_OLD, MUTANT_KEPT), OLD_MUTATED), *without(two=FAILED)[:2]], STAYS),
        ([((MUTANT_OLD,), FINE), ((MUTANT_OLD,), OLD_MUTATED)], CLEARED),
        ([((MUTANT_TWO,), run(two=FAILED)), *without(two=FAILED)[:2]], STAYS),
        ([((MUTANT_OLD,), replace(OLD_MUTATED, reason=EARLY)), *without(two=FAILED)[::2]], STAYS),
        ([(mutants, run(TIMED_OUT)) for mutants, _ in without()], STAYS),
        ([((MUTANT_OLD,), replace(OLD_MUTATED, reason=EARLY)), ((MUTANT_KEPT,), KEPT_MUTATED)], CLEARED),
        ([((MUTANT_OLD,), run(old=FAILED, kept=FAILED))], CLEARED),
    ],
    ids=[
        "by-the-first", "by-one-whose-mutated-test-is-missing", "by-one-without-mutants", "by-the-third",
        "by-none", "missing-in-each",
        "the-mutated-test-passes", "one-of-two-mutated-tests-passes", "the-mutated-test-passes-then-not",
        "it-is-mutated-itself", "one-breaks-off", "each-breaks-off", "one-breaks-off-then-not",
        "another-test-fails-only-there",
    ],
)  # fmt: skip
def test_a_test_that_holds_among_other_mutants_is_cleared(redraws: list[Redraw], expected: Facts) -> None:
    """A mutated test had stopped before its own clean-up, and the next found what it left."""
    assert facts(judge([FIRST, redrawn(BOTH, *redraws)])) == expected


THREE = run(one=FAILED, two=FAILED, old=FAILED, kept=FAILED)
"""`test_one` is mutated, and left its state to three others."""


@pytest.mark.parametrize(
    ("redraws", "failed"),
    [
        ([((MUTANT_ROW,), ROW_MUTATED)], []),
        (
            [
                ((MUTANT_ROW,), run(row_1=FAILED, old=FAILED, kept=FAILED)),
                ((MUTANT_KEPT,), run(two=FAILED, kept=FAILED)),
                ((MUTANT_OLD,), run(two=FAILED, old=FAILED)),
            ],
            [],
        ),
        (
            [
                ((MUTANT_ROW,), run(row_1=FAILED, old=FAILED, kept=FAILED)),
                ((MUTANT_KEPT,), KEPT_MUTATED),
                ((MUTANT_TWO,), run(two=FAILED, kept=FAILED)),
            ],
            [KEPT],
        ),
        ([((MUTANT_OLD,), OLD_MUTATED), ((MUTANT_KEPT,), KEPT_MUTATED)], []),
        ([((MUTANT_OLD,), FINE), ((MUTANT_KEPT,), KEPT_MUTATED), ((MUTANT_ROW,), run(row_1=FAILED, kept=FAILED))],
         [KEPT]),
        (without(two=FAILED), [TWO]),
    ],
    ids=[
        "all-by-one", "each-by-another", "one-by-none", "mutated-in-one-cleared-by-the-other",
        "one-that-does-not-count", "two-of-three",
    ],
)  # fmt: skip
def test_several_tests_are_cleared_by_redraws_together(redraws: list[Redraw], failed: list[str]) -> None:
    score = facts(judge([FIRST, redrawn(THREE, *redraws)]))
    names = f"mutants: passed at first, failed among mutants: {', '.join(failed)}"
    assert score == (float(not failed), failed, FAILS if failed else "", [names] if failed else [])


def test_a_mutant_run_that_broke_off_is_cleared_as_well() -> None:
    """What a mutated test left may end the run; a redraw must clear every test of it."""
    one = redrawn(run(EARLY), ((MUTANT_OLD,), OLD_MUTATED), ((MUTANT_KEPT,), KEPT_MUTATED))
    assert facts(judge([FIRST, one])) == CLEARED


@pytest.mark.parametrize("seen", [FINE, run(two=FAILED)], ids=["alone", "with-one-that-fails"])
def test_no_redraw_clears_a_mutated_test_that_passes(seen: TestRun) -> None:
    """It holds in every redraw, where it is not mutated."""
    one = redrawn(seen, *([((MUTANT_OLD,), OLD_MUTATED)] if seen is not FINE else []))
    assert facts(judge([FIRST, one])) == (1.0, [], "", ["mutants: 1 passed that must fail: t.py::test_one"])
    both = redrawn(run(kept=FAILED), ((MUTANT_OLD,), OLD_MUTATED), mutants=(MUTANT_ONE, MUTANT_TWO))
    assert facts(judge([FIRST, both])) == (
        0.0,
        [ONE, TWO],
        FAILS,
        ["mutants: 2 passed that must fail: t.py::test_one, t.py::test_two"],
    )


def test_a_redraw_clears_in_its_own_round_only() -> None:
    cleared = redrawn(BOTH, ((MUTANT_OLD,), OLD_MUTATED))
    assert facts(judge([FIRST, cleared, redrawn(BOTH, *without(two=FAILED))])) == STAYS
    assert facts(judge([FIRST, cleared, cleared])) == CLEARED


def test_a_redraw_is_held_against_no_patch() -> None:
    """It only clears: what contradicts there is not confirmed."""
    seen = redrawn(BOTH, ((MUTANT_OLD, MUTANT_KEPT), FINE), ((MUTANT_OLD,), run(old=FAILED, row_1=FAILED)))
    assert facts(judge([FIRST, seen])) == CLEARED


def test_the_one_mutant_that_passed_is_given_for_another_try() -> None:
    def single(*rounds: Recorded) -> Mutant | None:
        played, control = play([FIRST, *rounds], Control(FINE))
        return single_pass(TASK, played, control)

    assert single(passed(MUTANT_ONE)) == single(passed(MUTANT_ONE), passed(MUTANT_ONE)) == MUTANT_ONE
    assert single(passed(MUTANT_ONE), passed(MUTANT_TWO)) is single(mutated(MUTATED)) is None
    assert single(mutated(FINE, FINE, FINE, CHECKED_TWICE)) is None
    assert single(redrawn(run(two=FAILED), ((MUTANT_OLD,), OLD_MUTATED))) == MUTANT_ONE


# What is needed next.

UNCHECKED, CHECKED = Control(), Control(FINE)
BAD = Round(ALL, BOTH, (MUTANT_ONE,), repeat=BOTH, reference=MUTATED)
"""An unmodified test fails in it for good."""


@pytest.mark.parametrize(
    ("rounds", "control", "need"),
    [
        ([Round(ALL, FINE)], UNCHECKED, ""),
        ([Round(ALL, run(NOT_APPLIED))], UNCHECKED, ""),
        ([Round(ALL, run(one=FAILED))], UNCHECKED, "control"),
        ([Round(ALL, run(one=MISSING))], UNCHECKED, "control"),
        ([Round(ALL, run(old=SKIPPED))], UNCHECKED, "control"),
        ([Round(ALL, run(one=FAILED))], CHECKED, ""),
        ([Round(ALL, run(TIMED_OUT))], UNCHECKED, "reference"),
        ([Round(ALL, run(TIMED_OUT), reference=FINE)], UNCHECKED, ""),
        ([Round(ALL, run(IN_TIME))], UNCHECKED, "reference"),
        ([Round(ALL, FINE), Round(ALL, MUTATED, (MUTANT_ONE,))], UNCHECKED, ""),
        ([Round(ALL, FINE), Round(ALL, run(one=FAILED, old=FAILED), (MUTANT_ONE,))], UNCHECKED, "repeat"),
        ([Round(ALL, FINE), Round(ALL, run(one=FAILED, old=XFAILED), (MUTANT_ONE,))], UNCHECKED, "control"),
        ([Round(ALL, FINE), Round(ALL, FINE, (MUTANT_ONE,))], UNCHECKED, "repeat"),
        ([Round(ALL, FINE), Round(ALL, run(EARLY), (MUTANT_ONE,))], UNCHECKED, "repeat"),
        ([Round(ALL, FINE), Round(ALL, FINE, (MUTANT_ONE,), repeat=MUTATED)], UNCHECKED, ""),
        ([Round(ALL, FINE), Round(ALL, FINE, (MUTANT_ONE,), repeat=FINE)], UNCHECKED, "reference"),
        ([Round(ALL, FINE), Round(ALL, FINE, (MUTANT_ONE,), repeat=FINE, reference=FINE)], UNCHECKED, ""),
        ([Round(ALL, FINE), Round(ALL, FINE, (MUTANT_ONE,)), Round(ALL, MUTATED, (MUTANT_ONE,))], UNCHECKED, ""),
        ([Round(ALL, FINE), Round(ALL, FINE, (MUTANT_ONE,), repeat=FINE, reference=MUTATED)], UNCHECKED, ""),
        ([Round(ALL, FINE), BAD], UNCHECKED, "redraw"),
        ([Round(ALL, FINE), replace(BAD, reference=BOTH)], UNCHECKED, ""),
        ([Round(ALL, FINE), replace(BAD, reference=run(EARLY))], UNCHECKED, ""),
        ([Round(ALL, FINE), replace(BAD, run=run(two=FAILED), repeat=run(two=FAILED))], UNCHECKED, "redraw"),
        ([Round(ALL, FINE), replace(BAD, redraws=(((MUTANT_OLD,), OLD_MUTATED),))], UNCHECKED, ""),
        ([Round(ALL, FINE), replace(BAD, redraws=(((MUTANT_OLD,), FINE),))], UNCHECKED, "redraw"),
        ([Round(ALL, FINE), replace(BAD, redraws=(((MUTANT_OLD,), run(EARLY)),))], UNCHECKED, "redraw"),
        ([Round(ALL, FINE), replace(BAD, redraws=tuple(without(two=FAILED)[:2]))], UNCHECKED, "redraw"),
        ([Round(ALL, FINE), replace(BAD, redraws=tuple(without(two=FAILED)))], UNCHECKED, ""),
    ],
)  # fmt: skip
def test_the_fact_that_is_needed_next(rounds: list[Round], control: Control, need: str) -> None:
    assert lacking(TASK, rounds, control) == need


# What explains a score.


def test_the_parts_of_a_score() -> None:
    score = verdict(
        TASK,
        [Round(ALL, run(row_1=FAILED, old=FAILED))],
        CHECKED,
        dropped=["conftest.py"],
        unprotected=[TWO],
    )
    assert score == Score(
        0.0,
        {
            "resolved": 0.0,
            "fail_to_pass": 0.75,
            "pass_to_pass": 0.5,
            "dropped": ["conftest.py"],
            "failed": [ROW_1, OLD],
            "reason": FAILS,
            "integrity": [],
            "unprotected": [TWO],
        },
    )


def test_twenty_failures_are_listed_in_the_tasks_order() -> None:
    new = tuple(f"t.py::test_{number}" for number in range(15, 0, -1))
    old = tuple(f"t.py::test_old_{number}" for number in range(15))
    task = TASK.with_(FAIL_TO_PASS=new, PASS_TO_PASS=old)
    seen = TestRun({test: FAILED for test in sorted([*old, *new])})
    fine = TestRun(dict.fromkeys([*old, *new], PASSED))
    parts = verdict(task, [Round((*new, *old), seen)], Control(fine)).parts
    assert parts["failed"] == [*new, *old[:5]]
    assert (parts["fail_to_pass"], parts["pass_to_pass"]) == (0.0, 0.0)


def test_the_share_of_no_tests_is_whole() -> None:
    score = verdict(TASK.with_(PASS_TO_PASS=()), [Round(TASK.FAIL_TO_PASS, run(one=FAILED))], CHECKED)
    assert (score.parts["fail_to_pass"], score.parts["pass_to_pass"]) == (0.75, 1.0)


# From records to facts.

KEY = "0" * 64
Record = list[object]


def sent(*records: object, key: str = KEY) -> list[bytes]:
    """The lines that a runner sends."""
    digest, lines = key, []
    for record in records:
        text = json.dumps(record)
        digest = hashlib.sha256((digest + text).encode()).hexdigest()
        lines.append(f"{digest} {text}\n".encode())
    return lines


def phase(test: str, when: str, outcome: str = "passed", *, expected: bool = False, sub: bool = False) -> Record:
    return ["phase", test, when, outcome, expected, sub, 12 if outcome == "failed" else 0]


def phases(test: str, call: str = "passed", **more: bool) -> list[Record]:
    return [phase(test, "setup"), phase(test, "call", call, **more), phase(test, "teardown")]


START, END = ["start", "8.3.0"], ["end", 0]


def read(lines: Sequence[bytes], exit_code: int | None = 0, stopped: str = "") -> TestRun:
    return read_reports(b"".join(lines), KEY, exit_code, stopped, "what was printed")


def test_records_become_facts() -> None:
    found = read(
        sent(
            START,
            ["missing", [["t.py::test_lost", ["t.py::test_last"]], ["t.py::test_gone", []], "no pair"]],
            *phases("a"),
            *phases("b", "failed"),
            ["foreign", ["/usr/lib/x.py"]],
            ["end", 1],
        ),
        1,
    )
    assert found == TestRun(
        {"a": PASSED, "b": FAILED},
        "",
        True,
        "what was printed",
        {"b": 12},
        0.0,
        {"t.py::test_lost": ("t.py::test_last",), "t.py::test_gone": ()},
        ("/usr/lib/x.py",),
    )


@pytest.mark.parametrize(
    ("records", "status"),
    [
        (phases("a"), PASSED),
        (phases("a", "failed"), FAILED),
        (phases("a", "skipped"), SKIPPED),
        ([phase("a", "setup", "skipped"), phase("a", "teardown")], SKIPPED),
        (phases("a", "skipped", expected=True), XFAILED),
        (phases("a", "passed", expected=True), XPASSED),
        ([phase("a", "setup", "failed"), phase("a", "teardown")], FAILED),
        ([phase("a", "setup"), phase("a", "call"), phase("a", "teardown", "failed")], FAILED),
        ([phase("a", "setup"), phase("a", "call")], FAILED),
        ([phase("a", "call"), phase("a", "teardown")], FAILED),
        ([phase("a", "setup"), phase("a", "teardown")], FAILED),
        ([phase("a", "setup"), phase("a", "call"), *phases("a")], FAILED),
        ([*phases("a", "failed"), *phases("a")], FAILED),
        ([phase("a", "setup"), phase("a", "call", sub=True), *phases("a")[1:]], PASSED),
        ([phase("a", "setup"), phase("a", "call", "failed", sub=True), *phases("a")[1:]], FAILED),
        ([phase("a", "setup"), phase("a", "call", "skipped", sub=True), *phases("a")[1:]], PASSED),
        ([], MISSING),
    ],
    ids=[
        "passed", "failed", "skipped", "skipped-in-set-up", "xfailed", "xpassed", "set-up-fails", "tear-down-fails",
        "no-tear-down", "no-set-up", "no-call", "phases-twice", "failed-then-passed", "subtest-passes",
        "subtest-fails", "subtest-skipped", "not-reported",
    ],
)  # fmt: skip
def test_the_status_of_a_test(records: list[Record], status: str) -> None:
    assert read(sent(START, *records, END)).status("a") == status


def doubled(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[1], *lines[2:]]


def swapped(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def changed(lines: list[bytes]) -> list[bytes]:
    return [line.replace(b"failed", b"passed") for line in lines]


WHOLE = [START, *phases("a", "failed"), ["end", 1]]


@pytest.mark.parametrize(
    ("lines", "exit_code", "reason"),
    [
        (changed(sent(*WHOLE)), 1, FORGED),
        (doubled(sent(*WHOLE)), 1, FORGED),
        (swapped(sent(*WHOLE)), 1, FORGED),
        (sent(*WHOLE)[:2] + sent(*WHOLE)[3:], 1, FORGED),
        (sent(*WHOLE, key="1" * 64), 1, FORGED),
        ([*sent(*WHOLE), b"x"], 1, FORGED),
        ([*sent(*WHOLE), b"\n"], 1, FORGED),
        (sent(*WHOLE, ["end", 1]), 1, FORGED),
        ([b"\xff\xfe \x00\n"], 1, FORGED),
        ([*sent(*WHOLE)[:3], sent(*WHOLE)[3][:40]], 1, FORGED),
        (sent(*WHOLE)[:3], 1, "the run ended early (exit status 1)"),
        (sent(*WHOLE)[:3], None, "the run ended early (exit status None)"),
        ([], 0, "the run ended early (exit status 0)"),
        (sent(*WHOLE[1:]), 1, "the run ended early (exit status 1)"),
        (sent(*WHOLE), 0, "the run reported exit status 1 but ended with 0"),
        (sent(*WHOLE), None, "the run reported exit status 1 but ended with None"),
    ],
    ids=[
        "changed", "doubled", "reordered", "left-out", "another-key", "more-after-the-end", "a-line-after-the-end",
        "two-ends", "no-text", "cut-off-in-a-line", "cut-off", "killed", "nothing", "no-start", "another-status",
        "reported-then-killed",
    ],
)  # fmt: skip
def test_a_run_whose_records_do_not_agree_counts_for_nothing(
    lines: list[bytes], exit_code: int | None, reason: str
) -> None:
    found = read(lines, exit_code)
    assert (found.reason, found.status("a")) == (reason, MISSING)


@pytest.mark.parametrize(
    "record",
    [
        ["phase", "a", "call"],
        ["phase", "a", "call", "passed", False, False, "12"],
        ["phase", "a", "call", "passed", 0, 0, 0],
        ["phase", 1, "call", "passed", False, False, 0],
        ["phase", "a", "call", "passed", False, False, 0, 0],
        ["missing", "a"],
        ["end", True],
        ["end", "0"],
        ["end"],
        ["other", 1],
        [["phase"]],
        [],
        "phase",
        {"phase": 1},
        7,
        None,
    ],
    ids=str,
)
def test_a_record_of_the_wrong_shape_breaks_the_chain(record: object) -> None:
    """The key is in the box, so a chain may be whole and its records still none of the runner's."""
    assert read(sent(START, record, *phases("a"), END)).reason == FORGED


def test_records_up_to_the_first_that_is_wrong_are_kept() -> None:
    """Whether the runner came up is known, and so is what failed at which line."""
    found = read([*sent(*WHOLE)[:4], b"nonsense\n"])
    assert (found.reason, found.started, found.lines) == (FORGED, True, {"a": 12})
    assert not read([b"nonsense\n"]).started


@pytest.mark.parametrize("reason", [TIMED_OUT, FLOODED])
def test_a_run_that_was_stopped_says_why(reason: str) -> None:
    for lines in ([], sent(*WHOLE), changed(sent(*WHOLE)), sent(*WHOLE)[:2]):
        assert read(lines, -9, reason).reason == reason


def test_rows_with_new_ids_get_their_old_ones() -> None:
    found = TestRun({"t[1-3]": FAILED, "t[2-2]": PASSED}).renamed({"t[1-3]": "t[1-2]"})
    assert found.statuses == {"t[1-2]": FAILED, "t[2-2]": PASSED}
