import threading

import pytest

from jobline import DuplicateJob, JobQueue, QueueClosed, QueueEmpty


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


class Taker(threading.Thread):
    """Takes items until the queue is closed."""

    def __init__(self, queue):
        super().__init__(daemon=True)
        self.queue = queue
        self.taken = []
        self.error = None
        self.start()

    def run(self):
        try:
            while True:
                self.taken.append(self.queue.get())
        except QueueClosed as error:
            self.error = error


def test_higher_priorities_first(queue):
    for key, priority in [("a", 0), ("b", 5), ("c", -1), ("d", 5)]:
        queue.put(key, key.upper(), priority=priority)
    assert drain(queue) == ["B", "D", "A", "C"]


def test_first_come_first_served(queue, clock):
    for number in range(20):
        queue.put(f"job {number}", number)
        clock.advance(number % 3)
    assert drain(queue) == list(range(20))


def test_items_need_not_be_comparable(queue):
    first, second = object(), object()
    queue.put("a", first)
    queue.put("b", second)
    assert drain(queue) == [first, second]


def test_delayed_items_come_in_their_time(queue, clock):
    queue.put("late", "late", delay=10)
    queue.put("soon", "soon", delay=3)
    queue.put("now", "now")
    assert drain(queue) == ["now"]
    clock.advance(3)
    assert drain(queue) == ["soon"]
    clock.advance(6.5)
    assert drain(queue) == []
    clock.advance(0.5)
    assert drain(queue) == ["late"]


def test_a_delayed_item_keeps_its_priority(queue, clock):
    queue.put("urgent", "urgent", priority=9, delay=5)
    clock.advance(5)
    queue.put("usual", "usual")
    assert drain(queue) == ["urgent", "usual"]


def test_a_delayed_item_goes_behind_those_that_were_ready_before(queue, clock):
    queue.put("delayed", "delayed", delay=5)
    queue.put("now", "now")
    clock.advance(2)
    queue.put("a little later", "a little later")
    clock.advance(3)
    assert drain(queue) == ["now", "a little later", "delayed"]


def test_len_counts_the_delayed(queue):
    queue.put("a", 1)
    queue.put("b", 2, delay=5)
    assert len(queue) == 2
    queue.discard("b")
    assert len(queue) == 1


def test_a_key_is_there_once(queue):
    queue.put("a", 1)
    with pytest.raises(DuplicateJob, match="a"):
        queue.put("a", 2)
    assert drain(queue) == [1]
    queue.put("a", 3)
    assert drain(queue) == [3]


@pytest.mark.parametrize("delay", [0, 5], ids=["ready", "delayed"])
def test_discard(queue, clock, delay):
    queue.put("a", 1, delay=delay)
    queue.put("b", 2, delay=delay)
    assert queue.discard("a")
    assert not queue.discard("a")
    clock.advance(5)
    assert drain(queue) == [2]


def test_a_discarded_key_can_be_used_again(queue):
    queue.put("a", 1)
    queue.discard("a")
    queue.put("a", 2, priority=1)
    assert len(queue) == 1
    assert drain(queue) == [2]


def test_reprioritise(queue, clock):
    queue.put("a", "a")
    queue.put("b", "b")
    queue.put("c", "c", delay=5)
    assert queue.reprioritise("b", 1)
    assert queue.reprioritise("c", 2)
    assert not queue.reprioritise("d", 3)
    clock.advance(5)
    assert drain(queue) == ["c", "b", "a"]


def test_reprioritise_keeps_the_place_among_equals(queue, clock):
    for key in "abc":
        queue.put(key, key, priority=1 if key == "b" else 0)
        clock.advance(1)
    queue.reprioritise("b", 0)
    assert drain(queue) == ["a", "b", "c"]


def test_get_gives_up(queue, clock):
    queue.put("late", "late", delay=100)
    failed = threading.Event()

    def take():
        with pytest.raises(QueueEmpty, match="in 7 seconds"):
            queue.get(timeout=7)
        failed.set()

    threading.Thread(target=take, daemon=True).start()
    clock.await_waiters(1)
    clock.advance(6)
    assert not failed.is_set()
    clock.advance(1)
    assert failed.wait(5)


def test_a_waiting_thread_is_woken(queue, clock):
    taker = Taker(queue)
    clock.await_waiters(1)
    queue.put("a", 1)
    clock.await_waiters(1)
    assert taker.taken == [1]
    queue.close()


def test_a_waiting_thread_wakes_up_for_a_delayed_item(queue, clock):
    taker = Taker(queue)
    clock.await_waiters(1)
    queue.put("late", "late", delay=9)
    queue.put("soon", "soon", delay=4)
    clock.await_waiters(1)
    clock.advance(4)
    clock.await_waiters(1)
    assert taker.taken == ["soon"]
    clock.advance(5)
    clock.await_waiters(1)
    assert taker.taken == ["soon", "late"]
    queue.close()


def test_what_becomes_due_at_once_is_shared(queue, clock):
    takers = [Taker(queue) for _ in range(3)]
    clock.await_waiters(3)
    for number in range(6):
        queue.put(f"job {number}", number, delay=2)
    clock.await_waiters(3)
    clock.advance(2)
    clock.await_waiters(3)
    assert sorted(item for taker in takers for item in taker.taken) == [0, 1, 2, 3, 4, 5]
    queue.close()


def test_every_item_is_taken_once(queue, clock):
    takers = [Taker(queue) for _ in range(4)]
    for number in range(100):
        queue.put(f"job {number}", number)
    clock.await_waiters(4)
    assert sorted(item for taker in takers for item in taker.taken) == list(range(100))
    queue.close()


def test_close_sends_the_waiting_home(queue, clock):
    takers = [Taker(queue) for _ in range(3)]
    clock.await_waiters(3)
    queue.put("late", "late", delay=5)
    queue.close()
    for taker in takers:
        taker.join(5)
        assert isinstance(taker.error, QueueClosed)


def test_a_closed_queue_is_emptied(queue):
    queue.put("a", 1)
    queue.close()
    with pytest.raises(QueueClosed):
        queue.put("b", 2)
    assert queue.get() == 1
    with pytest.raises(QueueClosed):
        queue.get()


def test_it_goes_by_the_system_clock_by_default():
    queue = JobQueue()
    queue.put("a", 1, delay=0.001)
    assert queue.get(timeout=5) == 1
    with pytest.raises(QueueEmpty):
        queue.get(timeout=0.001)
