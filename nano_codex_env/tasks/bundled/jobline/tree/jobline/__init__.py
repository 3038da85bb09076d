"""A small in-process job queue for threads."""

from jobline.clock import Clock, ManualClock, SystemClock
from jobline.errors import (
    DuplicateJob,
    JobCancelled,
    JoblineError,
    QueueClosed,
    QueueEmpty,
    UnknownJob,
)
from jobline.graph import JobGraph
from jobline.line import JobLine
from jobline.pool import WorkerPool
from jobline.queue import JobQueue
from jobline.ratelimit import TokenBucket
from jobline.results import JobFuture, JobState, ResultStore
from jobline.retry import Backoff, RetryPolicy
from jobline.stats import Snapshot, Stats

__all__ = [
    "Backoff",
    "Clock",
    "DuplicateJob",
    "JobCancelled",
    "JobFuture",
    "JobGraph",
    "JobLine",
    "JobQueue",
    "JobState",
    "JoblineError",
    "ManualClock",
    "QueueClosed",
    "QueueEmpty",
    "ResultStore",
    "RetryPolicy",
    "Snapshot",
    "Stats",
    "SystemClock",
    "TokenBucket",
    "UnknownJob",
    "WorkerPool",
]
