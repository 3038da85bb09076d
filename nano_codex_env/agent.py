"""`Agent`: solve an issue in your own checkout with a model behind an endpoint."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nano_codex_env.cache import cache_dir as cache_folder
from nano_codex_env.episode import Episode, Rules, finish
from nano_codex_env.errors import (
    ContextOverflow,
    WorkspaceError,
    check_folder,
    check_positive,
    clean_up_after,
    closed_after,
    describe,
)
from nano_codex_env.messages import Message, ToolSchema, as_assistant
from nano_codex_env.policies.chat import PROVIDERS, ChatPolicy, resolve
from nano_codex_env.records.log_format import check_log
from nano_codex_env.records.trajectory import versions
from nano_codex_env.render import print_message
from nano_codex_env.repo import apply_to_checkout
from nano_codex_env.sandbox import Sandbox, get_sandbox
from nano_codex_env.tasks.task import Task
from nano_codex_env.tool_usage import tool_stats
from nano_codex_env.tools import Notice, Tool, Toolbox, default_tools

MAX_REMINDERS = 3
"""Reminders in a row, without a tool call between them, after which a run ends as `submitted`."""


class Agent:
    """Solves issues in a user's own checkout.

    A message without a tool call ends a run once a file is changed. Before that it is answered by a reminder, which
    costs a call; after three reminders in a row the run ends as `submitted`.

    The model works in a sandboxed copy; only at the end is the checkout changed, by exactly the diff that `run`
    returns. An agent runs one issue at a time; make several for several threads.
    """

    def __init__(
        self,
        model: str = "openai/gpt-4.1-mini",
        api_base: str | None = None,
        token_limit: int | None = 8192,
        tool_limit: int = 30,
        time_limit: float | None = None,
        response_limit: int = 4096,
        thinking: bool | None = False,
        temperature: float | None = 0.7,
        top_p: float | None = 0.95,
        min_p: float | None = None,
        top_k: int | None = None,
        verbose: bool = False,
        log: bool | str | None = True,
        *,
        notices: Sequence[Notice] = (),
        tools: Sequence[Tool] | None = None,
        system_prompt: str | None = None,
        sandbox: Sandbox | str = "bubblewrap",
        log_dir: str | os.PathLike[str] | None = ".nano-codex",
        cache_dir: str | os.PathLike[str] | None = None,
        **endpoint: Any,
    ) -> None:
        """Choose a model and its limits; nothing is connected before `run`.

        Args:
            model: its name, with a provider's prefix or without; see `ChatPolicy`.
            api_base: the endpoint's URL.
            token_limit: tokens of the whole transcript, as the server's `usage` counts them; if it does not report
                them, only the model's own context ends the run. None: no limit.
            tool_limit: tool calls.
            time_limit: seconds, checked before each tool call (`timeout` limits a call of the model); None: no limit.
            response_limit: tokens of one answer; never more than half of what `token_limit` leaves, so that the tools'
                answers fit as well.
            thinking: whether the model shall reason. False is not sent to the endpoints of OpenAI and other providers
                that reject the option; None is never sent.
            temperature: sampling, as are the following three.
            top_p: nucleus sampling.
            min_p: the least probability, relative to the likeliest token.
            top_k: the number of tokens to choose from.
            verbose: print a header, and each message at once.
            log: whether to write a log in `log_dir`; or as in `NanoCodexEnv`.
            notices: functions whose text is added to a tool's answer, such as `tools.budget`, the original's warnings.
            tools: what the model may call; the default is `shell` and `apply_patch`.
            system_prompt: the first message, verbatim; None: one that lists the tools.
            sandbox: where its commands run.
            log_dir: where logs are written; None: nowhere.
            cache_dir: see `NanoCodexEnv`.
            **endpoint: `api_key`, `extra_body`, `timeout`, `max_retries` of `ChatPolicy`.

        Raises:
            ConfigError: an argument cannot be used, or there is no endpoint or key.
        """
        check_positive("tool_limit", tool_limit)
        check_positive("response_limit", response_limit)
        check_folder("log_dir", log_dir)
        check_folder("cache_dir", cache_dir)
        limits = (tool_limit, time_limit, token_limit)
        self._rules = Rules(*limits, notices, "remind", system_prompt, MAX_REMINDERS)
        _, base, _ = resolve(model, api_base, endpoint.get("api_key"))
        hosted = [own for own, _ in PROVIDERS.values() if own and "openrouter" not in own]
        if not thinking and (base is None or base in hosted or "://api.openai.com" in base):
            thinking = None  # they reject options that they do not know
        sampling: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p}
        self._policy = ChatPolicy(model, api_base, thinking=thinking, max_tokens=response_limit, **sampling, **endpoint)
        self.token_limit, self.tool_limit, self.time_limit = token_limit, tool_limit, time_limit
        self.response_limit, self.verbose, self.log = response_limit, verbose, log
        self._toolbox = Toolbox(default_tools() if tools is None else tools)
        self._sandbox = get_sandbox(sandbox, cache=cache_dir)
        self._cache, kind = cache_folder(cache_dir), ("folder" if log else None) if isinstance(log, bool) else log
        self._places: dict[str, Any] = {"cache": self._cache, "log": check_log(kind), "log_dir": log_dir}
        self._episode: Episode | None = None
        self._seconds: float | None = None

    def run(self, issue: str, repo_root: str | os.PathLike[str] | None = None) -> str:
        """Solve `issue` in the checkout at `repo_root` (default: the current folder); returns the unified diff.

        The checkout is changed by exactly that diff, at the end. If the run fails, transcript and diff are in the log,
        and the checkout is unchanged.

        Raises:
            TaskError: the issue is empty or not valid text.
            WorkspaceError: the folder is not a git checkout, is dirty, or was changed meanwhile.
            PolicyError: the model cannot be reached, or its answer is not a chat completion.
            SandboxError: the sandbox cannot be opened, or broke.
            BrokenToolError: a tool or a notice of yours raised something, or gave no text.
        """
        self._episode = self._seconds = None
        root = Path(os.path.realpath(os.path.expanduser(repo_root or ".")))
        if (root / "HEAD").is_file() and (root / "objects").is_dir() and not (root / ".git").exists():
            raise WorkspaceError(f"{root} is a bare repository; there is no checkout to change, clone it first")
        task = Task.for_issue(issue, str(root))
        if self.verbose:
            about, limits = self._policy.about, self._rules.limits()
            names = ", ".join(tool["function"]["name"] for tool in self.tools)
            print(f"nano-codex {versions()['nano-codex-env']}: {about['model']} at {about['api_base'] or 'OpenAI'}")
            print(f"tools: {names}; " + ", ".join(f"{name}: {value or 'none'}" for name, value in limits.items()))
        options = {**self._places, "echo": print_message if self.verbose else None}
        self._episode = episode = Episode(task, self._toolbox, self._sandbox, self._rules, **options)
        with closed_after(episode.close), self._policy:
            try:
                self._play(episode)
            except BaseException as error:
                clean_up_after(error, partial(self._finish, episode, describe(error)))
                raise
            diff = self._finish(episode)
            try:
                apply_to_checkout(episode.workspace, root, self._cache)
            except WorkspaceError as error:
                where = f"; the patch is in {self.folder / 'diff.patch'}" if self.folder else ""
                raise WorkspaceError(f"{error}{where}; nothing was changed") from error
        return diff

    def _play(self, episode: Episode) -> None:
        if episode.log:
            episode.log.note({"policy": self._policy.about})
        while episode.stop is None:
            room = self.response_limit
            if self.token_limit is not None:
                room = max(1, min(room, (self.token_limit - (episode.tokens or 0)) // 2))
            try:
                reply = self._policy(list(episode.messages), self.tools, max_tokens=room)
            except ContextOverflow:
                episode.stop = "token_limit"
                return
            episode.finish_reasons += [reply.finish_reason] if reply.finish_reason else []
            episode.tokens = episode.tokens if reply.total_tokens is None else reply.total_tokens
            episode.act(as_assistant(reply.message, episode.calls))

    def _finish(self, episode: Episode, void: str | None = None) -> str:
        """Complete the log and leave the files for the checkout; returns the diff."""
        if episode.log:
            episode.log.add("stats.json", self.tool_stats)
        info = finish(episode, void=void, close=False, counts=episode.counts, tokens=episode.tokens)
        if episode.log:
            episode.log.pack()
        self._seconds = episode.seconds
        if self.verbose:
            tokens = "unknown" if episode.tokens is None else episode.tokens
            print(f"\ntokens: {tokens}, tool calls: {episode.steps}, seconds: {self._seconds:.1f}")
        return str(info["diff"])

    @property
    def messages(self) -> list[Message]:
        """The transcript of the last run, verbatim."""
        return list(self._episode.messages) if self._episode else []

    @property
    def tools(self) -> list[ToolSchema]:
        """The tools' schemas, as `apply_chat_template(tools=...)` takes them."""
        return self._toolbox.schemas

    @property
    def stop(self) -> str | None:
        """Why the last run ended: `submitted`, `max_steps`, `time_limit`, `token_limit`; None: it has not ended."""
        return self._episode.stop if self._episode else None

    @property
    def folder(self) -> Path | None:
        """The last run's log."""
        return self._episode.log.folder if self._episode and self._episode.log else None

    @property
    def tool_usage(self) -> int:
        """Tool calls of the last run; a message without any counts as one."""
        return self._episode.steps if self._episode else 0

    @property
    def tool_stats(self) -> dict[str, float]:
        """Calls and success rate per tool, and counts of common commands, as flat numbers."""
        return tool_stats(self._episode.counts if self._episode else {}, self.messages)

    @property
    def token_usage(self) -> int | None:
        """Length of the transcript in tokens, as the server counted; None: it does not report it."""
        return self._episode.tokens if self._episode else None

    @property
    def remaining_tokens(self) -> int | None:
        """Tokens left of `token_limit`; None: unknown, or there is no limit."""
        if self.token_limit is None or self.token_usage is None:
            return None
        return max(0, self.token_limit - self.token_usage)

    @property
    def remaining_tool_calls(self) -> int:
        """Tool calls left of `tool_limit`."""
        return self.tool_limit - self.tool_usage

    @property
    def remaining_time(self) -> float | None:
        """Seconds left of `time_limit`; None: there is no limit."""
        if self.time_limit is None:
            return None
        running = self._episode.seconds if self._episode else 0.0
        return max(0.0, self.time_limit - (running if self._seconds is None else self._seconds))
