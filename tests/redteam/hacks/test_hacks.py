"""Every hack of the corpus gets 0.0, honest patches get their right value, and the hacks fool careless scorers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest

from nano_codex_env import Resolved, Task, load_tasks
from nano_codex_env.parallel import parallel_map
from nano_codex_env.sandbox import Sandbox
from tests.redteam.hacks.aware import AWARE
from tests.redteam.hacks.careless import CARELESS, OneProcess
from tests.redteam.hacks.channels import NEWS
from tests.redteam.hacks.controls import RIGHT_ONES, WRONG_ONES
from tests.redteam.hacks.hack import Hack
from tests.redteam.hacks.inside import INSIDE
from tests.redteam.hacks.outside import OUTSIDE
from tests.redteam.hacks.victim import make_victim

HACKS = {hack.id: hack for hack in [*OUTSIDE, *INSIDE, *AWARE, *NEWS]}
THREATS = tuple(dict.fromkeys(hack.threat for hack in HACKS.values()))
OVERFIT = "hidden values"
"""A patch that knows the hidden values passes the tests and fails their mutants, as a right patch does."""
HANGING = ("stop-sleep", "stop-paused", "stop-memory")
"""Each takes its whole time limit, as `stop-loop` does, which always runs."""
DUDS = {
    "tests-folder-in-the-way": "pytest takes no folder for a file",
    "git-attributes": "git apply asks no attributes for an encoding",
    "git-attributes-below": "git apply asks no attributes for an encoding",
    "git-hook": "git apply writes nothing below .git",
    "git-outside": "git apply leaves no tree",
    "git-link-folder": "git apply follows no link",
    "git-two-slashes": "git apply takes no such path",
    "records-without-a-key": "it asks for a scorer that takes records from anyone",
    "an-object-for-each-answer": "it has no price, and one test wants an error",
    "text-by-page-cache": "it answers calls, and one test wants an error",
    "near-is-equal-and-equal-is-not": "what was right before is wrong to it",
    "any-order-is-equal": "a price is further off",
    "values-of-the-issue": "it asks for tests that are the issue's example",
}
"""Hacks that fool none of the careless scorers, and why; another scorer may be less lucky."""
OTHERS = ("pocket-distance", "ledger-rounding", "routekit-query")
MORE = ("ledger-rounding", "roster-folding", "jobline-backoff")


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """The library that counts no box for a rest."""
    return make_victim(tmp_path_factory.mktemp("victim") / "crates.git")


@pytest.fixture(scope="module")
def filed(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """The same, with tests that hand it files."""
    return make_victim(tmp_path_factory.mktemp("victim") / "crates.git", filed=True)


@pytest.fixture(scope="module")
def others() -> dict[str, Task]:
    """Bundled tasks by name."""
    return {task.instance_id: task for task in load_tasks("bundled")}


@pytest.fixture(scope="module")
def judge(sandbox: Sandbox) -> Resolved:
    """The reward as it is by default, with a shorter limit."""
    return Resolved(sandbox=sandbox, timeout=20)


def of(threat: str, *, hanging: bool = False) -> list[Hack]:
    """The hacks of a threat; `hanging`: those too that are left for the long run."""
    return [hack for hack in HACKS.values() if hack.threat == threat and (hanging or hack.id not in HANGING)]


def expect_nothing(judge: Resolved, tries: Iterable[tuple[Task, Hack]]) -> None:
    """Every hack gets 0.0; the message names all that do not."""

    def score(pair: tuple[Task, Hack]) -> str:
        task, hack = pair
        found = judge(task, [], hack.patch(task))
        return "" if found.value == 0.0 else f"{hack.id} on {task.instance_id} ({found.parts['integrity']})"

    paid = [name for name in parallel_map(score, tries) if name]
    assert not paid, ", ".join(paid)


# The hacks.


FORGED = tuple(threat for threat in THREATS if threat != OVERFIT)


@pytest.mark.parametrize("threat", [threat for threat in FORGED if threat != "stop"])  # that takes its time limit
def test_a_hack_of_each_threat_is_worth_nothing(threat: str, judge: Resolved, victim: Task) -> None:
    """A library of plain functions, tested in every style; the nightly suite has all hacks."""
    expect_nothing(judge, [(victim, next(hack for hack in of(threat) if hack.id not in DUDS))])


@pytest.mark.slow
@pytest.mark.parametrize("threat", FORGED)
def test_no_hack_is_worth_anything(threat: str, judge: Resolved, victim: Task) -> None:
    """Three times, since mutant runs are drawn at random."""
    expect_nothing(judge, [(victim, hack) for hack in of(threat) for _ in range(3)])


@pytest.mark.slow
def test_what_knows_the_hidden_values_passes_as_documented(judge: Resolved, victim: Task) -> None:
    """A known limit: such a patch computes what the tests expect, and no mutant tells it from a right one."""
    values = {hack.id: judge(victim, [], hack.patch(victim)).value for hack in of(OVERFIT)}
    assert values["values-in-a-table"] == 1.0
    assert values["values-of-the-issue"] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("threat", FORGED)
def test_no_hack_is_worth_anything_in_another_library(threat: str, judge: Resolved, others: dict[str, Task]) -> None:
    """Each hack that can be put into any code is put into one of three libraries."""
    tries = [hack for hack in of(threat) if hack.generic and hack.id != "stop-loop"]
    expect_nothing(judge, [(others[OTHERS[n % len(OTHERS)]], hack) for n, hack in enumerate(tries)])


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_no_hack_is_worth_anything_in_a_harder_library(name: str, judge: Resolved, others: dict[str, Task]) -> None:
    """Every hack in a library with threads, time or text."""
    expect_nothing(judge, [(others[name], hack) for hack in HACKS.values() if hack.generic and hack.threat != OVERFIT])


@pytest.mark.slow
@pytest.mark.parametrize("threat", FORGED)
def test_no_hack_is_worth_anything_where_tests_hand_over_files(threat: str, judge: Resolved, filed: Task) -> None:
    """Such tests and the code must see the same files, which is the harder case to judge."""
    expect_nothing(judge, [(filed, hack) for hack in of(threat, hanging=True)])


# Honest patches.


@pytest.mark.slow
def test_every_right_patch_is_worth_one(judge: Resolved, victim: Task) -> None:
    """However it is written, whatever it prints and whatever else it changes."""
    scores = dict(zip(RIGHT_ONES, parallel_map(lambda diff: judge(victim, [], diff), RIGHT_ONES.values()), strict=True))
    assert {name: score.parts for name, score in scores.items() if score.value != 1.0} == {}


@pytest.mark.slow
def test_no_wrong_patch_is_worth_anything(judge: Resolved, victim: Task) -> None:
    """Half right is wrong, and so is right for the one and wrong for the other."""
    scores = dict(zip(WRONG_ONES, parallel_map(lambda diff: judge(victim, [], diff), WRONG_ONES.values()), strict=True))
    assert {name: score.parts for name, score in scores.items() if score.value != 0.0} == {}


@pytest.mark.slow
def test_right_and_wrong_are_told_where_tests_hand_over_files(judge: Resolved, filed: Task) -> None:
    """The controls once more, on the harder case."""
    wanted = dict.fromkeys(RIGHT_ONES, 1.0) | dict.fromkeys(WRONG_ONES, 0.0)
    scores = parallel_map(lambda diff: judge(filed, [], diff).value, (RIGHT_ONES | WRONG_ONES).values())
    assert dict(zip(wanted, scores, strict=True)) == wanted


@pytest.mark.slow
def test_the_reference_of_each_other_library_is_worth_one(judge: Resolved, others: dict[str, Task]) -> None:
    """Else a hack that gets 0.0 there would prove nothing."""
    scores = list(parallel_map(lambda name: judge(others[name], [], others[name].patch).value, OTHERS))
    assert scores == [1.0] * len(OTHERS)


# The corpus itself.


def fooled(sandbox: Sandbox, task: Task, hack: Hack) -> list[str]:
    """The careless scorers that a hack fools; the first is enough."""
    kinds = [OneProcess, *CARELESS] if hack.threat == "scorer" else CARELESS
    diff = hack.patch(task)
    return next(([kind.__name__] for kind in kinds if kind(sandbox)(task, [], diff).value == 1.0), [])


def test_each_threat_has_four_hacks_and_no_hack_is_there_twice(victim: Task) -> None:
    """Names and patches are unique."""
    assert len(HACKS) == len([*OUTSIDE, *INSIDE, *AWARE, *NEWS]) == len({hack.patch(victim) for hack in HACKS.values()})
    assert min(Counter(hack.threat for hack in HACKS.values()).values()) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", CARELESS, ids=lambda kind: kind.__name__)
def test_a_careless_scorer_tells_right_from_wrong(kind: type, sandbox: Sandbox, victim: Task) -> None:
    """It judges honest patches rightly."""
    reward = kind(sandbox)
    assert (reward(victim, [], victim.patch).value, reward(victim, [], "").value) == (1.0, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("threat", THREATS)
def test_a_hack_of_each_threat_fools_a_careless_scorer(threat: str, sandbox: Sandbox, victim: Task) -> None:
    """A hack that fools no scorer proves nothing."""
    assert fooled(sandbox, victim, next(hack for hack in of(threat) if hack.id not in (*DUDS, "stop-loop")))


@pytest.mark.slow
@pytest.mark.parametrize("threat", THREATS)
def test_every_hack_but_the_duds_fools_a_careless_scorer(threat: str, sandbox: Sandbox, victim: Task) -> None:
    """And each of `DUDS` fools none of them."""
    hacks = [hack for hack in of(threat) if hack.id != "stop-loop"]
    found = list(zip(hacks, parallel_map(lambda hack: fooled(sandbox, victim, hack), hacks), strict=True))
    assert {hack.id for hack, kinds in found if not kinds} == {hack.id for hack in hacks if hack.id in DUDS}
