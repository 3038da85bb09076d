import pytest

from jobline import RetryPolicy


def pauses(backoff, count, *, step=0.0):
    """The pauses after so many failures in a row, each a moment after the pause before it."""
    now, found = 0.0, []
    for _ in range(count):
        pause = backoff.failed(OSError("down"), now)
        found.append(pause)
        now += step + (pause or 0.0)
    return found


def test_pauses_grow_up_to_the_cap():
    policy = RetryPolicy(attempts=7, base=1, factor=3, cap=20)
    assert pauses(policy.start("a"), 7) == [1, 3, 9, 20, 20, 20, None]


def test_pauses_may_all_be_the_same():
    policy = RetryPolicy(attempts=4, base=5, factor=1)
    assert pauses(policy.start("a"), 4) == [5, 5, 5, None]


def test_one_attempt_is_no_retry():
    assert pauses(RetryPolicy(attempts=1).start("a"), 1) == [None]


def test_no_limit():
    policy = RetryPolicy(attempts=None, base=1, cap=60)
    found = pauses(policy.start("a"), 3000)
    assert None not in found
    assert found[-1] == 60


def test_jitter_stays_within_its_part():
    policy = RetryPolicy(attempts=None, base=8, factor=1, jitter=0.25)
    found = pauses(policy.start("a"), 200)
    assert all(6 <= pause <= 8 for pause in found)
    assert len(set(found)) > 100


def test_jitter_does_not_grow():
    policy = RetryPolicy(attempts=None, base=1, factor=2, cap=16, jitter=0.5)
    found = pauses(policy.start("a"), 50)
    assert all(8 <= pause <= 16 for pause in found[4:])


def test_the_chances_hang_on_seed_and_id():
    policy = RetryPolicy(attempts=None, jitter=0.5, seed=1)
    again = pauses(policy.start("a"), 10)
    assert pauses(policy.start("a"), 10) == again
    assert pauses(policy.start("b"), 10) != again
    assert pauses(RetryPolicy(attempts=None, jitter=0.5, seed=2).start("a"), 10) != again


def test_jobs_of_one_policy_do_not_know_of_each_other():
    policy = RetryPolicy(attempts=3, base=1)
    first, second = policy.start("a"), policy.start("b")
    assert [first.failed(OSError(), 0), second.failed(OSError(), 0)] == [1, 1]
    assert [first.failed(OSError(), 1), second.failed(OSError(), 1)] == [2, 2]
    assert [first.failed(OSError(), 3), second.failed(OSError(), 3)] == [None, None]


def test_giving_up_after_some_time():
    policy = RetryPolicy(attempts=None, base=10, factor=1, give_up_after=35)
    assert pauses(policy.start("a"), 4) == [10, 10, 10, None]
    assert pauses(policy.start("a"), 3, step=5) == [10, 10, None]


def test_some_errors_are_final():
    policy = RetryPolicy(retry_on=(OSError,))
    assert policy.start("a").failed(ValueError(), 0) is None
    assert policy.start("a").failed(ConnectionError(), 0) == 1


def test_a_success_gives_all_attempts_back():
    backoff = RetryPolicy(attempts=3, base=2, factor=1).start("a")
    for _ in range(5):
        assert pauses(backoff, 2) == [2, 2]
        assert backoff.failures == 2
        backoff.succeeded()
        assert backoff.failures == 0
    assert pauses(backoff, 3) == [2, 2, None]


@pytest.mark.parametrize(
    "wrong",
    [{"attempts": 0}, {"base": -1}, {"factor": 0.5}, {"base": 5, "cap": 4}, {"jitter": 1.5}],
    ids=["attempts", "base", "factor", "cap", "jitter"],
)
def test_policies_that_are_refused(wrong):
    with pytest.raises(ValueError):
        RetryPolicy(**wrong)
