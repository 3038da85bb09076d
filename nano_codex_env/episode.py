"""One episode without Gymnasium: its files, transcript and counters, and how it ends."""

from __future__ import annotations

import json
import operator
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nano_codex_env.cache import disk_errors
from nano_codex_env.diff import File
from nano_codex_env.errors import ConfigError, check_positive, clean_up_after, close_all, closed_after
from nano_codex_env.messages import Message, ToolCall, ToolSchema, dumps, tool_answer
from nano_codex_env.records.trajectory import LogWriter
from nano_codex_env.repo import Workspace, resolve_range
from nano_codex_env.repo.source import repository_folders
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.score import Score, printable
from nano_codex_env.tasks.task import Task
from nano_codex_env.tool_usage import episode_metrics
from nano_codex_env.tools import Notice, State, Toolbox, ToolContext
from nano_codex_env.tools.notices import checked_notices, text_of
from nano_codex_env.tools.prompt import checked_prompt, default_prompt, first_messages, reminder

NOT_RUN = "not run: limit reached"
"""The answer to a call that comes after a limit."""


@dataclass(frozen=True)
class Rules:
    """The limits of an episode and the messages that the environment adds to it."""

    max_steps: int = 50
    """Tool calls."""
    time_limit: float | None = 1800.0
    """Seconds."""
    token_limit: int | None = None
    """Tokens, as the caller reports them."""
    notices: Sequence[Notice] = ()
    on_inaction: str = "submit"
    """A message without tool calls: "submit" ends the episode; "remind" answers it while no file is changed."""
    system_prompt: str | None = None
    """The first message; None: `tools.prompt.default_prompt` of the tools."""
    max_reminders: int | None = None
    """Reminders in a row, with no tool call between, after which the next such message submits; None: no limit."""

    def __post_init__(self) -> None:
        """Raise ConfigError if a value cannot be used."""
        check_positive("max_steps", self.max_steps)
        check_positive("time_limit", self.time_limit, "number", fractions=True, optional=True)
        check_positive("token_limit", self.token_limit, optional=True)
        check_positive("max_reminders", self.max_reminders, optional=True)
        if self.on_inaction not in ("submit", "remind"):
            raise ConfigError(f"on_inaction is 'submit' or 'remind'; got {self.on_inaction!r}")
        checked_prompt(self.system_prompt)
        object.__setattr__(self, "notices", checked_notices(self.notices))

    def limits(self) -> dict[str, Any]:
        """The limits, as in `info["limits"]`."""
        return {"max_steps": self.max_steps, "time_limit": self.time_limit, "token_limit": self.token_limit}

    def about(self) -> dict[str, Any]:
        """The rules, as in `metadata.json`."""
        names = [getattr(notice, "__qualname__", repr(notice)) for notice in self.notices]
        about = {"limits": self.limits(), "on_inaction": self.on_inaction, "notices": names}
        more = {"max_reminders": self.max_reminders, "system_prompt": self.system_prompt}
        return about | {key: value for key, value in more.items() if value is not None}


@dataclass(frozen=True)
class Snapshot:
    """The state of an episode. It shares file contents with the episode instead of copying them."""

    task: Task
    commit: str
    files: Mapping[tuple[str, ...], File] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    """The transcript, one message of JSON each."""
    steps: int = 0
    calls: int = 0
    tokens: int | None = None
    seconds: float = 0.0
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    stop: str | None = None
    rng: Any = None
    """The state of the env's random generator."""
    folder: str | None = None
    """The name of the log's folder."""
    token_lines: tuple[str, ...] = ()
    """The lines of `tokens.jsonl`."""
    token_ids: Sequence[int] = ()
    """All token ids of the last turn that reported them."""


class Episode:
    """One attempt at a task; close it when done."""

    def __init__(
        self,
        task: Task,
        toolbox: Toolbox,
        sandbox: Sandbox,
        rules: Rules,
        *,
        cache: str | os.PathLike[str] | None,
        log_dir: str | os.PathLike[str] | None,
        log: str | None = "folder",
        echo: Callable[[Message], None] | None = None,
        resume: Snapshot | None = None,
    ) -> None:
        """Open the repository and start the transcript, or continue from `resume`; `echo` is called with each message.

        Raises:
            TaskError: the issue is not valid text.
            WorkspaceError: the repository cannot be opened.
            TrajectoryError: the log cannot be written.
        """
        task = resolve_range(task, cache)
        default = default_prompt(toolbox.tools)
        start = resume or Snapshot(
            task,
            task.base_commit,
            lines=tuple(dumps(message) for message in first_messages(task, rules.system_prompt or default)),
        )
        self.lines = list(start.lines)
        """The transcript, one message of JSON each: callers may change `messages`, but not these."""
        self.messages: list[Message] = json.loads(f"[{','.join(start.lines)}]")
        prompt = self.messages[0]["content"]
        self.rules = replace(rules, system_prompt=None if prompt == default else prompt)
        self.task, self._toolbox, self._echo, self._log_kind = task, toolbox, echo, log
        with disk_errors(f"opening {task.repo}"):
            self.workspace = Workspace(task.repo, start.commit, cache=cache)
        self.steps = start.steps
        self.calls = start.calls
        """All tool calls, those not run included: the next call without an id is numbered from here."""
        self.tokens, self.stop = start.tokens, start.stop
        self.finish_reasons: list[str] = []
        """Why the model's answers ended, as far as the caller knows; `finish` logs them."""
        self.counts = dict(start.counts)
        """Tool -> (calls, successful calls)."""
        self._reminders = 0
        """Reminders since the last tool call."""
        self._begun, self._started = time.time(), time.monotonic() - start.seconds
        # Commands must see neither later commits of the repository nor logs, which hold reference patches.
        hidden = repository_folders(task.repo)
        self.log: LogWriter | None = None
        try:
            self.workspace.restore(start.files)
            if log_dir and log:
                more = {"branched": {"from": resume.folder, "messages": len(resume.lines)}} if resume else {}
                writer = self.begin_log(log_dir, toolbox.schemas, **more)
                writer.resume_from(start.lines, start.token_lines, start.token_ids)
        except BaseException as error:
            clean_up_after(error, *([self.log.close] if self.log else []), self.workspace.close)
            raise
        self.context = ToolContext(self.workspace, sandbox, (*hidden, self.log.folder.parent) if self.log else hidden)
        if echo:
            for message in self.messages:
                echo(message)

    def begin_log(self, log_dir: str | os.PathLike[str], tools: Sequence[ToolSchema], **more: Any) -> LogWriter:
        """Begin an empty log whose `metadata.json` describes the episode; `more`: further entries."""
        about = {"task": self.task.to_row(), "commit": self.workspace.commit, **self.rules.about()}
        self.log = LogWriter(Path(log_dir), tools, {**about, "started": self._begun, **more}, log=self._log_kind)
        return self.log

    def report_tokens(self, total: int) -> None:
        """See `NanoCodexEnv.report_tokens`."""
        try:
            count = operator.index(total)
        except TypeError:
            count = -1
        if isinstance(total, bool) or not 0 <= count <= 1 << 53:
            raise ConfigError(f"report_tokens takes a whole number from 0 to 2**53; got {printable(total)}")
        self.tokens = count

    def snapshot(self, rng: Any) -> Snapshot:
        """The state of the episode, with `rng`, the state of a random generator."""
        log = self.log
        files, lines, counts = self.workspace.snapshot(), tuple(self.lines), dict(self.counts)
        used = (self.steps, self.calls, self.tokens, self.seconds)
        logged = (log.folder.name, tuple(log.token_lines), log.token_ids) if log else ()
        return Snapshot(self.task, self.workspace.commit, files, lines, *used, counts, self.stop, rng, *logged)

    @property
    def seconds(self) -> float:
        """Wall time since the start; it is written to files, never to an observation."""
        return time.monotonic() - self._started

    def act(self, message: Message) -> list[bool]:
        """Take one assistant message; returns whether each of its tool calls succeeded."""
        self._append(message)
        calls: Sequence[ToolCall] = message.get("tool_calls") or ()
        self.calls += len(calls)
        self._reminders = 0 if calls else self._reminders
        ok = [self._call(call) for call in calls]
        if not calls:
            is_last = self.rules.on_inaction == "submit" or self._reminders == self.rules.max_reminders
            if is_last or self.workspace.changed:
                self.stop = "submitted"
                return []
            self.steps += 1
            self._reminders += 1
            self._append({"role": "user", "content": reminder(self._toolbox.tools, self.rules.system_prompt)})
        self.stop = self._limit()
        return ok

    def _call(self, call: ToolCall) -> bool:
        if self._limit():
            self._append(tool_answer(call, NOT_RUN))
            return False
        self.steps += 1
        result = self._toolbox.call(self.context, call)
        name = self._toolbox.name_of(call)
        calls, successes = self.counts.get(name, (0, 0))
        self.counts[name] = (calls + 1, successes + result.ok)
        self._append(tool_answer(call, result.content + self._notices(result.content)))
        return result.ok

    def _notices(self, content: str) -> str:
        """The notices that follow a tool's answer, on lines of their own."""
        rules = self.rules
        if not rules.notices:
            return ""
        state = State(self.steps, rules.max_steps, self.tokens, rules.token_limit, self.workspace.changed)
        texts = [text for notice in rules.notices if (text := text_of(notice, state))]
        gap = "\n" if texts and content and not content.endswith("\n") else ""
        return gap + "\n".join(texts)

    def _limit(self) -> str | None:
        """The limit that is reached, if any."""
        used = {"max_steps": self.steps, "time_limit": self.seconds, "token_limit": self.tokens or 0}
        limits = self.rules.limits().items()
        return next((name for name, limit in limits if limit is not None and used[name] >= limit), None)

    def _append(self, message: Message) -> None:
        line = dumps(message)
        self.lines.append(line)
        self.messages.append(message)
        if self.log:
            self.log.append(line)
        if self._echo:
            self._echo(message)

    def transcript(self) -> list[Message]:
        """A copy of the messages, unaffected by what a caller did to an observation."""
        return [json.loads(line) for line in self.lines]

    def close(self) -> None:
        """End the sandbox, remove the touched files, close and pack the log; a second call does nothing."""
        close_all(self.context.close, self.workspace.close, *([self.log.close] if self.log else []))
        if self.log:  # not after an error: its log is still to say that the episode is void
            self.log.pack()


def finish(
    episode: Episode,
    reward: Callable[[Task, list[Message], str], Score] | None = None,
    *,
    void: str | None = None,
    close: bool = True,
    **more: Any,
) -> dict[str, Any]:
    """End an episode: take its diff, score it, complete its log, and free its sandbox and files.

    Returns `stop` and `diff`, and with `reward` also `parts`, `metrics` and `reward`. If this raises, the episode is
    still open: call again with `void`, which always closes it.

    Args:
        episode: the episode; its `stop` says why it ended.
        reward: scores the patch; None: it is not scored.
        void: why the episode is void.
        close: False leaves the files to the caller, who must close the episode.
        **more: further entries of `metadata.json`.

    Raises:
        WorkspaceError, TrajectoryError: the diff or the log cannot be made; and whatever `reward` raises.
    """
    with closed_after(*([episode.close] if void is not None else [])):
        diff, seconds = episode.workspace.diff(), episode.seconds
        info: dict[str, Any] = {"stop": episode.stop, "diff": diff}
        if reward:
            score = reward(episode.task, episode.transcript(), diff)
            used = (episode.steps, episode.tokens, episode.finish_reasons)
            metrics = episode_metrics(score, episode.counts, episode.transcript(), *used)
            info |= {"parts": score.parts, "metrics": metrics, "reward": score.value}
            more = {"counts": episode.counts, **more}
        if episode.log:
            voided = {} if void is None else {"void": void}
            about = {**voided, **info, "steps": episode.steps, "seconds": seconds, **more}
            about |= {"finish_reasons": episode.finish_reasons} if episode.finish_reasons else {}
            episode.log.finish(diff, {key: value for key, value in about.items() if key != "diff"})
        if close:
            episode.close()
    return info
