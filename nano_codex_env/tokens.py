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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nano_codex_env.errors import PolicyError, TrajectoryError

_MOST = 1 << 63
"""No vocabulary is larger, and no tensor takes more."""

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
    hashed = _Hashed()
    for turn in range(1, turns + 1):
        record = records[turn - 1] if turn <= len(records) else {}
        sampled: Any = record.get("sampled")
        told: Any = record.get("logprobs")
        if record.get("turn") != turn or not _are_ids(sampled):
            raise TrajectoryError(
                f"turn {turn} of {turns} has no token ids in the form of ChatPolicy(return_tokens=True)"
            )
        if told is not None and not (isinstance(told, list) and len(told) == len(sampled)):
            raise TrajectoryError(f"turn {turn} of tokens.jsonl is damaged: it has not a logprob for each sampled id")
        added = _added(record, turn, ids, hashed)
        for new, flag, values in ((added, 0, [0.0] * len(added)), (sampled, 1, told or [None] * len(sampled))):
            ids += new
            mask += [flag] * len(new)
            logprobs += map(_finite, values)
        hashed.add(sampled)
    whole = [value for value in logprobs if value is not None]
    return TrainingExample(ids, mask, whole if len(whole) == len(ids) else None)


class _Hashed:
    """The digest of ids that grow at their end: each is hashed once, however many turns there are."""

    def __init__(self) -> None:
        self._hash, self._first = hashlib.sha256(), True

    def add(self, ids: Sequence[int]) -> str:
        """Take in what comes next; the digest of all so far."""
        if ids:
            self._hash.update(("" if self._first else ",").encode("ascii") + ",".join(map(str, ids)).encode("ascii"))
            self._first = False
        return self._hash.hexdigest()


def _added(record: Record, turn: int, before: list[int], hashed: _Hashed) -> list[int]:
    """What a turn's prompt adds to the turn before; the whole prompt is proved by its hash."""
    whole, added = record.get("prompt"), record.get("prompt_delta", [])
    damage = f"turn {turn} of tokens.jsonl is damaged: its prompt is"
    if not _are_ids(added if whole is None else whole):
        raise TrajectoryError(f"{damage} no list of token ids")
    if whole is not None:
        if whole[: len(before)] != before:
            if len(whole) != record.get("prompt_length") or digest(whole) != record.get("prompt_sha256"):
                raise TrajectoryError(f"{damage} not the one that was hashed")
            raise TrajectoryError(_departure(turn, whole, before))
        added = whole[len(before) :]
    if len(before) + len(added) != record.get("prompt_length") or hashed.add(added) != record.get("prompt_sha256"):
        raise TrajectoryError(f"{damage} not the one that was hashed")
    return list(added)


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
    return isinstance(value, list) and all(type(item) is int and 0 <= item < _MOST for item in value)


def _finite(value: object) -> float | None:
    """A logprob, or None if it is none: null, NaN, infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        return None  # an integer may have more digits than a float takes
    return float(value)
