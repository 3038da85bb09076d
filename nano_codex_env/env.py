"""`NanoCodex-v0`: repository repair as a Gymnasium environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from typing import Any, Literal

import gymnasium as gym
from gymnasium.error import ResetNeeded

from nano_codex_env.episode import Episode, Rules, Snapshot, finish
from nano_codex_env.errors import ConfigError, check_folder, clean_up_after, describe
from nano_codex_env.messages import Message, as_assistant
from nano_codex_env.options import TaskReset as TaskReset
from nano_codex_env.options import check_options, named_task, warn_of_time_limit, with_named
from nano_codex_env.records.log_format import check_log
from nano_codex_env.render import as_text, print_message
from nano_codex_env.rewards import Resolved, Reward, RewardFunction, call_reward, checked_reward, require_tests
from nano_codex_env.sandbox import Sandbox, get_sandbox
from nano_codex_env.spaces import ActionSpace, TranscriptSpace
from nano_codex_env.tasks import Rows, check_source, load_tasks
from nano_codex_env.tasks.task import Task
from nano_codex_env.tools import Notice, Tool, Toolbox, default_tools

Observation = list[Message]
Info = dict[str, Any]


class NanoCodexEnv(gym.Env[Observation, Any]):
    """An episode is one task: a git repository at a commit, and an issue.

    The observation is the transcript: a list of chat messages in the OpenAI shape, append-only, ready for
    `client.chat.completions.create(messages=obs, tools=info["tools"])`. An action is one tool call, or one assistant
    message with any number of them; an assistant message without tool calls submits. The reward is 0.0 until the
    end, then what `reward` gives the patch.
    """

    metadata = {"render_modes": ["ansi", "human"], "render_fps": 1}  # noqa: RUF012 (Gymnasium's own annotation)

    def __init__(
        self,
        tasks: Rows | Task | str | os.PathLike[str] = "bundled",
        reward: RewardFunction | None = None,
        *,
        tools: Sequence[Tool] | None = None,
        sandbox: Sandbox | str = "bubblewrap",
        max_steps: int = 50,
        time_limit: float | None = 1800.0,
        token_limit: int | None = None,
        notices: Sequence[Notice] = (),
        on_inaction: str = "submit",
        system_prompt: str | None = None,
        log: str | None = "folder",
        log_dir: str | os.PathLike[str] | None = ".nano-codex",
        cache_dir: str | os.PathLike[str] | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Make an environment.

        Args:
            tasks: what `reset()` draws from: tasks, one task, or an argument of `load_tasks`.
            reward: scores the patch at the end; the default, `Resolved()`, runs the task's tests.
            tools: what the policy may call; the default is `shell` and `apply_patch`.
            sandbox: where its commands run.
            max_steps: tool calls; more calls in a message are answered "not run: limit reached".
            time_limit: seconds from reset; None: no limit.
            token_limit: tokens, as reported to `report_tokens`; None: no limit.
            notices: functions `(State) -> str | None` whose text is added to a tool's answer.
            on_inaction: "submit" (a message without tool calls ends the episode), or "remind" (while no file is
                changed, it is answered by a reminder and costs a step).
            system_prompt: the first message, verbatim; None: one that lists the tools.
            log: an ended episode is a "folder", or a line of a "shard", a file of many episodes; None: it has no log.
            log_dir: where episodes are logged; None: nowhere.
            cache_dir: mirrors, base trees, virtual environments; see `cache`.
            render_mode: "ansi" (`render()` returns the transcript), "human" (each message is printed at once).

        Raises:
            ConfigError: an argument cannot be used.
            TaskError: `tasks` names no file or folder, and cannot be a dataset of the hub, looked for when needed.
        """
        self._arguments = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ConfigError(f"render_mode is None, 'ansi' or 'human'; got {render_mode!r}")
        for name, folder in (("log_dir", log_dir), ("cache_dir", cache_dir)):
            check_folder(name, folder)
        self._source = [tasks] if isinstance(tasks, Task) else tasks
        check_source(self._source)
        self._sandbox = get_sandbox(sandbox, cache=cache_dir)
        judge = Resolved(sandbox=self._sandbox, cache=cache_dir) if reward is None else checked_reward(reward)
        self.reward: Reward = judge
        self._toolbox = Toolbox(default_tools() if tools is None else tools)
        self._rules = Rules(max_steps, time_limit, token_limit, notices, on_inaction, system_prompt)
        self._places: dict[str, Any] = {"cache": cache_dir, "log": check_log(log), "log_dir": log_dir}
        self._episode: Episode | None = None
        self.restored: object | None = None  # after `restore`, until a step: what `TaskReset` gives `reset`
        self._over, self.render_mode = True, render_mode
        self.observation_space, self.action_space = TranscriptSpace(), ActionSpace()

    @cached_property
    def tasks(self) -> list[Task]:
        """The tasks that `reset` draws from, loaded at first use.

        Raises:
            TaskError: they cannot be loaded, or there are none.
        """
        return load_tasks(self._source)

    @property
    def episode(self) -> Episode:
        """The running or just ended episode.

        Raises:
            ResetNeeded: there is none.
        """
        if self._episode is None:
            raise ResetNeeded("there is no episode; call reset() first")
        return self._episode

    def reset(
        self,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
        issue: str | None = None,
        repo: str | os.PathLike[str] | None = None,
        commit: str | None = None,
    ) -> tuple[Observation, Info]:
        """Start an episode; without options on a task drawn with the env's generator.

        Args:
            seed: seeds the generator, and so determines which tasks are drawn.
            options: `{"task": Task}`, `{"instance_id": str}` (one of `tasks`), `{"issue", "repo", "commit"}`, or
                `{"snapshot": Snapshot}`, as in `restore`; then `seed` replaces the snapshot's generator.
            issue: the same as in `options`.
            repo: a path, a URL or `owner/name`.
            commit: a commit id; default: HEAD.

        Raises:
            ConfigError: the options contradict each other.
            TaskError: the task cannot be used; without tests it needs a `reward`.
            WorkspaceError: the repository is missing or dirty, lacks the commit, or cannot be cloned.
        """
        warn_of_time_limit(self)
        options = with_named(options, issue=issue, repo=repo, commit=commit)
        check_options(options)
        if "snapshot" in options:
            result = self._start_info() if options["snapshot"] is self.restored else self.restore(options["snapshot"])
            self.restored = None
            super().reset(seed=seed)
            return result
        super().reset(seed=seed)
        task = named_task(options, lambda: self.tasks) or self.tasks[int(self.np_random.integers(len(self.tasks)))]
        require_tests([task], self.reward)
        return self._start(task)

    def _start(self, task: Task, resume: Snapshot | None = None) -> tuple[Observation, Info]:
        self.close()
        echo = print_message if self.render_mode == "human" else None
        episode = Episode(task, self._toolbox, self._sandbox, self._rules, **self._places, echo=echo, resume=resume)
        self._episode, self._over = episode, episode.stop is not None
        return self._start_info()

    def _start_info(self) -> tuple[Observation, Info]:
        name, tools, limits = self.episode.task.instance_id, self._toolbox.schemas, self._rules.limits()
        return list(self.episode.messages), {"instance_id": name, "tools": tools, "limits": limits}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        """Take one tool call or one assistant message.

        Raises:
            ResetNeeded: there is no episode, or it is over.
            ActionError: `action` is neither.
            SandboxError, WorkspaceError, BrokenToolError, RewardError: not the policy's failure; the episode is void.
        """
        episode, self.restored = self._running(), None
        message = as_assistant(action, episode.calls)
        return self._advance(episode, lambda: episode.act(message))

    def end(self, stop: str) -> tuple[Observation, float, bool, bool, Info]:
        """End the episode at a limit that only the caller can see, score it, and return what `step` would.

        `stop` is "token_limit" (the transcript no longer fits the model) or "time_limit".

        Raises:
            ResetNeeded: there is no episode, or it is over.
            ConfigError: another `stop`.
            SandboxError, WorkspaceError, RewardError: as in `step`.
        """
        episode = self._running()
        if stop not in ("token_limit", "time_limit"):
            raise ConfigError(f"stop is 'token_limit' or 'time_limit'; got {stop!r}")
        episode.stop = stop
        return self._advance(episode, list)

    def _running(self) -> Episode:
        if self._over:
            raise ResetNeeded("the episode is over; call reset() first")
        return self.episode

    def _advance(self, episode: Episode, act: Callable[[], list[bool]]) -> tuple[Observation, float, bool, bool, Info]:
        try:
            ok = act()
            if episode.stop is None:
                return list(episode.messages), 0.0, False, False, {"ok": ok}
            info = finish(episode, partial(call_reward, self.reward))
        except BaseException as error:
            clean_up_after(error, partial(self.void, describe(error)))
            raise
        self._over = True
        reward, submitted = info.pop("reward"), info["stop"] == "submitted"
        return list(episode.messages), reward, submitted, not submitted, {"ok": ok, **info}

    def void(self, reason: str) -> None:
        """End the running episode without a reward and record the reason in its log; no effect once it is over."""
        if self._episode is not None and not self._over:
            self._over = True
            finish(self._episode, void=reason)

    def report_tokens(self, total: int) -> None:
        """Report how many tokens the episode has used; the environment has no tokenizer of its own.

        `token_limit` and notices use this number; the limit is checked before each tool call.

        Raises:
            ConfigError: `total` is not a whole number from 0 to 2**53.
        """
        self.episode.report_tokens(total)

    def snapshot(self) -> Snapshot:
        """The episode as it is now: files, transcript, counters, generator. Only touched files are stored.

        Raises:
            ResetNeeded: there is no episode, or it is over.
        """
        if self._over:
            raise ResetNeeded("the episode is over, its files are gone; take a snapshot before its end")
        return self.episode.snapshot(self.np_random.bit_generator.state)

    def restore(self, snapshot: Snapshot) -> tuple[Observation, Info]:
        """Continue from a snapshot, taken by this env or by another one; the log continues in a new folder.

        Inside wrappers of your own, `reset(options={"snapshot": snapshot})` does the same, so that they see a reset.

        Raises:
            ConfigError: it is no snapshot.
        """
        if not isinstance(snapshot, Snapshot):
            raise ConfigError(f"restore takes what snapshot() returned; got {snapshot!r:.200}")
        require_tests([snapshot.task], self.reward)
        result = self._start(snapshot.task, snapshot)
        self.np_random.bit_generator.state = snapshot.rng
        self.restored = object()
        return result

    def fork(self, n: int) -> list[NanoCodexEnv]:
        """`n` independent environments that continue from here; close each.

        The cost is that of the touched files and the transcript, whatever the repository's size. Each opens a sandbox
        at its first command, and has a complete log that names the one it comes from.
        """
        snapshot = self.snapshot()
        with ExitStack() as undo:
            branches = [undo.enter_context(NanoCodexEnv(**self._arguments)) for _ in range(n)]
            for branch in branches:
                branch.restore(snapshot)
            undo.pop_all()
        return branches

    def render(self) -> str | None:
        """The transcript as text ("ansi"); in "human" mode it has been printed already."""
        return as_text(self.episode.messages) if self.render_mode == "ansi" else None

    def __exit__(self, _: object, error: BaseException | None, *rest: object) -> Literal[False]:
        """Close; a failure of that does not hide `error`."""
        clean_up_after(error, self.close) if error else self.close()
        return False

    def close(self) -> None:
        """End the episode's sandbox and remove its files; a second call does nothing."""
        episode, self._episode, self._over, self.restored = self._episode, None, True, None
        if episode:
            episode.close()

    def __getstate__(self) -> dict[str, Any]:
        """The environment without an episode; the default tools are made anew.

        Raises:
            TypeError: an episode is running. Its sandbox and its files cannot be copied.
        """
        if not self._over:
            raise TypeError("a running episode cannot be pickled or copied: use fork(n), or send snapshot()")
        state = {**self.__dict__, "_episode": None}
        return {**state, "_toolbox": None} if self._arguments["tools"] is None else state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._toolbox = self._toolbox or Toolbox(default_tools())
