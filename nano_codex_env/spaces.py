"""Gymnasium spaces of transcripts and actions, which are lists and dicts of text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gymnasium.spaces import Space

from nano_codex_env.errors import ActionError
from nano_codex_env.messages import Message, ToolCall, as_assistant, tool_call

_ROLES = {"system", "user", "assistant", "tool"}
_COMMANDS = ("ls", "ls -la", "git log --oneline", "git status --short", "head -n 5 README.md", "find . -name '*.py'")


class _TextSpace(Space[Any]):
    """A space without shape and dtype, whose values are JSON."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(shape=None, dtype=None, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """False: a text has no fixed length."""
        return False

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def to_jsonable(self, sample_n: Iterable[Any]) -> list[Any]:
        """Return the samples: they are JSON values."""
        return list(sample_n)

    def from_jsonable(self, sample_n: list[Any]) -> list[Any]:
        """See `to_jsonable`."""
        return list(sample_n)


class TranscriptSpace(_TextSpace):
    """Lists of chat messages in the OpenAI shape."""

    def contains(self, x: Any) -> bool:
        """Whether `x` is a list of messages."""
        return isinstance(x, list) and all(isinstance(item, dict) and item.get("role") in _ROLES for item in x)

    def sample(self, mask: Any = None, probability: Any = None) -> list[Message]:
        """A short transcript; masks are ignored."""
        return [{"role": "user", "content": f"issue {self.np_random.integers(1000)}"}]


class ActionSpace(_TextSpace):
    """One tool call, or one assistant message."""

    def contains(self, x: Any) -> bool:
        """Whether `step` takes `x`."""
        try:
            as_assistant(x, 0)
        except ActionError:
            return False
        return True

    def sample(self, mask: Any = None, probability: Any = None) -> ToolCall:
        """A read-only shell call: `check_env` executes samples, so none may end an episode."""
        return tool_call("shell", cmd=_COMMANDS[int(self.np_random.integers(len(_COMMANDS)))])
