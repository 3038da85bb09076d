"""Finished episodes, as the exports choose among them, and their transcripts, as a dataset can hold them."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nano_codex_env.chat_templates.forms import Form, in_form
from nano_codex_env.errors import TrajectoryError
from nano_codex_env.messages import Message, dumps, without_surrogates
from nano_codex_env.records.trajectory import Trajectory, read_metadata
from nano_codex_env.untrusted import check_depth

Left = Counter[str]
"""Why episodes were left out -> how many."""

VOID, DAMAGED, MALFORMED, DUPLICATE = (
    "void or unfinished",
    "damaged",
    "with calls that are no JSON object",
    "duplicates",
)


@dataclass(frozen=True)
class Episode:
    """An episode with a reward; its transcript stays on disk until it is wanted."""

    folder: Path
    instance_id: str
    attempt: int
    reward: float
    steps: int
    stop: str
    model: str
    """Who played: a model's name, or a policy's."""

    @property
    def name(self) -> str:
        """The folder's name, as a dataset can hold it."""
        return without_surrogates(self.folder.name)

    def about(self) -> dict[str, Any]:
        """What a row tells of it beside its transcript."""
        return {"reward": self.reward, "stop": self.stop, "steps": self.steps, "attempt": self.attempt}


def read_episodes(folders: Iterable[Path], left: Left) -> list[Episode]:
    """The episodes that have a reward, by task and attempt; an attempt that the log does not number is the next one.

    Raises:
        TrajectoryError: a folder is not that of an episode.
    """
    found: dict[Path, dict[str, Any]] = {}
    for folder in folders:
        if not os.path.lexists(folder / "messages.jsonl"):
            raise TrajectoryError(f"{folder} holds no messages.jsonl; give the folder of an episode, or of a run")
        try:
            about = read_metadata(folder)
        except TrajectoryError:
            left[DAMAGED] += 1
            continue
        if about.get("reward") is None or not about.get("stop") or about.get("void"):
            left[VOID] += 1
        elif not isinstance((about.get("task") or {}).get("instance_id", ""), str):
            left[DAMAGED] += 1
        else:
            found.setdefault(Path(os.path.realpath(folder)), about)
    episodes: list[Episode] = []
    counts: Counter[str] = Counter()
    for folder, about in sorted(found.items(), key=lambda item: (item[0].name, item[0])):
        name = without_surrogates((about.get("task") or {}).get("instance_id", ""))
        attempt, counts[name] = about.get("attempt"), counts[name] + 1
        episodes.append(_episode(folder, name, counts[name] - 1 if attempt is None else attempt, about))
    return sorted(episodes, key=lambda episode: (episode.instance_id, episode.attempt))


def _episode(folder: Path, name: str, attempt: int, about: Mapping[str, Any]) -> Episode:
    policy = about.get("policy") or {}
    player = policy if isinstance(policy, str) else policy.get("model") or policy.get("name")
    model = without_surrogates(player) if isinstance(player, str) and player else "unknown"
    reward, stop = float(about["reward"]), without_surrogates(about["stop"])
    return Episode(folder, name, attempt, reward, about.get("steps") or 0, stop, model)


def best_first(episodes: Iterable[Episode]) -> list[Episode]:
    """By reward; of those that are worth the same, the one with the fewest steps."""
    return sorted(episodes, key=lambda episode: (-episode.reward, episode.steps))


@dataclass(frozen=True)
class Transcript:
    """What a model is trained on: messages as chat templates want them, and the tools as a string of JSON.

    Arguments are objects: as strings, most templates would encode them twice. The tools are a string: a column of
    objects can come back with its keys in another order and with nulls, which is another prompt. TRL takes both.
    """

    messages: list[Message]
    tools: str

    @property
    def key(self) -> str:
        """The same for all that differ in nothing but the ids of calls."""
        plain = [_without_ids(message) for message in self.messages]
        return hashlib.sha256(dumps([plain, self.tools]).encode("ascii")).hexdigest()

    @property
    def opening(self) -> int:
        """How many messages stand before the first answer."""
        roles = [message["role"] for message in self.messages]
        return roles.index("assistant") if "assistant" in roles else len(roles)


def read_transcript(episode: Episode, left: Left) -> Transcript | None:
    """The transcript, or None where it cannot be trained on: a row never holds what the model did not write."""
    try:
        logged = Trajectory.load(episode.folder)
    except TrajectoryError:
        left[DAMAGED] += 1
        return None
    if not all(_is_whole(message) for message in logged.messages):
        left[MALFORMED] += 1
        return None
    made = Transcript(in_form(logged.messages, Form(arguments_as_objects=True)), dumps(logged.tools))
    if made.opening == len(made.messages):
        left["without an answer"] += 1
        return None
    return made


def _is_whole(message: Message) -> bool:
    """Whether a dataset can hold it: valid Unicode, arguments that are an object, finite numbers of 64 bits."""
    try:
        json.dumps(message, ensure_ascii=False).encode()
        return all(_is_object(call["function"]) for call in message.get("tool_calls") or ())
    except (KeyError, TypeError, ValueError, RecursionError):
        return False


def _is_object(function: Mapping[str, Any]) -> bool:
    value = json.loads(function["arguments"], parse_constant=_refuse, parse_int=_small, parse_float=_finite)
    check_depth(value)
    json.dumps(value, ensure_ascii=False).encode()
    return isinstance(value, dict) and isinstance(function["name"], str)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        _refuse(digits[:40])
    return number


def _small(digits: str) -> int:
    if len(digits) > 18:
        raise ValueError(f"{digits:.40} does not fit 64 bits")
    return int(digits)


def _without_ids(message: Message) -> Message:
    plain = {key: value for key, value in message.items() if key != "tool_call_id"}
    calls: Sequence[Message] = message.get("tool_calls", ())
    return plain | {"tool_calls": [call["function"] for call in calls]}
