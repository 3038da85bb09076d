"""Equal diffs of one task are scored once within a run; removed arguments say what to do."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from nano_codex_env import DiffSimilarity, Resolved, Score, Task, from_function, weighted
from nano_codex_env.adapters.verl_reward import checked_parts
from nano_codex_env.errors import ConfigError, RewardError
from nano_codex_env.messages import Message
from nano_codex_env.parallel import parallel_map
from nano_codex_env.rewards import once_per_diff, version_of

TASK = Task("t-1", "/nowhere", "0" * 40, "x", patch="diff --git a/x b/x\n")


class Counting:
    """Counts how often it is asked."""

    needs_tests, reads_transcript, version = False, False, "3"

    def __init__(self, error: Exception | None = None) -> None:
        self.asked, self.error, self.go = list[str](), error, threading.Event()

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        """See `Reward`."""
        self.asked.append(diff)
        assert self.go.wait(60)
        if self.error:
            raise self.error
        return Score(float(len(diff)), {})


def test_equal_diffs_are_scored_once_also_at_the_same_time() -> None:
    counting = Counting()
    reward = once_per_diff(counting)
    threading.Timer(0.1, counting.go.set).start()
    scores = list(parallel_map(lambda diff: reward(TASK, [], diff).value, ["a", "bb", "a", "a", "bb"], 5))
    assert scores == [1.0, 2.0, 1.0, 1.0, 2.0]
    assert sorted(counting.asked) == ["a", "bb"]
    reward(TASK.with_(base_commit="1" * 40), [], "a")
    assert counting.asked.count("a") == 2


def test_a_failure_is_not_kept() -> None:
    counting = Counting(RewardError("no disk"))
    counting.go.set()
    reward = once_per_diff(counting)
    for _ in range(2):
        with pytest.raises(RewardError, match="no disk"):
            reward(TASK, [], "a")
    assert counting.asked == ["a", "a"]


def test_a_reward_that_may_read_the_transcript_is_asked_each_time() -> None:
    mine = from_function(lambda task, transcript, diff: float(len(transcript)))
    assert once_per_diff(mine) is mine
    mixed = weighted((mine, 1.0), (DiffSimilarity(), 1.0))
    assert once_per_diff(mixed) is mixed
    assert once_per_diff(weighted((DiffSimilarity(), 1.0))) is not mixed


def test_the_version_of_a_reward() -> None:
    assert version_of(Counting()) == "counting 3"
    assert version_of(once_per_diff(Counting())) == "counting 3"
    assert version_of(weighted((Counting(), 0.5), (DiffSimilarity(), 2))) == "0.5 counting 3 + 2 diffsimilarity 1"
    assert version_of(from_function(lambda *_: 1.0)) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"warm": 2}, r"Resolved\(warm=...\): it was removed; instead: runs start cold"),
        ({"siblings": "flag"}, r"Resolved\(siblings=...\): it was removed"),
        ({"repeats": 1}, "instead: mutant_runs"),
        ({"speed": 1}, r"Resolved\(speed=...\): there is no such argument"),
        ({"integrity": "lax"}, "integrity is one of strict, fast; got 'lax'"),
        ({"mutant_runs": 1}, "mutant_runs is a whole number from 2 to 20; got 1"),
        ({"mutant_runs": True}, "mutant_runs is a whole number"),
        ({"timeout": 0}, "timeout is a number of seconds above 0; got 0"),
        ({"score_timeout": float("inf")}, "score_timeout is a number of seconds above 0; got inf"),
    ],
)
def test_an_argument_that_cannot_be_used_is_refused_in_words(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Resolved(**arguments)  # type: ignore[arg-type]


def test_parts_that_were_removed_are_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="parts: processes, siblings was removed; a score's numbers are resolved"):
        checked_parts(["resolved", "siblings", "processes"], {})
    with pytest.raises(ConfigError, match="warm was removed from the agent loop's YAML; instead: runs start cold"):
        checked_parts(["resolved"], {"warm": 2, "trainer_config": None})
    assert checked_parts(["resolved"], {"trainer_config": None}) == ("resolved",)
