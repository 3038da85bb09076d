"""A thread-safe queue with priorities and delays."""

import threading
from collections import deque
from typing import Generic, TypeVar

from jobline.clock import Clock, SystemClock
from jobline.errors import QueueClosed, QueueEmpty
from jobline.schedule import Schedule

T = TypeVar("T")


class JobQueue(Generic[T]):
    """Hands each item to one of the threads that wait in `get`.

    Every waiting thread sits on a condition of its own, so that exactly one can be woken.
    Only one of them, the timekeeper, wakes up by itself when the next delayed item becomes
    due; the others need not be disturbed for it.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._schedule: Schedule[T] = Schedule()
        self._seats: deque[threading.Condition] = deque()
        self._timekeeper: threading.Condition | None = None
        self._closed = False

    def __len__(self) -> int:
        """Return how many items are in here, ready or not."""
        with self._lock:
            return len(self._schedule)

    def put(self, key: str, item: T, *, priority: int = 0, delay: float = 0.0) -> None:
        """Add an item that may be taken once *delay* seconds have passed."""
        with self._lock:
            if self._closed:
                raise QueueClosed("the queue is closed")
            now = self._clock.now()
            first = self._schedule.next_due()
            due = now + delay
            self._schedule.add(key, item, priority=priority, due=due, now=now)
            if due <= now or self._timekeeper is None:
                self._wake_next()
            elif first is None or due < first:
                self._clock.wake(self._timekeeper)

    def get(self, timeout: float | None = None) -> T:
        """Take the next item, and wait for one if need be.

        After *timeout* seconds without one it raises QueueEmpty. In a closed queue, what is
        ready may still be taken; then it raises QueueClosed.
        """
        with self._lock:
            deadline = None if timeout is None else self._clock.now() + timeout
            try:
                while True:
                    now = self._clock.now()
                    self._schedule.promote(now)
                    if self._schedule.has_ready():
                        return self._schedule.pop()
                    if self._closed:
                        raise QueueClosed("the queue is closed")
                    if deadline is not None and now >= deadline:
                        raise QueueEmpty(f"nothing came up in {timeout} seconds")
                    self._sit_down(deadline)
            finally:
                self._hand_over()

    def discard(self, key: str) -> bool:
        """Take an item back; return False if it is not in here (any more)."""
        with self._lock:
            return self._schedule.discard(key)

    def reprioritise(self, key: str, priority: int) -> bool:
        """Change the priority of an item; return False if it is not in here (any more)."""
        with self._lock:
            return self._schedule.reprioritise(key, priority)

    def close(self) -> None:
        """Take no more items, and send home the threads that wait for one."""
        with self._lock:
            self._closed = True
            while self._seats:
                self._wake_next()

    def _sit_down(self, until: float | None) -> None:
        """Wait to be woken, as the timekeeper if there is time to be kept and nobody does."""
        seat = threading.Condition(self._lock)
        due = self._schedule.next_due()
        if self._timekeeper is None and due is not None:
            self._timekeeper = seat
            until = due if until is None else min(until, due)
        self._seats.append(seat)
        try:
            self._clock.wait(seat, until)
        finally:
            if seat in self._seats:
                self._seats.remove(seat)
            if self._timekeeper is seat:
                self._timekeeper = None

    def _wake_next(self) -> None:
        """Wake the thread that has been waiting for the longest time, if there is one."""
        if self._seats:
            self._clock.wake(self._seats.popleft())

    def _hand_over(self) -> None:
        """On leaving, see to it that somebody looks after what is left in here."""
        unattended = self._timekeeper is None and self._schedule.next_due() is not None
        if unattended or self._schedule.has_ready():
            self._wake_next()
