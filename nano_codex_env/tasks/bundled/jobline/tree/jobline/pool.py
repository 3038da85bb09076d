"""Threads that work off a queue."""

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from jobline.errors import QueueClosed
from jobline.queue import JobQueue

T = TypeVar("T")
_log = logging.getLogger("jobline")


class WorkerPool(Generic[T]):
    """A fixed number of threads, each of which takes an item and handles it, over and over.

    The threads are daemons, so that a program which forgets to stop them can still end.
    """

    def __init__(
        self, queue: JobQueue[T], handle: Callable[[T], object], size: int, *, name: str = "jobline"
    ) -> None:
        if size < 1:
            raise ValueError(f"a pool has at least one worker, not {size}")
        self._queue = queue
        self._handle = handle
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(size)
        ]
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        """Return how many threads are alive."""
        return sum(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Close the queue and wait until the threads have ended.

        A worker may call it, too; then its own thread ends a little later.
        """
        self._queue.close()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _work(self) -> None:
        while True:
            try:
                item = self._queue.get()
            except QueueClosed:
                return
            try:
                self._handle(item)
            except Exception:
                _log.exception("a worker could not handle %r", item)
            del item
