"""What a policy did with its tools, as flat numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nano_codex_env.messages import Message, assistant, tool_call
from nano_codex_env.tool_usage import COMMANDS, commands, tool_stats

LINES = {
    "": [],
    "/bin/ls; ./bin/cat x": ["ls", "cat"],
    "cd src && grep -rn x . | head -n 3": ["cd", "grep", "head"],
    "ls||cat x&&wc x;nl x": ["ls", "cat", "wc", "nl"],
    "ls\ncat x\r\nwc x": ["ls", "cat", "wc"],
    "(cd src; ls)": ["cd", "ls"],
    "echo $(cat x)": ["echo", "cat"],
    "python3 -V; python3.11 -V": ["python", "python"],
    "FOO=1 BAR='a b' python x.py": ["python"],
    "! grep x y": ["grep"],
    "sudo time cat x": ["cat"],
    "find . -name cat | xargs grep find": ["find", "xargs", "grep"],
    "if grep -q x y; then cat y; else ls; fi": ["grep", "cat", "ls", "fi"],
    "ls >out 2>&1; wc -l <out": ["ls", "wc"],
    "grep 'ls | cat; (wc)' \"x && ls\"": ["grep"],
    "echo it's": ["echo"],
    'cat "x': ["cat"],
    "python -c 'import sed\nls = 1\n'": ["python"],
    "cat naïve\u2028ls": ["cat"],
    "made-up --thing": ["made-up"],
}


@pytest.mark.parametrize("line", LINES, ids=ascii)
def test_the_commands_of_a_line_are_its_first_words(line: str) -> None:
    assert commands(line) == LINES[line]


def test_no_commands_and_no_calls_are_zeros_under_every_name() -> None:
    stats = tool_stats({}, [])
    tools = [f"tool_{what}_{name}" for name in ("shell", "apply_patch") for what in ("calls", "success_rate")]
    assert list(stats) == [*tools, *(f"shell_cmd_{name}" for name in COMMANDS)]
    assert set(stats.values()) == {0}
    assert len(set(COMMANDS)) == len(COMMANDS) >= 26


def test_rates_are_of_the_calls_made() -> None:
    stats = tool_stats({"shell": (4, 3), "unknown": (2, 0), "note": (1, 1)}, [])
    assert {key: value for key, value in stats.items() if key.startswith("tool_")} == {
        "tool_calls_shell": 4,
        "tool_success_rate_shell": 0.75,
        "tool_calls_apply_patch": 0,
        "tool_success_rate_apply_patch": 0.0,
        "tool_calls_unknown": 2,
        "tool_success_rate_unknown": 0.0,
        "tool_calls_note": 1,
        "tool_success_rate_note": 1.0,
    }


def test_commands_are_counted_in_all_shell_calls_and_nowhere_else() -> None:
    transcript: list[Message] = [
        {"role": "user", "content": "ls"},
        assistant("cat x", tool_call("shell", cmd="ls | wc"), tool_call("shell", cmd="ls && made-up")),
        {"role": "tool", "tool_call_id": "a", "content": "find ."},
        assistant("", tool_call("apply_patch", search="ls", replace="cat", file="x"), tool_call("bash", cmd="sed")),
        assistant("", tool_call("shell", cmd="ls")),
    ]
    stats = tool_stats({}, transcript)
    used = {key: value for key, value in stats.items() if key.startswith("shell_cmd_") and value}
    assert used == {"shell_cmd_ls": 3, "shell_cmd_wc": 1}
    assert "shell_cmd_made-up" not in stats


@pytest.mark.parametrize(
    "function",
    [
        None,
        "shell",
        {},
        {"name": "shell"},
        {"name": None, "arguments": '{"cmd": "ls"}'},
        {"name": ["shell"], "arguments": '{"cmd": "ls"}'},
        {"name": "shell", "arguments": None},
        {"name": "shell", "arguments": 5},
        {"name": "shell", "arguments": ""},
        {"name": "shell", "arguments": '{"cmd": "ls'},
        {"name": "shell", "arguments": '["ls"]'},
        {"name": "shell", "arguments": '{"cmd": 5}'},
        {"name": "shell", "arguments": '{"command": "ls"}'},
        {"name": "shell", "arguments": "[" * 200_000},
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_a_call_that_is_none_counts_nothing(function: Any) -> None:
    good = tool_call("shell", cmd="ls")
    stats = tool_stats({}, [assistant("", {"id": "a", "type": "function", "function": function}, good)])
    assert sum(value for key, value in stats.items() if key.startswith("shell_cmd_")) == stats["shell_cmd_ls"] == 1


def test_messages_without_calls_or_with_null_are_passed_over() -> None:
    messages: list[Message] = [{"role": "assistant", "content": None, "tool_calls": None}, assistant("done"), {}]
    assert tool_stats({}, messages) == tool_stats({}, [])
