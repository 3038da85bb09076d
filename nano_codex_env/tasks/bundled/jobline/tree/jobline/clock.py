"""Time as an argument: the clock of the system, and one that is turned by hand.

Nothing else in this package asks what time it is. Points in time are seconds since some
moment that only the clock knows.
"""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What the package wants from a clock."""

    def now(self) -> float:
        """Return the time in seconds; it never goes backwards."""

    def wait(self, condition: threading.Condition, until: float | None) -> None:
        """Wait until *condition*, whose lock is held, is woken, or until that point in time."""

    def wake(self, condition: threading.Condition) -> None:
        """Wake the thread that waits on *condition*, whose lock is held."""


class SystemClock:
    """The monotonic clock of the system."""

    def now(self) -> float:
        return time.monotonic()

    def wait(self, condition: threading.Condition, until: float | None) -> None:
        if until is None:
            condition.wait()
        else:
            condition.wait(min(max(until - self.now(), 0.0), threading.TIMEOUT_MAX))

    def wake(self, condition: threading.Condition) -> None:
        condition.notify()


class ManualClock:
    """A clock that stands still until `advance` is called, for tests without sleeping.

    It knows which threads wait on it, and `await_waiters` lets a test go on only when the
    threads it has started have nothing left to do. A thread that has been woken does not
    count as waiting, even if it has not come to run yet.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._changed = threading.Condition()
        self._waiters: dict[threading.Condition, float | None] = {}

    def now(self) -> float:
        with self._changed:
            return self._now

    def wait(self, condition: threading.Condition, until: float | None) -> None:
        with self._changed:
            if until is not None and until <= self._now:
                return
            self._waiters[condition] = until
            self._changed.notify_all()
        try:
            condition.wait()
        finally:
            with self._changed:
                self._waiters.pop(condition, None)

    def wake(self, condition: threading.Condition) -> None:
        with self._changed:
            self._waiters.pop(condition, None)
        condition.notify()

    def advance(self, seconds: float) -> None:
        """Turn the clock on, and wake the threads whose time has come."""
        if seconds < 0:
            raise ValueError(f"time does not go backwards: {seconds}")
        with self._changed:
            self._now += seconds
            due = [
                condition
                for condition, until in self._waiters.items()
                if until is not None and until <= self._now
            ]
            for condition in due:
                del self._waiters[condition]
        for condition in due:
            with condition:
                condition.notify()

    def await_waiters(self, count: int, *, timeout: float = 10.0) -> None:
        """Block until *count* threads wait on this clock, for *timeout* real seconds at most."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._waiters) >= count, timeout):
                raise TimeoutError(f"{len(self._waiters)} threads wait, expected {count}")
