"""What an HTTP client takes from its URL and from environment variables; an error names the setting at fault.

Values that may hold a password or a key (a proxy's URL, further headers) are never shown.
"""

from __future__ import annotations

import base64
import os
import re
import ssl
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from nano_codex_env.errors import ConfigError

_EXAMPLE = "http://localhost:8000/v1"
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
_PORTS = {"https": 443, "socks5": 1080, "socks5h": 1080}
"""Default ports of proxies; 80 for all others."""
_HEADERS = {"OPENAI_ORG_ID": "OpenAI-Organization", "OPENAI_PROJECT_ID": "OpenAI-Project"}
"""Environment variable -> the header that it is sent in."""
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name."""
_HOST = re.compile(r"([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
_READ = ("NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
"""Environment variables that a client reads besides those of proxies."""


def check_url(base: str, name: str = "api_base") -> None:
    """Check an endpoint's URL; `name`: the argument or environment variable that holds it.

    A URL that ends after the host is refused, since almost every server has its API below `/v1`; with a slash at its
    end it is used as it is.

    Raises:
        ConfigError: the URL cannot be an endpoint's.
    """
    _, at, rest = base.rpartition("@")
    shown = repr((f"...@{rest}" if at else base).partition("?")[0])  # without a password or a query
    if any(character.isspace() or not character.isprintable() for character in base):
        raise ConfigError(f"{name} must not hold blanks or control characters; got {shown}")
    problem = _problem_of(base)
    if problem is not None:
        raise ConfigError(f"{name} must be a URL such as {_EXAMPLE}; got {shown}{problem}")
    parts = urlsplit(base)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(f"{name} must not hold a user, a password, a query or a fragment, since it is logged")
    if parts.path.rstrip("/").endswith("/chat/completions"):
        proper = base.rstrip("/").removesuffix("/chat/completions")
        raise ConfigError(f"{name} must end before /chat/completions, which is added to it: {proper}; got {shown}")
    if not parts.path:
        raise ConfigError(
            f"{name} must hold the path of the API, usually /v1: {base}/v1; got {shown} (if the server has its API at "
            f"the root, put a slash at the end: {base}/)"
        )


def _problem_of(base: str) -> str | None:
    """Return why a text is no URL of a server, as the end of a message; None: it is one."""
    try:
        parts, port = urlsplit(base), urlsplit(base).port
    except ValueError as error:
        return "; its port is not a number from 1 to 65535" if "port" in str(error).lower() else ""
    if "://" not in base:
        plain = re.fullmatch(r"(?!https?\b)[A-Za-z0-9.-]+(:\d+)?(/[^@?]*)?", base)
        return (
            f"; it has no scheme, so try http://{base}{'' if '/' in base else '/v1'}" if plain else "; it has no scheme"
        )
    if parts.scheme not in ("http", "https"):
        return f"; its scheme is {parts.scheme!r}, not http or https"
    if port == 0:
        return "; its port is not a number from 1 to 65535"
    host = parts.hostname or ""
    if "://" in base.partition("://")[2] or not (":" in host or _HOST.fullmatch(host)):
        return "; it names no valid host"
    return None if base.isascii() else "; it holds characters that are not ASCII"


def is_versioned(base: str) -> bool:
    """Whether the path of a URL names a version of an API, such as `/v1`."""
    return re.search(r"/v\d", urlsplit(base).path) is not None


def check_variables(http: Any, base: str) -> None:
    """Check the environment variables that the requests to `base` depend on; `http`: httpx, or httpx2.

    Raises:
        ConfigError: one of them can only fail.
    """
    for variable, header in _HEADERS.items():
        if (value := os.environ.get(variable)) and not is_header_value(value):
            raise ConfigError(f"${variable} cannot be sent as the header {header}: {_RULE}; correct or unset it")
    for line in os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n"):
        key, colon, value = line.partition(":")
        if colon and not (_TOKEN.fullmatch(key.strip()) and is_header_value(value.strip())):
            raise ConfigError(f"$OPENAI_CUSTOM_HEADERS holds a line that is no header: {_RULE}; correct or unset it")
    if path := os.environ.get("SSL_CERT_FILE"):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except (OSError, ValueError) as error:
            why = (
                "it holds no certificate (PEM)"
                if isinstance(error, ssl.SSLError)
                else getattr(error, "strerror", error)
            )
            raise ConfigError(f"$SSL_CERT_FILE is {path!r}, which cannot be used: {why}; correct or unset it") from None
    parts, folders = urlsplit(base), "" if path else os.environ.get("SSL_CERT_DIR", "")
    if parts.scheme == "https" and folders and not any(map(os.path.isdir, folders.split(os.pathsep))):
        raise ConfigError(f"$SSL_CERT_DIR is {folders!r}, which is no folder; correct or unset it")
    if "*" in _no_proxy():
        return
    used = next((scheme for scheme in (parts.scheme, "all") if scheme in dict(_proxies())), None)
    address = parts.netloc if parts.port else parts.hostname or ""
    is_bypassed = proxy_bypass(address) or any("/" in entry for entry in _no_proxy())
    for scheme, url in _proxies():
        name = _name_of(scheme, url)
        proxy = _proxy(http, name, url)
        host, port = proxy.url.host, proxy.url.port
        if scheme == used and not is_bypassed:
            if not host or " " in host or "%" in host:
                raise ConfigError(f"{name} must be a URL such as http://proxy.example:3128; it names no host")
            if port is not None and not 0 < port < 65536:
                raise ConfigError(f"{name} names port {port}; a port is a number from 1 to 65535")


_RULE = "a header holds printable ASCII characters, without blanks at its ends"


def is_header_value(text: str) -> bool:
    """Whether a text can be the value of an HTTP header."""
    return text.isascii() and text.isprintable() and text == text.strip()


def explain(error: str) -> ConfigError:
    """The error that names what an HTTP client that cannot be made reads; `error`: its text, without passwords."""
    names = [_name_of(scheme, url) for scheme, url in _proxies()]
    names += [f"${name}" for name in _READ if os.environ.get(name)]
    return ConfigError(f"no HTTP client can be made: {error:.500}; it depends on {', '.join(names) or 'no variable'}")


def proxy_at(http: Any, scheme: str, dialled: tuple[str, int] | None) -> str:
    """Return " through the proxy ... of $VARIABLE" if `dialled` is the proxy for URLs of `scheme`; else an empty text.

    Only a proxy's scheme, host and port are shown.
    """
    for kind, url in _proxies():
        if dialled and kind in (scheme, "all"):
            name = _name_of(kind, url)
            with suppress(ConfigError):  # changed since the client was made
                proxy = _proxy(http, name, url).url
                port = proxy.port or _PORTS.get(proxy.scheme, 80)
                if dialled == (proxy.raw_host.decode("ascii"), port):
                    host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
                    return f" through the proxy {proxy.scheme}://{host}:{port} of {name}"
    return ""


def trusted() -> str:
    """Which environment variable says what certificates are trusted."""
    name = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), None)
    return f"${name} says which are trusted" if name else "$SSL_CERT_FILE may name a file of those to trust"


def proxy_secrets() -> Iterator[str]:
    """Yield the forms in which credentials of proxies may come back in a message, the longest first."""
    for _, url in _proxies():
        before, at, _ = url.rpartition("@")
        user, colon, password = before.rpartition("//")[2].partition(":")
        if at and colon and password:
            pair = f"{unquote(user)}:{unquote(password)}"
            yield base64.b64encode(pair.encode("utf-8", "replace")).decode()
            yield from dict.fromkeys((f"{user}:{password}", pair))
            yield from (text for text in dict.fromkeys((password, unquote(password))) if len(text) > 2)


def _proxies() -> list[tuple[str, str]]:
    """The proxies of the environment, in the order in which they are preferred."""
    found = getproxies()
    return [(scheme, found[scheme]) for scheme in ("http", "https", "all") if found.get(scheme)]


def _no_proxy() -> list[str]:
    return [entry.strip() for entry in getproxies().get("no", "").split(",")]


def _name_of(scheme: str, url: str) -> str:
    """The environment variable with a proxy; those in lower case come first, as in `getproxies`."""
    names = sorted(name for name in os.environ if name.lower() == f"{scheme}_proxy" and os.environ[name] == url)
    return f"${names[-1]}" if names else "the system's proxy"


def _proxy(http: Any, name: str, url: str) -> Any:
    """Parse a proxy's URL as the client does.

    Raises:
        ConfigError: the client cannot use it.
    """
    url = url if "://" in url else f"http://{url}"
    scheme = url.partition("://")[0].lower()
    if re.fullmatch(r"[a-z][a-z0-9+.-]{0,15}", scheme) and scheme not in _PROXY_SCHEMES:
        hint = "; for SOCKS write socks5://" if scheme.startswith("socks") else ""
        raise ConfigError(f"{name} is a proxy with the scheme {scheme!r}; known: {', '.join(_PROXY_SCHEMES)}{hint}")
    try:
        proxy = http.Proxy(url=url)
    except (http.InvalidURL, ValueError):
        raise ConfigError(f"{name} must be a URL such as http://proxy.example:3128; it is no valid one") from None
    if scheme.startswith("socks") and find_spec("socksio") is None:
        raise ConfigError(f"{name} is a SOCKS proxy, which needs one more package: pip install socksio (or unset it)")
    return proxy
