"""Rows for supervised training: whole transcripts of episodes with a high reward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from nano_codex_env.errors import check_positive
from nano_codex_env.export.transcripts import DUPLICATE, Skipped, best_first, read_transcript
from nano_codex_env.records.reader import LoggedEpisode


def sft_rows(
    episodes: Sequence[LoggedEpisode], *, min_reward: float = 1.0, best: int | None = None, skipped: Skipped
) -> Iterator[dict[str, Any]]:
    """`messages`, `tools`, `instance_id` and the episode's metadata; each transcript once, at most `best` of a task.

    Raises:
        ConfigError: `best` is not positive.
    """
    check_positive("best", best, "number", optional=True)
    seen: set[str] = set()
    for name, group in groupby(episodes, key=lambda episode: episode.instance_id):
        kept = 0
        for episode in best_first(group):
            if episode.reward is None or episode.reward < min_reward:
                skipped[f"with a reward below {min_reward:g}"] += 1
            elif best is not None and kept >= best:
                skipped[f"beyond the best {best} of a task"] += 1
            elif transcript := read_transcript(episode, skipped):
                if transcript.key in seen:
                    skipped[DUPLICATE] += 1
                    continue
                seen.add(transcript.key)
                kept += 1
                yield {
                    "messages": transcript.messages,
                    "tools": transcript.tools,
                    "instance_id": name,
                    "reward": episode.reward,
                    "stop": episode.stop,
                    "steps": episode.steps,
                    "attempt": episode.attempt,
                    "episode": episode.name,
                }
