"""A score: a number for an episode, and what explains it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

from nano_codex_env.errors import RewardError


@dataclass(frozen=True)
class Score:
    """A number for an episode, and what it is made of."""

    value: float
    parts: dict[str, Any] = field(default_factory=dict)
    """Whatever explains the value: numbers become metrics, the rest is kept as it is."""

    def __post_init__(self) -> None:
        """Only a finite number is a score; arrays in the parts become lists, and numbers that JSON lacks null.

        Raises:
            RewardError: `value` is not a finite number, or the parts cannot be written as JSON.
        """
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or not math.isfinite(self.value):
            raise RewardError(f"a score is a finite number; got {self.value!r}")
        object.__setattr__(self, "value", float(self.value))
        try:
            text = json.dumps(self.parts, default=_plain)
            object.__setattr__(self, "parts", json.loads(text, parse_constant=lambda constant: None))
        except (TypeError, ValueError, RecursionError) as error:
            raise RewardError(f"a score's parts must be JSON: {error}") from error


def _plain(value: object) -> Any:
    """What NumPy and PyTorch hold, as plain numbers and lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is not JSON")
