"""A task: a repository at a commit, an issue, and the tests that decide whether the issue is solved."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from nano_codex_env.errors import ConfigError, TaskError
from nano_codex_env.tasks.environment import Environment
from nano_codex_env.untrusted import on_one_line, parse_json

_LONGEST_NAME = 500
"""Characters of an instance_id."""

_DEEPEST = 50
"""Levels of nested lists and objects that a column may have."""


@dataclass(frozen=True)
class Task:
    """One row of a dataset with SWE-bench's columns (https://www.swebench.com, see its dataset card).

    An episode needs only the first four; the rest is for the reward.
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
    environment: Environment = field(default_factory=Environment)
    """What the tests need to run; a mapping is accepted, such as `{"kind": "venv", "packages": ["six>=1.16"]}`."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """All other columns of the row: difficulty, kind, licence ..."""

    def __post_init__(self) -> None:
        """Make a mapping that is given as environment an `Environment`."""
        if not isinstance(self.environment, Environment):
            object.__setattr__(self, "environment", Environment(self.environment))

    @property
    def has_tests(self) -> bool:
        """Whether the default reward can score the task."""
        return bool(self.FAIL_TO_PASS)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Task:
        """A task from a dataset row; unknown columns go to `metadata`.

        Raises:
            TaskError: a required column is missing, has the wrong type, or cannot be logged: a list in place of text,
                a lone surrogate, more than 50 levels of nesting, an instance_id that is not a name on one line.
        """
        if not isinstance(row, Mapping):
            raise TaskError(f"a row must be an object; got {type(row).__name__}")
        known = {item.name for item in fields(cls)}
        values = {name: row[name] for name in known if row.get(name) is not None}
        name = _name(values.get("instance_id", "a row"))
        missing = [key for key in ("instance_id", "repo", "problem_statement") if key not in values]
        if missing:
            columns = sorted(key if isinstance(key, str) else _shown(key) for key in row)
            raise TaskError(f"{name}: no column {', '.join(missing)}; it has {columns!s:.400}")
        for key in ("FAIL_TO_PASS", "PASS_TO_PASS"):
            values[key] = _ids(values.get(key, ()), f"{name}: {key}")
        for key in ("environment", "metadata"):
            values[key] = _mapping(values.get(key, {}), f"{name}: {key}")
        rest = {key: value for key, value in row.items() if key not in known}
        values["metadata"] = {**_mapping(rest, f"{name}: a column", nulls=True), **values["metadata"]}
        for key in _TEXTS & values.keys():  # the episode itself reports an issue with a lone surrogate
            values[key] = _text(values[key], f"{name}: {key}", surrogates=key == "problem_statement")
        for key in ("repo", "base_commit", "environment_setup_commit"):
            if "\0" in values.get(key, ""):
                raise TaskError(f"{name}: {key} holds a NUL character: {values[key]!r:.120}")
        return cls(**{"base_commit": "", **values})

    def to_row(self) -> dict[str, Any]:
        """The row that `from_row` reads back to an equal task."""
        row = {item.name: getattr(self, item.name) for item in fields(self)} | {"environment": self.environment.row}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in row.items()}

    def with_(self, **changes: Any) -> Task:
        """A copy with some fields changed."""
        return replace(self, **changes)

    @classmethod
    def for_issue(cls, issue: object, repo: object, commit: object = "") -> Task:
        """A task without tests: an issue in a repository (a path, a URL or `owner/name`) at a commit (empty: HEAD).

        Raises:
            ConfigError: an argument is missing or not text.
        """
        if not isinstance(issue, str) or not isinstance(repo, str | os.PathLike):
            raise ConfigError("give both issue (text) and repo (a path, a URL or owner/name)")
        if not isinstance(commit, str):
            raise ConfigError(f"commit must be a commit's id; got {commit!r}")
        path = os.fspath(repo)
        name = path.rstrip("/").removesuffix(".git").rpartition("/")[2]
        name = f"{name}-{commit[:12]}" if commit else name
        return cls(instance_id=name, repo=path, base_commit=commit, problem_statement=issue)


_TEXTS = {item.name for item in fields(Task) if item.type == "str"}


def _name(value: object) -> str:
    """The task's id; it appears in tables, logs and folder names, so a terminal must be able to print it."""
    name = _text(value, "instance_id")
    if not name.strip() or len(name) > _LONGEST_NAME or "\t" in name or on_one_line(name) != name:
        raise TaskError(
            f"instance_id must be a name of 1 to {_LONGEST_NAME} printable characters on one line; got {name!r:.120}"
        )
    return name


def _text(value: object, where: str, surrogates: bool = False) -> str:
    """A text column; numbers and dates are converted. `surrogates`: lone ones are allowed."""
    if isinstance(value, Mapping | list | tuple | set | bytes | bytearray):
        raise TaskError(f"{where} must be text; got {type(value).__name__}")
    try:
        text = value if isinstance(value, str) else str(value)
        if not surrogates:
            text.encode("utf-8", "surrogateescape")
    except ValueError as error:  # a lone surrogate, or an integer of thousands of digits
        raise TaskError(f"{where} cannot be written as text: {error!s:.120}") from error
    return text


def _ids(value: object, where: str) -> tuple[str, ...]:
    """A column of test ids: a list, a numpy array (as pandas reads Parquet), or the JSON text of a list."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError as error:
            raise TaskError(f"{where} is neither a list nor a JSON list: {value!r:.120}") from error
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise TaskError(f"{where} must be a list of test ids; got {_shown(value)}")
    return tuple(_text(item, where) for item in value)


def _mapping(value: object, where: str, *, nulls: bool = False) -> dict[str, Any]:
    """A column that is an object or the JSON text of one; null values are dropped unless `nulls`."""
    if isinstance(value, str):
        try:
            value = parse_json(value) if value else {}
        except ValueError as error:
            raise TaskError(f"{where} is no JSON object: {value!r:.120}") from error
    if not isinstance(value, Mapping):
        raise TaskError(f"{where} must be an object; got {_shown(value)}")
    return {_text(key, where): _plain(item, where) for key, item in value.items() if nulls or item is not None}


def _plain(value: object, where: str, depth: int = 0) -> Any:
    """A value as JSON types; dates, bytes and the like become text."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if depth > _DEEPEST:
        raise TaskError(f"{where} is nested more than {_DEEPEST} levels deep")
    if isinstance(value, Mapping):
        return {_text(key, where): _plain(item, where, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, where, depth + 1) for item in value]
    if isinstance(value, int) and value.bit_length() > 1024:
        raise TaskError(f"{where} holds an integer of {value.bit_length()} bits")
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _shown(value: object) -> str:
    """A value's repr, or its type where it has no finite one."""
    try:
        return f"{value!r:.120}"
    except (ValueError, RecursionError):
        return f"a {type(value).__name__}"
