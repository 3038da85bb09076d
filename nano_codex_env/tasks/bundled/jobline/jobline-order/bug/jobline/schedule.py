"""What is next: entries by priority, with those whose time has not come kept apart."""

import heapq
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

from jobline.errors import DuplicateJob

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Entry(Generic[T]):
    """One thing in the schedule. Its key may come again later, with another entry."""

    key: str
    item: T
    priority: int
    number: int

    def rank(self) -> tuple[int, int]:
        """Return the place among the ready ones: the lowest is taken first."""
        return -self.priority, self.number


class Schedule(Generic[T]):
    """Two heaps: what may be taken now, and what becomes ready later.

    A higher priority comes first, and among equals the entry that has been ready for the
    longest time, whenever one looks. An entry with a delay is ready since its delay was over;
    of those that became ready at the same moment, the one that was added first comes first.

    Removed entries stay in their heap until they come up there. It is not thread-safe; the
    queue locks around it.
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry[T]] = {}
        self._ready: list[tuple[tuple[int, int], _Entry[T]]] = []
        self._delayed: list[tuple[float, int, _Entry[T]]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def add(self, key: str, item: T, *, priority: int, due: float, now: float) -> None:
        """Add an entry that may be taken from *due* on."""
        if key in self._entries:
            raise DuplicateJob(key)
        entry = _Entry(key, item, priority, next(self._numbers))
        self._entries[key] = entry
        if due > now:
            heapq.heappush(self._delayed, (due, entry.number, entry))
        else:
            heapq.heappush(self._ready, (entry.rank(), entry))

    def promote(self, now: float) -> None:
        """Make ready what has become due until *now*."""
        while self._delayed and self._delayed[0][0] <= now:
            _, _, entry = heapq.heappop(self._delayed)
            if self._is_current(entry):
                entry.number = next(self._numbers)
                heapq.heappush(self._ready, (entry.rank(), entry))

    def pop(self) -> T:
        """Take the next ready entry out; ask `has_ready` before."""
        _, entry = heapq.heappop(self._ready)
        del self._entries[entry.key]
        return entry.item

    def has_ready(self) -> bool:
        """Return whether something may be taken now."""
        while self._ready and not self._is_current(self._ready[0][1]):
            heapq.heappop(self._ready)
        return bool(self._ready)

    def next_due(self) -> float | None:
        """Return when the next delayed entry becomes ready, None if none is delayed."""
        while self._delayed and not self._is_current(self._delayed[0][2]):
            heapq.heappop(self._delayed)
        return self._delayed[0][0] if self._delayed else None

    def discard(self, key: str) -> bool:
        """Remove the entry of that key; return whether there was one."""
        return self._entries.pop(key, None) is not None

    def reprioritise(self, key: str, priority: int) -> bool:
        """Change a priority, but not how long the entry has been ready."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        entry.priority = priority
        self._ready = [(entry.rank(), entry) for _, entry in self._ready]
        heapq.heapify(self._ready)
        return True

    def _is_current(self, entry: _Entry[T]) -> bool:
        return self._entries.get(entry.key) is entry
