"""Tool calls that verl's parsers drop, so that they are answered in words instead of ending the episode.

Its parser for Hermes reads `<tool_call>{"name": ..., "arguments": ...}</tool_call>` and leaves out what is no JSON or
has no end; the others, which know other forms between the same tags, leave out less.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from nano_codex_env.messages import Message, ToolCall, assistant

_BLOCK = re.compile(r"<tool_call>(.*?)(</tool_call>|$)", re.DOTALL)
_NAME = re.compile(r'"name"\s*:\s*"([^"]*)"|<function=([^>\s]*)')


def as_call(name: str, arguments: str, call_id: str | None = None) -> ToolCall:
    """A tool call with its arguments as they were written; without an id the environment gives it one."""
    call: ToolCall = {"id": call_id} if call_id else {}
    return {**call, "type": "function", "function": {"name": name, "arguments": arguments}}


def as_message(text: str, content: str, calls: Sequence[ToolCall], form: str, special: Sequence[str]) -> Message:
    """The assistant message that a text stands for.

    `text` is all that was sampled; `content` and `calls` are what verl's parser for `form` made of it. A token of
    `special` at the end is none of its words.
    """
    text, content = _without(special, text), _without(special, content)
    blocks = _BLOCK.findall(text.rpartition("</think>")[2])
    if form == "hermes":
        lost = [_lost(block) for block, end in blocks if not end or _value(block) is None]
    else:
        lost = [] if calls else [_lost(block) for block, _ in blocks]
    if lost:
        content = _BLOCK.sub("", content)
    return assistant(content, *calls, *lost)


def _without(special: Sequence[str], text: str) -> str:
    return text.removesuffix(next(filter(text.endswith, special), ""))


def _value(block: str) -> dict[str, Any] | None:
    """What verl's parser for Hermes reads, or None."""
    try:
        value = json.loads(block)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(value, dict) and isinstance(value.get("name"), str) and "arguments" in value
    return value if whole else None


def _lost(block: str) -> ToolCall:
    """The call that was meant: at worst the name as far as it can be told, and as arguments all that was written."""
    if value := _value(block):
        return as_call(value["name"], json.dumps(value["arguments"], ensure_ascii=False))
    found = _NAME.search(block)
    return as_call((found[1] or found[2] or "") if found else "", block.strip())
