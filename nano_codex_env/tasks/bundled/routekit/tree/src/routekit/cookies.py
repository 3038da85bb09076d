"""Cookies: read them, write them, and sign the ones that must come back unchanged."""

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Sequence
from urllib.parse import quote, unquote

from routekit.errors import BadSignature, HeaderError, SignatureExpired

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def parse_cookies(header: str) -> dict[str, str]:
    """Read a Cookie header; of a repeated name the first counts, as it is the closest path's.

    >>> parse_cookies('theme=dark; lang="de"')
    {'theme': 'dark', 'lang': 'de'}
    """
    cookies: dict[str, str] = {}
    for piece in header.split(";"):
        name, equals, value = piece.strip().partition("=")
        if not equals or not name:
            continue
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = value[1:-1]
        cookies.setdefault(name, unquote(value))
    return cookies


def format_cookie(
    name: str,
    value: str,
    *,
    path: str = "/",
    max_age: int | None = None,
    http_only: bool = True,
    secure: bool = False,
    same_site: str = "Lax",
) -> str:
    """Write the value of a Set-Cookie header.

    >>> format_cookie("theme", "dark", max_age=60)
    'theme=dark; Path=/; Max-Age=60; HttpOnly; SameSite=Lax'
    """
    if not _NAME.fullmatch(name):
        raise HeaderError(f"{name!r} is not a cookie name")
    if same_site == "None" and not secure:
        raise HeaderError(f"{name}: SameSite=None needs secure=True, browsers drop it otherwise")
    parts = [f"{name}={quote(value, safe='!#$&()*+-./:<=>?@[]^_`{|}~')}", f"Path={path}"]
    if max_age is not None:
        parts.append(f"Max-Age={max_age}")
    if secure:
        parts.append("Secure")
    if http_only:
        parts.append("HttpOnly")
    parts.append(f"SameSite={same_site}")
    return "; ".join(parts)


class CookieSigner:
    """Sign values, and read them back only if they are genuine.

    A token is `<value>.<time>.<signature>`, the value in URL-safe base64. It is
    signed, not encrypted: whoever holds the cookie can read it.
    """

    def __init__(
        self,
        *secrets: bytes,
        purpose: str = "cookie",
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not secrets or not all(secrets):
            raise ValueError("a signer needs at least one secret, and none may be empty")
        self._keys: Sequence[bytes] = [
            hmac.digest(secret, b"routekit:" + purpose.encode(), hashlib.sha256)
            for secret in secrets
        ]
        self._clock = clock

    def sign(self, value: str) -> str:
        """Return a token for *value*, signed with the first secret."""
        payload = f"{_to_base64(value.encode())}.{int(self._clock())}"
        return f"{payload}.{_signature(self._keys[0], payload)}"

    def unsign(self, token: str, *, max_age: float | None = None) -> str:
        """Return the value of *token*, at most *max_age* seconds after it was signed."""
        payload, dot, signature = token.rpartition(".")
        if not dot or not self._genuine(payload, signature):
            raise BadSignature("the signature does not fit")
        encoded, _, signed_at = payload.partition(".")
        age = self._clock() - int(signed_at)
        if max_age is not None and age > max_age:
            raise SignatureExpired(f"signed {age:.0f} s ago, at most {max_age:.0f} s are allowed")
        return _from_base64(encoded).decode()

    def _genuine(self, payload: str, signature: str) -> bool:
        given = signature.encode()
        return any(
            hmac.compare_digest(_signature(key, payload).encode(), given) for key in self._keys
        )


def _signature(key: bytes, payload: str) -> str:
    return _to_base64(hmac.digest(key, payload.encode(), hashlib.sha256))


def _to_base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_base64(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise BadSignature("the value is not base64") from error
