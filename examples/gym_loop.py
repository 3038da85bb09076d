"""The plain Gymnasium loop: observe and act until the episode ends.

It needs no network, no API key and no Docker.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym

import nano_codex_env


def main() -> float:
    """Play one episode and return its reward."""
    env = gym.make("NanoCodex-v0", log_dir=None)
    policy = nano_codex_env.Oracle(nano_codex_env.load_tasks())  # replace it by your model
    obs, info = env.reset(seed=7)
    print(info["instance_id"], info["limits"])
    over, reward = False, 0.0
    last: dict[str, Any] = {}
    while not over:
        reply = policy(obs, info["tools"])
        obs, value, terminated, truncated, last = env.step(reply.message)
        reward, over = float(value), terminated or truncated
    print(last["stop"], reward, last["metrics"])
    print(last["diff"])
    env.close()
    return reward


if __name__ == "__main__":
    main()
