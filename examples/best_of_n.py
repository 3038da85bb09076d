"""Best of n from the middle of an episode: play up to the point that matters, branch, keep the best branch.

The first part is played once, and the model reads it once; a branch costs milliseconds, whatever the size of the
repository. It needs no network, no API key and no Docker. Replace `Unsure` by a `ChatPolicy` to branch your own model.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import mean

from nano_codex_env import NanoCodexEnv, Oracle, Policy, Reply, Resolved, Task, load_tasks
from nano_codex_env.messages import Message, ToolSchema, assistant, tool_call


class Unsure:
    """A stand-in for a model: it knows the right patch, but writes a useless note two times in three."""

    def __init__(self, tasks: Sequence[Task], seed: int) -> None:
        """Seed the choice between patch and note."""
        self._oracle, self._rng = Oracle(tasks), random.Random(seed)

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        """Answer as `Policy` says."""
        reply = self._oracle(messages, tools)
        calls = reply.message.get("tool_calls") or []
        if calls and calls[0]["function"]["name"] == "apply_patch" and self._rng.random() < 0.65:
            note = tool_call("apply_patch", search="", replace=f"idea {self._rng.random()}\n", file="NOTES")
            return Reply(assistant("I am not sure. I will write a note.", note))
        return reply


def play(env: NanoCodexEnv, tools: list[ToolSchema], policy: Policy, *, turns: int | None = None) -> float:
    """Play `turns` turns, or until the episode ends; return the reward, which is 0.0 before the end."""
    obs, reward, over = list(env.episode.messages), 0.0, False
    while not over and turns != 0:
        obs, reward, terminated, truncated, _ = env.step(policy(obs, tools).message)
        over, turns = terminated or truncated, turns and turns - 1
    return reward


def main(n: int = 6) -> list[float]:
    """Return the rewards of n branches."""
    task = next(task for task in load_tasks("bundled") if task.instance_id == "pocket-tint")
    with NanoCodexEnv(task, reward=Resolved(integrity="fast"), log_dir=None) as env, ExitStack() as stack:
        _, info = env.reset()
        play(env, info["tools"], Oracle([task]), turns=1)
        started = time.perf_counter()
        branches = [stack.enter_context(branch) for branch in env.fork(n)]
        milliseconds = (time.perf_counter() - started) / n * 1000
        policies = [Unsure([task], seed) for seed in range(n)]
        with ThreadPoolExecutor(2) as threads:
            rewards = list(threads.map(play, branches, [info["tools"]] * n, policies))
        print(
            f"{task.instance_id}: {n} branches after {len(env.episode.messages)} messages, {milliseconds:.1f} ms each"
        )
    print(f"rewards {rewards}: the best of {n} is {max(rewards)}, their mean {mean(rewards):.2f}")
    return rewards


if __name__ == "__main__":
    main()
