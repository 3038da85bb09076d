"""`Agent`: what it is called with, how it ends, what it keeps; and its command."""

from __future__ import annotations

import inspect
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import Agent, Trajectory
from nano_codex_env.cache import cache_dir
from nano_codex_env.cli import main
from nano_codex_env.episode import NOT_RUN
from nano_codex_env.errors import ConfigError, TaskError
from nano_codex_env.runs.replay import replay, rules_of
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.tools import Tool, ToolResult, budget, default_tools
from nano_codex_env.tools.prompt import REMINDER
from tests.conftest import git
from tests.server import Answer, Raw, Script, Server, by_turn, call, completion, fault, serve

MODEL = "hosted_vllm/qwen3-8b"
KEY = "sk-not-to-be-written"
NOWHERE = "http://127.0.0.1:9/v1"
DONE = completion("done")


def patch(search: str, replace: str, file: str = "sums.py") -> dict[str, Any]:
    return call("apply_patch", {"search": search, "replace": replace, "file": file})


def look(cmd: str = "ls") -> dict[str, Any]:
    return call("shell", {"cmd": cmd})


FIX = patch("a - b", "a + b")
MENDS = by_turn(completion("", look("cat sums.py")), completion("", FIX), DONE)


def counted(total: int, *calls: Mapping[str, Any]) -> dict[str, Any]:
    return completion("", *calls, usage={"prompt_tokens": total - 1, "completion_tokens": 1, "total_tokens": total})


def answers(agent: Agent) -> list[str]:
    """What the tools said."""
    return [message["content"] for message in agent.messages if message["role"] == "tool"]


Solve = Callable[..., tuple[Agent, Server, str]]


@pytest.fixture
def solve(repo: Path, sandbox: Sandbox, tmp_path: Path) -> Solve:
    """Runs an agent against a script; gives the agent, the endpoint and the diff."""

    def run(script: Script | list[Answer], **options: Any) -> tuple[Agent, Server, str]:
        with serve(script) as server:
            given = {"log_dir": tmp_path / "log", "sandbox": sandbox, "api_key": KEY, **options}
            agent = Agent(MODEL, server.url, **given)
            return agent, server, agent.run("add(2, 3) gives -1", repo)

    return run


# what it is called with


def test_the_quick_start(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with serve(MENDS) as server:
        agent = Agent(model="hosted_vllm/qwen3-8b", api_base=server.url, thinking=True)
        diff = agent.run("add(2, 3) gives -1", repo_root=repo)
    assert diff == git(repo, "diff", "--full-index") + "\n"
    assert "+    return a + b\n" in diff
    assert [request["chat_template_kwargs"] for request in server.requests] == [{"enable_thinking": True}] * 3
    assert {request["model"] for request in server.requests} == {"qwen3-8b"}
    assert (agent.stop, agent.tool_usage, agent.remaining_tool_calls) == ("submitted", 2, 28)
    assert agent.folder
    assert agent.folder.parent == Path(".nano-codex")


def test_arguments_stand_in_the_originals_order(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with serve([DONE]) as server:
        agent = Agent(MODEL, server.url, 5000, 1, 60, 99, True, 0.25, 0.75, 0.125, 20, True, False)
        agent.run("x", repo)
    sent = {key: value for key, value in server.requests[0].items() if key not in ("messages", "tools", "model")}
    sampling = {"temperature": 0.25, "top_p": 0.75, "min_p": 0.125, "top_k": 20}
    assert sent == {"max_tokens": 99, "chat_template_kwargs": {"enable_thinking": True}, **sampling}
    assert (agent.token_limit, agent.tool_limit, agent.time_limit, agent.response_limit) == (5000, 1, 60, 99)
    header, names = capsys.readouterr().out.splitlines()[:2]
    assert f"qwen3-8b at {server.url}" in header
    assert names.startswith("tools: shell, apply_patch; ")
    assert all(value in names for value in ("1", "60", "5000"))
    assert list(tmp_path.iterdir()) == [repo]
    defaults = {name: item.default for name, item in inspect.signature(Agent).parameters.items()}
    assert (defaults["token_limit"], defaults["tool_limit"], defaults["response_limit"]) == (8192, 30, 4096)


@pytest.mark.parametrize("thinking", [True, False, None], ids=str)
def test_thinking_goes_out_as_the_templates_switch(solve: Solve, thinking: bool | None) -> None:
    _, server, _ = solve(by_turn(DONE), thinking=thinking, tool_limit=1)
    assert server.requests[0].get("chat_template_kwargs", {}).get("enable_thinking") is thinking


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": ""}, "a model has a name; got ''"),
        ({"api_base": None}, f"no endpoint follows from '{MODEL}'"),
        ({"api_base": "localhost:8000"}, "api_base must be a URL .*; got 'localhost:8000'"),
        ({"model": None}, "got None"),
        ({"api_base": 8000}, "got 8000"),
        ({"time_limit": True}, "got True"),
        ({"temperature": "hot"}, "temperature .*got 'hot'"),
        ({"tool_limit": 0}, "tool_limit must be a positive whole number; got 0"),
        ({"tool_limit": "30"}, "tool_limit must be a positive whole number; got '30'"),
        ({"token_limit": True}, "token_limit must be a positive whole number; got True"),
        ({"token_limit": -1}, "token_limit must be a positive whole number; got -1"),
        ({"response_limit": None}, "response_limit must be a positive whole number; got None"),
        ({"response_limit": 1.5}, r"response_limit must be a positive whole number; got 1\.5"),
        ({"time_limit": 0}, "time_limit must be a positive number; got 0"),
        ({"time_limit": float("nan")}, "time_limit must be a positive number; got nan"),
        ({"timeout": 0}, "timeout must be a .*; got 0"),
        ({"tools": []}, "tools is empty: give at least one"),
        ({"sandbox": "docker"}, "no sandbox is called 'docker'"),
        ({"notices": print}, "notices is a list of functions"),
        ({"log_dir": 5}, "log_dir must be the path of a folder, or None; got 5"),
        ({"cache_dir": 5}, "cache_dir must be the path of a folder, or None; got 5"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_an_argument_that_cannot_be_used_is_named_with_what_was_found(
    given: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOSTED_VLLM_API_BASE", raising=False)
    with pytest.raises(ConfigError, match=words):
        Agent(**{"model": MODEL, "api_base": NOWHERE, **given})


@pytest.mark.parametrize(
    ("issue", "error"),
    [(None, ConfigError), (5, ConfigError), ("", TaskError), (" \n", TaskError), ("\ud800", TaskError)],
    ids=repr,
)
def test_an_issue_that_is_no_text_is_refused(repo: Path, issue: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Agent(MODEL, NOWHERE, log=False).run(issue, repo)


# how it ends


def test_it_never_makes_a_call_more_than_it_may(repo: Path, solve: Solve) -> None:
    calls = [patch("", "x\n", f"f{number}.py") for number in range(5)]
    agent, server, diff = solve(by_turn(completion("", *calls[:2]), completion("", *calls[2:]), DONE), tool_limit=3)
    assert answers(agent) == ["created f0.py", "created f1.py", "created f2.py", NOT_RUN, NOT_RUN]
    assert diff.count("new file mode") == 3
    assert sorted(path.name for path in repo.glob("f*.py")) == ["f0.py", "f1.py", "f2.py"]
    assert (agent.stop, agent.tool_usage, agent.remaining_tool_calls) == ("max_steps", 3, 0)
    assert len(server.requests) == 2


def test_inaction_costs_a_call_and_is_answered_by_a_reminder(solve: Solve) -> None:
    agent, server, diff = solve(by_turn(completion("hm"), completion("", FIX), DONE), tool_limit=5)
    assert agent.messages[2:4] == [{"role": "assistant", "content": "hm"}, {"role": "user", "content": REMINDER}]
    assert (agent.stop, agent.tool_usage) == ("submitted", 2)
    assert "+    return a + b" in diff
    assert len(server.requests) == 3


def test_a_model_that_only_repeats_itself_is_reminded_three_times(solve: Solve) -> None:
    agent, server, diff = solve(by_turn(completion("hm")), tool_limit=30)
    assert (agent.stop, agent.tool_usage, diff, len(server.requests)) == ("submitted", 3, "", 4)
    assert [message["content"] for message in agent.messages[2:]] == [*["hm", REMINDER] * 3, "hm"]
    assert agent.folder
    again = Trajectory.load(agent.folder)
    assert (again.metadata["max_reminders"], again.metadata["finish_reasons"]) == (3, ["stop"] * 4)
    assert rules_of(again).max_reminders == 3
    assert replay(agent.folder).identical


def test_a_tool_call_between_begins_to_count_the_reminders_anew(solve: Solve) -> None:
    hm = completion("hm")
    agent, _, _ = solve(by_turn(hm, hm, hm, completion("", look()), hm, hm, hm, hm), tool_limit=30)
    assert (agent.stop, agent.tool_usage) == ("submitted", 7)


def test_an_answer_grows_no_longer_than_what_is_left_allows(solve: Solve) -> None:
    turns = [counted(100, look()), counted(700, look()), counted(999, FIX), counted(999)]
    agent, server, _ = solve(by_turn(*turns), token_limit=1000, response_limit=300)
    assert [request["max_tokens"] for request in server.requests] == [300, 300, 150, 1]
    assert (agent.stop, agent.token_usage, agent.remaining_tokens) == ("submitted", 999, 1)


@pytest.mark.parametrize("last", [counted(1000, patch("a + b", "b + a")), counted(5000, look())], ids=["full", "over"])
def test_what_comes_when_the_tokens_are_spent_is_not_run(solve: Solve, last: dict[str, Any]) -> None:
    agent, server, diff = solve(by_turn(counted(999, FIX), last), token_limit=1000)
    assert answers(agent) == ["patched sums.py at line 5", NOT_RUN]
    assert (agent.stop, agent.tool_usage, agent.remaining_tokens) == ("token_limit", 1, 0)
    assert "+    return a + b\n" in diff
    assert len(server.requests) == 2


def test_a_transcript_that_the_model_cannot_take_ends_the_run_with_what_there_is(repo: Path, solve: Solve) -> None:
    overflow = fault(400, "This model's maximum context length is 8192 tokens", code="context_length_exceeded")
    agent, _, diff = solve(by_turn(completion("", FIX), overflow))
    assert agent.stop == "token_limit"
    assert git(repo, "diff", "--full-index") + "\n" == diff != ""


@pytest.mark.parametrize("token_limit", [1000, None], ids=str)
def test_tokens_that_nobody_counts_are_unknown(solve: Solve, token_limit: int | None) -> None:
    agent, server, _ = solve(by_turn(completion("", FIX), DONE), token_limit=token_limit, response_limit=77)
    assert (agent.token_usage, agent.remaining_tokens, agent.stop) == (None, None, "submitted")
    assert [request["max_tokens"] for request in server.requests] == [77, 77]


def test_no_limit_on_tokens_leaves_the_answers_long(solve: Solve) -> None:
    agent, server, _ = solve(by_turn(counted(100_000, FIX), counted(200_000)), token_limit=None)
    assert [request["max_tokens"] for request in server.requests] == [4096, 4096]
    assert (agent.token_usage, agent.remaining_tokens, agent.stop) == (200_000, None, "submitted")


def test_nothing_is_run_once_the_time_is_up(repo: Path, solve: Solve) -> None:
    agent, server, diff = solve(MENDS, time_limit=1e-9)
    assert (agent.stop, agent.tool_usage, agent.remaining_time, diff) == ("time_limit", 0, 0.0, "")
    assert answers(agent) == [NOT_RUN]
    assert len(server.requests) == 1
    assert not git(repo, "status", "--porcelain")


def test_before_a_run_all_is_left(repo: Path) -> None:
    agent = Agent(MODEL, NOWHERE, 1000, 7, 60.0, log=False)
    assert (agent.remaining_tool_calls, agent.remaining_time, agent.tool_usage) == (7, 60.0, 0)
    assert (agent.messages, agent.token_usage, agent.stop, agent.folder) == ([], None, None, None)
    assert Agent(MODEL, NOWHERE, log=False).remaining_time is None


def test_warnings_are_given_only_to_who_asks(repo: Path, solve: Solve) -> None:
    turns = by_turn(counted(800, look("echo x")), counted(950, look("echo x")), counted(960, FIX), counted(970))
    quiet, _, _ = solve(turns, token_limit=1000, tool_limit=30)
    assert answers(quiet) == ["x\n", "x\n", "patched sums.py at line 5"]
    git(repo, "checkout", "-q", "--", ".")
    warned, _, _ = solve(turns, token_limit=1000, tool_limit=30, notices=(budget,))
    low, critical, last = answers(warned)
    assert low == "x\n[low: 200 tokens left]"
    assert critical == "x\n[critical: 50 tokens left; finish your patch now]"
    assert last == "patched sums.py at line 5\n[critical: 40 tokens left; finish your patch now]"
    git(repo, "checkout", "-q", "--", ".")
    few, _, _ = solve(by_turn(completion("", look("echo x"))), tool_limit=7, notices=(budget,))
    left = [f"x\n[{number} tool calls left]" for number in (5, 4, 3, 2)]
    assert answers(few) == ["x\n", *left, "x\n[last call: 1 tool call left; patch now]", "x\n"]


MISTAKES = {
    "malformed": call("shell", '{"cmd": "ls'),
    "unknown tool": call("bash", {"cmd": "ls"}),
    "missing": call("apply_patch", {"search": "a - b"}),
}


def test_mistakes_are_answered_and_counted(solve: Solve) -> None:
    agent, _, diff = solve(by_turn(completion("", *MISTAKES.values(), FIX), DONE))
    *wrong, right = answers(agent)
    assert len(wrong) == len(MISTAKES)
    assert all(answer.startswith("error: ") for answer in wrong)
    assert right == "patched sums.py at line 5"
    assert agent.tool_usage == len(MISTAKES) + 1
    assert "+    return a + b" in diff
    counts = {key: value for key, value in agent.tool_stats.items() if key.startswith("tool_")}
    assert counts == {
        "tool_calls_shell": 1,
        "tool_success_rate_shell": 0.0,
        "tool_calls_apply_patch": 2,
        "tool_success_rate_apply_patch": 0.5,
        "tool_calls_unknown": 1,
        "tool_success_rate_unknown": 0.0,
    }
    logged = agent.messages[2]["tool_calls"]
    assert [given["function"] for given in logged[:-1]] == [given["function"] for given in MISTAKES.values()]


# what is kept of it


def test_messages_and_tools_are_kept_verbatim(solve: Solve) -> None:
    odd = "a\u2028b \U0001f600 \x7f \u0085é\n"
    first = completion(odd, look("printf 'caf\\351 é'"), reasoning_content="let me see", odd={"b": 1, "a": [None]})
    agent, server, _ = solve(by_turn(first, completion(None, FIX), DONE))
    assert agent.folder
    lines = (agent.folder / "messages.jsonl").read_text(encoding="ascii").split("\n")
    assert [json.dumps(message) for message in agent.messages] == lines[:-1]
    assert json.dumps(agent.tools) == json.dumps(json.loads((agent.folder / "tools.json").read_text()))
    assert list(agent.tools[1]["function"]["parameters"]["properties"]) == ["search", "replace", "file"]
    assert agent.messages[2] == first["choices"][0]["message"]
    for request in server.requests:
        assert json.dumps(request["tools"]) == json.dumps(agent.tools)
        assert request["messages"] == agent.messages[: len(request["messages"])]
    assert [len(request["messages"]) for request in server.requests] == [2, 4, 6]


def test_a_log_says_which_model_did_what_and_plays_again(repo: Path, solve: Solve, sandbox: Sandbox) -> None:
    options = {"temperature": 0.5, "min_p": 0.125, "thinking": True, "notices": (budget,)}
    agent, server, diff = solve(by_turn(completion("hm"), completion("", FIX), DONE), tool_limit=6, **options)
    assert agent.folder
    logged = Trajectory.load(agent.folder)
    about = logged.metadata
    assert (about["policy"]["model"], about["policy"]["api_base"]) == ("qwen3-8b", server.url)
    template = {"chat_template_kwargs": {"enable_thinking": True}}
    assert about["policy"]["sampling"] == {
        "temperature": 0.5, "top_p": 0.95, "min_p": 0.125, "max_tokens": 4096, **template
    }  # fmt: skip
    assert about["limits"] == {"max_steps": 6, "time_limit": None, "token_limit": 8192}
    assert (about["stop"], about["steps"], about["tokens"], about["notices"]) == ("submitted", 2, None, ["budget"])
    assert about["commit"] == git(repo, "rev-parse", "HEAD")
    assert (logged.diff, logged.messages, logged.tools) == (diff, agent.messages, agent.tools)
    assert json.loads((agent.folder / "stats.json").read_text()) == agent.tool_stats
    files = list(agent.folder.iterdir())
    names = {"messages.jsonl", "tools.json", "metadata.json", "diff.patch", "stats.json"}
    assert {path.name for path in files} == names
    assert f"Bearer {KEY}" in server.headers[0].values()
    assert not [path.name for path in files if KEY in path.read_text()]
    assert replay(agent.folder, sandbox=sandbox, notices=(budget,)).identical


def test_without_a_log_nothing_is_written(
    repo: Path, solve: Solve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    agent, _, diff = solve(MENDS, log=False)
    assert agent.folder is None
    assert "+    return a + b" in diff
    assert sorted(path.name for path in tmp_path.iterdir()) == ["repo", "work"]
    assert not list(work.iterdir())


def test_one_agent_runs_issue_after_issue(repo: Path, solve: Solve) -> None:
    with serve(by_turn(completion("", look()), DONE)) as server:
        agent = Agent(MODEL, server.url, log=False, tool_limit=2)
        for _ in range(2):
            assert agent.run("x", repo) == ""
            assert (agent.tool_usage, agent.stop, len(agent.messages)) == (2, "max_steps", 6)
    assert server.requests[0] == server.requests[2]


def test_tools_of_ones_own_are_called_and_counted(solve: Solve) -> None:
    seen: list[str] = []

    def note(episode: object, text: str) -> ToolResult:
        seen.append(text)
        return ToolResult("noted")

    agent, server, _ = solve(
        by_turn(completion("", call("note", {"text": "é"}), FIX), DONE),
        tools=[*default_tools(), Tool("note", "Take a note.", {"text": "what"}, note)],
    )
    assert (seen, answers(agent)[0], agent.tool_stats["tool_calls_note"]) == (["é"], "noted", 1)
    assert [tool["function"]["name"] for tool in server.requests[0]["tools"]] == ["shell", "apply_patch", "note"]


def test_a_verbose_run_prints_each_message_and_what_it_cost(solve: Solve, capsys: pytest.CaptureFixture[str]) -> None:
    _, server, _ = solve(by_turn(counted(50, look("ls -d pkg")), counted(70, FIX), counted(80)), verbose=True)
    said = capsys.readouterr().out
    parts = [f"qwen3-8b at {server.url}", "tools: shell, apply_patch;", "add(2, 3) gives -1", "→ shell: ls -d pkg"]
    parts += ["\npkg\n", "→ apply_patch", "patched sums.py at line 5", "tokens: 80, tool calls: 2, seconds: "]
    places = [said.find(part) for part in parts]
    assert -1 not in places
    assert places == sorted(places)
    assert KEY not in said


def test_half_a_character_does_not_break_a_verbose_run(solve: Solve, capsys: pytest.CaptureFixture[str]) -> None:
    agent, _, diff = solve(by_turn(completion("half \ud83d", FIX), DONE), verbose=True)
    assert agent.messages[2]["content"] == "half \ud83d"
    assert "+    return a + b" in diff
    assert "half " in capsys.readouterr().out


# the command


@pytest.fixture
def checkout(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; what the command does to the import path is undone."""
    monkeypatch.chdir(repo)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return repo


def test_the_command_prints_the_diff_and_how_it_ended(checkout: Path, capfdbinary: Any) -> None:
    with serve(MENDS) as server:
        assert main(["agent", "mend add", "--model", MODEL, "--api-base", server.url]) == 0
    said = capfdbinary.readouterr()
    assert said.out.decode() == git(checkout, "diff", "--full-index") + "\n"
    [folder] = (checkout / ".nano-codex").glob("2*")
    ended = f"submitted: 2 tool calls, tokens unknown; log in {folder.relative_to(checkout)}\n"
    assert said.err.decode().endswith(ended)
    assert Trajectory.load(folder).messages[1] == {"role": "user", "content": "mend add"}


def test_the_command_takes_all_that_an_agent_takes(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    stdin = io.BytesIO("an issue\nof two lines é\n".encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stdin))
    numbers = ["--temperature", "0.5", "--top_p", "0.75", "--min-p", "0.125", "--top-k", "20", "--thinking"]
    limits = ["--token-limit", "1000", "--tool_limit", "3", "--time-limit", "600", "--response-limit", "77"]
    limits += ["--timeout", "60", "--max-retries", "0", "--extra-body", '{"seed": 1}', "--cache-dir", str(cache_dir())]
    with serve([counted(100, look())]) as server:
        where = ["--path", str(repo), "--model", MODEL, "--api_base", server.url, "--no-log", "--warnings"]
        assert main(["agent", "-", *where, *numbers, *limits]) == 0
    sent = {key: value for key, value in server.requests[0].items() if key not in ("messages", "tools", "model")}
    sampling = {"temperature": 0.5, "top_p": 0.75, "min_p": 0.125, "top_k": 20}
    assert sent == {"max_tokens": 77, "chat_template_kwargs": {"enable_thinking": True}, "seed": 1, **sampling}
    transcript = server.requests[-1]["messages"]
    assert transcript[1]["content"] == "an issue\nof two lines é\n"
    assert transcript[-1]["content"].endswith("[last call: 1 tool call left; patch now]")
    said = capfdbinary.readouterr()
    assert (said.out, said.err) == (b"", b"max_steps: 3 tool calls, tokens 100\n")
    assert list(tmp_path.iterdir()) == [repo]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x", "--model", MODEL, "--api-base", "localhost"], "api_base must be a URL"),
        (["x", "--model", MODEL, "--api-base", NOWHERE, "--tool-limit", "0"], "tool_limit must be a positive"),
        (["", "--model", MODEL, "--api-base", NOWHERE], "the issue is empty"),
        (["x", "--model", MODEL, "--api-base", NOWHERE, "--path", "pkg"], "give the repository's root"),
        (["x", "--model", MODEL, "--api-base", "SERVER"], "no such model"),
    ],
    ids=["url", "limit", "issue", "path", "server"],
)
def test_what_the_command_cannot_do_is_said_on_one_line(
    checkout: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    with serve([fault(404, "no such model")]) as server:
        assert main(["agent", *(server.url if word == "SERVER" else word for word in words)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("nano-codex: ")
    assert said in err
    assert err.count("\n") == 1
    assert not git(checkout, "status", "--porcelain")


def test_the_command_can_leave_tokens_and_reasoning_to_the_server(checkout: Path, capfdbinary: Any) -> None:
    with serve([counted(9000, look()), DONE]) as server:
        options = ["--token-limit", "none", "--thinking-unset", "--model", MODEL, "--api-base", server.url, "--no-log"]
        assert main(["agent", "x", *options]) == 0
    assert capfdbinary.readouterr().err.startswith(b"submitted: 4 tool calls")  # not token_limit, which is 8192
    assert "chat_template_kwargs" not in server.requests[0]


@pytest.mark.parametrize(
    "words",
    [
        ["x"],
        ["--model", MODEL],
        *(
            ["x", "--model", MODEL, *option]
            for option in (
                ["--top-k", "many"],
                ["--token-limit", "many"],
                ["--extra-body", "[1]"],
                ["--extra-body", "{"],
            )
        ),
    ],
    ids=str,
)
def test_the_command_without_what_it_needs_shows_its_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["agent", *words])
    assert "usage: nano-codex agent" in capsys.readouterr().err


def test_the_command_runs_no_code_of_the_checkout(repo: Path, tmp_path: Path) -> None:
    """A repository may be called as a package that we use, and a model may have written it."""
    for name in ("openai", "rich", "httpx"):
        (repo / f"{name}.py").write_text("open('was-run', 'w').close()\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "packages")
    start = "import sys; from nano_codex_env.cli import main; sys.exit(main())"
    with serve(MENDS) as server:
        agent = ["agent", "x", "--verbose", "--model", MODEL, "--api-base", server.url]
        words = [sys.executable, "-P", "-c", start, *agent]
        env = {**os.environ, "PYTHONPATH": str(Path(inspect.getfile(Agent)).parents[1])}
        done = subprocess.run(words, cwd=repo, env=env, capture_output=True, text=True, check=False)
    assert not (repo / "was-run").exists()
    assert done.returncode == 0, done.stderr
    assert "+    return a + b\n" in done.stdout


def test_ctrl_c_ends_the_command_with_its_code(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main_thread = threading.main_thread().ident or 0
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has it ignored

    def press(request: dict[str, Any], number: int) -> Answer:
        signal.pthread_kill(main_thread, signal.SIGINT)
        return Raw(delay=60)

    try:
        with serve(press) as server:
            assert main(["agent", "x", "--model", MODEL, "--api-base", server.url]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr() == ("", "nano-codex: interrupted; what was finished is kept\n")
    assert not git(checkout, "status", "--porcelain")
