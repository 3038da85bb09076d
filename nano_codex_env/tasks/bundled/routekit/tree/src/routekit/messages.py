"""Requests and responses, as plain data."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus

from routekit.cookies import parse_cookies
from routekit.headers import Headers, parse_value
from routekit.query import QueryParams, parse_query


@dataclass
class Request:
    """What a client asks."""

    method: str
    target: str
    """The path and the query string, as they stand on the request line."""
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path, still escaped."""
        return self.target.partition("?")[0]

    @cached_property
    def query(self) -> QueryParams:
        """The parameters of the query string."""
        return parse_query(self.target.partition("?")[2])

    @cached_property
    def cookies(self) -> dict[str, str]:
        """The cookies that came along."""
        return parse_cookies(self.headers.get("Cookie", ""))

    @cached_property
    def form(self) -> QueryParams:
        """The fields of a submitted form; none if the body is something else."""
        kind, _ = parse_value(self.headers.get("Content-Type", ""))
        if kind.lower() != "application/x-www-form-urlencoded":
            return QueryParams()
        return parse_query(self.body.decode("ascii", errors="replace"))


@dataclass
class Response:
    """What we answer."""

    status: int = 200
    body: bytes = b""
    headers: Headers = field(default_factory=Headers)

    @classmethod
    def text(cls, text: str, *, status: int = 200, kind: str = "text/plain") -> "Response":
        """Answer with text in UTF-8."""
        return cls(status, text.encode(), Headers({"Content-Type": f"{kind}; charset=utf-8"}))

    @classmethod
    def json(cls, data: object, *, status: int = 200) -> "Response":
        """Answer with data."""
        body = json.dumps(data, ensure_ascii=False).encode()
        return cls(status, body, Headers({"Content-Type": "application/json"}))

    @classmethod
    def redirect(cls, location: str, *, status: int = 303) -> "Response":
        """Send the client elsewhere."""
        return cls(status, b"", Headers({"Location": location}))

    @property
    def reason(self) -> str:
        """The words that go with the status."""
        try:
            return HTTPStatus(self.status).phrase
        except ValueError:
            return ""

    def copy(self) -> "Response":
        """Return a response that can be changed without changing this one."""
        return Response(self.status, self.body, self.headers.copy())

    def to_bytes(self) -> bytes:
        """Return the message as it goes over the wire."""
        headers = self.headers.copy()
        if self.status not in (204, 304) and "Content-Length" not in headers:
            headers["Content-Length"] = str(len(self.body))
        lines = [f"HTTP/1.1 {self.status} {self.reason}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body
