"""Runtimes: the interpreter and the packages that a task's tests run with."""

from __future__ import annotations

from pathlib import Path

from nano_codex_env.errors import TaskError
from nano_codex_env.runtimes.host import host_runtime
from nano_codex_env.runtimes.venv import find_uv, venv_runtime
from nano_codex_env.sandbox.rootfs import root_folder
from nano_codex_env.sandbox.runtime import Runtime
from nano_codex_env.tasks.task import Task

__all__ = ["Runtime", "find_uv", "runtime_of"]


def runtime_of(task: Task, cache: Path, *, allow_builds: bool = False) -> Runtime:
    """The runtime for `task`'s tests, built if it is not in the cache; `allow_builds`: see `build_venv`.

    Raises:
        TaskError: its environment is invalid, or of a kind that no tests can run in yet.
        WorkspaceError: it could not be built.
    """
    empty = root_folder(cache) / "etc" / "empty"
    try:
        if unsupported := task.environment.unsupported:
            raise TaskError(unsupported)
        if task.environment.kind == "venv":
            return venv_runtime(task.environment, cache, empty, allow_builds=allow_builds)
        return host_runtime(task.environment, empty)
    except TaskError as error:
        raise TaskError(f"{task.instance_id}: {error}") from error
