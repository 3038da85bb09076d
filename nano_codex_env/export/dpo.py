"""Rows for preference training: two attempts at one task, of which one earned more."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from nano_codex_env.errors import ConfigError
from nano_codex_env.export.episodes import (
    DUPLICATE,
    Episode,
    Left,
    Transcript,
    best_first,
    read_transcript,
)
from nano_codex_env.messages import dumps

_Played = tuple[Episode, Transcript]


def dpo_rows(
    episodes: Sequence[Episode], *, pairs: int = 4, margin: float = 0.1, left: Left
) -> Iterator[dict[str, Any]]:
    """`prompt` (what both began with), `chosen`, `rejected`, `tools`; at most `pairs` of a task.

    The rewards of a pair differ by `margin` at least. All attempts are used before one is used again, those that differ
    most come first.

    Raises:
        ConfigError: `pairs` or `margin` is no positive number.
    """
    if pairs < 1 or not margin > 0:
        raise ConfigError(f"pairs and margin must be positive; got {pairs} and {margin:g}")
    for name, group in groupby(episodes, key=lambda episode: episode.instance_id):
        played = _distinct(best_first(group), left)
        used: Counter[Episode] = Counter()
        for chosen, rejected in _pairs(played, pairs, margin, used):
            yield _row(name, chosen, rejected)
        if unused := len(played) - len(used):
            left["without a pair"] += unused


def _distinct(episodes: Sequence[Episode], left: Left) -> list[_Played]:
    found: dict[str, _Played] = {}
    for episode in episodes:
        transcript = read_transcript(episode, left)
        if transcript and transcript.key in found:
            left[DUPLICATE] += 1
        elif transcript:
            found[transcript.key] = (episode, transcript)
    return list(found.values())


def _pairs(
    played: Sequence[_Played], pairs: int, margin: float, used: Counter[Episode]
) -> Iterator[tuple[_Played, _Played]]:
    openings = {episode: _opening(transcript) for episode, transcript in played}
    open_ = [
        (chosen, rejected)
        for chosen in played
        for rejected in reversed(played)
        if chosen[0].reward - rejected[0].reward >= margin and openings[chosen[0]] == openings[rejected[0]]
    ]
    for _ in range(min(pairs, len(open_))):
        pair = min(open_, key=lambda pair: (used[pair[0][0]] + used[pair[1][0]], pair[1][0].reward - pair[0][0].reward))
        open_.remove(pair)
        used.update(episode for episode, _ in pair)
        yield pair


def _opening(transcript: Transcript) -> str:
    """A digest of what a model is asked, which must be the same for both: prompt and tools."""
    asked = dumps([transcript.messages[: transcript.opening], transcript.tools])
    return hashlib.sha256(asked.encode("ascii")).hexdigest()


def _row(name: str, chosen: _Played, rejected: _Played) -> dict[str, Any]:
    row: dict[str, Any] = {"prompt": chosen[1].messages[: chosen[1].opening]}
    for side, (episode, transcript) in (("chosen", chosen), ("rejected", rejected)):
        row[side] = transcript.messages[transcript.opening :]
        row |= {f"{side}_reward": episode.reward, f"{side}_episode": episode.name}
    return {**row, "tools": chosen[1].tools, "instance_id": name}
