import threading

import pytest

from jobline import TokenBucket


def test_a_full_bucket_lets_a_burst_pass(clock):
    bucket = TokenBucket(rate=1, burst=3, clock=clock)
    assert [bucket.try_acquire() for _ in range(4)] == [True, True, True, False]


def test_it_fills_up_again(clock):
    bucket = TokenBucket(rate=2, burst=2, clock=clock)
    assert bucket.try_acquire(2)
    clock.advance(0.5)
    assert bucket.try_acquire()
    assert not bucket.try_acquire()
    clock.advance(100)
    assert bucket.available == 2


def test_fractions_are_not_lost(clock):
    bucket = TokenBucket(rate=1, burst=1, clock=clock)
    assert bucket.try_acquire()
    taken = 0
    for _ in range(32):
        clock.advance(0.125)
        taken += bucket.try_acquire()
    assert taken == 4


def test_a_refusal_takes_nothing(clock):
    bucket = TokenBucket(rate=1, burst=4, clock=clock)
    bucket.try_acquire(2)
    assert not bucket.try_acquire(3)
    assert bucket.available == 2


def test_reserve_says_how_long_to_wait(clock):
    bucket = TokenBucket(rate=2, burst=1, clock=clock)
    assert [bucket.reserve() for _ in range(3)] == [0.0, 0.5, 1.0]
    assert bucket.available == -2
    clock.advance(1.0)
    assert not bucket.try_acquire()
    clock.advance(0.5)
    assert bucket.try_acquire()


def test_what_cannot_be_reserved(clock):
    with pytest.raises(ValueError, match="never fit"):
        TokenBucket(rate=1, burst=2, clock=clock).reserve(3)


@pytest.mark.parametrize(
    ("rate", "burst"), [(0, 1), (1, 0), (-1, 1)], ids=["rate", "burst", "negative"]
)
def test_buckets_that_are_refused(rate, burst):
    with pytest.raises(ValueError, match="positive"):
        TokenBucket(rate, burst)


def test_many_threads_share_the_tokens(clock):
    bucket = TokenBucket(rate=1, burst=50, clock=clock)
    taken = []
    start = threading.Barrier(4)

    def take():
        start.wait(5)
        taken.append(sum(bucket.try_acquire() for _ in range(40)))

    threads = [threading.Thread(target=take, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert sum(taken) == 50
