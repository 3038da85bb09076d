"""Policies without a model: a script, one that submits at once, a random one, and one that plays the reference patch.

Each is a function of the transcript alone: one object serves any number of episodes and threads.
"""

from __future__ import annotations

import random
import shlex
import zlib
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nano_codex_env.diff import split
from nano_codex_env.errors import ConfigError, PolicyError
from nano_codex_env.messages import Message, ToolCall, ToolSchema, assistant, tool_call
from nano_codex_env.policies.base import Reply
from nano_codex_env.tasks.task import Task


class Scripted:
    """Plays a list of actions, one per turn, then submits."""

    def __init__(self, actions: Sequence[Message | ToolCall]) -> None:
        """`actions`: assistant messages or tool calls."""
        self._actions = list(actions)

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        """See `Policy`."""
        turn = sum(message["role"] == "assistant" for message in messages)
        action = self._actions[turn] if turn < len(self._actions) else assistant("done")
        return Reply(action if "role" in action else assistant("", action))


class Idle:
    """Submits at once: the baseline of a policy that does nothing."""

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        """See `Policy`."""
        return Reply(assistant("I have nothing to change."))


class Random:
    """Makes random tool calls, then submits; the calls follow from the seed and the issue."""

    def __init__(self, seed: int = 0, turns: int = 8) -> None:
        """`turns`: the largest number of calls."""
        self._seed, self._turns = seed, turns

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        """See `Policy`."""
        rng = random.Random(f"{self._seed} {len(messages)} {zlib.crc32(str(messages[1]['content']).encode())}")
        turn = sum(message["role"] == "assistant" for message in messages)
        if turn >= self._turns or rng.random() < 0.1:
            return Reply(assistant("I give up."))
        if rng.random() < 0.2:
            text = str(rng.random())
            return Reply(assistant("", tool_call("apply_patch", search="", replace=text, file=f"notes/{text}.txt")))
        commands = (
            "ls -R | head -n 50",
            "git log",
            "find . -name '*.py' | head",
            "cat README.md",
            "grep -rn def . | head",
        )
        return Reply(assistant("", tool_call("shell", cmd=rng.choice(commands))))


class Oracle:
    """Plays a task's reference patch by real tool calls: reads each place, patches it, submits."""

    def __init__(self, tasks: Iterable[Task] | Task) -> None:
        """`tasks`: those it can play, or one; it recognises them by their issue.

        Raises:
            ConfigError: `tasks` is something else.
            PolicyError: two have the same issue, but not the same patch.
        """
        known: list[Any] = list(tasks) if isinstance(tasks, Iterable) else [tasks]
        if not all(isinstance(task, Task) for task in known):
            raise ConfigError(f"Oracle takes the tasks it plays, such as load_tasks('bundled'); got {tasks!r:.200}")
        self._patches: dict[str, str] = {}
        for task in known:
            if self._patches.setdefault(task.problem_statement, task.patch) != task.patch:
                raise PolicyError(f"{task.instance_id} has the same issue as another task, but not the same patch")

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        """See `Policy`.

        Raises:
            PolicyError: the task is unknown, has no reference patch, or has one that the tools cannot make.
        """
        patch = self._patches.get(str(messages[1]["content"]))
        if not patch:
            raise PolicyError("the oracle does not know this issue, or its task has no reference patch")
        calls = _calls(patch)
        answers = (message["content"] for message in messages[2:] if message["role"] == "tool")
        try:
            call = next(calls)
            for answer in answers:
                call = calls.send(answer)
        except StopIteration:
            return Reply(assistant("The issue is solved."))
        return Reply(assistant("", call))


Calls = Generator[ToolCall, str, None]
"""Yields tool calls; each is sent its answer."""


def _calls(patch: str) -> Calls:
    """Yield the tool calls that make `patch`; within a file, the last hunk comes first."""
    for part in split(patch):
        path, hunks = part.paths[-1], _hunks(part.text)
        if not (hunks or part.is_new) or "\nold mode " in part.text.partition("\n@@ ")[0]:
            raise PolicyError(f"the reference patch changes only the mode of {path}, or nothing visible; no tool can")
        if len(part.paths) > 1 or "\ndeleted file mode " in part.text or "\nGIT binary patch" in part.text:
            raise PolicyError(f"the reference patch renames, deletes or has binary content ({path}); no tool can")
        if part.is_new:
            content = "".join(line for hunk in hunks for line in hunk.new)
            yield tool_call("apply_patch", search="", replace=content, file=path)
            continue
        for hunk in reversed(hunks):
            yield from _edit(path, hunk)


@dataclass(frozen=True)
class _Hunk:
    start: int
    """First line of the old side, from 1."""
    old: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)


def _edit(path: str, hunk: _Hunk) -> Calls:
    """Read the hunk's place and patch it, with more context each time until the search text is unique."""
    answer = ""
    for margin in (0, 5, 20, 80, 320):
        first, last = max(1, hunk.start - margin), hunk.start + len(hunk.old) - 1 + margin
        shown = yield tool_call("shell", cmd=f"sed -n '{first},{max(last, 1)}p' {shlex.quote(path)}")
        lines = shown.split("\n")
        lines = [line + "\n" for line in lines[:-1]] + lines[-1:]
        start = max(hunk.start - first, 0) if hunk.old else hunk.start - first + 1  # pure additions come after the line
        stop = start + len(hunk.old)
        if lines[start:stop] != hunk.old:
            answer = f"the file does not hold the hunk at line {hunk.start}"
            continue
        replace = "".join([*lines[:start], *hunk.new, *lines[stop:]])
        answer = yield tool_call("apply_patch", search=shown, replace=replace, file=path)
        if not answer.startswith("error:"):
            return
    raise PolicyError(f"the oracle cannot play the reference patch of {path}: {answer}")


def _hunks(text: str) -> list[_Hunk]:
    hunks: list[_Hunk] = []
    sides: list[list[str]] = []
    for line in text.split("\n"):
        if line.startswith("@@ -"):
            hunks.append(_Hunk(int(line[4:].split(" ")[0].split(",")[0])))
        elif hunks and line[:1] in (" ", "-", "+"):
            old, new = hunks[-1].old, hunks[-1].new
            sides = {" ": [old, new], "-": [old], "+": [new]}[line[0]]
            for side in sides:
                side.append(line[1:] + "\n")
        elif hunks and line.startswith("\\"):  # "\ No newline at end of file", of the line before
            for side in sides:
                side[-1] = side[-1].removesuffix("\n")
    return hunks
