"""A transcript as text for people; control characters other than newlines and tabs are escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from nano_codex_env.messages import Message, without_surrogates
from nano_codex_env.untrusted import for_terminal, on_one_line, parse_json


def as_text(messages: Iterable[Message]) -> str:
    """The transcript as printable text: each message under a line with its role."""
    return "\n".join(f"── {_title(message)} ──\n{_body(message)}" for message in messages)


def print_message(message: Message) -> None:
    """Print one message, in colour on a terminal."""
    from rich.console import Console
    from rich.text import Text

    colour = {"system": "dim", "user": "cyan", "assistant": "green", "tool": "yellow"}.get(str(message.get("role")), "")
    console = Console(highlight=False, soft_wrap=True)
    title, body = (
        text.encode(console.encoding, "backslashreplace").decode(console.encoding)  # not every terminal is UTF-8
        for text in (_title(message), _body(message).rstrip("\n"))
    )
    console.rule(Text(title, style=colour), style=colour, align="left")
    console.print(Text(body, style="dim" if message.get("role") == "system" else ""))


def _title(message: Message) -> str:
    call_id = message.get("tool_call_id")
    return on_one_line(f"{message.get('role', '?')}{f' ({call_id})' if call_id else ''}")


def _body(message: Message) -> str:
    reasoning = [message[key] for key in ("reasoning_content", "reasoning") if isinstance(message.get(key), str)]
    content = message.get("content")
    parts = [f"[thinking]\n{text}" for text in reasoning if text]
    parts += [content if isinstance(content, str) else json.dumps(content)] if content else []
    parts += [_call(call) for call in message.get("tool_calls") or ()]
    return for_terminal(without_surrogates("\n".join(parts) + "\n"))


def _call(call: Any) -> str:
    """A readable call: the shell's command as typed, a patch as search and replace."""
    function = call.get("function") if isinstance(call, dict) else None
    name, raw = (function.get("name"), function.get("arguments")) if isinstance(function, dict) else ("?", call)
    try:
        arguments = parse_json(raw) if isinstance(raw, str) else None
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        return f"→ {name} {raw}"
    if list(arguments) == ["cmd"]:
        return f"→ {name}: {arguments['cmd']}"
    return "\n".join([f"→ {name}", *(f"  {key}: {_indented(value)}" for key, value in arguments.items())])


def _indented(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    lines = text.split("\n")
    return text if len(lines) == 1 else "\n" + "\n".join(f"    {line}" for line in lines)
