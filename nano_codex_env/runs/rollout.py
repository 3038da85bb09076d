"""Play one episode with a policy."""

from __future__ import annotations

import logging
import time
import traceback
from functools import partial
from typing import Any, SupportsFloat

import gymnasium as gym

from nano_codex_env.env import NanoCodexEnv
from nano_codex_env.errors import (
    ContextOverflow,
    NanoCodexError,
    PolicyError,
    clean_up_after,
    describe,
    describe_all,
    is_unforeseen,
)
from nano_codex_env.policies.base import Policy, Reply, check_policy
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

    `options` are those of `reset`: `task=`, `instance_id=`, or `issue=`, `repo=`, `commit=`. An exception of the kind
    `void_on` gives a void result; any other (a bug, Ctrl-C) ends the episode and is raised. A `ContextOverflow` ends
    the episode as `token_limit`. The policy's attribute `about`, if it has one, is logged in `metadata.json`.
    """
    inner = env.unwrapped
    if not isinstance(inner, NanoCodexEnv):
        raise TypeError(f"rollout plays NanoCodexEnv; got {type(inner).__name__}")
    check_policy(policy)
    name = getattr(options.get("task"), "instance_id", "") or str(options.get("instance_id") or options.get("repo", ""))
    started, log, steps, void, reward = time.monotonic(), None, 0, None, None
    value: SupportsFloat
    info = dict[str, Any]()
    try:
        obs, first = env.reset(seed=seed, options=options)
        name, log = first["instance_id"], inner.episode.log
        if log:
            log.note({"attempt": attempt, "policy": getattr(policy, "about", {"name": type(policy).__name__})})
        while reward is None:
            try:
                reply = policy(obs, first["tools"])
            except ContextOverflow:
                _, value, terminated, truncated, info = inner.end("token_limit")
            else:
                if not isinstance(reply, Reply):
                    raise PolicyError(f"a policy returns Reply(message); got {type(reply).__name__}")
                inner.episode.finish_reasons += [reply.finish_reason] if reply.finish_reason else []
                if reply.tokens is not None and log:
                    log.tokens(reply.tokens, 1 + sum(message["role"] == "assistant" for message in obs))
                if reply.total_tokens is not None:
                    inner.report_tokens(reply.total_tokens)
                obs, value, terminated, truncated, info = env.step(reply.message)
            steps = inner.episode.steps
            if terminated or truncated:
                reward = float(value)
    except BaseException as error:
        clean_up_after(error, partial(inner.void, describe(error)))
        if not isinstance(error, void_on):
            raise
        void = describe_all(error)
        if is_unforeseen(error):
            trace = for_terminal("".join(traceback.format_exception(error)))
            logger.warning("an episode is void for an error that nobody foresaw\n%s", trace)
    return EpisodeResult(
        instance_id=name,
        attempt=attempt,
        reward=reward,
        stop=info.get("stop"),
        steps=steps,
        seconds=time.monotonic() - started,
        void=void,
        folder=str(log.folder) if log else None,
        **{key: info[key] for key in ("diff", "parts", "metrics") if key in info},
        scorer=version_of(inner.reward),
    )
