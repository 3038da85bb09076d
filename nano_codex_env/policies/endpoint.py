"""An OpenAI-compatible endpoint: one client and its connection pool for any number of threads."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from nano_codex_env.errors import ContextOverflow, PolicyError
from nano_codex_env.policies.completion import fault_of, is_overflow, refuses_length
from nano_codex_env.untrusted import check_depth

_SHOWN = 500
_LARGEST = 10 << 20
"""Bytes of the longest answer: as ASCII each is six at most, so that no line of a log is too long to be read again."""
_DEEPEST = 110
"""Levels of lists and objects in an answer; a message may have a hundred."""
_FIRST_WAIT, _LONGEST_WAIT, _LONGEST_RETRY_AFTER = 0.5, 8.0, 60.0
"""Seconds before the second attempt, at most before any, and the most that a server may ask for; openai's own."""


class LengthRefused(PolicyError):
    """The model gives no answers of the length that was asked for."""


class Endpoint:
    """Sends chat requests and gives back the JSON that came; safe in threads, made anew after a fork."""

    def __init__(self, base_url: str | None, api_key: str | None, *, timeout: float, max_retries: int) -> None:
        """`timeout`: seconds for one attempt, to its last byte."""
        self._options = {"base_url": base_url, "api_key": api_key, "timeout": timeout, "max_retries": max_retries}
        self._timeout, self._max_retries = timeout, max_retries
        self._client: Any = None
        self._pid = 0
        self._lock = threading.Lock()

    def ask(self, payload: Mapping[str, Any], extra_body: Mapping[str, Any]) -> dict[str, Any]:
        """The server's answer, as it was sent.

        Connection errors, 408, 409, 429 and 5xx are tried again by the client, which waits as Retry-After says; an
        answer that the server broke off is asked for again by the same rules, see `completion.fault_of`.

        Raises:
            ContextOverflow: the transcript does not fit the model's context.
            LengthRefused: the model gives no such long answers.
            PolicyError: the server cannot be reached, refuses, breaks off or withholds its answer, or answers with
                something else than JSON.
        """
        attempt = 0
        while True:
            body, headers = self._answer(payload, extra_body)
            fault = fault_of(body)
            if fault is None:
                return body
            if not fault.again or attempt >= self._max_retries:
                words = self.shown(fault.words, 2 * _SHOWN) + (f", {attempt + 1} times" if attempt else "")
                raise (ContextOverflow if fault.overflow else PolicyError)(f"{self._name}: {words}")
            time.sleep(wait_before(attempt, headers))
            attempt += 1

    def _answer(self, payload: Mapping[str, Any], extra_body: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """The JSON object of one answer and its headers."""
        import openai

        client = self._connected()
        try:
            raw = client.chat.completions.with_raw_response.create(**payload, extra_body=dict(extra_body) or None)
        except openai.APIStatusError as error:
            raise self._refusal(error.status_code, _text(error.response)) from error
        except openai.APIConnectionError as error:
            words = self.shown(f"{error} ({error.__cause__!r})", 2 * _SHOWN)
            raise PolicyError(f"{client.base_url} cannot be reached: {words}") from error
        except (ValueError, RecursionError) as error:
            words = self.shown(f"{type(error).__name__}: {error}")
            raise PolicyError(f"{client.base_url}: the request failed: {words}") from error
        text = _text(raw.http_response)
        body = _json(text)
        if body is None:
            raise PolicyError(f"{self._name} answered with no JSON: {self.shown(text)!r}")
        if not isinstance(body, dict) or not ("choices" in body or fault_of(body)):
            raise self._refusal(raw.http_response.status_code, text)
        return body, raw.http_response.headers

    @property
    def _name(self) -> str:
        return str(self._options["base_url"] or "OpenAI")

    def shown(self, text: str, length: int = _SHOWN) -> str:
        """The beginning of a text, without the key, also as it stands in JSON or in a `repr`."""
        key = str(self._options["api_key"])
        for form in dict.fromkeys((key, json.dumps(key)[1:-1], repr(key)[1:-1])):
            text = text.replace(form, "(the key)")
        return text[:length]

    def _refusal(self, status: int, text: str) -> PolicyError:
        words = f"{self._name} answered {status}: {self.shown(text)!r}"
        body = _json(text)
        body = body[0] if isinstance(body, list) and body else body  # Google's
        error = body if isinstance(body, dict) else text
        if status in (200, 400, 413, 422):
            if is_overflow(error):
                return ContextOverflow(words)
            if refuses_length(error):
                return LengthRefused(words)
        return PolicyError(words)

    def close(self) -> None:
        """Close the connections; a second call does nothing."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs; it makes connections of its own."""
        return {"base_url": None, **self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """See `__getstate__`."""
        self.__init__(**state)  # type: ignore[misc]

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None or self._pid != os.getpid():  # connections are not shared with a parent
                self._client, self._pid = _client(self._options, self._timeout), os.getpid()
            return self._client


def wait_before(attempt: int, headers: Mapping[str, str]) -> float:
    """Seconds to wait after so many further attempts (0: none yet): as the server's headers say, else ever longer."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            asked = float(headers.get(name, "")) * scale
        except ValueError:
            continue
        if 0 < asked <= _LONGEST_RETRY_AFTER:
            return asked
    return min(_FIRST_WAIT * 2.0 ** min(attempt, 10), _LONGEST_WAIT)


class _Deadline:
    """When an attempt must be over: httpx alone would let a server send a byte a minute, also of its header, for ever.

    The seconds count for a thread, which waits for one answer at a time; its connections are used by other threads too.
    """

    def __init__(self, seconds: float, late: type[Exception]) -> None:
        """`late`: what is raised when they are over."""
        self._seconds, self._late, self._due = seconds, late, threading.local()

    def begin(self, request: Any) -> None:
        """Count from now, unless a redirection led to this request."""
        if request.extensions.get("trace") != self._trace:
            self._due.at = time.monotonic() + self._seconds
            request.extensions["trace"] = self._trace

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Bound what a connection that was just made will do."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            stream = info["return_value"]
            read, write = stream.read, stream.write
            stream.read = lambda max_bytes, timeout=None: read(max_bytes, self._left(timeout))
            stream.write = lambda buffer, timeout=None: write(buffer, self._left(timeout))

    def _left(self, asked: float | None) -> float:
        seconds: float = self._due.at - time.monotonic()
        if seconds <= 0:
            raise self._late(f"the answer was not whole after {self._seconds:g} seconds")
        return seconds if asked is None else min(asked, seconds)


def _client(options: Mapping[str, Any], timeout: float) -> Any:
    import openai

    # openai changed from httpx to httpx2 with version 3: take the one that it is built on
    http = import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])

    class Bounded(http.SyncByteStream):  # type: ignore[misc, name-defined]
        """A body that must not be too long."""

        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def __iter__(self) -> Iterator[bytes]:
            size = 0
            for chunk in self._stream:
                size += len(chunk)
                if size > _LARGEST:
                    raise http.DecodingError(f"the answer is longer than {_LARGEST} bytes")
                yield chunk

        def close(self) -> None:
            self._stream.close()

    def bound(response: Any) -> None:
        response.stream = Bounded(response.stream)
        packed = response.headers.get("content-encoding", "identity")
        if packed.lower() not in ("", "identity"):  # a few bytes of it may be gigabytes
            raise http.DecodingError(f"the answer is compressed ({packed:.80}), which was not asked for; turn that off")

    hooks: dict[str, list[Any]] = {"request": [_Deadline(timeout, http.ReadTimeout).begin], "response": [bound]}
    client = openai.DefaultHttpxClient(event_hooks=hooks, headers={"Accept-Encoding": "identity"})
    return openai.OpenAI(**options, http_client=client)


def _text(response: Any) -> str:
    """A body as text: JSON is UTF-8, whatever the header says."""
    content: bytes = response.content
    return content.decode("utf-8-sig", "replace")


def _json(text: str) -> Any:
    """The value of a JSON text that can be written again, else None; numbers too long for Python to read are null."""
    try:
        try:
            body = json.loads(text)
        except ValueError:
            body = json.loads(text, parse_int=_integer)
        check_depth(body, _DEEPEST)
        json.dumps(body)
    except (ValueError, RecursionError):
        return None
    return body


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) < 1000 else None
