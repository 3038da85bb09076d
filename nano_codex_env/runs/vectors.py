"""Vectors of environments.

A step costs what it adds to the transcripts, whatever their length: observations are new lists already, so none is
copied again, and an environment in another process sends only its new messages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, SupportsFloat

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from nano_codex_env.errors import ConfigError, SandboxError, advice_for, clean_up_after
from nano_codex_env.messages import Message


def make_vec(
    num_envs: int = 1,
    *,
    vectorization_mode: str = "sync",
    per_env: Sequence[dict[str, Any]] | None = None,
    vector_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> VectorEnv[Any, Any, Any]:
    """A vector of `NanoCodex-v0`; observations and actions are tuples with one entry per environment.

    Args:
        num_envs: how many.
        vectorization_mode: "sync", or "async" (one process each; without shared memory, which cannot hold text).
        per_env: arguments of each environment, which override `kwargs`: `[{"tasks": [task]}, ...]`.
        vector_kwargs: arguments of Gymnasium's vector class.
        **kwargs: arguments of `NanoCodexEnv`, the same for all.

    Raises:
        ConfigError: an unknown mode, or `per_env` does not have one entry per environment.
    """
    if per_env is not None and len(per_env) != num_envs:
        raise ConfigError(f"per_env has {len(per_env)} entries for {num_envs} environments; give one each")
    if vectorization_mode not in ("sync", "async"):
        raise ConfigError(f"vectorization_mode is 'sync' or 'async'; got {vectorization_mode!r}")
    is_async = vectorization_mode == "async"
    makers = [partial(_make, is_async, {**kwargs, **each}) for each in per_env or [{}] * num_envs]
    if is_async:
        return _AsyncVectorEnv(makers, **{"shared_memory": False, "copy": False, **(vector_kwargs or {})})
    return SyncVectorEnv(makers, **{"copy": False, **(vector_kwargs or {})})


def _make(new_only: bool, kwargs: dict[str, Any]) -> gym.Env[Any, Any]:
    env = gym.make("NanoCodex-v0", **kwargs)  # registered in a new process too: unpickling this imports the package
    return _NewOnly(env) if new_only else env


class _NewOnly(gym.Wrapper[Any, Any, Any, Any]):
    """Observes (the number of messages that were sent before, the messages after those)."""

    _sent = 0

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        transcript, info = self.env.reset(**arguments)
        self._sent = len(transcript)
        return (0, transcript), info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        transcript, reward, terminated, truncated, info = self.env.step(action)
        sent, self._sent = self._sent, len(transcript)
        return (sent, transcript[sent:]), reward, terminated, truncated, info


class _AsyncVectorEnv(AsyncVectorEnv[Any, Any]):
    """Joins the new messages of each process to whole transcripts."""

    def __init__(self, makers: Sequence[Callable[[], gym.Env[Any, Any]]], **kwargs: Any) -> None:
        self._transcripts: list[list[Message]] = [[] for _ in makers]
        try:
            super().__init__(makers, **kwargs)
        except BaseException as error:
            clean_up_after(error, self._end_processes)
            if advice := advice_for(error):
                raise SandboxError(f"cannot start {len(makers)} processes: {error}{advice}") from error
            raise

    def _end_processes(self) -> None:
        """Undo a start that failed half way."""
        for process in getattr(self, "processes", ()):
            if process.pid:
                process.kill()
                process.join()
        for pipe in getattr(self, "parent_pipes", ()):
            pipe.close()

    def reset_wait(self, timeout: float | None = None) -> tuple[Any, dict[str, Any]]:
        news, infos = super().reset_wait(timeout)
        return self._join(news), infos

    def step_wait(self, timeout: float | None = None) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        news, rewards, terminated, truncated, infos = super().step_wait(timeout)
        final = infos.get("final_obs", ())
        for number in range(len(final)):
            if final[number] is not None:  # an episode's last observation comes before the next one's first
                final[number] = self._extend(number, *final[number])
        return self._join(news), rewards, terminated, truncated, infos

    def _join(self, news: Sequence[tuple[int, list[Message]]]) -> tuple[list[Message], ...]:
        return tuple(self._extend(number, *new) for number, new in enumerate(news))

    def _extend(self, number: int, sent: int, new: list[Message]) -> list[Message]:
        transcript = self._transcripts[number]
        transcript[sent:] = new
        return list(transcript)
