"""What a server says of the answer that it gave: whether it is whole, broken off, withheld, or left as text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nano_codex_env.errors import PolicyError
from nano_codex_env.messages import Message, check_size

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

BROKEN_OFF = (
    "abort",  # vLLM, SGLang, LMDeploy
    "aborted",  # verl's servers
    "cancelled",  # TensorRT-LLM
    "canceled",
    "timeout",  # TensorRT-LLM
    "error",  # OpenRouter, Mistral, vLLM
    "network_error",  # Z.ai
    "insufficient_system_resource",  # DeepSeek
)
"""Why an answer ended that the server did not finish: it is no answer, and is asked for again."""

WITHHELD = ("content_filter", "sensitive")
"""What OpenAI, Azure and Google, and Z.ai, say where a filter took the answer away."""

CUT = ("length", "max_tokens", "model_length", "model_context_window_exceeded")
"""Why an answer ended at a limit on tokens: OpenAI's word, Anthropic's, Mistral's (the context), Z.ai's (the same)."""

WHOLE = ("stop", "tool_calls", "eos", "eos_token", "stop_sequence", "end_turn", "tool_use", "repetition")
"""Why an answer ended that the model ended: OpenAI's words, then those of Together, TGI, Anthropic; vLLM's last."""

MARKERS = (
    "<tool_call>",  # Hermes, Qwen, GLM
    "<tool_calls>",  # Hunyuan, MiniMax-M1
    "<function=",  # Qwen3-Coder, Llama
    "<function_call>",  # Granite 20B
    "<start_function_call>",  # FunctionGemma
    "<minimax:tool_call>",
    "<seed:tool_call>",
    "<TOOLCALL>",  # Nemotron
    "[TOOL_CALLS]",  # Mistral
    "<|tool_call|>",  # Granite, Phi-4-mini
    "<|tool_call_start|>",  # LFM2
    "<|python_tag|>",  # Llama 3
    "<|action_start|>",  # InternLM
    "<|tool_calls_section_begin|>",  # Kimi K2
    "<|channel|>commentary to=functions",  # gpt-oss
    "<｜tool▁calls▁begin｜>",  # DeepSeek  # noqa: RUF001
    "<｜DSML｜",  # DeepSeek V3.2  # noqa: RUF001
    "functools[",  # Phi-4-mini
)
"""How models write a tool call; a server whose tool parser is on and fits shows none of these in `content`."""

PARSER = "vLLM: --enable-auto-tool-choice --tool-call-parser NAME; SGLang: --tool-call-parser NAME; llama.cpp: --jinja"
"""Which flags make a server give tool calls as `tool_calls`."""

LENGTHS = ("max_tokens", "max_completion_tokens")
"""What the length of an answer is called, and what OpenAI's own endpoint calls it now."""

_SHOWN = 80
"""Characters of a finish_reason that are shown and logged."""

_SAID = 300
"""Characters of an error in which it says what it is; further on it may quote the transcript."""

_QUOTED = re.compile(r"""[\\]?['"](?:input|messages|content|prompt|text|arguments)[\\]?['"]\s*:|\binput_value=""")
"""Where the validators of servers (Pydantic, FastAPI, Zod) begin to quote what they were sent."""

_SPOKEN = ("reasoning", "thinking", "thought", "refusal")
"""How the names of those keys begin in which models say something beside `content` and `tool_calls`."""

_NOTHING = ("", "0", "200", "none", "null", "ok", "success", "succeeded", "no error")
"""What an error says that is none."""

Shown = Callable[[str], str]
"""Makes a text of the server's fit to be shown: without the key, and short."""


@dataclass(frozen=True)
class Fault:
    """Why what came is no answer of the model's."""

    words: str
    again: bool = True
    """Whether to ask once more may help."""
    overflow: bool = False
    """Whether the transcript does not fit the model's context."""


def fault_of(body: Mapping[str, Any]) -> Fault | None:
    """What is wrong with a chat completion that came with status 200; None: it holds an answer.

    An error with a numeric code is asked for again as a status of that number would be; one without a code always.
    """
    error = _error(body)
    if error:
        code = error.get("code") if isinstance(error, dict) else None
        passes = (number := _number(code)) is not None and (number in (408, 409, 429) or number >= 500)
        full = not passes and is_overflow(error)  # as with a status: what passes says nothing of the transcript
        words = f"the answer holds an error: {json.dumps(error)}"
        return Fault(words, again=not full and (passes or code is None), overflow=full)
    reason, message = reason_of(body) or "", _choice(body).get("message")
    if reason in BROKEN_OFF:
        return Fault(f"the server broke the answer off (finish_reason {reason!r})")
    if reason.partition(":")[0] in WITHHELD:  # Google's names the category after a colon
        words = f"the server's content filter withheld the answer (finish_reason {reason!r})"
        return Fault(f"{words}; lower or turn off that filter on the server, or leave the task out", again=False)
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    legacy = message.get("function_call") if isinstance(message, dict) else None
    if not calls and (_holds_something(legacy) or reason == "function_call"):
        words = "the server answered by `function_call`, which tools no longer use, and not by `tool_calls`"
        return Fault(f"{words}; turn its tool parser on ({PARSER})", again=False)
    if isinstance(message, dict) and not _says_something(message) and reason not in (*CUT, *WHOLE):
        return Fault(f"the answer is empty, and the server does not say that it ended (finish_reason {reason!r})")
    return None


def _error(body: Mapping[str, Any]) -> Any:
    """What a body holds of an error, wherever servers put it; None: nothing, or what says that there is none."""
    choice = _choice(body)
    message = choice.get("message")
    inner = message.get("error") if isinstance(message, dict) else None
    flat = body if body.get("object") == "error" else None
    found = [error for error in (body.get("error"), flat, choice.get("error"), inner) if _holds_something(error)]
    base = body.get("base_resp")  # MiniMax's: its numbers are no statuses of HTTP, so they are no code here
    if isinstance(base, dict) and _holds_something(base.get("status_code")):
        found.append({"message": base.get("status_msg"), "status_code": base["status_code"]})
    spoken = isinstance(message, dict) and _says_something(message)
    for status in map(_number, (body.get("status"), body.get("code"))):
        if status is not None and status >= 400 and not spoken:
            found.append({"code": status, "message": body.get("detail") or body.get("message")})
    return found[0] if found else None


def _holds_something(error: object) -> bool:
    """Whether an error, or a `function_call`, is one: servers also send it with nothing in it, or with "success"."""
    if isinstance(error, dict):
        return any(map(_holds_something, error.values()))
    if isinstance(error, str):
        return error.strip().lower() not in _NOTHING
    return bool(error) and (isinstance(error, bool) or error != 200)


def _says_something(message: Mapping[str, Any]) -> bool:
    """Whether a message holds any content, call, reasoning or refusal."""
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.items() if isinstance(part, dict) else [("", part)] for part in content]
        content = any(value for part in parts for key, value in part if key != "type")
    return bool(content or message.get("tool_calls")) or any(
        value for key, value in message.items() if key.startswith(_SPOKEN)
    )


def doubts_of(body: Mapping[str, Any], shown: Shown = str) -> dict[str, str]:
    """What to warn of, once a run for each key, though the answer is taken as it is."""
    found, reason, message = {}, reason_of(body), _choice(body).get("message")
    if not isinstance(message, dict):
        return {}
    if reason is not None and reason not in (*CUT, *WHOLE, "function_call"):
        found["finish_reason"] = (
            f"an answer ended for a reason that is not known here, finish_reason {shown(reason)[:_SHOWN]!r}; it is "
            "taken as it is. If the server broke it off, its episode must not be scored: look at the server's "
            "documentation (so of every other reason that is not known)"
        )
    if not message.get("tool_calls"):
        text = _text(message.get("content"))
        marker = next((marker for marker in MARKERS if marker in text), None)
        if marker:
            found["marker"] = (
                f"an answer holds {marker!r} as text and no tool call: the server's tool parser is off or another "
                f"model's ({PARSER}), or the model wrote a call that cannot be read. The answer is taken as it is"
            )
    return found


def reason_of(body: Mapping[str, Any]) -> str | None:
    """Why the answer ended, as the server says it, in lower case; what is no text as JSON."""
    reason = _choice(body).get("finish_reason")
    text = reason if isinstance(reason, str) else "" if reason is None else json.dumps(reason)
    return text.strip().lower() or None


def reason_to_log(body: Mapping[str, Any], shown: Shown = str) -> str | None:
    """`reason_of` in OpenAI's word where that is "length", and so short that any number of turns can be logged."""
    reason = reason_of(body)
    return "length" if reason in CUT else shown(reason)[:_SHOWN] if reason else None


def message_of(body: Mapping[str, Any], shown: Shown = str) -> Message:
    """The assistant message of a chat completion, without the keys that hold nothing.

    Raises:
        PolicyError: there is none, or it holds more than anything can be done with; `shown` is what is told of it.
    """
    message = _choice(body).get("message")
    if not isinstance(message, dict) or message.get("role") not in (None, "assistant"):
        raise PolicyError(f"the server's answer holds no assistant message: {shown(json.dumps(body))!r}")
    try:
        check_size(message)
    except ValueError as error:
        raise PolicyError(f"the server's answer cannot be used: {error}") from error
    kept = {key: value for key, value in message.items() if key == "content" or not _is_empty(key, value)}
    for call in kept["tool_calls"] if isinstance(kept.get("tool_calls"), list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and isinstance(function.get("arguments"), dict):
            function["arguments"] = json.dumps(function["arguments"], ensure_ascii=False)
    whole: Message = json.loads(json.dumps(kept), parse_constant=lambda constant: None)  # NaN is no JSON
    return {"role": "assistant", "content": None, **whole}


def is_overflow(error: object) -> bool:
    """Whether an error says that the transcript is too long: a text, the error of a body, or a body that holds one.

    What a body quotes of the transcript does not count: neither other keys, nor what stands late in its message.
    """
    error = error.get("error", error) if isinstance(error, dict) else error
    if isinstance(error, dict):
        if error.get("code") in OVERFLOW_CODES or error.get("type") in OVERFLOW_CODES:
            return True
        error = error.get("message") or error.get("detail")
    return isinstance(error, str) and any(words in _said(error) for words in OVERFLOW_WORDS)


def refuses_length(error: object) -> bool:
    """Whether an error, given as for `is_overflow`, is about `max_tokens`: the model gives no such long answers."""
    error = error.get("error", error) if isinstance(error, dict) else error
    if isinstance(error, dict):
        if error.get("param") in LENGTHS:
            return True
        error = error.get("message") or error.get("detail")
    return isinstance(error, str) and any(name in _said(error) for name in LENGTHS)


def _said(error: str) -> str:
    """What an error says by itself, in lower case: its beginning, up to where it quotes."""
    return _QUOTED.split(error[:_SAID], maxsplit=1)[0].lower()


def _number(code: object) -> int | None:
    if isinstance(code, str) and code.isascii() and code.isdecimal() and len(code) < 5:
        return int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def _choice(body: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) else {}


def _text(content: object) -> str:
    """A message's text, also where it comes in parts."""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _is_empty(key: str, value: object) -> bool:
    """Whether a key is left out: it holds nothing, or has no meaning in an assistant message."""
    if key in ("tool_calls", "function_call", "error"):
        return not (value if key == "tool_calls" else _holds_something(value))
    if key == "tool_call_id":
        return not isinstance(value, str)
    return value is None or value == []
