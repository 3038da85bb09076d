"""What a server says of the answer that it gave: whether it is whole, broken off, withheld, or left as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nano_codex_env.errors import PolicyError
from nano_codex_env.messages import Message

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

_SHOWN = 500


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
    choice = _choice(body)
    flat = body if body.get("object") == "error" else None
    error = body.get("error") or flat or choice.get("error")
    if error:
        code = error.get("code") if isinstance(error, dict) else None
        passes = (number := _number(code)) is not None and (number in (408, 409, 429) or number >= 500)
        full = not passes and is_overflow(error)  # as with a status: what passes says nothing of the transcript
        words = f"the answer holds an error: {json.dumps(error)[:_SHOWN]}"
        return Fault(words, again=not full and (passes or code is None), overflow=full)
    reason, message = reason_of(body) or "", choice.get("message")
    if reason in BROKEN_OFF:
        return Fault(f"the server broke the answer off (finish_reason {reason!r})")
    if reason.partition(":")[0] in WITHHELD:  # Google's names the category after a colon
        words = f"the server's content filter withheld the answer (finish_reason {reason!r})"
        return Fault(f"{words}; lower or turn off that filter on the server, or leave the task out", again=False)
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    legacy = message.get("function_call") if isinstance(message, dict) else None
    if not calls and (legacy or reason == "function_call"):
        words = "the server answered by `function_call`, which tools no longer use, and not by `tool_calls`"
        return Fault(f"{words}; turn its tool parser on ({PARSER})", again=False)
    return None


def doubts_of(body: Mapping[str, Any]) -> dict[str, str]:
    """What to warn of, once a run for each key, though the answer is taken as it is."""
    found, reason = {}, reason_of(body)
    if reason is not None and reason not in (*CUT, *WHOLE, "function_call"):
        found[f"finish_reason {reason}"] = (
            f"an answer ended for a reason that is not known here, finish_reason {reason!r}; it is taken as it is. "
            "If the server broke it off, its episode must not be scored: look at the server's documentation"
        )
    message = _choice(body).get("message")
    if isinstance(message, dict) and not message.get("tool_calls"):
        text = _text(message.get("content"))
        marker = next((marker for marker in MARKERS if marker in text), None)
        if marker:
            found["marker"] = (
                f"an answer holds {marker!r} as text and no tool call: the server's tool parser is off or another "
                f"model's ({PARSER}), or the model wrote a call that cannot be read. The answer is taken as it is"
            )
    return found


def reason_of(body: Mapping[str, Any]) -> str | None:
    """Why the answer ended, as the server says it, in lower case."""
    reason = _choice(body).get("finish_reason")
    return reason.strip().lower() if isinstance(reason, str) and reason.strip() else None


def message_of(body: Mapping[str, Any]) -> Message:
    """The assistant message of a chat completion, without the keys that hold nothing.

    Raises:
        PolicyError: there is none.
    """
    message = _choice(body).get("message")
    if not isinstance(message, dict) or message.get("role") not in (None, "assistant"):
        raise PolicyError(f"the server's answer holds no assistant message: {json.dumps(body)[:_SHOWN]!r}")
    kept = {key: value for key, value in message.items() if key == "content" or not _is_empty(key, value)}
    for call in kept["tool_calls"] if isinstance(kept.get("tool_calls"), list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and isinstance(function.get("arguments"), dict):
            function["arguments"] = json.dumps(function["arguments"], ensure_ascii=False)
    whole: Message = json.loads(json.dumps(kept), parse_constant=lambda constant: None)  # NaN is no JSON
    return {"role": "assistant", "content": None, **whole}


def is_overflow(error: object) -> bool:
    """Whether an error says that the transcript is too long: a text, the error of a body, or a body that holds one.

    What a body quotes of the transcript does not count.
    """
    error = error.get("error", error) if isinstance(error, dict) else error
    if isinstance(error, dict):
        if error.get("code") in OVERFLOW_CODES or error.get("type") in OVERFLOW_CODES:
            return True
        error = error.get("message") or error.get("detail")
    return isinstance(error, str) and any(words in error.lower() for words in OVERFLOW_WORDS)


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
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _is_empty(key: str, value: object) -> bool:
    return value is None or value == [] or (key == "tool_calls" and not value)
