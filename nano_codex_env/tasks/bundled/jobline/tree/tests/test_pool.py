import threading

import pytest

from jobline import JobQueue, QueueClosed, WorkerPool


def test_items_are_handled(clock):
    queue, handled = JobQueue(clock), []
    pool = WorkerPool(queue, handled.append, 3)
    for number in range(10):
        queue.put(str(number), number)
    clock.await_waiters(3)
    pool.stop()
    assert sorted(handled) == list(range(10))
    assert len(pool) == 0


def test_workers_work_at_the_same_time(clock):
    queue = JobQueue(clock)
    together = threading.Barrier(3)
    pool = WorkerPool(queue, lambda _: together.wait(5), 3)
    for number in range(3):
        queue.put(str(number), number)
    clock.await_waiters(3)
    pool.stop()
    assert not together.broken


def test_a_worker_survives(clock, caplog):
    queue, handled = JobQueue(clock), []

    def handle(item):
        if item == "bad":
            raise ValueError(item)
        handled.append(item)

    pool = WorkerPool(queue, handle, 1)
    queue.put("1", "bad")
    queue.put("2", "good")
    clock.await_waiters(1)
    pool.stop()
    assert handled == ["good"]
    assert "could not handle 'bad'" in caplog.text


def test_what_is_ready_is_still_done(clock):
    queue, handled = JobQueue(clock), []
    queue.put("1", 1)
    queue.put("2", 2)
    WorkerPool(queue, handled.append, 1).stop()
    assert handled == [1, 2]
    with pytest.raises(QueueClosed):
        queue.put("3", 3)


def test_a_worker_may_stop_its_pool(clock):
    queue, stopped = JobQueue(clock), threading.Event()
    pool = WorkerPool(queue, lambda _: (pool.stop(), stopped.set()), 2)
    clock.await_waiters(2)
    queue.put("1", 1)
    assert stopped.wait(5)


def test_a_pool_needs_a_worker(clock):
    with pytest.raises(ValueError, match="at least one"):
        WorkerPool(JobQueue(clock), print, 0)
