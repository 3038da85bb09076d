"""`NanoCodex-v0`: repository repair as a Gymnasium environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Any

import gymnasium as gym
from gymnasium.error import ResetNeeded

from nano_codex_env.episode import Episode, Rules, Snapshot, finish
from nano_codex_env.errors import ConfigError, TaskError, describe
from nano_codex_env.messages import Message, as_assistant
from nano_codex_env.render import as_text, print_message
from nano_codex_env.rewards import Resolved, Reward, checked_score, require_tests
from nano_codex_env.sandbox import Sandbox, get_sandbox
from nano_codex_env.spaces import ActionSpace, TranscriptSpace
from nano_codex_env.tasks import Rows, load_tasks, to_task
from nano_codex_env.tasks.task import Task
from nano_codex_env.tools import Notice, Tool, Toolbox, default_tools

OPTIONS = ("task", "instance_id", "issue", "repo", "commit")
"""The options of `reset`."""

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
        reward: Reward | None = None,
        *,
        tools: Sequence[Tool] | None = None,
        sandbox: Sandbox | str = "bubblewrap",
        max_steps: int = 50,
        time_limit: float | None = 1800.0,
        token_limit: int | None = None,
        notices: Sequence[Notice] = (),
        on_inaction: str = "submit",
        system_prompt: str | None = None,
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
            log_dir: where episodes are logged, one folder each; None: nowhere.
            cache_dir: mirrors, base trees, virtual environments; see `cache`.
            render_mode: "ansi" (`render()` returns the transcript), "human" (each message is printed at once).

        Raises:
            ConfigError: an argument cannot be used.
        """
        self._arguments = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ConfigError(f"render_mode is None, 'ansi' or 'human'; got {render_mode!r}")
        self._source = [tasks] if isinstance(tasks, Task) else tasks
        self._sandbox = get_sandbox(sandbox, cache=cache_dir)
        self.reward = reward or Resolved(sandbox=self._sandbox, cache=cache_dir)
        self._toolbox = Toolbox(default_tools() if tools is None else tools)
        self._rules = Rules(max_steps, time_limit, token_limit, tuple(notices), on_inaction, system_prompt)
        self._folders = {"cache": cache_dir, "log_dir": log_dir}
        self._episode: Episode | None = None
        self._over = True
        self.render_mode = render_mode
        self.observation_space = TranscriptSpace()
        self.action_space = ActionSpace()

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
            options: `{"task": Task}`, `{"instance_id": str}` (one of `tasks`), or `{"issue", "repo", "commit"}`.
            issue: the same as in `options`.
            repo: a path, a URL or `owner/name`.
            commit: a commit id; default: HEAD.

        Raises:
            ConfigError: the options contradict each other.
            TaskError: the task cannot be used; without tests it needs a `reward`.
            WorkspaceError: the repository is missing or dirty, lacks the commit, or cannot be cloned.
        """
        super().reset(seed=seed)
        task = self._task(_with_named(options, issue=issue, repo=repo, commit=commit))
        require_tests([task], self.reward)
        return self._start(task)

    def _task(self, options: Mapping[str, Any]) -> Task:
        """The task that the options name; without any, one drawn from `tasks`."""
        if unknown := [key for key in options if key not in OPTIONS]:
            raise ConfigError(f"unknown option {unknown[0]!r}; there are: {', '.join(OPTIONS)}")
        if len(options) > 1 and not options.keys() <= {"issue", "repo", "commit"}:
            raise ConfigError(f"give one of task, instance_id, or issue with repo; got {', '.join(options)}")
        if "task" in options:
            task = options["task"]
            return task if isinstance(task, Task) else to_task(task)
        if "instance_id" in options:
            name, tasks = options["instance_id"], self.tasks
            if found := [task for task in tasks if task.instance_id == name]:
                return found[0]
            names = ", ".join(task.instance_id for task in tasks[:10])
            raise TaskError(f"no task is called {name!r}; there are {names}{' ...' if len(tasks) > 10 else ''}")
        if options:
            return Task.for_issue(options.get("issue"), options.get("repo"), options.get("commit") or "")
        return self.tasks[int(self.np_random.integers(len(self.tasks)))]

    def _start(self, task: Task, resume: Snapshot | None = None) -> tuple[Observation, Info]:
        self.close()
        echo = print_message if self.render_mode == "human" else None
        episode = Episode(task, self._toolbox, self._sandbox, self._rules, **self._folders, echo=echo, resume=resume)
        self._episode, self._over = episode, episode.stop is not None
        info = {"instance_id": task.instance_id, "tools": self._toolbox.schemas, "limits": self._rules.limits()}
        return list(episode.messages), info

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        """Take one tool call or one assistant message.

        Raises:
            ResetNeeded: there is no episode, or it is over.
            ActionError: `action` is neither.
            SandboxError, WorkspaceError, RewardError: our failure; the episode is void and has no reward.
        """
        episode = self._running()
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
            info = finish(episode, lambda *arguments: checked_score(self.reward(*arguments)))
        except BaseException as error:
            self.void(describe(error))
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
        """Continue from a snapshot, taken by this env or by another one; the log continues in a new folder."""
        observation, info = self._start(snapshot.task, snapshot)
        self.np_random.bit_generator.state = snapshot.rng
        return observation, info

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

    def close(self) -> None:
        """End the episode's sandbox and remove its files; a second call does nothing."""
        episode, self._episode, self._over = self._episode, None, True
        if episode:
            episode.close()


class TaskReset(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Gives the environment of `gym.make` a `reset` that takes `issue`, `repo` and `commit` by name."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None, **named: Any
    ) -> tuple[Any, dict[str, Any]]:
        """See `NanoCodexEnv.reset`."""
        return self.env.reset(seed=seed, options=_with_named(options, **named) or options)


def _with_named(
    options: Mapping[str, Any] | None, *, issue: object = None, repo: object = None, commit: object = None
) -> dict[str, Any]:
    named = {"issue": issue, "repo": repo, "commit": commit}
    return {**(options or {}), **{key: value for key, value in named.items() if value is not None}}
