"""What a reward is, and how to make one from a function or from others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from nano_codex_env.errors import ConfigError, NanoCodexError, RewardError, describe
from nano_codex_env.messages import Message
from nano_codex_env.score import Score, as_finite, told
from nano_codex_env.tasks.task import Task


class Reward(Protocol):
    """Judges a patch; it needs no environment, so a saved trajectory can be scored again elsewhere."""

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        """The score of `diff` (a patch in git's format) for `task`.

        Raises:
            RewardError: there is no number to give; the episode is void.
        """


Ask = Callable[[Any, Task, Sequence[Message], str], Any]
"""How a reward that is made of others asks them: as they are, or guarded as `call_reward` does."""


def _plainly(reward: Any, task: Task, transcript: Sequence[Message], diff: str) -> Any:
    return reward(task, transcript, diff)


def call_reward(reward: Reward, task: Task, transcript: Sequence[Message], diff: str) -> Score:
    """The score of a patch, where a user's reward may break without ending more than its episode.

    A bug of a reward of ours is raised as it is: it would void every episode.

    Raises:
        RewardError: there is no number to give, what came back is no `Score`, or a reward that is not of this package
            raised; also one inside `from_function` or `weighted`.
    """
    return checked_score(_guarded(reward, task, transcript, diff))


def checked_score(score: object) -> Score:
    """What a reward returned, if it is a score.

    Raises:
        RewardError: it is none.
    """
    if not isinstance(score, Score):
        raise RewardError(f"a reward returns a Score (see from_function); got {type(score).__name__}")
    return score


def _guarded(reward: Any, task: Task, transcript: Sequence[Message], diff: str) -> Any:
    try:
        if isinstance(reward, _Function | _Weighted | _OncePerDiff):
            return reward.through(_guarded, task, transcript, diff)
        return reward(task, transcript, diff)
    except NanoCodexError:
        raise
    except Exception as error:
        inner = reward.function if isinstance(reward, _Function) else reward
        if is_ours(inner):
            raise
        raise RewardError(f"the reward {name_of(inner)} raised {describe(error)}") from error


def is_ours(part: object) -> bool:
    """Whether a function, or an object's class, is defined in this package: what it raises unforeseen is our bug."""
    return f"{getattr(part, '__module__', '')}.".startswith("nano_codex_env.")


@dataclass(frozen=True)
class _Function:
    function: Callable[[Task, Sequence[Message], str], float | Score]

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        return self.through(_plainly, task, transcript, diff)

    def through(self, ask: Ask, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        value = ask(self.function, task, transcript, diff)
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
        return self.through(_plainly, task, transcript, diff)

    def through(self, ask: Ask, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        total, parts = 0.0, {}
        for number, (reward, weight) in enumerate(self.rewards):
            score = checked_score(ask(reward, task, transcript, diff))
            name = name_of(reward)
            name = f"{name}_{number}" if name in parts else name
            total += float(weight) * score.value
            parts[name] = score.value
            parts |= {f"{name}.{key}": value for key, value in score.parts.items()}
        return Score(total, parts)


def needs_tests(reward: Reward) -> bool:
    """Whether `reward` can judge only tasks that have tests: it, or one that it is made of, says so."""
    parts = reward.rewards if isinstance(reward, _Weighted) else ()
    inner = reward.function if isinstance(reward, _Function) else reward
    return bool(getattr(inner, "needs_tests", False)) or any(needs_tests(part) for part, _ in parts)


def version_of(reward: Reward) -> str | None:
    """Name and version of a reward that has one (`resolved 2`): numbers of two versions are not to be mixed."""
    if isinstance(reward, _Weighted):
        versions = [f"{weight:g} {version}" for part, weight in reward.rewards if (version := version_of(part))]
        return " + ".join(versions) or None
    version = getattr(reward, "version", None)
    return version if version is None or " " in version else f"{name_of(reward)} {version}"


def reads_transcript(reward: Reward) -> bool:
    """Whether the score may depend on more than task and diff: unless a reward says `reads_transcript = False`."""
    if isinstance(reward, _Weighted):
        return any(reads_transcript(part) for part, _ in reward.rewards)
    return bool(getattr(reward, "reads_transcript", True))


def once_per_diff(reward: Reward) -> Reward:
    """`reward`, asked once for equal diffs of one task, as groups of GRPO hold many; as it is if it reads transcripts.

    For the length of one run or batch: a score is kept until the object goes.
    """
    return reward if reads_transcript(reward) else _OncePerDiff(reward)


_KEPT = 4096
"""Scores that `once_per_diff` keeps; the oldest go first."""


class _OncePerDiff:
    reads_transcript = False

    def __init__(self, reward: Reward) -> None:
        self.needs_tests, self.version = needs_tests(reward), version_of(reward)
        self._reward, self._lock = reward, threading.Lock()
        self._scores: dict[tuple[str, ...], Future[Score]] = {}

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        """See `Reward`."""
        return self.through(_plainly, task, transcript, diff)

    def through(self, ask: Ask, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        """Who asks for what is being scored waits for it. A failure is not kept."""
        key = (task.instance_id, task.repo, task.base_commit, diff)
        with self._lock:
            future = self._scores.get(key)
            is_first = future is None
            if future is None:
                future = self._scores[key] = Future()
                while len(self._scores) > _KEPT:
                    del self._scores[next(iter(self._scores))]
        if is_first:
            try:
                future.set_result(ask(self._reward, task, transcript, diff))
            except BaseException as error:
                with self._lock:
                    self._scores.pop(key, None)
                future.set_exception(error)
                raise
        return future.result()


def weighted(*rewards: tuple[Reward, float]) -> Reward:
    """The weighted sum of rewards: `weighted((Resolved(), 0.8), (DiffSimilarity(), 0.2))`.

    Raises:
        ConfigError: no pairs are given, or a weight is no finite number.
    """
    for pair in rewards:
        if not (isinstance(pair, tuple) and len(pair) == 2 and callable(pair[0])):
            raise ConfigError(f"weighted takes (reward, weight) pairs; got {pair!r}")
        if as_finite(pair[1]) is None:
            raise ConfigError(f"a weight is a finite number; got {told(pair[1])}")
    if not rewards:
        raise ConfigError("weighted takes at least one (reward, weight) pair")
    return _Weighted(rewards)


def name_of(reward: object) -> str:
    """A name for parts: the wrapped function's, else the class's, in lower case."""
    function = reward.function if isinstance(reward, _Function) else reward
    return str(getattr(function, "__name__", type(reward).__name__)).strip("<>_").lower()
