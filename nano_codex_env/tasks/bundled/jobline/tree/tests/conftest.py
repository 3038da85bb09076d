import threading

import pytest

from jobline import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture(autouse=True)
def no_thread_is_left_behind():
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=5)
        assert not thread.is_alive(), f"{thread.name} is still running"
