"""Predictions for SWE-bench's harness: one patch for each task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nano_codex_env.errors import TrajectoryError
from nano_codex_env.export.transcripts import DAMAGED, Skipped
from nano_codex_env.records.reader import LoggedEpisode
from nano_codex_env.records.trajectory import read_diff


def pred_rows(
    episodes: Sequence[LoggedEpisode], *, attempt: int = 0, model: str | None = None, skipped: Skipped
) -> Iterator[dict[str, Any]]:
    """`instance_id`, `model_name_or_path` (`model`, or else the logged one) and `model_patch` of one attempt per task.

    A void attempt has no row. No other attempt takes its place: that would choose by the outcome.
    """
    seen: set[str] = set()
    for episode in episodes:
        if episode.attempt != attempt:
            skipped[f"not attempt {attempt}"] += 1
            continue
        if episode.instance_id in seen:
            skipped["of a task that an earlier run has"] += 1
            continue
        try:
            patch = read_diff(episode.folder)
            patch.encode()
        except UnicodeEncodeError:
            skipped["with a patch that is not UTF-8, which JSON cannot hold"] += 1
        except TrajectoryError:
            skipped[DAMAGED] += 1
        else:
            seen.add(episode.instance_id)
            yield {
                "instance_id": episode.instance_id,
                "model_name_or_path": model or episode.model,
                "model_patch": patch,
            }
