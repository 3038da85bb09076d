"""The threads that play: each has an environment of its own, all share policy, reward and places."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nano_codex_env.env import NanoCodexEnv
from nano_codex_env.errors import NanoCodexError
from nano_codex_env.messages import Message, ToolSchema
from nano_codex_env.policies.base import Policy, Reply
from nano_codex_env.records.result import EpisodeResult
from nano_codex_env.rewards import Reward, Score, needs_tests, once_per_diff, version_of
from nano_codex_env.rewards.base import reads_transcript
from nano_codex_env.runs.rollout import rollout
from nano_codex_env.tasks.task import Task


@dataclass(frozen=True)
class Job:
    """An episode to play."""

    task: Task
    attempt: int


class Batch:
    """What the threads of one collection share."""

    def __init__(self, jobs: Sequence[Job], policy: Policy, reward: Reward, env: Mapping[str, Any]) -> None:
        self.policy, self.env = policy, env
        self.reward: Reward = once_per_diff(_InTurn(self, reward))
        self.finished: queue.SimpleQueue[EpisodeResult | BaseException] = queue.SimpleQueue()
        self.dropped: str | None = None
        """Why nobody waits for the results any more."""
        self.playing = self.scoring = threading.Semaphore()
        self.jobs = list(jobs)
        self._jobs, self._lock = deque(jobs), threading.RLock()  # a signal may come inside
        self._workers: list[_Worker] = []

    def start(self, concurrency: int, scorers: int) -> None:
        """Start the threads: as many as may play, and as many again as may score meanwhile."""
        NanoCodexEnv(
            reward=self.reward, **self.env
        ).close()  # arguments that cannot be used are told here, not in threads
        self.playing, self.scoring = threading.Semaphore(concurrency), threading.Semaphore(scorers)
        self._workers = [_Worker(self) for _ in range(min(len(self._jobs), concurrency + scorers))]
        for worker in self._workers:
            worker.start()

    @property
    def running(self) -> bool:
        """Whether a thread is still at work, or a result waits to be taken."""
        return any(worker.is_alive() for worker in self._workers) or not self.finished.empty()

    def take(self) -> Job | None:
        """The next episode, once there is a place for it; None: there is no more to do."""
        self.playing.acquire()
        with self._lock:
            if self._jobs:
                return self._jobs.popleft()
        self.playing.release()
        return None

    def finish(self) -> list[Job]:
        """Start no further episode; those that were not begun."""
        with self._lock:
            left = list(self._jobs)
            self._jobs.clear()
        return left

    def drop(self, reason: str) -> tuple[list[Job], list[EpisodeResult]]:
        """Give up: the episodes that were not begun, and void results of those that run.

        A thread inside its policy is left to itself, without box and files; another one ends with its next step.
        """
        left = self.finish()
        self.dropped = self.dropped or reason
        for _ in self._workers:
            self.playing.release()
        return left, [result for worker in self._workers if (result := worker.drop(reason))]

    def check(self) -> None:
        """Go on only while somebody waits for the result.

        Raises:
            Dropped: nobody does.
        """
        if self.dropped is not None:
            raise Dropped(self.dropped)

    def join(self, seconds: float) -> None:
        """Wait for the threads that are not inside their policy."""
        until = time.monotonic() + seconds
        for worker in self._workers:
            if not worker.asking:
                worker.join(max(0.0, until - time.monotonic()))


class Dropped(NanoCodexError):
    """Ends an episode that nobody waits for any more."""


class _Worker(threading.Thread):
    """Plays one episode after the other; it is the policy that the rollout sees."""

    def __init__(self, batch: Batch) -> None:
        super().__init__(daemon=True, name="nano-codex-rollout")  # a stuck policy must not keep the program alive
        self._batch, self._guard = batch, threading.Lock()
        self._env: NanoCodexEnv | None = None
        self._job: Job | None = None
        self._has_place = self.asking = False
        self._since = 0.0

    def run(self) -> None:
        """Play until there is no more to do."""
        try:
            with NanoCodexEnv(reward=_Beside(self._batch, self._leave), **self._batch.env) as self._env:
                while self._batch.dropped is None and (job := self._batch.take()) is not None:
                    self._play(self._env, job)
        except BaseException as error:  # noqa: BLE001 (told to the thread that waits, which raises it)
            self._batch.finished.put(error)
        finally:
            self._leave()

    def _play(self, env: NanoCodexEnv, job: Job) -> None:
        self._job, self._has_place, self._since = job, True, time.monotonic()
        try:
            result = rollout(env, self, task=job.task, attempt=job.attempt, void_on=BaseException)
        finally:
            self._leave()
        with self._guard:
            self._job = None
            if self._batch.dropped is None:
                self._batch.finished.put(result)

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        """Ask the policy, unless the batch was dropped meanwhile."""
        self._set_asking(True)
        try:
            return self._batch.policy(messages, tools)
        finally:
            self._set_asking(False)

    @property
    def about(self) -> Any:
        """What the log says of the policy."""
        return getattr(self._batch.policy, "about", {"name": type(self._batch.policy).__name__})

    def _set_asking(self, asking: bool) -> None:
        with self._guard:
            self.asking = False
            self._batch.check()
            self.asking = asking

    def _leave(self) -> None:
        """Give the place to the next episode."""
        if self._has_place:
            self._has_place = False
            self._batch.playing.release()

    def drop(self, reason: str) -> EpisodeResult | None:
        """Give up the episode that runs, if any; where it waits for its policy, its box and files go now."""
        with self._guard:
            job, env = self._job, self._env
            if job is None or not self.is_alive():
                return None
            void = void_result(job, reason, seconds=time.monotonic() - self._since)
            if self.asking and env is not None:
                episode = env.episode
                folder = str(episode.log.folder) if episode.log else None
                void = replace(void, steps=episode.steps, folder=folder)
                env.void(reason)
            return void


class _InTurn:
    """A batch's reward, as often at once as there are places for scoring."""

    def __init__(self, batch: Batch, reward: Reward) -> None:
        self._batch, self._reward = batch, reward
        self.needs_tests, self.version = needs_tests(reward), version_of(reward)
        self.reads_transcript = reads_transcript(reward)

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        """See `Reward`."""
        with self._batch.scoring:
            self._batch.check()
            return self._reward(task, transcript, diff)


class _Beside:
    """Scores outside of the places for playing: while tests run, the next episode is played."""

    def __init__(self, batch: Batch, leave: Callable[[], None]) -> None:
        self._batch, self._leave = batch, leave
        self.needs_tests, self.version = needs_tests(batch.reward), version_of(batch.reward)

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        """See `Reward`."""
        self._leave()
        self._batch.check()
        score = self._batch.reward(task, transcript, diff)
        self._batch.check()
        return score


def void_result(job: Job, reason: str, *, seconds: float = 0.0) -> EpisodeResult:
    """The result of an episode of which nothing more is known."""
    return EpisodeResult(job.task.instance_id, job.attempt, None, None, 0, seconds, reason, None, "", {}, {})
