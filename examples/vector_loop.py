"""A vector of environments, each on a task of its own, driven by Gymnasium's vector API alone.

Run it with `python examples/vector_loop.py`; it needs no network, no key and no Docker. Put your model in the place of
the policy: it may answer all transcripts in one batch.
"""

from __future__ import annotations

import numpy as np

import nano_codex_env
from nano_codex_env.messages import tool_call

WANTED = ("pocket-distance", "pocket-tint", "pocket-shorten")


def main() -> dict[str, float]:
    """Play an episode in each environment; the reward of each task."""
    tasks = [task for task in nano_codex_env.load_tasks("bundled") if task.instance_id in WANTED]
    policy = nano_codex_env.Oracle(tasks)
    envs = nano_codex_env.make_vec(len(tasks), per_env=[{"tasks": [task]} for task in tasks], log_dir=None)
    observations, first = envs.reset(seed=0)
    rewards, over = np.zeros(len(tasks)), np.zeros(len(tasks), dtype=bool)
    while not over.all():
        idle = tool_call("shell", cmd="true")  # for those that are over: Gymnasium has begun their next episode
        transcripts = zip(observations, first["tools"], over, strict=True)
        actions = [idle if done else policy(seen, tools).message for seen, tools, done in transcripts]
        observations, reward, terminated, truncated, _ = envs.step(actions)
        rewards += np.where(over, 0.0, reward)
        over |= terminated | truncated
    envs.close()
    results = {str(name): float(reward) for name, reward in zip(first["instance_id"], rewards, strict=True)}
    print(results)
    return results


if __name__ == "__main__":
    main()
