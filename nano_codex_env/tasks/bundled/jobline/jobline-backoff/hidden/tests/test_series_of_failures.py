import pytest

from jobline import JobLine, RetryPolicy


def pauses(backoff, now, count):
    """The pauses after so many failures in a row, the first of them at *now*."""
    found = []
    for _ in range(count):
        pause = backoff.failed(OSError("down"), now)
        found.append(pause)
        now += pause or 0.0
    return found


class Script:
    """A job that repeats: it does one step each time, "." for a success and "x" for a failure."""

    def __init__(self, clock, steps):
        self.clock = clock
        self.steps = list(steps)
        self.calls = []

    def __call__(self):
        self.calls.append(self.clock.now())
        if self.steps and self.steps.pop(0) == "x":
            raise OSError(f"failure at {self.clock.now()}")


def run(clock, script, seconds, **options):
    """Have the script done for so many seconds; return its future."""
    line = JobLine(workers=1, clock=clock)
    try:
        clock.await_waiters(1)
        future = line.submit(script, **options)
        for _ in range(seconds):
            clock.await_waiters(1)
            clock.advance(1)
        clock.await_waiters(1)
        return future, future.done()
    finally:
        line.close(cancel=True)


def test_the_first_pause_is_short_again():
    backoff = RetryPolicy(attempts=5, base=1, factor=4, cap=50).start("a")
    assert pauses(backoff, 0, 4) == [1, 4, 16, 50]
    backoff.succeeded()
    assert pauses(backoff, 100, 5) == [1, 4, 16, 50, None]


@pytest.mark.parametrize(
    ("failures", "expected"),
    [(1, [15]), (2, [15, 45]), (3, [15, 45, 135])],
    ids=["1", "2", "3"],
)
def test_many_short_series(failures, expected):
    backoff = RetryPolicy(attempts=4, base=15, factor=3, cap=1000).start("a")
    for day in range(6):
        assert pauses(backoff, day * 86400, failures) == expected
        backoff.succeeded()


def test_the_part_of_chance_does_not_grow_with_the_series():
    backoff = RetryPolicy(attempts=None, base=4, factor=3, cap=500, jitter=0.5).start("a")
    small = []
    for day in range(24):
        first, second = pauses(backoff, day * 86400, 2)
        if 2 <= first <= 4 and 6 <= second <= 12:
            small.append(day)
        backoff.succeeded()
    assert len(small) == 24


def test_giving_up_counts_from_the_first_failure_of_the_series():
    backoff = RetryPolicy(attempts=None, base=10, factor=1, give_up_after=25).start("a")
    assert pauses(backoff, 0, 3) == [10, 10, None]
    backoff.succeeded()
    assert pauses(backoff, 40, 3) == [10, 10, None]
    backoff.succeeded()
    assert pauses(backoff, 500, 3) == [10, 10, None]


def test_one_failure_each_day():
    backoff = RetryPolicy(attempts=5, base=30, factor=2, cap=900, give_up_after=3600).start("a")
    for day in range(7):
        assert pauses(backoff, day * 86400, 1) == [30]
        backoff.succeeded()


def test_successes_in_a_row_change_nothing():
    backoff = RetryPolicy(attempts=4, base=2, factor=2, give_up_after=7).start("a")
    backoff.succeeded()
    backoff.succeeded()
    assert pauses(backoff, 0, 3) == [2, 4, None]
    for _ in range(3):
        backoff.succeeded()
    assert pauses(backoff, 50, 3) == [2, 4, None]


def test_within_a_series_the_time_goes_on():
    backoff = RetryPolicy(attempts=None, base=1, factor=2, cap=64, give_up_after=40).start("a")
    assert pauses(backoff, 7, 6) == [1, 2, 4, 8, 16, None]


def test_a_job_that_repeats_starts_small_in_each_run(clock):
    script = Script(clock, "xx.xx.x..")
    policy = RetryPolicy(attempts=3, base=1, factor=5, cap=100)
    run(clock, script, 100, every=20, retry=policy)
    assert script.calls == [0, 1, 6, 26, 27, 32, 52, 53, 73, 93]


def test_a_job_that_repeats_is_not_given_up_late(clock):
    script = Script(clock, "x...x..x.")
    policy = RetryPolicy(attempts=4, base=2, factor=1, give_up_after=10)
    _, done = run(clock, script, 100, every=10, retry=policy)
    assert not done
    assert script.calls[:9] == [0, 2, 12, 22, 32, 34, 44, 54, 56]


def test_a_job_that_repeats_is_given_up_in_time(clock):
    script = Script(clock, ".x.xxxxxx")
    policy = RetryPolicy(attempts=None, base=4, factor=1, give_up_after=9)
    future, done = run(clock, script, 80, every=10, retry=policy)
    assert done
    assert script.calls == [0, 10, 14, 24, 28, 32]
    with pytest.raises(OSError, match=r"failure at 32"):
        future.result(0)
