"""Vectors of environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from nano_codex_env.errors import ConfigError

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
        return SyncVectorEnv(makers, **(vector_kwargs or {}))
    if vectorization_mode == "async":
        return AsyncVectorEnv(makers, **{"shared_memory": False, **(vector_kwargs or {})})
    raise ConfigError(f"vectorization_mode is 'sync' or 'async'; got {vectorization_mode!r}")


class _Maker:
    """Makes one environment, in whatever process it is called."""

    def __init__(self, kwargs: dict[str, Any]) -> None:
        self._kwargs = kwargs

    def __call__(self) -> gym.Env[Any, Any]:
        import nano_codex_env  # noqa: F401 (registers the id)

        return gym.make("NanoCodex-v0", **self._kwargs)
