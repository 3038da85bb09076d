"""What becomes of jobs: futures, and a store of those that are done."""

import logging
import threading
from collections.abc import Callable
from enum import Enum
from typing import Any

from jobline.errors import UnknownJob

_log = logging.getLogger("jobline")


class JobState(Enum):
    """Where a job stands."""

    WAITING = "waiting"
    """For other jobs, for its time, or for a worker; also between two attempts."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


_DONE = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


class JobFuture:
    """The outcome of one job, once there is one.

    Timeouts here are real seconds, whatever clock the line goes by.
    """

    def __init__(self, job_id: str) -> None:
        self.id = job_id
        self._changed = threading.Condition()
        self._state = JobState.WAITING
        self._value: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[JobFuture], object]] = []

    @property
    def state(self) -> JobState:
        """Where the job stands."""
        with self._changed:
            return self._state

    def done(self) -> bool:
        """Return whether there is an outcome, of whichever kind."""
        return self.state in _DONE

    def succeeded(self) -> bool:
        """Return whether the job went well."""
        return self.state is JobState.SUCCEEDED

    def cancelled(self) -> bool:
        """Return whether the job was taken back."""
        return self.state is JobState.CANCELLED

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the job; return its value or raise what it raised.

        A job that was cancelled raises JobCancelled.
        """
        error = self.exception(timeout)
        if error is not None:
            raise error
        return self._value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the job; return what it raised, None if it went well."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._state in _DONE, timeout):
                raise TimeoutError(f"{self.id} is not done after {timeout} seconds")
            return self._error

    def add_done_callback(self, callback: Callable[["JobFuture"], object]) -> None:
        """Call *callback* with this future when it is done, or now if it is.

        It is called once, without any lock held. What it raises is logged and ignored.
        """
        with self._changed:
            if self._state not in _DONE:
                self._callbacks.append(callback)
                return
        self._call(callback)

    def start(self) -> bool:
        """Go from waiting to running, False if the job was taken back. For the line."""
        with self._changed:
            if self._state is not JobState.WAITING:
                return False
            self._state = JobState.RUNNING
            return True

    def pause(self) -> None:
        """Go from running back to waiting, for another attempt. For the line."""
        with self._changed:
            self._state = JobState.WAITING

    def cancel(self, error: BaseException) -> bool:
        """Go from waiting to cancelled, False if the job is running or done. For the line."""
        with self._changed:
            if self._state is not JobState.WAITING:
                return False
            self._settle(JobState.CANCELLED, None, error)
            return True

    def finish(self, value: Any, error: BaseException | None) -> None:
        """Go from running to succeeded or failed. For the line."""
        with self._changed:
            self._settle(JobState.FAILED if error else JobState.SUCCEEDED, value, error)

    def announce(self) -> None:
        """Call the callbacks of a future that is done. For the line, outside of its lock."""
        with self._changed:
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            self._call(callback)

    def _settle(self, state: JobState, value: Any, error: BaseException | None) -> None:
        self._state, self._value, self._error = state, value, error
        self._changed.notify_all()

    def _call(self, callback: Callable[["JobFuture"], object]) -> None:
        try:
            callback(self)
        except Exception:
            _log.exception("a callback of %s failed", self.id)

    def __repr__(self) -> str:
        return f"<JobFuture {self.id} {self.state.value}>"


class ResultStore:
    """The futures of jobs that are done, the latest *keep* of them.

    It is not thread-safe; the line locks around it.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._futures: dict[str, JobFuture] = {}

    def __len__(self) -> int:
        return len(self._futures)

    def add(self, future: JobFuture) -> None:
        """Keep a future, instead of an older one of the same id."""
        self._futures.pop(future.id, None)
        self._futures[future.id] = future
        while len(self._futures) > self._keep:
            del self._futures[next(iter(self._futures))]

    def get(self, job_id: str) -> JobFuture:
        """Return the future of a job that is done."""
        try:
            return self._futures[job_id]
        except KeyError:
            raise UnknownJob(job_id) from None

    def forget(self, job_id: str) -> None:
        """Keep it no longer, if it is still here."""
        self._futures.pop(job_id, None)
