import threading

import pytest

from jobline import (
    DuplicateJob,
    JobCancelled,
    JobLine,
    JobState,
    QueueClosed,
    RetryPolicy,
    TokenBucket,
    UnknownJob,
)


@pytest.fixture
def line(clock):
    """A line with one worker, which has nothing to do yet."""
    line = JobLine(workers=1, clock=clock)
    clock.await_waiters(1)
    yield line
    line.close(cancel=True)


class Gate:
    """A job that keeps its worker busy until it is opened."""

    def __init__(self):
        self.entered = threading.Event()
        self._open = threading.Event()

    def __call__(self):
        self.entered.set()
        assert self._open.wait(10)

    def open(self):
        self._open.set()


@pytest.fixture
def gate(line):
    """The worker is busy until the gate is opened."""
    gate = Gate()
    line.submit(gate, id="gate")
    assert gate.entered.wait(5)
    yield gate
    gate.open()


class Flaky:
    """A job that fails so many times, and notes when it was called."""

    def __init__(self, clock, failures):
        self.clock = clock
        self.failures = failures
        self.calls = []

    def __call__(self):
        self.calls.append(self.clock.now())
        if len(self.calls) <= self.failures:
            raise OSError(f"failure {len(self.calls)}")
        return "fine"


def test_a_job_is_done(line):
    future = line.submit(divmod, 17, 5)
    assert future.result(5) == (3, 2)
    assert line.future(future.id) is future


def test_a_job_fails(line):
    with pytest.raises(ZeroDivisionError):
        line.submit(divmod, 1, 0).result(5)
    assert line.submit(int, "7").result(5) == 7


def test_priorities(line, gate):
    done = []
    for name, priority in [("a", 0), ("b", 2), ("c", 1), ("d", 2)]:
        line.submit(done.append, name, id=name, priority=priority)
    line.reprioritise("a", 3)
    assert not line.reprioritise("x", 1)
    gate.open()
    assert line.join(5)
    assert done == ["a", "b", "d", "c"]


def test_a_delay(line, clock):
    future = line.submit(clock.now, delay=30)
    clock.advance(29)
    assert future.state is JobState.WAITING
    clock.advance(1)
    assert future.result(5) == 30


def test_a_job_runs_after_others(line, gate):
    done = []
    first = line.submit(done.append, "first")
    line.submit(done.append, "second", id="second")
    line.submit(done.append, "last", after=["second", first], priority=9)
    gate.open()
    assert line.join(5)
    assert done == ["first", "second", "last"]


def test_a_delay_begins_after_the_others(line, clock):
    line.submit(clock.now, id="first", delay=10)
    future = line.submit(clock.now, after=["first"], delay=5)
    clock.advance(10)
    clock.await_waiters(1)
    clock.advance(4)
    assert not future.done()
    clock.advance(1)
    assert future.result(5) == 15


def test_after_what_is_done_already(line):
    first = line.submit(int)
    first.result(5)
    assert line.submit(int, "5", after=[first]).result(5) == 5
    assert line.submit(int, "6", after=[first.id]).result(5) == 6
    with pytest.raises(UnknownJob):
        line.submit(int, after=["nobody"])


def test_a_failure_cancels_what_waits_for_it(line, gate):
    line.submit(divmod, 1, 0, id="bad")
    line.submit(int, id="child", after=["bad", "gate"])
    last = line.submit(int, id="grandchild", after=["child"])
    gate.open()
    with pytest.raises(JobCancelled, match="bad did not succeed"):
        last.result(5)
    assert line.future("child").cancelled()
    with pytest.raises(JobCancelled, match="bad did not succeed"):
        line.submit(int, after=["bad"]).result(5)


def test_cancel(line, gate):
    done = []
    future = line.submit(done.append, "cancelled", id="a")
    child = line.submit(done.append, "child", after=[future])
    line.submit(done.append, "other")
    assert line.cancel("a")
    assert not line.cancel("a")
    assert future.cancelled()
    assert child.cancelled()
    gate.open()
    assert line.join(5)
    assert done == ["other"]
    assert line.stats.snapshot().cancelled == 2


def test_what_runs_or_is_done_is_not_cancelled(line, gate):
    running = line.future("gate")
    assert not line.cancel(running)
    gate.open()
    running.result(5)
    assert not line.cancel(running)
    assert not line.cancel("nobody")


def test_a_job_is_cancelled_between_two_attempts(line, clock):
    flaky = Flaky(clock, failures=9)
    future = line.submit(flaky, retry=RetryPolicy(attempts=5))
    clock.await_waiters(1)
    assert line.cancel(future)
    clock.advance(100)
    clock.await_waiters(1)
    assert flaky.calls == [0]
    assert line.join(0)


def test_ids_are_unique_until_the_job_is_done(line, gate):
    line.submit(int, "1", id="a")
    with pytest.raises(DuplicateJob):
        line.submit(int, "2", id="a")
    gate.open()
    assert line.future("a").result(5) == 1
    assert line.submit(int, "3", id="a").result(5) == 3
    assert line.future("a").result(5) == 3


def test_a_cancelled_job_is_submitted_again(line, gate):
    done = []
    first = line.submit(done.append, "first", id="a", after=["gate"])
    line.cancel("a")
    second = line.submit(done.append, "second", id="a", after=["gate"])
    assert not line.cancel(first)
    gate.open()
    second.result(5)
    assert done == ["second"]


def test_retries(line, clock):
    flaky = Flaky(clock, failures=2)
    future = line.submit(flaky, retry=RetryPolicy(attempts=3, base=2, factor=5))
    clock.await_waiters(1)
    clock.advance(2)
    clock.await_waiters(1)
    clock.advance(10)
    assert future.result(5) == "fine"
    assert flaky.calls == [0, 2, 12]
    numbers = line.stats.snapshot()
    assert (numbers.attempts, numbers.retried, numbers.succeeded) == (3, 2, 1)


def test_retries_come_to_an_end(line, clock):
    future = line.submit(Flaky(clock, failures=9), retry=RetryPolicy(attempts=2))
    clock.await_waiters(1)
    clock.advance(1)
    with pytest.raises(OSError, match="failure 2"):
        future.result(5)
    assert line.stats.snapshot().failed == 1


def test_a_job_that_repeats(line, clock):
    calls = []
    future = line.submit(lambda: calls.append(clock.now()), every=60)
    for _ in range(3):
        clock.await_waiters(1)
        clock.advance(60)
    clock.await_waiters(1)
    assert calls == [0, 60, 120, 180]
    assert line.join(0)
    assert line.cancel(future)
    assert line.stats.snapshot().succeeded == 4


def test_a_job_that_repeats_and_fails(line, clock):
    flaky = Flaky(clock, failures=1)
    line.submit(flaky, every=60, retry=RetryPolicy(attempts=2, base=5))
    for step in (5, 60):
        clock.await_waiters(1)
        clock.advance(step)
    clock.await_waiters(1)
    assert flaky.calls == [0, 5, 65]


def test_the_rate_limit(clock):
    calls = []
    limiter = TokenBucket(rate=0.5, burst=2, clock=clock)
    with JobLine(workers=1, clock=clock, limiter=limiter) as line:
        for _ in range(4):
            line.submit(lambda: calls.append(clock.now()))
        for _ in range(2):
            clock.await_waiters(1)
            clock.advance(2)
    assert calls == [0, 0, 2, 4]


def test_callbacks_may_use_the_line(line):
    done = threading.Event()

    def follow_up(future):
        line.submit(int, id="next", after=[future])
        line.cancel("nobody")
        line.future("next").add_done_callback(lambda _: done.set())

    line.submit(int).add_done_callback(follow_up)
    assert done.wait(5)


def test_leaving_the_block_waits_for_the_jobs(clock):
    with JobLine(workers=2, clock=clock) as line:
        futures = [line.submit(int, str(number)) for number in range(10)]
    assert [future.result(0) for future in futures] == list(range(10))
    with pytest.raises(QueueClosed):
        line.submit(int)


def test_an_exception_in_the_block_takes_the_jobs_back(clock):
    with pytest.raises(KeyError), JobLine(workers=1, clock=clock) as line:
        future = line.submit(int, delay=5)
        raise KeyError
    assert future.cancelled()


def test_closing_ends_what_repeats_or_would_be_retried(clock):
    line = JobLine(workers=1, clock=clock)
    gate = Gate()

    def fail():
        gate()
        raise OSError("after the gate")

    future = line.submit(fail, every=5, retry=RetryPolicy())
    assert gate.entered.wait(5)
    closer = threading.Thread(target=line.close, daemon=True)
    closer.start()
    gate.open()
    closer.join(5)
    assert not closer.is_alive()
    clock.advance(100)
    assert future.done()


def test_results_are_forgotten(clock):
    with JobLine(workers=1, clock=clock, keep=1) as line:
        first, second = line.submit(int), line.submit(int)
        second.result(5)
        assert first.succeeded()
        assert line.future(second.id) is second
        with pytest.raises(UnknownJob):
            line.future(first.id)
