"""Score logged episodes again: a reward needs the task, the transcript and the diff, and the log holds all three."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nano_codex_env.errors import TrajectoryError, describe
from nano_codex_env.parallel import parallel_map
from nano_codex_env.records.trajectory import Trajectory
from nano_codex_env.rewards import Reward, call_reward, once_per_diff, version_of
from nano_codex_env.score import as_finite


def rescore(
    folders: Sequence[str | os.PathLike[str]], reward: Reward, workers: int | None = None
) -> Iterator[dict[str, Any]]:
    """A row for each episode's folder, as it is scored; `workers` at once (default: one for each processor).

    A row holds `folder`, `instance_id`, `attempt`, `reward` (None: void), `parts`, `void` (the reason), `scorer` (name
    and version of the reward), and `before` (the logged reward). An episode that did not end (it was killed, or its
    policy failed) is void.

    Raises:
        ConfigError: `workers` is not a positive whole number.
    """
    once = once_per_diff(reward)
    return parallel_map(lambda folder: _row(os.fspath(folder), once), folders, workers, ordered=False)


def is_score(row: Mapping[str, Any]) -> bool:
    """Whether a row that was read back has the columns of `rescore`, with values of their kinds."""
    kinds: dict[str, Any] = {"folder": str, "instance_id": str | None, "parts": dict, "void": str | None}
    kinds |= {"scorer": str | None}
    return all(key in row and isinstance(row[key], kind) for key, kind in kinds.items()) and all(
        key in row and (row[key] is None or as_finite(row[key]) is not None) for key in ("reward", "before")
    )


def _row(folder: str, reward: Reward) -> dict[str, Any]:
    row: dict[str, Any] = {"folder": folder, "instance_id": None, "attempt": None, "reward": None, "before": None}
    row |= {"parts": {}, "void": None, "scorer": version_of(reward)}
    try:
        logged = Trajectory.load(folder)
        task, about = logged.task, logged.metadata
        row |= {"instance_id": task.instance_id, "attempt": about.get("attempt"), "before": about.get("reward")}
        if not about.get("stop"):
            raise TrajectoryError(f"the episode has no end: {about.get('void') or 'it was killed'}")
        score = call_reward(reward, task, logged.messages, logged.diff)
    except Exception as error:  # noqa: BLE001 (a user's reward may raise anything; only its row is void)
        return {**row, "void": describe(error)}
    return {**row, "reward": score.value, "parts": score.parts}
