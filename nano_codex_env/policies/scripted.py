"""Policies without a model: scripted, idle, random, and the oracle that plays a reference patch.

All here are functions of the transcript alone: one object serves any number of episodes and threads.
"""

from __future__ import annotations

import random
import shlex
import zlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from nano_codex_env.diff import split
from nano_codex_env.errors import PolicyError
from nano_codex_env.messages import Message, ToolCall, ToolSchema, assistant, tool_call
from nano_codex_env.policies.base import Reply
from nano_codex_env.tasks.task import Task


class Scripted:
    """Plays a list of actions, one a turn, then submits."""

    def __init__(self, actions: Sequence[Message | ToolCall]) -> None:
        """`actions`: assistant messages or tool calls."""
        self._actions = list(actions)

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        """See `Policy`."""
        turn = sum(message["role"] == "assistant" for message in messages)
        action = self._actions[turn] if turn < len(self._actions) else assistant("done")
        return Reply(action if "role" in action else assistant("", action))


class Idle:
    """Submits at once: what a task gives for nothing."""

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        """See `Policy`."""
        return Reply(assistant("I have nothing to change."))


class Random:
    """Looks around without aim, then submits; the same for the same seed and issue."""

    def __init__(self, seed: int = 0, turns: int = 8) -> None:
        """`turns`: how many calls it makes at most."""
        self._seed, self._turns = seed, turns

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        """See `Policy`."""
        rng = random.Random(f"{self._seed} {len(messages)} {zlib.crc32(str(messages[1]['content']).encode())}")
        turn = sum(message["role"] == "assistant" for message in messages)
        if turn >= self._turns or rng.random() < 0.1:
            return Reply(assistant("I give up."))
        if rng.random() < 0.2:
            words = f"{rng.random()}"
            return Reply(assistant("", tool_call("apply_patch", search="", replace=words, file=f"notes/{words}.txt")))
        commands = (
            "ls -R | head -n 50",
            "git log",
            "find . -name '*.py' | head",
            "cat README.md",
            "grep -rn def . | head",
        )
        return Reply(assistant("", tool_call("shell", cmd=rng.choice(commands))))


class Oracle:
    """Plays a task's reference patch by real tool calls: looks at each place, patches it, submits."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        """`tasks`: those it may meet; it knows them by their issue."""
        self._patches: dict[str, str] = {}
        for task in tasks:
            if self._patches.setdefault(task.problem_statement, task.patch) != task.patch:
                raise PolicyError(f"{task.instance_id} has the same issue as another task, but not the same patch")

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        """See `Policy`.

        Raises:
            PolicyError: the task is unknown, has no reference patch, or one that the tools cannot play.
        """
        patch = self._patches.get(str(messages[1]["content"]))
        if not patch:
            raise PolicyError("the oracle does not know this issue, or its task has no reference patch")
        moves = _moves(patch)
        call = next(moves, None)
        for message in messages[2:]:
            if message["role"] == "tool" and call is not None:
                try:
                    call = moves.send(message["content"])
                except StopIteration:
                    call = None
        return Reply(assistant("", call) if call else assistant("The issue is solved."))


Moves = Generator[ToolCall, str, None]


def _moves(patch: str) -> Moves:
    """Tool calls that make `patch`, each fed with the answer to the one before; the last hunks of a file come first."""
    for part in split(patch):
        path, hunks = part.paths[-1], _hunks(part.text)
        if not (hunks or part.is_new) or "\nold mode " in part.text.partition("\n@@ ")[0]:
            raise PolicyError(
                f"the reference patch changes the mode of {path}, or nothing that can be seen; no tool can"
            )
        if len(part.paths) > 1 or "\ndeleted file mode " in part.text or "\nGIT binary patch" in part.text:
            raise PolicyError(f"the reference patch renames, deletes or has binary content ({path}); no tool can")
        if part.is_new:
            yield tool_call(
                "apply_patch", search="", replace="".join(line for hunk in hunks for line in hunk.new), file=path
            )
            continue
        for hunk in reversed(hunks):
            yield from _edit(path, hunk)


@dataclass(frozen=True)
class _Hunk:
    start: int
    """First line of the old side, from 1."""
    old: list[str]
    new: list[str]


def _edit(path: str, hunk: _Hunk) -> Moves:
    """Look at the hunk's place, patch it; widen the view until the text occurs only once."""
    answer = ""
    for margin in (0, 5, 20, 80, 320):
        first, last = max(1, hunk.start - margin), hunk.start + len(hunk.old) - 1 + margin
        shown = yield tool_call("shell", cmd=f"sed -n '{first},{max(last, 1)}p' {shlex.quote(path)}")
        lines = shown.split("\n")
        lines = [line + "\n" for line in lines[:-1]] + lines[-1:]
        start = max(hunk.start - first, 0) if hunk.old else hunk.start - first + 1  # one that only adds comes after
        stop = start + len(hunk.old)
        if lines[start:stop] != hunk.old:
            answer = f"the file does not hold the hunk at line {hunk.start}"
            continue
        search, replace = shown, "".join([*lines[:start], *hunk.new, *lines[stop:]])
        answer = yield tool_call("apply_patch", search=search, replace=replace, file=path)
        if not answer.startswith("error:"):
            return
    raise PolicyError(f"the oracle cannot play the reference patch of {path}: {answer}")


def _hunks(text: str) -> list[_Hunk]:
    hunks: list[_Hunk] = []
    for line in text.split("\n"):
        if line.startswith("@@ -"):
            hunks.append(_Hunk(int(line[4:].split(" ")[0].split(",")[0]), [], []))
        elif hunks and line[:1] in (" ", "-", "+"):
            for mark, side in ((" -", hunks[-1].old), (" +", hunks[-1].new)):
                if line[0] in mark:
                    side.append(line[1:] + "\n")
            last = line[0]
        elif hunks and line.startswith("\\"):
            for mark, side in ((" -", hunks[-1].old), (" +", hunks[-1].new)):
                if last in mark:
                    side[-1] = side[-1].removesuffix("\n")
    return hunks
