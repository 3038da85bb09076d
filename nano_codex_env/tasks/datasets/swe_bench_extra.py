"""SWE-bench-extra: SWE-bench's columns with `meta` and `license`, and nothing that says how the tests run.

From its dataset card: `version` is an integer, `created_at` a timestamp, the test ids are lists; no image is named. A
timestamp becomes text as Python writes it ("2023-05-01 12:00:00").
"""

from __future__ import annotations

from nano_codex_env.tasks.datasets.columns import SWE_BENCH, Dataset, Row, check_commit, make_task
from nano_codex_env.tasks.task import Task


def to_task(row: Row) -> Task:
    """A row of SWE-bench-extra as a task."""
    check_commit(row)
    return make_task(row, {"kind": "unknown"})


SWE_BENCH_EXTRA = Dataset("SWE-bench-extra", SWE_BENCH | {"meta"}, to_task)
