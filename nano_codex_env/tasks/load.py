"""Load tasks by name: the bundled ones, a file, a folder, or a dataset on the Hugging Face hub."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nano_codex_env.atomic import write_whole
from nano_codex_env.errors import TaskError
from nano_codex_env.tasks.libraries import bundled_tasks
from nano_codex_env.tasks.task import Task
from nano_codex_env.untrusted import FILE_LIMIT, open_regular, parse_json, read_file, read_lines

Rows = Iterable[Mapping[str, Any] | Task]
"""Rows, or tasks, or both: a list, or a `datasets.Dataset`."""


_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
"""The name of a dataset on the hub."""


def load_tasks(source: str | os.PathLike[str] | Rows = "bundled", *, split: str | None = None) -> list[Task]:
    """The tasks of `source`, in order.

    Args:
        source: "bundled"; rows or tasks (a `datasets.Dataset`, a list); a `.jsonl`, `.json` or `.parquet` file, or a
            folder of such files; a folder that `datasets.Dataset.save_to_disk` wrote; or a dataset's name on the hub.
            Rows have SWE-bench's columns; a repository path is relative to the file it is in.
        split: the split to load; the default is "test" or, where there is none, "train".

    Raises:
        TaskError: there is no such source, or a row is invalid.
    """
    if source == "bundled":
        return bundled_tasks()
    rows = list(_rows(source, split))
    for row in rows:
        if not isinstance(row, Mapping | Task):
            raise TaskError(f"rows must be objects; got {row!r}")
    tasks = [row if isinstance(row, Task) else Task.from_row(row) for row in rows]
    if not tasks:
        raise TaskError(f"{source!s:.80} holds no tasks")
    names = Counter(task.instance_id for task in tasks)
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise TaskError(f"{source!s:.80}: instance_id {twice[0]!r} occurs more than once; ids must be unique")
    return tasks


def check_source(source: object) -> None:
    """Check what can be checked of an argument of `load_tasks` without reading it.

    Whether the hub has a dataset of a name is found out when it is loaded.

    Raises:
        TaskError: there is no such file or folder, it holds no tasks, or it is no source at all.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(os.path.expanduser(source))
        if source != "bundled" and _is_local(path):
            _files_at(path)
        elif source != "bundled":
            _check_name(str(source))
    elif isinstance(source, bytes) or not isinstance(source, Iterable):
        raise TaskError(f'tasks are "bundled", a file, a folder, a dataset\'s name, or rows; got {source!r:.200}')
    elif isinstance(source, Mapping) and "instance_id" in source:
        raise TaskError("tasks are a list of rows; got one row: put it in a list")
    elif isinstance(source, list | tuple):
        for row in source:
            if not isinstance(row, Mapping | Task):
                raise TaskError(f"rows must be objects; got {row!r:.200}")


def save_tasks(tasks: Sequence[Task], path: Path) -> None:
    """Write tasks as JSONL that `load_tasks` reads back; the file is replaced as a whole."""
    write_whole(path, "".join(json.dumps(task.to_row()) + "\n" for task in tasks).encode("ascii"))


def _rows(source: str | os.PathLike[str] | Rows, split: str | None) -> Rows:
    if not isinstance(source, str | os.PathLike):
        return _split(source, split, "the dataset")
    path = Path(os.path.expanduser(source))
    return _rows_at(path, split) if _is_local(path) else _from_hub(str(source), split)


def _is_local(path: Path) -> bool:
    """Whether a source is looked for on this machine only."""
    return path.suffix in _READERS or os.path.exists(path)


def _files_at(path: Path) -> list[Path]:
    """The files of a source on this machine; none if it is a folder that `datasets` wrote."""
    if not os.path.exists(path):
        raise TaskError(f"there is no file {path}")
    if not path.is_dir():
        if path.suffix not in _READERS:
            raise TaskError(f"{path}: tasks are read from {', '.join(_READERS)} files")
        return [path]
    if (path / "dataset_info.json").exists() or (path / "dataset_dict.json").exists():
        return []
    files = sorted(file for file in path.iterdir() if file.suffix in _READERS)
    if not files:
        raise TaskError(f"the folder {path} holds no {', '.join(_READERS)} files")
    return files


def _rows_at(path: Path, split: str | None) -> Iterator[Mapping[str, Any]]:
    files = _files_at(path)
    if not files:
        yield from _from_disk(path, split)
    for file in files:
        if file.is_dir():
            yield from _rows_at(file, split)
            continue
        try:
            for row in _READERS[file.suffix](file):
                yield _with_repository(row, file.parent)
        except OSError as error:
            raise TaskError(f"cannot read {file}: {error}") from error


def _with_repository(row: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """The row with an absolute path to its repository, if that is in the file's folder."""
    repo = row.get("repo")
    if isinstance(repo, str) and repo and not repo.startswith(("/", "~")) and os.path.isdir(folder / repo):
        return {**row, "repo": str((folder / repo).absolute())}
    return row


def _jsonl(path: Path) -> Iterator[Mapping[str, Any]]:
    with open_regular(path) as file:  # bytes: a text file would also be split at U+2028
        for number, line in enumerate(read_lines(file), 1):
            if not line.strip():
                continue
            try:
                row = parse_json(line)
            except ValueError as error:
                raise TaskError(f"{path}, line {number} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise TaskError(f"{path}, line {number} is not an object; got {type(row).__name__}")
            yield row


def _json(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        rows = parse_json(read_file(path), FILE_LIMIT)  # a whole dataset may be one document
    except ValueError as error:
        raise TaskError(f"{path} is not JSON: {error}") from error
    if isinstance(rows, dict):
        rows = rows.get("tasks", [rows] if "instance_id" in rows else list(rows.values()))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TaskError(f"{path} must hold a list of rows (objects)")
    yield from rows


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow  # a dependency of datasets
    import pyarrow.parquet as parquet

    try:
        with open_regular(path) as file:
            rows = parquet.read_table(file).to_pylist()
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise TaskError(f"{path} cannot be read as Parquet: {error}") from error
    yield from rows


_READERS = {".jsonl": _jsonl, ".json": _json, ".parquet": _parquet}


def _from_disk(path: Path, split: str | None) -> Iterator[Mapping[str, Any]]:
    import datasets

    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # its files may hold anything
        raise TaskError(f"{path} cannot be read as a dataset: {type(error).__name__}: {error!s:.300}") from error
    yield from _split(loaded, split, str(path))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise TaskError(f"there is no file {name}, and it is no dataset's name; give bundled, a file, or owner/name")


def _from_hub(name: str, split: str | None) -> Iterator[Mapping[str, Any]]:
    _check_name(name)
    import datasets

    try:
        loaded = datasets.load_dataset(name)
    except (OSError, ValueError, datasets.exceptions.DatasetNotFoundError) as error:
        raise TaskError(
            f"cannot load {name!r}: there is no such file, and it cannot be loaded from the hub: "
            f"{str(error).splitlines()[0]}"
        ) from error
    yield from _split(loaded, split, name)


def _split(loaded: Any, split: str | None, name: str) -> Iterator[Mapping[str, Any]]:
    """The rows of one split of a `DatasetDict`, or all rows of anything else."""
    if not hasattr(loaded, "keys"):
        yield from loaded
        return
    wanted = [split] if split else ["test", "train", *loaded.keys()]
    found = next((key for key in wanted if key in loaded), None)
    if found is None:
        raise TaskError(f"{name} has no split {split!r}; it has {', '.join(loaded.keys())}")
    yield from loaded[found]
