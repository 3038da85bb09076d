"""A reward of one's own, put to the test before a policy finds what is wrong with it.

Run it with `python examples/check_own_reward.py`; in a test suite `check_reward` is the whole test.
"""

from __future__ import annotations

from collections.abc import Sequence

from nano_codex_env import Resolved, Task, from_function, load_tasks
from nano_codex_env.diff import File, file_diff, split
from nano_codex_env.errors import RewardCheckError
from nano_codex_env.messages import Message
from nano_codex_env.rewards import check_reward


def right_files(task: Task, transcript: Sequence[Message], diff: str) -> float:
    """The share of the reference patch's files that a patch touches: cheap, dense, and easily had."""
    wanted, ours = ({path for part in split(patch) for path in part.paths} for patch in (task.patch, diff))
    return len(wanted & ours) / len(wanted | ours)


def main() -> str:
    """What is wrong with it; the tests decide better."""
    tasks = load_tasks("bundled")[:1]
    found = ""
    try:
        check_reward(from_function(right_files), tasks)
    except RewardCheckError as error:
        found = str(error)
    print(f"right_files: {found}")
    hacks = {tasks[0].instance_id: {"a remark": file_diff("DONE.md", None, File(b"All tests pass.\n"))}}
    check_reward(Resolved(), tasks, hacks=hacks)  # without hacks= it is tried with all of ours
    print("Resolved: nothing found")
    return found


if __name__ == "__main__":
    main()
