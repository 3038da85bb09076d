"""Recover tool calls that verl's parsers drop, so that the policy gets an answer and its episode goes on.

verl's Hermes parser reads `<tool_call>{"name": ..., "arguments": ...}</tool_call>` and drops a block that is not valid
JSON or has no end tag. Its other parsers, which read other syntax between the same tags, drop fewer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from nano_codex_env.messages import Message, ToolCall, assistant

_BLOCK = re.compile(r"<tool_call>(.*?)(</tool_call>|$)", re.DOTALL)
_NAME = re.compile(r'"name"\s*:\s*"([^"]*)"|<function=([^>\s]*)')


def as_call(name: str, arguments: str, call_id: str | None = None) -> ToolCall:
    """A tool call with its arguments verbatim; if it has no id, the environment gives it one."""
    call: ToolCall = {"id": call_id} if call_id else {}
    return {**call, "type": "function", "function": {"name": name, "arguments": arguments}}


def as_message(text: str, content: str, calls: Sequence[ToolCall], form: str, special: Sequence[str]) -> Message:
    """The assistant message of a sampled text.

    `text` is all that was sampled; `content` and `calls` are the result of verl's parser for `form`. A token of
    `special` at the end is removed.
    """
    text, content = (part.removesuffix(next(filter(part.endswith, special), "")) for part in (text, content))
    blocks = _BLOCK.findall(text.rpartition("</think>")[2])
    if form == "hermes":
        dropped = [_recover(block) for block, end in blocks if not end or _parse(block) is None]
    else:
        dropped = [] if calls else [_recover(block) for block, _ in blocks]
    if dropped:
        content = _BLOCK.sub("", content)
    return assistant(content, *calls, *dropped)


def _parse(block: str) -> ToolCall | None:
    """The call that verl's Hermes parser reads in a block, or None."""
    try:
        value = json.loads(block)
        if isinstance(value, dict) and isinstance(value.get("name"), str) and "arguments" in value:
            return as_call(value["name"], json.dumps(value["arguments"], ensure_ascii=False))
    except (ValueError, RecursionError):
        return None
    return None


def _recover(block: str) -> ToolCall:
    """The call of a block; if it cannot be parsed, the name if it is found, and the whole block as arguments."""
    found = _NAME.search(block)
    return _parse(block) or as_call((found[1] or found[2] or "") if found else "", block.strip())
