"""Worlds: how a task's tests run.

`Task.environment["kind"]` chooses: `host` (this interpreter and pytest; the default) or `venv` (a virtual environment
with `packages`, built once by uv).
"""

from __future__ import annotations

from pathlib import Path

from nano_codex_env.errors import TaskError
from nano_codex_env.runtimes.base import Runtime, repository_paths
from nano_codex_env.runtimes.host import host_runtime
from nano_codex_env.runtimes.venv import find_uv, venv_runtime
from nano_codex_env.sandbox.rootfs import root_folder
from nano_codex_env.tasks.task import Task

__all__ = ["Runtime", "find_uv", "runtime_of"]


def runtime_of(task: Task, cache: Path, *, allow_builds: bool = False) -> Runtime:
    """The runtime that `task`'s tests run in, built if need be; `allow_builds`: see `build_venv`.

    Raises:
        TaskError: its environment says what there is not.
        WorkspaceError: it could not be built.
    """
    environment = task.environment
    kind = environment.get("kind", "host")
    empty = root_folder(cache) / "etc" / "empty"
    try:
        if kind == "host":
            return host_runtime(repository_paths(environment), empty)
        if kind == "venv":
            return venv_runtime(environment, cache, empty, allow_builds=allow_builds)
    except TaskError as error:
        raise TaskError(f"{task.instance_id}: {error}") from error
    raise TaskError(f"{task.instance_id}: no environment of kind {kind!r}; there are: host, venv")
