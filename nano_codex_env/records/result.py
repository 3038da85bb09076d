"""The result of an episode: a row of `results.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from nano_codex_env.errors import TrajectoryError
from nano_codex_env.records.log_format import check_fields


@dataclass(frozen=True)
class EpisodeResult:
    """An episode's reward, or why it is void, and what explains it."""

    instance_id: str
    attempt: int
    reward: float | None
    """None: the episode is void."""
    stop: str | None
    steps: int
    seconds: float
    void: str | None
    """Why there is no reward: a failure of the environment, of the policy or of its server."""
    folder: str | None
    """The episode's log."""
    diff: str = ""
    parts: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    scorer: str | None = None
    """Name and version of the reward, if it has a version; one file never mixes rewards of two versions."""

    @property
    def key(self) -> tuple[str, int]:
        """Identifies the episode in its run."""
        return self.instance_id, self.attempt

    def row(self) -> dict[str, Any]:
        """The result as JSON; bytes of the diff that are not UTF-8 stay surrogate escapes."""
        return dict(vars(self))

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> EpisodeResult:
        """The result that `row` was made from.

        Raises:
            TrajectoryError: a column is missing, or holds another kind of value.
        """
        names = [column.name for column in fields(cls)]
        missing = [name for name in names if name not in row and name != "scorer"]
        if missing:
            raise TrajectoryError(f"a row of results has no {', '.join(missing)}; it has {', '.join(row)}")
        found = {name: row[name] for name in names if name in row}
        try:
            check_fields(found, cls.__annotations__)
        except ValueError as error:
            raise TrajectoryError(f"a row of results is damaged: {error}") from error
        return cls(**found)
