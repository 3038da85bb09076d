"""Rewards for verl: tasks read from its rows, rewards shared by all samples of a process, patches read from text."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from nano_codex_env.config import make_reward
from nano_codex_env.diff import normalize_patch
from nano_codex_env.errors import ConfigError, TaskError, check_positive
from nano_codex_env.messages import Message
from nano_codex_env.parallel import processors
from nano_codex_env.rewards import Resolved, Reward, Score, call_reward, needs_tests, once_per_diff, version_of
from nano_codex_env.rewards.base import reads_transcript
from nano_codex_env.rewards.resolved import REMOVED
from nano_codex_env.sandbox import get_sandbox
from nano_codex_env.tasks.task import Task
from nano_codex_env.untrusted import parse_json

PARTS = ("resolved", "fail_to_pass", "pass_to_pass")
"""The numbers among a score's parts that become columns by default: those of `Resolved`."""

_FENCED = re.compile(r"^```(?:diff|patch)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_BARE = re.compile(r"^(?:diff --git |--- )", re.MULTILINE)


class SharedReward:
    """A reward that scores at most `workers` patches at a time in this process."""

    def __init__(self, reward: Reward, workers: int) -> None:
        """Raise ConfigError if `workers` is not a positive whole number."""
        check_positive("workers", workers)
        self.needs_tests, self.version = needs_tests(reward), version_of(reward)
        self.reads_transcript = reads_transcript(reward)
        self._reward, self._workers = reward, threading.BoundedSemaphore(workers)

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        """See `call_reward`."""
        with self._workers:
            return call_reward(self._reward, task, transcript, diff)


@cache
def shared_reward(
    name: str = "resolved", sandbox: str = "bubblewrap", cache_dir: str | None = None, workers: int | None = None
) -> Reward:
    """The one reward of this name in this process, so that all samples use what it caches of a task.

    `name` is "resolved", "similarity" or `module:name`; `workers` as in `SharedReward`, None: one for each processor.

    Raises:
        ConfigError: there is no reward or sandbox of that name.
    """
    if name == "resolved":
        reward: Reward = Resolved(sandbox=get_sandbox(sandbox, cache=cache_dir), cache=cache_dir)
    else:
        reward = make_reward(name)
    return once_per_diff(SharedReward(reward, processors() if workers is None else workers))


def checked_parts(parts: Sequence[str], others: Mapping[str, Any]) -> tuple[str, ...]:
    """`parts`, unless they or `others`, the further keys of the YAML, name something that was removed.

    Raises:
        ConfigError: one was removed.
    """
    for name in REMOVED.keys() & others.keys():
        raise ConfigError(f"{name} was removed from the agent loop's YAML; instead: {REMOVED[name]}")
    gone = sorted({"siblings", "processes"} & set(parts))
    if gone:
        raise ConfigError(f"parts: {', '.join(gone)} was removed; a score's numbers are {', '.join(PARTS)}")
    return tuple(parts)


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
    """Score the last patch in a text, as a reward function of verl: `score`, and its parts as columns.

    A patch is a block fenced as `diff` or `patch`, or begins with `diff --git` or `---`; no patch is an empty one.

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
        return normalize_patch(fenced[-1])
    bare = _BARE.search(text)
    return normalize_patch(text[bare.start() :].rstrip("\n")) if bare else ""
