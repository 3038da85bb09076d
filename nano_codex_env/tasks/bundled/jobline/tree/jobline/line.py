"""The line itself: submit jobs, wait for them, take them back."""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from typing import Any

from jobline.board import Board, Job
from jobline.clock import Clock, SystemClock
from jobline.pool import WorkerPool
from jobline.queue import JobQueue
from jobline.ratelimit import TokenBucket
from jobline.results import JobFuture
from jobline.retry import RetryPolicy
from jobline.stats import Stats


class JobLine:
    """Jobs, and the workers that do them. No lock is held while a job or a callback runs."""

    def __init__(
        self,
        workers: int = 4,
        *,
        clock: Clock | None = None,
        limiter: TokenBucket | None = None,
        keep: int = 1000,
    ) -> None:
        self.stats = Stats()
        self._clock = clock or SystemClock()
        self._limiter = limiter
        self._numbers = count(1)
        self._queue: JobQueue[Job] = JobQueue(self._clock)
        self._board = Board(self._queue, keep)
        self._pool = WorkerPool(self._queue, self._handle, workers)

    def __enter__(self) -> "JobLine":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.close(cancel=kind is not None)

    def submit(
        self,
        call: Callable[..., Any],
        *args: Any,
        id: str | None = None,
        priority: int = 0,
        after: Iterable[str | JobFuture] = (),
        delay: float = 0.0,
        every: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> JobFuture:
        """Have a worker call *call* with *args*; return the future of it.

        It waits until all jobs in *after* have succeeded, and then for *delay* seconds. With
        *every* it runs again and again, so many seconds after the end of each run.
        """
        future = JobFuture(id if id is not None else f"job-{next(self._numbers)}")
        backoff = retry.start(future.id) if retry is not None else None
        job = Job(future, partial(call, *args), priority, delay, every, backoff)
        taken_back = self._board.add(job, after)
        self.stats.count("submitted")
        self._announce_cancelled(taken_back)
        return future

    def cancel(self, job: str | JobFuture) -> bool:
        """Take a job back, and all that wait for it; return whether it will not run (again).

        A job that is running is not interrupted, and one that is done stays as it is.
        """
        taken_back = self._board.cancel(job)
        self._announce_cancelled(taken_back)
        return bool(taken_back)

    def reprioritise(self, job_id: str, priority: int) -> bool:
        """Change the priority of an unfinished job; return False if there is none."""
        return self._board.reprioritise(job_id, priority)

    def future(self, job_id: str) -> JobFuture:
        """Return the future of the latest job of that id."""
        return self._board.future(job_id)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until all jobs are done but those that repeat; return False if it took too long.

        The timeout is in real seconds. Callbacks of the last jobs may still be running.
        """
        return self._board.join(timeout)

    def close(self, *, cancel: bool = False) -> None:
        """Take no more jobs, wait for those that are there, and stop the workers.

        Jobs that repeat end with the run that they are in, if any. With *cancel*, all jobs that
        do not run at this moment are taken back.
        """
        self._announce_cancelled(self._board.close(cancel=cancel))
        self._board.await_empty()
        self._pool.stop()

    def _handle(self, job: Job) -> None:
        """Do what is to be done with a job from the queue. Runs in a worker."""
        if self._limiter is not None and not job.has_token:
            job.has_token = True
            wait = self._limiter.reserve()
            if wait > 0:
                self._announce_cancelled(self._board.again(job, wait))
                return
        if job.future.start():
            self.stats.count("attempts")
            job.has_token = False
            self._attempt(job)

    def _attempt(self, job: Job) -> None:
        begin = self._clock.now()
        try:
            value = job.call()
        except BaseException as error:
            now = self._clock.now()
            delay = job.backoff.failed(error, now) if job.backoff is not None else None
            if delay is None:
                self.stats.ran("failed", now - begin)
                self._announce(self._board.failed(job, error))
            else:
                self.stats.ran("retried", now - begin)
                self._announce_cancelled(self._board.again(job, delay))
            return
        self.stats.ran("succeeded", self._clock.now() - begin)
        if job.every is None:
            self._announce(self._board.succeeded(job, value))
            return
        if job.backoff is not None:
            job.backoff.succeeded()
        self._announce_cancelled(self._board.again(job, job.every))

    def _announce(self, settled: list[JobFuture]) -> None:
        """Announce a job that is done, and those that are cancelled with it."""
        settled[0].announce()
        self._announce_cancelled(settled[1:])

    def _announce_cancelled(self, cancelled: list[JobFuture]) -> None:
        for future in cancelled:
            self.stats.count("cancelled")
            future.announce()
