"""Load tasks by name, leave out rows that cannot be used, and choose some of them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from nano_codex_env.atomic import write_whole
from nano_codex_env.errors import ConfigError, TaskError, check_positive
from nano_codex_env.tasks.datasets import OWN, dataset_of
from nano_codex_env.tasks.libraries import bundled_tasks
from nano_codex_env.tasks.mirrors import Mirrors
from nano_codex_env.tasks.rows import Rows, read_rows
from nano_codex_env.tasks.task import Task
from nano_codex_env.untrusted import on_one_line

logger = logging.getLogger(__name__)

Select = str | Collection[str] | Callable[[Task], bool]
"""Ids, or patterns of ids such as `django__*`, or a function that says which tasks to take."""


class Skipped(NamedTuple):
    """A row that was left out."""

    instance_id: str
    reason: str


def load_tasks(
    source: str | os.PathLike[str] | Rows = "bundled",
    *,
    split: str | None = None,
    select: Select | None = None,
    holdout: float | None = None,
    held_out: bool = False,
    seed: int | None = None,
    limit: int | None = None,
    repos: str | os.PathLike[str] | None = None,
    skipped: Callable[[Skipped], object] | None = None,
) -> list[Task]:
    """The tasks of `source`, in order unless there is a `seed`.

    A row that cannot be used is left out: its issue is empty, there is no clone in `repos`, or, if it is of a dataset
    that is known (`tasks.datasets`), a column is malformed or its id occurred before. In a row of the caller's own the
    last two are errors.

    Args:
        source: "bundled"; rows or tasks (a `datasets.Dataset`, a list); a `.jsonl`, `.json` or `.parquet` file, or a
            folder of such files; a folder that `datasets.Dataset.save_to_disk` wrote; or a dataset's name on the hub.
            Which dataset a row is of is told by its columns; a repository path is relative to the file it is in.
        split: the split to load; the default is "test" or, where there is none, "train".
        select: only these: ids, or patterns such as "django__*", or a function of a task.
        holdout: the share of tasks to hold out, between 0 and 1: those with `md5(instance_id) / 2**128 < holdout`,
            whatever the order and the other tasks. The result is without them.
        held_out: the result is the held-out tasks instead.
        seed: shuffle, the same way each time; before `limit` is applied.
        limit: at most so many.
        repos: a folder of clones, as `owner/name` or `owner__name`, with or without `.git`, or a TOML file that maps
            `owner/name` to paths or URLs. `task.repo` becomes the path, and `task.metadata["repo"]` the name.
        skipped: called with each row that is left out; by default one warning has their number and the first.

    Raises:
        TaskError: there is no such source, a row is invalid, or no task is left.
        ConfigError: an argument cannot be used.
    """
    _check_choice(holdout, held_out, seed, limit)
    mirrors = Mirrors(repos) if repos is not None else None
    left_out: list[Skipped] = []
    tasks = bundled_tasks() if isinstance(source, str) and source == "bundled" else _tasks(source, split, left_out)
    if not tasks:
        reasons = f": {_summary(left_out)}" if left_out else ""
        raise TaskError(f"{source!s:.80} holds no tasks{' that can be used' if left_out else ''}{reasons}")
    names = Counter(task.instance_id for task in tasks)
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise TaskError(f"{source!s:.80}: instance_id {twice[0]!r} occurs more than once; ids must be unique")
    if select is not None:
        tasks = _selected(tasks, select)
    if holdout is not None:
        tasks = [task for task in tasks if (_position(task.instance_id) < holdout) == held_out]
    if mirrors:
        tasks = list(_located(tasks, mirrors, left_out))
    if seed is not None:
        random.Random(seed).shuffle(tasks)
    if not tasks:
        raise TaskError(f"{source!s:.80}: no task is left; {_summary(left_out) if left_out else 'select more'}")
    if skipped:
        for row in left_out:
            skipped(row)
    elif left_out:
        logger.warning("%s: %s", f"{source!s:.80}", _summary(left_out))
    return tasks[:limit]


def save_tasks(tasks: Sequence[Task], path: Path) -> None:
    """Write tasks as JSONL that `load_tasks` reads back; the file is replaced as a whole."""
    write_whole(path, "".join(json.dumps(task.to_row()) + "\n" for task in tasks).encode("ascii"))


def _check_choice(holdout: object, held_out: object, seed: object, limit: object) -> None:
    """Raise ConfigError for an argument that cannot be used."""
    check_positive("limit", limit, optional=True)
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise ConfigError(f"seed must be a whole number; got {seed!r:.120}")
    if holdout is None and held_out:
        raise ConfigError("held_out needs holdout, the share of tasks to hold out")
    if holdout is not None and not (isinstance(holdout, int | float) and 0 < holdout < 1):
        raise ConfigError(f"holdout must be a share between 0 and 1; got {holdout!r:.120}")


def _tasks(source: str | os.PathLike[str] | Rows, split: str | None, left_out: list[Skipped]) -> list[Task]:
    tasks: list[Task] = []
    seen: set[str] = set()
    for number, row in enumerate(list(read_rows(source, split)), 1):
        if isinstance(row, Task):
            tasks.append(row)
            continue
        if not isinstance(row, Mapping):
            raise TaskError(f"rows must be objects; got {row!r}")
        dataset = dataset_of(row)
        try:
            task = dataset.to_task(row)
        except TaskError as error:
            if dataset is OWN:
                raise
            name = row.get("instance_id") if "instance_id" in row else str(error).partition(": ")[0]
            left_out.append(_skipped(name if isinstance(name, str) and name else f"row {number}", error))
            continue
        if not task.problem_statement.strip():
            left_out.append(Skipped(task.instance_id, "the issue is empty; there is nothing to solve"))
        elif dataset is not OWN and task.instance_id in seen:
            left_out.append(Skipped(task.instance_id, "the id occurred before"))
        else:
            seen.add(task.instance_id)
            tasks.append(task)
    return tasks


def _skipped(name: str, error: TaskError) -> Skipped:
    return Skipped(on_one_line(name)[:200], on_one_line(str(error).removeprefix(f"{name}: "))[:500])


def _summary(left_out: Sequence[Skipped]) -> str:
    """One line: how many rows were left out, and the first of them."""
    first = "; ".join(f"{name} ({reason})" for name, reason in left_out[:3])
    rows = "1 row" if len(left_out) == 1 else f"{len(left_out)} rows"
    return f"left out {rows} that cannot be used: {first}{' ...' if len(left_out) > 3 else ''}"


def _selected(tasks: Iterable[Task], select: Select) -> list[Task]:
    """Those that `select` names; one of its names that fits no task is an error, as it is probably misspelt."""
    if callable(select):
        return [task for task in tasks if select(task)]
    names = [select] if isinstance(select, str) else list(select)
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"select takes ids, patterns, or a function of a task; got {names!r:.200}")
    tasks = list(tasks)
    ids = [task.instance_id for task in tasks]
    chosen = set(ids) & set(names)
    for name in set(names) - chosen:
        found = [each for each in ids if fnmatchcase(each, name)]
        if not found:
            raise TaskError(f"no task is called {name!r:.200}; there are: {', '.join(ids[:20])}")
        chosen.update(found)
    return [task for task in tasks if task.instance_id in chosen]


def _position(instance_id: str) -> float:
    """A number from 0 to 1 that only depends on the id."""
    digest = hashlib.md5(instance_id.encode("utf-8", "surrogateescape"), usedforsecurity=False).digest()
    return int.from_bytes(digest, "big") / 2**128


def _located(tasks: Iterable[Task], mirrors: Mirrors, left_out: list[Skipped]) -> Iterator[Task]:
    for task in tasks:
        try:
            yield mirrors.locate(task)
        except TaskError as error:
            left_out.append(_skipped(task.instance_id, error))
