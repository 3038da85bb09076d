"""One episode, played by a policy: what is recorded, what is void, and what is raised."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import pytest

from nano_codex_env import NanoCodexEnv, Oracle, Reply, Scripted, Task, Trajectory, from_function
from nano_codex_env.errors import ContextOverflow, PolicyError, TrajectoryError
from nano_codex_env.messages import Message, assistant, tool_call
from nano_codex_env.records.result import EpisodeResult
from nano_codex_env.runs.rollout import rollout
from nano_codex_env.sandbox import Sandbox
from tests.conftest import leavings

LOOK = tool_call("shell", cmd="ls")
FIX = tool_call("apply_patch", search="return a - b", replace="return a + b", file="sums.py")
ONE = from_function(lambda task, transcript, diff: 1.0)
KEYS = ["instance_id", "attempt", "reward", "stop", "steps", "seconds", "void", "folder"]
KEYS += ["diff", "parts", "metrics", "scorer"]


class Failing(Scripted):
    """Raises once its script is played."""

    def __init__(self, actions: Sequence[Any], error: BaseException) -> None:
        super().__init__(actions)
        self._error = error

    def __call__(self, messages: Any, tools: Any) -> Reply:
        if sum(message["role"] == "assistant" for message in messages) < len(self._actions):
            return super().__call__(messages, tools)
        raise self._error


def test_a_result_says_what_an_episode_came_to(tested: NanoCodexEnv, task: Task) -> None:
    result = rollout(tested, Oracle([task]), attempt=3, seed=5)
    assert (result.instance_id, result.attempt, result.reward, result.stop) == ("sums-1", 3, 1.0, "submitted")
    assert (result.steps, result.void) == (2, None)
    assert result.folder
    logged = Trajectory.load(result.folder)
    assert (logged.diff, logged.metadata["parts"], logged.metadata["metrics"]) == (
        result.diff,
        result.parts,
        result.metrics,
    )
    assert "+    return a + b" in result.diff


def test_a_row_is_json_with_the_words_of_the_last_info(env: NanoCodexEnv) -> None:
    result = rollout(env, Scripted([FIX]))
    row = result.row()
    assert list(row) == KEYS
    assert json.loads(json.dumps(row)) == row
    with_bytes = result.__class__(**{**row, "diff": "\udce9"})
    assert json.loads(json.dumps(with_bytes.row()))["diff"] == "\udce9"


def test_a_policy_sees_what_reset_and_step_give(env: NanoCodexEnv) -> None:
    seen: list[tuple[list[Message], Any]] = []

    def policy(messages: Sequence[Message], tools: Any) -> Reply:
        seen.append((list(messages), tools))
        return Reply(assistant("", LOOK) if len(messages) == 2 else assistant("done"))

    rollout(env, policy)
    assert [len(messages) for messages, _ in seen] == [2, 4]
    assert [tool["function"]["name"] for tool in seen[0][1]] == ["shell", "apply_patch"]


def test_options_are_those_of_reset(task: Task, repo: Path, sandbox: Sandbox) -> None:
    other = task.with_(instance_id="sums-2")
    with NanoCodexEnv([task, other], ONE, sandbox=sandbox, log_dir=None) as env:
        idle = Scripted([])
        assert rollout(env, idle, instance_id="sums-2").instance_id == "sums-2"
        assert rollout(env, idle, task=task.with_(instance_id="sums-3")).instance_id == "sums-3"
        assert rollout(env, idle, issue="mend it", repo=str(repo)).instance_id == "repo"
        drawn = [rollout(env, idle, seed=seed).instance_id for seed in range(12)]
        assert drawn == [rollout(env, idle, seed=seed).instance_id for seed in range(12)]
        assert set(drawn) == {"sums-1", "sums-2"}
        assert rollout(env, idle).folder is None


def test_an_environment_of_gym_make_is_played_too(task: Task) -> None:
    env = gym.make("NanoCodex-v0", tasks=[task], log_dir=None)
    assert rollout(env, Oracle([task])).reward == 1.0
    env.close()


def test_another_environment_is_refused() -> None:
    env = gym.make("CartPole-v1")
    with pytest.raises(TypeError, match="rollout plays NanoCodexEnv; got CartPoleEnv"):
        rollout(env, Scripted([]))
    env.close()


def test_a_truncated_episode_is_no_void_one(task: Task, sandbox: Sandbox) -> None:
    with NanoCodexEnv([task], sandbox=sandbox, log_dir=None, max_steps=2) as env:
        result = rollout(env, Scripted([FIX, LOOK, LOOK]))
    assert (result.reward, result.stop, result.steps, result.void) == (1.0, "max_steps", 2, None)


def test_a_policy_that_cannot_answer_makes_a_void_result(env: NanoCodexEnv) -> None:
    result = rollout(env, Failing([LOOK, FIX], PolicyError("the endpoint is gone")))
    assert (result.reward, result.stop, result.steps) == (None, None, 2)
    assert result.void == "PolicyError: the endpoint is gone"
    assert (result.instance_id, result.diff, result.parts, result.metrics) == ("sums-1", "", {}, {})
    assert result.folder
    logged = Trajectory.load(result.folder)
    assert logged.metadata["void"] == result.void
    assert "return a + b" in logged.diff
    assert rollout(env, Scripted([FIX])).reward == 1.0  # the environment is as good as new


def test_a_task_that_cannot_be_started_makes_a_void_result_with_its_name(env: NanoCodexEnv, task: Task) -> None:
    gone = task.with_(instance_id="gone-1", repo="/nowhere/at/all")
    result = rollout(env, Scripted([]), task=gone)
    assert (result.instance_id, result.reward, result.steps, result.folder) == ("gone-1", None, 0, None)
    assert result.void
    assert result.void.startswith("WorkspaceError: there is no folder /nowhere/at/all")
    assert rollout(env, Scripted([]), instance_id="nobody").instance_id == "nobody"
    assert rollout(env, Scripted([]), issue="x", repo="/nowhere").instance_id == "/nowhere"


def test_a_void_result_does_not_touch_the_episode_before(env: NanoCodexEnv) -> None:
    good = rollout(env, Scripted([FIX]))
    bad = rollout(env, Scripted([]), instance_id="nobody")
    assert bad.void
    assert good.folder
    assert "void" not in Trajectory.load(good.folder).metadata


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), KeyboardInterrupt()], ids=["bug", "interrupt"])
def test_a_bug_and_an_interruption_end_the_episode_with_a_reason_and_are_raised(
    env: NanoCodexEnv, tmp_path: Path, error: BaseException
) -> None:
    before = leavings()
    with pytest.raises(type(error)) as caught:
        rollout(env, Failing([LOOK], error))
    assert caught.value is error
    [folder] = (tmp_path / "log").glob("*/")
    logged = Trajectory.load(folder).metadata
    assert (logged["void"], logged["stop"]) == (f"{type(error).__name__}: {error}", None)
    assert leavings() <= before
    assert rollout(env, Scripted([FIX])).reward == 1.0


def test_errors_that_are_named_make_a_void_result_and_all_others_are_raised(
    env: NanoCodexEnv, caplog: pytest.LogCaptureFixture
) -> None:
    result = rollout(env, Failing([LOOK], ZeroDivisionError("a bug")), void_on=ArithmeticError)
    assert (result.reward, result.steps, result.void) == (None, 1, "ZeroDivisionError: a bug")
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "Traceback (most recent call last)" in record.getMessage()
    assert record.getMessage().endswith("ZeroDivisionError: a bug\n")
    for error in (ValueError("another"), PolicyError("not named")):
        with pytest.raises(type(error)):
            rollout(env, Failing([LOOK], error), void_on=ArithmeticError)
    with pytest.raises(KeyboardInterrupt):
        rollout(env, Failing([LOOK], KeyboardInterrupt()), void_on=Exception)
    assert rollout(env, Failing([LOOK], PolicyError("ours")), void_on=Exception).void == "PolicyError: ours"


def test_a_transcript_that_no_longer_fits_ends_the_episode_and_is_scored(env: NanoCodexEnv) -> None:
    result = rollout(env, Failing([FIX], ContextOverflow("too long")))
    assert (result.reward, result.stop, result.steps, result.void) == (1.0, "token_limit", 1, None)
    assert result.folder
    assert Trajectory.load(result.folder).metadata["stop"] == "token_limit"


def test_tokens_that_a_server_counted_are_reported(task: Task, sandbox: Sandbox) -> None:
    def policy(messages: Sequence[Message], tools: Any) -> Reply:
        return Reply(assistant("", LOOK, LOOK), usage={"total_tokens": 50 * len(messages)})

    with NanoCodexEnv([task], ONE, sandbox=sandbox, log_dir=None, token_limit=250) as env:
        result = rollout(env, policy)
    assert (result.stop, result.steps, result.metrics["tokens"]) == ("token_limit", 2, 250.0)


def test_what_a_policy_tells_of_itself_stands_in_the_log(env: NanoCodexEnv) -> None:
    class Telling(Scripted):
        about: ClassVar = {"model": "mine", "sampling": {"temperature": 0.5}}

    for policy, about in ((Telling([]), Telling.about), (Scripted([]), {"name": "Scripted"})):
        result = rollout(env, policy, attempt=2)
        assert result.folder
        logged = Trajectory.load(result.folder).metadata
        assert (logged["policy"], logged["attempt"]) == (about, 2)


def test_a_policy_whose_words_of_itself_are_no_json_makes_a_void_result(env: NanoCodexEnv) -> None:
    class Odd(Scripted):
        about: ClassVar = {"model": {1}}

    result = rollout(env, Odd([]))
    assert result.void
    assert result.void.startswith("TrajectoryError: ")
    assert rollout(env, Scripted([FIX])).reward == 1.0


def test_a_result_is_made_of_its_row_again(env: NanoCodexEnv) -> None:
    result = rollout(env, Scripted([FIX]))
    row = json.loads(json.dumps(result.row()))
    assert EpisodeResult.from_row({**row, "of a later version": 1}) == result
    del row["stop"], row["diff"]
    with pytest.raises(TrajectoryError, match="a row of results has no stop, diff; it has instance_id, "):
        EpisodeResult.from_row(row)


def test_every_column_of_results_is_documented(env: NanoCodexEnv) -> None:
    page = Path(__file__).parents[2] / "docs" / "logs-and-replay.md"
    table = page.read_text().partition("| column of `results.jsonl` |")[2].partition("\n\n")[0]
    named = [name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert sorted(named) == sorted(column.name for column in fields(EpisodeResult))
    assert sorted(named) == sorted(rollout(env, Scripted([])).row())


def test_why_each_answer_ended_is_counted_and_logged(env: NanoCodexEnv) -> None:
    """What was cut off by the server's limit looks like an end, and is none: trainers mask it."""
    script = Scripted([LOOK, FIX])

    def policy(messages: Sequence[Message], tools: Any) -> Reply:
        reason = ["tool_calls", "tool_calls", "length"][sum(message["role"] == "assistant" for message in messages)]
        return Reply(script(messages, tools).message, finish_reason=reason)

    result = rollout(env, policy)
    assert (result.reward, result.metrics["answers_cut"]) == (1.0, 1.0)
    assert result.folder
    about = Trajectory.load(result.folder).metadata
    assert about["finish_reasons"] == ["tool_calls", "tool_calls", "length"]
    assert about["metrics"] == result.metrics


def test_a_policy_that_returns_something_else_is_told_what_to_return(env: NanoCodexEnv) -> None:
    result = rollout(env, lambda messages, tools: "done")  # type: ignore[arg-type]
    assert result.void == "PolicyError: a policy returns Reply(message); got str"
