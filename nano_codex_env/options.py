"""The options of `reset`, and Gymnasium's wrappers: the one that takes them by name, and one that does harm."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any
from weakref import WeakSet

import gymnasium as gym
from gymnasium.wrappers import TimeLimit

from nano_codex_env.errors import ConfigError, TaskError
from nano_codex_env.tasks import to_task
from nano_codex_env.tasks.task import Task

OPTIONS = ("task", "instance_id", "issue", "repo", "commit", "snapshot")
"""The options of `reset`."""


class TaskReset(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Gives the environment of `gym.make` a `reset` that takes `issue`, `repo` and `commit` by name, and branches."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None, **named: Any
    ) -> tuple[Any, dict[str, Any]]:
        """See `NanoCodexEnv.reset`."""
        return self.env.reset(seed=seed, options=with_named(options, **named) or options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """See `NanoCodexEnv.step`."""
        self._announce_restore()
        return self.env.step(action)

    def render(self) -> Any:
        """See `NanoCodexEnv.render`."""
        self._announce_restore()
        return self.env.render()

    def _announce_restore(self) -> None:
        """Let the wrappers between see a reset after `env.unwrapped.restore(...)`; it changes nothing there."""
        if (restored := getattr(self.unwrapped, "restored", None)) is not None:
            self.env.reset(options={"snapshot": restored})

    def snapshot(self) -> Any:
        """See `NanoCodexEnv.snapshot`."""
        return self.env.get_wrapper_attr("snapshot")()

    def restore(self, snapshot: Any) -> tuple[Any, dict[str, Any]]:
        """See `NanoCodexEnv.restore`."""
        return self.reset(options={"snapshot": snapshot})


def with_named(
    options: Mapping[str, Any] | None, *, issue: object = None, repo: object = None, commit: object = None
) -> dict[str, Any]:
    """The options of `reset`, with those that were given by name."""
    named = {"issue": issue, "repo": repo, "commit": commit}
    return {**(options or {}), **{key: value for key, value in named.items() if value is not None}}


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ConfigError if an option is unknown, or two contradict each other."""
    if unknown := [key for key in options if key not in OPTIONS]:
        raise ConfigError(f"unknown option {unknown[0]!r}; there are: {', '.join(OPTIONS)}")
    if len(options) > 1 and not options.keys() <= {"issue", "repo", "commit"}:
        raise ConfigError(f"give one of task, instance_id, snapshot, or issue with repo; got {', '.join(options)}")


def named_task(options: Mapping[str, Any], tasks: Callable[[], Sequence[Task]]) -> Task | None:
    """The task that the options name; None: none.

    Raises:
        ConfigError: they do not fit each other.
        TaskError: it is none of `tasks`, or cannot be used.
    """
    if "task" in options:
        task = options["task"]
        return task if isinstance(task, Task) else to_task(task)
    if "instance_id" in options:
        name, known = options["instance_id"], tasks()
        if found := [task for task in known if task.instance_id == name]:
            return found[0]
        names = ", ".join(task.instance_id for task in known[:10])
        raise TaskError(f"no task is called {name!r}; there are {names}{' ...' if len(known) > 10 else ''}")
    if options:
        return Task.for_issue(options.get("issue"), options.get("repo"), options.get("commit") or "")
    return None


_warned = WeakSet[TimeLimit]()


def warn_of_time_limit(env: gym.Env[Any, Any]) -> None:
    """Warn, once a wrapper, if the `reset` of `env` that is running was called through Gymnasium's `TimeLimit`.

    It truncates outside the environment, which then has no end to score. A wrapper is only known to those that it
    calls by their callers' frames.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and "reset" in frame.f_code.co_name:
        wrapper = frame.f_locals.get("self")
        if isinstance(wrapper, TimeLimit) and wrapper.unwrapped is env and wrapper not in _warned:
            _warned.add(wrapper)
            warnings.warn(
                f"Gymnasium's TimeLimit cuts an episode after {wrapper._max_episode_steps} calls of step without a "
                "score: its reward is 0.0, whatever the patch is worth. Leave it out (max_episode_steps of gym.make "
                "too) and give the environment max_steps, a limit on tool calls at which it is scored",
                stacklevel=2,
            )
            return
        frame = frame.f_back
