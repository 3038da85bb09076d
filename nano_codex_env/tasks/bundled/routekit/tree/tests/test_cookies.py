import pytest

from routekit import (
    BadSignature,
    CookieSigner,
    HeaderError,
    SignatureExpired,
    format_cookie,
    parse_cookies,
)


def test_parse_cookies():
    header = 'theme=dark; lang="de"; broken; =x; theme=light; city=K%C3%B6ln; eq=a=b'
    assert parse_cookies(header) == {
        "theme": "dark",
        "lang": "de",
        "city": "K\u00f6ln",
        "eq": "a=b",
    }


def test_format_cookie():
    assert format_cookie("id", "7") == "id=7; Path=/; HttpOnly; SameSite=Lax"
    assert format_cookie("n", "a b;c", max_age=5, secure=True, http_only=False) == (
        "n=a%20b%3Bc; Path=/; Max-Age=5; Secure; SameSite=Lax"
    )


def test_format_cookie_refuses():
    with pytest.raises(HeaderError, match="not a cookie name"):
        format_cookie("a b", "1")
    with pytest.raises(HeaderError, match="secure"):
        format_cookie("a", "1", same_site="None")


@pytest.fixture
def signer(clock):
    return CookieSigner(b"first secret", clock=clock)


@pytest.mark.parametrize(
    "value",
    ["", "7", "a.b.c", "\u00fc=;"],
    ids=["empty", "plain", "dots", "odd"],
)
def test_signed_values_come_back(signer, value):
    assert signer.unsign(signer.sign(value)) == value


def test_changed_tokens_are_refused(signer):
    token = signer.sign("user=7")
    for changed in ("", "x", token[1:], token[:-1], token.replace(".", ".1", 1), "x." + token):
        with pytest.raises(BadSignature):
            signer.unsign(changed)


def test_a_purpose_is_not_another(signer, clock):
    other = CookieSigner(b"first secret", purpose="csrf", clock=clock)
    with pytest.raises(BadSignature):
        other.unsign(signer.sign("7"))


def test_tokens_grow_old(signer, clock):
    token = signer.sign("7")
    clock.advance(60)
    assert signer.unsign(token, max_age=60) == "7"
    clock.advance(1)
    with pytest.raises(SignatureExpired, match="61 s"):
        signer.unsign(token, max_age=60)
    assert signer.unsign(token) == "7"


def test_secrets_rotate(signer, clock):
    token = signer.sign("7")
    rotated = CookieSigner(b"second secret", b"first secret", clock=clock)
    assert rotated.unsign(token) == "7"
    with pytest.raises(BadSignature):
        signer.unsign(rotated.sign("7"))


def test_a_signer_needs_a_secret():
    for secrets in ((), (b"",)):
        with pytest.raises(ValueError, match="secret"):
            CookieSigner(*secrets)
