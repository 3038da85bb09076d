"""The interface of a policy: it answers a transcript. The environment never sees one; `rollout` joins the two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nano_codex_env.errors import check_callable
from nano_codex_env.messages import Message, ToolSchema


@dataclass(frozen=True)
class Reply:
    """A policy's answer."""

    message: Message
    """An assistant message."""
    tokens: Mapping[str, Any] | None = None
    """Token ids and logprobs of this turn, for the log; they are never part of the message."""
    usage: Mapping[str, Any] | None = None
    """OpenAI's `usage`, as the server counted."""
    finish_reason: str | None = None
    """Why the answer ended, in OpenAI's terms; "length" means that it was cut off, so it does not submit."""

    @property
    def total_tokens(self) -> int | None:
        """Length of the transcript in tokens, this answer included; None if the server does not report it."""
        total = (self.usage or {}).get("total_tokens")
        return total if isinstance(total, int) and not isinstance(total, bool) and 0 <= total < 1 << 53 else None


def check_policy(policy: object) -> None:
    """Raise ConfigError if `policy` cannot be called as one."""
    check_callable(policy, "a policy is called with (messages, tools), such as Idle() or a function of yours", 2)


class Policy(Protocol):
    """Answers a transcript; `nano_codex_env.testing.check_policy` checks an implementation."""

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        """Return the next assistant message.

        Raises:
            ContextOverflow: the transcript is too long; the episode ends as `token_limit` and is scored.
            PolicyError: the policy cannot answer; the episode is void.
        """
