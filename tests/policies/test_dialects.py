"""Servers' dialects, played through real episodes: what is logged, what is sent back, what a model may write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import NanoCodexEnv, Task
from nano_codex_env.messages import Message
from nano_codex_env.sandbox import Sandbox
from tests.conftest import MENDED
from tests.policies.scripts import DONE, FIX, FIXING, LOOK, MEND, logged, play
from tests.server import Answer, Script, by_turn, call, completion, fault, serve


def said(message: Mapping[str, Any], finish: str = "tool_calls") -> dict[str, Any]:
    """A chat completion with just this message, not one key more."""
    return {"choices": [{"index": 0, "message": dict(message), "finish_reason": finish}]}


def strict(script: Script, status: int = 400) -> Script:
    """Refuses what servers refuse: vLLM by a 400, llama.cpp by a 500."""

    def answer(request: dict[str, Any], number: int) -> Answer:
        try:
            json.dumps(request, ensure_ascii=False, allow_nan=False).encode()
            for message in request["messages"]:
                _check(message)
        except (ValueError, KeyError, TypeError) as error:
            return fault(status, f"cannot read the transcript: {error!r}")
        return script(request, number)

    return answer


def _check(message: Message) -> None:
    if not isinstance(message.get("content"), str | list) and not message.get("tool_calls"):
        raise ValueError("Invalid value for 'content': expected a string, got null.")
    for made in message.get("tool_calls", ()):
        if not isinstance(made["id"], str) or not made["id"] or not isinstance(made["function"]["name"], str):
            raise ValueError("a call has an id and a name")
        arguments = json.loads(made["function"]["arguments"], parse_constant=lambda name: json.loads("no JSON"))
        if not isinstance(arguments, dict):
            raise TypeError(f"{arguments!r} is no object")
        json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()


BARE = {"type": "function", "function": FIXING["function"]}
OBJECT = {"id": "abc", "type": "function", "function": {"name": "apply_patch", "arguments": FIX}}


DIALECTS: dict[str, tuple[dict[str, Any], str]] = {
    "id missing": ({"role": "assistant", "content": None, "tool_calls": [BARE]}, "call00001"),
    "id empty": ({"role": "assistant", "content": None, "tool_calls": [{**FIXING, "id": ""}]}, "call00001"),
    "id null": ({"role": "assistant", "content": None, "tool_calls": [{**FIXING, "id": None}]}, "call00001"),
    "id a number": ({"role": "assistant", "content": None, "tool_calls": [{**FIXING, "id": 7}]}, "call00001"),
    "content missing": ({"role": "assistant", "tool_calls": [FIXING]}, "abc"),
    "content empty": ({"role": "assistant", "content": "", "tool_calls": [FIXING]}, "abc"),
    "content in parts": (
        {"role": "assistant", "content": [{"type": "text", "text": "so"}], "tool_calls": [FIXING]},
        "abc",
    ),
    "arguments an object": ({"role": "assistant", "content": None, "tool_calls": [OBJECT]}, "abc"),
    "role missing": ({"content": None, "tool_calls": [FIXING]}, "abc"),
    "role null": ({"role": None, "content": None, "tool_calls": [{**FIXING, "index": 0}]}, "abc"),
}


@pytest.mark.parametrize(("message", "expected"), DIALECTS.values(), ids=list(DIALECTS))
def test_a_dialect_is_played_logged_and_sent_back(env: NanoCodexEnv, message: dict[str, Any], expected: str) -> None:
    with serve(strict(by_turn(said(message), LOOK, DONE))) as server:
        result = play(env, server)
    assert (result.reward, result.stop, result.steps, result.void) == (1.0, "submitted", 2, None)
    first, answer = logged(result)[2:4]
    assert next(iter(first)) == "role"
    assert (first["role"], first["content"]) == ("assistant", message.get("content"))
    assert (first["tool_calls"][0]["id"], answer["tool_call_id"]) == (expected, expected)
    assert json.loads(first["tool_calls"][0]["function"]["arguments"]) == FIX
    assert server.requests[-1]["messages"] == logged(result)[:-1]


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content"])
def test_reasoning_stays_under_the_servers_own_name_and_is_sent_back(env: NanoCodexEnv, key: str) -> None:
    thought = {"role": "assistant", "content": None, key: "hm, a sign", "tool_calls": [FIXING]}
    script = by_turn(said(thought), said({"role": "assistant", "content": "done", key: "so"}))
    with serve(strict(script)) as server:
        result = play(env, server)
    assert result.reward == 1.0
    assert (logged(result)[2], logged(result)[-1][key]) == (thought, "so")
    assert list(logged(result)[2]) == list(thought)
    assert server.requests[1]["messages"][2] == thought


def test_unknown_keys_are_kept_and_those_that_hold_nothing_are_not(env: NanoCodexEnv) -> None:
    kept = {"provider_specific_fields": {"x": [None]}, "thinking_blocks": [{"signature": "s"}], "name": ""}
    nothing: dict[str, Any] = {"refusal": None, "audio": None, "function_call": None, "annotations": []}
    odd = {**FIXING, "index": 0, "extra_content": {"google": {"thought_signature": "t"}}}
    with serve(
        strict(by_turn(said({"role": "assistant", "content": None, **kept, **nothing, "tool_calls": [odd]}), DONE))
    ) as server:
        result = play(env, server)
    assert result.reward == 1.0
    assert logged(result)[2] == {"role": "assistant", "content": None, **kept, "tool_calls": [odd]}
    assert server.requests[1]["messages"][2] == logged(result)[2]


@pytest.mark.parametrize("calls", [{"tool_calls": None}, {"tool_calls": []}, {}], ids=["null", "empty", "missing"])
def test_no_tool_calls_submit_in_every_dialect(env: NanoCodexEnv, calls: dict[str, Any]) -> None:
    with serve([said({"role": "assistant", "content": "no", **calls}, "stop")]) as server:
        result = play(env, server)
    assert (result.reward, result.stop, result.steps) == (0.0, "submitted", 0)
    assert logged(result)[-1] == {"role": "assistant", "content": "no"}


def test_parallel_calls_are_answered_each_in_order(env: NanoCodexEnv) -> None:
    calls = [
        call("apply_patch", FIX, "one"),
        call("shell", {"cmd": "grep return sums.py"}, None),
        call("no", {}, "two"),
    ]
    with serve(strict(by_turn(completion(None, *calls), DONE))) as server:
        result = play(env, server)
    assert (result.reward, result.steps, len(server.requests)) == (1.0, 3, 2)
    answers = logged(result)[3:6]
    assert [answer["tool_call_id"] for answer in answers] == ["one", "call00002", "two"]
    assert "return a + b" in answers[1]["content"]
    assert answers[2]["content"].startswith("error: no tool is called 'no'")


MALFORMED: dict[str, Any] = {
    "cut off": '{"cmd": "ls',
    "empty": "",
    "a list": '["ls"]',
    "a text": '"ls"',
    "null as text": "null",
    "prose": "ls -la",
    "NaN": '{"cmd": NaN}',
    "Infinity inside": '{"cmd": "ls", "x": [-Infinity]}',
    "a raw newline": '{"cmd": "ls\n"}',
    "too deep": "[" * 5000,
    "an escaped lone surrogate": '{"cmd": "echo \\ud83d"}',
    "a number that no float holds": '{"cmd": "ls", "x": 1e999}',
    "no text but null": None,
    "no text but a number": 5,
    "no text but a list": [],
}


@pytest.mark.parametrize(
    "status", [400, pytest.param(500, marks=pytest.mark.slow)], ids=["as vLLM refuses", "as llama.cpp refuses"]
)
@pytest.mark.parametrize("raw", MALFORMED.values(), ids=list(MALFORMED))
def test_malformed_arguments_are_the_models_mistake_and_void_nothing(env: NanoCodexEnv, raw: Any, status: int) -> None:
    """The log has what the model wrote, the model an error, and the server something that it can parse."""
    wrong = {"id": "w", "type": "function", "function": {"name": "shell", "arguments": raw}}
    first = completion("so", FIXING, wrong, finish="length")
    with serve(strict(by_turn(first, LOOK, DONE), status)) as server:
        result = play(env, server)
    assert (result.reward, result.stop, result.steps, result.void) == (1.0, "submitted", 3, None)
    message, fixed, answer = logged(result)[2:5]
    assert message["tool_calls"] == [FIXING, wrong]
    assert not fixed["content"].startswith("error:")
    assert (answer["tool_call_id"], answer["content"][:6]) == ("w", "error:")
    for request in server.requests[1:]:
        sent = request["messages"][2]
        assert {**sent, "tool_calls": 0} == {**message, "tool_calls": 0}
        assert sent["tool_calls"][0] == FIXING
        arguments = json.loads(sent["tool_calls"][1]["function"].pop("arguments"))
        assert arguments == {"malformed": raw}
        assert sent["tool_calls"][1] == {"id": "w", "type": "function", "function": {"name": "shell"}}


def test_arguments_that_are_an_object_with_nan_are_malformed_too(env: NanoCodexEnv) -> None:
    odd = {"id": "w", "type": "function", "function": {"name": "shell", "arguments": {"cmd": float("nan")}}}
    with serve(strict(by_turn(completion(None, odd), MEND, DONE))) as server:
        result = play(env, server)
    assert (result.reward, result.void) == (1.0, None)
    assert logged(result)[3]["content"].startswith("error:")
    sent = server.requests[1]["messages"][2]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(sent) == {"malformed": '{"cmd": NaN}'}


@pytest.mark.parametrize("function", [None, "shell", {}, {"name": None, "arguments": "{}"}], ids=str)
def test_a_call_of_no_function_is_answered_and_sent_in_a_shape_that_can_be_read(
    env: NanoCodexEnv, function: Any
) -> None:
    with serve(strict(by_turn(completion(None, {"id": "w", "function": function}), MEND, DONE))) as server:
        result = play(env, server)
    assert logged(result)[2]["tool_calls"] == [{"id": "w", "function": function}]
    assert logged(result)[3]["content"].startswith("error: the call names no function")
    assert (result.reward, result.void) == (1.0, None)


def test_a_lone_surrogate_is_logged_as_it_came_and_sent_as_a_replacement(env: NanoCodexEnv) -> None:
    looked = call("shell", '{"cmd": "echo \udce9"}', "\udfff")
    with serve(strict(by_turn(completion("a\ud800b \U0001f600", looked, FIXING, reasoning="\udc00"), DONE))) as server:
        result = play(env, server)
    assert (result.reward, result.void) == (1.0, None)
    message = logged(result)[2]
    assert (message["content"], message["reasoning"]) == ("a\ud800b \U0001f600", "\udc00")
    assert message["tool_calls"][0] == looked
    sent = server.requests[1]["messages"]
    assert sent[2]["content"].strip("\ufffd") == sent[2]["content"]
    assert sent[2]["content"].replace("\ufffd", "") == "ab \U0001f600"
    assert set(sent[2]["reasoning"]) == {"\ufffd"}
    assert sent[2]["tool_calls"][0]["id"] == sent[3]["tool_call_id"]


def test_an_empty_answer_is_reminded_and_the_server_can_read_it_afterwards(task: Task, sandbox: Sandbox) -> None:
    """A model that thought until its last token says null: OpenAI takes that back only beside tool calls."""
    env = NanoCodexEnv([task], MENDED, sandbox=sandbox, log_dir=None, on_inaction="remind")
    with env, serve(strict(by_turn(completion(None, reasoning="hm", finish="length"), MEND, DONE))) as server:
        result = play(env, server)
        assert env.episode.messages[2] == {"role": "assistant", "content": None, "reasoning": "hm"}
    assert (result.reward, result.steps, result.void) == (1.0, 2, None)


@pytest.mark.parametrize("place", ["message", "usage"])
def test_an_answer_with_nan_never_raises_into_a_training_loop(env: NanoCodexEnv, place: str) -> None:
    odd = json.loads(json.dumps(MEND))
    target = odd["choices"][0]["message"] if place == "message" else odd
    target["usage" if place == "usage" else "score"] = {"total_tokens": float("nan")}
    with serve(by_turn(odd, DONE)) as server:
        result = play(env, server)
    assert result.reward == 1.0 or (result.void or "").startswith("PolicyError: ")
    for line in (Path(result.folder or "") / "messages.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
