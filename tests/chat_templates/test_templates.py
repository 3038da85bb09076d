"""Chat templates: any logged transcript in the form that each of them takes, and where one rewrites the past."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env.chat_templates import (
    Form,
    Template,
    check_prefix,
    check_template,
    form_of,
    load_templates,
    to_template_messages,
)
from nano_codex_env.chat_templates.survey import SAMPLE
from nano_codex_env.cli import main
from nano_codex_env.errors import ConfigError
from nano_codex_env.messages import Message, assistant
from nano_codex_env.tools import Toolbox, default_tools

pytest.importorskip("jinja2", reason="jinja2 is not installed: pip install 'nano-codex-env[templates]'")

TOOLS = Toolbox(default_tools()).schemas
LS = '{"cmd": "ls"}'
CUT = '{"cmd": "ls'
BROKEN = ["[1]", "null", CUT, "", "\ud800"]


def template(arguments: str, *, call: str = "", message: str = "", before: str = "", turn: str = "") -> str:
    """A chat template in Qwen's manner; `arguments` renders those of a `call`, the rest is put where its name says."""
    return (
        "{%- if tools %}{{ tools | tojson }}\n{% endif -%}"
        + before
        + "{%- for message in messages -%}"
        + message
        + "<{{ message.role }}>"
        + (turn or "{{ message.content }}")
        + "{%- for call in message.tool_calls or [] -%}"
        + call
        + "[{{ call.function.name }} "
        + arguments
        + "]{%- endfor -%}{{ '<end>\n' }}"
        + "{%- endfor -%}{%- if add_generation_prompt %}<assistant>{% endif -%}"
    )


DUMPED = "{{ call.function.arguments | tojson }}"
AS_IT_IS = "{{ call.function.arguments if call.function.arguments is string else call.function.arguments | tojson }}"
ITEMS = "{% for name, value in call.function.arguments.items() %}{{ name }}={{ value }}{% endfor %}"
JOINED = "{{ 'args: ' + call.function.arguments }}"
PARSED = "{% if call.function.arguments[-1] != '}' %}{{ raise_exception('no JSON') }}{% endif %}" + JOINED
NINE = "{% if call.id | length != 9 %}{{ raise_exception('ids have length 9') }}{% endif %}{{ call.id }}"
ONE = "{% if message.tool_calls | length > 1 %}{{ raise_exception('one call at a time') }}{% endif %}"
NO_SYSTEM = "{% if message.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
NAMED = "{% if message.role == 'tool' %}{{ message.name + ' ' }}{% endif %}"
CHAT = "{%- for message in messages -%}<{{ message.role }}>{{ message.content }}<end>\n{%- endfor -%}"
TEXT_ONLY = CHAT.replace(
    "<{{ message.role }}>",
    "{% if message.role not in ['user', 'assistant'] or (loop.index0 % 2 == 0) != (message.role == 'user') %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}<{{ message.role }}>",
)
PARTS = template(DUMPED, turn="{% for part in message.content %}{{ part['text'] + '' }}{% endfor %}")
ANALYSIS = (
    "{% if message.content and message.thinking and message.tool_calls %}{{ raise_exception('not both') }}{% endif %}"
)
THOUGHT = "{% if message.thinking %}(thought: {{ message.thinking }}){% endif %}{{ message.content }}"

FORMS = {
    "as it is": (template(AS_IT_IS), Form()),
    "dumped": (template(DUMPED), Form(arguments_as_objects=True)),
    "items": (template(ITEMS), Form(arguments_as_objects=True)),
    "joined": (template(JOINED), Form()),
    "parsed": (template(PARSED), Form(wrap_malformed_arguments=True)),
    "nine": (template(DUMPED, call=NINE), Form(arguments_as_objects=True, nine_character_ids=True)),
    "named": (template(AS_IT_IS, message=NAMED), Form(tool_names=True)),
    "one call": (template(DUMPED, message=ONE), Form(arguments_as_objects=True, one_call_per_message=True)),
    "no system": (template(AS_IT_IS, message=NO_SYSTEM), Form(no_system_role=True)),
    "no calls": (CHAT, Form(arguments_as_objects=True, calls_as_text=True)),
    "text only": (
        TEXT_ONLY,
        Form(arguments_as_objects=True, no_system_role=True, calls_as_text=True, answers_as_user=True),
    ),
    "parts": (PARTS, Form(arguments_as_objects=True, content_as_parts=True)),
    "thinking": (template(AS_IT_IS, turn=THOUGHT), Form(reasoning_key="thinking")),
    "either": (
        template(AS_IT_IS, message=ANALYSIS, turn=THOUGHT),
        Form(reasoning_key="thinking", text_joins_reasoning=True),
    ),
}


def call(arguments: str, name: str = "chatcmpl-tool-1") -> dict[str, Any]:
    return {"id": name, "type": "function", "function": {"name": "shell", "arguments": arguments}}


def talk(*calls: dict[str, Any], **extra: Any) -> list[Message]:
    """A system and a user message, one with calls, its answers, a last word."""
    answers = [{"role": "tool", "tool_call_id": made["id"], "content": f"answer {n}"} for n, made in enumerate(calls)]
    return [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        assistant("", *calls, **extra),
        *answers,
        assistant("done"),
    ]


# What a template needs.


@pytest.mark.parametrize("name", FORMS)
def test_every_template_renders_all_that_transcripts_hold(name: str) -> None:
    row = check_template(name, Template(FORMS[name][0]))
    assert (row.refusal, row.form) == (None, FORMS[name][1])
    assert row.calls == ("as text" if FORMS[name][1].calls_as_text else "yes")


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("raw", [LS, *BROKEN], ids=ascii)
def test_whatever_a_model_wrote_as_arguments_is_rendered(name: str, raw: str) -> None:
    tokenizer = Template(FORMS[name][0])
    made = to_template_messages(talk(call(raw)), tokenizer)
    text = tokenizer.apply_chat_template(made, tools=TOOLS)
    text.encode()  # no lone surrogate is left
    assert "answer 0" in text


def test_a_transcript_goes_in_as_it_is_where_the_template_takes_it_so() -> None:
    """As on Qwen3: strings, ids and reasoning stay, and so does what is no JSON."""
    messages = talk(call(LS), call(CUT, "chatcmpl-tool-2"), reasoning_content="hm")
    thinking = template(AS_IT_IS, turn="{{ message.reasoning_content }}{{ message.content }}")
    assert to_template_messages(messages, Template(thinking)) == messages


def test_the_messages_given_are_not_touched() -> None:
    for text, _ in FORMS.values():
        messages = copy.deepcopy(SAMPLE)
        to_template_messages(messages, Template(text))
        assert messages == SAMPLE


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (DUMPED, [{"cmd": "ls"}, {"malformed": CUT}]),
        (PARSED, [LS, json.dumps({"malformed": CUT})]),
        (JOINED, [LS, CUT]),
    ],
    ids=["objects", "strings of objects", "strings"],
)
def test_arguments_are_wrapped_where_the_template_needs_an_object(arguments: str, expected: list[Any]) -> None:
    made = to_template_messages(talk(call(LS), call(CUT)), Template(template(arguments)))
    assert [each["function"]["arguments"] for each in made[2]["tool_calls"]] == expected


def test_ids_of_nine_go_to_call_and_answer_alike() -> None:
    same = [call(LS, "abc"), call(LS, "abc")]  # a server that gives one id to all
    made = to_template_messages(talk(*same), Template(template(DUMPED, call=NINE)))
    assert [each["id"] for each in made[2]["tool_calls"]] == ["call00001", "call00002"]
    assert [message["tool_call_id"] for message in made[3:5]] == ["call00001", "call00002"]


def test_calls_without_ids_get_some_and_answers_find_them() -> None:
    """As another framework logs them."""
    bare = [{key: value for key, value in call(LS).items() if key != "id"} for _ in range(2)]
    messages = [*talk()[:2], assistant("", *bare), *({"role": "tool", "content": f"answer {n}"} for n in range(2))]
    made = to_template_messages(messages, Template(template(AS_IT_IS)))
    assert [message["tool_call_id"] for message in made[3:]] == [each["id"] for each in made[2]["tool_calls"]]


def test_one_call_a_message_each_before_its_answer() -> None:
    calls = [call(LS, "a"), call(LS, "b"), call(LS, "c")]
    messages = talk(*calls, reasoning_content="hm")
    messages[3:6] = [messages[4], messages[3]]  # the answers are out of order, and the last is missing
    made = to_template_messages(messages, Template(template(DUMPED, message=ONE)))
    order = [message.get("tool_call_id") or [each["id"] for each in message.get("tool_calls", ())] for message in made]
    assert order == [[], [], ["b"], "b", ["a"], "a", ["c"], []]
    assert [message["role"] for message in made].count("assistant") == 4


def test_keys_that_no_template_knows_are_left_out_and_null_is_empty() -> None:
    server: Message = {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "annotations": [],
        "tool_calls": None,
        "x": {"y": 1},
    }
    assert to_template_messages([server], Template(CHAT)) == [{"role": "assistant", "content": ""}]
    parts = {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    assert to_template_messages([parts], Template(CHAT)) == [{"role": "user", "content": "ab"}]
    picture = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "b"}]}
    assert to_template_messages([picture], Template(CHAT)) == [{"role": "user", "content": "[image]b"}]


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content", "thinking"])
def test_reasoning_goes_under_the_name_that_the_template_has(key: str) -> None:
    made = to_template_messages(talk(call(LS), **{key: "hm"}), Template(FORMS["thinking"][0]))
    assert made[2]["thinking"] == "hm"
    assert "(thought: hm)" in Template(FORMS["thinking"][0]).apply_chat_template(made)


def test_text_joins_the_reasoning_where_only_one_may_stand_beside_a_call() -> None:
    messages = talk(call(LS), reasoning="hm")
    messages[2]["content"] = "I look."
    made = to_template_messages(messages, Template(FORMS["either"][0]))[2]
    assert (made["thinking"], made["content"]) == ("hm\n\nI look.", "")


def test_calls_and_answers_become_text_where_there_is_no_place_for_them() -> None:
    made = to_template_messages(talk(call(LS)), Template(TEXT_ONLY))
    assert [message["role"] for message in made] == ["user", "assistant", "user", "assistant"]
    assert made[0]["content"] == "s\n\nu"
    assert made[1]["content"] == '<tool_call>\n{"name": "shell", "arguments": {"cmd": "ls"}}\n</tool_call>'
    assert made[2]["content"] == "<tool_response>\nanswer 0\n</tool_response>"


@pytest.mark.parametrize(
    ("tokenizer", "words"),
    [
        (Template(""), "this Template has no chat_template"),
        (object(), "this object has no chat_template"),
        (Template("{{ raise_exception('never') }}"), "refuses this transcript: TemplateError: never"),
        (Template("{% if %}"), "refuses this transcript: TemplateSyntaxError"),
        (Template("hello"), "drops a part of every conversation with tools"),
        (Template("{{ ().__class__.__mro__ }}"), "SecurityError"),
    ],
    ids=["empty", "none", "raises", "no Jinja", "says nothing", "breaks out"],
)
def test_a_template_that_is_of_no_use_is_an_error_in_words(tokenizer: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        to_template_messages(talk(call(LS)), tokenizer)
    with pytest.raises(ConfigError, match=words):
        check_prefix(talk(call(LS)), TOOLS, tokenizer)
    assert words in str(check_template("it", tokenizer).refusal)


def test_a_template_is_tried_once() -> None:
    class Counting(Template):
        rendered = 0

        def apply_chat_template(self, *messages: Any, **kwargs: Any) -> str:
            Counting.rendered += 1
            return super().apply_chat_template(*messages, **kwargs)

    form = form_of(Counting(template(DUMPED)))
    tried = Counting.rendered
    assert tried > 0
    assert form_of(Counting(template(DUMPED))) == form
    assert Counting.rendered == tried
    assert form_of(Counting(template(AS_IT_IS))) != form


# Where a template rewrites the past.

KEEPS = template(AS_IT_IS, turn="{{ message.reasoning_content or '' }}|{{ message.content }}")
LAST = "{% if loop.last or messages[loop.index0 + 1].role == 'tool' %}"
FORGETS = (
    "{%- set place = namespace(user=0) -%}{%- for message in messages %}{% if message.role == 'user' %}"
    "{% set place.user = loop.index0 %}{% endif %}{% endfor -%}"
)
DROPS = template(
    AS_IT_IS,
    before=FORGETS,
    turn="{% if message.reasoning_content and loop.index0 > place.user %}({{ message.reasoning_content }}){% endif %}"
    "{{ message.content }}",
)
EMPTY = template(
    AS_IT_IS,
    turn="{% if message.role == 'assistant' and not message.reasoning_content and loop.last %}()"
    "{% elif message.reasoning_content %}({{ message.reasoning_content }}){% endif %}{{ message.content }}",
)
OPENS = KEEPS.replace("<assistant>", "<assistant>(no thought)")


def test_a_template_that_keeps_the_past_is_found_to() -> None:
    turns = check_prefix(talk(call(LS), reasoning_content="hm"), TOOLS, Template(KEEPS))
    assert [(turn.number, turn.message, turn.kept, turn.advice) for turn in turns] == [
        (1, 2, True, None),
        (2, 4, True, None),
    ]


def test_reasoning_that_is_missing_is_named_as_what_mends_it() -> None:
    """As Qwen3's own template: an empty thought is written into the last message alone."""
    first, last = check_prefix(talk(call(LS)), TOOLS, Template(EMPTY))
    assert (first.kept, last.kept) == (False, True)
    assert (first.problem or "").startswith("it is rewritten once there are messages up to 3: '()")
    assert (first.advice or "").startswith("keep what the model thinks: with `reasoning_content`")
    assert check_prefix(talk(call(LS), reasoning_content="hm"), TOOLS, Template(EMPTY))[0].kept


def test_a_user_message_that_makes_a_template_forget_is_named() -> None:
    messages = talk(call(LS), reasoning_content="hm")
    messages[4:4] = [assistant("so", reasoning_content="hmm"), {"role": "user", "content": "go on"}]
    first, second, third = check_prefix(messages, TOOLS, Template(DROPS))
    assert (first.kept, second.kept, third.kept) == (True, False, True)
    assert second.advice


@pytest.mark.parametrize(
    ("messages", "text", "problem", "advice"),
    [
        (
            talk(call(LS), reasoning_content="hm"),
            OPENS,
            "what the model said is not rendered after its prompt: '(no thought)'",
            "train on the ids that were sampled (ChatPolicy(return_tokens=True)",
        ),
        (
            talk(call(LS), reasoning="hm"),
            template(AS_IT_IS),
            "its reasoning is not rendered: later turns read less than the model wrote",
            "its prompt leaves no room for the reasoning",
        ),
        (
            talk(call(LS, "a"), call(LS, "b")),
            template(DUMPED, message=ONE),
            "it is rewritten once there are messages up to 4",
            "this template takes one call a message",
        ),
    ],
    ids=["the prompt", "the reasoning", "several calls"],
)
def test_a_turn_that_is_rewritten_has_a_problem_and_advice(
    messages: list[Message], text: str, problem: str, advice: str
) -> None:
    first = check_prefix(messages, TOOLS, Template(text))[0]
    assert first.problem
    assert first.advice
    assert first.problem.startswith(problem)
    assert first.advice.startswith(advice)


def test_the_templates_own_arguments_are_passed_on() -> None:
    text = OPENS.replace("(no thought)", "{% if enable_thinking is false %}(no thought){% endif %}")
    messages = talk(call(LS), reasoning_content="hm")
    assert all(turn.kept for turn in check_prefix(messages, TOOLS, Template(text)))
    assert not check_prefix(messages, TOOLS, Template(text), enable_thinking=False)[0].kept


def test_a_turn_that_cannot_be_rendered_is_told_and_the_others_are_checked() -> None:
    text = template(AS_IT_IS, message="{% if message.content == 'done' %}{{ raise_exception('not done') }}{% endif %}")
    first, last = check_prefix(talk(call(LS)), TOOLS, Template(text))
    assert first.kept
    assert (last.problem or "").endswith("TemplateError: not done")


# Templates from files, and the command.


def test_templates_are_read_from_all_that_hold_some(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a.jinja").write_text(CHAT)
    config: dict[str, Any] = {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": None}
    named = [{"name": "default", "template": "no"}, {"name": "tool_use", "template": "{{ bos_token + eos_token }}"}]
    for name, chosen in (("named", named), ("own", CHAT), ("none", None), ("beside", None)):
        (tmp_path / name / "package" / "models").mkdir(parents=True)
        told = config | ({"chat_template": chosen} if chosen else {})
        (tmp_path / name / "package" / "models" / "tokenizer_config.json").write_text(json.dumps(told))
    (tmp_path / "beside" / "package" / "models" / "chat_template.jinja").write_text(CHAT)
    found = dict(load_templates(tmp_path))
    assert sorted(found) == ["beside", "named", "own", "plain/a"]
    assert found["named"].apply_chat_template([]) == "<s></s>"
    assert [name for name, _ in load_templates(tmp_path / "plain" / "a.jinja")] == ["a"]
    assert [name for name, _ in load_templates(tmp_path / "own")] == ["own"]


def test_what_holds_no_template_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="has no vocabulary"):
        Template(CHAT).apply_chat_template([], tokenize=True)
    with pytest.raises(ConfigError, match="holds no chat template"):
        load_templates(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    assert main(["templates", str(tmp_path)]) == 2
    assert main(["templates", str(tmp_path / "nowhere")]) == 2
    said = capsys.readouterr().err
    assert "cannot read a chat template from" in said
    assert "there is no " in said


def test_the_command_prints_a_row_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, (text, _) in FORMS.items():
        (tmp_path / f"{name}.jinja").write_text(text)
    assert main(["templates", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in FORMS)
    assert said.endswith(
        f"{len(FORMS)} templates, {len(FORMS) - 2} for tools, {len(FORMS) - 2} of these render our transcripts\n"
    )
    (tmp_path / "broken.jinja").write_text("{{ tools | tojson }}{% if messages | length > 1 %}{{ 1 / 0 }}{% endif %}")
    assert main(["templates", str(tmp_path / "broken.jinja"), str(tmp_path / "dumped.jinja"), "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["calls"]) for row in rows] == [("broken", "no"), ("dumped", "yes")]
    assert "ZeroDivisionError" in rows[0]["refusal"]
