"""A function over many items in threads; the work is subprocesses, so threads are enough."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from nano_codex_env.errors import ConfigError

Item = TypeVar("Item")
Result = TypeVar("Result")


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def each(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None, *, ordered: bool = True
) -> Iterator[Result]:
    """What `function` gives for each item, `workers` at once (default: one for each processor).

    Not `ordered`: as they are finished. What has not begun when the iteration is left, by an exception or Ctrl-C, is
    not begun any more.

    Raises:
        ConfigError: `workers` is no positive number.
    """
    count = processors() if workers is None else workers
    if count < 1:
        raise ConfigError(f"the number of workers must be at least 1; got {workers!r}")
    pool = ThreadPoolExecutor(count, thread_name_prefix="nano-codex")
    try:
        futures = [pool.submit(function, item) for item in items]
        for future in futures if ordered else as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)
