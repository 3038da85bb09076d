"""The verdict from recorded facts, without a box: what runs showed goes in, a score or a failure of ours comes out."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from nano_codex_env import Score, Task
from nano_codex_env.errors import BrokenTaskError, RewardError
from nano_codex_env.scoring.facts import (
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
    Control,
    Isolated,
    Round,
    TestRun,
)
from nano_codex_env.scoring.mutants import Edit, Mutant
from nano_codex_env.scoring.reports import read_reports
from nano_codex_env.scoring.verdict import (
    MAX_ISOLATED,
    functions_to_isolate,
    is_flake,
    missing_fact,
    score_of,
    single_pass,
    verdict,
)

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
    isolated: tuple[Isolated, ...] = ()
    """What the functions that are asked for one by one show, in this order."""


def play(rounds: Sequence[Recorded], control: Control) -> tuple[list[Round], Control]:
    """The rounds with no more than what `missing_fact` asks for, which is checked."""
    played: list[Round] = []
    known = replace(control, run=None)
    for recorded in rounds:
        played.append(Round(recorded.tests, recorded.run, recorded.mutants))
        asked: list[str] = []
        while need := missing_fact(TASK, played, known):
            assert asked.count(need) < (MAX_ISOLATED if need == "isolated" else 1), f"{need} was asked for too often"
            asked.append(need)
            if need == "control":
                known = control
            elif need == "repeat":
                played[-1] = replace(played[-1], repeat=recorded.repeat)
            elif need == "isolated":
                one = recorded.isolated[len(played[-1].isolated)]
                assert functions_to_isolate(TASK, played[-1], known)[0] == one.function
                played[-1] = replace(played[-1], isolated=(*played[-1].isolated, one))
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
UNCHECKED, CHECKED = Control(), Control(FINE)
MUTATED = run(one=FAILED)
"""What a right patch shows where `test_one` is mutated."""


def mutated(
    seen: TestRun,
    repeat: TestRun | None = None,
    reference: TestRun | None = None,
    asked: str = "",
    isolated: Sequence[Isolated] = (),
) -> Recorded:
    return Recorded(seen, (MUTANT_ONE,), repeat, reference, asked, isolated=tuple(isolated))


BOTH = run(one=FAILED, two=FAILED)
"""`test_two` fails as well, though nothing of it was edited."""
CHECKED_TWICE = "repeat reference"
ISOLATED = "repeat reference isolated"
LATE = "mutants: passed at first, failed among mutants: t.py::test_two"
TWO_FAILS = Isolated(MUTANT_TWO.function, run(two=FAILED), MUTANT_TWO, run(two=FAILED))
"""`test_two` fails by itself as well, so that it stays failed."""
OLD_FAILS, KEPT_FAILS = (Isolated(one.function, run(old=FAILED, kept=FAILED)) for one in (MUTANT_OLD, MUTANT_KEPT))
ALL_FAIL = [TWO_FAILS, OLD_FAILS, KEPT_FAILS]
ROWS_FAIL = Isolated(MUTANT_ROW.function, run(row_1=FAILED, row_2=FAILED))


@pytest.mark.parametrize(
    ("one", "score", "failed", "flags"),
    [
        (mutated(MUTATED), 1.0, [], []),
        (mutated(BOTH, BOTH, MUTATED, ISOLATED, [TWO_FAILS]), 0.0, [TWO], [LATE]),
        (mutated(run(one=FAILED, two=MISSING), BOTH, MUTATED, ISOLATED, [TWO_FAILS]), 0.0, [TWO], [LATE]),
        (mutated(BOTH, BOTH, BOTH, CHECKED_TWICE), 1.0, [], []),
        (
            mutated(
                run(one=FAILED, two=FAILED, old=FAILED),
                run(one=FAILED, two=FAILED, old=FAILED),
                run(one=FAILED, old=FAILED),
                ISOLATED,
                [TWO_FAILS],
            ),
            0.0,
            [TWO],
            [LATE],
        ),
    ],
    ids=["as-it-should-be", "twice", "in-two-ways", "the-reference-too", "one-excused"],
)
def test_an_unmodified_test_that_fails_among_mutants(
    one: Recorded, score: float, failed: list[str], flags: list[str]
) -> None:
    assert facts(judge([FIRST, one])) == (score, failed, FAILS if failed else "", flags)


# The repeat, and what may be chance.

TWO_AND_OLD, TWO_AND_KEPT = run(one=FAILED, two=FAILED, old=FAILED), run(one=FAILED, two=FAILED, kept=FAILED)
OTHER = run(one=FAILED, kept=FAILED)
FLAKES = {"once": (BOTH, MUTATED), "another-the-second-time": (BOTH, OTHER)}
CLEAN: Facts = (1.0, [], "", [])
STAYS: Facts = (0.0, [TWO], FAILS, [LATE])
ONE_PASSES = "mutants: 1 passed that must fail: t.py::test_one"
ALL_BUT_ONE = [test for test in ALL if test != ONE]


@pytest.mark.parametrize(("seen", "repeat"), FLAKES.values(), ids=FLAKES)
def test_the_first_flake_of_a_score_is_forgiven(seen: TestRun, repeat: TestRun) -> None:
    flake = mutated(seen, repeat, asked="repeat")
    assert facts(judge([FIRST, flake])) == CLEAN
    assert facts(judge([FIRST, mutated(MUTATED), flake, mutated(MUTATED)])) == CLEAN


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (mutated(BOTH, MUTATED, MUTATED, ISOLATED, [TWO_FAILS]), STAYS),
        (
            mutated(BOTH, OTHER, MUTATED, f"{ISOLATED} isolated", [TWO_FAILS, KEPT_FAILS]),
            (0.0, [TWO, KEPT], FAILS, [f"{LATE}, t.py::test_kept"]),
        ),
        (mutated(BOTH, OTHER, OTHER, ISOLATED, [TWO_FAILS]), STAYS),
        (mutated(BOTH, MUTATED, BOTH, CHECKED_TWICE), CLEAN),
        (mutated(BOTH, MUTATED, MUTATED, ISOLATED, [Isolated(MUTANT_TWO.function, FINE)]), CLEAN),
    ],
    ids=["once", "another-the-second-time", "one-excused", "the-reference-too", "cleared"],
)
def test_a_second_flake_counts(second: Recorded, expected: Facts) -> None:
    """Of both its runs: whoever fails now and then does not fail the same test each time."""
    flake = mutated(BOTH, MUTATED, asked="repeat")
    assert facts(judge([FIRST, flake, second])) == expected
    assert facts(judge([FIRST, flake, mutated(MUTATED), second])) == expected


def test_every_flake_but_the_first_counts() -> None:
    first = mutated(OTHER, MUTATED, asked="repeat")
    second = mutated(BOTH, MUTATED, MUTATED, ISOLATED, [TWO_FAILS])
    third = mutated(run(one=FAILED, old=FAILED), MUTATED, MUTATED, ISOLATED, [OLD_FAILS])
    assert facts(judge([FIRST, first, second, third]))[:2] == (0.0, [TWO, OLD])


@pytest.mark.parametrize(
    ("seen", "repeat", "is_chance"),
    [
        (BOTH, MUTATED, True),
        (BOTH, OTHER, True),
        (BOTH, None, False),
        (MUTATED, MUTATED, False),
        (BOTH, BOTH, False),
        (TWO_AND_OLD, TWO_AND_KEPT, False),
        (TWO_AND_OLD, OTHER, True),
        (FINE, MUTATED, False),
        (BOTH, FINE, False),
        (run(two=FAILED), OTHER, False),
        (run(EARLY), MUTATED, True),
        (run(TIMED_OUT), MUTATED, True),
        (BOTH, run(EARLY), False),
        (BOTH, run(TIMED_OUT), False),
        (run(TIMED_OUT), run(EARLY), False),
    ],
    ids=[
        "once", "another-the-second-time", "not-repeated", "nothing", "twice", "one-in-both", "none-in-both",
        "a-mutated-test-passes", "it-passes-in-the-repeat", "and-another-fails", "the-run-ends-early", "is-too-slow",
        "the-repeat-ends-early", "the-repeat-is-too-slow", "both-break-off",
    ],
)  # fmt: skip
def test_what_is_a_flake(seen: TestRun, repeat: TestRun | None, is_chance: bool) -> None:
    """Unmodified tests that failed, none of them twice; a run that broke off before one that contradicts nothing."""
    assert is_flake(TASK, Round(ALL, seen, (MUTANT_ONE,), repeat), CHECKED) == is_chance


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (mutated(TWO_AND_OLD, TWO_AND_KEPT, MUTATED, ISOLATED, [TWO_FAILS]), STAYS),
        (mutated(FINE, MUTATED, MUTATED, CHECKED_TWICE), (1.0, [], "", [ONE_PASSES])),
        (mutated(BOTH, FINE, MUTATED, ISOLATED, [TWO_FAILS]), (0.0, [TWO], FAILS, [LATE, ONE_PASSES])),
        (mutated(FINE, BOTH, MUTATED, ISOLATED, [TWO_FAILS]), (0.0, [TWO], FAILS, [LATE, ONE_PASSES])),
        (mutated(FINE, BOTH, BOTH, CHECKED_TWICE), (1.0, [], "", [ONE_PASSES])),
        (mutated(BOTH, FINE, FINE, ISOLATED, [TWO_FAILS]), STAYS),
        (
            mutated(TWO_AND_OLD, run(kept=FAILED), MUTATED, f"{ISOLATED} isolated isolated", ALL_FAIL),
            (0.0, [TWO, OLD, KEPT], FAILS, [f"{LATE}, t.py::test_old, t.py::test_kept", ONE_PASSES]),
        ),
    ],
    ids=[
        "the-same-and-others", "a-mutated-test-passes-once", "and-only-in-the-repeat", "and-another-fails-then",
        "which-the-reference-shows", "as-with-the-reference", "union-of-both",
    ],
)  # fmt: skip
def test_a_repeat_that_contradicts_in_another_way(one: Recorded, expected: Facts) -> None:
    """What both runs show counts; where a mutated test passed in one of them, what either shows."""
    assert facts(judge([FIRST, one])) == expected


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (mutated(BOTH, run(EARLY), MUTATED, ISOLATED, [TWO_FAILS]), (0.0, [TWO], EARLY, [f"reports: {EARLY}"])),
        (mutated(BOTH, run(TIMED_OUT), MUTATED, ISOLATED, [TWO_FAILS]), (0.0, [TWO], TIMED_OUT, [])),
        (mutated(BOTH, run(EARLY), MUTATED, ISOLATED, [Isolated(MUTANT_TWO.function, FINE)]), CLEAN),
        (mutated(FINE, run(TIMED_OUT), MUTATED, CHECKED_TWICE), (0.0, ALL_BUT_ONE, TIMED_OUT, [ONE_PASSES])),
        (
            mutated(run(TIMED_OUT), run(EARLY), MUTATED, CHECKED_TWICE),
            (0.0, ALL_BUT_ONE, EARLY, [f"reports: {EARLY}"]),
        ),
    ],
    ids=["the-repeat", "too-slow", "cleared", "after-a-mutated-test-passed", "both"],
)
def test_a_run_or_repeat_that_breaks_off_is_no_flake(one: Recorded, expected: Facts) -> None:
    assert facts(judge([FIRST, one])) == expected


def test_a_mutant_run_that_breaks_off_once_is_forgiven_once() -> None:
    """A machine may have been too busy; the second such round of a score counts as a whole."""
    once = mutated(run(EARLY), MUTATED, asked="repeat")
    assert facts(judge([FIRST, once])) == CLEAN
    again = mutated(run(EARLY), MUTATED, MUTATED, CHECKED_TWICE)
    assert facts(judge([FIRST, once, again])) == (0.0, ALL_BUT_ONE, EARLY, [f"reports: {EARLY}"])


def test_a_patch_that_applied_at_first_and_not_among_mutants_is_asked_about_as_any_run_that_broke_off() -> None:
    again = mutated(run(NOT_APPLIED), run(NOT_APPLIED), MUTATED, CHECKED_TWICE)
    assert facts(judge([FIRST, again])) == (0.0, ALL_BUT_ONE, NOT_APPLIED, [])


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


def test_a_mutated_test_that_passes_with_the_reference_too_does_not_count() -> None:
    assert facts(judge([FIRST, mutated(FINE, FINE, FINE, CHECKED_TWICE)])) == CLEAN


def test_two_mutated_tests_that_pass_once_each_count() -> None:
    """The round counts with all that either run shows: whoever tosses a coin passes another each time."""
    right = run(one=FAILED, two=FAILED)
    once = Recorded(run(one=FAILED), (MUTANT_ONE, MUTANT_TWO), run(two=FAILED), right, CHECKED_TWICE)
    flag = "mutants: 2 passed that must fail: t.py::test_one, t.py::test_two"
    assert facts(judge([FIRST, once])) == (0.0, [ONE, TWO], FAILS, [flag])


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
    skipped = Isolated(MUTANT_OLD.function, run(old=SKIPPED))
    bad = mutated(seen.run, seen.run, MUTATED, f"control {ISOLATED}", [skipped])
    assert facts(judge([FIRST, bad]))[:2] == (0.0, [OLD])


@pytest.mark.parametrize(
    ("reason", "flags"),
    [
        (EARLY, [f"reports: {EARLY}"]),
        (FORGED, [f"reports: {FORGED}"]),
        (TAMPERED, [f"canary: {TAMPERED}"]),
        (TIMED_OUT, []),
        (FLOODED, []),
        (IN_TIME, []),
        (NO_HIDDEN, []),
    ],
    ids=["ended-early", "forged", "canary", "timed-out", "flooded", "patch-too-slow", "no-hidden-tests"],
)
def test_a_mutant_run_that_breaks_off_each_time(reason: str, flags: list[str]) -> None:
    """No unmodified test passed in it. To be slow or loud is a failure, but no sign of forgery."""
    one = mutated(run(reason), run(reason), MUTATED, CHECKED_TWICE)
    assert facts(judge([FIRST, one])) == (0.0, ALL_BUT_ONE, reason, flags)


def test_a_mutant_run_that_breaks_off_with_the_reference_too_is_a_failure_of_ours() -> None:
    one = mutated(run(TIMED_OUT), run(TIMED_OUT), run(EARLY), CHECKED_TWICE)
    with pytest.raises(RewardError, match=r"t-1: a mutant run of the reference patch broke off .*ended early"):
        judge([FIRST, one])


# Functions that failed unmodified, by themselves.


def isolated(
    name: str, unmodified: TestRun = FINE, mutant: Mutant | None = None, mutated: TestRun | None = None
) -> Isolated:
    return Isolated(f"t.py::test_{name}", unmodified, mutant, mutated)


def fails_with_others(seen: TestRun, *cleared: Isolated, mutants: tuple[Mutant, ...] = (MUTANT_ONE,)) -> Recorded:
    """A round in which `seen` is repeated and not so with the reference patch; each of these is asked for."""
    right = TestRun({**FINE.statuses, **{test: FAILED for mutant in mutants for test in mutant.tests}})
    return Recorded(
        seen, mutants, seen, right, " ".join([CHECKED_TWICE, *["isolated"] * len(cleared)]), isolated=cleared
    )


ROWS_FAILED = run(one=FAILED, row_1=FAILED, row_2=FAILED)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (isolated("two"), CLEAN),
        (isolated("two", run(one=FAILED, kept=MISSING)), CLEAN),
        (isolated("two", FINE, MUTANT_TWO, run(two=FAILED)), CLEAN),
        (isolated("two", FINE, MUTANT_TWO, run(two=MISSING)), CLEAN),
        (isolated("two", FINE, MUTANT_TWO, FINE), STAYS),
        (isolated("two", FINE, MUTANT_TWO, run(EARLY)), STAYS),
        (isolated("two", FINE, MUTANT_TWO, run(TIMED_OUT)), STAYS),
        (isolated("two", FINE, mutant("two", TWO, ROW_1), run(two=FAILED)), STAYS),
        (isolated("two", run(two=FAILED)), STAYS),
        (isolated("two", run(two=MISSING)), STAYS),
        (isolated("two", run(two=FAILED), MUTANT_TWO, run(two=FAILED)), STAYS),
        (isolated("two", run(EARLY)), STAYS),
        (isolated("two", run(TIMED_OUT), MUTANT_TWO, run(two=FAILED)), STAYS),
    ],
    ids=[
        "it-holds", "whatever-others-do", "its-mutant-fails", "its-mutant-is-missing", "its-mutant-passes",
        "its-mutant-ends-early", "its-mutant-is-too-slow", "one-of-its-mutants-tests-passes", "it-fails",
        "it-is-missing", "it-fails-either-way", "it-ends-early", "it-is-too-slow",
    ],
)  # fmt: skip
def test_a_function_that_holds_by_itself_is_cleared(one: Isolated, expected: Facts) -> None:
    """A mutated test had stopped before its own clean-up, and the next found what it left."""
    assert facts(judge([FIRST, fails_with_others(BOTH, one)])) == expected


@pytest.mark.parametrize(
    ("unmodified", "failed"),
    [(FINE, []), (run(row_2=FAILED), [ROW_2]), (ROWS_FAILED, [ROW_1, ROW_2])],
    ids=["both", "one", "none"],
)
def test_each_row_is_cleared_for_itself(unmodified: TestRun, failed: list[str]) -> None:
    one = fails_with_others(ROWS_FAILED, isolated("rows", unmodified, MUTANT_ROW, run(row_1=FAILED)))
    assert facts(judge([FIRST, one]))[:2] == (float(not failed), failed)


def test_a_row_that_passes_with_its_mutant_clears_no_row() -> None:
    one = fails_with_others(ROWS_FAILED, isolated("rows", FINE, MUTANT_ROW, run(row_2=FAILED)))
    assert facts(judge([FIRST, one]))[:2] == (0.0, [ROW_1, ROW_2])


THREE = run(one=FAILED, two=FAILED, old=FAILED, kept=FAILED)
"""`test_one` is mutated, and left its state to three others."""


@pytest.mark.parametrize(
    ("cleared", "failed"),
    [
        ([isolated("two"), isolated("old"), isolated("kept")], []),
        ([isolated("two"), isolated("old", run(old=FAILED)), isolated("kept")], [OLD]),
        ([isolated("two", FINE, MUTANT_TWO, FINE), isolated("old"), isolated("kept", run(kept=MISSING))], [TWO, KEPT]),
    ],
    ids=["all", "all-but-one", "one-of-three"],
)
def test_as_many_functions_as_may_be_are_cleared_one_by_one(cleared: list[Isolated], failed: list[str]) -> None:
    assert len(cleared) == MAX_ISOLATED
    score = facts(judge([FIRST, fails_with_others(THREE, *cleared)]))
    names = f"mutants: passed at first, failed among mutants: {', '.join(failed)}"
    assert score == (float(not failed), failed, FAILS if failed else "", [names] if failed else [])


FOUR = run(one=FAILED, two=FAILED, row_1=FAILED, old=FAILED, kept=FAILED)


def test_of_more_functions_none_is_asked_for_and_none_cleared() -> None:
    four = fails_with_others(FOUR)
    assert facts(judge([FIRST, four]))[:2] == (0.0, [TWO, ROW_1, OLD, KEPT])
    reference = run(one=FAILED, row_1=FAILED)
    excused = replace(four, reference=reference, asked=f"{ISOLATED} isolated isolated",
                      isolated=(isolated("two"), isolated("old"), isolated("kept")))  # fmt: skip
    assert facts(judge([FIRST, excused])) == CLEAN


def test_rows_are_one_function() -> None:
    seen = run(one=FAILED, two=FAILED, row_1=FAILED, row_2=FAILED, old=FAILED)
    assert facts(judge([FIRST, fails_with_others(seen, isolated("two"), isolated("rows"), isolated("old"))])) == CLEAN


@pytest.mark.parametrize("reason", [EARLY, TIMED_OUT])
def test_a_mutant_run_that_broke_off_is_cleared_as_well(reason: str) -> None:
    """What a mutated test left may end the run; each function of it must hold by itself."""
    three = replace(fails_with_others(run(reason), isolated("two"), isolated("old"), isolated("kept")),
                    tests=(ONE, TWO, OLD, KEPT))  # fmt: skip
    assert facts(judge([FIRST, three])) == CLEAN
    one_fails = replace(three, isolated=(isolated("two"), isolated("old", run(old=FAILED)), isolated("kept")))
    assert facts(judge([FIRST, one_fails]))[:3] == (0.0, [OLD], reason)


def test_a_round_without_mutants_clears_nothing() -> None:
    """No test in it can have left anything that a mutant made it leave."""
    seen = run(two=FAILED)
    assert facts(judge([FIRST, Recorded(seen, (), seen, FINE, CHECKED_TWICE)])) == STAYS
    assert facts(judge([FIRST, Recorded(seen, (), seen, seen, CHECKED_TWICE)])) == CLEAN
    assert functions_to_isolate(TASK, Round(ALL, seen, (), seen, FINE), CHECKED) == []


@pytest.mark.parametrize("seen", [FINE, run(two=FAILED)], ids=["by-itself", "with-one-that-fails"])
def test_a_mutated_test_that_passes_is_never_cleared(seen: TestRun) -> None:
    """Nor is it asked for: by itself it holds, where it is not mutated."""
    one = fails_with_others(seen, *([isolated("two")] if seen is not FINE else []))
    assert facts(judge([FIRST, one])) == (1.0, [], "", [ONE_PASSES])
    both = fails_with_others(run(kept=FAILED), isolated("kept"), mutants=(MUTANT_ONE, MUTANT_TWO))
    flag = "mutants: 2 passed that must fail: t.py::test_one, t.py::test_two"
    assert facts(judge([FIRST, both])) == (0.0, [ONE, TWO], FAILS, [flag])


def test_a_function_is_cleared_in_its_own_round_only() -> None:
    cleared = fails_with_others(BOTH, isolated("two"))
    assert facts(judge([FIRST, cleared, fails_with_others(BOTH, TWO_FAILS)])) == STAYS
    assert facts(judge([FIRST, cleared, cleared])) == CLEAN


def test_a_function_that_is_skipped_by_itself_is_cleared_if_it_is_so_in_the_control_run() -> None:
    seen = run(one=FAILED, old=FAILED)
    one = fails_with_others(seen, isolated("old", run(old=SKIPPED)))
    played, _ = play([FIRST, one], CHECKED)
    assert verdict(TASK, played, Control(run(old=SKIPPED))).value == 1.0
    assert facts(verdict(TASK, played, CHECKED))[:2] == (0.0, [OLD])


# Whose code was tested.

INSTALLED = ("/usr/lib/t/__init__.py",)


def elsewhere(seen: TestRun = FINE) -> TestRun:
    """A run in which an installed copy was imported."""
    return replace(seen, foreign=INSTALLED)


@pytest.mark.parametrize("seen", [FINE, run(one=FAILED)], ids=["all-pass", "one-fails"])
def test_an_installed_copy_with_the_reference_patch_too_is_a_failure_of_ours(seen: TestRun) -> None:
    with pytest.raises(RewardError, match=r"t-1: an installed copy .* tested in its place, .*/usr/lib/t/__init__"):
        judge([Recorded(elsewhere(seen), asked="control")], Control(elsewhere()))


@pytest.mark.parametrize(
    ("one", "control", "expected"),
    [
        (Recorded(elsewhere(), asked="control"), FINE, CLEAN),
        (Recorded(elsewhere(run(one=FAILED)), asked="control"), FINE, (0.0, [ONE], FAILS, [])),
        (
            Recorded(elsewhere(run(EARLY)), reference=FINE, asked="control reference"),
            FINE,
            (0.0, list(ALL), EARLY, [f"reports: {EARLY}"]),
        ),
        (Recorded(FINE), elsewhere(), CLEAN),
        (Recorded(run(one=FAILED), asked="control"), elsewhere(), (0.0, [ONE], FAILS, [])),
    ],
    ids=["all-pass", "one-fails", "it-breaks-off", "not-asked", "the-control-only"],
)
def test_an_installed_copy_in_one_run_only_changes_nothing(one: Recorded, control: TestRun, expected: Facts) -> None:
    """A patch can claim that of itself."""
    assert facts(judge([one], Control(control))) == expected


def test_an_installed_copy_is_looked_for_in_the_first_run_only() -> None:
    assert facts(judge([FIRST, mutated(elsewhere(MUTATED))], Control(elsewhere()))) == CLEAN


def test_the_one_mutant_that_passed_is_given_for_another_try() -> None:
    def single(*rounds: Recorded) -> Mutant | None:
        played, control = play([FIRST, *rounds], Control(FINE))
        return single_pass(TASK, played, control)

    assert single(passed(MUTANT_ONE)) == single(passed(MUTANT_ONE), passed(MUTANT_ONE)) == MUTANT_ONE
    assert single(passed(MUTANT_ONE), passed(MUTANT_TWO)) is single(mutated(MUTATED)) is None
    assert single(mutated(FINE, FINE, FINE, CHECKED_TWICE)) is None
    assert single(fails_with_others(run(two=FAILED), isolated("two"))) == MUTANT_ONE
    assert single(mutated(FINE, MUTATED, MUTATED, CHECKED_TWICE)) == MUTANT_ONE


# What is needed next.

BAD = Round(ALL, BOTH, (MUTANT_ONE,), repeat=BOTH, reference=MUTATED)
"""An unmodified test fails in it for good."""
FLAKE = Round(ALL, BOTH, (MUTANT_ONE,), repeat=MUTATED)


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
        ([Round(ALL, FINE), Round(ALL, FINE, (MUTANT_ONE,), repeat=MUTATED)], UNCHECKED, "reference"),
        ([Round(ALL, FINE), Round(ALL, BOTH, (MUTANT_ONE,), repeat=MUTATED)], UNCHECKED, ""),
        ([Round(ALL, FINE), Round(ALL, BOTH, (MUTANT_ONE,), repeat=run(EARLY))], UNCHECKED, "reference"),
        ([Round(ALL, FINE), Round(ALL, run(EARLY), (MUTANT_ONE,), repeat=MUTATED)], UNCHECKED, ""),
        ([Round(ALL, FINE), FLAKE, FLAKE], UNCHECKED, "reference"),
        ([Round(ALL, FINE), FLAKE, replace(FLAKE, reference=MUTATED)], UNCHECKED, "isolated"),
        ([Round(ALL, FINE), Round(ALL, FINE, (MUTANT_ONE,), repeat=FINE)], UNCHECKED, "reference"),
        ([Round(ALL, FINE), Round(ALL, FINE, (MUTANT_ONE,), repeat=FINE, reference=FINE)], UNCHECKED, ""),
        ([Round(ALL, FINE), Round(ALL, FINE, (MUTANT_ONE,)), Round(ALL, MUTATED, (MUTANT_ONE,))], UNCHECKED, ""),
        ([Round(ALL, FINE), Round(ALL, FINE, (MUTANT_ONE,), repeat=FINE, reference=MUTATED)], UNCHECKED, ""),
        ([Round(ALL, FINE), BAD], UNCHECKED, "isolated"),
        ([Round(ALL, FINE), replace(BAD, reference=BOTH)], UNCHECKED, ""),
        ([Round(ALL, FINE), replace(BAD, reference=run(EARLY))], UNCHECKED, ""),
        ([Round(ALL, FINE), replace(BAD, run=run(two=FAILED), repeat=run(two=FAILED))], UNCHECKED, "isolated"),
        ([Round(ALL, FINE), replace(BAD, isolated=(isolated("two"),))], UNCHECKED, ""),
        ([Round(ALL, FINE), replace(BAD, isolated=(TWO_FAILS,))], UNCHECKED, ""),
        ([Round(ALL, FINE), replace(BAD, mutants=())], UNCHECKED, ""),
        ([Round(ALL, FINE), replace(BAD, run=THREE, repeat=THREE, isolated=(isolated("two"),))], UNCHECKED, "isolated"),
        ([Round(ALL, FINE), replace(BAD, run=FOUR, repeat=FOUR)], UNCHECKED, ""),
        ([Round(ALL, elsewhere())], UNCHECKED, "control"),
        ([Round(ALL, elsewhere())], CHECKED, ""),
        ([Round(ALL, elsewhere()), Round(ALL, elsewhere(MUTATED), (MUTANT_ONE,))], UNCHECKED, ""),
    ],
)  # fmt: skip
def test_the_fact_that_is_needed_next(rounds: list[Round], control: Control, need: str) -> None:
    assert missing_fact(TASK, rounds, control) == need


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


def test_a_forged_record_costs_little_memory_and_counts_for_nothing() -> None:
    """Nested lists in 57 MB of text would be gigabytes of objects; a record that large is not read at all."""
    text = '["missing", [' + '[["x"]], ' * 6_400_000 + "[]]]"
    digest = hashlib.sha256((sent(START)[0][:64].decode() + text).encode()).hexdigest()
    lines = [*sent(START), f"{digest} {text}\n".encode()]
    assert len(lines[1]) > 57_000_000
    tracemalloc.start()
    try:
        found = read(lines)
        assert tracemalloc.get_traced_memory()[1] < 150 << 20  # the joined bytes among them
    finally:
        tracemalloc.stop()
    assert (found.reason, found.started, found.nearest) == (FORGED, True, {})


@pytest.mark.parametrize(
    "record",
    [
        ["phase", "x" * 70_000, "call", "passed", False, False, 0],
        ["end", 1 << 31],
        ["end", -(10**900)],
        ["phase", "a", "call", "failed", False, False, 10**900],
        ["start", "8" * 2000],
        ["foreign", ["x" * 300_000]],
    ],
    ids=["long id", "exit status", "negative", "line", "version", "foreign"],
)
def test_each_kind_of_record_has_its_bounds(record: Record) -> None:
    assert read(sent(START, record)).reason == FORGED


@pytest.mark.parametrize("record", [START, ["missing", []], ["foreign", []]])
def test_what_is_sent_once_is_sent_once(record: Record) -> None:
    assert read(sent(START, *([] if record is START else [record]), record, *phases("a"), END)).reason == FORGED


def test_long_ids_and_many_tests_are_no_forgery() -> None:
    """Ids of parametrised tests may hold whole texts."""
    tests = [f"t.py::test[{number}-{'x' * 5000}]" for number in range(300)]
    found = read(sent(START, *(one for test in tests for one in phases(test)), END))
    assert (found.reason, set(found.statuses.values()), len(found.statuses)) == ("", {PASSED}, 300)


def test_every_text_in_the_parts_is_bounded() -> None:
    parts = score_of(TASK, ["x"], "r" * 5000, ["f" * 5000], dropped=["d" * 5000] * 300, unprotected=["u"]).parts
    assert parts["reason"] == "r" * 2000 + " [... 3000 characters]"
    assert [len(text) for text in (*parts["integrity"], *parts["dropped"])] == [2022] * 201
