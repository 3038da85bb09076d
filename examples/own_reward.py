"""Write a reward of your own and call it without an environment: a reward takes (task, transcript, diff).

It needs no network, no API key and no Docker.
"""

from __future__ import annotations

from collections.abc import Sequence

from nano_codex_env import Resolved, Task, from_function, load_tasks, weighted
from nano_codex_env.messages import Message


def short(task: Task, transcript: Sequence[Message], diff: str) -> float:
    """Prefer patches with few added lines; no patch is worth 0.0."""
    return 1.0 / (1.0 + diff.count("\n+") / 10.0) if diff else 0.0


def main() -> tuple[float, float]:
    """Return the scores of a task's reference patch and of no patch."""
    reward = weighted((Resolved(), 0.9), (from_function(short), 0.1))
    task = load_tasks("bundled")[0]
    solved, nothing = reward(task, [], task.patch), reward(task, [], "")
    print(task.instance_id, solved.value, nothing.value)
    print(solved.parts)
    return solved.value, nothing.value


if __name__ == "__main__":
    main()
