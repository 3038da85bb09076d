"""Re-execute a trajectory in a fresh episode and compare what the environment says, byte for byte."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nano_codex_env.episode import NOT_RUN, Episode, Rules
from nano_codex_env.errors import ActionError, ConfigError, TaskError, TrajectoryError
from nano_codex_env.messages import Message, ToolSchema, as_assistant, dumps
from nano_codex_env.records.trajectory import Trajectory
from nano_codex_env.sandbox import Sandbox, get_sandbox
from nano_codex_env.tools import Notice, Tool, Toolbox, default_tools
from nano_codex_env.tools.prompt import SYSTEM_PROMPT


@dataclass(frozen=True)
class Difference:
    """A place where the replay said something else."""

    where: str
    logged: str
    replayed: str


@dataclass(frozen=True)
class Replay:
    """What a replay found."""

    messages: int
    """How many messages were compared."""
    differences: list[Difference]

    @property
    def identical(self) -> bool:
        """Whether everything was the same."""
        return not self.differences


def replay(
    folder: str | os.PathLike[str],
    *,
    tools: Sequence[Tool] | None = None,
    notices: Sequence[Notice] = (),
    sandbox: Sandbox | str = "bubblewrap",
    cache_dir: str | os.PathLike[str] | None = None,
) -> Replay:
    """Play every assistant message of a log again.

    `tools` and `notices` are those that the episode had, where it had others than the defaults. An episode that was
    killed is compared up to where it was killed; calls that it did not run for want of time are not run either.

    Raises:
        TrajectoryError: the folder holds no trajectory, or no task, or is damaged.
        WorkspaceError: the repository or the commit that it names cannot be had.
    """
    logged = Trajectory.load(folder)
    toolbox = Toolbox(default_tools() if tools is None else tools)
    actions, box = actions_of(logged), get_sandbox(sandbox, cache=cache_dir)
    episode = _episode(logged, toolbox, rules_of(logged, notices), box, cache_dir)
    found = [] if _same_tools(toolbox.schemas, logged.tools) else [_tools_differ(logged, toolbox)]
    try:
        for action in actions:
            episode.act(action)
        found += _compare(logged, episode.transcript())
        if logged.metadata.get("stop") and (diff := episode.workspace.diff()) != logged.diff:
            found.append(Difference("diff.patch", logged.diff, diff))
    finally:
        episode.close()
    return Replay(len(logged.messages), found)


def _episode(
    logged: Trajectory, toolbox: Toolbox, rules: Rules, sandbox: Sandbox, cache: str | os.PathLike[str] | None
) -> Episode:
    try:
        return Episode(logged.task, toolbox, sandbox, rules, cache=Path(cache) if cache else None, log_dir=None)
    except (TaskError, OSError, RuntimeError) as error:  # a path too long, the home of a user that there is not
        raise TrajectoryError(f"{logged.folder / 'metadata.json'} holds no task to play: {error!s:.400}") from error


def rules_of(logged: Trajectory, notices: Sequence[Notice] = ()) -> Rules:
    """The rules of a logged episode, without limits that depend on time.

    Raises:
        TrajectoryError: the log names no task or no limits, or rules that there are not.
    """
    about, where = logged.metadata, logged.folder / "metadata.json"
    limits = about.get("limits") or {}
    if not about.get("task") or "max_steps" not in limits:
        raise TrajectoryError(f"{where} names no task or no limits; it cannot be replayed")
    legacy = [message.get("content") for message in logged.messages[:1]] == [SYSTEM_PROMPT]  # whatever the tools were
    prompt = about.get("system_prompt", SYSTEM_PROMPT if legacy else None)
    try:
        return Rules(limits["max_steps"], None, None, tuple(notices), about.get("on_inaction") or "submit", prompt)
    except ConfigError as error:
        raise TrajectoryError(f"{where} tells of rules that there are not: {error}") from error


def actions_of(logged: Trajectory) -> list[Message]:
    """The assistant's messages, each with the calls that were run, as `Episode.act` takes them.

    Raises:
        TrajectoryError: one of them is no action.
    """
    actions, calls = [], 0
    for message in _acted(logged.messages):
        try:
            action = as_assistant(message, calls)  # another framework's calls have no ids
        except ActionError as error:
            raise TrajectoryError(f"{logged.folder / 'messages.jsonl'} holds no action: {error}") from error
        actions.append(action)
        calls += len(action.get("tool_calls") or ())
    return actions


def _acted(messages: Sequence[Message]) -> list[Message]:
    """The assistant's messages, each with the calls that were run: answers follow their message in order."""
    acted = []
    for number, message in enumerate(messages):
        if message.get("role") != "assistant":
            continue
        calls = message.get("tool_calls") or []
        answers = messages[number + 1 : number + 1 + len(calls)]
        ran = [call for call, answer in zip(calls, answers, strict=False) if answer.get("content") != NOT_RUN]
        if ran or not calls:
            acted.append({**message, "tool_calls": ran} if calls else message)
    return acted


def _compare(logged: Trajectory, replayed: Sequence[Message]) -> list[Difference]:
    """Compare what the environment said; what the policy said is the same by construction."""
    ours = iter([message for message in replayed if message["role"] != "assistant"])
    found = []
    for number, message in enumerate(logged.messages):
        if message.get("role") == "assistant" or message.get("content") == NOT_RUN:
            continue
        again = next(ours, None)
        if again is None or dumps(_said(again, message)) != dumps(_said(message, message)):
            found.append(Difference(f"message {number}", _text(message), _text(again)))
    return found


def _same_tools(ours: Sequence[ToolSchema], logged: Sequence[ToolSchema]) -> bool:
    """Whether a policy was told of these tools; TRL sorts them by name, and bars no further parameters."""
    if list(ours) == list(logged):
        return True
    bare = json.loads(json.dumps(ours).replace(', "additionalProperties": false', ""))
    return list(logged) in (bare, sorted(bare, key=lambda tool: str(tool["function"]["name"])))


def _said(message: Message, logged: Message) -> Any:
    """What is compared: the whole message, or its text alone where another framework logged an answer without an id."""
    return message if logged.get("role") != "tool" or "tool_call_id" in logged else message.get("content")


def _text(message: Message | None) -> str:
    return "(nothing)" if message is None else str(message.get("content"))


def _tools_differ(logged: Trajectory, toolbox: Toolbox) -> Difference:
    return Difference("tools.json", dumps(logged.tools), dumps(toolbox.schemas))
