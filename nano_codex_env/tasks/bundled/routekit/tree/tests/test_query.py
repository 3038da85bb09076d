import pytest

from routekit import QueryError, QueryParams, encode_query, parse_query, update_url


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", []),
        ("?", []),
        ("a=1", [("a", "1")]),
        ("?a=1&b=2", [("a", "1"), ("b", "2")]),
        ("a=1&&b=2&", [("a", "1"), ("b", "2")]),
        ("verbose", [("verbose", "")]),
        ("a=b=c", [("a", "b=c")]),
        ("q=red+wine", [("q", "red wine")]),
        ("q=red%20wine", [("q", "red wine")]),
        ("name=J%C3%BCrgen", [("name", "J\u00fcrgen")]),
        ("a%26b=c%3Dd", [("a&b", "c=d")]),
        ("bad=%FF", [("bad", "\ufffd")]),
        ("half=%4", [("half", "%4")]),
    ],
    ids=[
        "empty",
        "mark_only",
        "one",
        "two",
        "empty_fields",
        "bare_name",
        "equals_in_value",
        "plus_is_space",
        "escaped_space",
        "utf8",
        "escaped_separators",
        "not_utf8",
        "broken_escape",
    ],
)
def test_parse(text, pairs):
    assert parse_query(text).pairs() == pairs


def test_too_many_fields_are_refused():
    with pytest.raises(QueryError, match="3 fields"):
        parse_query("a&b&c", max_fields=2)


def test_encode_escapes_what_has_a_meaning():
    assert encode_query({"a&b": "c=d", "q": "red wine"}) == "a%26b=c%3Dd&q=red+wine"
    assert encode_query({"sum": "1+1"}) == "sum=1%2B1"
    assert encode_query([("path", "/etc/x~y")]) == "path=%2Fetc%2Fx~y"


def test_encode_knows_lists_none_and_switches():
    assert encode_query({"tag": ["a", "b"], "page": None, "all": True}) == "tag=a&tag=b&all=true"


@pytest.mark.parametrize(
    "value",
    ["", "plain", "two words", " ", "a&b=c", "100%", "\u20ac"],
    ids=["empty", "plain", "words", "space", "separators", "percent", "euro"],
)
def test_round_trip(value):
    assert parse_query(encode_query({"v": value}))["v"] == value


class TestQueryParams:
    params = QueryParams([("tag", "a"), ("page", "2"), ("tag", "b"), ("raw", "")])

    def test_last_value_wins(self):
        assert self.params["tag"] == "b"
        assert self.params.getlist("tag") == ["a", "b"]

    def test_is_a_mapping(self):
        assert list(self.params) == ["tag", "page", "raw"]
        assert len(self.params) == 3
        assert self.params.get("none") is None

    def test_getint(self):
        assert self.params.getint("page", 1) == 2
        assert self.params.getint("tag", 1) == 1
        assert self.params.getint("none", 1) == 1

    def test_getbool(self):
        assert self.params.getbool("raw")
        assert not self.params.getbool("none")
        assert not parse_query("raw=0").getbool("raw")

    def test_updated_keeps_places(self):
        updated = self.params.updated({"tag": "c", "raw": None, "new": 1})
        assert str(updated) == "tag=c&page=2&new=1"
        assert str(self.params) == "tag=a&page=2&tag=b&raw="


@pytest.mark.parametrize(
    ("url", "changed"),
    [
        ("/log", "/log?page=4"),
        ("/log?page=3", "/log?page=4"),
        ("/log?level=info&page=3#top", "/log?level=info&page=4#top"),
        ("/log?q=disk+full", "/log?q=disk+full&page=4"),
    ],
    ids=["bare", "replaced", "fragment", "others"],
)
def test_update_url(url, changed):
    assert update_url(url, page=4) == changed


def test_update_url_removes():
    assert update_url("/log?page=3", page=None) == "/log"
    assert update_url("/log?from-x=1&a=2", {"from-x": None}) == "/log?a=2"
