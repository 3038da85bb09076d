"""SWE-rebench and its second version: SWE-bench's columns, and how each task was installed.

From the dataset card: `install_config` holds Python's version, packages, install commands, the test command and the log
parser (a struct with nulls; in the second version lists of commands); `environment` is the text of a conda environment,
which is no `environment` of ours and goes to `metadata`, as do `requirements` and `meta`. `docker_image`, or else
`image_name`, names the image. Unverified: the image's name where both are empty (as SWE-bench's, by `swerebench`); the
folder of the repository in images of the second version (`/<name of the repository>`, from its evaluation code).
"""

from __future__ import annotations

from typing import Any

from nano_codex_env.errors import TaskError
from nano_codex_env.tasks.datasets.columns import (
    SWE_BENCH,
    Dataset,
    Row,
    check_commit,
    image_of,
    instance_id,
    json_object,
    make_task,
)
from nano_codex_env.tasks.task import Task

_V2 = (SWE_BENCH - {"version", "hints_text"}) | {"install_config", "language"}


def to_task(row: Row) -> Task:
    """A row of SWE-rebench as a task."""
    name = instance_id(row)
    image = _named_image(row) or image_of(name, "swerebench/sweb.eval.x86_64.", "_1776_")
    return _make(row, {"kind": "image", "image": image})


def to_task_of_version_2(row: Row) -> Task:
    """A row of SWE-rebench-V2 as a task."""
    folder = str(row.get("repo") or "").rpartition("/")[2]
    image = _named_image(row)
    return _make(row, {"kind": "image", **({"image": image} if image else {}), "testbed": f"/{folder}"})


def _named_image(row: Row) -> str:
    image = row.get("docker_image") or row.get("image_name") or ""
    if not isinstance(image, str):
        raise TaskError(f"{instance_id(row)}: the image's name must be text; got {image!r:.120}")
    return image


def _make(row: Row, environment: dict[str, Any]) -> Task:
    check_commit(row)
    if row.get("install_config") is not None:
        try:
            install = {key: value for key, value in json_object(row, "install_config").items() if value is not None}
        except TaskError as error:
            raise TaskError(f"{instance_id(row)}: {error}") from error
        environment["install"] = install
    return make_task(row, environment, moved=("install_config",))


SWE_REBENCH_V2 = Dataset("SWE-rebench-V2", _V2, to_task_of_version_2)
SWE_REBENCH = Dataset("SWE-rebench", SWE_BENCH | {"install_config"}, to_task)
