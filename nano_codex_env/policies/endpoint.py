"""An OpenAI-compatible endpoint: one client and its connection pool, shared by any number of threads."""

from __future__ import annotations

import functools
import json
import os
import threading
import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from nano_codex_env.errors import ConfigError, ContextOverflow, PolicyError
from nano_codex_env.policies.client_settings import (
    check_variables,
    explain,
    is_versioned,
    proxy_at,
    proxy_secrets,
    trusted,
)
from nano_codex_env.policies.completion import QUOTED, fault_of, is_overflow, refuses_length
from nano_codex_env.untrusted import check_depth

_MAX_BYTES = 10 << 20
"""Size of an answer; as ASCII each byte takes at most six, so that a line of a log stays short enough to be read."""
_MAX_DEPTH = 110
"""Levels of lists and objects in an answer; its message may have 100."""


_OPENAI = "https://api.openai.com/v1"


class LengthRefused(PolicyError):
    """The model cannot give answers of the requested length."""


class Endpoint:
    """Sends chat requests and returns the JSON of the answers; thread-safe, and reconnects after a fork."""

    def __init__(self, base_url: str | None, api_key: str, *, timeout: float, max_retries: int) -> None:
        """`timeout`: seconds for one attempt, to its last byte."""
        self._options: dict[str, Any] = {
            "base_url": base_url,
            "api_key": api_key,
            "timeout": timeout,
            "max_retries": max_retries,
        }
        self._client: Any = None
        self._deadline: _Deadline | None = None
        self._pid = 0
        self._lock = threading.Lock()

    def ask(self, payload: Mapping[str, Any], extra_body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the server's answer as it was sent.

        The client retries connection errors, 408, 409, 429, 5xx and answers that the server broke off; it waits as
        long as Retry-After says.

        Raises:
            ContextOverflow: the transcript does not fit the model's context.
            LengthRefused: the model cannot give such long answers.
            PolicyError: the server cannot be reached, refuses, breaks off or withholds its answer, or does not answer
                with a chat completion.
        """
        import openai

        client = self.client()
        try:
            raw = client.chat.completions.with_raw_response.create(**payload, extra_body=dict(extra_body) or None)
        except openai.APIStatusError as error:
            raise self._error(error.response) from None  # its text holds what the server said, perhaps the key
        except openai.APIConnectionError as error:
            reason = self.redact(f"{error} ({error.__cause__!r})")[: 2 * QUOTED]
            reason += f"; {trusted()}" if "CERTIFICATE_VERIFY_FAILED" in reason else ""
            via, hint = self._via()
            raise PolicyError(f"{client.base_url} cannot be reached{via}: {reason}{hint}") from error
        except (ValueError, RecursionError) as error:
            reason = self.redact(f"{type(error).__name__}: {error}")[:QUOTED]
            raise PolicyError(f"{client.base_url}: the request failed: {reason}") from error
        response = raw.http_response
        body = response.extensions["body"]
        if response.extensions["fault"] or not isinstance(body, dict) or "choices" not in body:
            raise self._error(response)
        return body

    def redact(self, text: str) -> str:
        """Remove the key from a text, also as it is written in JSON or in a `repr`, and the passwords of proxies."""
        key = str(self._options["api_key"])
        for form in (key, json.dumps(key)[1:-1], repr(key)[1:-1]):
            text = text.replace(form, "(the key)")
        for form in proxy_secrets():
            text = text.replace(form, "(the proxy's password)")
        return text

    def _via(self) -> tuple[str, str]:
        """The proxy that was connected to last, and how to do without, as parts of a message; empty: there is none."""
        url = urlsplit(self._options["base_url"] or _OPENAI)
        via = proxy_at(_http(), url.scheme, self._deadline.dialled if self._deadline else None)
        return via, f"; to connect without the proxy, add {url.hostname} to $NO_PROXY" if via else ""

    def _error(self, response: Any) -> PolicyError:
        """Return the error that a response stands for."""
        base, fault = self._options["base_url"] or _OPENAI, response.extensions["fault"]
        via, direct = self._via()
        name = (self._options["base_url"] or "OpenAI") + via
        if fault:
            attempts = int(response.request.headers.get("x-stainless-retry-count", 0)) + 1
            times = f", {attempts} times" if fault.retry and attempts > 1 else ""
            kind = ContextOverflow if fault.overflow else PolicyError
            return kind(f"{name}: {self.redact(fault.message)[: 2 * QUOTED]}{times}")
        body, quoted = response.extensions["body"], self.redact(_text(response))[:QUOTED]
        hint = "" if is_versioned(base) else f"; if its API is below /v1, api_base is {base.rstrip('/')}/v1"
        if response.is_success and body is None:
            return PolicyError(f"{name} answered with no JSON: {quoted!r}{hint}")
        body = body[0] if isinstance(body, list) and body else body  # Google puts the error in a list
        error = body if isinstance(body, dict) else quoted
        kind = PolicyError
        if response.status_code in (200, 400, 413, 422):
            kind = ContextOverflow if is_overflow(error) else LengthRefused if refuses_length(error) else PolicyError
        where = f" (asked was {response.request.url}{hint})" if response.status_code in (404, 405) else direct
        return kind(f"{name} answered {response.status_code}: {quoted!r}{where}")

    def close(self) -> None:
        """Close the connections; a second call does nothing."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments only; a copy makes its own connections."""
        return functools.partial(type(self), **self._options), ()

    def client(self) -> Any:
        """Return the client, which connects at its first request; one that is closed or a parent's is made anew.

        Raises:
            ConfigError: no client can be made, because of an environment variable that it reads.
        """
        with self._lock:
            if self._client is None or self._pid != os.getpid():  # a child must not use its parent's connections
                try:
                    self._client, self._deadline = _new_client(self._options)
                except ConfigError:
                    raise
                except Exception as error:  # noqa: BLE001 (the libraries raise many kinds for what they read)
                    raise explain(self.redact(f"{type(error).__name__}: {error}")) from None
                self._pid = os.getpid()
            return self._client


def _http() -> Any:
    """Return the HTTP library that openai is built on: with its version 3 it changed from httpx to httpx2."""
    import openai

    return import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])


def _new_client(options: Mapping[str, Any]) -> tuple[Any, _Deadline]:
    """Make an OpenAI client that limits the time and size of answers, and retries those that the server broke off."""
    import openai

    http = _http()
    check_variables(http, options["base_url"] or _OPENAI)

    def read(response: Any) -> None:
        encoding = response.headers.get("content-encoding", "identity")
        if encoding.lower() not in ("", "identity"):  # a few compressed bytes may expand to gigabytes
            raise http.DecodingError(f"the answer is compressed ({encoding:.80}), which was not asked for; turn it off")
        content = bytearray()
        for chunk in response.stream:
            content += chunk
            if len(content) > _MAX_BYTES:
                raise http.DecodingError(f"the answer is longer than {_MAX_BYTES} bytes")
        response.stream.close()
        response.stream = http.ByteStream(bytes(content))
        response.read()
        body = response.extensions["body"] = _parsed(_text(response))
        fault = fault_of(body) if response.is_success and isinstance(body, dict) else None
        response.extensions["fault"] = fault
        if fault and fault.retry:
            response.status_code = 503  # the client retries it as it retries a server that says so

    deadline = _Deadline(options["timeout"], http.ReadTimeout)
    hooks: dict[str, list[Any]] = {"request": [deadline.start], "response": [read]}
    client = openai.DefaultHttpxClient(event_hooks=hooks, headers={"Accept-Encoding": "identity"})
    try:
        return openai.OpenAI(**options, http_client=client), deadline
    except http.InvalidURL as error:
        raise ConfigError(f"api_base must be a URL such as http://localhost:8000/v1; {error}") from None


class _Deadline:
    """Ends an attempt after so many seconds: httpx alone would let a server send one byte a minute without end.

    The time is counted per thread, since a thread waits for one answer at a time and all threads share connections.
    """

    def __init__(self, seconds: float, exception: type[Exception]) -> None:
        self._seconds, self._exception, self._due = seconds, exception, threading.local()
        self.dialled: tuple[str, int] | None = None
        """Host and port of the last connection: the server's, or a proxy's."""

    def start(self, request: Any) -> None:
        """Start counting, unless a redirection led to this request."""
        if request.extensions.get("trace") != self._limit_connection:
            self._due.at = time.monotonic() + self._seconds
            request.extensions["trace"] = self._limit_connection

    def _limit_connection(self, event: str, info: Mapping[str, Any]) -> None:
        """Note where a new connection leads, and limit every read and write of it."""
        if event.endswith(".connect_tcp.started"):
            self.dialled = info["host"], info["port"]
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            stream = info["return_value"]
            read, write = stream.read, stream.write
            stream.read = lambda max_bytes, timeout=None: read(max_bytes, self._remaining(timeout))
            stream.write = lambda buffer, timeout=None: write(buffer, self._remaining(timeout))

    def _remaining(self, timeout: float | None) -> float:
        seconds: float = self._due.at - time.monotonic()
        if seconds <= 0:
            raise self._exception(f"the answer was not complete after {self._seconds:g} seconds")
        return seconds if timeout is None else min(timeout, seconds)


def _text(response: Any) -> str:
    """Return a body as text; JSON is UTF-8, whatever the header says."""
    content: bytes = response.content
    return content.decode("utf-8-sig", "replace")


def _parsed(text: str) -> Any:
    """Return the value of a JSON text, or None if it is invalid or too deep; integers too long for Python are null."""
    try:
        body = json.loads(text, parse_int=lambda digits: int(digits) if len(digits) <= 4300 else None)
        check_depth(body, _MAX_DEPTH)
        json.dumps(body)
    except (ValueError, RecursionError):
        return None
    return body
