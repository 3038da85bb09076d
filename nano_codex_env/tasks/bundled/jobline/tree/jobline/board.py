"""The books of a line: its unfinished jobs, what they wait for, and what became of the others."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from jobline.errors import DuplicateJob, JobCancelled, QueueClosed, UnknownJob
from jobline.graph import JobGraph
from jobline.queue import JobQueue
from jobline.results import JobFuture, ResultStore
from jobline.retry import Backoff


@dataclass(slots=True, eq=False)
class Job:
    """An unfinished job."""

    future: JobFuture
    call: Callable[[], Any]
    priority: int = 0
    delay: float = 0.0
    every: float | None = None
    backoff: Backoff | None = None
    has_token: bool = False
    """Whether the rate limiter has let this run pass."""

    @property
    def id(self) -> str:
        """The id of the job."""
        return self.future.id


class Board:
    """Changes jobs, graph, queue and results together, under one lock.

    What returns futures has settled them; the caller announces them, as callbacks must not
    run under the lock.
    """

    def __init__(self, queue: JobQueue[Job], keep: int) -> None:
        self._queue = queue
        self._changed = threading.Condition(threading.Lock())
        self._jobs: dict[str, Job] = {}
        self._graph = JobGraph()
        self._results = ResultStore(keep)
        self._closing = False
        self._cancelling = False

    def add(self, job: Job, after: Iterable[str | JobFuture]) -> list[JobFuture]:
        """Put up a job; it is cancelled right away if one of *after* did not succeed."""
        parents = list(after)
        with self._changed:
            if self._closing:
                raise QueueClosed("the line is closed")
            if job.id in self._jobs:
                raise DuplicateJob(job.id)
            futures = [self._future_of(parent) for parent in parents]
            waits_for = [parent.id for parent in futures if not parent.done()]
            broken = [parent.id for parent in futures if parent.done() and not parent.succeeded()]
            self._jobs[job.id] = job
            is_free = self._graph.add(job.id, waits_for)
            if broken:
                return self._take_back(job, f"{broken[0]} did not succeed")
            if is_free:
                self._enqueue(job, job.delay)
            return []

    def cancel(self, job: str | JobFuture) -> list[JobFuture]:
        """Take a job back, and all that wait for it; none if it is running or done."""
        with self._changed:
            found = self._jobs.get(job if isinstance(job, str) else job.id)
            if found is None or (isinstance(job, JobFuture) and found.future is not job):
                return []
            return self._take_back(found, "cancelled")

    def succeeded(self, job: Job, value: Any) -> list[JobFuture]:
        """Settle a job, and let those go that waited for nothing else."""
        with self._changed:
            job.future.finish(value, None)
            self._remove(job)
            for freed in self._graph.finish(job.id):
                self._enqueue(self._jobs[freed], self._jobs[freed].delay)
            return [job.future]

    def failed(self, job: Job, error: BaseException) -> list[JobFuture]:
        """Settle a job, and cancel those that wait for it."""
        with self._changed:
            job.future.finish(None, error)
            self._remove(job)
            others = self._graph.drop(job.id)
            return [job.future, *self._cancel_all(others, f"{job.id} did not succeed")]

    def again(self, job: Job, delay: float) -> list[JobFuture]:
        """Queue a job that was taken from the queue, unless it has been cancelled since."""
        with self._changed:
            if self._jobs.get(job.id) is not job:
                return []
            job.future.pause()
            if self._cancelling or (self._closing and job.every is not None):
                return self._take_back(job, "the line was closed")
            self._enqueue(job, delay)
            return []

    def reprioritise(self, job_id: str, priority: int) -> bool:
        """Change the priority of an unfinished job; return False if there is none."""
        with self._changed:
            if job_id not in self._jobs:
                return False
            self._jobs[job_id].priority = priority
            self._queue.reprioritise(job_id, priority)
            return True

    def future(self, job_id: str) -> JobFuture:
        """Return the future of the latest job of that id."""
        with self._changed:
            return self._future_of(job_id)

    def join(self, timeout: float | None) -> bool:
        """Wait until nothing is left but jobs that repeat; return False if it took too long."""
        with self._changed:
            return self._changed.wait_for(
                lambda: all(job.every is not None for job in self._jobs.values()), timeout
            )

    def close(self, *, cancel: bool) -> list[JobFuture]:
        """Take no more jobs, and take back those that repeat, or with *cancel* all that wait."""
        with self._changed:
            self._closing = True
            self._cancelling = self._cancelling or cancel
            taken_back: list[JobFuture] = []
            for job in list(self._jobs.values()):
                if cancel or job.every is not None:
                    taken_back += self._take_back(job, "the line was closed")
            return taken_back

    def await_empty(self) -> None:
        """Wait until no unfinished job is left."""
        with self._changed:
            self._changed.wait_for(lambda: not self._jobs)

    def _future_of(self, job: str | JobFuture) -> JobFuture:
        if isinstance(job, JobFuture) and job.done():
            return job
        job_id = job if isinstance(job, str) else job.id
        found = self._jobs[job_id].future if job_id in self._jobs else self._results.get(job_id)
        if isinstance(job, JobFuture) and found is not job:
            raise UnknownJob(job_id)
        return found

    def _enqueue(self, job: Job, delay: float) -> None:
        self._queue.put(job.id, job, priority=job.priority, delay=delay)

    def _take_back(self, job: Job, reason: str) -> list[JobFuture]:
        if not job.future.cancel(JobCancelled(job.id, reason)):
            return []
        self._queue.discard(job.id)
        self._remove(job)
        others = self._graph.drop(job.id)
        return [job.future, *self._cancel_all(others, f"{job.id} did not succeed")]

    def _cancel_all(self, job_ids: Iterable[str], reason: str) -> list[JobFuture]:
        """Cancel jobs that the graph has dropped; none of them has begun."""
        futures = []
        for job_id in job_ids:
            job = self._jobs[job_id]
            job.future.cancel(JobCancelled(job_id, reason))
            self._queue.discard(job_id)
            self._remove(job)
            futures.append(job.future)
        return futures

    def _remove(self, job: Job) -> None:
        del self._jobs[job.id]
        self._results.add(job.future)
        self._changed.notify_all()
