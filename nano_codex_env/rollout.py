"""One episode, played by a policy."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym

from nano_codex_env.env import NanoCodexEnv
from nano_codex_env.errors import NanoCodexError
from nano_codex_env.policy import Policy


@dataclass(frozen=True)
class Result:
    """What an episode came to: a row of `results.jsonl`."""

    instance_id: str
    attempt: int
    reward: float | None
    """None: the episode is void."""
    stop: str | None
    steps: int
    seconds: float
    void: str | None
    """Why there is no reward; a failure of ours, or of the policy's server."""
    folder: str | None
    diff: str
    parts: dict[str, Any]
    metrics: dict[str, float]

    def row(self) -> dict[str, Any]:
        """The result as JSON; a diff that is not UTF-8 keeps its bytes as surrogate escapes."""
        return dict(vars(self))


def rollout(
    env: gym.Env[Any, Any], policy: Policy, *, attempt: int = 0, seed: int | None = None, **options: Any
) -> Result:
    """Play one episode to its end.

    `options` are those of `reset`: `task=`, `instance_id=`, or `issue=`, `repo=`, `commit=`. A failure of ours, or of
    the policy's, is recorded as a void result; other exceptions (a bug, Ctrl-C) are raised.
    """
    inner = env.unwrapped
    if not isinstance(inner, NanoCodexEnv):
        raise TypeError(f"rollout plays NanoCodexEnv; got {type(inner).__name__}")
    started, played, void = time.monotonic(), _Played(), None
    try:
        _play(env, inner, policy, seed, options, played)
    except NanoCodexError as error:
        void = f"{type(error).__name__}: {error}"
        inner.void(void)
    return Result(
        instance_id=played.name or _name(options),
        attempt=attempt,
        reward=played.reward,
        stop=played.info.get("stop"),
        steps=played.steps,
        seconds=time.monotonic() - started,
        void=void,
        folder=played.folder,
        diff=played.info.get("diff", ""),
        parts=played.info.get("parts", {}),
        metrics=played.info.get("metrics", {}),
    )


@dataclass
class _Played:
    """How far an episode has come: what a void result still tells."""

    name: str = ""
    steps: int = 0
    reward: float | None = None
    folder: str | None = None
    info: dict[str, Any] = field(default_factory=dict)


def _play(
    env: gym.Env[Any, Any],
    inner: NanoCodexEnv,
    policy: Policy,
    seed: int | None,
    options: dict[str, Any],
    played: _Played,
) -> None:
    obs, first = env.reset(seed=seed, options=options)
    played.name, log = first["instance_id"], inner.episode.log
    played.folder = str(log.folder) if log else None
    over = False
    while not over:
        reply = policy(obs, first["tools"])
        if reply.tokens is not None and log:
            log.tokens(reply.tokens)
        obs, value, terminated, truncated, played.info = env.step(reply.message)
        over = terminated or truncated
        played.steps = inner.episode.steps
    played.reward = float(value)


def _name(options: dict[str, Any]) -> str:
    task = options.get("task")
    return getattr(task, "instance_id", "") or str(options.get("instance_id") or options.get("repo", ""))
