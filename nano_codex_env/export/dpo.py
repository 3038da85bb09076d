"""Rows for preference training: two attempts at one task, of which one earned more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby, product
from typing import Any

from nano_codex_env.errors import ConfigError
from nano_codex_env.export.transcripts import DUPLICATE, Skipped, Transcript, best_first, read_transcript
from nano_codex_env.records.reader import LoggedEpisode


def dpo_rows(
    episodes: Sequence[LoggedEpisode], *, pairs: int = 4, margin: float = 0.1, skipped: Skipped
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
        attempts: dict[str, Transcript] = {}
        for episode in best_first(group):
            transcript = read_transcript(episode, skipped)
            if transcript and transcript.key in attempts:
                skipped[DUPLICATE] += 1
            elif transcript:
                attempts[transcript.key] = transcript
        chosen_pairs = list(_choose_pairs(list(attempts.values()), pairs, margin))
        for chosen, rejected in chosen_pairs:
            row: dict[str, Any] = {"prompt": chosen.prompt}
            for side, each in (("chosen", chosen), ("rejected", rejected)):
                row |= {side: each.completion, f"{side}_reward": each.reward, f"{side}_episode": each.episode.name}
            yield {**row, "tools": chosen.tools, "instance_id": name}
        if unused := len(attempts) - len({each for pair in chosen_pairs for each in pair}):
            skipped["without a pair"] += unused


def _choose_pairs(attempts: Sequence[Transcript], pairs: int, margin: float) -> Iterator[tuple[Transcript, Transcript]]:
    """Pairs of a better and a worse attempt with the same prompt, those of the least used attempts first."""
    candidates = [
        (chosen, rejected)
        for chosen, rejected in product(attempts, reversed(attempts))
        if chosen.reward - rejected.reward >= margin and chosen.prompt_key == rejected.prompt_key
    ]
    used: Counter[Transcript] = Counter()
    for _ in range(min(pairs, len(candidates))):
        pair = min(candidates, key=lambda pair: (used[pair[0]] + used[pair[1]], pair[1].reward - pair[0].reward))
        candidates.remove(pair)
        used.update(pair)
        yield pair
