"""The verdict from recorded facts, without a box: what runs showed goes in, a score or a failure of ours comes out."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

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
MUTANT_ROW = mutant("rows", ROW_1)
"""It edits both rows, and is judged by the first: the second passes with the reference patch as well."""


@dataclass(frozen=True)
class Recorded:
    """One set of tests: the facts of its run, and of exactly the other runs that must be asked for."""

    run: TestRun
    mutants: tuple[Mutant, ...] = ()
    repeat: TestRun | None = None
    reference: TestRun | None = None
    isolated: tuple[Isolated, ...] = ()
    """In the order in which they must be asked for."""
    control: bool = False
    """Whether the control run must be asked for, before all others."""
    tests: tuple[str, ...] = ALL

    @property
    def asked(self) -> list[str]:
        """What must be asked for, in this order."""
        asked = ["control"] * self.control + ["repeat"] * (self.repeat is not None)
        return asked + ["reference"] * (self.reference is not None) + ["isolated"] * len(self.isolated)


def play(rounds: Sequence[Recorded], control: Control) -> tuple[list[Round], Control]:
    """The rounds with what `missing_fact` asks for, which is checked."""
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
        assert asked == recorded.asked
    return played, known


UNCHECKED, CHECKED = Control(), Control(FINE)


def judge(rounds: Sequence[Recorded], control: Control = CHECKED, task: Task = TASK) -> Score:
    return verdict(task, *play(rounds, control))


Facts = tuple[float, list[str], str, list[str]]
FAILS = "tests failed"
CLEAN: Facts = (1.0, [], "", [])


def facts(score: Score) -> Facts:
    parts = score.parts
    return score.value, parts["failed"], parts["reason"], parts["integrity"]


# The unmodified run.

FIRST_RUNS: dict[str, tuple[TestRun, TestRun, list[str]]] = {
    "all-pass": (FINE, FINE, []),
    "new-fails": (run(one=FAILED), FINE, [ONE]),
    "old-fails": (run(old=FAILED), FINE, [OLD]),
    "two-fail": (run(row_2=FAILED, old=FAILED), FINE, [ROW_2, OLD]),
    "new-missing": (run(one=MISSING), FINE, [ONE]),
    "old-missing": (run(kept=MISSING), FINE, [KEPT]),
    "old-skipped": (run(old=SKIPPED), FINE, [OLD]),
    "old-xfailed": (run(old=XFAILED), FINE, [OLD]),
    "old-xpassed": (run(old=XPASSED), FINE, [OLD]),
    "skipped-as-in-the-control": (run(old=SKIPPED), run(old=SKIPPED), []),
    "xfailed-as-in-the-control": (run(old=XFAILED), run(old=XFAILED), []),
    "xpassed-as-in-the-control": (run(old=XPASSED), run(old=XPASSED), []),
    "skipped-but-xfailed-in-the-control": (run(old=SKIPPED), run(old=XFAILED), [OLD]),
    "one-as-in-the-control-one-not": (run(old=XFAILED, kept=SKIPPED), run(old=XFAILED), [KEPT]),
    "fails-but-skipped-in-the-control": (run(old=FAILED), run(old=SKIPPED), [OLD]),
    "fails-but-xfailed-in-the-control": (run(old=FAILED), run(old=XFAILED), [OLD]),
    "fails-but-xpassed-in-the-control": (run(old=FAILED), run(old=XPASSED), [OLD]),
    "new-skipped": (run(one=SKIPPED), FINE, [ONE]),
    "new-xfailed": (run(one=XFAILED), FINE, [ONE]),
    "new-xpassed": (run(one=XPASSED), FINE, [ONE]),
}


@pytest.mark.parametrize(("seen", "control", "failed"), FIRST_RUNS.values(), ids=FIRST_RUNS)
def test_the_unmodified_run(seen: TestRun, control: TestRun, failed: list[str]) -> None:
    score = judge([Recorded(seen, control=seen is not FINE)], Control(control))
    assert facts(score) == (float(not failed), failed, FAILS if failed else "", [])


def test_a_patch_that_does_not_apply_needs_no_other_run() -> None:
    assert facts(judge([Recorded(run(NOT_APPLIED))])) == (0.0, list(ALL), NOT_APPLIED, [])


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
@pytest.mark.parametrize("theirs", [FINE, run(one=FAILED)], ids=["reference-passes", "reference-fails-a-test"])
def test_a_run_that_breaks_off_where_the_reference_does_not(reason: str, flags: list[str], theirs: TestRun) -> None:
    """The reference run must show only that the tests come to an end here."""
    assert facts(judge([Recorded(run(reason), reference=theirs)])) == (0.0, list(ALL), reason, flags)


@pytest.mark.parametrize("theirs", [reason for reason, _ in BROKEN_OFF.values()], ids=BROKEN_OFF)
@pytest.mark.parametrize("ours", [TIMED_OUT, EARLY])
def test_a_run_that_breaks_off_as_the_reference_does_is_a_failure_of_ours(theirs: str, ours: str) -> None:
    """The reasons may differ: a loaded machine shows itself in more than one way."""
    with pytest.raises(RewardError, match=r"t-1: .*with the reference patch too .*the environment is at") as error:
        judge([Recorded(run(theirs), reference=run(ours))])
    assert theirs in str(error.value)
    assert ours in str(error.value)
    assert not isinstance(error.value, BrokenTaskError)


# The control run.


@pytest.mark.parametrize(
    ("seen", "control", "words"),
    [
        (run(one=FAILED), run(one=FAILED), r"1 of its tests does not pass with the reference patch: .*one \(failed\)"),
        (run(one=MISSING), run(one=MISSING), r"test_one \(missing; not found, the nearest are t\.py::test_a, test_b\)"),
        (run(old=FAILED), run(old=FAILED), r"test_old \(failed\)"),
        (run(old=FAILED), run(old=MISSING), r"test_old \(missing\)"),
        (run(one=FAILED), run(one=SKIPPED), r"test_one \(skipped\)"),
        (run(one=SKIPPED), run(one=SKIPPED), r"test_one \(skipped\)"),
        (run(one=XFAILED), run(one=XFAILED), r"test_one \(xfailed\)"),
        (run(one=XPASSED), run(one=XPASSED), r"test_one \(xpassed\)"),
        (run(one=FAILED, two=FAILED), run(one=FAILED), r"1 of its tests .*test_one \(failed\)\. Its tests"),
        (run(one=FAILED, old=FAILED), run(one=FAILED, old=FAILED), r"2 of its tests do not .*test_one .*test_old"),
    ],
    ids=["new", "missing", "old", "old-missing", "fails", "skipped", "xfailed", "xpassed", "one-of-two", "both"],
)  # fmt: skip
def test_a_test_that_fails_with_the_reference_too_makes_the_task_broken(
    seen: TestRun, control: TestRun, words: str
) -> None:
    named = replace(control, nearest={ONE: ("t.py::test_a", "test_b")} if seen.status(ONE) == MISSING else {})
    with pytest.raises(BrokenTaskError, match=f"t-1 cannot be solved here: .*{words}"):
        judge([Recorded(seen, control=True)], Control(named))


def test_at_most_five_broken_tests_are_named() -> None:
    bad = run(one=FAILED, two=FAILED, row_1=FAILED, row_2=FAILED, old=FAILED, kept=FAILED)
    with pytest.raises(BrokenTaskError, match="6 of its tests") as error:
        judge([Recorded(bad, control=True)], Control(bad))
    assert [test in str(error.value) for test in ALL] == [True] * 5 + [False]


def test_a_flaky_test_does_not_make_the_task_broken() -> None:
    seen = Recorded(run(old=FAILED), control=True)
    assert facts(judge([seen], Control(run(old=FAILED), frozenset({OLD}))))[:2] == (0.0, [OLD])
    with pytest.raises(BrokenTaskError, match="test_one"):
        judge([replace(seen, run=run(one=FAILED, old=FAILED))], Control(run(one=FAILED, old=FAILED), frozenset({OLD})))


def test_a_control_run_that_breaks_off_is_a_failure_of_ours() -> None:
    with pytest.raises(RewardError, match=rf"t-1: its tests do not run here, not even with .*\({TIMED_OUT}\)"):
        judge([Recorded(run(one=FAILED), control=True)], Control(run(TIMED_OUT)))


def test_without_a_reference_patch_the_control_run_judges_only_old_tests() -> None:
    task = TASK.with_(patch="")
    bare = Control(run(one=FAILED, two=FAILED, row_1=FAILED, row_2=FAILED))
    both = Recorded(run(one=FAILED, old=FAILED), control=True)
    assert facts(judge([both], bare, task))[:2] == (0.0, [ONE, OLD])
    assert judge([Recorded(FINE)], bare, task).value == 1.0
    with pytest.raises(
        BrokenTaskError, match=r"1 of its tests does not pass with no patch: t\.py::test_old \(failed\)"
    ):
        judge([both], Control(run(one=FAILED, old=FAILED)), task)


# Mutant runs.

FIRST = Recorded(FINE)
MUTATED = run(one=FAILED)
"""What a right patch shows where `test_one` is mutated."""
BOTH = run(one=FAILED, two=FAILED)
"""`test_two` fails as well, though it was not edited."""
OTHER = run(one=FAILED, kept=FAILED)
TWO_AND_OLD, TWO_AND_KEPT = run(one=FAILED, two=FAILED, old=FAILED), run(one=FAILED, two=FAILED, kept=FAILED)
ROWS = run(one=FAILED, row_1=FAILED, row_2=FAILED)
THREE = run(one=FAILED, two=FAILED, old=FAILED, kept=FAILED)
FIVE = run(one=FAILED, two=FAILED, row_1=FAILED, row_2=FAILED, old=FAILED)
FOUR = run(one=FAILED, two=FAILED, row_1=FAILED, old=FAILED, kept=FAILED)


def mutated(
    seen: TestRun,
    repeat: TestRun | None = None,
    reference: TestRun | None = None,
    *isolated: Isolated,
    mutants: tuple[Mutant, ...] = (MUTANT_ONE,),
    control: bool = False,
) -> Recorded:
    return Recorded(seen, mutants, repeat, reference, isolated, control)


def passed(*mutants: Mutant) -> Recorded:
    """A round in which these mutants pass, each time, and fail with the reference patch."""
    right = TestRun({**FINE.statuses, **{test: FAILED for mutant in mutants for test in mutant.tests}})
    return mutated(FINE, FINE, right, mutants=mutants)


def isolated(
    name: str, unmodified: TestRun = FINE, mutant: Mutant | None = None, mutated: TestRun | None = None
) -> Isolated:
    return Isolated(f"t.py::test_{name}", unmodified, mutant, mutated)


def late(*failed: str, more: Sequence[str] = ()) -> Facts:
    """These tests count as failed, though they passed at first."""
    names = ", ".join(failed[:3])
    return 0.0, list(failed), FAILS, [f"mutants: passed at first, failed among mutants: {names}", *more]


def passing(*failed: str, count: int = 2, names: str = "") -> Facts:
    """So many mutants passed."""
    names = names or ", ".join(failed)
    flag = f"mutants: {count} passed that must fail: {names}"
    return float(not failed), list(failed), FAILS if failed else "", [flag]


ONE_PASSES = passing(count=1, names=ONE)
FLAG = ONE_PASSES[3]
ALL_BUT_ONE = [test for test in ALL if test != ONE]
TWO_FAILS = isolated("two", run(two=FAILED), MUTANT_TWO, run(two=FAILED))
OLD_FAILS, KEPT_FAILS = isolated("old", run(old=FAILED)), isolated("kept", run(kept=FAILED))
HOLDS = [isolated("two"), isolated("old"), isolated("kept")]
FLAKE, STAYS = mutated(BOTH, MUTATED), mutated(BOTH, BOTH, MUTATED, TWO_FAILS)
CLEARED = mutated(BOTH, BOTH, MUTATED, isolated("two"))

ROUNDS: dict[str, tuple[list[Recorded], Facts]] = {
    "as-it-should-be": ([mutated(MUTATED)], CLEAN),
    # Unmodified tests that fail among mutants.
    "twice": ([STAYS], late(TWO)),
    "missing-and-failed": ([mutated(run(one=FAILED, two=MISSING), BOTH, MUTATED, TWO_FAILS)], late(TWO)),
    "with-the-reference-too": ([mutated(BOTH, BOTH, BOTH)], CLEAN),
    "one-of-two-with-the-reference-too": (
        [mutated(TWO_AND_OLD, TWO_AND_OLD, run(one=FAILED, old=FAILED), TWO_FAILS)],
        late(TWO),
    ),
    "other-rows-of-its-mutant": (
        [Recorded(run(row_1=FAILED, row_2=status), (MUTANT_ROW,)) for status in (PASSED, FAILED, MISSING)],
        CLEAN,
    ),
    "not-in-the-round": ([replace(mutated(OTHER), tests=(ONE, TWO, ROW_1, ROW_2, OLD))], CLEAN),
    # The first flake of a score is forgiven, no other.
    "first-flake": ([FLAKE], CLEAN),
    "first-flake-among-others": ([mutated(MUTATED), FLAKE, mutated(MUTATED)], CLEAN),
    "another-the-second-time": ([mutated(BOTH, OTHER)], CLEAN),
    "two-tests-then-another": ([mutated(TWO_AND_OLD, OTHER)], CLEAN),
    "second-flake": ([FLAKE, mutated(BOTH, MUTATED, MUTATED, TWO_FAILS)], late(TWO)),
    "second-flake-later": ([FLAKE, mutated(MUTATED), mutated(BOTH, MUTATED, MUTATED, TWO_FAILS)], late(TWO)),
    "second-flake-of-both-runs": ([FLAKE, mutated(BOTH, OTHER, MUTATED, TWO_FAILS, KEPT_FAILS)], late(TWO, KEPT)),
    "second-flake-with-one-excused": ([FLAKE, mutated(BOTH, OTHER, OTHER, TWO_FAILS)], late(TWO)),
    "second-flake-with-the-reference-too": ([FLAKE, mutated(BOTH, MUTATED, BOTH)], CLEAN),
    "second-flake-cleared": ([FLAKE, mutated(BOTH, MUTATED, MUTATED, isolated("two"))], CLEAN),
    "third-flake": (
        [
            mutated(OTHER, MUTATED),
            mutated(BOTH, MUTATED, MUTATED, TWO_FAILS),
            mutated(run(one=FAILED, old=FAILED), MUTATED, MUTATED, OLD_FAILS),
        ],
        (0.0, [TWO, OLD], FAILS, [late(TWO)[3][0], late(OLD)[3][0]]),
    ),
    # What both runs show counts; where a mutated test passed in one of them, what either shows.
    "the-same-and-others": ([mutated(TWO_AND_OLD, TWO_AND_KEPT, MUTATED, TWO_FAILS)], late(TWO)),
    "a-mutant-passes-once": ([mutated(FINE, MUTATED, MUTATED)], ONE_PASSES),
    "a-mutant-passes-in-the-repeat": ([mutated(BOTH, FINE, MUTATED, TWO_FAILS)], late(TWO, more=FLAG)),
    "a-mutant-passes-then-another-test-fails": ([mutated(FINE, BOTH, MUTATED, TWO_FAILS)], late(TWO, more=FLAG)),
    "which-the-reference-shows": ([mutated(FINE, BOTH, BOTH)], ONE_PASSES),
    "a-mutant-passes-as-with-the-reference": ([mutated(BOTH, FINE, FINE, TWO_FAILS)], late(TWO)),
    "union-of-both": (
        [mutated(TWO_AND_OLD, run(kept=FAILED), MUTATED, TWO_FAILS, OLD_FAILS, KEPT_FAILS)],
        late(TWO, OLD, KEPT, more=FLAG),
    ),
    # Runs that break off.
    "the-repeat-breaks-off": (
        [mutated(BOTH, run(EARLY), MUTATED, TWO_FAILS)],
        (0.0, [TWO], EARLY, [f"reports: {EARLY}"]),
    ),
    "the-repeat-is-too-slow": ([mutated(BOTH, run(TIMED_OUT), MUTATED, TWO_FAILS)], (0.0, [TWO], TIMED_OUT, [])),
    "the-repeat-breaks-off-cleared": ([mutated(BOTH, run(EARLY), MUTATED, isolated("two"))], CLEAN),
    "a-mutant-passes-then-too-slow": (
        [mutated(FINE, run(TIMED_OUT), MUTATED)],
        (0.0, ALL_BUT_ONE, TIMED_OUT, FLAG),
    ),
    "both-break-off": (
        [mutated(run(TIMED_OUT), run(EARLY), MUTATED)],
        (0.0, ALL_BUT_ONE, EARLY, [f"reports: {EARLY}"]),
    ),
    "breaks-off-once": ([mutated(run(EARLY), MUTATED)], CLEAN),
    "breaks-off-in-two-rounds": (
        [mutated(run(EARLY), MUTATED), mutated(run(EARLY), MUTATED, MUTATED)],
        (0.0, ALL_BUT_ONE, EARLY, [f"reports: {EARLY}"]),
    ),
    "applied-at-first-and-not-again": (
        [mutated(run(NOT_APPLIED), run(NOT_APPLIED), MUTATED)],
        (0.0, ALL_BUT_ONE, NOT_APPLIED, []),
    ),
    **{
        f"each-time-{name}": (
            [mutated(run(reason), run(reason), MUTATED)],
            (0.0, ALL_BUT_ONE, reason, flags),
        )
        for name, (reason, flags) in BROKEN_OFF.items()
    },
    # Mutants that pass: one may do so by chance, two do not.
    "one-mutant-passes": ([passed(MUTANT_ONE)], ONE_PASSES),
    "one-mutant-passes-in-two-rounds": ([passed(MUTANT_ONE), passed(MUTANT_ONE)], ONE_PASSES),
    "two-mutants-pass-in-one-round": ([passed(MUTANT_ONE, MUTANT_TWO)], passing(ONE, TWO)),
    "two-mutants-pass-in-two-rounds": ([passed(MUTANT_ONE), passed(MUTANT_OLD)], passing(ONE, OLD)),
    "two-mutants-of-one-function-pass": (
        [passed(MUTANT_ONE), passed(mutant("one", ONE, kind="letter", at=40))],
        passing(ONE),
    ),
    "a-mutant-passes-with-the-reference-too": ([mutated(FINE, FINE, FINE)], CLEAN),
    "two-mutants-pass-once-each": (
        [mutated(run(one=FAILED), run(two=FAILED), BOTH, mutants=(MUTANT_ONE, MUTANT_TWO))],
        passing(ONE, TWO),
    ),
    "a-mutant-is-judged-by-its-own-row": (
        [passed(MUTANT_ROW, MUTANT_ONE)],
        passing(ONE, ROW_1, names=f"{MUTANT_ONE.function}, {MUTANT_ROW.function}"),
    ),
    "a-mutant-is-missing": ([mutated(run(one=MISSING))], CLEAN),
    "a-mutant-is-skipped": ([mutated(run(one=SKIPPED), control=True)], CLEAN),
    "a-mutant-is-xfailed": ([mutated(run(one=XFAILED), control=True)], CLEAN),
    # Functions that fail unmodified are cleared if they hold in isolation, where their own mutant fails.
    "holds": ([CLEARED], CLEAN),
    "holds-whatever-others-do": ([mutated(BOTH, BOTH, MUTATED, isolated("two", OTHER))], CLEAN),
    **{
        name: ([mutated(BOTH, BOTH, MUTATED, one)], CLEAN if clears else late(TWO))
        for name, (clears, one) in {
            "its-mutant-fails": (True, isolated("two", FINE, MUTANT_TWO, run(two=FAILED))),
            "its-mutant-is-missing": (True, isolated("two", FINE, MUTANT_TWO, run(two=MISSING))),
            "its-mutant-passes": (False, isolated("two", FINE, MUTANT_TWO, FINE)),
            "its-mutant-ends-early": (False, isolated("two", FINE, MUTANT_TWO, run(EARLY))),
            "its-mutant-is-too-slow": (False, isolated("two", FINE, MUTANT_TWO, run(TIMED_OUT))),
            "one-of-its-mutants-tests-passes": (
                False,
                isolated("two", FINE, mutant("two", TWO, ROW_1), run(two=FAILED)),
            ),
            "it-fails": (False, isolated("two", run(two=FAILED))),
            "it-is-missing": (False, isolated("two", run(two=MISSING))),
            "it-ends-early": (False, isolated("two", run(EARLY))),
            "it-is-too-slow": (False, isolated("two", run(TIMED_OUT), MUTANT_TWO, run(two=FAILED))),
        }.items()
    },
    "both-rows-hold": ([mutated(ROWS, ROWS, MUTATED, isolated("rows", FINE, MUTANT_ROW, run(row_1=FAILED)))], CLEAN),
    "one-row-holds": (
        [mutated(ROWS, ROWS, MUTATED, isolated("rows", run(row_2=FAILED), MUTANT_ROW, run(row_1=FAILED)))],
        late(ROW_2),
    ),
    "no-row-holds": ([mutated(ROWS, ROWS, MUTATED, isolated("rows", ROWS))], late(ROW_1, ROW_2)),
    "a-row-passes-with-its-mutant": (
        [mutated(ROWS, ROWS, MUTATED, isolated("rows", FINE, MUTANT_ROW, run(row_2=FAILED)))],
        late(ROW_1, ROW_2),
    ),
    "three-hold": ([mutated(THREE, THREE, MUTATED, *HOLDS)], CLEAN),
    "two-of-three-hold": ([mutated(THREE, THREE, MUTATED, HOLDS[0], OLD_FAILS, HOLDS[2])], late(OLD)),
    "rows-are-one-function": (
        [mutated(FIVE, FIVE, MUTATED, isolated("two"), isolated("rows"), isolated("old"))],
        CLEAN,
    ),
    "of-four-none-is-asked-for": ([mutated(FOUR, FOUR, MUTATED)], late(TWO, ROW_1, OLD, KEPT)),
    "of-four-one-is-excused": ([mutated(FOUR, FOUR, run(one=FAILED, row_1=FAILED), *HOLDS)], CLEAN),
    **{
        f"{reason} and holds": (
            [replace(mutated(run(reason), run(reason), MUTATED, *HOLDS), tests=(ONE, TWO, OLD, KEPT))],
            CLEAN,
        )
        for reason in (EARLY, TIMED_OUT)
    },
    "ends-early-and-one-fails": (
        [replace(mutated(run(EARLY), run(EARLY), MUTATED, HOLDS[0], OLD_FAILS, HOLDS[2]), tests=(ONE, TWO, OLD, KEPT))],
        (0.0, [OLD], EARLY, [f"reports: {EARLY}"]),
    ),
    "no-mutants-so-nothing-to-clear": ([mutated(run(two=FAILED), run(two=FAILED), FINE, mutants=())], late(TWO)),
    "no-mutants-and-with-the-reference-too": (
        [mutated(run(two=FAILED), run(two=FAILED), run(two=FAILED), mutants=())],
        CLEAN,
    ),
    "a-mutant-that-passes-is-not-cleared": (
        [mutated(run(two=FAILED), run(two=FAILED), MUTATED, isolated("two"))],
        ONE_PASSES,
    ),
    "two-mutants-that-pass-are-not-cleared": (
        [mutated(run(kept=FAILED), run(kept=FAILED), BOTH, isolated("kept"), mutants=(MUTANT_ONE, MUTANT_TWO))],
        passing(ONE, TWO),
    ),
    "cleared-in-its-own-round-only": ([CLEARED, STAYS], late(TWO)),
    "cleared-in-both-rounds": ([CLEARED, CLEARED], CLEAN),
}


@pytest.mark.parametrize(("rounds", "expected"), ROUNDS.values(), ids=ROUNDS)
def test_mutant_runs(rounds: list[Recorded], expected: Facts) -> None:
    assert facts(judge([FIRST, *rounds])) == expected


def test_a_mutant_run_that_breaks_off_with_the_reference_too_is_a_failure_of_ours() -> None:
    with pytest.raises(RewardError, match=r"t-1: a mutant run of the reference patch broke off .*ended early"):
        judge([FIRST, mutated(run(TIMED_OUT), run(TIMED_OUT), run(EARLY))])


def test_a_flaky_test_is_not_held_against_a_patch() -> None:
    assert facts(judge([FIRST, mutated(BOTH)], Control(FINE, frozenset({TWO})))) == CLEAN


def test_a_test_that_is_skipped_among_mutants_needs_the_control_run() -> None:
    seen, skips = run(one=FAILED, old=SKIPPED), isolated("old", run(old=SKIPPED))
    assert judge([FIRST, mutated(seen, control=True)], Control(run(old=SKIPPED))).value == 1.0
    assert facts(judge([FIRST, mutated(seen, seen, MUTATED, skips, control=True)])) == late(OLD)
    failing = run(one=FAILED, old=FAILED)
    played, _ = play([FIRST, mutated(failing, failing, MUTATED, skips)], CHECKED)
    assert verdict(TASK, played, Control(run(old=SKIPPED))).value == 1.0
    assert facts(verdict(TASK, played, CHECKED)) == late(OLD)


def test_the_one_mutant_that_passed_is_given_for_another_try() -> None:
    def single(*rounds: Recorded) -> Mutant | None:
        played, control = play([FIRST, *rounds], CHECKED)
        return single_pass(TASK, played, control)

    assert single(passed(MUTANT_ONE)) == single(passed(MUTANT_ONE), passed(MUTANT_ONE)) == MUTANT_ONE
    assert single(passed(MUTANT_ONE), passed(MUTANT_TWO)) is single(mutated(MUTATED)) is None
    assert single(mutated(FINE, FINE, FINE)) is None
    assert single(mutated(run(two=FAILED), run(two=FAILED), MUTATED, isolated("two"))) == MUTANT_ONE
    assert single(mutated(FINE, MUTATED, MUTATED)) == MUTANT_ONE


# Whose code was tested.


def elsewhere(seen: TestRun = FINE) -> TestRun:
    """A run in which an installed copy was imported."""
    return replace(seen, foreign=("/usr/lib/t/__init__.py",))


@pytest.mark.parametrize("seen", [FINE, run(one=FAILED)], ids=["all-pass", "one-fails"])
def test_an_installed_copy_with_the_reference_patch_too_is_a_failure_of_ours(seen: TestRun) -> None:
    with pytest.raises(RewardError, match=r"t-1: an installed copy .* tested in its place, .*/usr/lib/t/__init__"):
        judge([Recorded(elsewhere(seen), control=True)], Control(elsewhere()))


@pytest.mark.parametrize(
    ("one", "control", "expected"),
    [
        (Recorded(elsewhere(), control=True), FINE, CLEAN),
        (Recorded(elsewhere(run(one=FAILED)), control=True), FINE, (0.0, [ONE], FAILS, [])),
        (
            Recorded(elsewhere(run(EARLY)), reference=FINE, control=True),
            FINE,
            (0.0, list(ALL), EARLY, [f"reports: {EARLY}"]),
        ),
        (Recorded(FINE), elsewhere(), CLEAN),
        (Recorded(run(one=FAILED), control=True), elsewhere(), (0.0, [ONE], FAILS, [])),
    ],
    ids=["all-pass", "one-fails", "it-breaks-off", "not-asked", "the-control-only"],
)
def test_an_installed_copy_in_one_run_only_changes_nothing(one: Recorded, control: TestRun, expected: Facts) -> None:
    """A patch can claim that of itself."""
    assert facts(judge([one], Control(control))) == expected


def test_an_installed_copy_is_looked_for_in_the_first_run_only() -> None:
    assert facts(judge([FIRST, mutated(elsewhere(MUTATED))], Control(elsewhere()))) == CLEAN


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
        pytest.param(["phase", "x" * 70_000, "call", "passed", False, False, 0], id="a long id"),
        pytest.param(["phase", "a", "call", "failed", False, False, 10**900], id="a large line"),
        pytest.param(["end", 1 << 31], id="a large status"),
        pytest.param(["end", -(10**900)], id="a negative status"),
        pytest.param(["start", "8" * 2000], id="a long version"),
        pytest.param(["foreign", ["x" * 300_000]], id="long paths"),
    ],
    ids=str,
)
def test_a_record_of_the_wrong_shape_or_size_breaks_the_chain(record: Any) -> None:
    """The key is in the box, so code under test may continue the chain."""
    first = [] if isinstance(record, list) and record[:1] == ["start"] else [START]
    assert read(sent(*first, record)).reason == FORGED


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
