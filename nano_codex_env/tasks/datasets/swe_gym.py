"""SWE-Gym and SWE-Gym Lite: SWE-bench's columns with lists of test ids, and no environment.

From its dataset card and its evaluation code: the columns, `FAIL_TO_PASS` and `PASS_TO_PASS` as lists of text, and the
name of the image. Unverified: that each image exists; some are said to be missing.
"""

from __future__ import annotations

from nano_codex_env.tasks.datasets.columns import (
    SWE_BENCH,
    Dataset,
    Row,
    check_commit,
    image_of,
    instance_id,
    make_task,
)
from nano_codex_env.tasks.task import Task


def to_task(row: Row) -> Task:
    """A row of SWE-Gym as a task."""
    check_commit(row)
    image = image_of(instance_id(row), "xingyaoww/sweb.eval.x86_64.", "_s_")
    return make_task(row, {"kind": "image", "image": image})


SWE_GYM = Dataset("SWE-Gym", SWE_BENCH, to_task)
