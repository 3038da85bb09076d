"""Replay a logged episode: execute its actions again and compare the environment's messages byte for byte."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nano_codex_env.episode import NOT_RUN, Episode, Rules
from nano_codex_env.errors import ActionError, ConfigError, TaskError, TrajectoryError, closed_after
from nano_codex_env.messages import Message, ToolSchema, as_assistant, dumps
from nano_codex_env.records.trajectory import Trajectory
from nano_codex_env.sandbox import Sandbox, get_sandbox
from nano_codex_env.tools import Notice, Tool, Toolbox, default_tools
from nano_codex_env.tools.prompt import SYSTEM_PROMPT


@dataclass(frozen=True)
class Difference:
    """A place where the replay differs from the log."""

    where: str
    logged: str
    replayed: str


@dataclass(frozen=True)
class Replay:
    """The result of a replay."""

    messages: int
    """How many messages were compared."""
    differences: list[Difference]

    @property
    def identical(self) -> bool:
        """Whether there are no differences."""
        return not self.differences


def replay(
    folder: str | os.PathLike[str],
    *,
    tools: Sequence[Tool] | None = None,
    notices: Sequence[Notice] = (),
    sandbox: Sandbox | str = "bubblewrap",
    cache_dir: str | os.PathLike[str] | None = None,
) -> Replay:
    """Execute every assistant message of a log again.

    `tools` and `notices` must be those of the episode, if it did not use the defaults. A killed episode is compared up
    to where it was killed. Calls that the episode did not run because of a limit are left out.

    Raises:
        TrajectoryError: the folder is not an episode's, is damaged, or names no task that can be played.
        WorkspaceError: the repository or the commit is not available.
    """
    logged = Trajectory.load(folder)
    toolbox = Toolbox(default_tools() if tools is None else tools)
    actions, box = actions_of(logged), get_sandbox(sandbox, cache=cache_dir)
    rules = rules_of(logged, notices)
    try:
        episode = Episode(logged.task, toolbox, box, rules, cache=cache_dir or None, log_dir=None)
    except (TaskError, OSError, RuntimeError) as error:  # too long a path, or `~` of an unknown user
        raise TrajectoryError(f"{logged.folder / 'metadata.json'} holds no task to play: {error!s:.400}") from error
    found = []
    with closed_after(episode.close):
        if not _same_tools(toolbox.schemas, logged.tools):
            found.append(Difference("tools.json", dumps(logged.tools), dumps(toolbox.schemas)))
        for action in actions:
            episode.act(action)
        found += _compare(logged.messages, episode.transcript())
        if logged.metadata.get("stop") and (diff := episode.workspace.diff()) != logged.diff:
            found.append(Difference("diff.patch", logged.diff, diff))
    return Replay(len(logged.messages), found)


def rules_of(logged: Trajectory, notices: Sequence[Notice] = ()) -> Rules:
    """The rules of a logged episode, without the limits of time and tokens.

    Raises:
        TrajectoryError: the log names no task or no limits, or its rules are invalid.
    """
    about, where = logged.metadata, logged.folder / "metadata.json"
    limits = about.get("limits") or {}
    if not about.get("task") or "max_steps" not in limits:
        raise TrajectoryError(f"{where} names no task or no limits; it cannot be replayed")
    # Old logs do not name their prompt: it was this one whatever the tools, or the default.
    is_legacy = [message.get("content") for message in logged.messages[:1]] == [SYSTEM_PROMPT]
    prompt = about.get("system_prompt", SYSTEM_PROMPT if is_legacy else None)
    inaction, most = about.get("on_inaction") or "submit", about.get("max_reminders")
    try:
        return Rules(limits["max_steps"], None, None, tuple(notices), inaction, prompt, most)
    except ConfigError as error:
        raise TrajectoryError(f"{where} holds invalid rules: {error}") from error


def actions_of(logged: Trajectory) -> list[Message]:
    """The assistant messages in the form that `Episode.act` takes, without calls that were not run.

    Raises:
        TrajectoryError: one of them is not an action.
    """
    actions, count = [], 0
    for number, message in enumerate(logged.messages, 1):
        if message.get("role") != "assistant":
            continue
        calls = message.get("tool_calls") or []
        answers = logged.messages[number : number + len(calls)]  # in the order of the calls
        ran = [call for call, answer in zip(calls, answers, strict=False) if answer.get("content") != NOT_RUN]
        if calls and not ran:
            continue
        try:  # calls that another framework logged have no ids: they get some here
            action = as_assistant({**message, "tool_calls": ran} if calls else message, count)
        except ActionError as error:
            raise TrajectoryError(f"{logged.folder / 'messages.jsonl'} holds no action: {error}") from error
        actions.append(action)
        count += len(ran)
    return actions


def _compare(logged: Sequence[Message], replayed: Sequence[Message]) -> Iterator[Difference]:
    """Compare the environment's messages; the policy's are the same by construction."""
    ours = iter([message for message in replayed if message["role"] != "assistant"])
    for number, message in enumerate(logged):
        if message.get("role") == "assistant" or message.get("content") == NOT_RUN:
            continue
        again = next(ours, None)
        has_id = message.get("role") != "tool" or "tool_call_id" in message  # other frameworks log answers without ids
        pair = [message, again] if has_id else [message.get("content"), again and again.get("content")]
        if again is None or dumps(pair[0]) != dumps(pair[1]):
            text = "(nothing)" if again is None else str(again.get("content"))
            yield Difference(f"message {number}", str(message.get("content")), text)


def _same_tools(ours: Sequence[ToolSchema], logged: Sequence[ToolSchema]) -> bool:
    """Whether the policy was given these tools; TRL sorts them by name and derives schemas that say less."""
    if list(ours) == list(logged):
        return True
    bare = json.loads(json.dumps(ours).replace(', "additionalProperties": false', ""))
    in_order = sorted(bare, key=lambda tool: str(tool["function"]["name"]))
    return list(logged) in (bare, in_order) or [*map(_outline, logged)] == [*map(_outline, in_order)]


def _outline(tool: ToolSchema) -> Any:
    """What TRL keeps of any tool: name, description, and the arguments' names; None if it is not one of TRL's."""
    try:
        parameters = tool["function"]["parameters"]
        needed = sorted(parameters.get("required", ()))
        return tool["function"]["name"], tool["function"]["description"], list(parameters["properties"]), needed
    except (KeyError, TypeError, AttributeError):
        return None
