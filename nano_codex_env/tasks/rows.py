"""Read rows: from a file, a folder, or a dataset on the Hugging Face hub."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nano_codex_env.errors import TaskError
from nano_codex_env.tasks.task import Task
from nano_codex_env.untrusted import FILE_LIMIT, open_regular, parse_json, read_file, read_lines

Rows = Iterable[Mapping[str, Any] | Task]
"""Rows, or tasks, or both: a list, or a `datasets.Dataset`."""

_SPLIT = re.compile(r"(?P<split>\w+?)(-\d+-of-\d+)?")
"""The names of the hub's Parquet files without their suffix, such as `train-00000-of-00001`."""
_SPLITS = ("train", "test", "dev", "validation", "filtered")
"""Names that a file without a number must have to be a split; any other file is part of them all."""


_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
"""The name of a dataset on the hub."""


def check_source(source: object) -> None:
    """Check what can be checked of an argument of `load_tasks` without reading it.

    Whether the hub has a dataset of a name is found out when it is loaded.

    Raises:
        TaskError: there is no such file or folder, it holds no tasks, or it is no source at all.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(os.path.expanduser(source))
        if source != "bundled" and not _is_local(path):
            _check_name(str(source))
        elif source != "bundled" and not _is_saved(path):
            _files_at(path, None)
    elif isinstance(source, bytes) or not isinstance(source, Iterable):
        raise TaskError(f'tasks are "bundled", a file, a folder, a dataset\'s name, or rows; got {source!r:.200}')
    elif isinstance(source, Mapping) and "instance_id" in source:
        raise TaskError("tasks are a list of rows; got one row: put it in a list")
    elif isinstance(source, list | tuple):
        for row in source:
            if not isinstance(row, Mapping | Task):
                raise TaskError(f"rows must be objects; got {row!r:.200}")


def read_rows(source: str | os.PathLike[str] | Rows, split: str | None) -> Rows:
    """The rows of a source, see `load_tasks`; `split`: the name of one, or the default.

    Raises:
        TaskError: there is no such source or split, or it cannot be read.
    """
    if not isinstance(source, str | os.PathLike):
        return _split(source, split, "the dataset")
    path = Path(os.path.expanduser(source))
    if not _is_local(path):
        return _from_hub(str(source), split)
    return _from_disk(path, split) if _is_saved(path) else _rows_at(path, split)


def _is_local(path: Path) -> bool:
    """Whether a source is looked for on this machine only."""
    return path.suffix in _READERS or os.path.exists(path)


def _is_saved(path: Path) -> bool:
    """Whether a path is a folder that `datasets` wrote."""
    return any((path / name).exists() for name in ("dataset_info.json", "dataset_dict.json"))


def _rows_at(path: Path, split: str | None) -> Iterator[Mapping[str, Any]]:
    for file in _files_at(path, split):
        if file.is_dir():
            yield from _rows_at(file, split)
            continue
        try:
            for row in _READERS[file.suffix](file):
                yield _with_repository(row, file.parent)
        except OSError as error:
            raise TaskError(f"cannot read {file}: {error}") from error


def _files_at(path: Path, split: str | None) -> list[Path]:
    """The files of a source on this machine."""
    if not os.path.exists(path):
        raise TaskError(f"there is no file {path}")
    if path.is_dir():
        return _files_in(path, split)
    if path.suffix not in _READERS:
        raise TaskError(f"{path}: tasks are read from {', '.join(_READERS)} files")
    return [path]


def _files_in(folder: Path, split: str | None) -> list[Path]:
    """The files with rows in a folder, in the order of their names: all, or those of one split if they name splits.

    In a copy of a dataset's repository on the hub they are Parquet files in `data`.
    """
    if any((folder / "data").glob("*.parquet")):
        folder = folder / "data"
    files = sorted(file for file in folder.iterdir() if file.suffix in _READERS and file.name != "dataset_infos.json")
    if not files:
        raise TaskError(f"the folder {folder} holds no {', '.join(_READERS)} files")
    matches = [_SPLIT.fullmatch(file.stem) for file in files]
    names = [match["split"] if match and (match[2] or match["split"] in _SPLITS) else "" for match in matches]
    if not all(names):
        return files
    wanted = _chosen(list(dict.fromkeys(names)), split, str(folder))
    return [file for file, name in zip(files, names, strict=True) if name == wanted]


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
        loaded = datasets.load_dataset(name, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise TaskError(
            f"cannot load {name!r}: there is no such file, and it cannot be loaded from the hub: {said}"
        ) from error
    yield from _split(loaded, None, name)


def _split(loaded: Any, split: str | None, name: str) -> Iterator[Mapping[str, Any]]:
    """The rows of one split of a `DatasetDict`, or all rows of anything else."""
    if not hasattr(loaded, "keys"):
        yield from loaded
        return
    yield from loaded[_chosen(list(loaded.keys()), split, name)]


def _chosen(names: list[str], split: str | None, where: str) -> str:
    """The name of the split to read; the default is "test" or, where there is none, "train", or else the first."""
    wanted = [split] if split else ["test", "train", *names]
    found = next((name for name in wanted if name in names), None)
    if found is None:
        raise TaskError(f"{where} has no split {split!r}; it has {', '.join(names)}")
    return found
