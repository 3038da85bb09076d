"""A cache of responses: bounded in number, bounded in time."""

import heapq
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from routekit.messages import Request, Response
from routekit.query import encode_query


@dataclass
class CacheStats:
    """What has happened so far."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    """Entries that had to make room for others."""
    expirations: int = 0
    """Entries whose time was over."""


@dataclass(slots=True)
class _Entry:
    response: Response
    expires_at: float


class ResponseCache:
    """Responses under string keys, each with its own time to live.

    The entries stand in the order of their last use. `_deadlines` is a heap of the
    moments at which entries expire, so that a sweep need not look at all of them.
    """

    def __init__(
        self,
        max_entries: int = 128,
        *,
        ttl: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_entries < 1:
            raise ValueError(f"a cache holds at least one entry, found {max_entries}")
        self.max_entries = max_entries
        self.ttl = ttl
        self.stats = CacheStats()
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._deadlines: list[tuple[float, str]] = []

    def get(self, key: str) -> Response | None:
        """Return a copy of the response under *key*, None if there is none any more."""
        entry = self._live(key)
        if entry is None:
            self.stats.misses += 1
            return None
        self.stats.hits += 1
        self._entries.move_to_end(key)
        return entry.response.copy()

    def set(self, key: str, response: Response, *, ttl: float | None = None) -> None:
        """Keep a copy of *response*; a time to live of zero or less keeps nothing."""
        self._sweep()
        self._entries.pop(key, None)
        ttl = self.ttl if ttl is None else ttl
        if ttl <= 0:
            return
        while len(self._entries) >= self.max_entries:
            self._entries.popitem(last=False)
            self.stats.evictions += 1
        expires_at = self._clock() + ttl
        self._entries[key] = _Entry(response.copy(), expires_at)
        heapq.heappush(self._deadlines, (expires_at, key))

    def refresh(self, key: str, *, ttl: float | None = None) -> bool:
        """Start the time to live of an entry anew; False if there is no such entry any more.

        This is not a use: the entry keeps its place in the order of eviction.
        """
        entry = self._live(key)
        if entry is None:
            return False
        entry.expires_at = self._clock() + (self.ttl if ttl is None else ttl)
        return True

    def remember(
        self, key: str, build: Callable[[], Response], *, ttl: float | None = None
    ) -> Response:
        """Return the response under *key*; build and keep it first if there is none.

        Only responses below 400 are kept.
        """
        response = self.get(key)
        if response is None:
            response = build()
            if response.status < 400:
                self.set(key, response, ttl=ttl)
        return response

    def invalidate(self, key: str) -> bool:
        """Drop one entry; return whether it was there."""
        return self._entries.pop(key, None) is not None

    def invalidate_prefix(self, prefix: str) -> int:
        """Drop all entries whose keys start with *prefix*; return how many."""
        doomed = [key for key in self._entries if key.startswith(prefix)]
        for key in doomed:
            del self._entries[key]
        return len(doomed)

    def clear(self) -> None:
        """Drop everything; the statistics stay."""
        self._entries.clear()
        self._deadlines.clear()

    def keys(self) -> list[str]:
        """Return the keys, the least recently used first."""
        self._sweep()
        return list(self._entries)

    def __len__(self) -> int:
        self._sweep()
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._live(key) is not None

    def _live(self, key: str) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is not None and entry.expires_at <= self._clock():
            del self._entries[key]
            self.stats.expirations += 1
            return None
        return entry

    def _sweep(self) -> None:
        """Drop all entries whose time is over."""
        now = self._clock()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, key = heapq.heappop(self._deadlines)
            if self._entries.pop(key, None) is not None:
                self.stats.expirations += 1


def cache_key(request: Request, *, vary: Iterable[str] = ()) -> str:
    """Return a key for a request: its method, its path, its sorted query, the headers in *vary*."""
    query = encode_query(sorted(request.query.pairs()))
    fields = sorted(name.lower() for name in vary)
    headers = encode_query([(name, request.headers.get(name, "")) for name in fields])
    return f"{request.method.upper()} {request.path}?{query}#{headers}"
