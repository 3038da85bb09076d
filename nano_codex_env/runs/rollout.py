"""One episode, played by a policy."""

from __future__ import annotations

import logging
import time
import traceback
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym

from nano_codex_env.env import NanoCodexEnv
from nano_codex_env.errors import ContextOverflow, NanoCodexError, PolicyError, describe
from nano_codex_env.policies.base import Policy, Reply
from nano_codex_env.records.result import EpisodeResult
from nano_codex_env.rewards import version_of
from nano_codex_env.untrusted import for_terminal

logger = logging.getLogger(__name__)


def rollout(
    env: gym.Env[Any, Any],
    policy: Policy,
    *,
    attempt: int = 0,
    seed: int | None = None,
    void_on: type[BaseException] = NanoCodexError,
    **options: Any,
) -> EpisodeResult:
    """Play one episode to its end.

    `options` are those of `reset`: `task=`, `instance_id=`, or `issue=`, `repo=`, `commit=`. A failure of ours, or of
    the policy's, is recorded as a void result, and so is every exception that `void_on` names; others (a bug, Ctrl-C)
    end the episode and are raised. A `ContextOverflow` is neither: it ends the episode as `token_limit`. What the
    policy tells in its attribute `about`, if it has one, stands in `metadata.json`.
    """
    inner = env.unwrapped
    if not isinstance(inner, NanoCodexEnv):
        raise TypeError(f"rollout plays NanoCodexEnv; got {type(inner).__name__}")
    started, played, void = time.monotonic(), _Played(attempt), None
    try:
        _play(env, inner, policy, seed, options, played)
    except BaseException as error:
        void = _end(inner, describe(error))
        if not isinstance(error, void_on):
            raise
        if not isinstance(error, NanoCodexError):
            told = for_terminal("".join(traceback.format_exception(error)))
            logger.warning("an episode is void for an error that nobody foresaw\n%s", told)
    return EpisodeResult(
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
        scorer=version_of(inner.reward),
    )


def _end(env: NanoCodexEnv, void: str) -> str:
    """End the episode as void; the reason, with what failed besides."""
    try:
        env.void(void)
    except NanoCodexError as error:
        return f"{void}; and then {describe(error)}"
    return void


@dataclass
class _Played:
    """How far an episode has come: what a void result still tells."""

    attempt: int
    name: str = ""
    steps: int = 0
    reward: float | None = None
    folder: str | None = None
    info: dict[str, Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    """Why each answer ended, where the policy tells."""


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
    if log:
        played.folder = str(log.folder)
        log.note({"attempt": played.attempt, "policy": getattr(policy, "about", {"name": type(policy).__name__})})
    over, value = False, 0.0
    while not over:
        try:
            reply = policy(obs, first["tools"])
        except ContextOverflow:
            _, value, terminated, truncated, played.info = inner.end("token_limit")
        else:
            if not isinstance(reply, Reply):
                raise PolicyError(f"a policy returns Reply(message); got {type(reply).__name__}")
            played.reasons += [reply.finish_reason] if reply.finish_reason else []
            if reply.tokens is not None and log:
                log.tokens(reply.tokens, 1 + sum(message["role"] == "assistant" for message in obs))
            if reply.total_tokens is not None:
                inner.report_tokens(reply.total_tokens)
            obs, reward, terminated, truncated, played.info = env.step(reply.message)
            value = float(reward)
        over = terminated or truncated
        played.steps = inner.episode.steps
    played.reward = value
    if played.reasons:
        cut = float(played.reasons.count("length"))
        played.info["metrics"] = {**played.info["metrics"], "answers_cut": cut}
        if log:
            log.note({"finish_reasons": played.reasons})


def _name(options: dict[str, Any]) -> str:
    task = options.get("task")
    return getattr(task, "instance_id", "") or str(options.get("instance_id") or options.get("repo", ""))
