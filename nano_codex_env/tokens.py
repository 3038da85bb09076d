"""Token ids of an episode by turn: read from a server's answer, stored in a log, joined to a training example.

Ids are the only exact record of what a model read and wrote: text that is parsed, rendered and tokenised again gives
other ids. vLLM returns them since 0.10.2: the request has `return_token_ids` and `logprobs`, the answer has
`prompt_token_ids`, and its choice has `token_ids` and `logprobs.content[].logprob`. (The server's `--logprobs-mode`
sets which logprobs these are: `raw_logprobs`, before temperature, or `processed_logprobs`, those it sampled from.)

    {"turn": 1, "prompt": [...], "prompt_length": 3, "prompt_sha256": "...", "sampled": [...], "logprobs": [...],
     "finish_reason": "tool_calls"}
    {"turn": 2, "prompt_delta": [...], ...}

`turn` counts assistant messages from 1. `prompt_delta` is what the prompt adds to the prompt and the sampled ids of the
turn before; a prompt that does not continue those is stored whole. An unknown logprob is null.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from nano_codex_env.errors import PolicyError, TrajectoryError

_MAX_ID = 1 << 63
"""No vocabulary is larger, and no tensor holds more."""

Record = Mapping[str, Any]
"""One turn: `prompt`, `sampled`, `logprobs`, `finish_reason`."""


@dataclass(frozen=True)
class TrainingExample:
    """An episode as one sequence of tokens; all lists have its length."""

    input_ids: list[int]
    """The last turn's prompt and its sampled ids: all that the model ever read or wrote."""
    mask: list[int]
    """1 on what the model sampled, 0 on what it was given."""
    logprobs: list[float] | None
    """0.0 where the mask is 0; None: the server did not return all of them."""


def digest(ids: Sequence[int]) -> str:
    """Return the SHA-256 of ids, written as decimal numbers with commas between them.

    >>> digest([1, 20])[:8]
    'cfed6dac'
    """
    return hashlib.sha256(",".join(map(str, ids)).encode("ascii")).hexdigest()


def common_length(a: Sequence[object], b: Sequence[object]) -> int:
    """Return how many items two sequences share at their beginning.

    >>> common_length("turn", "turtle")
    3
    """
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def from_completion(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a chat completion of vLLM.

    Raises:
        PolicyError: it has no ids, or not one logprob for each.
    """
    choice = body["choices"][0]
    prompt, sampled = body.get("prompt_token_ids"), choice.get("token_ids")
    for name, valid in (("prompt_token_ids", _are_ids(prompt) and prompt), ("token_ids", _are_ids(sampled))):
        if not valid:
            raise PolicyError(
                f"the server was asked for token ids (return_token_ids) and answered without {name}; vLLM gives them "
                "since 0.10.2; with another server leave return_tokens out"
            )
    returned = choice.get("logprobs")
    content = returned.get("content") if isinstance(returned, dict) else None
    logprobs = None
    if isinstance(content, list):
        logprobs = [_finite(entry.get("logprob") if isinstance(entry, dict) else None) for entry in content]
        if len(logprobs) != len(sampled):
            raise PolicyError(
                f"the server returned {len(sampled)} token ids and {len(logprobs)} logprobs of one answer"
            )
    return {"prompt": prompt, "sampled": sampled, "logprobs": logprobs, "finish_reason": choice.get("finish_reason")}


def is_record(record: Record) -> bool:
    """Whether a policy's tokens have the form above; others are logged as they are."""
    return all(isinstance(record.get(name), list | tuple) for name in ("prompt", "sampled"))


def pack_turn(record: Record, turn: int, before: Sequence[int]) -> dict[str, Any]:
    """Return the line of `tokens.jsonl`; `before` is the prompt and the sampled ids of the turn before."""
    prompt, sampled, logprobs = record["prompt"], record["sampled"], record.get("logprobs")
    continues = before and list(prompt[: len(before)]) == list(before)
    return {
        "turn": turn,
        **({"prompt_delta": prompt[len(before) :]} if continues else {"prompt": prompt}),
        "prompt_length": len(prompt),
        "prompt_sha256": digest(prompt),
        "sampled": sampled,
        "logprobs": None if logprobs is None else [_finite(value) for value in logprobs],
        **{name: value for name, value in record.items() if name not in ("prompt", "sampled", "logprobs")},
    }


def join_turns(records: Sequence[Record], turns: int) -> TrainingExample:
    """Join the first `turns` lines of a log's tokens to one sequence.

    Raises:
        TrajectoryError: a turn has no ids, is damaged, or its prompt does not continue the turn before.
    """
    if not records or not turns:
        raise TrajectoryError("there are no token ids; play with ChatPolicy(return_tokens=True) on vLLM >= 0.10.2")
    ids: list[int] = []
    mask: list[int] = []
    logprobs: list[float | None] = []
    sha256 = hashlib.sha256()  # the digest of `ids`, which grows with them: each id is hashed once

    def extend(new: Sequence[int]) -> None:
        if new:
            sha256.update((("," if ids else "") + ",".join(map(str, new))).encode("ascii"))
            ids.extend(new)

    for turn in range(1, turns + 1):
        record = records[turn - 1] if turn <= len(records) else {}
        damaged = f"turn {turn} of tokens.jsonl is damaged: "
        sampled: Any = record.get("sampled")
        values: Any = record.get("logprobs")
        prompt: Any = record.get("prompt")
        added: Any = record.get("prompt_delta", []) if prompt is None else prompt
        if record.get("turn") != turn or not _are_ids(sampled):
            raise TrajectoryError(
                f"turn {turn} of {turns} has no token ids in the form of ChatPolicy(return_tokens=True)"
            )
        if values is not None and not (isinstance(values, list) and len(values) == len(sampled)):
            raise TrajectoryError(f"{damaged}it does not have one logprob for each sampled id")
        if not _are_ids(added):
            raise TrajectoryError(f"{damaged}its prompt is not a list of token ids")
        claimed = (record.get("prompt_length"), record.get("prompt_sha256"))
        if prompt is not None and prompt[: len(ids)] != ids:
            if (len(prompt), digest(prompt)) != claimed:
                raise TrajectoryError(f"{damaged}its prompt is not the one that was hashed")
            raise TrajectoryError(
                f"turn {turn} does not continue turn {turn - 1}: its prompt departs at token "
                f"{common_length(prompt, ids)} from the {len(ids)} tokens before it, so that no sequence holds both. "
                "The server's chat template rewrites the past (see chat_templates.check_prefix), or what was sampled "
                "did not survive parsing and rendering. Train on each turn by itself, or serve the model with a "
                "template that keeps the past"
            )
        added = added if prompt is None else prompt[len(ids) :]
        extend(added)
        if (len(ids), sha256.hexdigest()) != claimed:
            raise TrajectoryError(f"{damaged}its prompt is not the one that was hashed")
        extend(sampled)
        mask += [0] * len(added) + [1] * len(sampled)
        logprobs += [0.0] * len(added) + [_finite(value) for value in values or [None] * len(sampled)]
    known = [value for value in logprobs if value is not None]
    return TrainingExample(ids, mask, known if len(known) == len(ids) else None)


def _are_ids(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < _MAX_ID for item in value)


def _finite(value: object) -> float | None:
    """Return a logprob; None if it is null, NaN or infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        return None  # an integer may have more digits than a float can hold
    return float(value)
