"""A policy that asks a model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from nano_codex_env.errors import ConfigError, ContextOverflow, PolicyError
from nano_codex_env.messages import Message, ToolCall, ToolSchema, without_surrogates
from nano_codex_env.policies.base import Reply
from nano_codex_env.policies.completion import LENGTHS, doubts_of, message_of, reason_to_log
from nano_codex_env.policies.endpoint import Endpoint, LengthRefused
from nano_codex_env.tokens import of_completion

logger = logging.getLogger(__name__)


class _Default(int):
    """A number that nobody chose: it gives way where a chosen one would not."""


MAX_TOKENS = _Default(4096)
"""Length of one answer, in tokens, unless told otherwise."""

PROVIDERS: dict[str, tuple[str | None, str]] = {
    "hosted_vllm": (None, "HOSTED_VLLM_API_KEY"),
    "openai": (None, "OPENAI_API_KEY"),
    "openrouter": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "anthropic": ("https://api.anthropic.com/v1/", "ANTHROPIC_API_KEY"),
    "deepseek": ("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "gemini": ("https://generativelanguage.googleapis.com/v1beta/openai/", "GEMINI_API_KEY"),
}
"""Prefix of a model's name -> where it is served, and the environment variable with the key."""


class ChatPolicy:
    """Answers a transcript by what a model says; one object and its connection pool serve all threads.

    What the server sent is what is answered: content, reasoning under the server's own name, arguments as the model
    wrote them. Only keys that hold nothing (null, an empty list) are left out, since many servers do not take back
    what they gave. On the wire, and only there, a call whose arguments are no JSON object is sent as
    `{"malformed": "<what the model wrote>"}`: servers parse the arguments of earlier turns and would refuse the
    whole transcript, so that a model could void an episode by a cut-off call. For the same reason an answer of nothing
    at all is sent back as an empty text.
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
        """Name a model; nothing is connected before the first call.

        Args:
            model: its name, with a provider's prefix or without (`hosted_vllm/qwen3-8b`, `openai/gpt-4.1`,
                `openrouter/qwen/qwen3-coder`); the first word counts as a prefix only if it is one of `PROVIDERS`.
            api_base: the endpoint's URL, as a rule ending in `/v1`; `hosted_vllm` has no default.
            api_key: default: the environment variable of the provider that is named; an endpoint of yours needs none.
            temperature: sampling temperature; what is None is left to the server, here and below.
            top_p: nucleus sampling.
            top_k: the number of tokens to choose from; not known to OpenAI's own endpoint.
            min_p: the least probability, relative to the likeliest token; not known to OpenAI's own endpoint.
            max_tokens: length of one answer, in tokens; None: as the server has it, which may be without end. Servers
                such as vLLM refuse a request whose prompt and `max_tokens` together exceed the context: where this is
                the default, and stands in the way, the same is asked once more without it; so where the model gives no
                such long answers. A number of yours stays: an episode that it no longer fits ends as `token_limit`, and
                one whose first messages do not fit with it is void. Not sent where `extra_body` has one.
            thinking: sent as `chat_template_kwargs={"enable_thinking": ...}` (vLLM, SGLang, llama.cpp).
            return_tokens: ask for token ids and logprobs, see `tokens`: they stand in `Reply.tokens`, and a run logs
                them in `tokens.jsonl`. vLLM >= 0.10.2 gives them; an answer without them is a `PolicyError`.
            extra_body: whatever else the request shall hold; it wins over all of the above.
            timeout: seconds for one attempt.
            max_retries: further attempts after a connection error, 408, 409, 429 or 5xx, or where the server broke
                its answer off.

        Raises:
            ConfigError: no endpoint follows from the arguments, or one of them cannot be used.
        """
        self.model, base, key = resolve(model, api_base, api_key)
        _check(timeout, max_retries, max_tokens, extra_body)
        self._api_base = base
        self._limit = limit = LENGTHS[base is None]
        self._may_yield = isinstance(max_tokens, _Default)
        length = None if self._may_yield and any(name in (extra_body or {}) for name in LENGTHS) else max_tokens
        sampling: dict[str, Any] = {"temperature": temperature, "top_p": top_p, limit: length}
        self._sampling = {name: value for name, value in sampling.items() if value is not None}
        extra: dict[str, Any] = {"top_k": top_k, "min_p": min_p}
        _check_numbers(sampling | extra, whole=(limit, "top_k"))
        if thinking is not None:
            extra["chat_template_kwargs"] = {"enable_thinking": thinking}
        self._return_tokens = return_tokens
        self._sampling |= {"logprobs": True} if return_tokens else {}
        extra["return_token_ids"] = True if return_tokens else None
        self._extra = {name: value for name, value in extra.items() if value is not None} | dict(extra_body or {})
        try:
            json.dumps({**self._sampling, **self._extra}, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"a sampling argument or extra_body cannot be sent as JSON: {error}") from error
        self._endpoint = Endpoint(base, key, timeout=timeout, max_retries=max_retries)
        self._told: dict[str, object] = {}

    @property
    def about(self) -> dict[str, Any]:
        """What the log says of it: model, endpoint and sampling, never the key."""
        return {"model": self.model, "api_base": self._api_base, "sampling": {**self._sampling, **self._extra}}

    def __call__(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema], *, max_tokens: int | None = None
    ) -> Reply:
        """The model's next message; `max_tokens` for this one, over that of the policy.

        An answer whose `finish_reason` nobody knows, or that holds a tool call as text, is taken as it is; the log
        (`logging`) warns of it once a run.

        Raises:
            ContextOverflow: the transcript does not fit the model's context.
            PolicyError: the server cannot be reached, refuses, breaks its answer off, withholds it, or answers with no
                chat completion; or the first messages and a `max_tokens` that somebody chose do not fit together.
        """
        sampling = self._sampling if max_tokens is None else {**self._sampling, self._limit: max_tokens}
        payload = {"model": self.model, "messages": _on_wire(messages), "tools": list(tools), **sampling}
        shown = self._endpoint.shown
        body = self._ask(payload, may_yield=self._may_yield and max_tokens is None)
        message, reason, usage = message_of(body, shown), reason_to_log(body, shown), body.get("usage")
        self._warn(doubts_of(body, shown))
        tokens = of_completion(body) if self._return_tokens else None
        return Reply(message, tokens, usage if isinstance(usage, dict) else None, reason)

    def _ask(self, payload: dict[str, Any], *, may_yield: bool) -> dict[str, Any]:
        """The server's answer; see `max_tokens` for what follows where that number stands in the way."""
        try:
            return self._endpoint.ask(payload, self._extra)
        except (ContextOverflow, LengthRefused) as error:
            if may_yield and payload.pop(self._limit, None) is not None:
                return self._endpoint.ask(payload, self._extra)
            chosen = [
                f"{name}={value}" for name, value in {**payload, **self._extra}.items() if name in LENGTHS and value
            ]
            begun = any(message.get("role") == "assistant" for message in payload["messages"])
            if begun or not chosen or not isinstance(error, ContextOverflow):
                raise
            raise PolicyError(
                f"the first messages do not fit the model's context together with {', '.join(chosen)}, so no episode "
                f"could begin; lower that number (Agent: response_limit), or leave it out: {error}"
            ) from error

    def _warn(self, doubts: Mapping[str, str]) -> None:
        for cause, words in doubts.items():
            mine = object()
            if self._told.setdefault(cause, mine) is mine:  # one of many threads puts it there
                logger.warning("%s: %s (said once a run)", self.model, words)

    def close(self) -> None:
        """Close the connections, which ends a run; a call after it connects anew, and a second `close` does nothing."""
        self._told.clear()
        self._endpoint.close()

    def __enter__(self) -> Self:
        """Itself; `close` at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See `close`."""
        self.close()


def resolve(model: str, api_base: str | None, api_key: str | None) -> tuple[str, str | None, str]:
    """A model's name, endpoint (None: OpenAI's own) and key, from a name with or without a provider's prefix.

    Raises:
        ConfigError: no endpoint or no key follows.
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
        _check_url(base)
    elsewhere = base is not None and base != own
    known_to = "" if elsewhere and provider is None else os.environ.get(variable, "")
    key = (api_key or known_to or ("EMPTY" if elsewhere else "")).strip()
    if not key:
        raise ConfigError(f"{model!r} needs a key: set ${variable}, or give api_key; an endpoint of yours: api_base")
    if not (key.isascii() and key.isprintable()):
        raise ConfigError("the key holds characters that no header can; look at where it comes from")
    return name, base, key


_BASES = {"hosted_vllm": "HOSTED_VLLM_API_BASE", "openai": "OPENAI_BASE_URL"}


def _check_url(base: str) -> None:
    try:
        parts = urlsplit(base)
        ok = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and base.isascii()
    except ValueError:
        ok = False
    if not ok:
        raise ConfigError(f"api_base must be a URL such as http://localhost:8000/v1; got {base!r}")
    if parts.username or parts.password or parts.query:
        raise ConfigError("api_base must not hold a user, a password or a query, it is logged; give api_key")


def _check(timeout: float, max_retries: int, max_tokens: int | None, extra_body: object) -> None:
    if not isinstance(extra_body, Mapping | None):
        raise ConfigError(f"extra_body must be a mapping; got {extra_body!r}")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
        raise ConfigError(f"timeout must be a positive number of seconds; got {timeout!r}")
    for name, value, least in (("max_retries", max_retries, 0), ("max_tokens", max_tokens, 1)):
        if name == "max_tokens" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"{name} must be a whole number, at least {least}; got {value!r}")


def _check_numbers(sampling: Mapping[str, Any], whole: Sequence[str]) -> None:
    for name, value in sampling.items():
        kinds = int if name in whole else (int, float)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
            raise ConfigError(f"{name} must be a number; got {value!r}")


def _on_wire(messages: Sequence[Message]) -> list[Message]:
    """The transcript as every server can read it, see the class; a lone surrogate, which has no UTF-8, is U+FFFD."""
    sent = [_acceptable(message) for message in messages]
    text = json.dumps(sent, ensure_ascii=False)
    whole = without_surrogates(text)
    return sent if whole == text else json.loads(whole)


def _acceptable(message: Message) -> Message:
    calls = message.get("tool_calls")
    if not calls:
        return message if message.get("content") is not None else {**message, "content": ""}
    if all(_is_whole(call) for call in calls):
        return message
    return {**message, "tool_calls": [call if _is_whole(call) else _wrapped(call) for call in calls]}


def _is_whole(call: ToolCall) -> bool:
    """Whether a call names a function and its arguments are a JSON object that any reader takes."""
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        return False
    try:
        arguments = json.loads(function["arguments"])
        json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()
    except (KeyError, TypeError, ValueError, RecursionError):
        return False
    return isinstance(arguments, dict)


def _wrapped(call: ToolCall) -> ToolCall:
    function = call.get("function")
    function = dict(function) if isinstance(function, dict) else {}
    name, raw = function.get("name"), function.get("arguments")
    raw = without_surrogates(raw) if isinstance(raw, str) else raw
    wrapped = {"name": name if isinstance(name, str) else "", "arguments": json.dumps({"malformed": raw})}
    return {**call, "type": "function", "function": {**function, **wrapped}}
