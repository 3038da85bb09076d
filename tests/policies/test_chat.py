"""A model behind an endpoint: requests, answers, and how each kind of failure ends an episode."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium as gym
import openai
import pytest
from gymnasium.error import ResetNeeded

from nano_codex_env import ChatPolicy, NanoCodexEnv, Score, Task, Trajectory
from nano_codex_env.errors import ConfigError, ContextOverflow, PolicyError, RewardError
from nano_codex_env.messages import assistant, tool_call
from nano_codex_env.policies.chat import PROVIDERS, resolve
from nano_codex_env.runs.rollout import rollout
from nano_codex_env.sandbox import Sandbox
from tests.conftest import MENDED
from tests.policies.scripts import ASKED, BEGUN, DONE, FIX, LOOK, MEND, logged, play
from tests.server import Answer, Raw, Server, by_turn, completion, fault, serve

KEY = "sk-nobody-may-see-this"


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [variable for _, variable in PROVIDERS.values()] + ["OPENAI_BASE_URL", "HOSTED_VLLM_API_BASE"]:
        monkeypatch.delenv(name, raising=False)


def authorization(server: Server) -> str:
    """The header of the first request; clients differ in how they write its name."""
    return {name.lower(): value for name, value in server.headers[0].items()}["authorization"]


@pytest.mark.parametrize(
    ("model", "variable", "expected"),
    [
        ("gpt-4.1", "OPENAI_API_KEY", ("gpt-4.1", None)),
        ("openai/gpt-4.1", "OPENAI_API_KEY", ("gpt-4.1", None)),
        ("openrouter/qwen/qwen3", "OPENROUTER_API_KEY", ("qwen/qwen3", "https://openrouter.ai/api/v1")),
        ("anthropic/claude", "ANTHROPIC_API_KEY", ("claude", "https://api.anthropic.com/v1/")),
        ("deepseek/deepseek-chat", "DEEPSEEK_API_KEY", ("deepseek-chat", "https://api.deepseek.com/v1")),
        ("gemini/g", "GEMINI_API_KEY", ("g", "https://generativelanguage.googleapis.com/v1beta/openai/")),
    ],
    ids=lambda value: value if isinstance(value, str) and "_" not in value else "",
)
def test_a_prefix_names_endpoint_and_key(
    model: str, variable: str, expected: tuple[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=rf"{model!r} needs a key: set \${variable}"):
        resolve(model, None, None)
    monkeypatch.setenv(variable, KEY)
    assert resolve(model, None, None) == (*expected, KEY)
    assert resolve(model, None, "given") == (*expected, "given")
    theirs = KEY if "/" in model else "EMPTY"  # without a prefix, nobody said that the key is for that endpoint
    assert resolve(model, "http://h/v1", None) == (expected[0], "http://h/v1", theirs)


@pytest.mark.parametrize("model", ["m", "qwen/qwen3", "hosted_vllm/qwen/qwen3", "./model.gguf", "m/"])
def test_an_endpoint_of_ones_own_needs_no_key(model: str) -> None:
    assert resolve(model, "http://h/v1", None) == (model.removeprefix("hosted_vllm/"), "http://h/v1", "EMPTY")


@pytest.mark.parametrize(
    "base",
    ["http://user:secret@h/v1", "http://h/v1?key=secret", "http://[::1/v1", "http:///v1", "h:8000/v1", "http://h:x/v1"],
)
def test_a_base_that_is_no_url_or_holds_a_secret_is_refused(base: str) -> None:
    with pytest.raises(ConfigError, match="api_base must"):
        resolve("m", base, None)


def test_endpoints_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTED_VLLM_API_BASE", "http://vllm/v1")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://proxy/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert resolve("hosted_vllm/a/b", None, None) == ("a/b", "http://vllm/v1", "EMPTY")
    assert resolve("openai/a/b", None, None) == ("a/b", "http://proxy/v1", KEY)
    assert resolve("deepseek/a", None, "k") == ("a", "https://api.deepseek.com/v1", "k")
    monkeypatch.delenv("OPENAI_BASE_URL")  # OpenAI's own endpoint has another name for max_tokens
    assert ChatPolicy("openai/gpt-4.1", None, KEY, max_tokens=9).about["sampling"] == {"max_completion_tokens": 9}
    monkeypatch.setenv("HOSTED_VLLM_API_KEY", "own")
    assert resolve("hosted_vllm/a", "http://h/v1", None)[2] == "own"


@pytest.mark.parametrize(
    ("model", "base", "words"),
    [
        ("hosted_vllm/qwen3", None, "no endpoint follows from 'hosted_vllm/qwen3'; give api_base"),
        ("qwen/qwen3", None, "no endpoint follows from 'qwen/qwen3'"),
        ("", "http://h/v1", "a model has a name; got ''"),
        ("hosted_vllm/ ", "http://h/v1", "a model has a name"),
        ("m", "localhost:8000/v1", "api_base must be a URL"),
    ],
    ids=["no endpoint", "unknown prefix", "no name", "prefix only", "no URL"],
)
def test_a_name_that_leads_nowhere_is_refused_at_once(model: str, base: str | None, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ChatPolicy(model, base, KEY)


@pytest.mark.parametrize(
    "arguments",
    [{"timeout": 0}, {"timeout": float("nan")}, {"timeout": True}, {"max_retries": -1}, {"max_tokens": 0}],
    ids=str,
)
def test_numbers_that_cannot_be_used_are_refused_at_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(arguments))} must be a "):
        ChatPolicy("m", "http://h/v1", **arguments)


def test_what_is_not_given_is_not_sent_but_for_the_length_of_an_answer() -> None:
    with serve([DONE]) as server, ChatPolicy("hosted_vllm/a/b", server.url) as policy:
        assert policy(ASKED, []).message == {"role": "assistant", "content": "done"}
        assert policy.about == {"model": "a/b", "api_base": server.url, "sampling": {"max_tokens": 4096}}
    assert server.requests == [{"model": "a/b", "messages": ASKED, "tools": [], "max_tokens": 4096}]
    assert authorization(server) == "Bearer EMPTY"


def test_sampling_is_sent_under_the_names_that_servers_know() -> None:
    sampling: dict[str, Any] = {"temperature": 0.0, "top_p": 0.9, "top_k": 20, "min_p": 0.05, "max_tokens": 7}
    expected = {**sampling, "chat_template_kwargs": {"enable_thinking": False}}
    with serve([DONE]) as server, ChatPolicy("m", server.url, KEY, thinking=False, **sampling) as policy:
        policy(ASKED, [])
        policy(ASKED, [], max_tokens=3)
        assert policy.about["sampling"] == expected
    bare = {"model": "m", "messages": ASKED, "tools": []}
    assert server.requests == [{**bare, **expected}, {**bare, **expected, "max_tokens": 3}]
    assert authorization(server) == f"Bearer {KEY}"


def test_extra_body_wins_over_everything() -> None:
    extra = {"temperature": 1.0, "top_k": 1, "chat_template_kwargs": {"a": 1}, "seed": 5, "model": "other"}
    with (
        serve([DONE]) as server,
        ChatPolicy("m", server.url, temperature=0.0, top_k=9, thinking=True, extra_body=extra) as policy,
    ):
        policy(ASKED, [])
        assert policy.about["sampling"] == {"max_tokens": 4096, **extra}
    assert server.requests == [{**extra, "messages": ASKED, "tools": [], "max_tokens": 4096}]


@pytest.mark.parametrize("extra", [{}, {"max_tokens": 9}, {"max_completion_tokens": 9}], ids=str)
def test_the_length_of_an_answer_can_be_left_to_the_server_or_set_in_extra_body(extra: dict[str, Any]) -> None:
    chosen: dict[str, Any] = {} if extra else {"max_tokens": None}
    with serve([DONE]) as server, ChatPolicy("m", server.url, extra_body=extra, **chosen) as policy:
        policy(ASKED, [])
        assert policy.about["sampling"] == extra
    assert server.requests == [{"model": "m", "messages": ASKED, "tools": [], **extra}]


@pytest.mark.parametrize("chosen", [{"max_tokens": 40960}, {"extra_body": {"max_completion_tokens": 40960}}], ids=str)
def test_a_length_with_which_no_episode_can_begin_is_no_score(env: NanoCodexEnv, chosen: dict[str, Any]) -> None:
    """It was `token_limit` after no step, worth 0.0, for every episode."""
    with serve([OVERFLOWS["vLLM"]]) as server:
        result = play(env, server, **chosen)
    assert (result.reward, result.stop, result.steps) == (None, None, 0)
    words = (
        r"PolicyError: the first messages do not fit the model's context together with max_(completion_)?tokens=40960"
    )
    assert re.match(words, result.void or "")


def test_first_messages_that_do_not_fit_at_all_are_a_full_context(env: NanoCodexEnv) -> None:
    with serve([OVERFLOWS["vLLM"]]) as server:
        assert (play(env, server).stop, play(env, server, max_tokens=None).stop) == ("token_limit", "token_limit")


def test_an_episode_is_played_and_its_log_says_by_whom(env: NanoCodexEnv) -> None:
    with serve(by_turn(LOOK, MEND, DONE)) as server:
        result = play(env, server, temperature=0.5, thinking=True)
    assert (result.reward, result.stop, result.steps, result.void) == (1.0, "submitted", 2, None)
    assert result.folder
    metadata = Trajectory.load(result.folder).metadata
    sampling = {"temperature": 0.5, "max_tokens": 4096, "chat_template_kwargs": {"enable_thinking": True}}
    assert metadata["policy"] == {"model": "m", "api_base": server.url, "sampling": sampling}
    assert [tool["function"]["name"] for tool in server.requests[0]["tools"]] == ["shell", "apply_patch"]
    for request in server.requests:
        assert request["messages"] == logged(result)[: len(request["messages"])]


def test_usage_is_counted_and_its_limit_ends_an_episode_that_is_scored(task: Task, sandbox: Sandbox) -> None:
    def used(answer: Mapping[str, Any], total: int) -> dict[str, Any]:
        return {**answer, "usage": {"prompt_tokens": total - 1, "completion_tokens": 1, "total_tokens": total}}

    with NanoCodexEnv([task], MENDED, sandbox=sandbox, log_dir=None, token_limit=100) as env:
        with serve(by_turn(used(MEND, 50), used(LOOK, 100), DONE)) as server:
            result = play(env, server)
        answer = env.episode.messages[-1]
    assert (result.reward, result.stop, result.steps, result.void) == (1.0, "token_limit", 1, None)
    assert (answer["content"], result.metrics["tokens"]) == ("not run: limit reached", 100.0)


@pytest.mark.parametrize(
    "usage",
    [None, [], "12", {}, {"total_tokens": None}, {"total_tokens": "900"}, {"total_tokens": 900.5}],
    ids=str,
)
def test_usage_that_tells_nothing_is_no_limit(task: Task, sandbox: Sandbox, usage: Any) -> None:
    script = by_turn({**MEND, "usage": usage}, {**DONE, "usage": usage})
    limited = NanoCodexEnv([task], MENDED, sandbox=sandbox, log_dir=None, token_limit=5)
    with limited as env, serve(script) as server:
        result = play(env, server)
    assert (result.reward, result.stop, result.void) == (1.0, "submitted", None)
    assert "tokens" not in result.metrics


VLLM = "This model's maximum context length is 8192 tokens. However, you requested 8200 tokens"
GOOGLE = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
ANTHROPIC = "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000, decrease input length"
ENGINE = "The decoder prompt (length 2136) is longer than the maximum model length of 2048."
TGI = "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens"
OVERFLOWS: dict[str, Raw] = {
    "OpenAI": fault(400, "too long", code="context_length_exceeded", type="invalid_request_error"),
    "llama.cpp": fault(400, "too long", code=400, type="exceed_context_size_error"),
    "vLLM": fault(400, VLLM, type="BadRequestError", code=400),
    "vLLM, flat": Raw(400, json.dumps({"object": "error", "message": VLLM, "code": 400}).encode()),
    "SGLang": fault(400, "The input (9000 tokens) is longer than the model's context length (8192 tokens)."),
    "TGI": Raw(422, json.dumps({"error": TGI, "error_type": "validation"}).encode()),
    "Anthropic": fault(400, "prompt is too long: 210000 tokens > 200000 maximum", type="invalid_request_error"),
    "Anthropic, with max_tokens": fault(400, ANTHROPIC, type="invalid_request_error"),
    "vLLM's engine": fault(400, ENGINE, type="BadRequestError", code=400),
    "Google": Raw(400, json.dumps([{"error": {"code": 400, "message": GOOGLE}}]).encode()),
    "a context window": fault(400, "Requested tokens (9000) exceed Context Window of 8192"),
    "said with 200": Raw(200, json.dumps({"error": {"message": VLLM, "code": 400}}).encode()),
    "no JSON": Raw(413, b"the prompt is too long"),
}


TOO_MANY = "max_tokens is too large: 4096. This model supports at most 2048 completion tokens"
REFUSED_LENGTHS = {
    "vLLM": OVERFLOWS["vLLM"],
    "OpenAI": fault(400, TOO_MANY, param="max_tokens", code="invalid_value"),
    "text": Raw(422, TOO_MANY.encode()),
    "no parameter": fault(400, TOO_MANY),
}


@pytest.mark.parametrize("refusal", REFUSED_LENGTHS.values(), ids=list(REFUSED_LENGTHS))
def test_only_the_default_length_is_dropped_where_a_server_refuses_it(refusal: Raw) -> None:
    """A length that was chosen stays, for the policy or for one answer, even if it equals the default."""
    with serve(lambda request, number: refusal if request.get("max_tokens", 0) > 100 else completion("fits")) as server:
        error = ContextOverflow if refusal is OVERFLOWS["vLLM"] else PolicyError
        with ChatPolicy("m", server.url) as policy:
            assert [policy(BEGUN, []).message["content"] for _ in range(2)] == ["fits", "fits"]
            with pytest.raises(error):
                policy(BEGUN, [], max_tokens=200)
        with ChatPolicy("m", server.url, max_tokens=4096) as chosen, pytest.raises(error):
            chosen(BEGUN, [])
    assert [request.get("max_tokens") for request in server.requests] == [4096, None, 4096, None, 200, 4096]


@pytest.mark.parametrize("words", OVERFLOWS.values(), ids=list(OVERFLOWS))
def test_a_full_context_ends_the_episode_and_is_scored(env: NanoCodexEnv, words: Raw) -> None:
    with serve(by_turn(MEND, words)) as server:
        result = play(env, server)
    assert (result.reward, result.stop, result.steps, result.void) == (1.0, "token_limit", 1, None)
    assert [request.get("max_tokens") for request in server.requests] == [4096, 4096, None]
    assert result.folder
    metadata = Trajectory.load(result.folder).metadata
    assert (metadata["stop"], metadata["reward"], "void" in metadata) == ("token_limit", 1.0, False)
    assert result.diff == Trajectory.load(result.folder).diff


@pytest.mark.parametrize(
    "refusal",
    [
        fault(400, "tools are not supported"),
        fault(401, "no key", code="invalid_api_key"),
        fault(404, "no model of that name"),
        fault(400, "odd", code=["a", "list"], type={}),
        Raw(400, b"[" * 100_000),
        Raw(400, "kein Modell".encode("utf-16-le"), {"Content-Type": "application/json; charset=utf-16"}),
        fault(422, "extra inputs are not permitted"),
        fault(500, VLLM),
        Raw(200, b'{"error": {"message": "the model is loading"}}'),
        Raw(302, b"", {"Location": "/nowhere/else/" + "x" * 9000}),
    ],
    ids=["400", "401", "404", "codes of odd types", "deep", "charset", "422", "500 about a context", "200", "302"],
)
def test_every_other_refusal_voids_and_says_why(env: NanoCodexEnv, refusal: Raw) -> None:
    with serve(by_turn(MEND, refusal)) as server:
        result = play(env, server)
    assert (result.reward, result.stop, result.steps) == (None, None, 1)
    assert (result.void or "").startswith(f"PolicyError: {server.url}")
    assert result.folder
    episode = Trajectory.load(result.folder)
    assert episode.metadata["void"] == result.void
    assert "+    return a + b" in episode.diff


def test_a_full_context_ends_an_environment_of_gym_make_too(task: Task) -> None:
    env = gym.make("NanoCodex-v0", tasks=[task], reward=MENDED, log_dir=None)
    with serve(by_turn(MEND, OVERFLOWS["vLLM"])) as server:
        result = play(env, server)
    assert (result.reward, result.stop) == (1.0, "token_limit")
    env.close()


@pytest.mark.parametrize("stop", ["token_limit", "time_limit"])
def test_a_caller_ends_an_episode_at_a_limit_of_its_own(env: NanoCodexEnv, stop: str) -> None:
    with pytest.raises(ResetNeeded):
        env.end(stop)
    env.reset()
    env.step(tool_call("apply_patch", **FIX))
    with pytest.raises(ConfigError, match="stop is 'token_limit' or 'time_limit'; got 'submitted'"):
        env.end("submitted")
    obs, reward, terminated, truncated, info = env.end(stop)
    assert (reward, terminated, truncated, info["stop"]) == (1.0, False, True, stop)
    assert (len(obs), info["ok"], info["metrics"]["steps"]) == (4, [], 1.0)
    assert "+    return a + b" in info["diff"]
    with pytest.raises(ResetNeeded):
        env.end(stop)
    with pytest.raises(ResetNeeded):
        env.step(assistant("done"))


def test_an_end_whose_reward_breaks_is_void(task: Task, sandbox: Sandbox, tmp_path: Path) -> None:
    def fail(task: Task, transcript: Any, diff: str) -> Score:
        raise RewardError("the judge is ill")

    judged = NanoCodexEnv([task], fail, sandbox=sandbox, log_dir=tmp_path / "log")
    with judged as env, serve(by_turn(MEND, OVERFLOWS["OpenAI"])) as server:
        result = play(env, server)
    assert (result.reward, result.void) == (None, "RewardError: the judge is ill")


@pytest.mark.parametrize(
    "answers", [[MEND, DONE], [fault(401, "no")], [fault(500, "no")], [Raw(reset=True)], [Raw(body=b"<html>")]],
    ids=["played", "401", "500", "reset", "html"],
)  # fmt: skip
def test_the_key_is_used_and_stands_nowhere(env: NanoCodexEnv, tmp_path: Path, answers: list[Answer]) -> None:
    with serve(answers) as server, ChatPolicy("m", server.url, KEY, max_retries=0) as policy:
        result = rollout(env, policy)
        assert KEY not in repr(policy) + repr(policy.about) + repr(result)
    assert authorization(server) == f"Bearer {KEY}"
    written = [path for path in (tmp_path / "log").rglob("*") if path.is_file()]
    assert {"metadata.json", "messages.jsonl"} <= {path.name for path in written}
    assert not [path.name for path in written if KEY.encode() in path.read_bytes()]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\u2026", "\udce9"], ids=["newline", "CRLF", "dots", "no UTF-8"])
def test_a_key_that_no_header_can_hold_stands_nowhere_either(env: NanoCodexEnv, tmp_path: Path, end: str) -> None:
    """A file's last newline is enough."""
    told = ""
    try:
        with serve([MEND, DONE]) as server, ChatPolicy("m", server.url, KEY + end, max_retries=0) as policy:
            told = repr(rollout(env, policy))
    except ConfigError as error:
        told = str(error)
    written = [path for path in (tmp_path / "log").rglob("*") if path.is_file()]
    assert KEY not in told
    assert not [path.name for path in written if KEY.encode() in path.read_bytes()]


def test_sixteen_threads_share_one_pool_and_each_gets_its_own_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """No idle connection expires here, however slow the machine is."""
    limits = type(openai.DEFAULT_CONNECTION_LIMITS)(max_connections=1000, keepalive_expiry=None)
    monkeypatch.setattr("openai._base_client.DEFAULT_CONNECTION_LIMITS", limits)
    met = threading.Barrier(16)

    def echo(request: dict[str, Any], number: int) -> Answer:
        if number < 16:
            met.wait(60)  # all sixteen are asked for at once
        return completion(request["messages"][1]["content"])

    with serve(echo) as server, ChatPolicy("m", server.url) as policy:

        def ask(number: int) -> list[bool]:
            words = [f"{number} {turn}" for turn in range(16)]
            return [policy([{**ASKED[1]}, {**ASKED[1], "content": w}], []).message["content"] == w for w in words]

        with ThreadPoolExecutor(16) as pool:
            assert all(all(told) for told in pool.map(ask, range(16)))
    assert (len(server.requests), server.most) == (256, 16)
    assert server.connections == 16


FORKED = """
import os, sys
from nano_codex_env import ChatPolicy
def ask(words):
    answer = policy([{"role": "user", "content": "u"}, {"role": "user", "content": words}], []).message["content"]
    assert answer == words, (answer, words)
with ChatPolicy("m", sys.argv[1]) as policy:
    ask("before")
    child = os.fork()
    ask("child" if child == 0 else "parent")
    if child == 0:
        os._exit(0)
    _, status = os.waitpid(child, 0)
    ask("after")
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_child_has_connections_of_its_own() -> None:
    with serve(lambda request, number: completion(request["messages"][1]["content"])) as server:
        done = subprocess.run([sys.executable, "-c", FORKED, server.url], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(server.requests) == 4
    assert server.connections >= 2


def test_a_closed_policy_connects_anew_and_closes_twice() -> None:
    with serve([DONE]) as server:
        policy = ChatPolicy("m", server.url)
        policy.close()
        policy(ASKED, [])
        policy.close()
        policy.close()
        policy(ASKED, [])
        policy.close()
    assert server.connections == 2
