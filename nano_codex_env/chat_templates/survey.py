"""Tries a chat template on a sample transcript: one row of the table that `nano-codex templates` prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from nano_codex_env.chat_templates.forms import PROBE_TOOLS, Form, form_of, render, to_template_messages
from nano_codex_env.chat_templates.prefix import check_prefix, without_reasoning
from nano_codex_env.errors import ConfigError
from nano_codex_env.messages import Message, assistant, tool_call

_IDS = [f"chatcmpl-tool-{number}a1b2c3d4e5f" for number in range(4)]
_PATCH = {"search": 'say("caf\u00e9")\n', "replace": "say('qzpatch \u2192 \u4e2d\u6587')\n", "file": "a b.py"}
_CUT_OFF = {"id": _IDS[2], "type": "function", "function": {"name": "shell", "arguments": '{"cmd": "qzcut'}}
_PATCHED = {
    "id": _IDS[3],
    "type": "function",
    "function": {"name": "apply_patch", "arguments": json.dumps(_PATCH, ensure_ascii=False)},
}

SAMPLE: list[Message] = [
    {"role": "system", "content": "You mend repositories: qzsystem."},
    {"role": "user", "content": "qzissue: caf\u00e9 is printed as mojibake \U0001f600"},
    {
        "role": "assistant",
        "content": None,
        "reasoning": "qzthought1 <look>",
        "tool_calls": [
            tool_call("shell", _IDS[0], cmd="grep -rn 'qzfirst' . | head"),
            tool_call("shell", _IDS[1], cmd="qzsecond"),
        ],
        "refusal": None,
        "annotations": [],
        "provider_specific_fields": {"stop": None},
    },
    {"role": "tool", "tool_call_id": _IDS[0], "content": "  qzfound \u00e9\t\u4e2d\n[exit 0]"},
    {"role": "tool", "tool_call_id": _IDS[1], "content": "qzmissing\n[exit 127]"},
    assistant("", _CUT_OFF, reasoning_content="qzthought2"),
    {"role": "tool", "tool_call_id": _IDS[2], "content": "error: qzbadjson"},
    assistant("", _PATCHED, reasoning_content="qzthought3"),
    {"role": "tool", "tool_call_id": _IDS[3], "content": "ok \U0001f44d qzpatched"},
    assistant([{"type": "text", "text": "qzdone"}], reasoning_content="qzthought4"),  # type: ignore[arg-type]
]
"""A transcript with everything that transcripts hold: calls, two of them at once, results, reasoning under two keys,
text that is not ASCII, a call that was cut off, null, parts, ids and keys of a server's own."""

_EXPECTED = (
    *("qzsystem", "qzissue", "qzfirst", "qzsecond", "qzfound", "qzmissing", "qzcut", "qzbadjson", "qzpatch"),
    *("qzpatched", "qzdone", "\U0001f600", "\u4e2d", "\U0001f44d"),
)


@dataclass(frozen=True)
class Row:
    """What a template does with the sample transcript."""

    name: str
    declares: bool
    """Whether it shows the tools to the model."""
    refusal: str | None
    """Why it does not render the sample transcript; None: it does, and nothing but reasoning is lost."""
    form: Form | None = None
    reasoning: str = ""
    """Turns whose reasoning is rendered at the end of an episode; -: none."""
    with_reasoning: str = ""
    """Whether the past of a model that reasons is kept: yes, or the turns that are rewritten; -: it cannot reason."""
    without: str = ""
    """The same for a model that does not reason."""
    across: str = ""
    """The same with a user message after the first two turns; for a model that reasons, if the template renders it."""

    @property
    def for_tools(self) -> bool:
        """Whether it is a template for tools: it shows them, or renders calls."""
        return self.declares or self.calls == "yes"

    @property
    def calls(self) -> str:
        """How calls are rendered."""
        if self.form is None or self.refusal:
            return "no"
        return "as text" if self.form.calls_as_text else "yes"

    @property
    def changes(self) -> str:
        """The changes that `to_template_messages` makes for it."""
        return " ".join(field.name for field in fields(Form) if getattr(self.form, field.name, None) is True) or "-"


def check_template(name: str, tokenizer: Any) -> Row:
    """Try the sample transcript on a template."""
    try:
        declares = "qztool" in render(tokenizer, [{"role": "user", "content": "hello"}], PROBE_TOOLS)
    except ConfigError:
        declares = False
    try:
        form = form_of(tokenizer)
        text = render(tokenizer, to_template_messages(SAMPLE, tokenizer), PROBE_TOOLS)
    except ConfigError as error:
        return Row(name, declares, str(error))
    # A template that takes one call per message would always be found to rewrite: leave the second call out.
    thinking = [message for message in SAMPLE if message.get("tool_call_id") != _IDS[1]]
    thinking[2] = {**thinking[2], "tool_calls": thinking[2]["tool_calls"][:1]}
    said = assistant("qzsaid", reasoning_content="qzthought")
    interrupted = [*thinking[:4], said, {"role": "user", "content": "go on"}, *thinking[4:]]
    turns = "".join(str(number) for number in range(1, 5) if f"qzthought{number}" in text)
    lost = [expected for expected in _EXPECTED if expected not in text]
    return Row(
        name,
        declares=declares,
        refusal=f"lost: {', '.join(lost)}" if lost else None,
        form=form,
        reasoning=turns or "-",
        with_reasoning=_kept(thinking, tokenizer, reasoning=True) if turns else "-",
        without=_kept(thinking, tokenizer, reasoning=False),
        across=_kept(interrupted, tokenizer, reasoning=bool(turns)),
    )


def _kept(messages: Sequence[Message], tokenizer: Any, *, reasoning: bool) -> str:
    if not reasoning:
        messages = [without_reasoning(message) for message in messages]
    rewritten = [str(turn.number) for turn in check_prefix(messages, PROBE_TOOLS, tokenizer) if not turn.kept]
    return "turns " + ",".join(rewritten) if rewritten else "yes"
