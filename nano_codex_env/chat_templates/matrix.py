"""What a chat template makes of our transcripts: a row of the matrix that `nano-codex templates` prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from nano_codex_env.chat_templates.forms import Form
from nano_codex_env.chat_templates.prefix import check_prefix
from nano_codex_env.chat_templates.probe import PROBE_TOOLS, form_of, render, to_template_messages
from nano_codex_env.errors import ConfigError
from nano_codex_env.messages import Message, assistant, tool_call

_PATCH = {"search": 'say("caf\u00e9")\n', "replace": "say('qzpatch \u2192 \u4e2d\u6587')\n", "file": "a b.py"}
_CUT = '{"cmd": "qzcut'


def _call(name: str, raw: str, call_id: str) -> Any:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": raw}}


SAMPLE: list[Message] = [
    {"role": "system", "content": "You mend repositories: qzsystem."},
    {"role": "user", "content": "qzissue: caf\u00e9 is printed as mojibake \U0001f600"},
    {
        "role": "assistant",
        "content": None,
        "reasoning": "qzthought1 <look>",
        "tool_calls": [
            tool_call("shell", "chatcmpl-tool-0a1b2c3d4e5f", cmd="grep -rn 'qzfirst' . | head"),
            tool_call("shell", "chatcmpl-tool-1a1b2c3d4e5f", cmd="qzsecond"),
        ],
        "refusal": None,
        "annotations": [],
        "provider_specific_fields": {"stop": None},
    },
    {"role": "tool", "tool_call_id": "chatcmpl-tool-0a1b2c3d4e5f", "content": "  qzfound \u00e9\t\u4e2d\n[exit 0]"},
    {"role": "tool", "tool_call_id": "chatcmpl-tool-1a1b2c3d4e5f", "content": "qzmissing\n[exit 127]"},
    assistant("", _call("shell", _CUT, "chatcmpl-tool-2a1b2c3d4e5f"), reasoning_content="qzthought2"),
    {"role": "tool", "tool_call_id": "chatcmpl-tool-2a1b2c3d4e5f", "content": "error: qzbadjson"},
    assistant(
        "",
        _call("apply_patch", json.dumps(_PATCH, ensure_ascii=False), "chatcmpl-tool-3a1b2c3d4e5f"),
        reasoning_content="qzthought3",
    ),
    {"role": "tool", "tool_call_id": "chatcmpl-tool-3a1b2c3d4e5f", "content": "ok \U0001f44d qzpatched"},
    assistant([{"type": "text", "text": "qzdone"}], reasoning_content="qzthought4"),  # type: ignore[arg-type]
]
"""A transcript with all that transcripts hold: calls, two of them at once, results, reasoning under two names, text
that is not ASCII, a call that was cut off, null, parts, ids and keys of a server's own."""

_SAID = (
    "qzsystem", "qzissue", "qzfirst", "qzsecond", "qzfound", "qzmissing", "qzcut", "qzbadjson", "qzpatch", "qzpatched",
    "qzdone",
)  # fmt: skip
_UNICODE = ("\U0001f600", "\u4e2d", "\U0001f44d")


@dataclass(frozen=True)
class Row:
    """One template."""

    name: str
    declares: bool
    """Whether it shows the tools to the model: a template for tools."""
    refusal: str | None
    """Why it does not render the sample transcript; None: it does, and nothing but reasoning is lost."""
    form: Form | None = None
    reasoning: str = ""
    """Turns whose reasoning is rendered at the end of an episode; -: none."""
    with_reasoning: str = ""
    """Whether the past of a model that thinks is kept: yes, or the turns that are rewritten; -: it cannot think."""
    without: str = ""
    """The same of a model that does not think."""
    across: str = ""
    """The same where a user message comes after the first two turns; of a model that thinks, where it renders that."""

    @property
    def for_tools(self) -> bool:
        """Whether it is a template for tools: it shows them, or renders calls."""
        return self.declares or self.calls == "yes"

    @property
    def calls(self) -> str:
        """How calls are rendered."""
        if self.form is None or self.refusal:
            return "no"
        return "as text" if self.form.spoken else "yes"

    @property
    def changes(self) -> str:
        """What `to_template_messages` changes for it."""
        made = [field.name for field in fields(Form) if getattr(self.form, field.name, False) is True]
        return " ".join(made) or "-"


def check_template(name: str, tokenizer: Any) -> Row:
    """Try the sample transcript on a template."""
    try:
        form = form_of(tokenizer)
        text = render(tokenizer, to_template_messages(SAMPLE, tokenizer), PROBE_TOOLS)
    except ConfigError as error:
        return Row(name, _declares(tokenizer), str(error))
    thinks = "".join(str(n) for n in range(1, 5) if f"qzthought{n}" in text)
    lost = [word for word in (*_SAID, *_UNICODE) if word not in text]
    return Row(
        name,
        declares=_declares(tokenizer),
        refusal=f"lost: {', '.join(lost)}" if lost else None,
        form=form,
        reasoning=thinks or "-",
        with_reasoning=_kept(_one_call(SAMPLE), tokenizer) if thinks else "-",
        without=_kept(_one_call(SAMPLE, _silent), tokenizer),
        across=_kept(_interrupted(dict if thinks else _silent), tokenizer),
    )


def _declares(tokenizer: Any) -> bool:
    try:
        return "qztool" in render(tokenizer, [{"role": "user", "content": "hello"}], PROBE_TOOLS)
    except ConfigError:
        return False


def _silent(message: Message) -> Message:
    return {key: value for key, value in message.items() if not key.startswith("reasoning")}


def _one_call(messages: Sequence[Message], change: Callable[[Message], Message] = dict) -> list[Message]:
    """The sample without its second call: a template that takes one call a message would always be found to rewrite."""
    made = [change(message) for message in messages if message.get("tool_call_id") != "chatcmpl-tool-1a1b2c3d4e5f"]
    return [
        {**message, "tool_calls": message["tool_calls"][:1]} if "tool_calls" in message else message for message in made
    ]


def _interrupted(change: Callable[[Message], Message]) -> list[Message]:
    before, said = _one_call(SAMPLE, change), assistant("qzsaid", reasoning_content="qzthought")
    return [*before[:4], change(said), {"role": "user", "content": "go on"}, *before[4:]]


def _kept(messages: Sequence[Message], tokenizer: Any) -> str:
    rewritten = [str(turn.number) for turn in check_prefix(messages, PROBE_TOOLS, tokenizer) if not turn.kept]
    return "turns " + ",".join(rewritten) if rewritten else "yes"
