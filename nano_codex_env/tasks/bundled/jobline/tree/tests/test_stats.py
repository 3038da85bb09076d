import threading

from jobline import Snapshot, Stats


def test_counting():
    stats = Stats()
    stats.count("submitted", 3)
    stats.count("attempts")
    assert stats.snapshot() == Snapshot(submitted=3, attempts=1)


def test_a_snapshot_does_not_change():
    stats = Stats()
    before = stats.snapshot()
    stats.count("cancelled")
    assert before.cancelled == 0


def test_run_times():
    stats = Stats()
    for outcome, seconds in [("retried", 4.0), ("succeeded", 1.0), ("failed", 1.0)]:
        stats.ran(outcome, seconds)
    numbers = stats.snapshot()
    assert (numbers.retried, numbers.succeeded, numbers.failed) == (1, 1, 1)
    assert numbers.run_time == 6.0
    assert numbers.longest_run == 4.0
    assert numbers.mean_run == 2.0
    assert Snapshot().mean_run == 0.0


def test_many_threads_count():
    stats = Stats()
    threads = [
        threading.Thread(target=lambda: [stats.count("attempts") for _ in range(200)], daemon=True)
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert stats.snapshot().attempts == 800
