"""Classifies the body of a chat completion: complete, broken off, withheld, too long, or a tool call left as text."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from nano_codex_env.errors import PolicyError
from nano_codex_env.messages import Message, arguments_to_text, check_size

_KNOWN = tomllib.loads(resources.files("nano_codex_env").joinpath("policies/servers.toml").read_text(encoding="utf-8"))
_OVERFLOW: dict[str, list[str]] = _KNOWN["overflow"]
BROKEN_OFF, WITHHELD, CUT, COMPLETE = (
    tuple[str, ...](_KNOWN["finish_reasons"][kind]) for kind in ("broken_off", "withheld", "cut", "complete")
)
"""Finish reasons by what they mean: see `servers.toml`."""

MARKERS: list[str] = _KNOWN["tool_calls"]["markers"]
"""How models write a tool call as text."""

PARSER = "vLLM: --enable-auto-tool-choice --tool-call-parser NAME; SGLang: --tool-call-parser NAME; llama.cpp: --jinja"
"""Flags that make a server return tool calls as `tool_calls`."""

LENGTHS = ("max_tokens", "max_completion_tokens")
"""Names of the parameter that limits an answer's length; OpenAI's own endpoint now uses the second."""

QUOTED = 500
"""Characters of a server's text that an error quotes."""

_REASON_LENGTH = 80
"""Characters of a finish_reason that are shown and logged."""

_STATEMENT_LENGTH = 300
"""Characters of an error message that are searched; further on it may quote the transcript."""

_QUOTES = re.compile(r"""[\\]?['"](?:input|messages|content|prompt|text|arguments)[\\]?['"]\s*:|\binput_value=""")
"""Where the error messages of validators (Pydantic, FastAPI, Zod) begin to quote the request."""

_OTHER_OUTPUT = ("reasoning", "thinking", "thought", "refusal")
"""Prefixes of the keys that hold a model's output besides `content` and `tool_calls`."""

_NO_ERROR = ("", "0", "200", "none", "null", "ok", "success", "succeeded", "no error")
"""Values of an error field that mean success."""

Redact = Callable[[str], str]
"""Removes the API key from a text of the server's."""


@dataclass(frozen=True)
class Fault:
    """Why a body that came with status 200 is not an answer of the model."""

    message: str
    retry: bool = True
    """Whether another attempt may help."""
    overflow: bool = False
    """Whether the transcript does not fit the model's context."""


def fault_of(body: Mapping[str, Any]) -> Fault | None:
    """Find what is wrong with a chat completion that came with status 200; None: it holds an answer.

    An error with a numeric code is retried as that HTTP status would be, an error without a code always.
    """
    if error := _error(body):
        code = error.get("code") if isinstance(error, dict) else None
        number = _number(code)
        temporary = number is not None and (number in (408, 409, 429) or number >= 500)
        overflow = not temporary and is_overflow(error)  # a temporary failure says nothing about the transcript
        retry = not overflow and (temporary or code is None)
        return Fault(f"the answer holds an error: {json.dumps(error)}", retry=retry, overflow=overflow)
    message, reason = _message(body), reason_of(body) or ""
    if reason in BROKEN_OFF:
        return Fault(f"the server broke the answer off (finish_reason {reason!r})")
    if reason.partition(":")[0] in WITHHELD:  # Google appends the category after a colon
        withheld = f"the server's content filter withheld the answer (finish_reason {reason!r})"
        return Fault(f"{withheld}; lower or turn off that filter on the server, or leave the task out", retry=False)
    legacy = message is not None and _has_value(message.get("function_call"))
    if (legacy or reason == "function_call") and not (message and message.get("tool_calls")):
        called = "the server answered by `function_call`, which tools no longer use, and not by `tool_calls`"
        return Fault(f"{called}; turn its tool parser on ({PARSER})", retry=False)
    if message is not None and not _has_output(message) and reason not in (*CUT, *COMPLETE):
        return Fault(f"the answer is empty, and the server does not say that it ended (finish_reason {reason!r})")
    return None


def _error(body: Mapping[str, Any]) -> Any:
    """Return the error in a body, wherever servers put it; None: there is none, or its value means success."""
    message = _message(body) or {}
    flat = body if body.get("object") == "error" else None
    for error in (body.get("error"), flat, _choice(body).get("error"), message.get("error")):
        if _has_value(error):
            return error
    base = body.get("base_resp")  # MiniMax: its numbers are not HTTP statuses, so they are not stored as `code`
    if isinstance(base, dict) and _has_value(base.get("status_code")):
        return {"message": base.get("status_msg"), "status_code": base["status_code"]}
    for status in map(_number, (body.get("status"), body.get("code"))):
        if status is not None and status >= 400 and not _has_output(message):
            return {"code": status, "message": body.get("detail") or body.get("message")}
    return None


def _has_value(error: object) -> bool:
    """Whether an error or a `function_call` is real: servers also send them empty, or with the text "success"."""
    if isinstance(error, dict):
        return any(map(_has_value, error.values()))
    if isinstance(error, str):
        return error.strip().lower() not in _NO_ERROR
    return bool(error) and (isinstance(error, bool) or error != 200)


def _has_output(message: Mapping[str, Any]) -> bool:
    """Whether a message holds any content, call, reasoning or refusal."""
    content = message.get("content")
    if isinstance(content, list):
        parts = [part if isinstance(part, dict) else {"": part} for part in content]
        content = any(value for part in parts for key, value in part.items() if key != "type")
    output = [value for key, value in message.items() if key.startswith(_OTHER_OUTPUT)]
    return any([content, message.get("tool_calls"), *output])


def warnings_of(body: Mapping[str, Any], redact: Redact = str) -> dict[str, str]:
    """Return warnings about an answer that is used as it is, by kind; each kind is logged once a run."""
    message, reason, found = _message(body), reason_of(body), {}
    if message is None:
        return {}
    if reason is not None and reason not in (*CUT, *COMPLETE, "function_call"):
        found["finish_reason"] = (
            f"an answer ended for an unknown reason, finish_reason {redact(reason)[:_REASON_LENGTH]!r}; it is used as "
            "it is. If the server broke it off, its episode must not be scored: see the server's documentation (this "
            "holds for every other unknown reason)"
        )
    content = message.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(text for text in texts if isinstance(text, str))
    if isinstance(content, str) and not message.get("tool_calls"):
        marker = next((marker for marker in MARKERS if marker in content), None)
        if marker:
            found["marker"] = (
                f"an answer holds {marker!r} as text and no tool call: the server's tool parser is off or is for "
                f"another model ({PARSER}), or the model wrote a call that cannot be parsed. It is used as it is"
            )
    return found


def reason_of(body: Mapping[str, Any]) -> str | None:
    """Return the server's finish reason in lower case; a reason that is not text is given as JSON."""
    reason = _choice(body).get("finish_reason")
    text = reason if isinstance(reason, str) else "" if reason is None else json.dumps(reason)
    return text.strip().lower() or None


def reason_to_log(body: Mapping[str, Any], redact: Redact = str) -> str | None:
    """Return `reason_of` as "length" where a token limit ended the answer, else its first 80 characters."""
    reason = reason_of(body)
    return "length" if reason in CUT else redact(reason)[:_REASON_LENGTH] if reason else None


def message_of(body: Mapping[str, Any], redact: Redact = str) -> Message:
    """Return the assistant message of a chat completion, without empty keys.

    Raises:
        PolicyError: there is none, or it holds too many values.
    """
    message = _message(body)
    if message is None or message.get("role") not in (None, "assistant"):
        raise PolicyError(f"the server's answer holds no assistant message: {redact(json.dumps(body))[:QUOTED]!r}")
    try:
        check_size(message)
    except ValueError as error:
        raise PolicyError(f"the server's answer cannot be used: {error}") from error
    kept = {key: value for key, value in message.items() if _is_kept(key, value)}
    for call in kept["tool_calls"] if isinstance(kept.get("tool_calls"), list) else ():
        arguments_to_text(call)
    valid: Message = json.loads(json.dumps(kept), parse_constant=lambda constant: None)  # NaN is not JSON
    return {"role": "assistant", "content": None, **valid}


def _is_kept(key: str, value: object) -> bool:
    """Whether a key of a message has a value that means something in an assistant message."""
    if key in ("function_call", "error"):
        return _has_value(value)
    if key == "tool_calls":
        return bool(value)
    if key == "tool_call_id":
        return isinstance(value, str)
    return key == "content" or (value is not None and value != [])


def is_overflow(error: object) -> bool:
    """Whether an error (a text, an error object, or a body that holds one) says that the transcript is too long.

    Parts of the transcript that the error quotes do not count.
    """
    fields, statement = _statement(error)
    coded = any(fields.get(key) in _OVERFLOW["codes"] for key in ("code", "type"))
    return coded or any(phrase in statement for phrase in _OVERFLOW["phrases"])


def refuses_length(error: object) -> bool:
    """Whether an error, in any form that `is_overflow` takes, says that the model cannot give such long answers."""
    fields, statement = _statement(error)
    return fields.get("param") in LENGTHS or any(name in statement for name in LENGTHS)


def _statement(error: object) -> tuple[Mapping[str, Any], str]:
    """Return an error's fields, and the beginning of its message in lower case, up to where it quotes the request."""
    error = error.get("error", error) if isinstance(error, dict) else error
    fields = error if isinstance(error, dict) else {"message": error}
    text = fields.get("message") or fields.get("detail")
    return fields, _QUOTES.split(text[:_STATEMENT_LENGTH], maxsplit=1)[0].lower() if isinstance(text, str) else ""


def _number(code: object) -> int | None:
    if isinstance(code, str) and code.isascii() and code.isdecimal() and len(code) < 5:
        return int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def _choice(body: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) else {}


def _message(body: Mapping[str, Any]) -> dict[str, Any] | None:
    message = _choice(body).get("message")
    return message if isinstance(message, dict) else None
