"""Groups of attempts and their advantages, as GRPO needs them, from many rollouts at a time.

It needs no network, no API key and no Docker. Replace `Sometimes` by a `ChatPolicy` to see the numbers of your model.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from statistics import mean, pstdev

from nano_codex_env import Oracle, Reply, Task, load_tasks, rollouts
from nano_codex_env.messages import Message, ToolSchema, assistant


class Sometimes:
    """A stand-in for a model: it gives up at the start of half of the attempts and solves the others."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        """Know the reference patches of `tasks`."""
        self._oracle = Oracle(tasks)

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        """Answer as `Policy` says."""
        if len(messages) == 2 and random.random() < 0.5:
            return Reply(assistant("I give up."))
        return self._oracle(messages, tools)


def main() -> dict[str, list[float]]:
    """Return the advantages of four attempts at each of two tasks."""
    tasks = [task for task in load_tasks("bundled") if task.instance_id in ("pocket-tint", "pocket-shorten")]
    with tempfile.TemporaryDirectory() as out:
        results = rollouts(tasks, Sometimes(tasks), n=4, concurrency=4, out=out)
    advantages = {}
    for task in tasks:
        group = [result.reward for result in results if result.instance_id == task.instance_id]
        rewards = [reward for reward in group if reward is not None]  # None: void, not zero
        deviation = pstdev(rewards) or 1.0
        advantages[task.instance_id] = [(reward - mean(rewards)) / deviation for reward in rewards]
        print(task.instance_id, "rewards", rewards, "advantages", [f"{a:+.2f}" for a in advantages[task.instance_id]])
    return advantages


if __name__ == "__main__":
    main()
