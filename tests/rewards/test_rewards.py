"""What a reward is, and how one is made from a function, from text, or from others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from nano_codex_env import DiffSimilarity, NanoCodexEnv, Score, Task, from_function, weighted
from nano_codex_env.adapters.trl import TrlSpec
from nano_codex_env.adapters.verl_reward import SharedReward
from nano_codex_env.errors import ConfigError, RewardError, TaskError
from nano_codex_env.messages import Message
from nano_codex_env.rewards import call_reward, check_reward, needs_tests, once_per_diff, version_of
from nano_codex_env.rewards.base import reads_transcript

REFERENCE = """diff --git a/a.py b/a.py
index 1111111..2222222 100644
--- a/a.py
+++ b/a.py
@@ -1 +1 @@
-a
+b
diff --git a/c.py b/c.py
index 3333333..4444444 100644
--- a/c.py
+++ b/c.py
@@ -1 +1 @@
-c
+d
"""
FIRST, SECOND = REFERENCE[: REFERENCE.index("diff --git a/c.py")], REFERENCE[REFERENCE.index("diff --git a/c.py") :]


@pytest.fixture
def task() -> Task:
    """A task with a reference patch and nothing else."""
    return Task("x-1", "/nowhere", "", "mend it", REFERENCE)


def half(task: Task, transcript: Sequence[Message], diff: str) -> float:
    return 0.5


# Score.

LONG = (400, 5000)
"""Digits of numbers that no float holds, and that Python does not write."""


@pytest.mark.parametrize("value", [0, 1, -3, 0.25, 1e300, np.float32(0.5), np.array(2)])
def test_a_score_is_a_finite_number(value: Any) -> None:
    """As a plain number is; those of NumPy and PyTorch were refused in a `Score`."""
    score = Score(value)
    assert score.value == float(value)
    assert type(score.value) is float
    assert score.parts == {}


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, True, None, "1.0", [1.0], 1j, *(pytest.param(10**n, id=f"{n}") for n in LONG)],
)
def test_what_is_no_finite_number_is_no_score(value: Any) -> None:
    with pytest.raises(RewardError, match="a score is a finite number; got"):
        Score(value)


def test_numbers_that_no_float_holds_are_null_in_the_parts() -> None:
    """They were an OverflowError wherever metrics are made."""
    parts = {"n": 10**400, "deep": [{"m": -(10**309)}], "whole": 10**300, "small": 7}
    assert Score(1, parts).parts == {"n": None, "deep": [{"m": None}], "whole": 10**300, "small": 7}
    with pytest.raises(RewardError, match="parts must be JSON"):
        Score(1, {"n": 10**5000})


# from_function.


def test_a_function_becomes_a_reward(task: Task) -> None:
    seen: list[Any] = []

    def judge(*arguments: Any) -> float:
        seen.extend(arguments)
        return 0.75

    transcript = [{"role": "user", "content": "hi"}]
    assert from_function(judge)(task, transcript, "diff") == Score(0.75, {"judge": 0.75})
    assert seen == [task, transcript, "diff"]


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.int64(2), np.array(0.5), np.array([0.5]), 1])
def test_a_function_may_give_a_scalar_of_numpy(task: Task, value: Any) -> None:
    score = from_function(lambda *arguments: value)(task, [], "")
    assert score.value == float(np.asarray(value).reshape(()))
    assert type(score.value) is float
    assert type(score.parts["lambda"]) in (float, int)


NO_NUMBERS = [np.float32("nan"), np.inf, -math.inf, 10**400, None, "1.0", b"1", (1.0, {}), {}, 1j, np.zeros(2)]


def judge_without_a_wrapper(value: Any) -> Any:
    """A reward of a user's who has read no more than that it returns a number."""

    def mine(task: Task, transcript: Sequence[Message], diff: str) -> Any:
        return value

    return mine


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: f"{value!r:.20}")
def test_what_is_no_number_is_refused_with_what_to_return(task: Task, value: Any) -> None:
    words = "a score is a finite number; got .* from the reward mine: return a number, or Score.number, parts."
    mine = judge_without_a_wrapper(value)
    for reward in (from_function(mine), weighted((mine, 1.0)), once_per_diff(mine)):
        with pytest.raises(RewardError, match=f"(?s){words}"):
            call_reward(reward, task, [], "")


@pytest.mark.parametrize("value", [0.5, 1, True, np.float32(0.5), np.bool_(True), np.array([0.5]), Score(0.5)])
def test_a_plain_function_is_a_reward(task: Task, value: Any) -> None:
    """Without `from_function` its number was refused."""
    mine = judge_without_a_wrapper(value)
    expected = 0.5 if value in (0.5, Score(0.5)) else 1.0
    score = Score(expected, {} if isinstance(value, Score) else {"mine": expected})
    for reward in (mine, from_function(mine), once_per_diff(mine), SharedReward(mine, 1)):
        assert call_reward(reward, task, [], "") == score
    assert weighted((mine, 2.0))(task, [], "").value == 2 * expected


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        ("resolved", "a reward is called with .task, transcript, diff., such as Resolved.. .*; got 'resolved'"),
        (0, "got 0"),
        (Score(1.0), "got Score"),
        (DiffSimilarity, "DiffSimilarity is a class: give an object of it, DiffSimilarity"),
        (lambda diff: 1.0, "lambda.diff. cannot be: too many positional arguments"),
        (lambda task, transcript, diff, more: 1.0, "cannot be: missing a required argument: 'more'"),
    ],
)
def test_what_cannot_be_called_as_a_reward_is_refused_when_it_is_given(task: Task, reward: Any, words: str) -> None:
    """It failed at the end of the first episode; 0 was taken for the default."""
    for take in (
        from_function,
        partial(NanoCodexEnv, task),
        partial(TrlSpec, task),
        lambda it: check_reward(it, [task]),
    ):
        with pytest.raises(ConfigError, match=words):
            take(reward)


def test_a_function_that_raises_is_not_a_zero(task: Task) -> None:
    def broken(*arguments: Any) -> float:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        from_function(broken)(task, [], "")


class Versioned:
    """A reward of a user's that declares what it is."""

    needs_tests, reads_transcript, version = True, False, 3

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> float:
        return 0.5


def test_what_a_reward_declares_holds_inside_from_function() -> None:
    """`module:name` of the command line goes through it, and lost version and transcript."""
    reward = from_function(Versioned())
    assert (needs_tests(reward), reads_transcript(reward), version_of(reward)) == (True, False, "versioned 3")
    assert once_per_diff(reward) is not reward
    assert version_of(from_function(half)) is None


# weighted.


def test_rewards_are_summed_by_weight(task: Task) -> None:
    score = weighted((DiffSimilarity(), 0.8), (from_function(half), 0.4), (from_function(half), -0.1))(
        task, [], REFERENCE
    )
    assert score.value == pytest.approx(0.8 * 1.0 + 0.4 * 0.5 - 0.1 * 0.5)
    assert score.parts == {
        "diffsimilarity": 1.0,
        "diffsimilarity.similarity": 1.0,
        "diffsimilarity.files_in_common": 2.0,
        "half": 0.5,
        "half.half": 0.5,
        "half_2": 0.5,
        "half_2.half": 0.5,
    }


def test_sums_can_be_summed(task: Task) -> None:
    inner = weighted((from_function(half), 1), (DiffSimilarity(), 1))
    outer = weighted((inner, 0.5), (from_function(half), 1))
    score = outer(task, [], REFERENCE)
    assert score.value == pytest.approx(0.5 * 1.5 + 0.5)
    assert score.parts["weighted.half"] == 0.5


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([], "weighted takes at least one"),
        ([DiffSimilarity()], "weighted takes .reward, weight. pairs; got"),
        ([(DiffSimilarity(),)], "weighted takes .reward, weight. pairs; got"),
        ([(1.0, DiffSimilarity())], "weighted takes .reward, weight. pairs; got"),
        ([(DiffSimilarity(), math.nan)], "a weight is a finite number; got nan"),
        ([(DiffSimilarity(), 10**400)], "a weight is a finite number; got a whole number of 1329 bits"),
        ([(DiffSimilarity(), "1")], "a weight is a finite number; got '1'"),
        ([(DiffSimilarity(), True)], "a weight is a finite number; got True"),
        ([(DiffSimilarity, 1.0)], "DiffSimilarity is a class: give an object of it"),
    ],
)
def test_what_cannot_be_weighed_is_refused(pairs: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        weighted(*pairs)


# DiffSimilarity.


@pytest.mark.parametrize(
    ("diff", "value", "common"),
    [
        (REFERENCE, 1.0, 2.0),
        ("", 0.0, 0.0),
        (FIRST, 0.5, 1.0),
        (SECOND, 0.5, 1.0),
        (SECOND + FIRST, 1.0, 2.0),  # the order of the files says nothing
        (REFERENCE + FIRST.replace("a.py", "e.py"), 2 / 3, 2.0),  # a file too many
        # Of `@@ -1 +1 @@\n-a\n+b\n`, 18 characters, 17 are the same: the ratio is 2 * 17 / (18 + 18).
        (REFERENCE.replace("+b", "+x"), (17 / 18 + 1) / 2, 2.0),
        (FIRST.replace("+b", "+x"), 17 / 18 / 2, 1.0),
        # Ids and modes say nothing about likeness.
        (REFERENCE.replace("index 1111111..2222222 100644", "index 99..88 100755"), 1.0, 2.0),
        (FIRST.replace("a.py", "z.py"), 0.0, 0.0),
        ("no patch at all", 0.0, 0.0),
    ],
)
def test_likeness_is_the_mean_ratio_over_the_larger_number_of_files(
    task: Task, diff: str, value: float, common: float
) -> None:
    score = DiffSimilarity()(task, [], diff)
    assert score.value == pytest.approx(value)
    assert score.parts == {"similarity": score.value, "files_in_common": common}


def test_a_patch_without_git_headers_is_compared_too(task: Task) -> None:
    plain = "--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-a\n+b\n"
    assert DiffSimilarity()(task.with_(patch=plain), [], FIRST).value == pytest.approx(1.0)


@pytest.mark.parametrize("patch", ["", "no patch at all"])
def test_a_task_without_a_reference_patch_has_no_likeness(task: Task, patch: str) -> None:
    for diff in ("", REFERENCE):
        with pytest.raises(TaskError, match="x-1 has no reference patch to compare with"):
            DiffSimilarity()(task.with_(patch=patch), [], diff)


# call_reward.


def broken(task: Task, transcript: Sequence[Message], diff: str) -> float:
    raise KeyError("mine")


class Broken:
    """A reward of a user's, over one of ours."""

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        return Score(DiffSimilarity()(task, transcript, diff).value / 0)


THEIRS: dict[str, Any] = {
    "a function": broken,
    "from_function": from_function(broken),
    "from_function, its result": from_function(lambda *_: np.zeros(2)),  # type: ignore[arg-type]
    "from_function of weighted": from_function(weighted((from_function(broken), 1.0))),
    "weighted": weighted((DiffSimilarity(), 0.5), (from_function(broken), 0.5)),
    "weighted, one that gives no score": weighted((lambda *_: "1", 1.0)),  # type: ignore[arg-type]
    "once_per_diff": once_per_diff(weighted((DiffSimilarity(), 0.5), (Broken(), 0.5))),
    "a class": Broken(),
    "a partial function": partial(broken),
    "no score": lambda *_: None,
}


@pytest.mark.parametrize("reward", THEIRS.values(), ids=list(THEIRS))
def test_what_a_users_reward_raises_is_a_failure_that_is_told(reward: Any, task: Task) -> None:
    with pytest.raises(RewardError, match=r"raised \w+Error: |a score is a finite number; got .* return a number, or"):
        call_reward(reward, task, [], REFERENCE)


def test_the_cause_of_what_a_users_reward_raises_is_kept(task: Task) -> None:
    with pytest.raises(RewardError, match="the reward broken raised KeyError: 'mine'") as caught:
        call_reward(THEIRS["weighted"], task, [], REFERENCE)
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("wrap", [lambda it: it, from_function, once_per_diff, lambda it: weighted((it, 1.0))])
def test_a_bug_of_ours_is_raised_as_it_is(task: Task, wrap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr("nano_codex_env.rewards.similarity.DiffSimilarity.__call__", bug)
    with pytest.raises(KeyError, match="ours"):
        call_reward(wrap(DiffSimilarity()), task, [], REFERENCE)


def test_a_reward_that_is_called_by_itself_raises_what_it_raises(task: Task) -> None:
    for name in ("from_function", "weighted", "from_function of weighted"):
        with pytest.raises(KeyError, match="mine"):
            THEIRS[name](task, [], REFERENCE)
