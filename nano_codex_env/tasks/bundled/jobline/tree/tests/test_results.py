import threading

import pytest

from jobline import JobCancelled, JobFuture, JobState, ResultStore, UnknownJob


def finished(job_id, value=None, error=None):
    future = JobFuture(job_id)
    future.start()
    future.finish(value, error)
    future.announce()
    return future


def test_a_future_goes_its_way():
    future = JobFuture("a")
    assert future.state is JobState.WAITING
    assert future.start()
    assert future.state is JobState.RUNNING
    assert not future.done()
    future.finish(7, None)
    assert future.done()
    assert future.succeeded()
    assert future.result() == 7
    assert future.exception() is None
    assert repr(future) == "<JobFuture a succeeded>"


def test_a_future_raises_what_the_job_raised():
    error = OSError("disk full")
    future = finished("a", error=error)
    assert future.state is JobState.FAILED
    assert future.exception() is error
    with pytest.raises(OSError, match="disk full"):
        future.result()


def test_only_what_waits_is_cancelled():
    future = JobFuture("a")
    assert future.start()
    assert not future.cancel(JobCancelled("a", "cancelled"))
    future.pause()
    assert future.cancel(JobCancelled("a", "cancelled"))
    assert future.cancelled()
    assert not future.start()
    with pytest.raises(JobCancelled, match="a: cancelled"):
        future.result()


def test_waiting_takes_no_longer_than_the_timeout():
    with pytest.raises(TimeoutError, match="a is not done"):
        JobFuture("a").result(timeout=0)


def test_a_thread_waits_for_the_result():
    future, found = JobFuture("a"), []
    thread = threading.Thread(target=lambda: found.append(future.result(5)), daemon=True)
    thread.start()
    future.start()
    future.finish(3, None)
    thread.join(5)
    assert found == [3]


def test_callbacks_are_called_once_and_in_order():
    future, calls = JobFuture("a"), []
    future.add_done_callback(lambda done: calls.append((1, done.state)))
    future.add_done_callback(lambda done: calls.append((2, done.state)))
    future.start()
    future.finish(None, None)
    assert calls == []
    future.announce()
    future.announce()
    assert calls == [(1, JobState.SUCCEEDED), (2, JobState.SUCCEEDED)]


def test_a_late_callback_is_called_at_once():
    calls = []
    finished("a").add_done_callback(calls.append)
    assert [future.id for future in calls] == ["a"]


def test_a_callback_may_ask_the_future_from_another_thread():
    answers = []

    def ask(future):
        thread = threading.Thread(target=lambda: answers.append(future.result(5)), daemon=True)
        thread.start()
        thread.join(5)

    future = JobFuture("a")
    future.add_done_callback(ask)
    future.start()
    future.finish(5, None)
    future.announce()
    assert answers == [5]


def test_a_broken_callback_does_not_matter(caplog):
    future, calls = JobFuture("a"), []
    future.add_done_callback(lambda done: 1 / 0)
    future.add_done_callback(calls.append)
    future.start()
    future.finish(None, None)
    future.announce()
    assert calls == [future]
    assert "a callback of a failed" in caplog.text


def test_the_store_keeps_the_latest():
    store = ResultStore(keep=2)
    futures = {key: finished(key) for key in "abc"}
    for key in "aba":
        store.add(futures[key])
    store.add(futures["c"])
    assert store.get("a") is futures["a"]
    assert store.get("c") is futures["c"]
    with pytest.raises(UnknownJob):
        store.get("b")
    assert len(store) == 2
