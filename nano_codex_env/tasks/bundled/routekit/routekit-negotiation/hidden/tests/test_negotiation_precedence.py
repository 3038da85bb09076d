import pytest

from routekit import best_encoding, best_language, best_media_type, parse_accept

LEVELS = "text/*;q=0.3, text/html;q=0.7, text/html;level=1, text/html;level=2;q=0.4, */*;q=0.5"


@pytest.mark.parametrize(
    ("header", "offers", "best"),
    [
        ("application/json;q=0, */*;q=0.1", ["application/json", "text/csv"], "text/csv"),
        ("*/*, image/*;q=0", ["image/png", "text/plain"], "text/plain"),
        ("*/*, image/*;q=0", ["image/png", "image/webp"], None),
        ("text/*, text/html;q=0", ["text/html", "image/png"], None),
        ("*, text/html;q=0", ["text/html", "image/png"], "image/png"),
    ],
    ids=["exact", "subtype_star", "all_refused", "within_text", "bare_star"],
)
def test_a_refused_type_stays_refused(header, offers, best):
    assert best_media_type(header, offers) == best


@pytest.mark.parametrize(
    ("header", "offers", "best"),
    [
        ("application/xml;q=0.3, */*;q=0.4", ["application/xml", "text/csv"], "text/csv"),
        ("*/*;q=0.9, text/*;q=0.5, text/html;q=0.1", ["text/html", "text/csv"], "text/csv"),
        ("*/*;q=0.9, text/*;q=0.5, text/html;q=0.1", ["text/csv", "image/png"], "image/png"),
        ("image/*;q=0.8, image/png;q=0.2, a/b;q=0.5", ["image/png", "a/b"], "a/b"),
        ("image/*;q=0.8, image/png;q=0.2", ["image/png"], "image/png"),
    ],
    ids=["exact_below_star", "three_steps", "two_steps", "star_on_top", "still_acceptable"],
)
def test_the_closest_range_decides(header, offers, best):
    assert best_media_type(header, offers) == best


@pytest.mark.parametrize(
    ("offers", "best"),
    [
        (["text/html;level=2", "image/jpeg"], "image/jpeg"),
        (["text/html;level=2", "text/html;level=3"], "text/html;level=3"),
        (["text/plain", "text/html;level=2"], "text/html;level=2"),
        (["text/html", "text/html;level=1"], "text/html;level=1"),
        (["text/plain", "image/jpeg"], "image/jpeg"),
    ],
    ids=["below_star", "below_plain_html", "above_text", "on_top", "text_below_star"],
)
def test_parameters_make_a_range_closer(offers, best):
    assert best_media_type(LEVELS, offers) == best


@pytest.mark.parametrize(
    ("header", "offers", "best"),
    [
        ("en;q=0.9, en-GB;q=0.3, fr;q=0.5", ["en-GB", "fr"], "fr"),
        ("en, en-GB;q=0", ["en-GB"], None),
        ("en, en-GB;q=0", ["en-GB", "en-US"], "en-US"),
        ("*, de;q=0.2", ["de-AT", "it"], "it"),
        ("zh;q=0.2, zh-Hant;q=0.9, zh-Hant-HK;q=0.5", ["zh-Hant-HK", "zh-Hant-TW"], "zh-Hant-TW"),
        ("zh-Hant-HK;q=0.5, zh, fr;q=0.7", ["zh-Hant-HK", "fr"], "fr"),
        ("pt-BR;q=0.9, pt;q=0.4", ["pt-PT", "pt-BR"], "pt-BR"),
    ],
    ids=["region", "refused", "other_region", "star", "three_subtags", "any_order", "above"],
)
def test_the_closest_language_decides(header, offers, best):
    assert best_language(header, offers) == best


@pytest.mark.parametrize(
    ("header", "offers", "best"),
    [
        ("gzip;q=0, *", ["gzip", "identity"], "identity"),
        ("*;q=0.5, br;q=0.1", ["br", "gzip"], "gzip"),
        ("identity;q=0, *;q=0.2", ["identity", "gzip"], "gzip"),
        ("identity;q=0.1, *;q=0", ["gzip", "identity"], "identity"),
        ("*;q=0, gzip", ["identity", "gzip"], "gzip"),
    ],
    ids=["refused", "below_star", "no_identity", "only_identity", "only_gzip"],
)
def test_the_closest_coding_decides(header, offers, best):
    assert best_encoding(header, offers) == best


def test_equals_still_take_the_first_offer():
    header = "text/*;q=0.5, application/json;q=0.5, */*;q=0.1"
    assert best_media_type(header, ["application/json", "text/html"]) == "application/json"
    assert best_media_type(header, ["text/html", "application/json"]) == "text/html"


def test_the_list_is_still_sorted_by_quality():
    header = "text/html;level=1;q=0.2, text/*;q=0.6, */*;q=0.9, text/html;q=0.6"
    assert [p.value for p in parse_accept(header)] == ["*/*", "text/*", "text/html", "text/html"]
