"""Which form a chat template takes, found by trying it on a small conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import product
from typing import Any

from nano_codex_env.chat_templates.forms import REASONING, Form, in_form
from nano_codex_env.errors import ConfigError, describe
from nano_codex_env.messages import Message, ToolSchema, assistant, tool_call


def to_template_messages(messages: Sequence[Message], tokenizer: Any) -> list[Message]:
    """A logged transcript as `tokenizer.apply_chat_template` takes it, whatever the template.

    Always: keys that no template knows are left out, null content is "", content in text parts is one text, a lone
    surrogate is U+FFFD, an answer has its call's id. By need, see `Form`: arguments as objects or strings, ids, one
    call a message, and so on; on Qwen3 none of these. The messages given are not touched.

    Raises:
        ConfigError: there is no template, or it takes no conversation with tools in any form; its words are told.
    """
    return in_form(messages, form_of(tokenizer))


_KNOWN: dict[tuple[type, str], Form] = {}


def form_of(tokenizer: Any) -> Form:
    """What the tokenizer's template needs; tried once per template.

    Raises:
        ConfigError: there is none, or it takes no conversation with tools in any form.
    """
    template = getattr(tokenizer, "chat_template", None)
    if not template:
        raise ConfigError(
            f"this {type(tokenizer).__name__} has no chat_template; set one, or take the chat model's own"
        )
    key = (type(tokenizer), str(template))
    if key not in _KNOWN:
        _KNOWN[key] = _tried(tokenizer)
    return _KNOWN[key]


def render(tokenizer: Any, messages: Sequence[Message], tools: Sequence[ToolSchema], **kwargs: Any) -> str:
    """The text that a template makes of messages in its form.

    Raises:
        ConfigError: the template refuses them.
    """
    try:
        text = tokenizer.apply_chat_template(list(messages), tools=list(tools) or None, tokenize=False, **kwargs)
    except ConfigError:
        raise
    except Exception as error:  # a template is somebody else's program
        raise ConfigError(f"the chat template refuses this transcript: {describe(error)}") from error
    return str(text)


PROBE_TOOLS: list[ToolSchema] = [
    {
        "type": "function",
        "function": {
            "name": "shell",
            "description": "qztool looks",
            "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}, "required": ["cmd"]},
        },
    }
]
_LONG = ("chatcmpl-tool-5a3c0f6e1b", "chatcmpl-tool-77d1e2c94a")
_CALLS = tuple(tool_call("shell", name, cmd=f"qzcall{number}") for number, name in enumerate(_LONG))
_PROBE: list[Message] = [
    {"role": "system", "content": "qzsystem"},
    {"role": "user", "content": "qzuser"},
    assistant("", *_CALLS),
    *({"role": "tool", "tool_call_id": name, "content": f"qzanswer{n}"} for n, name in enumerate(_LONG)),
    assistant("qzend"),
]
_SAID = ("qzsystem", "qzuser", "qzcall0", "qzcall1", "qzanswer0", "qzanswer1", "qzend")


def _tried(tokenizer: Any) -> Form:
    """The form with the fewest changes in which the template renders all that the probe says."""
    changes = [field.name for field in fields(Form)][:8]
    every = product((False, True), repeat=len(changes))
    for chosen in sorted(every, key=lambda flags: (sum(flags), [not flag for flag in flags])):
        made: dict[str, Any] = dict(zip(changes, chosen, strict=True))
        form = Form(**made)
        text = _try(tokenizer, _PROBE, form)
        if all(word in text for word in _SAID):
            return _with_thought(tokenizer, _with_arguments(tokenizer, form, text))
    render(tokenizer, in_form(_PROBE, Form()), PROBE_TOOLS)  # the template's own words, if it has any
    raise ConfigError("this chat template drops a part of every conversation with tools, in whatever form")


def _with_arguments(tokenizer: Any, form: Form, text: str) -> Form:
    """Strings are right only where they come out as objects do, or where objects do not come out."""
    other = replace(form, objects=True)
    made = _try(tokenizer, _PROBE, other)
    if made != text and all(word in made for word in _SAID):
        form = other
    cut = assistant(
        "", {"id": _LONG[0], "type": "function", "function": {"name": "shell", "arguments": '{"cmd": "qzcut'}}
    )
    answered = [*_PROBE[:2], cut, _PROBE[3], _PROBE[-1]]
    return form if "qzcut" in _try(tokenizer, answered, form) else replace(form, wrapped=True)


def _with_thought(tokenizer: Any, form: Form) -> Form:
    """Under which name reasoning is rendered, and whether text may stand beside it."""
    for name in REASONING:
        tried = replace(form, reasoning=name)
        if "qzthought" in _try(tokenizer, _thinking(""), tried):
            words = _try(tokenizer, _thinking("qztext"), tried)
            return tried if "qzthought" in words else replace(tried, merged=True)
    return form if _try(tokenizer, _thinking(""), form) else replace(form, reasoning=None)


def _thinking(text: str) -> list[Message]:
    thought = assistant(text, _CALLS[0], reasoning_content="qzthought")
    return [*_PROBE[:2], thought, _PROBE[3]]


def _try(tokenizer: Any, messages: Sequence[Message], form: Form) -> str:
    """The text, or nothing where the template refuses."""
    try:
        return render(tokenizer, in_form(messages, form), PROBE_TOOLS)
    except ConfigError:
        return ""
