"""Map a function over items in a thread pool; the work is subprocesses, so threads are enough."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

from nano_codex_env.errors import check_positive
from nano_codex_env.mounts import PROC, limiting_groups

Item = TypeVar("Item")
Output = TypeVar("Output")


def processors() -> int:
    """How many processors this process may use, by its affinity and by the quotas of its control groups.

    A container with `--cpus 4`, or a pod with `limits: {cpu: 4}`, sees all processors of the machine.
    """
    allowed = len(os.sched_getaffinity(0))
    try:
        return min(allowed, _quota())
    except (OSError, ValueError):  # no descriptor is left, or /proc is not that of Linux
        return allowed


@cache
def _quota(proc: Path = PROC) -> int:
    """How many processors the smallest quota is worth, rounded up; very many if there is none."""
    found = [float(1 << 20)]
    for folder in limiting_groups("cpu", proc):
        for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
            with suppress(FileNotFoundError):
                quota, period = " ".join((folder / name).read_text(encoding="ascii") for name in names).split()
                found += [int(quota) / int(period)] if quota.isdecimal() else []
    return max(1, math.ceil(min(found)))


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
