"""The forms in which chat templates take a transcript, and transcripts put into them."""

from __future__ import annotations

import json
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from nano_codex_env.messages import Message, ToolCall, assistant, without_surrogates

REASONING = ("reasoning_content", "reasoning", "thinking")
"""The names that servers and templates have for what a model thought."""


@dataclass(frozen=True)
class Form:
    """What a template needs done to messages that came over the wire; all False: nothing, beyond what is always done.

    Those down to `parts` are tried in this order: the fewest changes win, and of as many the earlier ones.
    """

    objects: bool = False
    """Arguments are objects; as the string that the model wrote they would be encoded twice, or crash."""
    ids: bool = False
    """Calls have ids of nine alphanumerics."""
    names: bool = False
    """Tool messages name the tool."""
    apart: bool = False
    """One call a message: several in one are set apart, each before its answer."""
    folded: bool = False
    """There is no system role: what it says opens the first user message."""
    spoken: bool = False
    """Structured calls are dropped: they are written into the text, in the form that Hermes and Qwen use."""
    told: bool = False
    """There is no tool role: answers are user messages."""
    parts: bool = False
    """Content is a list of parts, as templates for pictures want it."""
    wrapped: bool = False
    """Arguments that are no JSON object are `{"malformed": "..."}`, as on the wire; with `objects` they are anyway."""
    reasoning: str | None = "reasoning_content"
    """The key of what the model thought; None: the template refuses it."""
    merged: bool = False
    """Beside calls there is either reasoning or text: the text joins the reasoning."""


def in_form(messages: Sequence[Message], form: Form) -> list[Message]:
    """The messages as `form` says."""
    made = _identified([_clean(message, form) for message in messages], form)
    if form.apart:
        made = list(_apart(made))
    if form.spoken:
        made = [_spoken(message) for message in made]
    if form.told:
        made = [_told(message) for message in made]
    if form.folded and made and made[0]["role"] == "system":
        made = [{"role": "user", "content": made[0]["content"]}, *made[1:]]
    if form.told or form.folded:
        made = _alternating(made)
    return [_in_parts(message) for message in made] if form.parts else made


def _clean(message: Message, form: Form) -> Message:
    made: Message = {"role": _whole(message.get("role")), "content": _text(message.get("content"))}
    thought = next((message[key] for key in REASONING if isinstance(message.get(key), str)), "")
    calls = [_call(call, form) for call in message.get("tool_calls") or () if isinstance(call, Mapping)]
    if thought and form.merged and calls and made["content"]:
        thought, made["content"] = f"{thought}\n\n{made['content']}", ""
    if thought and form.reasoning:
        made[form.reasoning] = without_surrogates(thought)
    if calls:
        made["tool_calls"] = calls
    for key in ("tool_call_id", "name"):
        if isinstance(message.get(key), str):
            made[key] = without_surrogates(message[key])
    return made


def _text(content: Any) -> str:
    """One text; a part that is none is told by its kind, such as [image_url]."""
    if isinstance(content, list):
        content = "".join(_words(part) for part in content)
    return without_surrogates(content) if isinstance(content, str) else ""


def _words(part: Any) -> str:
    if not isinstance(part, Mapping):
        return str(part)
    text = part.get("text")
    return text if isinstance(text, str) else f"[{part.get('type', 'part')}]"


def _call(call: Mapping[str, Any], form: Form) -> ToolCall:
    """A call with its arguments as they are needed."""
    function = call.get("function")
    function = function if isinstance(function, Mapping) else {}
    raw = function.get("arguments")
    raw = without_surrogates(
        raw if isinstance(raw, str) else json.dumps({} if raw is None else raw, ensure_ascii=False)
    )
    try:
        value = json.loads(without_surrogates(json.dumps(json.loads(raw), ensure_ascii=False)))
    except (ValueError, RecursionError, MemoryError):
        value = None
    whole = isinstance(value, dict)
    value = value if whole else {"malformed": raw}
    text = raw if whole or not form.wrapped else json.dumps(value, ensure_ascii=False)
    name = function.get("name")
    made = {"name": _whole(name) if isinstance(name, str) else "", "arguments": value if form.objects else text}
    return {**({"id": _whole(call["id"])} if "id" in call else {}), "type": "function", "function": made}


def _whole(value: Any) -> Any:
    return without_surrogates(value) if isinstance(value, str) else value


def _identified(messages: list[Message], form: Form) -> list[Message]:
    """Every answer has its call's id, and its name where that is needed; an answer without an id is the next call's."""
    count, unanswered = 0, _Waiting()
    for message in messages:
        for call in message.get("tool_calls", ()):
            count += 1
            old = call.get("id")
            if form.ids or not isinstance(old, str) or not old:
                call["id"] = f"call{count:05d}"
            unanswered.add(old, call)
        if message["role"] == "tool" and unanswered:
            answered = unanswered.take(message.get("tool_call_id"))
            message["tool_call_id"] = answered["id"]
            if form.names:
                message["name"] = answered["function"]["name"]
    return messages


class _Waiting:
    """What waits for its answer, in order; one is found in constant time, however many there are."""

    def __init__(self) -> None:
        self._items: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._places: defaultdict[object, deque[int]] = defaultdict(deque)  # an id may be there twice, or be missing
        self._count = 0

    def __len__(self) -> int:
        return len(self._items)

    def add(self, call_id: object, item: dict[str, Any]) -> None:
        """Let `item` wait for an answer to `call_id`."""
        self._count += 1
        self._items[self._count] = item
        if call_id is None or isinstance(call_id, str):
            self._places[call_id].append(self._count)

    def take(self, call_id: str | None) -> dict[str, Any]:
        """The first that waits for this answer, or else the first."""
        places = self._places[call_id]
        while places and places[0] not in self._items:
            places.popleft()
        return self._items.pop(places.popleft() if places else next(iter(self._items)))

    def drain(self) -> Iterator[dict[str, Any]]:
        """All that are left."""
        while self._items:
            yield self._items.popitem(last=False)[1]


def _apart(messages: Sequence[Message]) -> Iterator[Message]:
    """Every call in a message of its own, followed by its answer; the first keeps text and reasoning."""
    waiting = _Waiting()
    for message in messages:
        if message["role"] == "tool" and waiting:
            yield waiting.take(message["tool_call_id"])
        else:
            yield from waiting.drain()
        calls = message.get("tool_calls", [])
        if len(calls) > 1:
            for number, call in enumerate(calls):
                waiting.add(call["id"], assistant("", call) if number else {**message, "tool_calls": calls[:1]})
        else:
            yield message
    yield from waiting.drain()


def _spoken(message: Message) -> Message:
    calls = [call["function"] for call in message.get("tool_calls", ())]
    said = [f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>" for call in calls]
    kept = {key: value for key, value in message.items() if key != "tool_calls"}
    return {**kept, "content": "\n".join([*([message["content"]] if message["content"] else []), *said])}


def _told(message: Message) -> Message:
    if message["role"] != "tool":
        return message
    return {"role": "user", "content": f"<tool_response>\n{message['content']}\n</tool_response>"}


def _in_parts(message: Message) -> Message:
    return {**message, "content": [{"type": "text", "text": message["content"]}]}


def _alternating(messages: Sequence[Message]) -> list[Message]:
    """Neighbours of one role, as one message."""
    made: list[Message] = []
    for role, group in groupby(messages, key=lambda message: message["role"]):
        same = list(group)
        if role == "user":
            same = [{**same[0], "content": "\n\n".join(message["content"] for message in same)}]
        made += same
    return made
