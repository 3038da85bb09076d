"""A token bucket."""

import threading

from jobline.clock import Clock, SystemClock


class TokenBucket:
    """Lets *rate* things happen in a second, and up to *burst* at once after a pause.

    The bucket starts full. Fractions of a token count: it does not matter how often one looks.
    """

    def __init__(self, rate: float, burst: float = 1.0, *, clock: Clock | None = None) -> None:
        if rate <= 0 or burst <= 0:
            raise ValueError(f"rate and burst must be positive, got {rate} and {burst}")
        self.rate = rate
        self.burst = burst
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._tokens = float(burst)
        self._filled = self._clock.now()

    @property
    def available(self) -> float:
        """How many tokens there are; below zero, so many are owed."""
        with self._lock:
            self._refill()
            return self._tokens

    def try_acquire(self, tokens: float = 1.0) -> bool:
        """Take *tokens* if there are as many, else none."""
        with self._lock:
            self._refill()
            if self._tokens < tokens:
                return False
            self._tokens -= tokens
            return True

    def reserve(self, tokens: float = 1.0) -> float:
        """Take *tokens*, on credit if need be; return in how many seconds they are there."""
        if tokens > self.burst:
            raise ValueError(f"{tokens} tokens never fit into a bucket of {self.burst}")
        with self._lock:
            self._refill()
            self._tokens -= tokens
            return max(0.0, -self._tokens / self.rate)

    def _refill(self) -> None:
        now = self._clock.now()
        self._tokens = min(self.burst, self._tokens + (now - self._filled) * self.rate)
        self._filled = now
