"""What the scripted servers of these tests answer, and episodes that are played against them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from nano_codex_env import ChatPolicy, Trajectory
from nano_codex_env.messages import Message
from nano_codex_env.records.result import EpisodeResult
from nano_codex_env.runs.rollout import rollout
from tests.server import Server, call, completion

FIX = {"search": "return a - b", "replace": "return a + b", "file": "sums.py"}
FIXING = call("apply_patch", FIX)
MEND, LOOK, DONE = completion(None, FIXING), completion(None, call("shell", {"cmd": "ls"})), completion("done")
ASKED: list[Message] = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
BEGUN: list[Message] = [*ASKED, {"role": "assistant", "content": "hm"}, {"role": "user", "content": "u"}]


def play(env: gym.Env[Any, Any], server: Server, **arguments: Any) -> EpisodeResult:
    """Play one episode by a model behind `server`."""
    with ChatPolicy("hosted_vllm/m", server.url, **{"max_retries": 0, **arguments}) as policy:
        return rollout(env, policy)


def logged(result: EpisodeResult) -> list[Message]:
    """Return the messages of an episode's log."""
    assert result.folder
    return Trajectory.load(result.folder).messages
