"""Tasks as a dataset of prompts for verl."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from nano_codex_env.messages import Message, dumps
from nano_codex_env.tasks.task import Task

AGENT = "nano_codex"
"""The name of the agent loop in the file that verl's `agent_loop_config_path` names."""


def verl_rows(
    tasks: Sequence[Task], opening: Callable[[Task], list[Message]], *, split: str = "train"
) -> Iterator[dict[str, Any]]:
    """A row for each task; `opening` gives the first messages of an episode.

    `extra_info["task"]` is the whole task as JSON for `Task.from_row`, with the reference patch and the hidden tests.
    verl shows a policy only the prompt.
    """
    for index, task in enumerate(tasks):
        about = {"index": index, "split": split, "instance_id": task.instance_id, "task": dumps(task.to_row())}
        yield {
            "data_source": AGENT,
            "agent_name": AGENT,
            "prompt": opening(task),
            "ability": "code",
            "reward_model": {"style": "rule", "ground_truth": task.instance_id},
            "extra_info": about,
        }


def write_parquet(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write rows as Parquet."""
    import pyarrow  # comes with datasets
    import pyarrow.parquet as parquet

    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
