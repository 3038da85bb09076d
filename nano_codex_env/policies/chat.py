"""A policy that asks a model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from nano_codex_env.errors import ConfigError, ContextOverflow, PolicyError
from nano_codex_env.messages import Message, ToolCall, ToolSchema, without_surrogates
from nano_codex_env.policies.base import Reply
from nano_codex_env.policies.client_settings import check_url, is_header_value
from nano_codex_env.policies.completion import LENGTHS, message_of, reason_to_log, warnings_of
from nano_codex_env.policies.endpoint import Endpoint, LengthRefused
from nano_codex_env.tokens import from_completion

logger = logging.getLogger(__name__)


class _Default(int):
    """A number that the user did not choose: it is dropped where it stands in the way."""


MAX_TOKENS = _Default(4096)
"""Default length of one answer, in tokens."""

PROVIDERS: dict[str, tuple[str | None, str]] = {
    "hosted_vllm": (None, "HOSTED_VLLM_API_KEY"),
    "openai": (None, "OPENAI_API_KEY"),
    "openrouter": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "anthropic": ("https://api.anthropic.com/v1/", "ANTHROPIC_API_KEY"),
    "deepseek": ("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "gemini": ("https://generativelanguage.googleapis.com/v1beta/openai/", "GEMINI_API_KEY"),
}
"""Prefix of a model's name -> where it is served, and the environment variable with the key."""
_BASES = {"hosted_vllm": "HOSTED_VLLM_API_BASE", "openai": "OPENAI_BASE_URL"}
"""Prefix -> the environment variable with the endpoint's URL."""


class ChatPolicy:
    """Answers a transcript by asking a model; one object and its connection pool serve all threads.

    The answer is kept as the server sent it: content, reasoning under the server's own key, arguments as the model
    wrote them. Only empty keys (null, an empty list) are left out, since many servers refuse to take them back. Only
    in requests, a call whose arguments are not a JSON object is sent as `{"malformed": "<what the model wrote>"}`:
    servers parse the arguments of earlier turns and would refuse the whole transcript, so that a model could void an
    episode by a cut-off call. For the same reason an empty answer is sent back as an empty text.
    """

    def __init__(
        self,
        model: str,
        api_base: str | None = None,
        api_key: str | None = None,
        *,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        max_tokens: int | None = MAX_TOKENS,
        thinking: bool | None = None,
        return_tokens: bool = False,
        extra_body: Mapping[str, Any] | None = None,
        timeout: float = 600.0,
        max_retries: int = 2,
    ) -> None:
        """Choose a model; nothing is connected before the first call.

        Args:
            model: its name, with a provider's prefix or without (`hosted_vllm/qwen3-8b`, `openai/gpt-4.1`,
                `openrouter/qwen/qwen3-coder`); the part before the first `/` is a prefix only if it is in `PROVIDERS`.
            api_base: the endpoint's URL, which usually ends in `/v1`; `hosted_vllm` has no default. A server that has
                its API at the root is named with a slash at the end, `http://localhost:8000/`.
            api_key: default: the environment variable of the provider; your own endpoint needs none.
            temperature: sampling temperature; None, here and below, leaves a parameter to the server.
            top_p: nucleus sampling.
            top_k: the number of tokens to choose from; OpenAI's own endpoint does not know it.
            min_p: the least probability, relative to the likeliest token; OpenAI's own endpoint does not know it.
            max_tokens: length of one answer, in tokens; None: the server's own limit, which may be none. Servers such
                as vLLM refuse a request whose prompt and `max_tokens` together exceed the context, others a number
                that is too large for the model: then the default is dropped and the request sent once more without
                it. A number that you chose stays: an episode that it no longer fits ends as `token_limit`, and one
                whose first messages do not fit with it is void. Not sent where `extra_body` has one.
            thinking: sent as `chat_template_kwargs={"enable_thinking": ...}` (vLLM, SGLang, llama.cpp).
            return_tokens: request token ids and logprobs, see `tokens`: they are returned in `Reply.tokens` and logged
                in `tokens.jsonl`. This needs vLLM >= 0.10.2; an answer without them is a `PolicyError`.
            extra_body: further fields of the request; they override all of the above.
            timeout: seconds for one attempt.
            max_retries: further attempts after a connection error, 408, 409, 429 or 5xx, or where the server broke
                its answer off.

        Raises:
            ConfigError: an argument cannot be used, the arguments name no endpoint, or an environment variable of the
                HTTP client cannot be used (proxies, certificates, further headers).
        """
        if not isinstance(extra_body, Mapping | None):
            raise ConfigError(f"extra_body must be a mapping; got {extra_body!r}")
        self.model, self._api_base, key = resolve(model, api_base, api_key)
        self._length_name = "max_completion_tokens" if self._api_base is None else "max_tokens"
        self._may_drop_length = isinstance(max_tokens, _Default)
        if self._may_drop_length and any(name in (extra_body or {}) for name in LENGTHS):
            max_tokens = None
        sampling: dict[str, Any] = {"temperature": temperature, "top_p": top_p, self._length_name: max_tokens}
        extra: dict[str, Any] = {"top_k": top_k, "min_p": min_p}
        _check_number("timeout", timeout, above=0)
        _check_number("max_retries", max_retries, whole=True, above=-1)
        if max_tokens is not None:
            _check_number("max_tokens", max_tokens, whole=True, above=0)
        for name, value in (sampling | extra).items():
            if value is not None:
                _check_number(name, value, whole=name == "top_k")
        if thinking is not None:
            extra["chat_template_kwargs"] = {"enable_thinking": thinking}
        if return_tokens:
            sampling["logprobs"] = extra["return_token_ids"] = True
        self._return_tokens = return_tokens
        self._sampling = {name: value for name, value in sampling.items() if value is not None}
        self._extra = {name: value for name, value in extra.items() if value is not None} | dict(extra_body or {})
        try:
            json.dumps({**self._sampling, **self._extra}, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"a sampling argument or extra_body cannot be sent as JSON: {error}") from error
        self._endpoint = Endpoint(self._api_base, key, timeout=timeout, max_retries=max_retries)
        self._endpoint.client()  # raises for what it reads from the environment
        self._warned: dict[str, object] = {}

    @property
    def about(self) -> dict[str, Any]:
        """What the log records of the policy: model, endpoint and sampling, never the key."""
        return {"model": self.model, "api_base": self._api_base, "sampling": {**self._sampling, **self._extra}}

    def __call__(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema], *, max_tokens: int | None = None
    ) -> Reply:
        """Return the model's next message; `max_tokens` overrides that of the policy for this one answer.

        An answer with an unknown `finish_reason`, or with a tool call as text, is used as it is; `logging` warns of
        it once a run.

        Raises:
            ContextOverflow: the transcript does not fit the model's context.
            PolicyError: the server cannot be reached, refuses, breaks its answer off, withholds it, or does not answer
                with a chat completion; or the first messages do not fit together with a `max_tokens` that you chose.
        """
        sampling = self._sampling if max_tokens is None else {**self._sampling, self._length_name: max_tokens}
        payload = {"model": self.model, "messages": _to_wire(messages), "tools": list(tools), **sampling}
        body = self._ask(payload, may_drop_length=self._may_drop_length and max_tokens is None)
        redact = self._endpoint.redact
        message, usage = message_of(body, redact), body.get("usage")
        for kind, warning in warnings_of(body, redact).items():
            mine = object()
            if self._warned.setdefault(kind, mine) is mine:  # true for one thread only
                logger.warning("%s: %s (logged once a run)", self.model, warning)
        tokens = from_completion(body) if self._return_tokens else None
        return Reply(message, tokens, usage if isinstance(usage, dict) else None, reason_to_log(body, redact))

    def _ask(self, payload: dict[str, Any], *, may_drop_length: bool) -> dict[str, Any]:
        """Return the server's answer; see `max_tokens` of `__init__` for a length that does not fit."""
        try:
            return self._endpoint.ask(payload, self._extra)
        except (ContextOverflow, LengthRefused) as error:
            if may_drop_length and payload.pop(self._length_name, None) is not None:
                return self._endpoint.ask(payload, self._extra)
            sent = {**payload, **self._extra}
            chosen = ", ".join(f"{name}={sent[name]}" for name in LENGTHS if sent.get(name))
            begun = any(message.get("role") == "assistant" for message in payload["messages"])
            if begun or not chosen or not isinstance(error, ContextOverflow):
                raise
            raise PolicyError(
                f"the first messages do not fit the model's context together with {chosen}, so no episode could "
                f"begin; lower that number (Agent: response_limit), or leave it out: {error}"
            ) from error

    def close(self) -> None:
        """Close the connections and end the run; a later call connects again, and a second `close` does nothing."""
        self._warned.clear()
        self._endpoint.close()

    def __enter__(self) -> Self:
        """Return the policy; `close` is called at the end."""
        return self

    def __exit__(self, *exception: object) -> None:
        """See `close`."""
        self.close()


def resolve(model: str, api_base: str | None, api_key: str | None) -> tuple[str, str | None, str]:
    """Return a model's name without the provider's prefix, its endpoint (None: OpenAI's own) and its key.

    Raises:
        ConfigError: the arguments name no endpoint, or there is no key.
    """
    if not isinstance(model, str):
        raise ConfigError(f"model must be a model's name; got {model!r}")
    if not isinstance(api_base, str | None):
        raise ConfigError(f"api_base must be a URL such as http://localhost:8000/v1; got {api_base!r}")
    if not isinstance(api_key, str | None):
        raise ConfigError(f"api_key must be text; got a {type(api_key).__name__}")
    prefix, _, rest = model.partition("/")
    provider = prefix if rest and prefix in PROVIDERS else None
    name = rest if provider else model
    if not name.strip():
        raise ConfigError(f"a model has a name; got {model!r}")
    own, variable = PROVIDERS[provider or "openai"]
    base = api_base or own or os.environ.get(_BASES.get(provider or "openai", "")) or None
    if base is None and (provider == "hosted_vllm" or "/" in name):
        others = "a model's name with one of " + ", ".join(f"{prefix}/" for prefix in PROVIDERS)
        known = "set $HOSTED_VLLM_API_BASE" if provider else others
        raise ConfigError(f"no endpoint follows from {model!r}; give api_base (--api-base), or {known}")
    if base is not None:
        check_url(base, "api_base" if base in (api_base, own) else f"${_BASES[provider or 'openai']}")
    elsewhere = base is not None and base != own
    from_environment = "" if elsewhere and provider is None else os.environ.get(variable, "")
    key = (api_key or from_environment or ("EMPTY" if elsewhere else "")).strip()
    if not key:
        raise ConfigError(f"{model!r} needs a key: set ${variable}, or give api_key; for your own endpoint api_base")
    if not is_header_value(key):
        source = "api_key" if api_key else f"${variable}"
        raise ConfigError(f"{source} holds characters that an HTTP header cannot; a key is printable ASCII")
    return name, base, key


def _check_number(name: str, value: Any, *, whole: bool = False, above: float = -math.inf) -> None:
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not number or not above < value < math.inf:
        bound = "" if above == -math.inf else f" of at least {above + 1:g}" if whole else f" above {above:g}"
        raise ConfigError(f"{name} must be a {'whole ' if whole else ''}number{bound}; got {value!r}")


def _to_wire(messages: Sequence[Message]) -> list[Message]:
    """Return the transcript as every server can read it, see `ChatPolicy`; a lone surrogate becomes U+FFFD."""
    sent = []
    for message in messages:
        if calls := message.get("tool_calls"):
            message = {**message, "tool_calls": [_parsable(call) for call in calls]}
        elif message.get("content") is None:
            message = {**message, "content": ""}
        sent.append(message)
    valid: list[Message] = json.loads(without_surrogates(json.dumps(sent, ensure_ascii=False)))
    return valid


def _parsable(call: ToolCall) -> ToolCall:
    """Return a call that names a function and whose arguments are a JSON object that any parser takes."""
    function = call["function"] if isinstance(call.get("function"), dict) else {}
    name = function.get("name")
    raw: Any = function.get("arguments")
    with suppress(TypeError, ValueError, RecursionError):
        arguments = json.loads(raw)
        json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()
        if isinstance(arguments, dict) and isinstance(name, str):
            return call
    raw = without_surrogates(raw) if isinstance(raw, str) else raw
    wrapped = {"name": name if isinstance(name, str) else "", "arguments": json.dumps({"malformed": raw})}
    return {**call, "type": "function", "function": {**function, **wrapped}}
