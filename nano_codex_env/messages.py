"""Chat messages and tool calls in the OpenAI shape, and how an action becomes an assistant message."""

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
"""Values in one message, calls and what they hold included: in memory each takes many times the bytes it came in."""
MAX_CHARACTERS = 30 << 20
"""Of one message as JSON: its line in a log, where a call's arguments may take twice that, can be read again."""


def dumps(value: object) -> str:
    """JSON on one line of plain ASCII, keys in the order given: survives any reader and any text."""
    return json.dumps(value, ensure_ascii=True)


def without_surrogates(text: str) -> str:
    """The text as UTF-8 can hold it: a lone surrogate is U+FFFD."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def tool_call(name: str, call_id: str | None = None, /, **arguments: Any) -> ToolCall:
    """A tool call as a model would make it; an argument may have any name.

    >>> tool_call("shell", cmd="ls")
    {'type': 'function', 'function': {'name': 'shell', 'arguments': '{"cmd": "ls"}'}}
    """
    call: ToolCall = {} if call_id is None else {"id": call_id}
    return call | {"type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


def assistant(content: str = "", *calls: ToolCall, **extra: Any) -> Message:
    """An assistant message; without calls it submits."""
    message: Message = {"role": "assistant", "content": content, **extra}
    return message | ({"tool_calls": list(calls)} if calls else {})


def tool_answer(call: ToolCall, content: str) -> Message:
    """The tool message that answers `call`."""
    return {"role": "tool", "tool_call_id": call["id"], "content": content}


def as_assistant(action: object, calls_so_far: int) -> Message:
    """The assistant message that `action` stands for, in a copy of its own, each call with an id.

    `action` is one tool call or a whole assistant message; whatever else it holds is kept as it came. A call
    without an id gets `call00001` and so on, counted from `calls_so_far` (Mistral's templates demand exactly
    nine alphanumerics); arguments given as an object become the JSON string that the wire format wants.

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
    _check_keys(copy)
    try:
        check_size(copy)
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"it takes {len(text)} characters as JSON; the limit is {MAX_CHARACTERS}")
        for number, call in enumerate(copy.get("tool_calls") or (), calls_so_far + 1):
            _complete(call, number)
        check_depth(copy)
    except ValueError as error:
        raise ActionError(f"the action cannot be logged: {error}") from error
    return copy


def check_size(message: Message) -> None:
    """Count the values in a message, however they are nested.

    Raises:
        ValueError: they are more than `MAX_VALUES`.
    """
    level: list[Any] = [message]
    count = 0
    while level:
        items = [item for each in level for item in (each.values() if isinstance(each, dict) else each)]
        count += len(items)
        if count > MAX_VALUES:
            raise ValueError(f"a message holds more than {MAX_VALUES} values, tool calls and what is in them included")
        level = [item for item in items if isinstance(item, dict | list)]


def _check_keys(message: Message) -> None:
    calls = message.get("tool_calls")
    if calls is not None and not (isinstance(calls, list) and all(isinstance(call, dict) for call in calls)):
        raise ActionError(f"tool_calls must be a list of tool calls (dicts); got {calls!r:.200}")
    if not isinstance(message.get("content"), str | list | None):
        raise ActionError(f"content must be text; got {type(message['content']).__name__}")
    if not isinstance(message.get("tool_call_id"), str | None):
        raise ActionError(f"tool_call_id must be text, or not be there; got {message['tool_call_id']!r:.200}")


def _complete(call: ToolCall, number: int) -> None:
    if not isinstance(call.get("id"), str) or not call["id"]:
        call["id"] = f"call{number:05d}"
    function = call.get("function")
    if isinstance(function, dict) and isinstance(function.get("arguments"), dict):
        function["arguments"] = json.dumps(function["arguments"], ensure_ascii=False)
