"""When to try again, and when to give up."""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class RetryPolicy:
    """How often, and how patiently, a job is tried again. One policy may serve many jobs.

    The first retry comes *base* seconds after the failure, each further one *factor* times
    as late, but no later than *cap*. *jitter* is the part of a delay that is left to chance:
    with 0.25, a delay of 8 seconds becomes something from 6 to 8.
    """

    attempts: int | None = 3
    """How many attempts there are in all, the first one included; None for no limit."""
    base: float = 1.0
    factor: float = 2.0
    cap: float = 60.0
    jitter: float = 0.0
    give_up_after: float | None = None
    """No attempt begins more than so many seconds after the first failure."""
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.attempts is not None and self.attempts < 1:
            raise ValueError(f"there is at least one attempt, not {self.attempts}")
        if self.base < 0 or self.factor < 1 or self.cap < self.base:
            raise ValueError("delays start at zero or later, and do not shrink")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter is a part from 0 to 1, not {self.jitter}")

    def start(self, job_id: str) -> "Backoff":
        """Return the state of the retries of one job; its chances hang on its id alone."""
        return Backoff(self, job_id)


class Backoff:
    """The retries of one job: tell it how each attempt went, and it says what to do.

    A success ends a series of failures. The next failure, if the job runs again, is the first
    one of a new series.
    """

    def __init__(self, policy: RetryPolicy, job_id: str) -> None:
        self.policy = policy
        self.failures = 0
        """How many attempts have failed in this series."""
        self._delay: float | None = None
        self._since: float | None = None
        self._random = random.Random(f"{policy.seed}/{job_id}")

    def failed(self, error: BaseException, now: float) -> float | None:
        """Take note of a failure; return in how many seconds to try again, None to give up."""
        policy = self.policy
        self.failures += 1
        if self._since is None:
            self._since = now
        if not isinstance(error, policy.retry_on):
            return None
        if policy.attempts is not None and self.failures >= policy.attempts:
            return None
        delay = self._next_delay()
        if policy.give_up_after is not None and now + delay - self._since > policy.give_up_after:
            return None
        return delay

    def succeeded(self) -> None:
        """Take note of a success."""
        self.failures = 0
        self._delay = None
        self._since = None

    def _next_delay(self) -> float:
        if self._delay is None:
            self._delay = self.policy.base
        else:
            self._delay = min(self._delay * self.policy.factor, self.policy.cap)
        return self._delay * (1 - self.policy.jitter * self._random.random())
