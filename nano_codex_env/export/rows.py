"""Rows of episodes: transcripts for supervised training, pairs for preference training, patches for SWE-bench."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby, product
from typing import Any

from nano_codex_env.errors import ConfigError, TrajectoryError, check_positive
from nano_codex_env.export.transcripts import DAMAGED, Skipped, Transcript, best_first, read_transcript
from nano_codex_env.records.reader import LoggedEpisode
from nano_codex_env.records.trajectory import read_diff


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
            elif transcript := read_transcript(episode, skipped, seen):
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
        seen: set[str] = set()
        read = [read_transcript(episode, skipped, seen) for episode in best_first(group)]
        attempts = [transcript for transcript in read if transcript]
        chosen_pairs = list(_choose_pairs(attempts, pairs, margin))
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
