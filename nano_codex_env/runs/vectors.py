"""Vectors of environments.

A step costs what it adds to the transcripts, not what they have become: observations are lists made anew anyhow, so
none is copied again, and of an environment in a process of its own only the new messages are sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, SupportsFloat

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from nano_codex_env.errors import ConfigError
from nano_codex_env.messages import Message

# The id is registered by the package; an async worker that unpickles a function imports it there as well.


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
        vectorization_mode: "sync", or "async" (one process each; without shared memory, which text cannot use).
        per_env: arguments for each one, over those in `kwargs`: `[{"tasks": [task]}, ...]`.
        vector_kwargs: for Gymnasium's vector class.
        **kwargs: arguments of `NanoCodexEnv`, the same for all.

    Raises:
        ConfigError: an unknown mode, or not one entry of `per_env` per environment.
    """
    if per_env is not None and len(per_env) != num_envs:
        raise ConfigError(f"per_env has {len(per_env)} entries for {num_envs} environments; give one each")
    makers = [_Maker({**kwargs, **(per_env[number] if per_env else {})}) for number in range(num_envs)]
    if vectorization_mode == "sync":
        return SyncVectorEnv(makers, **{"copy": False, **(vector_kwargs or {})})
    if vectorization_mode == "async":
        return _AsyncVectorEnv(makers, **{"shared_memory": False, "copy": False, **(vector_kwargs or {})})
    raise ConfigError(f"vectorization_mode is 'sync' or 'async'; got {vectorization_mode!r}")


class _Maker:
    """Makes one environment, in whatever process it is called."""

    def __init__(self, kwargs: dict[str, Any]) -> None:
        self._kwargs = kwargs

    def __call__(self) -> gym.Env[Any, Any]:
        import nano_codex_env  # noqa: F401 (registers the id)

        return gym.make("NanoCodex-v0", **self._kwargs)


class _NewOnly(gym.Wrapper[Any, Any, Any, Any]):
    """Observes (how many messages are known, the messages after those)."""

    _known = 0

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        transcript, info = self.env.reset(**arguments)
        self._known = len(transcript)
        return (0, transcript), info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        transcript, reward, terminated, truncated, info = self.env.step(action)
        known, self._known = self._known, len(transcript)
        return (known, transcript[known:]), reward, terminated, truncated, info


class _AsyncVectorEnv(AsyncVectorEnv[Any, Any]):
    """Each environment in a process of its own, which sends what is new; the transcripts are kept here as well."""

    def __init__(self, makers: Sequence[_Maker], **kwargs: Any) -> None:
        self._transcripts: list[list[Message]] = [[] for _ in makers]
        super().__init__([_Apart(maker) for maker in makers], **kwargs)

    def reset_wait(self, timeout: float | None = None) -> tuple[Any, dict[str, Any]]:
        news, infos = super().reset_wait(timeout)
        return self._whole(news), infos

    def step_wait(self, timeout: float | None = None) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        news, rewards, terminated, truncated, infos = super().step_wait(timeout)
        final = infos.get("final_obs", ())
        for number in range(len(final)):
            if final[number] is not None:  # an episode's last observation comes before the next one's first
                final[number] = self._extended(number, *final[number])
        return self._whole(news), rewards, terminated, truncated, infos

    def _whole(self, news: Sequence[tuple[int, list[Message]]]) -> tuple[list[Message], ...]:
        return tuple(self._extended(number, *new) for number, new in enumerate(news))

    def _extended(self, number: int, known: int, new: list[Message]) -> list[Message]:
        transcript = self._transcripts[number]
        transcript[known:] = new
        return list(transcript)


class _Apart:
    """Makes an environment that sends what is new."""

    def __init__(self, maker: _Maker) -> None:
        self._maker = maker

    def __call__(self) -> gym.Env[Any, Any]:
        return _NewOnly(self._maker())
