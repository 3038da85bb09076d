import unittest

import pytest

from routekit import Preference, best_encoding, best_language, best_media_type, parse_accept

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"


class ParseAcceptTest(unittest.TestCase):
    def test_most_wanted_first(self):
        values = [p.value for p in parse_accept("a/a;q=0.2, b/b, c/c;q=0.7")]
        self.assertEqual(values, ["b/b", "c/c", "a/a"])

    def test_equals_stay_in_order(self):
        values = [p.value for p in parse_accept("text/*;q=0.5, x/y, a/b;q=0.5")]
        self.assertEqual(values, ["x/y", "text/*", "a/b"])

    def test_parameters_before_the_quality(self):
        (only,) = parse_accept("Text/HTML;Level=1;q=0.5;ext=2")
        self.assertEqual(only, Preference("text/html", 0.5, (("level", "1"),)))

    def test_unreadable_quality_is_left_out(self):
        values = [p.value for p in parse_accept("a/a;q=high, b/b;q=2, c/c;q=0.1, ;q=1")]
        self.assertEqual(values, ["c/c"])


@pytest.mark.parametrize(
    ("header", "offers", "best"),
    [
        (None, ["text/html", "text/plain"], "text/html"),
        ("", ["text/html"], "text/html"),
        ("*/*", ["application/json", "text/html"], "application/json"),
        ("*", ["application/json"], "application/json"),
        ("text/html", ["application/json", "text/html"], "text/html"),
        ("TEXT/HTML", ["text/html"], "text/html"),
        ("text/*", ["application/json", "text/plain"], "text/plain"),
        ("image/png", ["text/html"], None),
        ("text/html;q=0", ["text/html"], None),
        (
            "text/html;q=0.5, application/json",
            ["text/html", "application/json"],
            "application/json",
        ),
        ("text/plain, text/html", ["text/html", "text/plain"], "text/html"),
        (BROWSER, ["application/json", "text/html"], "text/html"),
        (BROWSER, ["application/json", "application/xml"], "application/xml"),
        (BROWSER, ["application/json"], "application/json"),
        ("text/html", ["text/html; charset=utf-8"], "text/html; charset=utf-8"),
        ("text/html;level=1", ["text/html", "text/html;level=1"], "text/html;level=1"),
        ("text/html", [], None),
    ],
    ids=[
        "no_header",
        "empty_header",
        "anything",
        "bare_star",
        "exact",
        "any_case",
        "subtype_star",
        "none",
        "refused",
        "quality",
        "equals_take_first_offer",
        "browser_page",
        "browser_xml",
        "browser_last_resort",
        "offer_with_parameter",
        "range_with_parameter",
        "no_offers",
    ],
)
def test_best_media_type(header, offers, best):
    assert best_media_type(header, offers) == best


class BestLanguageTest(unittest.TestCase):
    def test_a_language_takes_its_regions(self):
        self.assertEqual(best_language("de, en;q=0.5", ["en", "de-AT"]), "de-AT")

    def test_a_region_does_not_take_its_language(self):
        self.assertEqual(best_language("de-CH, en;q=0.5", ["de", "en"]), "en")

    def test_whole_subtags_are_compared(self):
        self.assertIsNone(best_language("en", ["eng", "e"]))

    def test_star(self):
        self.assertEqual(best_language("fr, *;q=0.1", ["nl", "it"]), "nl")
        self.assertEqual(best_language(None, ["nl", "it"]), "nl")


class BestEncodingTest(unittest.TestCase):
    offers = ("br", "gzip", "identity")

    def test_quality_decides(self):
        self.assertEqual(best_encoding("gzip, br;q=0.8", self.offers), "gzip")

    def test_identity_is_the_last_resort(self):
        self.assertEqual(best_encoding("", self.offers), "identity")
        self.assertEqual(best_encoding("zstd", self.offers), "identity")
        self.assertEqual(best_encoding("gzip;q=0.01", self.offers), "gzip")

    def test_identity_can_be_ruled_out(self):
        self.assertIsNone(best_encoding("zstd, identity;q=0", self.offers))
        self.assertIsNone(best_encoding("zstd, *;q=0", self.offers))

    def test_no_header_takes_the_first_offer(self):
        self.assertEqual(best_encoding(None, self.offers), "br")
