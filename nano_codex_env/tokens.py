"""Token ids of an episode, turn by turn: what a server tells of them, how a log keeps them, what training takes.

Ids are the only exact record of what a model read and wrote: text that is parsed, rendered and tokenised again gives
other ids. vLLM tells them since 0.10.2: the request says `return_token_ids` and `logprobs`, the answer holds
`prompt_token_ids`, and in its choice `token_ids` and `logprobs.content[].logprob`. (What those logprobs are is set by
the server's `--logprobs-mode`: `raw_logprobs`, before temperature, or `processed_logprobs`, those it sampled from.)

    {"turn": 1, "prompt": [...], "prompt_length": 3, "prompt_sha256": "...", "sampled": [...], "logprobs": [...],
     "finish_reason": "tool_calls"}
    {"turn": 2, "prompt_delta": [...], ...}

`turn` counts assistant messages from 1. `prompt_delta` is what the prompt adds to the turn before (its prompt and what
was sampled then); where it is no continuation of that, the prompt stands there whole. An unknown logprob is null.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nano_codex_env.errors import PolicyError, TrajectoryError

Record = Mapping[str, Any]
"""One turn: `prompt`, `sampled`, `logprobs`, `finish_reason`."""


@dataclass(frozen=True)
class TrainingExample:
    """An episode as one sequence of tokens."""

    input_ids: list[int]
    """The last turn's prompt and what was sampled then: all that the model ever read or wrote."""
    mask: list[int]
    """1 on what the model sampled, 0 on what it was given."""
    logprobs: list[float] | None
    """0.0 where the mask is 0; None: the server did not tell all of them."""


def digest(ids: Sequence[int]) -> str:
    """SHA-256 of ids, written as decimal numbers with a comma between them.

    >>> digest([1, 20])[:8]
    'cfed6dac'
    """
    return hashlib.sha256(",".join(map(str, ids)).encode("ascii")).hexdigest()


def of_completion(body: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a chat completion in vLLM's dialect.

    Raises:
        PolicyError: the server told no ids, or not a logprob for each.
    """
    choice = body["choices"][0]
    prompt, sampled = body.get("prompt_token_ids"), choice.get("token_ids")
    if not (_are_ids(prompt) and prompt and _are_ids(sampled)):
        missing = "prompt_token_ids" if not (_are_ids(prompt) and prompt) else "token_ids"
        raise PolicyError(
            f"the server was asked for token ids (return_token_ids) and answered without {missing}; vLLM gives them "
            "since 0.10.2; with another server leave return_tokens out"
        )
    told = choice.get("logprobs")
    content = told.get("content") if isinstance(told, dict) else None
    logprobs = None
    if isinstance(content, list):
        logprobs = [_finite(entry.get("logprob") if isinstance(entry, dict) else None) for entry in content]
        if len(logprobs) != len(sampled):
            raise PolicyError(f"the server told {len(sampled)} token ids and {len(logprobs)} logprobs of one answer")
    return {"prompt": prompt, "sampled": sampled, "logprobs": logprobs, "finish_reason": choice.get("finish_reason")}


def packed(record: Record, turn: int, before: Sequence[int]) -> dict[str, Any]:
    """The line of `tokens.jsonl`; `before` is all that the turn before held."""
    prompt, sampled, logprobs = record["prompt"], record["sampled"], record.get("logprobs")
    known = before and list(prompt[: len(before)]) == list(before)
    return {
        "turn": turn,
        **({"prompt_delta": prompt[len(before) :]} if known else {"prompt": prompt}),
        "prompt_length": len(prompt),
        "prompt_sha256": digest(prompt),
        "sampled": sampled,
        "logprobs": None if logprobs is None else [_finite(value) for value in logprobs],
        **{name: value for name, value in record.items() if name not in ("prompt", "sampled", "logprobs")},
    }


def is_record(record: Record) -> bool:
    """Whether a policy's tokens are in the form above; others are logged as they are."""
    return all(isinstance(record.get(name), list | tuple) for name in ("prompt", "sampled"))


def joined(records: Sequence[Record], turns: int) -> TrainingExample:
    """The first `turns` lines of a log's tokens as one sequence.

    Raises:
        TrajectoryError: a turn has no ids, is damaged, or its prompt is no continuation of the turn before.
    """
    if not records or not turns:
        raise TrajectoryError("there are no token ids; play with ChatPolicy(return_tokens=True) on vLLM >= 0.10.2")
    ids: list[int] = []
    mask: list[int] = []
    logprobs: list[float | None] = []
    for turn in range(1, turns + 1):
        record = records[turn - 1] if turn <= len(records) else {}
        if record.get("turn") != turn or not _are_ids(record.get("sampled")):
            raise TrajectoryError(
                f"turn {turn} of {turns} has no token ids in the form of ChatPolicy(return_tokens=True)"
            )
        prompt, sampled = _prompt(record, ids), record["sampled"]
        if prompt[: len(ids)] != ids:
            raise TrajectoryError(_departure(turn, prompt, ids))
        new = len(prompt) - len(ids)
        ids, mask = prompt + sampled, mask + [0] * new + [1] * len(sampled)
        logprobs += [0.0] * new + (record.get("logprobs") or [None] * len(sampled))
    whole = [value for value in logprobs if value is not None]
    return TrainingExample(ids, mask, whole if len(whole) == len(ids) else None)


def _prompt(record: Record, before: list[int]) -> list[int]:
    """A turn's whole prompt, proved by its hash."""
    whole = record.get("prompt")
    prompt = before + record.get("prompt_delta", []) if whole is None else list(whole)
    if len(prompt) != record.get("prompt_length") or digest(prompt) != record.get("prompt_sha256"):
        raise TrajectoryError(
            f"turn {record['turn']} of tokens.jsonl is damaged: its prompt is not the one that was hashed"
        )
    return prompt


def _departure(turn: int, prompt: Sequence[int], before: Sequence[int]) -> str:
    pairs = enumerate(zip(prompt, before, strict=False))
    place = next((number for number, (new, old) in pairs if new != old), min(len(prompt), len(before)))
    return (
        f"turn {turn} is no continuation: its prompt departs at token {place} from the {len(before)} tokens of the "
        "turn before, so that no one sequence holds both. The server's chat template rewrites the past (see "
        "templates.check_prefix), or what was sampled did not survive parsing and rendering. Train on each turn by "
        "itself, or serve the model with a template that keeps the past"
    )


def _are_ids(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _finite(value: object) -> float | None:
    """A logprob, or None if it is none: null, NaN, infinite."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else None  # type: ignore[arg-type]
