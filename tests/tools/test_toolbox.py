"""A call that is wrong in itself is answered, counted, and the episode goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nano_codex_env import NanoCodexEnv
from nano_codex_env.messages import tool_call
from nano_codex_env.tools import Toolbox, default_tools
from tests.strategies import quick, texts

SHELL = '{"cmd": "..."}'
PATCH = '{"search": "...", "replace": "...", "file": "..."}'
TOOLS = "there are: shell, apply_patch"
NOT_JSON = "error: the arguments are not valid JSON ({}); send an object like {}"
OBJECT = "error: arguments must be a JSON object, {}; got {}"
TAKES = "error: {} takes exactly {} ({})"
NO_FUNCTION = f"error: the call names no function; {TOOLS}"


def shell_call(arguments: Any) -> dict[str, Any]:
    """A call of shell with these raw arguments."""
    return {"name": "shell", "arguments": arguments}


def patch_call(arguments: Any) -> dict[str, Any]:
    """A call of apply_patch with these raw arguments."""
    return {"name": "apply_patch", "arguments": arguments}


MISTAKES: list[tuple[str, Any, str]] = [
    (
        "cut off",
        shell_call('{"cmd": "ls"'),
        NOT_JSON.format("Expecting ',' delimiter: line 1 column 13 (char 12)", SHELL),
    ),
    ("nothing", shell_call(""), NOT_JSON.format("Expecting value: line 1 column 1 (char 0)", SHELL)),
    ("more after it", shell_call('{"cmd": "ls"} ls'), NOT_JSON.format("Extra data: line 1 column 15 (char 14)", SHELL)),
    (
        "Python's quotes",
        patch_call("{'search': 'a'}"),
        NOT_JSON.format("Expecting property name enclosed in double quotes: line 1 column 2 (char 1)", PATCH),
    ),
    (
        "a raw newline",
        shell_call('{"cmd": "a\nb"}'),
        NOT_JSON.format("Invalid control character at: line 1 column 11 (char 10)", SHELL),
    ),
    (
        "a bad escape",
        shell_call('{"cmd": "\\d"}'),
        NOT_JSON.format("Invalid \\escape: line 1 column 10 (char 9)", SHELL),
    ),
    ("twice encoded", shell_call('"{\\"cmd\\": \\"ls\\"}"'), OBJECT.format(SHELL, "str")),
    ("null as text", shell_call("null"), OBJECT.format(SHELL, "null")),
    ("null", shell_call(None), OBJECT.format(SHELL, "null")),
    ("left out", {"name": "shell"}, OBJECT.format(SHELL, "null")),
    ("not a string", shell_call(["ls"]), OBJECT.format(SHELL, "list")),
    ("no arguments", shell_call("{}"), TAKES.format("shell", "cmd", "missing: cmd")),
    ("the wrong one", shell_call('{"command": "ls"}'), TAKES.format("shell", "cmd", "missing: cmd; unknown: command")),
    ("one more", shell_call('{"cmd": "ls", "timeout": 5}'), TAKES.format("shell", "cmd", "unknown: timeout")),
    (
        "some missing",
        patch_call('{"file": "a", "path": "b", "old": "c"}'),
        TAKES.format("apply_patch", "search, replace, file", "missing: search, replace; unknown: path, old"),
    ),
    (
        "an odd one more",
        shell_call('{"cmd": "ls", "a\\n\\u202e": 1}'),
        TAKES.format("shell", "cmd", "unknown: a\\n\\u202e"),
    ),
    ("a null", shell_call('{"cmd": null}'), "error: cmd must be a string; got null"),
    ("a list inside", shell_call('{"cmd": ["ls", "-la"]}'), "error: cmd must be a string; got list"),
    (
        "half a character",
        shell_call('{"cmd": "echo \\ud83d"}'),
        "error: cmd is not valid Unicode: a lone surrogate U+D83D stands at character 5; send whole characters",
    ),
    (
        "huge",
        shell_call("x" * 3_000_001),
        "error: the arguments are too long (3000001 characters; the limit is 3000000)",
    ),
    ("no such tool", {"name": "bash", "arguments": SHELL}, f"error: no tool is called 'bash'; {TOOLS}"),
    (
        "an odd name",
        {"name": "s\u200bh\n\ud800", "arguments": SHELL},
        f"error: no tool is called 's\\u200bh\\n\\ud800'; {TOOLS}",
    ),
    ("a long name", {"name": "x" * 5000, "arguments": SHELL}, f"error: no tool is called '{'x' * 79}; {TOOLS}"),
    ("no name", {"arguments": SHELL}, NO_FUNCTION),
    ("a name that is a number", {"name": 3, "arguments": SHELL}, NO_FUNCTION),
    ("a function that is null", None, NO_FUNCTION),
    ("a function that is text", "shell", NO_FUNCTION),
    ("an empty command", shell_call('{"cmd": ""}'), "error: cmd is empty; give a command, such as `ls`"),
    (
        "a NUL in a command",
        shell_call('{"cmd": "ls \\u0000x"}'),
        "error: cmd holds a NUL character, which no command can; leave it out",
    ),
    (
        "a long command",
        shell_call(json.dumps({"cmd": ": " + "x" * 32_000})),
        "error: cmd is too long (32002 bytes; the limit is 32000)",
    ),
    (
        "a long command in few characters",
        shell_call(json.dumps({"cmd": ": " + "\u65e5" * 12_000})),
        "error: cmd is too long (36002 bytes; the limit is 32000)",
    ),
]


@pytest.mark.parametrize(("function", "said"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES])
def test_the_policys_mistakes_are_answered_counted_and_the_episode_goes_on(
    env: NanoCodexEnv, function: Any, said: str
) -> None:
    """The answer helps to fix the mistake."""
    env.reset()
    obs, reward, terminated, truncated, info = env.step({"type": "function", "function": function})
    assert obs[-1] == {"role": "tool", "tool_call_id": "call00001", "content": said}
    assert (reward, terminated, truncated, info) == (0.0, False, False, {"ok": [False]})
    assert env.episode.steps == 1
    assert env.step(tool_call("shell", cmd="true"))[4] == {"ok": [True]}
    assert env.episode.steps == 2


@pytest.mark.parametrize(
    "arguments",
    [
        "[" * 100_000,
        '{"cmd":' * 100_000,
        '{"cmd": ' + "9" * 5000 + "}",
        '{"cmd": "' + "x" * 900_000,
        json.dumps({f"argument{n}": n for n in range(40_000)}),
        json.dumps({"x" * 900_000: 1}),
        json.dumps({"cmd": {"deep": ["x"] * 100_000}}),
        '{"cmd": -Infinity}',
        "\ufeff" + SHELL,
    ],
    ids=["list", "object", "long number", "cut off", "many names", "long name", "large value", "infinity", "BOM"],
)
def test_an_answer_to_a_monstrous_call_is_short(env: NanoCodexEnv, arguments: str) -> None:
    """A policy cannot fill its own context, or our disk, with the words that we answer."""
    env.reset()
    obs, *_, info = env.step({"type": "function", "function": shell_call(arguments)})
    assert obs[-1]["content"].startswith("error: ")
    assert len(obs[-1]["content"]) < 1000
    assert info == {"ok": [False]}


def test_of_an_argument_given_twice_the_last_counts(env: NanoCodexEnv) -> None:
    env.reset()
    obs, *_ = env.step({"type": "function", "function": shell_call('{"cmd": "echo 1", "cmd": "echo 2"}')})
    assert obs[-1]["content"] == "2\n"


@quick(60)
@given(
    function=st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts(max_size=30)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from(["name", "arguments", "cmd", ""]), inner, max_size=3),
            st.fixed_dictionaries({"name": st.sampled_from(["shell", "apply_patch"]), "arguments": inner}),
        ),
        max_leaves=6,
    )
)
def test_no_call_at_all_breaks_a_toolbox(function: Any) -> None:
    """Whatever a parser makes of a model's text; nothing here is a command, so no box is asked."""
    call = {"id": "call00001", "type": "function", "function": function}
    result = Toolbox(default_tools()).call(None, call)  # type: ignore[arg-type]
    assert not result.ok
    assert result.content.startswith("error: ")
    assert Toolbox(default_tools()).name_of(call) in ("shell", "apply_patch", "unknown")
