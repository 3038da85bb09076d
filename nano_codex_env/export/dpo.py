"""Rows for preference training: two attempts at one task, of which one earned more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from nano_codex_env.errors import ConfigError
from nano_codex_env.export.transcripts import DUPLICATE, Skipped, Transcript, best_first, read_transcript
from nano_codex_env.records.reader import LoggedEpisode

Attempt = tuple[float, LoggedEpisode, Transcript]
"""A reward and what earned it."""


def dpo_rows(
    episodes: Sequence[LoggedEpisode], *, pairs: int = 4, margin: float = 0.1, left: Skipped
) -> Iterator[dict[str, Any]]:
    """`prompt` (common to both), `chosen`, `rejected`, `tools`; at most `pairs` of a task.

    The rewards of a pair differ by at least `margin`. Every attempt is used once before one is used again; pairs with
    the largest difference come first.

    Raises:
        ConfigError: `pairs` or `margin` is not positive.
    """
    if pairs < 1 or not margin > 0:
        raise ConfigError(f"pairs and margin must be positive; got {pairs} and {margin:g}")
    for name, group in groupby(episodes, key=lambda episode: episode.instance_id):
        attempts: dict[str, Attempt] = {}
        for episode in best_first(group):
            if not (transcript := read_transcript(episode, left)):
                continue
            if transcript.key in attempts:
                left[DUPLICATE] += 1
            else:
                attempts[transcript.key] = (episode.reward or 0.0, episode, transcript)
        used: Counter[LoggedEpisode] = Counter()
        for chosen, rejected in _choose_pairs(list(attempts.values()), pairs, margin, used):
            row: dict[str, Any] = {"prompt": chosen[2].prompt}
            for side, (reward, episode, transcript) in (("chosen", chosen), ("rejected", rejected)):
                row |= {side: transcript.completion, f"{side}_reward": reward, f"{side}_episode": episode.name}
            yield {**row, "tools": chosen[2].tools, "instance_id": name}
        if unused := len(attempts) - len(used):
            left["without a pair"] += unused


def _choose_pairs(
    attempts: Sequence[Attempt], pairs: int, margin: float, used: Counter[LoggedEpisode]
) -> Iterator[tuple[Attempt, Attempt]]:
    """Pairs of a better and a worse attempt, the least used ones first; `used` counts how often each was taken."""
    prompts = {episode: transcript.prompt_key for _, episode, transcript in attempts}
    candidates = [
        (chosen, rejected)
        for chosen in attempts
        for rejected in reversed(attempts)
        if chosen[0] - rejected[0] >= margin and prompts[chosen[1]] == prompts[rejected[1]]
    ]
    for _ in range(min(pairs, len(candidates))):
        pair = min(candidates, key=lambda pair: (used[pair[0][1]] + used[pair[1][1]], pair[1][0] - pair[0][0]))
        candidates.remove(pair)
        used.update(episode for _, episode, _ in pair)
        yield pair
