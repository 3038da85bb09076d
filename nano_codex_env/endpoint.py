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
    "maximum context",
    "prompt is too long",
    "exceeds the maximum number of tokens",
    "exceeds the maximum allowed length",
    "max_new_tokens` must be <=",
)
"""What vLLM, SGLang, TGI, Anthropic and Google say of it, having no code of their own for it."""

_SHOWN = 500


class Endpoint:
    """Sends chat requests and gives back the JSON that came; safe in threads, made anew after a fork."""

    def __init__(self, base_url: str | None, api_key: str | None, *, timeout: float, max_retries: int) -> None:
        """`timeout`: seconds for one attempt, from the first byte sent to the last byte read."""
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
            raise _refusal(error.status_code, error.response.text, client) from error
        except openai.APIConnectionError as error:
            raise PolicyError(f"{client.base_url} cannot be reached: {error} ({error.__cause__!r})") from error
        text = raw.http_response.text
        try:
            body = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PolicyError(f"{client.base_url} answered with no JSON: {text[:_SHOWN]!r}") from error
        if not isinstance(body, dict) or "choices" not in body:
            raise _refusal(raw.http_response.status_code, text, client)
        return body

    def close(self) -> None:
        """Close the connections; a second call does nothing."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

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

        def __init__(self, stream: Any) -> None:
            self._stream, self._until = stream, time.monotonic() + timeout

        def __iter__(self) -> Iterator[bytes]:
            for chunk in self._stream:
                if time.monotonic() > self._until:
                    raise http.ReadTimeout(f"the answer was not whole after {timeout:g} seconds")
                yield chunk

        def close(self) -> None:
            self._stream.close()

    def bound(response: Any) -> None:
        response.stream = Bounded(response.stream)

    return openai.OpenAI(**options, http_client=openai.DefaultHttpxClient(event_hooks={"response": [bound]}))


def _refusal(status: int, text: str, client: Any) -> PolicyError:
    words = f"{client.base_url} answered {status}: {text[:_SHOWN]}"
    if status < 500 and _is_overflow(text):
        return ContextOverflow(words)
    return PolicyError(words)


def _is_overflow(text: str) -> bool:
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    error = body.get("error", body) if isinstance(body, dict) else None
    if isinstance(error, dict) and {error.get("code"), error.get("type")} & set(OVERFLOW_CODES):
        return True
    return any(words in text.lower() for words in OVERFLOW_WORDS)
