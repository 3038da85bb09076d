"""Executors play jobs: episodes that are independent of each other and of the process that plays them.

`rollouts` uses these methods of one: `start`, `poll`, `running`, `too_many`, `played`, `finish`, `drop` and
`close`. A `Job` and an
`EpisodeResult` can be pickled, so that jobs can be played in other processes too.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from nano_codex_env.env import NanoCodexEnv
from nano_codex_env.errors import BrokenTaskError, NanoCodexError, describe
from nano_codex_env.messages import Message, ToolSchema
from nano_codex_env.policies.base import Policy, Reply
from nano_codex_env.records.result import EpisodeResult
from nano_codex_env.rewards import Reward, Score, call_reward, needs_tests, once_per_diff, version_of
from nano_codex_env.rewards.base import reads_transcript
from nano_codex_env.runs.rollout import rollout
from nano_codex_env.sandbox.budget import checked_while_waiting
from nano_codex_env.tasks.task import Task


@dataclass(frozen=True)
class Job:
    """One attempt at a task."""

    task: Task
    attempt: int

    @property
    def key(self) -> tuple[str, int]:
        """Identifies the job, and its result, in a run."""
        return self.task.instance_id, self.attempt

    def void(self, reason: str, seconds: float = 0.0) -> EpisodeResult:
        """The void result of an episode that was not finished."""
        return EpisodeResult(*self.key, reward=None, stop=None, steps=0, seconds=seconds, void=reason, folder=None)


class Dropped(NanoCodexError):
    """Ends an episode whose result is no longer wanted."""


class ThreadExecutor:
    """Plays jobs in threads that share policy and reward.

    At most `concurrency` episodes are played and `scorers` are scored at once. While an episode waits for its score,
    the next one is played in its place. Equal diffs of one task are scored once.
    """

    def __init__(
        self,
        policy: Policy,
        reward: Reward,
        env: Mapping[str, Any],
        *,
        concurrency: int,
        scorers: int,
        stop_after_voids: int | None = None,
    ) -> None:
        """`env`: the arguments of each episode's `NanoCodexEnv`; `stop_after_voids`: see `rollouts`."""
        self.policy, self.env, self._stop_after_voids = policy, env, stop_after_voids
        self.too_many: str | None = None
        """Why no more episodes are begun, if there were too many void ones."""
        self.reward = once_per_diff(_RewardWithin(reward, self._scoring_place))
        self.playing = threading.Semaphore(concurrency)
        self._scoring, self._most = threading.Semaphore(scorers), concurrency + scorers
        self._jobs: deque[Job] = deque()
        self._results: queue.SimpleQueue[EpisodeResult | BaseException] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self.lock = threading.Lock()
        """Guards `_episodes`, `_dropped`, `_answers`, and whether an episode's thread is inside the policy."""
        self._episodes: set[_RunningJob] = set()
        self._stuck: set[threading.Thread] = set()
        self._answers = 0
        self._voids = 0
        """Void episodes since the last one with a reward."""
        self._dropped: str | None = None

    def start(self, jobs: Sequence[Job]) -> None:
        """Begin to play."""
        self._jobs.extend(jobs)
        for _ in range(min(len(jobs), self._most)):  # daemons: a policy that hangs must not keep the program alive
            self._threads.append(threading.Thread(target=self._work, name="nano-codex-rollout", daemon=True))
            self._threads[-1].start()

    @property
    def running(self) -> bool:
        """Whether more results may come."""
        return any(thread.is_alive() for thread in self._threads) or not self._results.empty()

    def played(self) -> tuple[int, int, int]:
        """How many episodes run, how many answers the policy gave so far, and the steps of those that run."""
        with self.lock:
            return len(self._episodes), self._answers, sum(episode.steps for episode in self._episodes)

    def count_answer(self) -> None:
        """Count an answer of the policy."""
        with self.lock:
            self._answers += 1

    def count(self, result: EpisodeResult) -> None:
        """Begin no more episodes after `stop_after_voids` void ones, of which none is that of a broken task."""
        with self.lock:
            if result.void is None:
                self._voids = 0
            elif not result.void.startswith(BrokenTaskError.__name__):
                self._voids += 1
            if self._voids == self._stop_after_voids and not self.too_many:
                self.too_many = (
                    f"{self._voids} void episodes, and none with a reward between them, so no more were begun; "
                    f"the last: {result.instance_id} (attempt {result.attempt}): {result.void}"
                )
                self.finish()

    def poll(self, timeout: float) -> EpisodeResult | None:
        """The next result; None: none within `timeout` seconds. An error that ended a thread is raised here."""
        try:
            result = self._results.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(result, BaseException):
            raise result
        return result

    def finish(self) -> None:
        """Begin no further episode. A signal handler may call this: it takes no lock."""
        self._jobs.clear()

    def drop(self, reason: str) -> list[EpisodeResult]:
        """Stop playing; returns void results for the running episodes, whose own results are discarded.

        A thread inside the policy is not waited for, but loses its sandbox and files; others end at their next step.
        """
        self.finish()
        with self.lock:
            self._dropped = self._dropped or reason
            self._stuck |= {episode.thread for episode in self._episodes if episode.in_policy}
            voids = [episode.drop(reason) for episode in self._episodes]
            self._episodes.clear()
        for _ in self._threads:
            self.playing.release()
        return voids

    def close(self, patience: float) -> None:
        """Drop what runs, and wait up to `patience` seconds for the threads that are not inside the policy."""
        self.drop("broken off")
        until = time.monotonic() + patience
        for thread in self._threads:
            if thread not in self._stuck:
                thread.join(max(0.0, until - time.monotonic()))

    def check(self) -> None:
        """Raise `Dropped` if results are no longer wanted."""
        if self._dropped is not None:
            raise Dropped(self._dropped)

    def _work(self) -> None:
        try:
            while episode := self._next():
                result = episode.play()
                with self.lock:
                    if episode in self._episodes:  # it was not dropped
                        self._episodes.remove(episode)
                        self._results.put(result)
        except BaseException as error:  # noqa: BLE001 (`poll` raises it)
            self._results.put(error)

    def _next(self) -> _RunningJob | None:
        """The next episode, once fewer than `concurrency` are played; None: there is none left."""
        self.playing.acquire()
        with self.lock:
            try:
                episode = _RunningJob(self, self._jobs.popleft())
            except IndexError:
                self.playing.release()
                return None
            self._episodes.add(episode)
            return episode

    @contextmanager
    def _scoring_place(self) -> Iterator[None]:
        with self._scoring, checked_while_waiting(self.check):
            self.check()
            yield


class _RunningJob:
    """An episode in a thread; `rollout` takes it for the policy, which it calls."""

    def __init__(self, executor: ThreadExecutor, job: Job) -> None:
        self._executor, self._job, self._started = executor, job, time.monotonic()
        self._env: NanoCodexEnv | None = None
        self._place = ExitStack()
        self._place.callback(executor.playing.release)
        self.thread, self.in_policy = threading.current_thread(), False
        self.steps = 0
        """Steps when the policy was last asked."""

    def play(self) -> EpisodeResult:
        """Play it to its end, or to a void result."""
        executor, job = self._executor, self._job
        reward = _RewardWithin(executor.reward, self._scoring)
        with self._place, NanoCodexEnv(reward=reward, **executor.env) as self._env:
            result = rollout(self._env, self, task=job.task, attempt=job.attempt, void_on=BaseException)
            executor.count(result)  # before the next one is begun in its place
            return result

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        """Ask the policy."""
        self.steps = self._env.episode.steps if self._env else 0
        self._set_in_policy(True)
        try:
            reply = self._executor.policy(messages, tools)
            self._executor.count_answer()
            return reply
        finally:
            self._set_in_policy(False)

    @property
    def about(self) -> Any:
        """The policy's description of itself, for the log."""
        return getattr(self._executor.policy, "about", {"name": type(self._executor.policy).__name__})

    def drop(self, reason: str) -> EpisodeResult:
        """A void result; if the thread is inside the policy, the sandbox and the files are removed now."""
        void = self._job.void(reason, time.monotonic() - self._started)
        if self.in_policy and self._env is not None:
            episode = self._env.episode
            try:
                self._env.void(reason)
            except Exception as error:  # noqa: BLE001 (the other episodes are still to be dropped)
                void = replace(void, void=f"{reason}; and then, cleaning up: {describe(error)}")
            void = replace(void, steps=episode.steps, folder=str(episode.log.folder) if episode.log else None)
        return void

    def _set_in_policy(self, value: bool) -> None:
        with self._executor.lock:
            self.in_policy = False
            self._executor.check()
            self.in_policy = value

    @contextmanager
    def _scoring(self) -> Iterator[None]:
        self._place.close()  # the next episode is played meanwhile
        self._executor.check()
        yield
        self._executor.check()


class _RewardWithin:
    """A reward that is computed within a context."""

    def __init__(self, reward: Reward, context: Callable[[], AbstractContextManager[None]]) -> None:
        self._reward, self._context = reward, context
        self.needs_tests, self.version = needs_tests(reward), version_of(reward)
        self.reads_transcript = reads_transcript(reward)

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        """See `Reward`."""
        with self._context():
            return call_reward(self._reward, task, transcript, diff)
