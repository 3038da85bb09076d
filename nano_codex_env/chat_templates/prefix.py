"""Finds turns that a chat template rewrites: their prompt is not a prefix of what is rendered later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nano_codex_env.chat_templates.forms import REASONING, reasoning_of, render, to_template_messages
from nano_codex_env.errors import ConfigError
from nano_codex_env.messages import Message, ToolSchema
from nano_codex_env.tokens import common_length

KEEP = (
    "train on the ids that were sampled (ChatPolicy(return_tokens=True), Trajectory.to_training_example), or serve and "
    "train with a template that keeps the past (TRL: trl.chat_template_utils.get_training_chat_template(tokenizer))"
)


@dataclass(frozen=True)
class Turn:
    """One assistant message, and whether the template renders it the same later."""

    number: int
    """Counted from 1."""
    message: int
    """Its index among the messages, from 0."""
    problem: str | None = None
    """What is rewritten; None: the turn's prompt, its text and what follows are one growing text."""
    advice: str | None = None
    """What to do about it."""

    @property
    def kept(self) -> bool:
        """Whether nothing is rewritten."""
        return self.problem is None


def check_prefix(messages: Sequence[Message], tools: Sequence[ToolSchema], tokenizer: Any, **kwargs: Any) -> list[Turn]:
    """Check for each turn of a transcript whether later prompts still hold exactly what the model read and wrote.

    It compares text, in the form of `to_template_messages`; `kwargs` are the template's (`enable_thinking`). A turn
    that is kept can still have been sampled as other ids than its text has now: only ids are exact.

    Raises:
        ConfigError: the tokenizer has no template that takes conversations with tools.
    """
    to_template_messages([], tokenizer)  # raises if the template cannot be used at all
    found = with_reasoning = without = _problems(messages, tools, tokenizer, kwargs)
    if any(found.values()):
        without = _problems([without_reasoning(message) for message in messages], tools, tokenizer, kwargs)
        thinking = [
            message if message.get("role") != "assistant" or reasoning_of(message) else {**message, REASONING[0]: "So."}
            for message in messages
        ]
        with_reasoning = _problems(thinking, tools, tokenizer, kwargs)
    turns = []
    for number, (place, problem) in enumerate(found.items(), 1):
        advice = _advice(messages[place:], with_reasoning[place], without[place]) if problem else None
        turns.append(Turn(number, place, problem, advice))
    return turns


def without_reasoning(message: Message) -> Message:
    """Return a copy of a message without its reasoning."""
    return {key: value for key, value in message.items() if key not in REASONING}


def _problems(
    messages: Sequence[Message], tools: Sequence[ToolSchema], tokenizer: Any, kwargs: Mapping[str, Any]
) -> dict[int, str | None]:
    """Return what is rewritten of each assistant message, by the message's index."""

    def shown(count: int, **more: Any) -> str:
        return render(tokenizer, to_template_messages(messages[:count], tokenizer), tools, **kwargs, **more)

    places = [number for number, message in enumerate(messages) if message.get("role") == "assistant"]
    found: dict[int, str | None] = {}
    for place, following in zip(places, [*places, len(messages)][1:], strict=True):
        try:
            prompt, answered = shown(place, add_generation_prompt=True), shown(place + 1)
            later = shown(following, add_generation_prompt=following < len(messages))
        except ConfigError as error:
            found[place] = str(error)
            continue
        found[place] = None
        if not answered.startswith(prompt):
            found[place] = f"what the model said is not rendered after its prompt: {_change(prompt, answered)}"
        elif not later.startswith(answered.rstrip()):  # the line end after a last message is not part of it
            found[place] = f"it is rewritten once there are messages up to {following - 1}: {_change(answered, later)}"
        elif reasoning_of(messages[place]).strip() not in answered:
            found[place] = "its reasoning is not rendered: later turns read less than the model wrote"
    return found


def _change(before: str, after: str) -> str:
    place = common_length(before, after)
    return f"{before[place : place + 40]!r} became {after[place : place + 40]!r}"


def _advice(messages: Sequence[Message], with_reasoning: str | None, without: str | None) -> str:
    """Return what to do about the first message; the other arguments are its problem with and without reasoning."""
    if with_reasoning is None:
        return (
            "keep what the model thinks: with `reasoning_content` in every assistant message this turn stays as it was "
            f"(vLLM: --reasoning-parser); or {KEEP}"
        )
    if without is None:
        return (
            "its prompt leaves no room for the reasoning in the message: check with the arguments that the server "
            f"gave the template (enable_thinking), or {KEEP}"
        )
    following = next((message for message in messages if message.get("role") != "assistant"), {})
    if following.get("role") == "user":
        return f"a new user message ends the tool loop and drops the reasoning: answer by tool messages, or {KEEP}"
    if len(messages[0].get("tool_calls") or ()) > 1:
        return f"this template takes one call a message, and this one made several; {KEEP}"
    return KEEP
