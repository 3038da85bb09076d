import pytest

from routekit import Response, ResponseCache


class Now:
    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


@pytest.fixture
def now():
    return Now()


@pytest.fixture
def cache(now):
    return ResponseCache(max_entries=3, ttl=10, clock=now)


def page(text):
    return Response.text(text)


def test_a_refreshed_entry_outlives_its_first_time(cache, now):
    cache.set("/status", page("up"), ttl=5)
    now.time = 4
    assert cache.refresh("/status", ttl=600)
    seen = []
    for now.time in (5, 6, 300, 603):
        cache.set("/other", page("x"), ttl=1)
        found = cache.get("/status")
        seen.append(found and found.body)
    assert seen == [b"up"] * 4
    assert cache.stats.misses == 0


def test_a_refreshed_entry_is_gone_when_its_new_time_is_over(cache, now):
    cache.set("/a", page("A"), ttl=2)
    cache.refresh("/a", ttl=20)
    cache.set("/b", page("B"), ttl=100)
    lengths = []
    for now.time in (1, 3, 19, 20, 30):
        lengths.append(len(cache))
    assert lengths == [2, 2, 2, 1, 1]
    assert cache.stats.expirations == 1


@pytest.mark.parametrize(
    "look",
    [
        lambda cache: len(cache),
        lambda cache: cache.keys(),
        lambda cache: cache.set("/other", page("x")),
        lambda cache: cache.remember("/other", lambda: page("x")),
    ],
    ids=["len", "keys", "set", "remember"],
)
@pytest.mark.parametrize("drop", [False, True], ids=["replaced", "dropped_between"])
def test_an_entry_set_again_lives_its_own_time(cache, now, look, drop):
    cache.set("/a", page("v14"), ttl=3)
    now.time = 1
    if drop:
        assert cache.invalidate("/a")
    cache.set("/a", page("v15"), ttl=30)
    now.time = 3
    look(cache)
    assert cache.get("/a").body == b"v15"
    now.time = 31
    assert cache.get("/a") is None


def test_an_entry_that_comes_back_after_eviction_lives_its_own_time(cache, now):
    for key in ("/page/14", "/page/25", "/page/36", "/page/47"):
        cache.set(key, page(key), ttl=5)
    assert "/page/14" not in cache
    now.time = 2
    cache.set("/page/14", page("again"), ttl=50)
    now.time = 5
    assert cache.keys() == ["/page/14"]
    assert cache.stats.expirations == 2


def test_a_refreshed_entry_does_not_hold_its_place_for_ever(cache, now):
    cache.set("/page/14", page("A"), ttl=2)
    cache.refresh("/page/14", ttl=6)
    now.time = 3
    assert cache.keys() == ["/page/14"]
    cache.set("/page/25", page("B"), ttl=100)
    cache.set("/page/36", page("C"), ttl=100)
    cache.get("/page/14")
    now.time = 6
    cache.set("/page/47", page("D"), ttl=100)
    assert cache.keys() == ["/page/25", "/page/36", "/page/47"]
    assert (cache.stats.evictions, cache.stats.expirations) == (0, 1)


def test_a_shorter_time_counts_too(cache, now):
    cache.set("/a", page("A"), ttl=50)
    cache.set("/a", page("B"), ttl=5)
    now.time = 5
    assert len(cache) == 0
    now.time = 50
    assert len(cache) == 0
    assert cache.stats.expirations == 1


def test_entries_without_a_refresh_expire_one_by_one(cache, now):
    for ttl, key in ((9, "/a"), (3, "/b"), (6, "/c")):
        cache.set(key, page(key), ttl=ttl)
    seen = []
    for now.time in (2, 3, 6, 9):
        seen.append(cache.keys())
    assert seen == [["/a", "/b", "/c"], ["/a", "/c"], ["/a"], []]
