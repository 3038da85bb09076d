"""A task: a repository at a commit, an issue, and how its tests decide whether the issue is solved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from nano_codex_env.errors import TaskError


@dataclass(frozen=True)
class Task:
    """One row in SWE-bench's words (https://www.swebench.com, its dataset card).

    Only the first four are needed for an episode; the rest is for the reward.
    """

    instance_id: str
    """A name for the task, unique in its dataset."""
    repo: str
    """`owner/name`, a URL, or a path to a git repository."""
    base_commit: str
    """The commit that the policy starts from; empty: the repository's HEAD."""
    problem_statement: str
    """The issue, verbatim."""
    patch: str = ""
    """The reference patch; never shown to a policy."""
    test_patch: str = ""
    """The hidden tests, as a patch on the base commit."""
    FAIL_TO_PASS: tuple[str, ...] = ()
    """Ids of tests that fail before and must pass after."""
    PASS_TO_PASS: tuple[str, ...] = ()
    """Ids of tests that pass before and must still pass."""
    hints_text: str = ""
    version: str = ""
    created_at: str = ""
    environment_setup_commit: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """How the tests run: `{"kind": "host" | "venv", "pythonpath": [...], "packages": [...]}`; see `worlds`."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else the row held: difficulty, kind, licence ..."""

    @property
    def has_tests(self) -> bool:
        """Whether the default reward can judge it."""
        return bool(self.FAIL_TO_PASS)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Task:
        """A task from a dataset row; unknown columns go to `metadata`.

        Raises:
            TaskError: a needed column is missing, or one has the wrong type.
        """
        known = {item.name for item in fields(cls)}
        values = {name: row[name] for name in known if row.get(name) is not None}
        name = str(values.get("instance_id", "a row"))
        missing = [key for key in ("instance_id", "repo", "problem_statement") if key not in values]
        if missing:
            raise TaskError(f"{name}: no column {', '.join(missing)}; it has {sorted(map(str, row))}")
        for key in ("FAIL_TO_PASS", "PASS_TO_PASS"):
            values[key] = _ids(values.get(key, ()), name, key)
        for key in ("environment", "metadata"):
            values[key] = _mapping(values.get(key, {}), name, key)
        rest = {str(key): _plain(value) for key, value in row.items() if key not in known}
        values["metadata"] = {**rest, **values["metadata"]}
        texts = {key: value if isinstance(value, str) else str(value) for key, value in values.items() if key in _TEXTS}
        return cls(**{"base_commit": "", **values, **texts})

    def to_row(self) -> dict[str, Any]:
        """The row that `from_row` reads back to an equal task."""
        row = {item.name: getattr(self, item.name) for item in fields(self)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in row.items()}

    def with_(self, **changes: Any) -> Task:
        """A copy with some fields changed."""
        return replace(self, **changes)


_TEXTS = {item.name for item in fields(Task) if item.type == "str"}


def _ids(value: object, name: str, key: str) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise TaskError(f"{name}: {key} is neither a list nor a JSON list: {value!r:.120}") from error
    if hasattr(value, "tolist"):  # a numpy array, from Parquet by pandas
        value = value.tolist()
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise TaskError(f"{name}: {key} must be a list of test ids; got {value!r:.120}")
    return tuple(value)


def _plain(value: object) -> Any:
    """A value that JSON knows: a column may hold dates, arrays or bytes."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _mapping(value: object, name: str, key: str) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value) if value else {}
        except ValueError as error:
            raise TaskError(f"{name}: {key} is no JSON object: {value!r:.120}") from error
    if not isinstance(value, Mapping):
        raise TaskError(f"{name}: {key} must be an object; got {value!r:.120}")
    return {str(k): v for k, v in value.items() if v is not None}
