import pytest

from routekit import Headers, Request, Response, ResponseCache, cache_key


def page(text):
    return Response.text(text)


@pytest.fixture
def cache(clock):
    return ResponseCache(max_entries=3, ttl=10, clock=clock)


def test_get_returns_what_was_set(cache):
    cache.set("/a", page("A"))
    assert cache.get("/a").body == b"A"
    assert cache.get("/b") is None


def test_an_entry_lives_its_time(cache, clock):
    cache.set("/a", page("A"))
    cache.set("/b", page("B"), ttl=2)
    clock.advance(2)
    assert cache.get("/b") is None
    assert "/a" in cache
    clock.advance(8)
    assert "/a" not in cache
    assert len(cache) == 0


def test_no_time_to_live_keeps_nothing(cache):
    cache.set("/a", page("A"))
    cache.set("/a", page("B"), ttl=0)
    assert cache.get("/a") is None


def test_the_least_recently_used_entry_makes_room(cache):
    for key in ("/a", "/b", "/c"):
        cache.set(key, page(key))
    cache.get("/a")
    cache.set("/d", page("D"))
    assert cache.keys() == ["/c", "/a", "/d"]
    assert cache.stats.evictions == 1


def test_setting_again_needs_no_room(cache):
    for key in ("/a", "/b", "/c", "/a"):
        cache.set(key, page(key))
    assert cache.keys() == ["/b", "/c", "/a"]
    assert cache.stats.evictions == 0


def test_the_expired_go_before_the_unused(cache, clock):
    cache.set("/a", page("A"))
    cache.set("/b", page("B"), ttl=1)
    cache.set("/c", page("C"))
    clock.advance(1)
    cache.set("/d", page("D"))
    assert cache.keys() == ["/a", "/c", "/d"]
    assert cache.stats.evictions == 0
    assert cache.stats.expirations == 1


def test_setting_again_replaces_response_and_time(cache, clock):
    cache.set("/a", page("old"), ttl=5)
    clock.advance(3)
    cache.set("/a", page("new"), ttl=5)
    clock.advance(3)
    assert cache.get("/a").body == b"new"
    clock.advance(2)
    assert cache.get("/a") is None


def test_refresh_starts_the_time_anew(cache, clock):
    cache.set("/a", page("A"))
    clock.advance(9)
    assert cache.refresh("/a")
    clock.advance(9)
    assert cache.get("/a").body == b"A"
    assert cache.refresh("/a", ttl=3)
    clock.advance(3)
    assert cache.get("/a") is None


def test_refresh_knows_what_is_gone(cache, clock):
    assert not cache.refresh("/a")
    cache.set("/a", page("A"), ttl=1)
    clock.advance(1)
    assert not cache.refresh("/a")


def test_refresh_is_not_a_use(cache):
    for key in ("/a", "/b", "/c"):
        cache.set(key, page(key))
    cache.refresh("/a")
    cache.set("/d", page("D"))
    assert "/a" not in cache


def test_what_goes_in_and_out_is_a_copy(cache):
    response = page("A")
    cache.set("/a", response)
    response.headers["X-Late"] = "1"
    cache.get("/a").headers["X-Mine"] = "1"
    assert cache.get("/a") == page("A")


def test_remember_builds_once(cache):
    built = []

    def build():
        built.append(1)
        return page("A")

    assert cache.remember("/a", build).body == b"A"
    assert cache.remember("/a", build).body == b"A"
    assert len(built) == 1
    assert (cache.stats.hits, cache.stats.misses) == (1, 1)


def test_remember_does_not_keep_errors(cache):
    assert cache.remember("/a", lambda: Response.text("no", status=500)).status == 500
    assert "/a" not in cache


def test_invalidate(cache):
    for key in ("/api/a", "/api/b", "/c"):
        cache.set(key, page(key))
    assert cache.invalidate("/c")
    assert not cache.invalidate("/c")
    assert cache.invalidate_prefix("/api/") == 2
    assert cache.keys() == []


def test_clear(cache):
    cache.set("/a", page("A"))
    cache.clear()
    assert len(cache) == 0


def test_a_cache_holds_something():
    with pytest.raises(ValueError, match="at least one"):
        ResponseCache(0)


def test_cache_key_sorts_the_query():
    one = cache_key(Request("get", "/log?b=2&a=1"))
    other = cache_key(Request("GET", "/log?a=1&b=2"))
    assert one == other == "GET /log?a=1&b=2#"


def test_cache_key_varies():
    german = Request("GET", "/", Headers({"Accept-Language": "de"}))
    english = Request("GET", "/", Headers({"Accept-Language": "en"}))
    assert cache_key(german) == cache_key(english)
    assert cache_key(german, vary=["Accept-Language"]) != cache_key(
        english, vary=["Accept-Language"]
    )
