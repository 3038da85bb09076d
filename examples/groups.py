"""Groups of attempts and their advantages, as GRPO wants them, from many rollouts at once.

Run it with `python examples/groups.py`; it needs no network, no key and no Docker. Put `ChatPolicy(...)` in the place
of the policy, and the numbers are those of your model.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from statistics import mean, pstdev

from nano_codex_env import Oracle, Reply, Task, load_tasks, rollouts
from nano_codex_env.messages import Message, ToolSchema, assistant


class Sometimes:
    """Solves an issue in about half of the attempts: the reference patch, or nothing. A model stands here."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        """`tasks`: those it may meet."""
        self._oracle = Oracle(tasks)

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        """See `Policy`; it gives up at the start or not at all."""
        if len(messages) == 2 and random.random() < 0.5:
            return Reply(assistant("I give up."))
        return self._oracle(messages, tools)


def main() -> dict[str, list[float]]:
    """The advantages of four attempts at each of two tasks."""
    tasks = [task for task in load_tasks("bundled") if task.instance_id in ("pocket-tint", "pocket-shorten")]
    with tempfile.TemporaryDirectory() as out:
        results = rollouts(tasks, Sometimes(tasks), n=4, concurrency=4, out=out)
    advantages = {}
    for task in tasks:
        group = [result for result in results if result.instance_id == task.instance_id]
        rewards = [
            result.reward for result in group if result.reward is not None
        ]  # a void one is no zero: it is left out
        spread = pstdev(rewards) or 1.0
        advantages[task.instance_id] = [(reward - mean(rewards)) / spread for reward in rewards]
        print(task.instance_id, "rewards", rewards, "advantages", [f"{a:+.2f}" for a in advantages[task.instance_id]])
    return advantages


if __name__ == "__main__":
    main()
