"""Rows of public datasets as tasks: which dataset a row is of, by its columns, and what its columns mean; no I/O.

Each module is about one family of datasets, and says what is known from where, and what could not be verified.

    swe_gym, swe_bench, swe_bench_extra, swe_rebench, swe_smith, r2e_gym    a row as a `Task`
    columns, reverse                                                       what they share

What a task's tests need goes to `environment` (`tasks.environment` lists its keys); all columns that `Task` does not
have go to `metadata`. An `environment` of ours that a row has, replaces that of its dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from nano_codex_env.errors import TaskError
from nano_codex_env.tasks.datasets.columns import Dataset, Row
from nano_codex_env.tasks.datasets.r2e_gym import R2E_GYM
from nano_codex_env.tasks.datasets.swe_bench import SWE_BENCH_4, SWE_BENCH_5
from nano_codex_env.tasks.datasets.swe_bench_extra import SWE_BENCH_EXTRA
from nano_codex_env.tasks.datasets.swe_gym import SWE_GYM
from nano_codex_env.tasks.datasets.swe_rebench import SWE_REBENCH, SWE_REBENCH_V2
from nano_codex_env.tasks.datasets.swe_smith import SWE_SMITH
from nano_codex_env.tasks.task import Task

__all__ = ["DATASETS", "OWN", "Dataset", "dataset_of", "to_task"]

OWN = Dataset("own rows", frozenset({"instance_id", "repo", "problem_statement"}), Task.from_row)
"""Rows of ours: the columns of `Task`, of which three are needed; any others go to `metadata`."""

DATASETS = (
    *(R2E_GYM, SWE_SMITH, SWE_REBENCH_V2, SWE_REBENCH),
    *(SWE_BENCH_5, SWE_BENCH_EXTRA, SWE_BENCH_4, SWE_GYM),
)
"""The datasets that are known, the most specific first."""

_COLUMNS = frozenset(item.name for item in fields(Task))
_NOT_OWN = frozenset(
    {
        *("docker_image", "image_name", "eval_script", "install_config", "dockerhub_tag", "expected_output_json"),
        *(name.lower() for name in ("FAIL_TO_PASS", "PASS_TO_PASS")),
    }
)
"""Columns that decide how a dataset's tests run: where one is, a row that fits no known dataset is not ours either."""


def dataset_of(row: Row) -> Dataset:
    """The dataset that a row is of.

    Raises:
        TaskError: its columns are those of no dataset that is known.
    """
    if not isinstance(row, Mapping):
        raise TaskError(f"a row must be an object; got {type(row).__name__}")
    columns = frozenset(key for key in row if isinstance(key, str))
    if columns >= _COLUMNS:
        return OWN  # as `save_tasks` writes it
    for dataset in DATASETS:
        if columns >= dataset.columns and not columns & dataset.without:
            return dataset
    if str(row.get("repo")).startswith("swesmith/") and columns >= {"patch"}:
        return SWE_SMITH  # never a row of ours, which would take its bug for the fix
    known = ", ".join(dataset.name for dataset in DATASETS)
    if not columns >= OWN.columns:
        try:
            Task.from_row(row)
        except TaskError as error:
            raise TaskError(f"{error}. Known: {known}, or rows with the columns of Task") from error
    foreign = sorted(columns & _NOT_OWN)
    if not foreign:
        return OWN
    raise TaskError(
        f"{row.get('instance_id', 'a row')!s:.200}: its columns are of no dataset that is known. Found: "
        f"{', '.join(sorted(columns))!s:.500}. Known: {known}; or rows with the columns of Task. The meaning of "
        f"{', '.join(foreign)} is not known, so tests could be run wrongly: rename the columns to those of Task, "
        "say in `environment` how the tests run, and put the rest into `metadata`"
    )


def to_task(row: Row) -> Task:
    """A row of any known dataset, or of ours, as a task.

    Raises:
        TaskError: it is of no dataset that is known, or cannot be used.
    """
    return dataset_of(row).to_task(row)
