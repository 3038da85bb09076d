"""Counting what happens to jobs."""

import threading
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Snapshot:
    """The numbers of one moment."""

    submitted: int = 0
    attempts: int = 0
    """How many times a job was started, retries and repeated runs included."""
    retried: int = 0
    succeeded: int = 0
    """How many runs went well; a job that repeats has many."""
    failed: int = 0
    cancelled: int = 0
    run_time: float = 0.0
    longest_run: float = 0.0

    @property
    def mean_run(self) -> float:
        """The mean length of an attempt that is over, in seconds."""
        ended = self.retried + self.succeeded + self.failed
        return self.run_time / ended if ended else 0.0


class Stats:
    """Counters that many threads may write to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = Snapshot()

    def count(self, name: str, amount: int = 1) -> None:
        """Add to one of the counters."""
        with self._lock:
            value = getattr(self._numbers, name) + amount
            self._numbers = replace(self._numbers, **{name: value})

    def ran(self, outcome: str, seconds: float) -> None:
        """Count an attempt that is over, by how it went."""
        with self._lock:
            numbers = self._numbers
            self._numbers = replace(
                numbers,
                **{outcome: getattr(numbers, outcome) + 1},
                run_time=numbers.run_time + seconds,
                longest_run=max(numbers.longest_run, seconds),
            )

    def snapshot(self) -> Snapshot:
        """Return all numbers as they are at this moment."""
        with self._lock:
            return self._numbers
