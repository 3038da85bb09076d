"""`Agent`: the original's three-line quick start, over an episode and a model behind an endpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from nano_codex_env.cache import cache_dir as cache_folder
from nano_codex_env.episode import Episode, Rules, finish
from nano_codex_env.errors import ConfigError, ContextOverflow, WorkspaceError, describe
from nano_codex_env.messages import Message, ToolSchema, as_assistant
from nano_codex_env.options import task_from
from nano_codex_env.policies.chat import PROVIDERS, ChatPolicy, resolve
from nano_codex_env.records.trajectory import versions
from nano_codex_env.render import print_message
from nano_codex_env.repo import bring_back
from nano_codex_env.sandbox import Sandbox, get_sandbox
from nano_codex_env.tool_usage import tool_stats
from nano_codex_env.tools import Notice, Tool, Toolbox, default_tools


class Agent:
    """Solves issues in a user's own checkout.

    The model works in a sandboxed copy; at the end, and only then, the checkout is changed by exactly the diff that
    `run` returns. One agent runs one issue at a time; make several for several threads.
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
        log: bool = True,
        *,
        notices: Sequence[Notice] = (),
        tools: Sequence[Tool] | None = None,
        system_prompt: str | None = None,
        sandbox: Sandbox | str = "bubblewrap",
        log_dir: str | os.PathLike[str] | None = ".nano-codex",
        cache_dir: str | os.PathLike[str] | None = None,
        **endpoint: Any,
    ) -> None:
        """Name a model and its limits; nothing is connected before `run`.

        Args:
            model: its name, with a provider's prefix or without; see `ChatPolicy`.
            api_base: the endpoint's URL.
            token_limit: tokens of the whole transcript, as the server's `usage` counts them; where it does not tell,
                only the model's own context ends the run. None: no limit.
            tool_limit: tool calls.
            time_limit: seconds, looked at before each tool call (`timeout` bounds a call of the model); None: no limit.
            response_limit: tokens of one answer; never more than half of what `token_limit` leaves, so that what the
                answer leads to fits as well.
            thinking: whether the model shall reason; False is not sent where OpenAI's own endpoint is asked, which
                does not know it, and None never.
            temperature: sampling, as are the following three.
            top_p: nucleus sampling.
            min_p: the least probability, relative to the likeliest token.
            top_k: the number of tokens to choose from.
            verbose: print a header and each message as it comes.
            log: whether to write a folder below `log_dir`.
            notices: words that join a tool's answer, such as `tools.budget`, the original's warnings.
            tools: what the model may call; the default is `shell` and `apply_patch`.
            system_prompt: the first message, verbatim; None: one that names the tools.
            sandbox: where its commands run.
            log_dir: where logs go, one folder for each run; None: nowhere.
            cache_dir: see `NanoCodexEnv`.
            **endpoint: `api_key`, `extra_body`, `timeout`, `max_retries` of `ChatPolicy`.

        Raises:
            ConfigError: an argument cannot be used, or no endpoint or key follows.
        """
        limits = {"tool_limit": tool_limit, "response_limit": response_limit, "token_limit": token_limit}
        _check(limits, time_limit)
        _, base, _ = resolve(model, api_base, endpoint.get("api_key"))
        sampling: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p}
        thinking = thinking or (thinking if _may_know_thinking(base) else None)
        self._policy = ChatPolicy(model, api_base, thinking=thinking, max_tokens=response_limit, **sampling, **endpoint)
        self.token_limit, self.tool_limit, self.time_limit = token_limit, tool_limit, time_limit
        self.response_limit, self.verbose, self.log = response_limit, verbose, log
        self._rules = Rules(tool_limit, time_limit, token_limit, tuple(notices), "remind", system_prompt)
        self._toolbox = Toolbox(default_tools() if tools is None else tools)
        self._sandbox = get_sandbox(sandbox, cache=cache_dir)
        self._log_dir = Path(log_dir) if log and log_dir is not None else None
        self._cache = Path(cache_dir) if cache_dir else None
        self._episode: Episode | None = None
        self._seconds: float | None = None

    def run(self, issue: str, repo_root: str | os.PathLike[str] | None = None) -> str:
        """Solve `issue` in the checkout at `repo_root` (default: the current folder); returns the unified diff.

        The checkout is changed by exactly that diff, when all is done. Of a run that breaks off, transcript and diff
        are in the log, and the checkout is as it was.

        Raises:
            TaskError: the issue is empty or no valid text.
            WorkspaceError: it is no git checkout, is dirty, or was changed meanwhile.
            PolicyError: the model cannot be reached, or answers with no chat completion.
            SandboxError: the box cannot be built, or broke.
        """
        self._episode = self._seconds = None
        root = Path(os.path.realpath(os.path.expanduser(repo_root or ".")))
        if (root / "HEAD").is_file() and (root / "objects").is_dir() and not (root / ".git").exists():
            raise WorkspaceError(f"{root} is a bare repository; there is no checkout to change, clone it first")
        echo = print_message if self.verbose else None
        task = task_from({"issue": issue, "repo": str(root)})
        if self.verbose:
            self._header()
        options: dict[str, Any] = {"cache": self._cache, "log_dir": self._log_dir, "echo": echo}
        with closing(Episode(task, self._toolbox, self._sandbox, self._rules, **options)) as episode, self._policy:
            self._episode = episode
            try:
                self._play(episode)
            except BaseException as error:
                self._finish(episode, describe(error))
                raise
            diff = self._finish(episode)
            try:
                bring_back(episode.workspace, root, cache_folder(self._cache))
            except WorkspaceError as error:
                where = f"; the patch is in {episode.log.folder / 'diff.patch'}" if episode.log else ""
                raise WorkspaceError(f"{error}{where}; nothing was changed") from error
        return diff

    def _play(self, episode: Episode) -> None:
        if episode.log:
            episode.log.note({"policy": self._policy.about})
        while episode.stop is None:
            try:
                reply = self._policy(list(episode.messages), self.tools, max_tokens=self._room())
            except ContextOverflow:
                episode.stop = "token_limit"
                return
            episode.tokens = episode.tokens if reply.total_tokens is None else reply.total_tokens
            episode.act(as_assistant(reply.message, episode.calls))

    def _room(self) -> int:
        """How long the next answer may be; see `response_limit`."""
        if self.token_limit is None:
            return self.response_limit
        return max(1, min(self.response_limit, (self.token_limit - (self.token_usage or 0)) // 2))

    def _finish(self, episode: Episode, void: str | None = None) -> str:
        """Complete the log; the diff."""
        if episode.log:
            episode.log.add("stats.json", self.tool_stats)
        info = finish(episode, void=void, close=False, counts=episode.counts, tokens=episode.tokens)
        self._seconds = episode.seconds
        if self.verbose:
            tokens = "unknown" if episode.tokens is None else episode.tokens
            print(f"\ntokens: {tokens}, tool calls: {episode.steps}, seconds: {self._seconds:.1f}")
        return str(info["diff"])

    def _header(self) -> None:
        about, limits = self._policy.about, self._rules.limits()
        names = ", ".join(tool["function"]["name"] for tool in self.tools)
        print(f"nano-codex {versions()['nano-codex-env']}: {about['model']} at {about['api_base'] or 'OpenAI'}")
        print(f"tools: {names}; " + ", ".join(f"{name}: {value or 'none'}" for name, value in limits.items()))

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
        """Why the last run ended: `submitted`, `max_steps`, `time_limit`, `token_limit`; None: it did not."""
        return self._episode.stop if self._episode else None

    @property
    def folder(self) -> Path | None:
        """The last run's log."""
        return self._episode.log.folder if self._episode and self._episode.log else None

    @property
    def tool_usage(self) -> int:
        """Tool calls of the last run; inaction counts as one."""
        return self._episode.steps if self._episode else 0

    @property
    def tool_stats(self) -> dict[str, float]:
        """Calls and success rate per tool, and counts of common commands, as flat numbers; see `stats`."""
        return tool_stats(self._episode.counts if self._episode else {}, self.messages)

    @property
    def token_usage(self) -> int | None:
        """Length of the transcript in tokens, as the server counted; None: it does not tell."""
        return self._episode.tokens if self._episode else None

    @property
    def remaining_tokens(self) -> int | None:
        """What `token_limit` leaves; None: it is not known, or there is no limit."""
        if self.token_limit is None or self.token_usage is None:
            return None
        return max(0, self.token_limit - self.token_usage)

    @property
    def remaining_tool_calls(self) -> int:
        """What `tool_limit` leaves."""
        return self.tool_limit - self.tool_usage

    @property
    def remaining_time(self) -> float | None:
        """Seconds that `time_limit` leaves; None: there is no limit."""
        if self.time_limit is None:
            return None
        running = self._episode.seconds if self._episode else 0.0
        return max(0.0, self.time_limit - (running if self._seconds is None else self._seconds))


def _may_know_thinking(base: str | None) -> bool:
    """Whether an endpoint may be told not to think: one's own, OpenRouter; others refuse what they do not know."""
    theirs = [own for own, _ in PROVIDERS.values() if own and "openrouter" not in own]
    return base is not None and base not in theirs and "://api.openai.com" not in base


def _check(limits: Mapping[str, int | None], time_limit: float | None) -> None:
    for name, value in limits.items():
        if name == "token_limit" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name} must be a positive whole number; got {value!r}")
    number = isinstance(time_limit, int | float) and not isinstance(time_limit, bool)
    if time_limit is not None and not (number and time_limit > 0):
        raise ConfigError(f"time_limit must be a positive number of seconds; got {time_limit!r}")
