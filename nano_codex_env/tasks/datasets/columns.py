"""What rows of several datasets share: checks of a row, its container image, and a `Task` of its columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nano_codex_env.errors import TaskError
from nano_codex_env.tasks.task import Task
from nano_codex_env.untrusted import parse_json

Row = Mapping[str, Any]

SWE_BENCH = frozenset(
    {
        *("instance_id", "repo", "base_commit", "patch", "test_patch", "problem_statement", "hints_text"),
        *("created_at", "version", "FAIL_TO_PASS", "PASS_TO_PASS"),
    }
)
"""The columns of SWE-bench that all datasets made like it have."""

_ID = re.compile(r"[A-Za-z0-9_][\w.+-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class Dataset:
    """One family of datasets."""

    name: str
    columns: frozenset[str]
    """A row with these columns, and of no dataset before it in the list, is of this dataset."""
    to_task: Callable[[Row], Task]
    """A row as a task, without I/O; raises TaskError if the row cannot be used."""
    without: frozenset[str] = frozenset()
    """Columns that such a row does not have."""


def image_of(instance_id: str, prefix: str, separator: str) -> str:
    """The image that is named after an instance: in lower case, with `separator` for `__`."""
    return f"{prefix}{instance_id.lower().replace('__', separator)}:latest"


def make_task(row: Row, environment: Mapping[str, Any], *, moved: tuple[str, ...] = (), **changes: Any) -> Task:
    """A task of a row's columns, with the `environment` of its dataset.

    An `environment` that the row itself has, an object or the JSON text of one, replaces that. `moved` are columns
    that are part of `environment` and need not be in `metadata` too; `changes` replace columns.

    Raises:
        TaskError: the id, the repository, the issue or a patch is malformed.
    """
    columns = {key: value for key, value in row.items() if key not in moved} | changes
    name = instance_id(columns)
    for key in ("problem_statement", "patch", "test_patch"):
        if not isinstance(columns.get(key), str | None):  # pandas has NaN for what is missing
            raise TaskError(f"{name}: {key} must be text; got {columns[key]!r:.120}")
    columns["problem_statement"] = columns.get("problem_statement") or ""
    if not columns.get("repo"):
        raise TaskError(f"{name}: repo is empty; it must be owner/name, a URL or a path")
    for key in ("FAIL_TO_PASS", "PASS_TO_PASS"):
        if isinstance(columns.get(key), str) and not columns[key]:
            columns[key] = []  # a row without tests
    own = columns.pop("environment", None)
    if is_environment(own):
        environment = own if isinstance(own, Mapping) else parse_json(own)
    elif own:
        columns["metadata"] = {**(columns.get("metadata") or {}), "environment": own}
    return Task.from_row({**columns, "environment": environment})


def instance_id(row: Row) -> str:
    """The row's id.

    Raises:
        TaskError: it is none: images, branches and folders are named after it.
    """
    name = row.get("instance_id")
    if not isinstance(name, str) or not _ID.fullmatch(name) or len(name) > 200:
        raise TaskError(f"instance_id must be like owner__name-123; got {name!r:.120}")
    return name


def check_commit(row: Row, column: str = "base_commit") -> str:
    """The full id of a commit in a column.

    Raises:
        TaskError: it is none.
    """
    commit = row.get(column)
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        name = row.get("instance_id", row.get("repo_name"))
        raise TaskError(f"{name!s:.200}: {column} must be the full id of a commit; got {commit!r:.120}")
    return commit


def is_environment(value: object) -> bool:
    """Whether a column is an environment of ours: an object, or the JSON text of one with a `kind`."""
    if not isinstance(value, str):
        return isinstance(value, Mapping)
    try:
        parsed = parse_json(value)
    except ValueError:
        return False
    return isinstance(parsed, dict) and "kind" in parsed


def json_object(row: Row, key: str) -> dict[str, Any]:
    """A column that holds the JSON text of an object, or an object.

    Raises:
        TaskError: it holds neither.
    """
    value = row.get(key)
    try:
        found = parse_json(value) if isinstance(value, str) else value
    except ValueError as error:
        raise TaskError(f"{key} is no JSON: {error!s:.120}") from error
    if not isinstance(found, Mapping):
        raise TaskError(f"{key} must be a JSON object; got {found!r:.120}")
    return dict(found)
