"""Notices: text of the environment that is added to a tool's answer before it is logged and returned.

A notice is a function `(state) -> str | None`; by default there is none. Notices are not a Gymnasium wrapper, because a
wrapper is outside the log, and the log would differ from what the model saw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from nano_codex_env.errors import BrokenToolError, ConfigError, describe, is_ours


@dataclass(frozen=True)
class State:
    """The state of an episode after a tool call."""

    steps: int
    """Tool calls, this one included."""
    max_steps: int
    tokens: int | None
    """Tokens used, if the caller reports them; see `NanoCodexEnv.report_tokens`."""
    token_limit: int | None
    changed: bool
    """Whether the repository differs from its base."""


Notice = Callable[[State], str | None]


def budget(state: State) -> str | None:
    """The original's warnings: the most urgent one that applies."""
    calls = state.max_steps - state.steps
    if state.tokens is not None and state.token_limit:
        left = 1 - state.tokens / state.token_limit
        if left < 0.1:
            return f"[critical: {max(0, state.token_limit - state.tokens)} tokens left; finish your patch now]"
        if left < 0.3:
            return f"[low: {state.token_limit - state.tokens} tokens left]"
    if calls == 1:
        return "[last call: 1 tool call left]" if state.changed else "[last call: 1 tool call left; patch now]"
    if 1 < calls <= 5:
        return f"[{calls} tool calls left]"
    return None


def checked_notices(notices: object) -> tuple[Notice, ...]:
    """The notices of an argument.

    Raises:
        ConfigError: it is no list of functions.
    """
    found: list[Any] = list(notices) if isinstance(notices, Iterable) else [None]
    if not all(map(callable, found)):
        raise ConfigError(
            f"notices is a list of functions (State) -> str or None, such as [budget]; got {notices!r:.200}"
        )
    return tuple(found)


def text_of(notice: Notice, state: State) -> str | None:
    """What a notice says.

    Raises:
        BrokenToolError: it is not of this package and raised something, or returned something else than a text.
    """
    name = getattr(notice, "__qualname__", repr(notice))
    try:
        text = notice(state)
    except (Exception, SystemExit) as error:
        if is_ours(notice):
            raise
        raise BrokenToolError(f"notice {name!r} failed: {describe(error)}") from error
    if not isinstance(text, str | None):
        raise BrokenToolError(f"notice {name!r} returned {text!r:.200}; a notice returns a text or None")
    return text
