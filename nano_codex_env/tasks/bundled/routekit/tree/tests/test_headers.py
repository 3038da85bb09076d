import unittest

import pytest

from routekit import HeaderError, Headers, format_value, parse_value, split_list


class HeadersTest(unittest.TestCase):
    def setUp(self):
        self.headers = Headers([("Vary", "Accept"), ("X-Id", " 7 "), ("vary", "Cookie, Origin")])

    def test_names_ignore_case(self):
        self.assertEqual(self.headers["x-ID"], "7")
        self.assertIn("VARY", self.headers)
        self.assertIsNone(self.headers.get("Host"))

    def test_getlist_joins_fields(self):
        self.assertEqual(self.headers.getlist("Vary"), ["Accept", "Cookie", "Origin"])

    def test_setting_replaces_all(self):
        self.headers["VARY"] = "Host"
        self.assertEqual(self.headers.items(), [("VARY", "Host"), ("X-Id", "7")])

    def test_deleting(self):
        del self.headers["vary"]
        self.assertEqual(list(self.headers), ["x-id"])

    def test_copies_are_apart(self):
        copy = self.headers.copy()
        copy.add("X-New", "1")
        self.assertNotIn("X-New", self.headers)
        self.assertNotEqual(copy, self.headers)

    def test_case_of_names_does_not_matter_for_equality(self):
        self.assertEqual(Headers({"A": "1"}), Headers({"a": "1"}))
        self.assertNotEqual(Headers({"A": "x"}), Headers({"A": "X"}))

    def test_line_breaks_are_refused(self):
        for name, value in [("X", "a\r\nSet-Cookie: b"), ("X Y", "a"), ("X", "a\0"), ("", "a")]:
            with self.subTest(name=name, value=value), self.assertRaises(HeaderError):
                self.headers.add(name, value)


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("", []),
        ("a, b ,,c,", ["a", "b", "c"]),
        ('"a, b", c', ['"a, b"', "c"]),
        (r'"a \", b", c', [r'"a \", b"', "c"]),
    ],
    ids=["empty", "plain", "quoted", "escaped_quote"],
)
def test_split_list(text, elements):
    assert split_list(text) == elements


@pytest.mark.parametrize(
    ("text", "value", "params"),
    [
        ("text/html", "text/html", {}),
        ("text/html; Charset=utf-8", "text/html", {"charset": "utf-8"}),
        (
            'form-data; name="a;b"; filename="x\\"y"',
            "form-data",
            {"name": "a;b", "filename": 'x"y'},
        ),
        ("", "", {}),
    ],
    ids=["bare", "one", "quoted", "empty"],
)
def test_parse_value(text, value, params):
    assert parse_value(text) == (value, params)


def test_format_value_quotes_what_needs_it():
    params = {"name": 'a "b"', "size": "3"}
    assert format_value("form-data", params) == 'form-data; name="a \\"b\\""; size=3'
    assert parse_value(format_value("form-data", params)) == ("form-data", params)
