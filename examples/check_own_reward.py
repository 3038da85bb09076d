"""Test a reward of your own before a policy finds its faults.

It needs no network, no API key and no Docker. In a test suite the call of `check_reward` is the whole test.
"""

from __future__ import annotations

from collections.abc import Sequence

from nano_codex_env import Resolved, Task, from_function, load_tasks
from nano_codex_env.diff import File, file_diff, split
from nano_codex_env.errors import RewardCheckError
from nano_codex_env.messages import Message
from nano_codex_env.rewards import check_reward


def right_files(task: Task, transcript: Sequence[Message], diff: str) -> float:
    """How well the files of a patch match those of the reference patch: cheap, dense, and easy to hack."""
    wanted, ours = ({path for part in split(patch) for path in part.paths} for patch in (task.patch, diff))
    return len(wanted & ours) / len(wanted | ours)


def main() -> str:
    """Check `right_files`, then `Resolved`; return what is wrong with the first."""
    tasks = load_tasks("bundled")[:1]
    found = ""
    try:
        check_reward(from_function(right_files), tasks)
    except RewardCheckError as error:
        found = str(error)
    print(f"right_files: {found}")
    hacks = {tasks[0].instance_id: {"a remark": file_diff("DONE.md", None, File(b"All tests pass.\n"))}}
    check_reward(Resolved(), tasks, hacks=hacks)  # without hacks= all built-in hacks are tried
    print("Resolved: nothing found")
    return found


if __name__ == "__main__":
    main()
