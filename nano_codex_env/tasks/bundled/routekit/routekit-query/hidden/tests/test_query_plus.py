import pytest

from routekit import Headers, Request, encode_query, parse_query, update_url


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("lang=c%2B%2B", [("lang", "c++")]),
        ("sum=1%2b1%3D2", [("sum", "1+1=2")]),
        ("since=2024-05-01T12:00:00%2B02:00", [("since", "2024-05-01T12:00:00+02:00")]),
        ("v=a+%2B+b", [("v", "a + b")]),
        ("phone=%2B&page=25", [("phone", "+"), ("page", "25")]),
    ],
    ids=["search", "lower_case_escape", "time_zone", "beside_spaces", "alone"],
)
def test_an_escaped_plus_is_a_plus(text, pairs):
    assert parse_query(text).pairs() == pairs


def test_an_escaped_plus_in_a_name():
    assert parse_query("a%2Bb=1&a+b=2").pairs() == [("a+b", "1"), ("a b", "2")]


@pytest.mark.parametrize(
    ("text", "value"),
    [("v=red+wine", "red wine"), ("v=+a++b+", " a  b "), ("v=%20+", "  "), ("v=%252B", "%2B")],
    ids=["one", "many", "both_ways", "escaped_twice"],
)
def test_a_bare_plus_is_still_a_space(text, value):
    assert parse_query(text)["v"] == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("+", "q2=%2B"),
        ("a+b c", "q2=a%2Bb+c"),
        ("+49 30 1234", "q2=%2B49+30+1234"),
        ("50% + 50%", "q2=50%25+%2B+50%25"),
        ("%2B", "q2=%252B"),
        ("\u00fc+\u20ac", "q2=%C3%BC%2B%E2%82%AC"),
    ],
    ids=["plus", "plus_and_space", "phone", "percent", "looks_escaped", "not_ascii"],
)
def test_what_is_encoded_comes_back(value, expected):
    assert encode_query({"q2": value}) == expected
    assert parse_query(encode_query({"q2": value})).pairs() == [("q2", value)]
    assert parse_query(encode_query({value: value})).pairs() == [(value, value)]


def test_update_url_leaves_the_other_parameters_alone():
    url = "/logs?since=12:00%2B02:00&q=disk+full&tag=a%2Bb#top"
    changed = "/logs?since=12%3A00%2B02%3A00&q=disk+full&tag=a%2Bb&page=2#top"
    assert update_url(url, page=2) == changed


def test_update_url_twice_is_update_url_once():
    once = update_url("/logs?lang=c%2B%2B+17", page=2)
    assert update_url(once, page=2) == once == "/logs?lang=c%2B%2B+17&page=2"


def test_forms_keep_their_plus():
    kind = Headers({"Content-Type": "application/x-www-form-urlencoded"})
    form = Request("POST", "/wifi", kind, b"ssid=My+Net&key=s3%2Bcret%2B").form
    assert form.pairs() == [("ssid", "My Net"), ("key", "s3+cret+")]


def test_a_written_plus_is_escaped():
    assert encode_query({"q": "c++ 17", "a+b": ""}) == "q=c%2B%2B+17&a%2Bb="
