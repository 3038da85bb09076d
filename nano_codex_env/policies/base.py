"""Policies: what answers a transcript. The environment never sees one; `rollout` brings both together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nano_codex_env.messages import Message, ToolSchema


@dataclass(frozen=True)
class Reply:
    """A policy's answer."""

    message: Message
    """An assistant message."""
    tokens: Mapping[str, Any] | None = None
    """Ids and logprobs of this turn, for the log; they are never in the message."""
    usage: Mapping[str, Any] | None = None
    """OpenAI's `usage`, as the server counted."""
    finish_reason: str | None = None
    """Why the answer ended, in OpenAI's words; "length": it was cut off, and what looks like an end is none."""

    @property
    def total_tokens(self) -> int | None:
        """The transcript's length in tokens, this answer included; None: the server does not tell it."""
        total = (self.usage or {}).get("total_tokens")
        return total if isinstance(total, int) and not isinstance(total, bool) and 0 <= total < 1 << 53 else None


class Policy(Protocol):
    """Answers a transcript."""

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        """The next assistant message.

        Raises:
            ContextOverflow: the transcript is too long; the episode ends as `token_limit` and is scored.
            PolicyError: it cannot answer; the episode is void.
        """
