"""An OpenAI-compatible endpoint: one client and its connection pool for any number of threads."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from nano_codex_env.completion import fault_of, is_overflow
from nano_codex_env.errors import ContextOverflow, PolicyError

_SHOWN = 500
_LARGEST = 64 << 20
"""Bytes of the longest answer, as they come over the wire."""
_FIRST_WAIT, _LONGEST_WAIT, _LONGEST_RETRY_AFTER = 0.5, 8.0, 60.0
"""Seconds before the second attempt, at most before any, and the most that a server may ask for; openai's own."""


class Endpoint:
    """Sends chat requests and gives back the JSON that came; safe in threads, made anew after a fork."""

    def __init__(self, base_url: str | None, api_key: str | None, *, timeout: float, max_retries: int) -> None:
        """`timeout`: seconds for one attempt, to its last byte; only a server that drips its header can take more."""
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
                words = self._shown(fault.words, 2 * _SHOWN) + (f", {attempt + 1} times" if attempt else "")
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
            raise PolicyError(f"{client.base_url} cannot be reached: {error} ({error.__cause__!r})") from error
        except (ValueError, RecursionError) as error:
            raise PolicyError(f"{client.base_url}: the request failed: {type(error).__name__}: {error}") from error
        text = _text(raw.http_response)
        body = _json(text)
        if body is None:
            raise PolicyError(f"{self._name} answered with no JSON: {text[:_SHOWN]!r}")
        if not isinstance(body, dict) or not ("choices" in body or fault_of(body)):
            raise self._refusal(raw.http_response.status_code, text)
        return body, raw.http_response.headers

    @property
    def _name(self) -> str:
        return str(self._options["base_url"] or "OpenAI")

    def _shown(self, text: str, length: int = _SHOWN) -> str:
        return text.replace(str(self._options["api_key"]), "(the key)")[:length]

    def _refusal(self, status: int, text: str) -> PolicyError:
        words = f"{self._name} answered {status}: {self._shown(text)!r}"
        body = _json(text)
        full = is_overflow(body if isinstance(body, dict) else text)
        return ContextOverflow(words) if full and status in (200, 400, 413, 422) else PolicyError(words)

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


def _client(options: Mapping[str, Any], timeout: float) -> Any:
    import openai

    # openai changed from httpx to httpx2 with version 3: take the one that it is built on
    http = import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])

    class Bounded(http.SyncByteStream):  # type: ignore[misc, name-defined]
        """A body that must be whole in time: httpx alone would let a server send a byte a minute for ever."""

        def __init__(self, stream: Any, until: float) -> None:
            self._stream, self._until = stream, until

        def __iter__(self) -> Iterator[bytes]:
            size = 0
            for chunk in self._stream:
                size += len(chunk)
                if time.monotonic() > self._until:
                    raise http.ReadTimeout(f"the answer was not whole after {timeout:g} seconds")
                if size > _LARGEST:
                    raise http.DecodingError(f"the answer is longer than {_LARGEST} bytes")
                yield chunk

        def close(self) -> None:
            self._stream.close()

    def begin(request: Any) -> None:
        request.extensions["until"] = time.monotonic() + timeout

    def bound(response: Any) -> None:
        response.stream = Bounded(response.stream, response.request.extensions["until"])

    hooks: dict[str, list[Any]] = {"request": [begin], "response": [bound]}
    return openai.OpenAI(**options, http_client=openai.DefaultHttpxClient(event_hooks=hooks))


def _text(response: Any) -> str:
    """A body as text: JSON is UTF-8, whatever the header says."""
    content: bytes = response.content
    return content.decode("utf-8-sig", "replace")


def _json(text: str) -> Any:
    """The value of a JSON text that can be written again, else None."""
    try:
        body = json.loads(text)
        json.dumps(body)
    except (ValueError, RecursionError):
        return None
    return body
