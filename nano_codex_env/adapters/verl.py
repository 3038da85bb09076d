"""verl: an agent loop that plays our episodes, and a score for patches that were written as text.

    - name: nano_codex
      _target_: nano_codex_env.adapters.verl.NanoCodexAgentLoop
      max_steps: 50

is what `actor_rollout_ref.rollout.agent.agent_loop_config_path` names (`configs/verl_agent_loop.yaml`), and
`nano-codex export verl-parquet` makes the dataset. The loop scores its own episodes. `compute_score` is for rollouts
without tools, in which the model answers with a patch.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from nano_codex_env.config import make_reward
from nano_codex_env.diff import read_patch
from nano_codex_env.errors import ConfigError, TaskError
from nano_codex_env.messages import Message
from nano_codex_env.parallel import processors
from nano_codex_env.rewards import Resolved, Reward, Score, call_reward, needs_tests, once_per_diff, version_of
from nano_codex_env.rewards.base import reads_transcript
from nano_codex_env.rewards.resolved import REMOVED
from nano_codex_env.sandbox import get_sandbox
from nano_codex_env.tasks.task import Task
from nano_codex_env.untrusted import parse_json

__all__ = ["NanoCodexAgentLoop", "compute_score"]  # noqa: F822 (made by __getattr__)

PARTS = ("resolved", "fail_to_pass", "pass_to_pass")
"""The numbers among a score's parts that become columns, unless told otherwise: those of `Resolved`."""

_FENCED = re.compile(r"^```(?:diff|patch)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_BARE = re.compile(r"^(?:diff --git |--- )", re.MULTILINE)


def __getattr__(name: str) -> Any:
    """`NanoCodexAgentLoop`, which is made of a class of verl's.

    Raises:
        ConfigError: verl is not installed.
    """
    if name != "NanoCodexAgentLoop":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from nano_codex_env.adapters.verl_loop import NanoCodexAgentLoop
    except ModuleNotFoundError as error:
        raise ConfigError(f"verl 0.9.1 or newer is needed: pip install 'nano-codex-env[verl]' ({error})") from error
    return NanoCodexAgentLoop


class SharedReward:
    """A reward that scores so many patches at once in this process; the others wait for their turn."""

    def __init__(self, reward: Reward, workers: int) -> None:
        """`workers`: how many at once.

        Raises:
            ConfigError: `workers` is no positive number.
        """
        if workers < 1:
            raise ConfigError(f"workers must be at least 1; got {workers!r}")
        self.needs_tests, self.version = needs_tests(reward), version_of(reward)
        self.reads_transcript = reads_transcript(reward)
        self._reward, self._turns = reward, threading.BoundedSemaphore(workers)

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        """See `Reward`.

        Raises:
            RewardError: see `call_reward`.
        """
        with self._turns:
            return call_reward(self._reward, task, transcript, diff)


@cache
def shared_reward(
    name: str = "resolved", sandbox: str = "bubblewrap", cache_dir: str | None = None, workers: int | None = None
) -> Reward:
    """The one reward of this name in this process: what it learns of a task serves all samples.

    `name` is "resolved", "similarity" or `module:name`; `workers` as in `SharedReward`, None: one for each processor.

    Raises:
        ConfigError: there is no reward or sandbox of that name.
    """
    if name == "resolved":
        made: Reward = Resolved(sandbox=get_sandbox(sandbox, cache=cache_dir), cache=cache_dir)
    else:
        made = make_reward(name)
    return once_per_diff(SharedReward(made, processors() if workers is None else workers))


def checked_parts(parts: Sequence[str], others: Mapping[str, Any]) -> tuple[str, ...]:
    """`parts`, if neither they nor `others`, further keys of the YAML, name what an earlier version had.

    Raises:
        ConfigError: one was removed.
    """
    for name in REMOVED.keys() & others.keys():
        raise ConfigError(f"{name} was removed from the agent loop's YAML; instead: {REMOVED[name]}")
    gone = sorted({"siblings", "processes"} & set(parts))
    if gone:
        raise ConfigError(f"parts: {', '.join(gone)} was removed; a score's numbers are {', '.join(PARTS)}")
    return tuple(parts)


def checked_flag(name: str, value: object) -> bool:
    """`value`, if it is true or false.

    Raises:
        ConfigError: it is neither; "false" in quotes would be true.
    """
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false; got {value!r}")
    return value


def task_of(extra_info: Mapping[str, Any] | None) -> Task:
    """The task of a row of `nano-codex export verl-parquet`.

    Raises:
        TaskError: the row has none, or one that cannot be used.
    """
    try:
        row = parse_json((extra_info or {})["task"])
    except (KeyError, TypeError, ValueError) as error:
        raise TaskError(
            "the row holds no task in extra_info['task']; make the dataset with `nano-codex export verl-parquet`"
        ) from error
    return Task.from_row(row)


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, float | None]:
    """The worth of the last patch in a text, in the form of verl's reward functions: `score`, and its parts as columns.

    A patch stands between three backquotes and `diff`, or begins with `diff --git` or `---`. No patch is an empty one.

    Raises:
        TaskError: the row holds no task.
        RewardError: the score could not be computed.
    """
    score = shared_reward()(task_of(extra_info), [], patch_in(solution_str))
    return {"score": score.value, **{f"parts.{name}": score.parts.get(name) for name in PARTS}}


def patch_in(text: str) -> str:
    """The last patch in a text; empty if there is none."""
    fenced = _FENCED.findall(text)
    if fenced:
        return read_patch(fenced[-1])
    bare = _BARE.search(text)
    return read_patch(text[bare.start() :].rstrip("\n")) if bare else ""
