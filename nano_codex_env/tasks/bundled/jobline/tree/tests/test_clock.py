import threading

import pytest

from jobline import ManualClock, SystemClock


def wait_in_a_thread(clock, condition, until, woken):
    def wait():
        with condition:
            clock.wait(condition, until)
        woken.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_it_stands_still(clock):
    assert clock.now() == clock.now() == 0.0
    assert ManualClock(5.0).now() == 5.0


def test_it_is_turned_on(clock):
    clock.advance(2.5)
    clock.advance(0)
    assert clock.now() == 2.5
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


def test_who_waits_until_a_moment_is_woken_then(clock):
    condition, woken = threading.Condition(), threading.Event()
    wait_in_a_thread(clock, condition, 3.0, woken)
    clock.await_waiters(1)
    clock.advance(2.0)
    assert not woken.is_set()
    clock.advance(1.0)
    assert woken.wait(5)


def test_who_waits_without_end_is_woken_by_somebody(clock):
    condition, woken = threading.Condition(), threading.Event()
    wait_in_a_thread(clock, condition, None, woken)
    clock.await_waiters(1)
    clock.advance(1000)
    assert not woken.is_set()
    with condition:
        clock.wake(condition)
    assert woken.wait(5)


def test_a_moment_in_the_past_is_not_waited_for(clock):
    condition = threading.Condition()
    clock.advance(4)
    with condition:
        clock.wait(condition, 4.0)


def test_the_woken_do_not_count_as_waiting(clock):
    condition, woken = threading.Condition(), threading.Event()
    wait_in_a_thread(clock, condition, 3.0, woken)
    clock.await_waiters(1)
    clock.advance(3)
    with pytest.raises(TimeoutError, match="0 threads wait, expected 1"):
        clock.await_waiters(1, timeout=0)
    assert woken.wait(5)


def test_the_system_clock_goes_on():
    clock = SystemClock()
    condition = threading.Condition()
    before = clock.now()
    with condition:
        clock.wait(condition, before + 0.001)
        clock.wait(condition, before - 1)
    assert clock.now() > before


def test_the_system_clock_can_be_woken():
    clock = SystemClock()
    condition, woken = threading.Condition(), threading.Event()
    waiting = threading.Event()

    def wait():
        with condition:
            waiting.set()
            clock.wait(condition, None)
        woken.set()

    threading.Thread(target=wait, daemon=True).start()
    assert waiting.wait(5)
    with condition:
        clock.wake(condition)
    assert woken.wait(5)
