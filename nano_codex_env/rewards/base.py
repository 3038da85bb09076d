"""The `Reward` protocol, and rewards made from a function or from other rewards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from nano_codex_env.errors import (
    BrokenRewardError,
    ConfigError,
    NanoCodexError,
    RewardError,
    TaskError,
    check_callable,
    describe,
    is_ours,
)
from nano_codex_env.messages import Message
from nano_codex_env.score import Score, as_finite, as_number, printable
from nano_codex_env.scoring.preconditions import why_unscorable
from nano_codex_env.tasks.task import Task


class Reward(Protocol):
    """Judges a patch; it needs no environment, so a saved trajectory can be scored again elsewhere.

    It may declare attributes, as the wrappers below do: `needs_tests` (default: False), `reads_transcript` (default:
    True, but only one that says so itself may score a patch by its transcript in `check_reward`) and `version`.
    Wherever a reward is taken, it may also return a plain number: see `checked_score`.
    """

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        """The score of `diff` (a patch in git's format) for `task`.

        Raises:
            RewardError: there is no number to give; the episode is void.
        """


RewardFunction = Callable[[Task, Sequence[Message], str], Score | float]
"""A reward, or a plain function that returns a number."""


def checked_reward(reward: object) -> Any:
    """`reward`, if it can be called as one.

    Raises:
        ConfigError: it cannot.
    """
    takes = "a reward is called with (task, transcript, diff), such as Resolved() or a function of yours"
    check_callable(reward, takes, 3)
    return reward


def needs_tests(reward: object) -> bool:
    """Whether `reward` can judge only tasks that have tests."""
    return bool(getattr(reward, "needs_tests", False))


def require_tests(tasks: Iterable[Task], reward: Reward) -> None:
    """Raise TaskError if the reward needs tests, and some of `tasks` have none, or none that can be run here."""
    tasks = list(tasks) if needs_tests(reward) else []
    if untested := [task.instance_id for task in tasks if not task.has_tests]:
        raise TaskError(f"no tests, so nothing can judge a patch: {', '.join(untested[:5])}; give another reward=")
    for task in tasks:
        if problem := why_unscorable(task):
            raise TaskError(f"{task.instance_id} cannot be scored: {problem}; or give another reward=")


def reads_transcript(reward: object) -> bool:
    """Whether the score may depend on more than task and diff."""
    return bool(getattr(reward, "reads_transcript", True))


def declares_transcript(reward: object) -> bool:
    """Whether `reward`, or a reward in it, says itself that it reads the transcript."""
    if isinstance(reward, _Weighted):
        return any(declares_transcript(one) for one, _ in reward.rewards)
    return getattr(reward, "reads_transcript", None) is True


def version_of(reward: object) -> str | None:
    """Name and version of a reward that has one (`resolved 2`): numbers of two versions must not be mixed."""
    version = getattr(reward, "version", None)
    return version if version is None or " " in str(version) else f"{name_of(reward)} {version}"


def name_of(reward: object) -> str:
    """A reward's key in parts: a function's name, else the class's, in lower case."""
    return str(getattr(reward, "__name__", type(reward).__name__)).strip("<>_").lower()


def call_reward(reward: RewardFunction, task: Task, transcript: Sequence[Message], diff: str) -> Score:
    """The score of a patch, where a user's reward may break without ending more than its episode.

    A bug in a reward of this package is raised as it is: it would void every episode.

    Raises:
        BrokenRewardError: a reward that is not of this package raised, on its own or inside `from_function` or
            `weighted`.
        RewardError: there is no number to give, or the result is no score.
    """
    return checked_score(_call_guarded(reward, task, transcript, diff), reward)


def checked_score(result: object, reward: object) -> Score:
    """What `reward` returned, as a score; a number may be Python's, NumPy's or PyTorch's, and True is 1.0.

    Raises:
        RewardError: it is neither a `Score` nor a finite number.
    """
    if isinstance(result, Score):
        return result
    name, number = name_of(reward), as_number(result)
    number = float(number) if isinstance(number, bool) else number
    if as_finite(number) is None:
        raise RewardError(
            f"a score is a finite number; got {printable(result):.200} from the reward {name}: return a number, or "
            "Score(number, parts), and raise RewardError if there is none to give"
        )
    return Score(number, {name: number})


Call = Callable[[Any, Task, Sequence[Message], str], Any]
"""How a wrapper calls the rewards in it: `_call`, or `_call_guarded` inside `call_reward`."""


def _call(reward: Any, task: Task, transcript: Sequence[Message], diff: str) -> Any:
    return reward(task, transcript, diff)


def _call_guarded(reward: Any, task: Task, transcript: Sequence[Message], diff: str) -> Any:
    try:
        if isinstance(reward, _Function | _Weighted | _OncePerDiff):
            return reward(task, transcript, diff, _call_guarded)
        return reward(task, transcript, diff)
    except NanoCodexError:
        raise
    except (Exception, SystemExit) as error:
        blamed = reward.function if isinstance(reward, _Function) else reward
        if is_ours(blamed):
            raise
        raise BrokenRewardError(f"the reward {name_of(reward)} raised {describe(error)}") from error


class _Function:
    def __init__(self, function: RewardFunction) -> None:
        self.function, self.__name__, self.needs_tests = function, name_of(function), needs_tests(function)
        self.version = version_of(function)
        if hasattr(function, "reads_transcript"):
            self.reads_transcript = reads_transcript(function)

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str, call: Call = _call) -> Score:
        return checked_score(call(self.function, task, transcript, diff), self)


class _Weighted:
    def __init__(self, rewards: Sequence[tuple[RewardFunction, float]]) -> None:
        self.rewards = rewards
        self.needs_tests = any(needs_tests(reward) for reward, _ in rewards)
        self.reads_transcript = any(reads_transcript(reward) for reward, _ in rewards)
        versions = [f"{weight:g} {version}" for reward, weight in rewards if (version := version_of(reward))]
        self.version = " + ".join(versions) or None

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str, call: Call = _call) -> Score:
        total, parts = 0.0, {}
        for number, (reward, weight) in enumerate(self.rewards):
            score = checked_score(call(reward, task, transcript, diff), reward)
            name = name_of(reward)
            name = f"{name}_{number}" if name in parts else name
            total += float(weight) * score.value
            parts[name] = score.value
            parts |= {f"{name}.{key}": value for key, value in score.parts.items()}
        return Score(total, parts)


class _OncePerDiff:
    reads_transcript = False
    max_kept = 4096
    """Scores that are kept; the oldest are dropped first."""

    def __init__(self, reward: Reward) -> None:
        self.needs_tests, self.version = needs_tests(reward), version_of(reward)
        self._reward, self._lock = reward, threading.Lock()
        self._scores: dict[tuple[str, ...], Future[Score]] = {}

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str, call: Call = _call) -> Score:
        """Whoever asks for a score that is being computed waits for it. A failure is not kept."""
        key = (task.instance_id, task.repo, task.base_commit, diff)
        future = Future[Score]()
        with self._lock:
            known = self._scores.setdefault(key, future)
            while len(self._scores) > self.max_kept:
                del self._scores[next(iter(self._scores))]
        if known is future:
            try:
                future.set_result(checked_score(call(self._reward, task, transcript, diff), self._reward))
            except BaseException as error:
                with self._lock:
                    self._scores.pop(key, None)
                future.set_exception(error)
                raise
        return known.result()


def from_function(function: RewardFunction) -> Reward:
    """A reward from `f(task, transcript, diff) -> float`; one that returns a `Score` is taken as it is.

    Raises:
        ConfigError: it cannot be called so.
    """
    return _Function(checked_reward(function))


def weighted(*rewards: tuple[RewardFunction, float]) -> Reward:
    """The weighted sum of rewards: `weighted((Resolved(), 0.9), (shorter, 0.1))`.

    Raises:
        ConfigError: no pairs are given, or a weight is not a finite number.
    """
    for pair in rewards:
        if not (isinstance(pair, tuple) and len(pair) == 2 and callable(pair[0])):
            raise ConfigError(f"weighted takes (reward, weight) pairs; got {pair!r}")
        checked_reward(pair[0])
        if as_finite(pair[1]) is None:
            raise ConfigError(f"a weight is a finite number; got {printable(pair[1])}")
    if not rewards:
        raise ConfigError("weighted takes at least one (reward, weight) pair")
    return _Weighted(rewards)


def once_per_diff(reward: Reward) -> Reward:
    """`reward`, called once for equal diffs of one task, as groups of GRPO hold many; itself if it reads transcripts.

    It is made for one run or batch: scores are kept as long as the object lives.
    """
    return reward if reads_transcript(reward) else _OncePerDiff(reward)
