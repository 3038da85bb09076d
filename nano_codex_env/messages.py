"""Chat messages and tool calls in OpenAI's format, and the conversion of an action to an assistant message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nano_codex_env.errors import ActionError
from nano_codex_env.untrusted import check_depth

Message = dict[str, Any]
"""One chat message: `role`, `content`, and for tools `tool_calls` or `tool_call_id`."""

ToolCall = dict[str, Any]
"""`{"id": str, "type": "function", "function": {"name": str, "arguments": str}}`."""

ToolSchema = dict[str, Any]
"""`{"type": "function", "function": {"name", "description", "parameters"}}`."""


MAX_VALUES = 100_000
"""Values in one message, those inside its calls included: in memory each takes many times its size as JSON."""
MAX_CHARACTERS = 30 << 20
"""Length of one message as JSON: its line in a log, where arguments may take twice that, stays short enough to read."""


def dumps(value: object) -> str:
    """Return JSON on one line of plain ASCII, keys in the given order: any text survives, and any reader takes it."""
    return json.dumps(value, ensure_ascii=True)


def without_surrogates(text: str) -> str:
    """Return the text with each lone surrogate, which UTF-8 cannot hold, as U+FFFD."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def tool_call(name: str, call_id: str | None = None, /, **arguments: Any) -> ToolCall:
    """Return a tool call as a model would make it; an argument may have any name.

    >>> tool_call("shell", cmd="ls")
    {'type': 'function', 'function': {'name': 'shell', 'arguments': '{"cmd": "ls"}'}}
    """
    call: ToolCall = {} if call_id is None else {"id": call_id}
    return call | {"type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


def assistant(content: str = "", *calls: ToolCall, **extra: Any) -> Message:
    """Return an assistant message; without calls it submits."""
    message: Message = {"role": "assistant", "content": content, **extra}
    return message | ({"tool_calls": list(calls)} if calls else {})


def tool_answer(call: ToolCall, content: str) -> Message:
    """Return the tool message that answers `call`."""
    return {"role": "tool", "tool_call_id": call["id"], "content": content}


def as_assistant(action: object, calls_so_far: int) -> Message:
    """Return a copy of `action`, a tool call or an assistant message, as an assistant message whose calls have ids.

    All that it holds is kept. A call without an id gets `call00001` and so on, counted from `calls_so_far` (Mistral's
    templates demand exactly nine alphanumerics); arguments given as an object become a JSON string.

    Raises:
        ActionError: `action` is neither, cannot be written as JSON, or holds more than can be logged.
    """
    if not isinstance(action, Mapping):
        raise ActionError(f"an action is a tool call or an assistant message (a dict); got {type(action).__name__}")
    try:
        text = dumps(action)
        copy: Message = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ActionError(f"the action cannot be written as JSON: {error}") from error
    if "function" in copy and "role" not in copy:
        copy = {"role": "assistant", "content": "", "tool_calls": [copy]}
    if copy.get("role") != "assistant":
        raise ActionError(
            "an action is a tool call ({'type': 'function', 'function': {...}}) or a message with role "
            f"'assistant'; got keys {sorted(copy)} and role {copy.get('role')!r}"
        )
    calls = copy.get("tool_calls")
    if calls is not None and not (isinstance(calls, list) and all(isinstance(call, dict) for call in calls)):
        raise ActionError(f"tool_calls must be a list of tool calls (dicts); got {calls!r:.200}")
    if not isinstance(copy.get("content"), str | list | None):
        raise ActionError(f"content must be text; got {type(copy['content']).__name__}")
    if not isinstance(copy.get("tool_call_id"), str | None):
        raise ActionError(f"tool_call_id must be text or missing; got {copy['tool_call_id']!r:.200}")
    try:
        check_size(copy)
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"it takes {len(text)} characters as JSON; the limit is {MAX_CHARACTERS}")
        for number, call in enumerate(calls or (), calls_so_far + 1):
            if not isinstance(call.get("id"), str) or not call["id"]:
                call["id"] = f"call{number:05d}"
            arguments_to_text(call)
        check_depth(copy)
    except ValueError as error:
        raise ActionError(f"the action cannot be logged: {error}") from error
    return copy


def arguments_to_text(call: object) -> None:
    """Replace a call's arguments by JSON text, where they are an object."""
    function = call.get("function") if isinstance(call, dict) else None
    if isinstance(function, dict) and isinstance(function.get("arguments"), dict):
        function["arguments"] = json.dumps(function["arguments"], ensure_ascii=False)


def check_size(message: Message) -> None:
    """Count the values in a message, however they are nested.

    Raises:
        ValueError: there are more than `MAX_VALUES`.
    """
    level: list[Any] = [message]
    count = 0
    while level:
        items = [item for each in level for item in (each.values() if isinstance(each, dict) else each)]
        count += len(items)
        if count > MAX_VALUES:
            raise ValueError(f"a message holds more than {MAX_VALUES} values, tool calls and what is in them included")
        level = [item for item in items if isinstance(item, dict | list)]
