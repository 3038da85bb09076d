"""Converts a logged transcript to the form that a chat template accepts, which is found by trying the template."""

from __future__ import annotations

import json
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby, product
from operator import itemgetter
from typing import Any

from nano_codex_env.errors import ConfigError, describe
from nano_codex_env.messages import Message, ToolCall, ToolSchema, assistant, tool_call, without_surrogates
from nano_codex_env.untrusted import check_depth

REASONING = ("reasoning_content", "reasoning", "thinking")
"""Keys under which servers and templates keep a model's reasoning."""


@dataclass(frozen=True)
class Form:
    """The changes that a template needs; all False: none, except those that are always made.

    The first eight are tried in this order: the fewest changes win, and among as many the earlier ones.
    """

    arguments_as_objects: bool = False
    """Arguments are objects; the template would encode the string that the model wrote a second time, or crash."""
    nine_character_ids: bool = False
    """Call ids are nine alphanumerics."""
    tool_names: bool = False
    """Tool messages name the tool."""
    one_call_per_message: bool = False
    """A message holds one call; several are split into messages, each followed by its answer."""
    no_system_role: bool = False
    """The system message is merged into the first user message."""
    calls_as_text: bool = False
    """Calls are written into the text, as Hermes and Qwen write them."""
    answers_as_user: bool = False
    """There is no tool role: answers are user messages."""
    content_as_parts: bool = False
    """Content is a list of parts, as templates for images want it."""
    wrap_malformed_arguments: bool = False
    """Arguments that are not a JSON object become `{"malformed": "..."}`; as objects they always do."""
    reasoning_key: str | None = "reasoning_content"
    """The key for reasoning; None: the template refuses it."""
    text_joins_reasoning: bool = False
    """A message with calls has either reasoning or text: the text is appended to the reasoning."""


def to_template_messages(messages: Sequence[Message], tokenizer: Any) -> list[Message]:
    """Return a logged transcript as `tokenizer.apply_chat_template` takes it, whatever the template.

    Always: keys that no template knows are left out, null content is "", content in text parts becomes one text, a
    lone surrogate is U+FFFD, an answer has its call's id. If needed, see `Form`: arguments as objects or strings, ids,
    one call per message, and so on; on Qwen3 none of these. The given messages are not changed.

    Raises:
        ConfigError: there is no template, or it takes no conversation with tools in any form.
    """
    return in_form(messages, form_of(tokenizer))


def in_form(messages: Sequence[Message], form: Form) -> list[Message]:
    """Return copies of the messages, changed as `form` says."""
    made = list(_matched([_cleaned(message, form) for message in messages], form))
    if form.calls_as_text:
        made = [_with_calls_as_text(message) for message in made]
    if form.answers_as_user:
        made = [_as_user(message) if message["role"] == "tool" else message for message in made]
    if form.no_system_role and made and made[0]["role"] == "system":
        made[0] = {"role": "user", "content": made[0]["content"]}
    if form.answers_as_user or form.no_system_role:
        made = list(_alternating(made))
    if form.content_as_parts:
        made = [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in made]
    return made


def _cleaned(message: Message, form: Form) -> Message:
    """Return a copy that holds only what templates know, in valid Unicode."""
    made: Message = {"role": message.get("role"), "content": _text(message.get("content"))}
    thought = reasoning_of(message)
    calls = [_call(call, form) for call in message.get("tool_calls") or () if isinstance(call, Mapping)]
    if thought and form.text_joins_reasoning and calls and made["content"]:
        thought, made["content"] = f"{thought}\n\n{made['content']}", ""
    if thought and form.reasoning_key:
        made[form.reasoning_key] = thought
    if calls:
        made["tool_calls"] = calls
    made |= {key: message[key] for key in ("tool_call_id", "name") if isinstance(message.get(key), str)}
    valid: Message = json.loads(without_surrogates(json.dumps(made, ensure_ascii=False)))
    return valid


def reasoning_of(message: Message) -> str:
    """Return a message's reasoning, under whichever key it is."""
    return next((message[key] for key in REASONING if isinstance(message.get(key), str)), "")


def _text(content: Any) -> str:
    """Return content as one text; a part that is not text is named by its type, such as [image_url]."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else ""
    parts = [part if isinstance(part, Mapping) else {"text": str(part)} for part in content]
    return "".join(
        part["text"] if isinstance(part.get("text"), str) else f"[{part.get('type', 'part')}]" for part in parts
    )


def _call(call: Mapping[str, Any], form: Form) -> ToolCall:
    """Return a call with its arguments as the form has them."""
    function = call["function"] if isinstance(call.get("function"), Mapping) else {}
    name, raw = function.get("name"), function.get("arguments")
    text = raw if isinstance(raw, str) else json.dumps({} if raw is None else raw, ensure_ascii=False)
    try:
        value = json.loads(text)
        check_depth(value)
    except (ValueError, RecursionError, MemoryError):
        value = None
    if not isinstance(value, dict):
        value = {"malformed": text}
        text = json.dumps(value, ensure_ascii=False) if form.wrap_malformed_arguments else text
    return {
        "id": call.get("id"),
        "type": "function",
        "function": {
            "name": name if isinstance(name, str) else "",
            "arguments": value if form.arguments_as_objects else text,
        },
    }


def _matched(messages: Sequence[Message], form: Form) -> Iterator[Message]:
    """Give each call an id and each answer the id of its call; split messages with several calls if the form says so.

    An answer belongs to the first unanswered call with its id, else to the first unanswered call. Each is found in
    constant time, however many there are.
    """
    count = 0
    unanswered: OrderedDict[int, ToolCall] = OrderedDict()
    by_id: defaultdict[str | None, deque[int]] = defaultdict(deque)  # an id may occur twice, or be missing
    split: OrderedDict[int, Message] = OrderedDict()
    for message in messages:
        if message["role"] == "tool" and unanswered:
            numbers = by_id[message.get("tool_call_id")]
            while numbers and numbers[0] not in unanswered:
                numbers.popleft()
            number = numbers.popleft() if numbers else next(iter(unanswered))
            call = unanswered.pop(number)
            message["tool_call_id"] = call["id"]
            if form.tool_names:
                message["name"] = call["function"]["name"]
            if split:
                yield split.pop(number if number in split else next(iter(split)))
        else:
            yield from split.values()
            split.clear()
        calls = message.get("tool_calls", [])
        divide = form.one_call_per_message and len(calls) > 1
        for place, call in enumerate(calls):
            count += 1
            unanswered[count] = call
            if call["id"] is None or isinstance(call["id"], str):
                by_id[call["id"]].append(count)
            if form.nine_character_ids or not isinstance(call["id"], str) or not call["id"]:
                call["id"] = f"call{count:05d}"
            if divide:
                split[count] = assistant("", call) if place else {**message, "tool_calls": [call]}
        if not divide:
            yield message
    yield from split.values()


def _with_calls_as_text(message: Message) -> Message:
    calls = [json.dumps(call["function"], ensure_ascii=False) for call in message.pop("tool_calls", ())]
    texts = [message["content"]] if message["content"] else []
    return {**message, "content": "\n".join([*texts, *(f"<tool_call>\n{call}\n</tool_call>" for call in calls)])}


def _as_user(answer: Message) -> Message:
    return {"role": "user", "content": f"<tool_response>\n{answer['content']}\n</tool_response>"}


def _alternating(messages: Sequence[Message]) -> Iterator[Message]:
    """Merge neighbouring user messages: these templates want roles that alternate."""
    for role, group in groupby(messages, key=itemgetter("role")):
        if role == "user":
            first, *others = group
            yield {**first, "content": "\n\n".join(message["content"] for message in (first, *others))}
        else:
            yield from group


_KNOWN: dict[tuple[type, str], Form] = {}


def form_of(tokenizer: Any) -> Form:
    """Return what the tokenizer's template needs; each template is tried once.

    Raises:
        ConfigError: there is no template, or it takes no conversation with tools in any form.
    """
    template = getattr(tokenizer, "chat_template", None)
    if not template:
        raise ConfigError(f"this {type(tokenizer).__name__} has no chat_template; set one, or use the chat model's own")
    key = (type(tokenizer), str(template))
    if key not in _KNOWN:
        _KNOWN[key] = _find_form(tokenizer)
    return _KNOWN[key]


def render(tokenizer: Any, messages: Sequence[Message], tools: Sequence[ToolSchema], **kwargs: Any) -> str:
    """Return the text that a template makes of messages in its form.

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
_IDS = ("chatcmpl-tool-5a3c0f6e1b", "chatcmpl-tool-77d1e2c94a")
_CALLS = [tool_call("shell", call_id, cmd=f"qzcall{number}") for number, call_id in enumerate(_IDS)]
_PROBE: list[Message] = [
    {"role": "system", "content": "qzsystem"},
    {"role": "user", "content": "qzuser"},
    assistant("", *_CALLS),
    *({"role": "tool", "tool_call_id": call_id, "content": f"qzanswer{number}"} for number, call_id in enumerate(_IDS)),
    assistant("qzend"),
]
_EXPECTED = ("qzsystem", "qzuser", "qzcall0", "qzcall1", "qzanswer0", "qzanswer1", "qzend")


def _find_form(tokenizer: Any) -> Form:
    """Return the form with the fewest changes in which the template renders every text of the probe."""

    def tried(messages: Sequence[Message], form: Form) -> str:
        try:
            return render(tokenizer, in_form(messages, form), PROBE_TOOLS)
        except ConfigError:
            return ""

    def is_complete(text: str) -> bool:
        return all(expected in text for expected in _EXPECTED)

    names = [field.name for field in fields(Form)][:8]
    choices = product((False, True), repeat=len(names))
    for chosen in sorted(choices, key=lambda flags: (sum(flags), [not flag for flag in flags])):
        changes: dict[str, Any] = dict(zip(names, chosen, strict=True))
        form = Form(**changes)
        text = tried(_PROBE, form)
        if is_complete(text):
            break
    else:
        render(tokenizer, in_form(_PROBE, Form()), PROBE_TOOLS)  # raises the template's own error, if it has one
        raise ConfigError("this chat template drops a part of every conversation with tools, in whatever form")

    # Strings are right only where the template renders them as it renders objects, or does not take objects.
    with_objects = replace(form, arguments_as_objects=True)
    other = tried(_PROBE, with_objects)
    if other != text and is_complete(other):
        form = with_objects
    cut = {"id": _IDS[0], "type": "function", "function": {"name": "shell", "arguments": '{"cmd": "qzcut'}}
    if "qzcut" not in tried([*_PROBE[:2], assistant("", cut), _PROBE[3], _PROBE[-1]], form):
        form = replace(form, wrap_malformed_arguments=True)

    def thinking(text: str) -> list[Message]:
        return [*_PROBE[:2], assistant(text, _CALLS[0], reasoning_content="qzthought"), _PROBE[3]]

    for key in REASONING:
        with_key = replace(form, reasoning_key=key)
        if "qzthought" in tried(thinking(""), with_key):
            both = "qzthought" in tried(thinking("qztext"), with_key)
            return with_key if both else replace(with_key, text_joins_reasoning=True)
    return form if tried(thinking(""), form) else replace(form, reasoning_key=None)
