"""The episodes that an export chooses among, and their transcripts in the form of a dataset's rows."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nano_codex_env.chat_templates.forms import Form, in_form
from nano_codex_env.errors import TrajectoryError
from nano_codex_env.messages import Message, dumps
from nano_codex_env.records.reader import LoggedEpisode, read_runs
from nano_codex_env.records.trajectory import Trajectory
from nano_codex_env.untrusted import check_depth

Skipped = Counter[str]
"""How many episodes were left out, by reason."""

DAMAGED = "damaged"


def finished_episodes(folders: Iterable[Path], skipped: Skipped) -> list[LoggedEpisode]:
    """The episodes that have a reward, by task and attempt.

    Raises:
        TrajectoryError: a folder is neither a run's nor an episode's.
    """
    finished = []
    for episode in read_runs(folders):
        if episode.reward is None:
            skipped[DAMAGED if episode.damage else "void or unfinished"] += 1
        else:
            finished.append(episode)
    return finished


def best_first(episodes: Iterable[LoggedEpisode]) -> list[LoggedEpisode]:
    """By reward; with equal rewards, by fewer steps."""
    return sorted(episodes, key=lambda episode: (-(episode.reward or 0.0), episode.steps))


@dataclass(frozen=True, eq=False)
class Transcript:
    """An episode's messages as chat templates take them, and the tools as a string of JSON.

    Arguments of calls are objects, because most templates would encode a string twice. The tools are a string, because
    a column of objects may come back with its keys in another order and with nulls, which is another prompt. TRL reads
    both.
    """

    episode: LoggedEpisode
    messages: list[Message]
    tools: str

    @property
    def reward(self) -> float:
        """What the episode earned."""
        return self.episode.reward or 0.0

    @cached_property
    def key(self) -> str:
        """A digest that is the same for transcripts which differ only in the ids of calls."""
        plain = [
            {key: value for key, value in message.items() if key != "tool_call_id"}
            | {"tool_calls": [call["function"] for call in message.get("tool_calls", ())]}
            for message in self.messages
        ]
        return _digest([plain, self.tools])

    @property
    def prompt(self) -> list[Message]:
        """The messages before the model's first answer."""
        roles = [message["role"] for message in self.messages]
        return self.messages[: roles.index("assistant")] if "assistant" in roles else self.messages

    @cached_property
    def prompt_key(self) -> str:
        """A digest of the prompt and the tools."""
        return _digest([self.prompt, self.tools])

    @property
    def completion(self) -> list[Message]:
        """The messages from the model's first answer on."""
        return self.messages[len(self.prompt) :]


def _digest(value: object) -> str:
    return hashlib.sha256(dumps(value).encode("ascii")).hexdigest()


def read_transcript(episode: LoggedEpisode, skipped: Skipped, seen: set[str]) -> Transcript | None:
    """The transcript; None if its key is among those `seen`, or if a row would hold what the model did not write."""
    try:
        logged = Trajectory.load(episode.folder)
    except TrajectoryError:
        skipped[DAMAGED] += 1
        return None
    if not all(_fits_a_dataset(message) for message in logged.messages):
        skipped["with calls that are not JSON objects"] += 1
        return None
    messages = in_form(logged.messages, Form(arguments_as_objects=True))
    transcript = Transcript(episode, messages, dumps(logged.tools))
    if not transcript.completion:
        skipped["without an answer"] += 1
        return None
    if transcript.key in seen:
        skipped["duplicates"] += 1
        return None
    seen.add(transcript.key)
    return transcript


def _fits_a_dataset(message: Message) -> bool:
    """Whether it is valid Unicode, and each call's arguments are an object with finite numbers of at most 64 bits."""
    try:
        json.dumps(message, ensure_ascii=False).encode()
        return all(_has_valid_arguments(call["function"]) for call in message.get("tool_calls") or ())
    except (KeyError, TypeError, ValueError, RecursionError):
        return False


def _has_valid_arguments(function: Mapping[str, Any]) -> bool:
    value = json.loads(function["arguments"], parse_int=_int64)
    check_depth(value)
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    return isinstance(value, dict) and isinstance(function["name"], str)


def _int64(digits: str) -> int:
    if len(digits) > 18:
        raise ValueError(f"{digits:.40} does not fit 64 bits")
    return int(digits)
