"""One episode: the state machine behind the environment, without Gymnasium and without a reward."""

from __future__ import annotations

import json
import operator
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nano_codex_env.diff import File
from nano_codex_env.errors import ConfigError
from nano_codex_env.messages import Message, ToolCall, dumps, tool_answer
from nano_codex_env.records.trajectory import Writer
from nano_codex_env.repo import Workspace
from nano_codex_env.repo.source import folders_of
from nano_codex_env.sandbox import Sandbox, Shell, View
from nano_codex_env.score import told
from nano_codex_env.tasks.task import Task
from nano_codex_env.tool_usage import command_counts
from nano_codex_env.tools import Notice, State, Toolbox
from nano_codex_env.tools.base import ShellAnswer
from nano_codex_env.tools.prompt import checked_prompt, default_prompt, first_messages, reminder

NOT_RUN = "not run: limit reached"


@dataclass(frozen=True)
class Rules:
    """What bounds an episode and what the environment says in it; the same for all episodes of an env."""

    max_steps: int = 50
    """Tool calls."""
    time_limit: float | None = 1800.0
    """Seconds."""
    token_limit: int | None = None
    """Tokens, as the caller reports them."""
    notices: tuple[Notice, ...] = ()
    on_inaction: str = "submit"
    """What a message without tool calls does: "submit", or "remind" while nothing is changed."""
    system_prompt: str | None = None
    """What every episode begins with; None: `tools.prompt.default_prompt` of the tools."""

    def __post_init__(self) -> None:
        """Only positive limits bound anything.

        Raises:
            ConfigError: a value cannot be used.
        """
        limits = (("max_steps", self.max_steps), ("time_limit", self.time_limit), ("token_limit", self.token_limit))
        for name, value in limits:
            if value is None and name != "max_steps":
                continue
            kinds = (int, float) if name == "time_limit" else (int,)
            if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0:
                raise ConfigError(f"{name} must be a positive number; got {value!r}")
        if self.on_inaction not in ("submit", "remind"):
            raise ConfigError(f"on_inaction is 'submit' or 'remind'; got {self.on_inaction!r}")
        checked_prompt(self.system_prompt)

    def limits(self) -> dict[str, Any]:
        """The bounds, as `info["limits"]` gives them."""
        return {"max_steps": self.max_steps, "time_limit": self.time_limit, "token_limit": self.token_limit}

    def about(self) -> dict[str, Any]:
        """What the log says of them."""
        names = [getattr(notice, "__qualname__", repr(notice)) for notice in self.notices]
        about = {"limits": self.limits(), "on_inaction": self.on_inaction, "notices": names}
        return about if self.system_prompt is None else {**about, "system_prompt": self.system_prompt}


@dataclass(frozen=True)
class Snapshot:
    """An episode as it stood; sharing, not copying: it costs the touched files and a list of lines."""

    task: Task
    commit: str
    files: Mapping[tuple[str, ...], File]
    lines: tuple[str, ...]
    steps: int
    calls: int
    tokens: int | None
    seconds: float
    counts: Mapping[str, tuple[int, int]]
    stop: str | None
    rng: Any = None
    """The state of the env's random generator."""
    folder: str | None = None
    """The name of its log's."""
    token_lines: tuple[str, ...] = ()
    """Of its log: what policies told of their tokens."""
    token_ids: Sequence[int] = ()
    """All ids of the last turn that told them."""


class Episode:
    """A task being worked on: its files, its box, its transcript, its counters."""

    def __init__(
        self,
        task: Task,
        toolbox: Toolbox,
        sandbox: Sandbox,
        rules: Rules,
        *,
        cache: Path | None,
        log_dir: Path | None,
        echo: Callable[[Message], None] | None = None,
        resume: Snapshot | None = None,
    ) -> None:
        """Open the repository and write the first messages, or take up where `resume` stood.

        Raises:
            TaskError: the issue is no valid text.
            WorkspaceError: the repository cannot be opened.
        """
        default = default_prompt(toolbox.tools)
        said = json.loads(resume.lines[0])["content"] if resume else rules.system_prompt
        rules = replace(rules, system_prompt=None if said == default else said)  # a branch has that of its beginning
        self.task, self._toolbox, self._sandbox, self.rules, self._echo = task, toolbox, sandbox, rules, echo
        first = first_messages(task, rules.system_prompt or default)
        self.workspace = Workspace(task.repo, resume.commit if resume else task.base_commit, cache=cache)
        self._shell: Shell | None = None
        self._shown = -1
        self.messages: list[Message] = []
        self.lines: list[str] = []
        self.steps = 0
        self.calls = 0
        self.tokens: int | None = None
        self.stop: str | None = None
        self.counts: dict[str, tuple[int, int]] = {}
        self._started = time.monotonic()
        about = {"task": task.to_row(), "commit": self.workspace.commit, **rules.about(), "started": time.time()}
        if resume:
            about["branched"] = {"from": resume.folder, "messages": len(resume.lines)}
        self.log = Writer(log_dir, toolbox.schemas, about) if log_dir else None
        if resume:
            self._take_up(resume)
        else:
            for message in first:
                self._append(message)

    def _take_up(self, snapshot: Snapshot) -> None:
        self.workspace.restore(snapshot.files)
        self.lines = list(snapshot.lines)
        self.messages = json.loads(f"[{','.join(snapshot.lines)}]")
        if self.log:
            self.log.take_up(snapshot.lines, snapshot.token_lines, snapshot.token_ids)
        if self._echo:
            for message in self.messages:
                self._echo(message)
        self.steps, self.calls = snapshot.steps, snapshot.calls
        self.tokens, self.stop = snapshot.tokens, snapshot.stop
        self.counts = dict(snapshot.counts)
        self._started = time.monotonic() - snapshot.seconds

    def report_tokens(self, total: int) -> None:
        """See `NanoCodexEnv.report_tokens`."""
        try:
            count = operator.index(total)
        except TypeError:
            count = -1
        if isinstance(total, bool) or not 0 <= count <= 1 << 53:
            raise ConfigError(f"report_tokens takes a whole number from 0 to 2**53; got {told(total)}")
        self.tokens = count

    def snapshot(self, rng: Any) -> Snapshot:
        """The episode as it stands now."""
        return Snapshot(
            self.task,
            self.workspace.commit,
            self.workspace.snapshot(),
            tuple(self.lines),
            self.steps,
            self.calls,
            self.tokens,
            self.seconds,
            dict(self.counts),
            self.stop,
            rng,
            self.log.folder.name if self.log else None,
            tuple(self.log.token_lines) if self.log else (),
            self.log.token_ids if self.log else (),
        )

    @property
    def seconds(self) -> float:
        """Wall time since the start; it goes to files, never into an observation."""
        return time.monotonic() - self._started

    def act(self, message: Message) -> list[bool]:
        """Take one assistant message; whether each of its calls did what it was for."""
        self._append(message)
        calls: Sequence[ToolCall] = message.get("tool_calls") or ()
        self.calls += len(calls)
        if not calls:
            self._inaction()
            return []
        done = [self._call(call) for call in calls]
        self.stop = self._limit()
        return done

    def _inaction(self) -> None:
        if self.rules.on_inaction == "submit" or self.workspace.changed:
            self.stop = "submitted"
            return
        self.steps += 1
        self._append({"role": "user", "content": reminder(self._toolbox.tools, self.rules.system_prompt)})
        self.stop = self._limit()

    def _call(self, call: ToolCall) -> bool:
        if self._limit():
            self._append(tool_answer(call, NOT_RUN))
            return False
        self.steps += 1
        result = self._toolbox.call(self, call)
        self._count(call, result.ok)
        self._append(tool_answer(call, result.content + self._notices(result.content)))
        return result.ok

    def _notices(self, content: str) -> str:
        if not self.rules.notices:
            return ""
        rules = self.rules
        state = State(self.steps, rules.max_steps, self.tokens, rules.token_limit, self.workspace.changed)
        said = [text for text in (notice(state) for notice in rules.notices) if text]
        gap = "\n" if said and content and not content.endswith("\n") else ""
        return gap + "\n".join(said)

    def _count(self, call: ToolCall, ok: bool) -> None:
        name = self._toolbox.name_of(call)
        calls, good = self.counts.get(name, (0, 0))
        self.counts[name] = (calls + 1, good + ok)

    def _limit(self) -> str | None:
        if self.steps >= self.rules.max_steps:
            return "max_steps"
        if self.rules.time_limit is not None and self.seconds >= self.rules.time_limit:
            return "time_limit"
        if self.rules.token_limit is not None and (self.tokens or 0) >= self.rules.token_limit:
            return "token_limit"
        return None

    def _append(self, message: Message) -> None:
        line = dumps(message)
        self.lines.append(line)
        self.messages.append(message)
        if self.log:
            self.log.append(line)
        if self._echo:
            self._echo(message)

    def execute(self, command: str, *, timeout: float, keep: int) -> ShellAnswer:
        """Run a command in the box, which is opened anew where a patch has changed what it shows."""
        if self._shell is None or not self._shell.alive or self._shown != self.workspace.version:
            self._close_shell()
            self._shell = self._sandbox.open(View(self.workspace.layers, hidden=self._hidden()))
            self._shown = self.workspace.version
        result = self._shell.run(command, timeout=timeout, keep=keep)
        return ShellAnswer(result.output, result.exit_code, result.timed_out, result.flooded, timeout)

    def _hidden(self) -> tuple[Path, ...]:
        """Folders that hold the future of the repository, and logs with reference patches."""
        return (*folders_of(self.task.repo), *((self.log.folder.parent,) if self.log else ()))

    def _close_shell(self) -> None:
        shell, self._shell = self._shell, None
        if shell:
            shell.close()

    def transcript(self) -> list[Message]:
        """The messages from the episode's own copy: what a caller did to an observation does not show."""
        return [json.loads(line) for line in self.lines]

    def metrics(self, reward: float, parts: Mapping[str, Any]) -> dict[str, float]:
        """Flat numbers for a training log; a tool or command that was not called has none, which is a count of 0."""
        metrics = {"steps": float(self.steps), "reward": reward}
        if self.tokens is not None:
            metrics["tokens"] = float(self.tokens)
        for name, (calls, ok) in self.counts.items():
            metrics |= {f"{name}.calls": float(calls), f"{name}.ok": ok / calls}
        metrics |= {f"commands.{name}": float(count) for name, count in command_counts(self.transcript()).items()}
        numbers = {key: value for key, value in parts.items() if isinstance(value, int | float)}
        return metrics | {f"parts.{key}": float(value) for key, value in numbers.items()}

    def close(self) -> None:
        """End the box, remove the touched files, close the log; a second call does nothing."""
        self._close_shell()
        self.workspace.close()
        if self.log:
            self.log.close()
