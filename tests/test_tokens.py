"""Token ids: what is asked for, what a run logs of them, and the one sequence that training takes."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nano_codex_env import ChatPolicy, NanoCodexEnv, Trajectory
from nano_codex_env.chat_templates import check_prefix
from nano_codex_env.errors import PolicyError, TrajectoryError
from nano_codex_env.messages import assistant, dumps
from nano_codex_env.records.result import EpisodeResult
from nano_codex_env.records.trajectory import LogWriter
from nano_codex_env.runs.rollout import rollout
from nano_codex_env.tokens import digest, from_completion, is_record, join_turns, pack_turn
from tests.server import Answer, by_turn, call, completion, serve
from tests.strategies import quick

LOOK = call("shell", {"cmd": "ls"})
ASKED = [{"role": "user", "content": "u"}]


def told(
    prompt: object, sampled: object, logprobs: Sequence[object] | None = None, *calls: Any, **more: Any
) -> dict[str, Any]:
    """A completion as vLLM gives it."""
    body = completion(None if calls else "done", *calls, **more)
    if logprobs is not None:
        body["choices"][0]["logprobs"] = {"content": [{"token": "t", "logprob": each} for each in logprobs]}
    body["choices"][0]["token_ids"] = sampled
    return body | {"prompt_token_ids": prompt}


def play(env: NanoCodexEnv, *answers: Answer) -> EpisodeResult:
    with serve(by_turn(*answers)) as server, ChatPolicy("m", server.url, max_retries=0, return_tokens=True) as policy:
        return rollout(env, policy)


def lines(result: EpisodeResult) -> list[dict[str, Any]]:
    assert result.folder
    return [json.loads(line) for line in (Path(result.folder) / "tokens.jsonl").read_text().splitlines()]


def episode(folder: Path, turns: int, *records: dict[str, Any]) -> Trajectory:
    """A log with so many assistant messages, and these lines of tokens."""
    log = LogWriter(folder, [], {})
    for _ in range(turns):
        log.append(dumps(assistant("hm")))
    for record in records:
        with (log.folder / "tokens.jsonl").open("a") as file:
            file.write(dumps(record) + "\n")
    log.close()
    return Trajectory.load(log.folder)


def turn(prompt: Any, sampled: Any, logprobs: Any = None) -> dict[str, Any]:
    return {"prompt": prompt, "sampled": sampled, "logprobs": logprobs, "finish_reason": "stop"}


# What is asked, and what comes of it.


def test_ids_are_asked_for_in_vllms_dialect_and_only_if_they_are_wanted() -> None:
    with serve([told([1, 2], [3, 4], [-0.5, -1.0])]) as server:
        with ChatPolicy("m", server.url, return_tokens=True) as policy:
            reply = policy(ASKED, [])
            assert policy.about["sampling"] == {"max_tokens": 4096, "logprobs": True, "return_token_ids": True}
            with pickle.loads(pickle.dumps(policy)) as copy:
                assert copy(ASKED, []).tokens == reply.tokens
        with ChatPolicy("m", server.url) as policy:
            assert policy(ASKED, []).tokens is None
    assert reply.tokens == {"prompt": [1, 2], "sampled": [3, 4], "logprobs": [-0.5, -1.0], "finish_reason": "stop"}
    assert reply.message == {"role": "assistant", "content": "done"}
    assert [(asked.get("return_token_ids"), asked.get("logprobs")) for asked in server.requests] == [
        (True, True),
        (True, True),
        (None, None),
    ]


@pytest.mark.parametrize(
    ("prompt", "sampled", "missing"),
    [
        (None, None, "prompt_token_ids"),
        (None, [1], "prompt_token_ids"),
        ([], [1], "prompt_token_ids"),
        ([1, True], [1], "prompt_token_ids"),
        ([1], None, "token_ids"),
        ([1], "12", "token_ids"),
        ([1], [-1], "token_ids"),
    ],
    ids=repr,
)
def test_a_server_that_tells_no_ids_is_an_error_in_words(prompt: object, sampled: object, missing: str) -> None:
    words = rf"return_token_ids\) and answered without {missing}; vLLM gives them"
    with (
        serve([told(prompt, sampled)]) as server,
        ChatPolicy("m", server.url, return_tokens=True) as policy,
        pytest.raises(PolicyError, match=words),
    ):
        policy(ASKED, [])


def test_logprobs_that_are_none_are_unknown_and_too_few_are_an_error() -> None:
    body = told([1], [2, 3, 4, 5], [None, float("nan"), float("-inf"), True])
    assert from_completion(body)["logprobs"] == [None] * 4
    assert from_completion(told([1], [2]))["logprobs"] is None
    with pytest.raises(PolicyError, match="returned 2 token ids and 1 logprobs"):
        from_completion(told([1], [2, 3], [-1.0]))


# What is logged.


def test_a_run_logs_what_each_turn_adds(env: NanoCodexEnv) -> None:
    first, second = [1, 2], [1, 2, 3, 4, 9, 9]
    result = play(env, told(first, [3, 4], [-0.5, -0.25], LOOK), told(second, [5], [-1.0]))
    assert result.reward == 0.0
    assert lines(result) == [
        {
            "turn": 1,
            "prompt": first,
            "prompt_length": 2,
            "prompt_sha256": hashlib.sha256(b"1,2").hexdigest(),
            "sampled": [3, 4],
            "logprobs": [-0.5, -0.25],
            "finish_reason": "tool_calls",
        },
        {
            "turn": 2,
            "prompt_delta": [9, 9],
            "prompt_length": 6,
            "prompt_sha256": digest(second),
            "sampled": [5],
            "logprobs": [-1.0],
            "finish_reason": "stop",
        },
    ]
    assert result.folder
    example = Trajectory.load(result.folder).to_training_example()
    assert example.input_ids == [1, 2, 3, 4, 9, 9, 5]
    assert example.mask == [0, 0, 1, 1, 0, 0, 1]
    assert example.logprobs == [0.0, 0.0, -0.5, -0.25, 0.0, 0.0, -1.0]


def test_a_prompt_that_is_no_continuation_is_logged_whole_and_refused_in_words(env: NanoCodexEnv) -> None:
    result = play(env, told([1, 2], [3], None, LOOK), told([1, 7, 3, 4], [5], None, LOOK), told([1, 7, 3, 4, 5], [6]))
    assert [("prompt" in line, "prompt_delta" in line) for line in lines(result)] == [
        (True, False),
        (True, False),
        (False, True),
    ]
    assert result.folder
    with pytest.raises(
        TrajectoryError, match=r"turn 2 does not continue turn 1: its prompt departs at token 1 from the 3 "
    ):
        Trajectory.load(result.folder).to_training_example()


def test_nan_is_null_on_disk_and_logprobs_are_all_or_nothing(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, [], {})
    log.tokens(turn([1], [2, 3], [float("nan"), -1.0]), 1)
    log.append(dumps(assistant("hm")))
    log.close()
    logged = Trajectory.load(log.folder)
    assert logged.tokens[0]["logprobs"] == [None, -1.0]
    assert (logged.to_training_example().mask, logged.to_training_example().logprobs) == ([0, 1, 1], None)


FIRST, SECOND = pack_turn(turn([1], [2]), 1, []), pack_turn(turn([1, 2, 8], [3]), 2, [1, 2])
THIRD = pack_turn(turn([1, 2, 8], [3]), 3, [1, 2])
UNUSABLE: dict[str, tuple[int, list[dict[str, Any]], str]] = {
    "no ids": (1, [], r"play with ChatPolicy\(return_tokens=True\) on vLLM >= 0.10.2"),
    "no turns": (0, [FIRST], "there are no token ids"),
    "another form": (1, [{"ids": [1]}], "turn 1 of 1 has no token ids in the form of ChatPolicy"),
    "a turn is missing": (3, [FIRST, THIRD], "turn 2 of 3 has no token ids"),
    "the last turn is missing": (2, [FIRST], "turn 2 of 2 has no token ids"),
    "cut off": (
        2,
        [pack_turn(turn([1, 2], [3]), 1, []), pack_turn(turn([1, 2], [5]), 2, [1, 2, 3])],
        "turn 2 does not continue turn 1: its prompt departs at token 2 ",
    ),
    "delta": (2, [FIRST, SECOND | {"prompt_delta": [7]}], r"turn 2 of tokens\.jsonl is damaged"),
    "length": (2, [FIRST, SECOND | {"prompt_length": 9}], r"turn 2 of tokens\.jsonl is damaged"),
    "digest": (2, [FIRST, SECOND | {"prompt_sha256": "0"}], r"turn 2 of tokens\.jsonl is damaged"),
}


@pytest.mark.parametrize(("turns", "records", "expected"), UNUSABLE.values(), ids=list(UNUSABLE))
def test_a_log_without_one_whole_sequence_is_refused(
    tmp_path: Path, turns: int, records: list[dict[str, Any]], expected: str
) -> None:
    with pytest.raises(TrajectoryError, match=expected):
        episode(tmp_path, turns, *records).to_training_example()


def test_ids_of_an_answer_that_was_never_logged_are_left_out(tmp_path: Path) -> None:
    """Ids are written before their answer: a killed episode may have one line more."""
    assert not is_record({"ids": [1]})
    assert episode(tmp_path, 1, FIRST, SECOND).to_training_example().input_ids == [1, 2]


IDS = st.lists(st.integers(0, 300_000), min_size=1, max_size=8)


@quick(100)
@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=6))
def test_what_is_packed_comes_back_as_one_sequence(turns: list[tuple[list[int], list[int]]]) -> None:
    """Whatever the ids: what was added and what was sampled, in order, each under its mask."""
    before: list[int] = []
    records, ids, mask = [], [], []
    for number, (added, sampled) in enumerate(turns, 1):
        records.append(
            json.loads(dumps(pack_turn(turn(before + added, sampled, [-1.0] * len(sampled)), number, before)))
        )
        before = before + added + sampled
        ids += added + sampled
        mask += [0] * len(added) + [1] * len(sampled)
    example = join_turns(records, len(turns))
    assert (example.input_ids, example.mask) == (ids, mask)
    assert example.logprobs == [-1.0 * one for one in mask]


# A real model behind a real server.


def jinja(name: str) -> str:
    """A template out of TRL's wheel; torch is not imported."""
    spec = find_spec("trl")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("trl is not installed")
    return (Path(spec.submodule_search_locations[0]) / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def said(cmd: str, thought: str = "I look.", layout: tuple[str, str] = (", ", ": ")) -> str:
    made = json.dumps({"name": "shell", "arguments": {"cmd": cmd}}, separators=layout, ensure_ascii=False)
    return f"<think>\n{thought}\n</think>\n\n<tool_call>\n{made}\n</tool_call>"


def real(env: NanoCodexEnv, template: str, *turns: str) -> tuple[Any, Trajectory]:
    """An episode of a tiny model: the server that played it, and the log."""
    for package in ("torch", "transformers"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    from tests.vllm import TinyVllm

    model = TinyVllm(jinja(template), turns)
    with (
        serve(model) as server,
        ChatPolicy("m", server.url, max_retries=0, max_tokens=12, return_tokens=True) as policy,
    ):
        result = rollout(env, policy)
    assert (result.void, result.stop, result.steps) == (None, "submitted", len(turns))
    assert result.folder
    return model, Trajectory.load(result.folder)


@pytest.mark.slow
def test_a_training_example_is_what_a_real_model_read_and_wrote(env: NanoCodexEnv) -> None:
    """Its ids, mask and logprobs are those of the model itself, asked once more over the whole sequence."""
    model, logged = real(env, "qwen3_training", said("ls"), said("cat sums.py"), said("grep -n 'é' sums.py"))
    import torch

    assert [sorted(key for key in line if key.startswith("prompt_d")) for line in logged.tokens] == [
        [],
        *[["prompt_delta"]] * 3,
    ]
    assert [line["finish_reason"] for line in logged.tokens[:3]] == ["tool_calls"] * 3
    example = logged.to_training_example()
    prompt, sampled = model.seen[-1]
    assert example.input_ids == prompt + sampled
    assert [token for token, one in zip(example.input_ids, example.mask, strict=True) if one] == [
        token for _, sampled in model.seen for token in sampled
    ]
    with torch.inference_mode():
        scores = model.model(input_ids=torch.tensor([example.input_ids])).logits[0].log_softmax(-1)
    again = [0.0, *scores[range(len(example.input_ids) - 1), example.input_ids[1:]].tolist()]
    assert example.logprobs is not None
    assert example.logprobs == pytest.approx(
        [one * each for one, each in zip(example.mask, again, strict=True)], abs=1e-3
    )
    assert all(each.kept for each in check_prefix(logged.messages, logged.tools, model.tokenizer))


@pytest.mark.slow
def test_text_that_does_not_survive_parsing_is_refused(env: NanoCodexEnv) -> None:
    """The model wrote compact JSON; the server's next prompt holds it in another layout, thus other ids."""
    model, logged = real(env, "qwen3_training", said("ls", layout=(",", ":")), said("ls"))
    assert [sorted(key for key in line if key in ("prompt", "prompt_delta")) for line in logged.tokens] == [
        ["prompt"],
        ["prompt"],
        ["prompt_delta"],
    ]
    with pytest.raises(TrajectoryError, match="turn 2 does not continue turn 1"):
        logged.to_training_example()
    assert all(each.kept for each in check_prefix(logged.messages, logged.tools, model.tokenizer))  # text alone


@pytest.mark.slow
def test_a_template_that_rewrites_the_past_is_refused_and_the_check_says_so_too(env: NanoCodexEnv) -> None:
    """Qwen3's own, and a model that does not think."""
    model, logged = real(env, "qwen3", said("ls", ""), said("pwd", ""))
    with pytest.raises(TrajectoryError, match="does not continue turn"):
        logged.to_training_example()
    first = check_prefix(logged.messages, logged.tools, model.tokenizer)[0]
    assert not first.kept
    assert (first.advice or "").startswith("keep what the model thinks: with `reasoning_content`")
