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

OVERFLOW_CODES = ("context_length_exceeded", "exceed_context_size_error")
"""What OpenAI and llama.cpp call a transcript that is too long."""

OVERFLOW_WORDS = (
    "context length",
    "context size",
    "context window",
    "context limit",
    "maximum context",
    "maximum model length",
    "maximum prompt length",
    "prompt is too long",
    "input is too long",
    "exceeds the maximum number of tokens",
    "exceeds the maximum allowed length",
    "inputs` must have less than",
    "max_new_tokens` must be <=",
)
"""What vLLM, SGLang, TGI, Anthropic, Google and others say of it, having no code of their own for it."""

_SHOWN = 500
_LARGEST = 64 << 20
"""Bytes of the longest answer, as they come over the wire."""


class Endpoint:
    """Sends chat requests and gives back the JSON that came; safe in threads, made anew after a fork."""

    def __init__(self, base_url: str | None, api_key: str | None, *, timeout: float, max_retries: int) -> None:
        """`timeout`: seconds for one attempt, to its last byte; only a server that drips its header can take more."""
        self._options = {"base_url": base_url, "api_key": api_key, "timeout": timeout, "max_retries": max_retries}
        self._timeout = timeout
        self._client: Any = None
        self._pid = 0
        self._lock = threading.Lock()

    def ask(self, payload: Mapping[str, Any], extra_body: Mapping[str, Any]) -> dict[str, Any]:
        """The server's answer, as it was sent.

        Connection errors, 408, 409, 429 and 5xx are tried again by the client, which waits as Retry-After says.

        Raises:
            ContextOverflow: the transcript does not fit the model's context.
            PolicyError: the server cannot be reached, refuses, or answers with something else than JSON.
        """
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
            raise PolicyError(f"{self._options['base_url'] or 'OpenAI'} answered with no JSON: {text[:_SHOWN]!r}")
        if not isinstance(body, dict) or "choices" not in body:
            raise self._refusal(raw.http_response.status_code, text)
        return body

    def _refusal(self, status: int, text: str) -> PolicyError:
        shown = text.replace(str(self._options["api_key"]), "(the key)")[:_SHOWN]
        words = f"{self._options['base_url'] or 'OpenAI'} answered {status}: {shown!r}"
        return ContextOverflow(words) if status in (200, 400, 413, 422) and _is_overflow(text) else PolicyError(words)

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


def _is_overflow(text: str) -> bool:
    """Whether an error says that the transcript is too long; what it quotes of the transcript does not count."""
    body = _json(text)
    if not isinstance(body, dict):
        return any(words in text.lower() for words in OVERFLOW_WORDS)
    error = body.get("error", body)
    if isinstance(error, dict):
        if error.get("code") in OVERFLOW_CODES or error.get("type") in OVERFLOW_CODES:
            return True
        error = error.get("message") or error.get("detail")
    return isinstance(error, str) and any(words in error.lower() for words in OVERFLOW_WORDS)
