import threading

import pytest

from jobline import JobLine, JobQueue, QueueEmpty, RetryPolicy


@pytest.fixture
def queue(clock):
    return JobQueue(clock)


def drain(queue):
    taken = []
    while True:
        try:
            taken.append(queue.get(timeout=0))
        except QueueEmpty:
            return taken


def put(queue, *keys, **options):
    for key in keys:
        queue.put(key, key, **options)


class Gate:
    """A job that keeps the only worker busy until it is opened."""

    def __init__(self, line):
        self.entered = threading.Event()
        self.opened = threading.Event()
        line.submit(self, id="gate")
        assert self.entered.wait(10)

    def __call__(self):
        self.entered.set()
        assert self.opened.wait(10)


def test_a_delay_that_was_over_first(queue, clock):
    put(queue, "delayed", delay=5)
    clock.advance(8)
    put(queue, "new", "last")
    clock.advance(2)
    assert drain(queue) == ["delayed", "new", "last"]


def test_delays_among_many_that_were_ready_at_once(queue, clock):
    put(queue, "at 6", delay=6)
    put(queue, "at 9", delay=9)
    put(queue, "at 1", delay=1)
    clock.advance(2)
    put(queue, "at 2")
    clock.advance(6)
    put(queue, "at 8")
    clock.advance(4)
    put(queue, "at 12", "also at 12")
    assert drain(queue) == ["at 1", "at 2", "at 6", "at 8", "at 9", "at 12", "also at 12"]


def test_within_each_priority(queue, clock):
    put(queue, "low at 3", delay=3)
    put(queue, "high at 4", delay=4, priority=1)
    clock.advance(5)
    put(queue, "low at 5")
    put(queue, "high at 5", priority=1)
    assert drain(queue) == ["high at 4", "high at 5", "low at 3", "low at 5"]


def test_one_is_taken_in_between(queue, clock):
    put(queue, "at 2", delay=2)
    put(queue, "at 6", delay=6)
    clock.advance(3)
    put(queue, "at 3", "also at 3")
    assert [queue.get(timeout=0), queue.get(timeout=0)] == ["at 2", "at 3"]
    clock.advance(4)
    put(queue, "at 7")
    assert drain(queue) == ["also at 3", "at 6", "at 7"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_new_priority_does_not_change_since_when(queue, clock, when):
    put(queue, "delayed", delay=5, priority=7)
    if when == "before":
        queue.reprioritise("delayed", 0)
    clock.advance(8)
    put(queue, "new", "last")
    if when == "after":
        queue.reprioritise("delayed", 0)
    clock.advance(1)
    assert drain(queue) == ["delayed", "new", "last"]


def test_a_new_priority_of_the_other(queue, clock):
    put(queue, "delayed", delay=5)
    clock.advance(8)
    put(queue, "new", "last", priority=3)
    queue.reprioritise("new", 0)
    queue.reprioritise("last", 0)
    assert drain(queue) == ["delayed", "new", "last"]


def test_a_delay_that_is_over_later(queue, clock):
    put(queue, "delayed", delay=20)
    clock.advance(10)
    put(queue, "new")
    clock.advance(15)
    assert drain(queue) == ["new", "delayed"]


def test_a_priority_counts_more_than_a_long_wait(queue, clock):
    put(queue, "delayed", delay=1)
    clock.advance(50)
    put(queue, "new", priority=1)
    assert drain(queue) == ["new", "delayed"]


def test_a_retry_while_the_worker_was_busy(clock):
    calls = []

    def flaky():
        calls.append("flaky")
        if len(calls) == 1:
            raise OSError("not yet")

    with JobLine(workers=1, clock=clock) as line:
        line.submit(flaky, retry=RetryPolicy(base=5))
        clock.await_waiters(1)
        gate = Gate(line)
        clock.advance(6)
        for name in ("b", "c"):
            line.submit(calls.append, name)
        gate.opened.set()
    assert calls == ["flaky", "flaky", "b", "c"]


def test_a_delayed_job_while_the_worker_was_busy(clock):
    calls = []
    with JobLine(workers=1, clock=clock) as line:
        gate = Gate(line)
        line.submit(calls.append, "at 3", delay=3)
        clock.advance(4)
        line.submit(calls.append, "at 4")
        line.submit(calls.append, "at 7", delay=3)
        clock.advance(4)
        line.submit(calls.append, "at 8")
        gate.opened.set()
    assert calls == ["at 3", "at 4", "at 7", "at 8"]
