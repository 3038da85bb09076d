"""A score: a number for an episode, and the parts that explain it."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from nano_codex_env.errors import RewardError


@dataclass(frozen=True)
class Score:
    """A number for an episode, and the parts that explain it."""

    value: float
    parts: dict[str, Any] = field(default_factory=dict)
    """Numbers become metrics, the rest is kept as it is."""

    def __post_init__(self) -> None:
        """Only a finite number is a score, be it Python's, NumPy's or PyTorch's.

        Arrays in the parts become lists, and numbers that no float holds null.

        Raises:
            RewardError: `value` is not a finite number, or the parts are no dict, or cannot be written as JSON.
        """
        value = as_finite(as_number(self.value))
        if value is None:
            raise RewardError(f"a score is a finite number; got {printable(self.value)}")
        object.__setattr__(self, "value", value)
        if not isinstance(self.parts, dict):
            raise RewardError(f"a score's parts are a dict; got {self.parts!r:.200}")
        try:
            text = json.dumps(self.parts, default=_plain)
            parts = json.loads(text, parse_constant=lambda constant: None, parse_int=_whole)
            object.__setattr__(self, "parts", parts)
        except (TypeError, ValueError, RecursionError) as error:
            raise RewardError(f"a score's parts must be JSON: {error}") from error


def as_number(value: Any) -> Any:
    """A number of NumPy or PyTorch as Python's; anything else as it is."""
    with suppress(TypeError, ValueError, RuntimeError):  # an array of several numbers is none
        return value.item() if hasattr(value, "item") else value
    return value


def as_finite(value: object) -> float | None:
    """A number as a float; None: it is not a finite number, or too large for a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def printable(value: object) -> str:
    """A value for an error message; Python refuses to print integers of some thousand digits."""
    if isinstance(value, int) and value.bit_length() > 1024:
        return f"a whole number of {value.bit_length()} bits"
    return repr(value)


def _whole(digits: str) -> int | None:
    number = int(digits)
    return number if as_finite(number) is not None else None


def _plain(value: object) -> Any:
    """NumPy and PyTorch values as plain numbers and lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is not JSON")
