"""Where a chat template rewrites the past: turns whose prompt is no beginning of what comes later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nano_codex_env.chat_templates.forms import REASONING
from nano_codex_env.chat_templates.probe import render, to_template_messages
from nano_codex_env.errors import ConfigError
from nano_codex_env.messages import Message, ToolSchema

KEEP = (
    "train on the ids that were sampled (ChatPolicy(return_tokens=True), Trajectory.to_training_example), or serve and "
    "train with a template that keeps the past (TRL: trl.chat_template_utils.get_training_chat_template(tokenizer))"
)
_THOUGHT = "So."


@dataclass(frozen=True)
class Turn:
    """One assistant message, and what the template makes of it later."""

    number: int
    """Counted from 1."""
    message: int
    """Its place among the messages, from 0."""
    problem: str | None = None
    """What is rewritten; None: the turn's prompt, its text and what follows are one growing text."""
    advice: str | None = None
    """What to do about it."""

    @property
    def kept(self) -> bool:
        """Whether nothing is rewritten."""
        return self.problem is None


def check_prefix(messages: Sequence[Message], tools: Sequence[ToolSchema], tokenizer: Any, **kwargs: Any) -> list[Turn]:
    """Every turn of a transcript: whether what the model read and wrote then is still there, to the letter, later.

    What it compares is text, in the form of `to_template_messages`; `kwargs` are the template's (`enable_thinking`).
    A turn that is kept can still have been sampled as other ids than its text has now: only ids are exact.

    Raises:
        ConfigError: the tokenizer has no template that takes conversations with tools.
    """
    found = _problems(messages, tools, tokenizer, kwargs)
    with_thought = with_none = None
    if any(found.values()):
        with_thought = _problems([_thoughtful(message) for message in messages], tools, tokenizer, kwargs)
        with_none = _problems([_thoughtless(message) for message in messages], tools, tokenizer, kwargs)
    turns = []
    for number, (place, problem) in enumerate(found.items(), 1):
        advice = None
        if problem and with_thought and with_none:
            advice = _advice(messages, place, with_thought[place], with_none[place])
        turns.append(Turn(number, place, problem, advice))
    return turns


def _problems(
    messages: Sequence[Message], tools: Sequence[ToolSchema], tokenizer: Any, kwargs: Mapping[str, Any]
) -> dict[int, str | None]:
    """What is rewritten of each assistant message, by its place."""

    def shown(count: int, **more: Any) -> str:
        return render(tokenizer, to_template_messages(messages[:count], tokenizer), tools, **kwargs, **more)

    to_template_messages([], tokenizer)  # raises where the template is of no use at all
    places = [number for number, message in enumerate(messages) if message.get("role") == "assistant"]
    found: dict[int, str | None] = {}
    for place, following in zip(places, [*places, len(messages)][1:], strict=True):
        try:
            prompt, spoken = shown(place, add_generation_prompt=True), shown(place + 1)
            later = shown(following, add_generation_prompt=following < len(messages))
        except ConfigError as error:
            found[place] = str(error)
            continue
        found[place] = _compared(prompt, spoken, later, following - 1) or _unread(messages[place], spoken)
    return found


def _compared(prompt: str, spoken: str, later: str, last: int) -> str | None:
    if not spoken.startswith(prompt):
        return f"what the model said is not rendered after its prompt: {_departure(prompt, spoken)}"
    if not later.startswith(spoken.rstrip()):  # the line's end after a last message is no part of what was said
        return f"it is rewritten once there are messages up to {last}: {_departure(spoken, later)}"
    return None


def _unread(message: Message, spoken: str) -> str | None:
    thought = next((message[key] for key in REASONING if isinstance(message.get(key), str)), "").strip()
    return None if thought in spoken else "its reasoning is not rendered: later turns read less than the model wrote"


def _departure(before: str, after: str) -> str:
    place = next(
        (n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    return f"{before[place : place + 40]!r} became {after[place : place + 40]!r}"


def _advice(messages: Sequence[Message], place: int, with_thought: str | None, with_none: str | None) -> str:
    if with_thought is None:
        return (
            "keep what the model thinks: with `reasoning_content` in every assistant message this turn stays as it was "
            f"(vLLM: --reasoning-parser); or {KEEP}"
        )
    if with_none is None:
        return (
            "its prompt leaves no room for the reasoning that the message holds: check with the arguments that the "
            f"server gave the template (enable_thinking), or {KEEP}"
        )
    following = next((message for message in messages[place + 1 :] if message.get("role") != "assistant"), None)
    if following is not None and following.get("role") == "user":
        return f"a new user message ends the tool loop and drops what was thought: answer by tool messages, or {KEEP}"
    if len(messages[place].get("tool_calls") or ()) > 1:
        return f"this template takes one call a message, and this one made several; {KEEP}"
    return KEEP


def _thoughtful(message: Message) -> Message:
    if message.get("role") != "assistant" or any(message.get(key) for key in REASONING):
        return message
    return {**message, "reasoning_content": _THOUGHT}


def _thoughtless(message: Message) -> Message:
    return {key: value for key, value in message.items() if key not in REASONING}
