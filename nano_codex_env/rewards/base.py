"""What a reward is, and how to make one from a function or from others."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from nano_codex_env.errors import ConfigError, RewardError
from nano_codex_env.messages import Message
from nano_codex_env.task import Task


@dataclass(frozen=True)
class Score:
    """A number for an episode, and what it is made of."""

    value: float
    parts: dict[str, Any] = field(default_factory=dict)
    """Whatever explains the value: numbers become metrics, the rest is kept as it is."""

    def __post_init__(self) -> None:
        """Only a finite number is a score; arrays in the parts become lists, and what is no number null.

        Raises:
            RewardError: `value` is none, or the parts cannot be written as JSON.
        """
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or not math.isfinite(self.value):
            raise RewardError(f"a score is a finite number; got {self.value!r}")
        object.__setattr__(self, "value", float(self.value))
        try:
            text = json.dumps(self.parts, default=_plain)
            object.__setattr__(self, "parts", json.loads(text, parse_constant=lambda constant: None))
        except (TypeError, ValueError, RecursionError) as error:
            raise RewardError(f"a score's parts must be JSON: {error}") from error


def _plain(value: object) -> Any:
    """What NumPy and PyTorch hold, as plain numbers and lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is none")


class Reward(Protocol):
    """Judges a patch; it needs no environment, so a saved trajectory can be scored again elsewhere."""

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        """The score of `diff` (a patch in git's format) for `task`.

        Raises:
            RewardError: there is no number to give; the episode is void.
        """


@dataclass(frozen=True)
class _Function:
    function: Callable[[Task, Sequence[Message], str], float | Score]

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        value = self.function(task, transcript, diff)
        if isinstance(value, Score):
            return value
        number = value.item() if hasattr(value, "item") else value  # a NumPy or PyTorch scalar
        return Score(number, {name_of(self.function): number})


def from_function(function: Callable[[Task, Sequence[Message], str], float | Score]) -> Reward:
    """A reward from `f(task, transcript, diff) -> float`; one that returns a `Score` is taken as it is."""
    return _Function(function)


@dataclass(frozen=True)
class _Weighted:
    rewards: tuple[tuple[Reward, float], ...]

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        total, parts = 0.0, {}
        for number, (reward, weight) in enumerate(self.rewards):
            score = reward(task, transcript, diff)
            name = name_of(reward)
            name = f"{name}_{number}" if name in parts else name
            total += weight * score.value
            parts[name] = score.value
            parts |= {f"{name}.{key}": value for key, value in score.parts.items()}
        return Score(total, parts)


def needs_tests(reward: Reward) -> bool:
    """Whether `reward` can judge only tasks that have tests: it, or one that it is made of, says so."""
    parts = reward.rewards if isinstance(reward, _Weighted) else ()
    inner = reward.function if isinstance(reward, _Function) else reward
    return bool(getattr(inner, "needs_tests", False)) or any(needs_tests(part) for part, _ in parts)


def weighted(*rewards: tuple[Reward, float]) -> Reward:
    """The weighted sum of rewards: `weighted((Resolved(), 0.8), (DiffSimilarity(), 0.2))`.

    Raises:
        ConfigError: no pairs are given, or a weight is no finite number.
    """
    for pair in rewards:
        if not (isinstance(pair, tuple) and len(pair) == 2 and callable(pair[0])):
            raise ConfigError(f"weighted takes (reward, weight) pairs; got {pair!r}")
        if isinstance(pair[1], bool) or not isinstance(pair[1], int | float) or not math.isfinite(pair[1]):
            raise ConfigError(f"a weight is a finite number; got {pair[1]!r}")
    if not rewards:
        raise ConfigError("weighted takes at least one (reward, weight) pair")
    return _Weighted(rewards)


def name_of(reward: object) -> str:
    """A name for parts: the wrapped function's, else the class's, in lower case."""
    function = reward.function if isinstance(reward, _Function) else reward
    return str(getattr(function, "__name__", type(reward).__name__)).strip("<>_").lower()
