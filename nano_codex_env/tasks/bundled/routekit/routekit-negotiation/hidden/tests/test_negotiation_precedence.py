import pytest

from routekit import best_encoding, best_language, best_media_type, parse_accept

LEVELS = "text/*;q=0.3, text/html;q=0.7, text/html;level=1, text/html;level=2;q=0.4, */*;q=0.5"


def ranking(choose, header, offers):
    """All that is acceptable, the best first: what is chosen, then what is chosen without it."""
    left, found = list(offers), []
    while (best := choose(header, left)) is not None:
        left.remove(best)
        found.append(best)
    return found


@pytest.mark.parametrize(
    ("header", "offers", "accepted"),
    [
        (
            "application/json;q=0, */*;q=0.1",
            ["application/json", "text/csv", "application/pdf", "image/png"],
            ["text/csv", "application/pdf", "image/png"],
        ),
        (
            "*/*, image/*;q=0",
            ["image/png", "text/plain", "audio/ogg", "video/webm"],
            ["text/plain", "audio/ogg", "video/webm"],
        ),
        ("*/*, image/*;q=0", ["image/png", "image/webp", "video/mp4"], ["video/mp4"]),
        (
            "text/*, text/html;q=0",
            ["text/html", "text/plain", "image/png", "text/csv", "text/vcard"],
            ["text/plain", "text/csv", "text/vcard"],
        ),
        (
            "*, text/html;q=0",
            ["text/html", "image/png", "audio/ogg", "text/css"],
            ["image/png", "audio/ogg", "text/css"],
        ),
    ],
    ids=["exact", "subtype_star", "all_refused", "within_text", "bare_star"],
)
def test_a_refused_type_stays_refused(header, offers, accepted):
    found = [offer for offer in offers if best_media_type(header, [offer]) is not None]
    assert found == accepted
    assert best_media_type(header, offers) == found[0]
    refused = [offer for offer in offers if offer not in found]
    assert best_media_type(header, refused) is None


@pytest.mark.parametrize(
    ("header", "offers", "expected"),
    [
        (
            "application/xml;q=0.3, */*;q=0.4",
            ["application/xml", "image/png", "text/csv"],
            ["image/png", "text/csv", "application/xml"],
        ),
        (
            "*/*;q=0.9, text/*;q=0.5, text/html;q=0.1",
            ["text/html", "text/csv", "image/png", "application/pdf"],
            ["image/png", "application/pdf", "text/csv", "text/html"],
        ),
        (
            "*/*;q=0.9, text/*;q=0.5, text/html;q=0.1",
            ["text/csv", "image/png", "application/pdf"],
            ["image/png", "application/pdf", "text/csv"],
        ),
        (
            "image/*;q=0.8, image/png;q=0.2, a/b;q=0.5",
            ["image/png", "a/b", "image/gif"],
            ["image/gif", "a/b", "image/png"],
        ),
        (
            "image/*;q=0.8, image/png;q=0.2",
            ["image/png", "image/webp", "image/gif"],
            ["image/webp", "image/gif", "image/png"],
        ),
    ],
    ids=["exact_below_star", "three_steps", "two_steps", "star_on_top", "still_acceptable"],
)
def test_the_closest_range_decides(header, offers, expected):
    assert ranking(best_media_type, header, offers) == expected


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        (["text/html;level=2", "image/jpeg"], ["image/jpeg", "text/html;level=2"]),
        (["text/html;level=2", "text/html;level=7"], ["text/html;level=7", "text/html;level=2"]),
        (["text/plain", "text/html;level=2"], ["text/html;level=2", "text/plain"]),
        (["text/html", "text/html;level=1"], ["text/html;level=1", "text/html"]),
        (
            ["text/plain", "image/jpeg", "text/html;level=3"],
            ["text/html;level=3", "image/jpeg", "text/plain"],
        ),
    ],
    ids=["below_star", "below_plain_html", "above_text", "on_top", "text_below_star"],
)
def test_parameters_make_a_range_closer(offers, expected):
    assert ranking(best_media_type, LEVELS, offers) == expected


@pytest.mark.parametrize(
    ("header", "offers", "expected"),
    [
        (
            "en;q=0.9, en-GB;q=0.3, fr;q=0.5",
            ["en-GB", "fr", "en-US"],
            ["en-US", "fr", "en-GB"],
        ),
        (
            "en, en-GB;q=0, cy;q=0.1",
            ["en-GB", "cy", "en-AU", "en-US"],
            ["en-AU", "en-US", "cy"],
        ),
        (
            "en, en-GB;q=0",
            ["en-GB", "en-NZ", "en-AU", "en-US"],
            ["en-NZ", "en-AU", "en-US"],
        ),
        ("*, de;q=0.2", ["de-AT", "it", "fr", "nl"], ["it", "fr", "nl", "de-AT"]),
        (
            "zh;q=0.2, zh-Hant;q=0.9, zh-Hant-HK;q=0.5",
            ["zh-Hant-HK", "zh-Hant-MO", "zh-Hant-TW", "zh-CN"],
            ["zh-Hant-MO", "zh-Hant-TW", "zh-Hant-HK", "zh-CN"],
        ),
        (
            "zh-Hant-HK;q=0.5, zh, fr;q=0.7",
            ["zh-Hant-HK", "fr", "zh-CN"],
            ["zh-CN", "fr", "zh-Hant-HK"],
        ),
        (
            "pt-BR;q=0.9, pt;q=0.4",
            ["pt-PT", "pt-BR", "pt-AO"],
            ["pt-BR", "pt-PT", "pt-AO"],
        ),
    ],
    ids=["region", "refused", "other_region", "star", "three_subtags", "any_order", "above"],
)
def test_the_closest_language_decides(header, offers, expected):
    assert ranking(best_language, header, offers) == expected


def test_a_refused_language_stays_refused():
    header = "en, en-GB;q=0, zh-Hant;q=0.2, zh;q=0"
    offers = ["en-GB", "zh-CN", "en-US", "fr", "zh-Hant-HK", "en-AU"]
    found = [offer for offer in offers if best_language(header, [offer]) is not None]
    assert found == ["en-US", "zh-Hant-HK", "en-AU"]
    assert best_language(header, ["en-GB", "zh-CN"]) is None


@pytest.mark.parametrize(
    ("header", "offers", "expected"),
    [
        (
            "gzip;q=0, *",
            ["gzip", "deflate", "br", "identity"],
            ["deflate", "br", "identity"],
        ),
        ("*;q=0.5, br;q=0.1", ["br", "deflate", "gzip"], ["deflate", "gzip", "br"]),
        (
            "identity;q=0, *;q=0.2",
            ["identity", "gzip", "br", "zstd"],
            ["gzip", "br", "zstd"],
        ),
        ("identity;q=0.1, *;q=0", ["gzip", "identity"], ["identity"]),
        ("*;q=0, gzip", ["identity", "gzip"], ["gzip"]),
    ],
    ids=["refused", "below_star", "no_identity", "only_identity", "only_gzip"],
)
def test_the_closest_coding_decides(header, offers, expected):
    assert ranking(best_encoding, header, offers) == expected


def test_equals_still_take_the_first_offer():
    header = "text/*;q=0.5, application/json;q=0.5, */*;q=0.1"
    assert best_media_type(header, ["application/json", "text/html"]) == "application/json"
    assert best_media_type(header, ["text/html", "application/json"]) == "text/html"


def test_the_list_is_still_sorted_by_quality():
    header = "text/html;level=1;q=0.2, text/*;q=0.6, */*;q=0.9, text/html;q=0.6"
    assert [p.value for p in parse_accept(header)] == ["*/*", "text/*", "text/html", "text/html"]
