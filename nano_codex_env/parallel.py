"""Map a function over items in a thread pool; the work is subprocesses, so threads are enough."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from nano_codex_env.errors import check_positive

Item = TypeVar("Item")
Output = TypeVar("Output")


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def parallel_map(
    function: Callable[[Item], Output], items: Iterable[Item], workers: int | None = None, *, ordered: bool = True
) -> Iterator[Output]:
    """The function's value for each item, `workers` at once (default: one for each processor).

    Not `ordered`: as they are finished. When the iteration ends early, by an exception or Ctrl-C, no further
    item is begun.

    Raises:
        ConfigError: `workers` is not a positive whole number.
    """
    workers = processors() if workers is None else workers
    check_positive("workers", workers)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="nano-codex")
    try:
        futures = [pool.submit(function, item) for item in items]
        for future in futures if ordered else as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)
