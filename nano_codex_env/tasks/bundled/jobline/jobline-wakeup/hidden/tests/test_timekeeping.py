import queue as stdlib
import threading

import pytest

from jobline import JobLine, JobQueue, QueueClosed, QueueEmpty, RetryPolicy


class Patience:
    """How long to wait for another thread: long, until one has turned out to sleep for good."""

    seconds = 2.0

    @classmethod
    def is_over(cls):
        cls.seconds = 0.05


class Takers:
    """Threads that take one item each, one of them after the other waiting in the queue."""

    def __init__(self, queue, clock):
        self.queue = queue
        self.clock = clock
        self.count = 0
        self.outcomes = stdlib.SimpleQueue()

    def add(self, timeout=None):
        self.count += 1
        threading.Thread(target=self._take, args=(timeout,), daemon=True).start()
        self.clock.await_waiters(self.count)

    def _take(self, timeout):
        try:
            self.outcomes.put(self.queue.get(timeout))
        except (QueueClosed, QueueEmpty) as error:
            self.outcomes.put(type(error))

    def next(self):
        """What comes out next, of whichever thread."""
        try:
            outcome = self.outcomes.get(timeout=Patience.seconds)
        except stdlib.Empty:
            Patience.is_over()
            pytest.fail("nobody woke up for what is due")
        self.count -= 1
        return outcome


@pytest.fixture
def queue(clock):
    queue = JobQueue(clock)
    yield queue
    queue.close()


@pytest.fixture
def takers(queue, clock):
    return Takers(queue, clock)


def test_two_delayed_items(queue, takers, clock):
    queue.put("a", "at 5", delay=5)
    queue.put("b", "at 10", delay=10)
    takers.add()
    takers.add()
    clock.advance(5)
    assert takers.next() == "at 5"
    clock.advance(5)
    assert takers.next() == "at 10"


def test_one_after_the_other(queue, takers, clock):
    for delay, name in enumerate(["eggs", "tea", "rice", "bread", "beans"], start=1):
        queue.put(name, name, delay=delay)
        takers.add()
    taken = []
    for _ in range(5):
        clock.advance(1)
        taken.append(takers.next())
    assert taken == ["eggs", "tea", "rice", "bread", "beans"]


def test_an_item_that_is_ready_comes_between(queue, takers, clock):
    queue.put("late", "at 10", delay=10)
    takers.add()
    takers.add()
    queue.put("now", "now")
    assert takers.next() == "now"
    clock.advance(10)
    assert takers.next() == "at 10"


def test_an_item_that_is_due_earlier_comes_between(queue, takers, clock):
    queue.put("late", "at 10", delay=10)
    takers.add()
    takers.add()
    queue.put("soon", "at 2", delay=2)
    clock.await_waiters(2)
    clock.advance(2)
    assert takers.next() == "at 2"
    clock.advance(8)
    assert takers.next() == "at 10"


def test_a_thread_that_gives_up(queue, takers, clock):
    queue.put("late", "at 10", delay=10)
    takers.add(timeout=3)
    takers.add()
    clock.advance(3)
    assert takers.next() is QueueEmpty
    clock.advance(7)
    assert takers.next() == "at 10"


def test_a_thread_that_gives_up_later(queue, takers, clock):
    queue.put("late", "at 10", delay=10)
    takers.add()
    takers.add(timeout=3)
    clock.advance(3)
    assert takers.next() is QueueEmpty
    clock.advance(7)
    assert takers.next() == "at 10"


def test_items_that_are_due_together(queue, takers, clock):
    for key in "ab":
        queue.put(key, key, delay=5)
    takers.add()
    takers.add()
    clock.advance(5)
    assert {takers.next(), takers.next()} == {"a", "b"}


def test_items_that_are_due_together_and_one_later(queue, takers, clock):
    for key in "ab":
        queue.put(key, key, delay=5)
    queue.put("late", "at 10", delay=10)
    for _ in range(3):
        takers.add()
    clock.advance(5)
    assert {takers.next(), takers.next()} == {"a", "b"}
    clock.advance(5)
    assert takers.next() == "at 10"


def test_an_item_that_was_taken_back(queue, takers, clock):
    queue.put("a", "a", delay=5)
    queue.put("b", "b", delay=10)
    takers.add()
    takers.add()
    queue.discard("a")
    clock.advance(5)
    clock.await_waiters(2)
    clock.advance(5)
    assert takers.next() == "b"


def test_a_retry_while_another_worker_is_busy(clock):
    entered, release = threading.Event(), threading.Event()
    attempts = []

    def busy():
        entered.set()
        assert release.wait(20)

    def flaky():
        attempts.append(clock.now())
        if len(attempts) == 1:
            raise OSError("not yet")

    line = JobLine(workers=2, clock=clock)
    try:
        clock.await_waiters(2)
        line.submit(busy, delay=5)
        clock.await_waiters(2)
        future = line.submit(flaky, retry=RetryPolicy(base=10))
        clock.await_waiters(2)
        clock.advance(5)
        assert entered.wait(10)
        clock.advance(5)
        try:
            future.result(Patience.seconds)
        except TimeoutError:
            Patience.is_over()
            pytest.fail("an idle worker did not wake up for the retry")
        assert attempts == [0, 10]
    finally:
        release.set()
        line.close(cancel=True)
