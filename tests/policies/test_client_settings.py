"""What an HTTP client reads from its URL and from the environment: a fault names the setting, never a password."""

from __future__ import annotations

import pytest

from nano_codex_env.errors import ConfigError, PolicyError
from nano_codex_env.messages import Message
from nano_codex_env.policies.chat import ChatPolicy, resolve
from nano_codex_env.policies.client_settings import check_url
from tests.server import Raw, completion, serve

ASKED: list[Message] = [{"role": "user", "content": "u"}]
NOWHERE = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("HTTP", "HTTPS", "ALL", "NO"):
        for name in (f"{kind}_PROXY", f"{kind}_proxy".lower()):
            monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("base", "words"),
    [
        (
            "http://localhost:8000",
            r"usually /v1: http://localhost:8000/v1; .* slash at the end: http://localhost:8000/",
        ),
        ("http://h/v1/chat/completions", "end before /chat/completions, .*: http://h/v1; got"),
        (" http://h/v1", "not hold blanks"),
        ("http://h/v1\n", "not hold blanks"),
        ("http://h h/v1", "not hold blanks"),
        ("localhost:8000/v1", "has no scheme, so try http://localhost:8000/v1$"),
        ("localhost:8000", "has no scheme, so try http://localhost:8000/v1$"),
        ("ftp://h/v1", "scheme is 'ftp'"),
        ("http://h:70000/v1", "port is not a number from 1 to 65535"),
        ("http://h:0/v1", "port is not a number from 1 to 65535"),
        ("http://http://h/v1", "no valid host"),
        ("http://$HOST/v1", "no valid host"),
        ("http://u:Secret@h:x/v1", r"got '\.\.\.@h:x/v1'"),
        ("u:Secret@h/v1", r"got '\.\.\.@h/v1'"),
        ("http://u:Secret@h/v1", "not hold a user"),
    ],
    ids=str,
)
def test_a_base_that_no_client_can_use_is_refused_with_what_to_write_instead(base: str, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^\$OPENAI_BASE_URL must .*{words}") as raised:
        check_url(base, "$OPENAI_BASE_URL")
    assert "Secret" not in str(raised.value)


@pytest.mark.parametrize(
    "base",
    ["http://h/", "http://h/v1/", "https://r.example/openai/deployments/x", "http://[::1]:8/v1", "http://h_x.y.:8/api"],
)
def test_a_path_that_is_given_is_used_as_it_is(base: str) -> None:
    check_url(base)


def test_a_fault_of_a_url_or_a_key_names_the_variable_that_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTED_VLLM_API_BASE", "http://h")
    with pytest.raises(ConfigError, match=r"^\$HOSTED_VLLM_API_BASE must"):
        resolve("hosted_vllm/m", None, None)
    with pytest.raises(ConfigError, match=r"^api_base must"):
        resolve("hosted_vllm/m", "http://g", None)
    monkeypatch.setenv("HOSTED_VLLM_API_KEY", "Secr\u00e9t")
    with pytest.raises(ConfigError, match=r"^\$HOSTED_VLLM_API_KEY holds characters") as raised:
        resolve("hosted_vllm/m", NOWHERE, None)
    assert "Secr" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ALL_PROXY", "socks5://u:Secret@127.0.0.1:1", "needs one more package: pip install socksio"),
        ("all_proxy", "socks://127.0.0.1:1", "scheme 'socks'; .* write socks5://"),
        ("HTTPS_PROXY", "ftp://u:Secret@127.0.0.1:1", "scheme 'ftp'"),
        ("http_proxy", "http://u:Secret", "no valid one"),
        ("HTTP_PROXY", "http://u:Secret@:1", "names no host"),
        ("HTTP_PROXY", "http://u:Secret@proxy:99999", "names port 99999"),
        ("SSL_CERT_FILE", "/nonexistent", "'/nonexistent', which cannot be used: No such file"),
        ("SSL_CERT_FILE", __file__, "holds no certificate"),
        ("OPENAI_ORG_ID", "\u00e9cole", "OpenAI-Organization"),
        ("OPENAI_PROJECT_ID", "blank ", "OpenAI-Project"),
        ("OPENAI_CUSTOM_HEADERS", "X-Key: Secr\u00e9t", "no header"),
    ],
)  # fmt: skip
def test_a_variable_with_which_no_client_can_be_made_is_named_before_anything_is_sent(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=rf"^\${name} .*{words}") as raised:
        ChatPolicy("m", NOWHERE)
    assert "Secr" not in str(raised.value)
    assert raised.value.__cause__ is None  # nor does a cause, which is printed too, hold it


def test_a_folder_of_certificates_matters_to_https_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    with pytest.raises(ConfigError, match=r"^\$SSL_CERT_DIR is '/nonexistent'"):
        ChatPolicy("m", "https://127.0.0.1:9/v1")
    ChatPolicy("m", NOWHERE)


@pytest.mark.parametrize(("name", "value"), [("NO_PROXY", "xn--"), ("SSLKEYLOGFILE", "/nonexistent/keys")])
def test_what_else_a_client_cannot_be_made_for_names_what_it_reads(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=rf"^no HTTP client can be made: .*; it depends on .*\${name}"):
        ChatPolicy("m", NOWHERE)


@pytest.mark.parametrize(
    ("proxy", "no_proxy"), [("http://:1", "127.0.0.1"), ("garbage garbage", "*")], ids=["host", "all"]
)
def test_a_proxy_that_is_not_used_is_no_fault(proxy: str, no_proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    with serve([completion("hi")]) as server, ChatPolicy("m", server.url) as policy:
        assert policy(ASKED, []).message["content"] == "hi"


def test_a_proxy_that_refuses_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:Secret@127.0.0.1:9")
    named = r"through the proxy http://127\.0\.0\.1:9 of \$HTTP_PROXY: .*; .* add model\.invalid to \$NO_PROXY$"
    refused = pytest.raises(PolicyError, match=rf"^http://model\.invalid/v1/ cannot be reached {named}")
    with ChatPolicy("m", "http://model.invalid/v1", max_retries=0) as policy, refused as raised:
        policy(ASKED, [])
    assert "Secret" not in f"{raised.value} {raised.value.__cause__!r}"


def test_what_a_proxy_answers_is_told_from_what_the_server_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(lambda request, number: Raw(407, b"who is user:Secret, dXNlcjpTZWNyZXQ=, Secret?")) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url.replace("http://", "http://user:Secret@").removesuffix("/v1"))
        address = proxy.url.removesuffix("/v1")
        refused = pytest.raises(PolicyError, match=rf"through the proxy {address} of \$ALL_PROXY answered 407")
        with ChatPolicy("m", "http://model.invalid/v1", max_retries=0) as policy, refused as raised:
            policy(ASKED, [])
    assert "Secret" not in str(raised.value)
    assert "dXNlcjpTZWNyZXQ=" not in str(raised.value)


@pytest.mark.parametrize("answer", [Raw(404, b'{"detail":"Not Found"}'), Raw(body=b"<html>")], ids=["404", "html"])
def test_a_server_whose_api_is_elsewhere_is_told_from_one_without_the_model(answer: Raw) -> None:
    with serve(lambda request, number: answer) as server:
        root = server.url.removesuffix("/v1")
        with ChatPolicy("m", f"{root}/") as policy, pytest.raises(PolicyError, match=f"api_base is {root}/v1"):
            policy(ASKED, [])
        with ChatPolicy("m", server.url) as policy, pytest.raises(PolicyError) as raised:
            policy(ASKED, [])
    assert "api_base" not in str(raised.value)
    assert (f"{server.url}/chat/completions" in str(raised.value)) == (answer.status == 404)


def test_the_key_is_not_in_the_cause_of_an_error_either() -> None:
    refused = pytest.raises(PolicyError, match=r"\(the key\)")
    with (
        serve([Raw(401, b"no such key: Secret")]) as at,
        ChatPolicy("m", at.url, "Secret") as policy,
        refused as raised,
    ):
        policy(ASKED, [])
    assert raised.value.__suppress_context__
