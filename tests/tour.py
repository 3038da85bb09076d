"""Scripted episodes with every refusal, limit and notice that the environment answers a policy with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nano_codex_env import Reply

# All that is not a public name is imported here: a module that moves is edited in these lines only.
from nano_codex_env.errors import ContextOverflow, PolicyError
from nano_codex_env.tools import Tool, ToolResult, apply_patch, budget, shell

Action = Mapping[str, Any] | Reply | Exception

FILES: dict[str, str | bytes] = {
    "README.md": "# sums\n",
    "sums.py": '"""Sums."""\n\n\ndef add(a, b):\n    return a - b\n\n\ndef twice(a):\n    return add(a, a)\n',
    "pkg/__init__.py": "",
    "pkg/data.txt": "one\ntwo\n",
    "crlf.txt": "one\r\ntwo\r\n",
    "mixed.txt": "one\r\ntwo\nthree\n",
    "latin.txt": b"caf\xe9\n",
    "bom.txt": b"\xef\xbb\xbfone\n",
    "no_end.txt": "first\nlast",
    "binary.bin": b"\0\1\2",
    "many.txt": "same\n" * 12,
    "overlap.txt": "aaa\n",
    "full.txt": b"end\n" + b"x" * ((4 << 20) - 4),
    "large.txt": b"x" * ((4 << 20) + 1),
    "run.sh": "#!/bin/sh\necho run\n",
}
EXECUTABLE = "run.sh"
LINKS = {"link.py": "sums.py", "linked": "pkg", "away": "/etc"}
"""Symbolic links of the repository."""


@dataclass(frozen=True)
class Script:
    """A scripted episode and the arguments of its environment."""

    actions: Sequence[Action]
    env: Mapping[str, Any] = field(default_factory=dict)
    slow: bool = False


def call(name: Any, **arguments: Any) -> dict[str, Any]:
    """A tool call with arguments that are an object."""
    return raw(name, json.dumps(arguments))


def raw(name: Any, arguments: Any) -> dict[str, Any]:
    """A tool call with arguments as they are."""
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def say(content: str = "", *calls: Mapping[str, Any]) -> dict[str, Any]:
    """An assistant message."""
    return {"role": "assistant", "content": content, **({"tool_calls": list(calls)} if calls else {})}


def look(*commands: str) -> list[dict[str, Any]]:
    """Calls of the shell."""
    return [call("shell", cmd=command) for command in commands]


def patch(file: str, search: str = "", replace: str = "new\n") -> dict[str, Any]:
    """A call of apply_patch."""
    return call("apply_patch", search=search, replace=replace, file=file)


def next_reply(script: Script, messages: Sequence[Mapping[str, Any]]) -> Reply:
    """The policy: the next action of a script, and a message without calls after the last."""
    turn = sum(message["role"] == "assistant" for message in messages)
    action = script.actions[turn] if turn < len(script.actions) else say("done")
    if isinstance(action, Exception):
        raise action
    if isinstance(action, Reply):
        return action
    return Reply(dict(action) if "role" in action else say("", action))


def with_usage(action: Mapping[str, Any], total: int | None = None, **more: Any) -> Reply:
    """An action with the length of the transcript, as the server reports it."""
    return Reply(say("", action), usage={"total_tokens": total}, **more)


def tokens(prompt: Sequence[int], sampled: Sequence[int]) -> dict[str, Any]:
    """The tokens of a turn, as a server reports them."""
    return {
        "prompt": list(prompt),
        "sampled": list(sampled),
        "logprobs": [-0.5 for _ in sampled],
        "finish_reason": "tool_calls",
    }


FIX = patch("sums.py", "return a - b", "return a + b")

MALFORMED = [
    raw("shell", None),
    raw("shell", 5),
    raw("shell", ["ls"]),
    raw("shell", ""),
    raw("shell", "ls"),
    raw("shell", '{"cmd": '),
    raw("shell", "{'cmd': 'ls'}"),
    raw("shell", '{"cmd": "ls"} and more'),
    raw("shell", '["ls"]'),
    raw("shell", '"ls"'),
    raw("shell", "null"),
    raw("shell", "true"),
    raw("shell", "1.5"),
    raw("shell", '{"cmd": ' + "1" * 5000 + "}"),
    raw("shell", json.dumps({"cmd": "x" * 3_000_000})),
    {"type": "function", "function": {"name": "shell"}},
    {"type": "function", "function": "shell"},
    say("", {"type": "function"}),
    say("", {}),
]
NAMES = [
    call("bash", cmd="ls"),
    call("Shell", cmd="ls"),
    call("", cmd="ls"),
    call("shéll " * 40, cmd="ls"),
    call(None, cmd="ls"),
    call(7, cmd="ls"),
    call("shell"),
    call("shell", command="ls"),
    call("shell", cmd="ls", timeout="5", cwd="/"),
    call("apply_patch", file="sums.py"),
    call("apply_patch", path="sums.py", old="a", new="b", e="", f="", g="", h=""),
    call("shell", **{"cmd": "ls", "né\n" + "w" * 100: ""}),
    *(call("shell", cmd=value) for value in (None, 5, 1.5, True, ["ls"], {"a": "b"})),
    raw("shell", '{"cmd": NaN}'),
    raw("shell", '{"cmd": "first", "cmd": "printf second"}'),
    raw("shell", '{"cmd": "echo \\ud800"}'),
    raw("apply_patch", '{"search": "", "replace": "ab\\udfff", "file": "new.txt"}'),
    raw("apply_patch", {"search": "one", "replace": "1", "file": "pkg/data.txt"}),
]
"""Names of tools and arguments, kinds of arguments."""

SHELL = look(
    *("", " \n\t", "echo \0", "x" * 32_001, "é" * 16_001),
    *("printf text", "echo line", "true", "exit 3", "false", "printf 'no end'; exit 4", "echo error >&2; exit 1"),
    *("nosuchcommand", "echo hi > sums.py", "touch new.txt; echo kept > /tmp/note; cat /tmp/note", "cat /tmp/note"),
    *("pwd; cd pkg && pwd", "pwd", "PATH=/nowhere", "kill -TERM $BASHPID", "cat <<'E'\n  here\nE"),
    *("printf '\\xff\\x00\\x1b[31m\\a'", "printf 'é\\xe2\\x82'", "cat sums.py latin.txt crlf.txt", "cat no_end.txt"),
    *("seq 10000", "printf 'x%.0s' {1..16000}", "printf 'x%.0s' {1..16001}; false"),
    *("stat -c '%A %Y %n' README.md run.sh link.py pkg", "git log --format='%H %an %ae %ad %s'", "git status --short"),
)
KILLED = look("kill -9 -1; kill -9 $$; kill -9 1", "echo alive")
FLOOD = look("yes xxxx | tr -d '\\n'", "echo alive")

PATHS = [
    patch(file)
    for file in (
        *("", ".", "/", "pkg/", "./", "/testbed", "/testbed/", "pkg/."),
        *("/etc/passwd", "//etc/passwd", "/testbedded/x", "../x", "pkg/../sums.py", "/testbed/../x", "~/x/.."),
        *("a\nb", "a\tb", "a\x00b", "a\u200bb", "a\u202eb", "a\x7f", "\ue000"),
        *("n" * 256, "é" * 128, "/".join(["n" * 200] * 6), "a/" * 64 + "b"),
        *(".git/config", "pkg/.git", ".GIT/config", ".git /x", "git~1/config", ".g\u0131t", "\uff0egit/x", ".git:x/y"),
        *(" a", "a ", "pkg /x", "pkg/ x", "\u00a0a"),
        *("link.py", "linked/data.txt", "away/passwd", "linked", "sums.py/x", "sums.py/x/y", "pkg"),
        *("large.txt", "binary.bin", "sums.py", "pkg/data.txt"),
        *("/testbed/new1.txt", "./new2.txt", "pkg//new3.txt", "deep/er/new4.txt", "né w.txt", ".gitignore"),
        *("new1.txt/x", "deep/er", "deep", "/testbed/deep/er/new4.txt"),
    )
]
"""Files that can and cannot be patched; the search is empty."""

PATCHES = [
    patch("none.py", "a", "b"),
    patch("sums.py", "missing", "b"),
    patch("sums.py", "return a - b", "return a - b"),
    patch("sums.py", "a", "c"),
    patch("sums.py", "\n", ""),
    patch("many.txt", "same", "other"),
    patch("many.txt", "same\nsame\n", "other\n"),
    patch("overlap.txt", "aa", "b"),
    patch("sums.py", "x" * 200_001, "b"),
    patch("sums.py", "a", "x" * 200_001),
    patch("new.txt", "", "nul\0"),
    patch("sums.py", "return a - b", "return a\0b"),
    patch("latin.txt", "caf\u00e9", "th\u00e9 \u20ac"),
    patch("latin.txt", "\u20ac", "x"),
    patch("latin.txt", "caf\u00e9", "th\u00e9"),
    patch("full.txt", "end", "the end"),
    patch("full.txt", "end", "END"),
    patch("crlf.txt", "one\ntwo", "1\n2"),
    patch("crlf.txt", "1\r\n2\n", "1\n2\n"),
    patch("mixed.txt", "one\ntwo", "1\n2"),
    patch("mixed.txt", "two\nthree", "2\n3"),
    patch("bom.txt", "one", "1"),
    patch("no_end.txt", "last", "still last"),
    patch("pkg/__init__.py", "", ""),
    patch("pkg/__init__.py", "x", "y"),
    patch("pkg/__init__.py", "", "VERSION = 1\n"),
    patch("run.sh", "echo run", "echo ran"),
    patch("empty.txt", "", ""),
    patch("empty.txt", "", "no more\n"),
    patch("sums.py", "    return a - b\n", "    total = a + b\n    return total\n"),
    patch("sums.py", "    return a - b\n", "    return a\n"),
    patch("sums.py", "", "x"),
    patch("pkg/data.txt", "one\ntwo\n", ""),
    *look("git status --short", "cat sums.py; cat -A crlf.txt bom.txt", "git diff --stat -- sums.py", "ls -A pkg"),
    *look("stat -c '%A %Y %n' run.sh sums.py README.md"),
]
STEPS = [
    FIX,
    say("two", call("shell", cmd="echo 2"), call("nothing")),
    say("two more, one too many", *look("echo 4", "echo 5", "echo 6")),
]


def _count(episode: Any, text: str) -> ToolResult:
    return ToolResult(str(len(text)), ok=bool(text))


COUNT = Tool("count", "Count the characters of a text.", {"text": "any text"}, _count)
"""A tool of the user's own."""

TOUR = {
    "malformed": Script(MALFORMED),
    "names": Script(NAMES),
    "shell": Script(SHELL),
    "killed": Script(KILLED),
    "flood": Script(FLOOD),
    "paths": Script(PATHS),
    "patches": Script(PATCHES),
    "submitted_at_once": Script([]),
    "max_steps": Script(STEPS, {"max_steps": 4}),
    "time_limit": Script([say("late", *look("echo 1", "echo 2"))], {"time_limit": 1e-9}),
    "timeout": Script(
        [call("shell", cmd="echo early; sleep 600"), call("shell", cmd="echo alive")],
        {"tools": [shell(timeout=8, max_output=100), apply_patch()]},
        slow=True,
    ),
    "token_limit": Script(
        [with_usage(FIX, 10), with_usage(call("shell", cmd="echo"), 99), with_usage(call("shell", cmd="echo"), 100)],
        {"token_limit": 100},
    ),
    "context_overflow": Script([FIX, ContextOverflow("too long")]),
    "tokens": Script(
        [
            with_usage(FIX, 5, tokens=tokens([1, 2, 3], [4, 5]), finish_reason="tool_calls"),
            with_usage(FIX, 8, tokens=tokens([1, 2, 3, 4, 5, 6], [7, 8]), finish_reason="length"),
            Reply(say("done"), usage={"total_tokens": 9}, tokens=tokens([9, 9], [7]), finish_reason="stop"),
        ],
        {"token_limit": 1000},
    ),
    "notices": Script(
        [*look("printf x", "echo x", "true"), FIX, *look("false", "true")],
        {"max_steps": 6, "notices": (budget,)},
    ),
    "notices_of_tokens": Script(
        [with_usage(call("shell", cmd="echo"), total) for total in (10, 71, 91, 99)],
        {"token_limit": 100, "max_steps": 5, "notices": (budget,)},
    ),
    "last_call": Script([*look("true", "printf x")], {"max_steps": 2, "notices": (budget,)}),
    "remind": Script(
        [say("I think"), say("I think again"), FIX, say("now it is done")], {"on_inaction": "remind", "max_steps": 9}
    ),
    "remind_to_the_end": Script([say("hm")] * 3, {"on_inaction": "remind", "max_steps": 3}),
    "shell_alone": Script(
        [say("hm"), *look("echo"), FIX],
        {"tools": [shell(timeout=2.5, max_output=10)], "on_inaction": "remind", "max_steps": 3},
    ),
    "patch_alone": Script([FIX, *look("echo")], {"tools": [apply_patch()]}),
    "tool_of_somebody_else": Script(
        [say("hm"), call("count", text="four"), call("count", text=""), call("count"), FIX],
        {"tools": [apply_patch(), COUNT], "on_inaction": "remind", "max_steps": 5},
    ),
    "own_prompt": Script([FIX], {"system_prompt": "Mend it.\n"}),
    "prose_beside_calls": Script(
        [
            {"role": "assistant", "content": None, "reasoning_content": "first", "tool_calls": [FIX]},
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "parts \u2028 \ud83d\ude00"}],
                "tool_calls": [{"id": "mine", **call("shell", cmd="echo é")}],
            },
        ]
    ),
    "no_action": Script([FIX, {"role": "user", "content": "I am the user"}]),
    "policy_error": Script([FIX, PolicyError("the server is gone")]),
    "no_tool_calls": Script([FIX, say("", FIX) | {"tool_calls": "none"}]),
}
"""Name -> episode."""
