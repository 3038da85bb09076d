"""Gymnasium's vector API: several environments, each with a task of its own.

It needs no network, no API key and no Docker. Replace the oracle by your model, which may answer all transcripts in one
batch.
"""

from __future__ import annotations

import numpy as np

import nano_codex_env
from nano_codex_env.messages import tool_call

TASKS = ("pocket-distance", "pocket-tint", "pocket-shorten")


def main() -> dict[str, float]:
    """Play an episode in each environment and return the reward of each task."""
    tasks = [task for task in nano_codex_env.load_tasks("bundled") if task.instance_id in TASKS]
    policy = nano_codex_env.Oracle(tasks)
    envs = nano_codex_env.make_vec(len(tasks), per_env=[{"tasks": [task]} for task in tasks], log_dir=None)
    observations, first = envs.reset(seed=0)
    rewards, over = np.zeros(len(tasks)), np.zeros(len(tasks), dtype=bool)
    while not over.all():
        no_op = tool_call("shell", cmd="true")  # Gymnasium has already started the next episode of those that are over
        transcripts = zip(observations, first["tools"], over, strict=True)
        actions = [no_op if done else policy(messages, tools).message for messages, tools, done in transcripts]
        observations, reward, terminated, truncated, _ = envs.step(actions)
        rewards += np.where(over, 0.0, reward)
        over |= terminated | truncated
    envs.close()
    results = {str(name): float(reward) for name, reward in zip(first["instance_id"], rewards, strict=True)}
    print(results)
    return results


if __name__ == "__main__":
    main()
