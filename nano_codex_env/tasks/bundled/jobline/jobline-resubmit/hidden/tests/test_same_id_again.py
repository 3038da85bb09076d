import threading

import pytest

from jobline import JobGraph, JobLine, JobQueue, QueueEmpty, RetryPolicy


def drain(queue):
    taken = []
    while True:
        try:
            taken.append(queue.get(timeout=0))
        except QueueEmpty:
            return taken


@pytest.fixture
def queue(clock):
    return JobQueue(clock)


@pytest.fixture
def line(clock):
    line = JobLine(workers=1, clock=clock)
    clock.await_waiters(1)
    yield line
    line.close(cancel=True)


class Gate:
    """A job that keeps the only worker busy until it is opened."""

    def __init__(self):
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self):
        self.entered.set()
        assert self.opened.wait(10)


@pytest.fixture
def gate(line):
    gate = Gate()
    line.submit(gate, id="gate")
    assert gate.entered.wait(10)
    yield gate
    gate.opened.set()


@pytest.fixture
def work(line, gate, clock):
    """Let the worker do all that there is to do."""

    def work():
        gate.opened.set()
        clock.await_waiters(1)

    return work


def fail():
    raise OSError("no input")


def test_the_item_that_was_put_last_is_taken(queue):
    queue.put("a", "first")
    queue.put("b", "other")
    queue.discard("a")
    queue.put("a", "second")
    queue.put("c", "last")
    assert drain(queue) == ["other", "second", "last"]
    assert len(queue) == 0


def test_the_second_item_has_its_own_priority(queue):
    queue.put("a", "first", priority=9)
    queue.put("b", "other", priority=5)
    queue.put("c", "low", priority=2)
    queue.discard("a")
    queue.put("a", "second", priority=1)
    assert drain(queue) == ["other", "low", "second"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(0, 5, 5), (2, 5, 5), (5, 2, 2), (5, 0, 0)],
    ids=["ready", "sooner", "later", "delayed"],
)
def test_the_second_item_has_its_own_delay(queue, clock, before, after, expected):
    queue.put("other", "other")
    queue.put("sooner", "sooner", delay=1)
    queue.put("a", "first", delay=before)
    queue.discard("a")
    queue.put("a", "second", delay=after)
    taken = []
    for second in range(8):
        taken += [(second, item) for item in drain(queue) if item not in ("other", "sooner")]
        clock.advance(1)
    assert taken == [(expected, "second")]


def test_a_key_that_is_used_over_and_over(queue):
    for number in range(5):
        queue.put("a", number)
        queue.discard("a")
    queue.put("a", 25)
    assert drain(queue) == [25]
    queue.put("a", 36)
    assert drain(queue) == [36]


def test_the_second_job_waits_for_its_own():
    graph = JobGraph()
    for job_id in ("old", "new"):
        graph.add(job_id)
    graph.add("report-5", ["old"])
    graph.drop("report-5")
    graph.add("report-5", ["new"])
    assert graph.finish("old") == []
    assert graph.finish("new") == ["report-5"]


def test_the_second_job_is_not_dropped_with_the_other():
    graph = JobGraph()
    for job_id in ("old", "new"):
        graph.add(job_id)
    graph.add("report-3", ["old"])
    graph.add("mail-4", ["report-3"])
    assert graph.drop("report-3") == ["mail-4"]
    graph.add("report-3", ["new"])
    assert graph.drop("old") == []
    assert graph.finish("new") == ["report-3"]


def test_the_second_job_waits_for_all_of_them():
    graph = JobGraph()
    for job_id in ("x", "y", "z"):
        graph.add(job_id)
    graph.add("report-7", ["x", "y"])
    graph.drop("report-7")
    graph.add("report-7", ["x", "y", "z"])
    assert graph.finish("x") == []
    assert graph.finish("y") == []
    assert graph.finish("z") == ["report-7"]


def test_a_parent_is_done_and_its_id_used_again():
    graph = JobGraph()
    for job_id in ("x", "y"):
        graph.add(job_id)
    graph.add("a", ["x", "y"])
    assert graph.finish("x") == []
    graph.add("x")
    assert graph.drop("x") == []
    assert graph.finish("y") == ["a"]


def test_the_second_job_is_the_one_that_runs(line, work):
    done = []
    first = line.submit(done.append, "first", id="a")
    line.cancel(first)
    second = line.submit(done.append, "second", id="a")
    for other in ("mail", "report"):
        line.submit(done.append, other)
    work()
    assert done == ["second", "mail", "report"]
    assert first.cancelled()
    assert second.succeeded()


def test_the_second_job_comes_after_its_own(line, work):
    done = []
    line.submit(done.append, "old", id="old")
    line.submit(done.append, "first", id="a", after=["old"])
    line.cancel("a")
    line.submit(done.append, "new", id="new", priority=-1)
    line.submit(done.append, "other")
    second = line.submit(done.append, "second", id="a", after=["new"], priority=5)
    work()
    assert done == ["old", "other", "new", "second"]
    assert second.succeeded()


def test_the_second_job_survives_what_it_does_not_need(line, work):
    done = []
    line.submit(fail, id="old")
    line.submit(done.append, "first", id="a", after=["old"])
    line.cancel("a")
    line.submit(done.append, "new", id="new", priority=-1)
    second = line.submit(done.append, "second", id="a", after=["new"])
    line.submit(done.append, "mail", after=["a"])
    work()
    assert done == ["new", "second", "mail"]
    assert second.succeeded()


def test_a_chain_is_taken_back_and_submitted_again(line, work):
    done = []
    line.submit(done.append, "old input", id="input", delay=1)
    line.submit(done.append, "old report", id="report", after=["gate", "input"])
    line.submit(done.append, "old mail", id="mail", after=["report"])
    assert line.cancel("input")
    line.submit(done.append, "input", id="input", priority=-1)
    line.submit(done.append, "report", id="report", after=["gate", "input"])
    mail = line.submit(done.append, "mail", id="mail", after=["report"])
    work()
    assert done == ["input", "report", "mail"]
    assert mail.succeeded()


def test_it_replaces_one_that_waits_for_its_next_attempt(line, work, clock):
    done = []
    work()
    line.submit(done.append, "other", delay=1)
    clock.await_waiters(1)
    line.submit(fail, id="a", retry=RetryPolicy(base=5))
    clock.await_waiters(1)
    line.cancel("a")
    second = line.submit(done.append, "second", id="a", delay=9)
    line.submit(done.append, "last", delay=9)
    clock.await_waiters(1)
    for _ in range(2):
        clock.advance(5)
        clock.await_waiters(1)
    assert done == ["other", "second", "last"]
    assert second.succeeded()
