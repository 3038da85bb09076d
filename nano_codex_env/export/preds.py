"""Predictions as SWE-bench's harness reads them: one patch for a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nano_codex_env.errors import TrajectoryError
from nano_codex_env.export.episodes import DAMAGED, Episode, Left
from nano_codex_env.records.trajectory import read_diff


def pred_rows(
    episodes: Sequence[Episode], *, attempt: int = 0, model: str | None = None, left: Left
) -> Iterator[dict[str, Any]]:
    """`instance_id`, `model_name_or_path` (`model`, or else who played) and `model_patch`, of one attempt at each task.

    An attempt that is void has no row, and no other attempt takes its place: that would be a choice by the outcome.
    """
    seen: set[str] = set()
    for episode in episodes:
        if episode.attempt != attempt:
            left[f"not attempt {attempt}"] += 1
        elif episode.instance_id in seen:
            left["of a task that an earlier run has"] += 1
        elif (patch := _patch(episode, left)) is not None:
            seen.add(episode.instance_id)
            yield {
                "instance_id": episode.instance_id,
                "model_name_or_path": model or episode.model,
                "model_patch": patch,
            }


def _patch(episode: Episode, left: Left) -> str | None:
    try:
        patch = read_diff(episode.folder)
        patch.encode()
    except UnicodeEncodeError:
        left["with a patch that is not UTF-8, which JSON cannot hold"] += 1
    except TrajectoryError:
        left[DAMAGED] += 1
    else:
        return patch
    return None
