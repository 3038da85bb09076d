"""Faults in a server's answer: one that was broken off is requested again, then the episode is void and never 0.0."""

from __future__ import annotations

import json
import logging
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import Agent, ChatPolicy, NanoCodexEnv
from nano_codex_env.errors import ContextOverflow, PolicyError
from nano_codex_env.policies.completion import MARKERS, fault_of, is_overflow, message_of, reason_of, warnings_of
from nano_codex_env.runs.rollout import rollout
from nano_codex_env.sandbox import Sandbox
from tests.policies.scripts import ASKED, BEGUN, DONE, FIXING, MEND
from tests.server import Answer, Raw, by_turn, completion, in_order, serve

TOO_LONG = "This model's maximum context length is 8192 tokens. However, you requested 8200 tokens"
LEGACY = {"name": "shell", "arguments": '{"cmd": "ls"}'}


def soon(answer: dict[str, Any]) -> Raw:
    """An answer that says how long to wait, so that no test waits for seconds."""
    headers = {"Content-Type": "application/json", "Retry-After-Ms": "1"}
    return Raw(body=json.dumps(answer).encode(), headers=headers)


def failing(error: Any, finish: str | None = None) -> dict[str, Any]:
    """OpenRouter's: the error of the provider behind it stands in the choice."""
    made = completion("half an", finish=finish)
    made["choices"][0]["error"] = error
    return made


def answer(message: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A chat completion with just this message; without `finish` it says nothing of why it ended."""
    finish = {"finish_reason": more.pop("finish")} if "finish" in more else {}
    return {"choices": [{"index": 0, "message": message, **finish}], **more}


BROKEN: dict[str, dict[str, Any]] = {
    "vLLM, SGLang": completion("half an", finish="abort"),
    "OpenRouter, Mistral, vLLM": completion("half an", finish="error"),
    "with calls": completion(None, FIXING, finish="abort"),
    "in capitals": completion("", finish="ABORT"),
    "DeepSeek": completion("", finish="insufficient_system_resource"),
    "Z.ai": completion("", finish="network_error"),
    "TensorRT-LLM": completion("", finish="cancelled"),
    "canceled": completion("", finish="canceled"),
    "out of time": completion("", finish="timeout"),
    "OpenRouter, 502": failing({"code": 502, "message": "Upstream error"}, "error"),
    "OpenRouter, 502, as if it had ended": failing({"code": 502, "message": "Upstream error"}),
    "OpenRouter, 429 as text": failing({"code": "429", "message": "slow down"}),
    "an error without a code": failing({"message": "Internal error"}),
    "an error that is a text": failing("overloaded"),
    "beside the choices": {**DONE, "error": {"message": "the worker died"}},
    "instead of the choices": {"error": {"code": 503, "message": "no instances"}},
    "vLLM, flat": {"object": "error", "message": "EngineCore died", "code": 500},
    "empty, no reason": answer({}),
    "empty, null": answer({"role": "assistant", "content": None, "tool_calls": []}, finish=None),
    "empty, a number": answer({"content": ""}, finish=5),
    "empty, a list": answer({"content": ""}, finish=["abort"]),
    "empty, no text": answer({"content": ""}, finish=""),
    "empty parts": answer({"content": [{"type": "text", "text": ""}], "reasoning": ""}, finish=None),
    **{f"empty, {reason}": completion("", finish=reason) for reason in ("engine_error", "internal_error", "shutdown")},
    "Google, a call that cannot be read": completion("", finish="function_call_filter: MALFORMED_FUNCTION_CALL"),
    "in the message": completion("", error={"code": 500, "message": "died"}),
    "MiniMax": {**completion(""), "base_resp": {"status_code": 1013, "status_msg": "internal error"}},
    "a status": {**completion(""), "status": 500, "detail": "died"},
    "a status and no choices": {"choices": [], "status": 500, "detail": "died"},
    "an outage that names a context": failing({"code": 502, "message": TOO_LONG}),
    "a code beside an empty answer": {**completion(""), "code": 503, "message": "died"},
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no credits": (failing({"code": 402, "message": "no credits"}), "no credits"),
    "a code that is not a number": (failing({"code": "invalid_api_key", "message": "no"}), "invalid_api_key"),
    "a code that is a list": ({"error": {"code": [500], "message": "no"}}, "500"),
    "a code that is true": ({"error": {"code": True, "message": "no"}}, "true"),
    "the key": ({"error": {"code": 401, "message": "the-key is unknown"}}, r"\(the key\) is unknown"),
    "OpenAI, Azure": (completion("", finish="content_filter"), "content filter"),
    "Google": (completion("", finish="content_filter: SAFETY"), "content filter"),
    "Z.ai": (completion("", finish="sensitive"), "content filter"),
    "function_call": (completion(None, function_call=LEGACY), "--enable-auto-tool-choice --tool-call-parser NAME"),
    "function_call as reason": (completion(None, finish="function_call"), "llama.cpp: --jinja"),
}
FULL: dict[str, dict[str, Any]] = {
    "in the choice": failing({"code": 400, "message": TOO_LONG}, "error"),
    "without a code": failing({"message": TOO_LONG}),
    "a text": {**DONE, "error": TOO_LONG},
    "by its code": {"error": {"code": "context_length_exceeded", "message": "too long"}},
}
FINE: dict[str, dict[str, Any]] = {
    **{reason: completion("x", finish=reason) for reason in ("stop", "length", "tool_calls", "eos", "model_length")},
    "no reason": {"choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": None}]},
    "errors that are none": {**failing(None), "error": None},
    "no legacy call": completion("x", function_call=None),
    "an empty legacy call": completion("x", function_call={}),
    "a legacy call of nothing": completion("x", function_call={"name": "", "arguments": ""}),
    "success": {**completion("x"), "error": {"code": 0, "message": "success"}},
    "an error of nulls": {**completion("x"), "error": {"code": None, "message": None}},
    "an error called none": failing("none"),
    "an empty error in the message": completion("x", error={}),
    "MiniMax's success": {**completion("x"), "base_resp": {"status_code": 0, "status_msg": "success"}},
    "a status of text": {**completion(""), "status": "completed"},
    "nothing to say": completion(None),
    "thought until its end": completion(None, reasoning="hm", finish="length"),
    "cut before it said anything": completion("", finish="length"),
    "only reasoning": answer({"content": None, "reasoning_content": "hm"}),
    "only thinking": answer({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}),
    "only a refusal": answer({"content": None, "refusal": "no"}, finish=None),
    "only calls": answer({"content": "", "tool_calls": [FIXING]}),
    "both kinds of call": completion(None, FIXING, function_call=LEGACY),
    "calls for a legacy reason": completion(None, FIXING, finish="function_call"),
    "nothing": {"choices": []},
    "odd": {"choices": [{"message": "text", "finish_reason": 7}]},
}


@pytest.mark.parametrize("body", FINE.values(), ids=list(FINE))
def test_an_answer_is_an_answer(body: dict[str, Any]) -> None:
    assert (fault_of(body), warnings_of(body)) == (None, {})


@pytest.mark.parametrize("marker", MARKERS)
def test_a_call_as_text_is_a_doubt_unless_there_are_calls(marker: str) -> None:
    text = f"Let me look.\n{marker}shell"
    parts: Any = [{"type": "text", "text": "Let me look."}, {"type": "text", "text": f"{marker}shell"}]
    assert list(warnings_of(completion(text))) == ["marker"]
    assert list(warnings_of(completion(parts))) == ["marker"]
    assert warnings_of(completion(text, FIXING)) == {}
    assert warnings_of(completion("x", reasoning_content=text)) == {}


@pytest.mark.parametrize("reason", ["engine_error", ["abort"], {"type": "abort"}, 5], ids=str)
def test_a_reason_that_nobody_knows_is_a_doubt_where_something_was_said(reason: Any) -> None:
    body = completion("x", finish=reason)
    assert fault_of(body) is None
    assert list(warnings_of(body)) == ["finish_reason"]
    assert str(reason_of(body)) in warnings_of(body)["finish_reason"]


def test_parts_inside_each_other_are_no_text() -> None:
    """It was a RecursionError; as a message they are too deep to be logged."""
    deep: Any = "<tool_call>"
    for _ in range(400):
        deep = [{"text": deep}]
    assert warnings_of(completion(deep)) == {}
    refused = pytest.raises(PolicyError, match="answered with no JSON")
    with serve([completion(deep)]) as server, ChatPolicy("m", server.url, max_retries=0) as policy, refused:
        policy(ASKED, [])


QUOTING = {
    "FastAPI": {"message": f"[{{'type': 'missing', 'msg': 'Field required', 'input': {{'content': '{TOO_LONG}'}}}}]"},
    "Pydantic": {"message": f"1 validation error [type=string_type, input_value=['{TOO_LONG}'], input_type=list]"},
    "JSON in a text": {"message": json.dumps({"loc": ["body"], "input": TOO_LONG})},
    "late": {"message": "the messages cannot be rendered by this template: " + "x" * 300 + TOO_LONG},
    "a list": {"detail": [{"msg": "Field required", "input": TOO_LONG}]},
}


@pytest.mark.parametrize("error", QUOTING.values(), ids=list(QUOTING))
def test_what_an_error_quotes_of_the_transcript_says_nothing_of_its_length(error: dict[str, Any]) -> None:
    assert not is_overflow({"error": error})
    script = in_order(Raw(400, json.dumps({"error": error}).encode()))
    with serve(script) as server, ChatPolicy("m", server.url) as policy, pytest.raises(PolicyError) as caught:
        policy(ASKED, [])
    assert not isinstance(caught.value, ContextOverflow)


def test_keys_that_hold_nothing_or_mean_nothing_are_left_out() -> None:
    body = completion("x", function_call={"name": "", "arguments": ""}, error="none", tool_call_id=5)
    assert message_of(body) == {"role": "assistant", "content": "x"}
    assert message_of(completion("x", tool_call_id="a"))["tool_call_id"] == "a"


def test_numbers_longer_than_python_reads_are_no_reason_to_void() -> None:
    body = json.dumps({**DONE, "usage": {"total_tokens": 0}}).replace(": 0}", f": {'9' * 5000}}}").encode()
    with serve([Raw(body=body)]) as server, ChatPolicy("m", server.url) as policy:
        reply = policy(ASKED, [])
    assert (reply.message["content"], reply.total_tokens) == ("done", None)


def waits(monkeypatch: pytest.MonkeyPatch, retries: int, **headers: str) -> list[float]:
    """Seconds that a policy waits before each further attempt, where the server always breaks off its answer."""
    waited: list[float] = []
    broken = Raw(body=json.dumps(BROKEN["vLLM, SGLang"]).encode(), headers=headers)
    with monkeypatch.context() as patch, serve([broken]) as server:
        patch.setattr("openai._base_client.time.sleep", waited.append)
        with ChatPolicy("m", server.url, max_retries=retries) as policy, pytest.raises(PolicyError):
            policy(ASKED, [])
    return waited


def test_waits_grow_up_to_eight_seconds_and_heed_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The openai client takes off up to a quarter, at random."""
    grown = waits(monkeypatch, 7)
    assert len(grown) == 7
    for seconds, most in zip(grown, (0.5, 1, 2, 4, 8, 8, 8), strict=True):
        assert 0.75 * most <= seconds <= most
    assert waits(monkeypatch, 1, **{"Retry-After": "3"}) == [3]
    assert waits(monkeypatch, 1, **{"Retry-After": "3", "Retry-After-Ms": "20"}) == [0.02]
    for value in ("", "soon", "nan", "inf", "-1", "0", "Wed, 21 Oct 2015 07:28:00 GMT"):
        [seconds] = waits(monkeypatch, 1, **{"Retry-After": value})
        assert 0.375 <= seconds <= 0.5


@pytest.mark.parametrize("body", BROKEN.values(), ids=list(BROKEN))
def test_after_the_last_attempt_the_policy_has_failed(body: dict[str, Any]) -> None:
    with serve([soon(body)]) as server, ChatPolicy("m", server.url, "the-key", max_retries=2) as policy:
        with pytest.raises(PolicyError, match=f"{server.url}: .*, 3 times$") as caught:
            policy(ASKED, [])
        assert not isinstance(caught.value, ContextOverflow)
    assert len(server.requests) == 3


def test_an_answer_that_was_broken_off_voids_the_episode(env: NanoCodexEnv) -> None:
    """It was a submission, worth 1.0 or 0.0."""
    with serve(by_turn(MEND, BROKEN["vLLM, SGLang"])) as server, ChatPolicy("m", server.url, max_retries=0) as policy:
        result = rollout(env, policy)
    assert (result.reward, result.stop) == (None, None)
    assert result.void == f"PolicyError: {server.url}: the server broke the answer off (finish_reason 'abort')"


def test_an_answer_that_comes_at_the_third_attempt_is_as_good_as_any() -> None:
    answers: list[Answer] = [soon(BROKEN["vLLM, SGLang"]), soon(BROKEN["instead of the choices"]), DONE]
    with serve(answers) as server, ChatPolicy("m", server.url) as policy:
        assert policy(ASKED, []).message == {"role": "assistant", "content": "done"}
    assert server.requests[0] == server.requests[1] == server.requests[2]


@pytest.mark.parametrize(("body", "expected"), REFUSED.values(), ids=list(REFUSED))
def test_an_answer_that_no_attempt_can_change_is_requested_once(body: dict[str, Any], expected: str) -> None:
    refused = pytest.raises(PolicyError, match=expected)
    with serve([body]) as server, ChatPolicy("m", server.url, "the-key") as policy, refused as caught:
        policy(ASKED, [])
    assert not isinstance(caught.value, ContextOverflow)
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", FULL.values(), ids=list(FULL))
def test_a_context_that_is_full_is_an_overflow(body: dict[str, Any]) -> None:
    with serve([body]) as server, ChatPolicy("m", server.url, max_tokens=9) as policy, pytest.raises(ContextOverflow):
        policy(BEGUN, [])
    assert len(server.requests) == 1


SECRET = "sk-" + "secret" * 5
TELLING: dict[str, Raw] = {
    "no JSON": Raw(body=f"<html>{SECRET}</html>".encode()),
    "no JSON, cut": Raw(body=(b"x" * 490 + SECRET.encode())),
    "no message": Raw(body=json.dumps({"choices": [], "echo": SECRET}).encode()),
    "no message, cut": Raw(body=json.dumps({"choices": [], "echo": "x" * 465 + SECRET}).encode()),
    "a header": Raw(body=b"{}", headers={"X Echo": SECRET}),
    "an error, cut": Raw(body=json.dumps({"choices": [], "error": {"message": "x" * 480 + SECRET}}).encode()),
    "a refusal, cut": Raw(400, json.dumps({"error": {"message": "x" * 470 + SECRET}}).encode()),
    "a compression": Raw(body=b"{}", headers={"Content-Encoding": SECRET}),
}


@pytest.mark.parametrize("raw", TELLING.values(), ids=list(TELLING))
def test_no_error_tells_the_key_or_a_part_of_it(raw: Raw) -> None:
    refused = pytest.raises(PolicyError)
    with serve([raw]) as server, ChatPolicy("m", server.url, SECRET, max_retries=0) as policy, refused as caught:
        policy(ASKED, [])
    assert SECRET[:6] not in str(caught.value)


def test_no_warning_tells_the_key(caplog: pytest.LogCaptureFixture) -> None:
    with (
        serve([completion("x", finish=f"{'x' * 60} {SECRET}")]) as server,
        ChatPolicy("m", server.url, SECRET) as policy,
    ):
        assert SECRET[:6] not in str(policy(ASKED, []).finish_reason)
    assert len(warned(caplog)) == 1
    assert SECRET[:6] not in caplog.text


@pytest.mark.parametrize("reason", ["length", "max_tokens", "model_length", "model_context_window_exceeded"])
def test_an_answer_that_a_limit_cut_off_is_told_by_openais_word(reason: str) -> None:
    with serve([completion("wo", finish=reason)]) as server, ChatPolicy("m", server.url) as policy:
        assert policy(ASKED, []).finish_reason == "length"


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the policy's logger said."""
    return [record.getMessage() for record in caplog.records if record.name == "nano_codex_env.policies.chat"]


def test_a_call_as_text_is_taken_and_warned_of_once_a_run(caplog: pytest.LogCaptureFixture) -> None:
    text = '<tool_call>{"name": "shell", "arguments": {"cmd": "ls"}}</tool_call>'
    with serve([completion(text)]) as server, ChatPolicy("m", server.url) as policy:
        with caplog.at_level(logging.WARNING), ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: policy(ASKED, []), range(16)))
        copy = pickle.loads(pickle.dumps(policy))
        assert copy(ASKED, []).message == policy(ASKED, []).message
        copy.close()
        [words] = warned(caplog)
        policy.close()
        policy(ASKED, [])  # another run
    assert {reply.message["content"] for reply in replies} == {text}
    assert "--enable-auto-tool-choice --tool-call-parser NAME" in words
    assert warned(caplog) == [words] * 2


def test_reasons_that_nobody_knows_are_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """Each was warned of, and in full."""
    long = "odd" * 100_000
    script = in_order(*(completion("x", finish=reason) for reason in (long, "strange", "odd")))
    with serve(script) as server, ChatPolicy("m", server.url) as policy:
        assert [policy(ASKED, []).finish_reason for _ in range(3)] == [long[:80], "strange", "odd"]
    [words] = warned(caplog)
    assert words.split("finish_reason ")[1].split(";")[0] == repr(long[:80])


def test_each_run_of_an_agent_warns_again(repo: Path, sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    text = "<function=shell>ls</function>"
    with serve([completion(text)]) as server:
        agent = Agent("m", server.url, tool_limit=2, sandbox=sandbox, log=False)
        assert (agent.run("add(2, 3) gives -1", repo), len(warned(caplog))) == ("", 1)
        assert (agent.run("add(2, 3) gives -1", repo), len(warned(caplog))) == ("", 2)
