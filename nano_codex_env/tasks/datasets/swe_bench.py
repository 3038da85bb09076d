"""SWE-bench, Lite and Verified, in both forms: as before release 5, and with the columns of release 5.

Before 5, `FAIL_TO_PASS` and `PASS_TO_PASS` are the JSON text of a list, and the image is named after the instance (both
from the dataset card and the harness). Release 5 adds `image`, `eval_script`, `log_parser`, `eval_type`, and for some
rows `image_assets`: these columns are from its code; the republished datasets themselves were not read (unverified).
"""

from __future__ import annotations

from nano_codex_env.errors import TaskError
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

_EVALUATION = ("eval_script", "log_parser", "eval_type")
EVAL_TYPES = ("pass_and_fail", "fail_only")


def to_task(row: Row) -> Task:
    """A row of SWE-bench before release 5 as a task."""
    check_commit(row)
    image = image_of(instance_id(row), "swebench/sweb.eval.x86_64.", "_1776_")
    return make_task(row, {"kind": "image", "image": image})


def to_task_of_release_5(row: Row) -> Task:
    """A row of SWE-bench from release 5 on as a task."""
    check_commit(row)
    name, image = instance_id(row), row.get("image")
    if image is not None and not isinstance(image, str):
        raise TaskError(f"{name}: image must be text; got {image!r:.120}")
    evaluation = {key: row[key] for key in _EVALUATION if row.get(key) is not None}
    for key, value in evaluation.items():
        if not isinstance(value, str):
            raise TaskError(f"{name}: {key} must be text; got {value!r:.120}")
    if evaluation.get("eval_type", EVAL_TYPES[0]) not in EVAL_TYPES:
        raise TaskError(f"{name}: eval_type is one of {', '.join(EVAL_TYPES)}; got {evaluation['eval_type']!r:.120}")
    environment = {"kind": "image", **({"image": image} if image else {}), **evaluation}
    return make_task(row, environment, moved=("image", *_EVALUATION))


SWE_BENCH_5 = Dataset("SWE-bench from release 5", SWE_BENCH | {"image", "eval_script"}, to_task_of_release_5)
SWE_BENCH_4 = Dataset("SWE-bench before release 5", SWE_BENCH | {"environment_setup_commit"}, to_task)
