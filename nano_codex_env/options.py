"""From `reset`'s options to a task, and the wrapper that lets `gym.make`'s env take them by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from nano_codex_env.errors import ConfigError, TaskError
from nano_codex_env.tasks.task import Task

OPTIONS = ("task", "instance_id", "issue", "repo", "commit")


def named(issue: object, repo: object, commit: object) -> dict[str, Any]:
    """The options that were given by name."""
    given = {"issue": issue, "repo": repo, "commit": commit}
    return {key: value for key, value in given.items() if value is not None}


def choose(options: Mapping[str, Any], tasks: Callable[[], Sequence[Task]], rng: np.random.Generator) -> Task:
    """The task that the options name; without any, one drawn from `tasks`.

    Raises:
        ConfigError: the options do not fit together.
        TaskError: no task has that name.
    """
    unknown = [key for key in options if key not in OPTIONS]
    if unknown:
        raise ConfigError(f"unknown option {unknown[0]!r}; there are: {', '.join(OPTIONS)}")
    ways = [key for key in ("task", "instance_id") if key in options]
    if len(ways) + any(key in options for key in ("issue", "repo", "commit")) > 1:
        raise ConfigError(f"give one of task, instance_id, or issue with repo; got {', '.join(options)}")
    if "task" in options:
        task = options["task"]
        if not isinstance(task, Task | Mapping):
            raise TaskError(f"option task must be a Task, or a row of a dataset; got {type(task).__name__}")
        return task if isinstance(task, Task) else Task.from_row(task)
    if "instance_id" in options:
        return _by_name(options["instance_id"], tasks())
    if options:
        return task_from(options)
    drawn = tasks()
    return drawn[int(rng.integers(len(drawn)))]


def _by_name(name: object, tasks: Sequence[Task]) -> Task:
    found = next((task for task in tasks if task.instance_id == name), None)
    if found is None:
        names = ", ".join(task.instance_id for task in tasks[:10])
        raise TaskError(f"no task is called {name!r}; there are {names}{' ...' if len(tasks) > 10 else ''}")
    return found


def task_from(options: Mapping[str, Any]) -> Task:
    """A task for an issue and a repository that a caller names."""
    issue, repo = options.get("issue"), options.get("repo")
    if not isinstance(issue, str) or not isinstance(repo, str | os.PathLike):
        raise ConfigError("give both issue (text) and repo (a path, a URL or owner/name)")
    commit = options.get("commit") or ""
    if not isinstance(commit, str):
        raise ConfigError(f"commit must be a commit's id; got {commit!r}")
    name = os.fspath(repo).rstrip("/").removesuffix(".git").rpartition("/")[2]
    return Task(
        instance_id=f"{name}{'-' if commit else ''}{commit[:12]}",
        repo=os.fspath(repo),
        base_commit=commit,
        problem_statement=issue,
    )


class TaskReset(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Outermost of `gym.make`'s wrappers: lets `reset` take `issue`, `repo` and `commit` by name."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None, **by_name: Any
    ) -> tuple[Any, dict[str, Any]]:
        """See `NanoCodexEnv.reset`."""
        unknown = [key for key in by_name if key not in ("issue", "repo", "commit")]
        if unknown:
            raise TypeError(f"reset() takes seed, options, issue, repo and commit; got {unknown[0]!r}")
        given = {key: value for key, value in by_name.items() if value is not None}
        return self.env.reset(seed=seed, options={**(options or {}), **given} or options)
