"""Sixty-four episodes at once, and endpoints that fail in every way: each is accounted for once, others go on."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import ChatPolicy, NanoCodexEnv, Reply, Task, Trajectory, from_function
from nano_codex_env.errors import ActionError, PolicyError
from nano_codex_env.messages import MAX_CHARACTERS, MAX_VALUES, Message, ToolSchema, as_assistant
from nano_codex_env.records.result import EpisodeResult
from nano_codex_env.runs.rollouts import rollouts
from nano_codex_env.sandbox import Sandbox
from tests.server import Answer, Raw, Server, call, completion, fault, listen, serve, turn_of

MANY = 64
MENDED = from_function(lambda task, transcript, diff: float("+    return a + b" in diff))
FIX = {"search": "return a - b", "replace": "return a + b", "file": "sums.py"}
TURNS: list[Mapping[str, Any]] = [
    completion(None, call("apply_patch", FIX)),
    completion("hm", call("shell", {"cmd": "grep -c return sums.py"})),
    completion("done"),
]
WHOLE = json.dumps(completion("done")).encode()
SOON = {"Content-Type": "application/json", "Retry-After": "0.05"}
LATER = {"Content-Type": "text/html", "Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}
GZIP = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
PATIENT = 120.0
"""Seconds: longer than any answer takes on a slow machine."""

PASSING: dict[str, Raw] = {
    "500": fault(500, "the worker died"),
    "503 with a page": Raw(503, b"<html>busy</html>", SOON),
    "408": fault(408, "too slow"),
    "429": Raw(429, b'{"error": {"message": "slow down"}}', SOON),
    "429 with a date of the past": Raw(429, b"", LATER),
    "429 with nonsense": Raw(429, b"{}", {"Retry-After": "soon"}),
    "reset": Raw(reset=True),
    "cut off in the middle": Raw(body=WHOLE, cut=40),
    "cut off before the body": Raw(body=WHOLE, cut=0),
    "gzip nonsense": Raw(body=WHOLE, headers=GZIP),
}
"""Faults that the client tries again."""

LASTING: dict[str, tuple[Raw, str]] = {
    "400": (fault(400, "tools are not supported"), "answered 400: "),
    "404 with a page": (Raw(404, b"<h1>nginx</h1>", {"Content-Type": "text/html"}), "answered 404: '<h1>nginx</h1>'"),
    "a page": (Raw(body=b"<html>", headers={"Content-Type": "text/html"}), "answered with no JSON: '<html>'"),
    "nothing": (Raw(), "answered with no JSON: ''"),
    "half of JSON": (Raw(body=WHOLE[:50]), "answered with no JSON: "),
    "bytes": (Raw(body=b"\x00\xff\xfe\x1f\x8b"), "answered with no JSON: "),
    "a stream": (Raw(body=b"data: {}\n\ndata: [DONE]\n\n"), "answered with no JSON: "),
    "null": (Raw(body=b"null"), "answered with no JSON: 'null'"),
    "a list": (Raw(body=b"[]"), "answered 200: '[]'"),
    "no choices": (Raw(body=b'{"choices": []}'), "the server's answer holds no assistant message: "),
    "choices null": (Raw(body=b'{"choices": null}'), "the server's answer holds no assistant message: "),
    "choices a text": (Raw(body=b'{"choices": "a"}'), "the server's answer holds no assistant message: "),
    "a choice null": (Raw(body=b'{"choices": [null]}'), "the server's answer holds no assistant message: "),
    "message a text": (Raw(body=b'{"choices": [{"message": "hi"}]}'), "the server's answer holds no assistant message"),
    "another role": (
        Raw(body=b'{"choices": [{"message": {"role": "user", "content": "hi"}}]}'),
        "the server's answer holds no assistant message",
    ),
    "an error with 200": (Raw(body=b'{"error": {"code": 402}}'), 'the answer holds an error: {"code": 402}'),
}
"""Answers that a second attempt does not fix, and the error messages."""

SHAPES: dict[str, Raw] = {
    "content a number": Raw(body=b'{"choices": [{"message": {"role": "assistant", "content": 7}}]}'),
    "calls a text": Raw(body=b'{"choices": [{"message": {"role": "assistant", "tool_calls": "ls"}}]}'),
    "a call null": Raw(body=b'{"choices": [{"message": {"role": "assistant", "tool_calls": [null]}}]}'),
}
"""Messages that are not valid actions."""


@pytest.fixture
def many(task: Task) -> list[Task]:
    """Sixty-four tasks in one repository, each with its own issue."""
    return [task.with_(instance_id=f"sums-{number}", problem_statement=str(number)) for number in range(MANY)]


def number_of(messages: Sequence[Message]) -> int:
    """Which task a transcript belongs to."""
    return int(messages[1]["content"])


def check(results: list[EpisodeResult], out: Path) -> None:
    """Every episode is there exactly once: in the results, in the table, as a folder that says the same."""
    assert [result.instance_id for result in results] == [f"sums-{number}" for number in range(len(results))]
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert sorted(rows, key=lambda row: int(row["instance_id"][5:])) == [result.row() for result in results]
    folders = {str(result.folder) for result in results}
    assert folders == {str(path.parent) for path in out.glob("*/messages.jsonl")}
    assert len(folders) == len(results)
    for result in results:
        assert (result.void is None) == (result.reward is not None)
        metadata = Trajectory.load(str(result.folder)).metadata
        assert (metadata.get("void"), metadata.get("reward")) == (result.void, result.reward)


def asked(server: Server) -> Counter[int]:
    """How often each task's transcript was sent."""
    return Counter(number_of(request["messages"]) for request in server.requests)


def test_faults_that_pass_are_tried_again_and_void_nothing(many: list[Task], sandbox: Sandbox, tmp_path: Path) -> None:
    """Each episode meets one fault, at one of its turns; the answers that come in small pieces are none."""
    faults, lock, met = list(PASSING.values()), threading.Lock(), set[int]()

    def answer(request: dict[str, Any], number: int) -> Answer:
        episode, turn = number_of(request["messages"]), turn_of(request)
        with lock:
            first = turn == episode % 3 and episode not in met
            met.update([episode] if first else [])
        if first:
            return faults[episode % len(faults)]
        return Raw(body=json.dumps(TURNS[turn]).encode(), piece=60, pause=0.01)

    with serve(answer) as server, ChatPolicy("m", server.url, timeout=PATIENT, max_retries=1) as policy:
        results = rollouts(many, policy, concurrency=MANY, reward=MENDED, out=tmp_path, sandbox=sandbox)
    check(results, tmp_path)
    assert {(result.reward, result.stop, result.steps, result.void) for result in results} == {
        (1.0, "submitted", 2, None)
    }
    assert asked(server) == dict.fromkeys(range(MANY), 4)


@pytest.mark.slow
def test_faults_that_stay_void_their_own_episode_and_no_other(
    many: list[Task], sandbox: Sandbox, tmp_path: Path
) -> None:
    """Every second episode is well; the others break at their first, second or third turn, each in its way."""
    transient = [(raw, "") for raw in PASSING.values()]
    broken = transient + list(LASTING.values()) + [(raw, "ActionError: ") for raw in SHAPES.values()]
    assert len(broken) <= MANY // 2

    def answer(request: dict[str, Any], number: int) -> Answer:
        episode, turn = number_of(request["messages"]), turn_of(request)
        if episode % 2 and turn == episode % 3:
            return broken[episode // 2 % len(broken)][0]
        return TURNS[turn]

    with serve(answer) as server, ChatPolicy("m", server.url, timeout=PATIENT, max_retries=1) as policy:
        results = rollouts(many, policy, concurrency=MANY, reward=MENDED, out=tmp_path, sandbox=sandbox)
    check(results, tmp_path)
    for episode, result in enumerate(results):
        if episode % 2 == 0:
            assert (result.reward, result.stop, result.steps) == (1.0, "submitted", 2)
            assert asked(server)[episode] == 3
            continue
        turn, words = episode % 3, broken[episode // 2 % len(broken)][1]
        tries = 2 if not words else 1
        assert (result.reward, result.stop, result.steps) == (None, None, turn)
        assert asked(server)[episode] == turn + tries
        assert result.void
        assert result.void.startswith(words if words.startswith("ActionError") else "PolicyError: ")
        assert words in result.void
        assert ("return a + b" in Trajectory.load(str(result.folder)).diff) == (turn > 0)

    with serve(lambda request, number: TURNS[turn_of(request)]) as server, ChatPolicy("m", server.url) as policy:
        again = rollouts(many, policy, concurrency=MANY, reward=MENDED, out=tmp_path, resume=True, sandbox=sandbox)
    assert [result.reward for result in again] == [1.0] * MANY
    assert asked(server) == {episode: 3 for episode in range(MANY) if episode % 2}
    assert again[::2] == results[::2]


def test_a_dead_endpoint_voids_all_and_says_where(many: list[Task], sandbox: Sandbox, tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, but nobody listens
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        with ChatPolicy("m", url, max_retries=0) as policy:
            results = rollouts(many, policy, concurrency=MANY, reward=MENDED, out=tmp_path, sandbox=sandbox)
    check(results, tmp_path)
    assert {result.steps for result in results} == {0}
    assert all(str(result.void).startswith(f"PolicyError: {url}/ cannot be reached: ") for result in results)


def test_a_hung_endpoint_voids_its_own_and_others_go_on(many: list[Task], sandbox: Sandbox, tmp_path: Path) -> None:
    """Silence, and a body whose bytes come for ever: neither lasts longer than the timeout."""
    silence = Raw(body=WHOLE, delay=600)
    drip = Raw(body=WHOLE * 100, piece=1, pause=0.1)

    def answer(request: dict[str, Any], number: int) -> Answer:
        episode, turn = number_of(request["messages"]), turn_of(request)
        return (silence, drip)[episode // 8 % 2] if episode % 8 == 0 and turn == 1 else TURNS[turn]

    with (
        serve(answer) as server,
        ChatPolicy("m", server.url, timeout=PATIENT, max_retries=0) as patient,
        ChatPolicy("m", server.url, timeout=0.5, max_retries=1) as hasty,
    ):

        def policy(messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
            hangs = number_of(messages) % 8 == 0 and len(messages) > 2
            return (hasty if hangs else patient)(messages, tools)

        results = rollouts(many, policy, concurrency=MANY, reward=MENDED, out=tmp_path, sandbox=sandbox)
    check(results, tmp_path)
    for episode, result in enumerate(results):
        if episode % 8:
            assert (result.reward, result.stop, result.void) == (1.0, "submitted", None)
            continue
        assert (result.reward, result.steps) == (None, 1)
        assert asked(server)[episode] <= 3  # a request given up may not have been read yet
        assert str(result.void).startswith(f"PolicyError: {server.url}/ cannot be reached: Request timed out.")


ASKED: list[Message] = [{"role": "user", "content": "u"}]
SAID = b"Content-Length: %d\r\n\r\n" % len(WHOLE) + WHOLE


Talk = Callable[[socket.socket], None]


def drip(piece: bytes, ended: list[str]) -> Talk:
    """After a beginning sixty times the same, ever so slowly; then a whole answer, and a word in `ended`."""
    status = b"HTTP/1.1 200 OK\r\n"
    header = piece.startswith(b"X-")

    def talk(client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(status if header else b"")
        for _ in range(60):
            client.sendall(piece)
            time.sleep(0.05)
        client.sendall(SAID if header else status + SAID)
        ended.append("the whole answer")

    return talk


@pytest.mark.parametrize("piece", [b"HTTP/1.1 103 Early Hints\r\n\r\n", b"X-More: yes\r\n"], ids=["hints", "a header"])
def test_no_server_keeps_an_attempt_longer_than_its_time(piece: bytes) -> None:
    """A server that does something before each wait is over had as much time as it liked."""
    ended: list[str] = []
    late = pytest.raises(PolicyError, match="cannot be reached: Request timed out")
    with listen(drip(piece, ended)) as url, ChatPolicy("m", url, timeout=0.5, max_retries=0) as policy, late:
        policy(ASKED, [])
    assert ended == []  # it was hung up on before


def test_a_redirected_request_has_the_time_of_one() -> None:
    def answer(request: dict[str, Any], number: int) -> Answer:
        return Raw(307, headers={"Location": "completions"}, delay=0.3) if number < 4 else completion("done")

    late = pytest.raises(PolicyError, match="Request timed out")
    with serve(answer) as server, ChatPolicy("m", server.url, timeout=0.5, max_retries=0) as policy, late:
        policy(ASKED, [])


def test_a_compressed_answer_is_not_asked_for_and_not_read() -> None:
    """A megabyte of it was gigabytes."""
    bomb = Raw(body=gzip.compress(b" " * (32 << 20) + WHOLE), headers=GZIP)
    refused = pytest.raises(PolicyError, match=r"the answer is compressed \(gzip\), which was not asked for")
    with serve([bomb]) as server, ChatPolicy("m", server.url, max_retries=0) as policy, refused:
        policy(ASKED, [])
    assert {name.lower(): value for name, value in server.headers[0].items()}["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "more",
    [
        {"tool_calls": [{}] * (MAX_VALUES + 1)},
        {"content": [{}] * (MAX_VALUES + 1)},
        {"odd": [[[1] * 400 for _ in range(300)]]},
    ],
    ids=["calls", "parts", "anything"],
)
def test_a_message_of_too_many_parts_is_no_answer(more: dict[str, Any]) -> None:
    refused = pytest.raises(PolicyError, match=f"a message holds more than {MAX_VALUES} values")
    body = {"choices": [{"message": more, "finish_reason": "stop"}]}
    with serve([body]) as server, ChatPolicy("m", server.url, max_retries=0) as policy, refused:
        policy(ASKED, [])
    with pytest.raises(ActionError, match=f"a message holds more than {MAX_VALUES} values"):
        as_assistant({"role": "assistant", "content": "", **more}, 0)


def test_many_calls_in_one_message_are_one_message() -> None:
    calls = [call("shell", {"cmd": "ls"})] * 10_000
    assert len(as_assistant({"role": "assistant", "content": "", "tool_calls": calls}, 0)["tool_calls"]) == 10_000


def test_an_answer_of_more_bytes_than_a_log_can_hold_is_none() -> None:
    long = json.dumps(completion("\u00e9" * (6 << 20)), ensure_ascii=False).encode()
    refused = pytest.raises(PolicyError, match="the answer is longer than 10485760 bytes")
    with serve([Raw(body=long)]) as server, ChatPolicy("m", server.url, max_retries=0) as policy, refused:
        policy(ASKED, [])


@pytest.mark.parametrize("letter", ["\u00e9", '"'], ids=["escaped", "in arguments"])
def test_what_can_be_acted_on_can_be_logged_and_read(task: Task, sandbox: Sandbox, tmp_path: Path, letter: str) -> None:
    """Up to the limit, which counts what JSON makes of it; arguments given as an object are JSON in JSON."""
    size = len(json.dumps(letter)) - 2
    fits, over = letter * (MAX_CHARACTERS // size - 100), letter * (MAX_CHARACTERS // size)

    def action(text: str) -> Message:
        if letter == '"':
            return {"type": "function", "function": {"name": "shell", "arguments": {"no": text}}}
        return {"role": "assistant", "content": text}

    with NanoCodexEnv([task], MENDED, sandbox=sandbox, log_dir=tmp_path, max_steps=1) as env:
        env.reset()
        with pytest.raises(ActionError, match=f"characters as JSON; the limit is {MAX_CHARACTERS}"):
            env.step(action(over))
        env.step(action(fits))
        assert env.episode.log
        assert Trajectory.load(env.episode.log.folder).messages == env.episode.messages


def test_an_endpoint_that_dies_midway_voids_what_it_leaves(many: list[Task], sandbox: Sandbox, tmp_path: Path) -> None:
    """Few places, so that most episodes have not begun when it dies; none of them waits for ever."""

    def answer(request: dict[str, Any], number: int) -> Answer:
        return TURNS[turn_of(request)] if number < 30 else Raw(reset=True)

    with serve(answer) as server, ChatPolicy("m", server.url, timeout=PATIENT, max_retries=0) as policy:
        results = rollouts(many, policy, concurrency=4, reward=MENDED, out=tmp_path, sandbox=sandbox)
    check(results, tmp_path)
    good = [result for result in results if result.reward is not None]
    assert sum(3 if result in good else result.steps for result in results) == 30
    assert len(server.requests) == 30 + len(results) - len(good)
    assert {result.reward for result in good} == {1.0}
