"""`NanoCodex-v0`: repository repair as a Gymnasium environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.error import ResetNeeded

from nano_codex_env.episode import Episode, Rules, Snapshot, finish
from nano_codex_env.errors import ConfigError, TaskError, describe
from nano_codex_env.messages import Message, as_assistant
from nano_codex_env.options import choose, named
from nano_codex_env.render import as_text, print_message
from nano_codex_env.rewards import Resolved, Reward, checked_score, needs_tests
from nano_codex_env.sandbox import Sandbox, get_sandbox
from nano_codex_env.spaces import ActionSpace, TranscriptSpace
from nano_codex_env.tasks import Rows, load_tasks
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
            tasks: what `reset()` draws from: tasks, one task, or what `load_tasks` takes.
            reward: judges the patch at the end; the default, `Resolved()`, runs the task's tests.
            tools: what the policy may call; the default is `shell` and `apply_patch`.
            sandbox: where its commands run.
            max_steps: tool calls; more calls in a message are answered "not run: limit reached".
            time_limit: seconds from reset; None: no limit.
            token_limit: tokens, as told by `report_tokens`; None: no limit.
            notices: functions `(State) -> str | None` whose text joins a tool's answer.
            on_inaction: "submit" (a message without tool calls ends the episode), or "remind" (while nothing is
                changed it is answered by a reminder and costs a step).
            system_prompt: the first message, verbatim; None: one that names the tools.
            log_dir: where episodes are logged, one folder each; None: nowhere.
            cache_dir: mirrors, base trees, virtual environments; see `cache`.
            render_mode: "ansi" (`render()` gives the transcript), "human" (each message is printed as it comes).

        Raises:
            ConfigError: an argument cannot be used.
        """
        self._arguments = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        if render_mode not in (None, "ansi", "human"):
            raise ConfigError(f"render_mode is None, 'ansi' or 'human'; got {render_mode!r}")
        self._source = [tasks] if isinstance(tasks, Task) else tasks
        self._tasks: list[Task] | None = None
        self._cache = Path(cache_dir) if cache_dir else None
        self._log_dir = Path(log_dir) if log_dir else None
        self._sandbox = get_sandbox(sandbox, cache=cache_dir)
        self.reward = reward or Resolved(sandbox=self._sandbox, cache=cache_dir)
        self._toolbox = Toolbox(default_tools() if tools is None else tools)
        self._rules = Rules(max_steps, time_limit, token_limit, tuple(notices), on_inaction, system_prompt)
        self._episode: Episode | None = None
        self._over = True
        self.render_mode = render_mode
        self.observation_space = TranscriptSpace()
        self.action_space = ActionSpace()

    @property
    def tasks(self) -> list[Task]:
        """The tasks that `reset` draws from, loaded at first use.

        Raises:
            TaskError: they cannot be loaded, or there are none.
        """
        if self._tasks is None:
            self._tasks = load_tasks(self._source)
        return self._tasks

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
            seed: seeds the generator, so that it names an episode.
            options: `{"task": Task}`, `{"instance_id": str}` (one of `tasks`), or `{"issue", "repo", "commit"}`.
            issue: the same as in `options`.
            repo: a path, a URL or `owner/name`.
            commit: a commit's id; default: HEAD.

        Raises:
            ConfigError: the options do not fit together.
            TaskError: the task cannot be used; without tests it needs a `reward`.
            WorkspaceError: the repository is none, is dirty, has no such commit, or cannot be cloned.
        """
        super().reset(seed=seed)
        task = choose({**(options or {}), **named(issue, repo, commit)}, lambda: self.tasks, self.np_random)
        if needs_tests(self.reward) and not task.has_tests:
            raise TaskError(
                f"{task.instance_id} has no tests, so nothing can judge a patch; give the env another reward="
            )
        self._start(task)
        return self._observation(), self._first_info()

    def _start(self, task: Task, resume: Snapshot | None = None) -> None:
        self._end()
        echo = print_message if self.render_mode == "human" else None
        self._episode = Episode(
            task,
            self._toolbox,
            self._sandbox,
            self._rules,
            cache=self._cache,
            log_dir=self._log_dir,
            echo=echo,
            resume=resume,
        )
        self._over = bool(resume and resume.stop)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        """Take one tool call or one assistant message.

        Raises:
            ResetNeeded: there is no episode, or it is over.
            ActionError: `action` is neither.
            SandboxError, WorkspaceError, RewardError: a failure of ours; the episode is void and has no reward.
        """
        if self._over:
            raise ResetNeeded("the episode is over; call reset() first")
        episode = self.episode
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
        if self._over:
            raise ResetNeeded("the episode is over; call reset() first")
        if stop not in ("token_limit", "time_limit"):
            raise ConfigError(f"stop is 'token_limit' or 'time_limit'; got {stop!r}")
        episode = self.episode
        episode.stop = stop
        return self._advance(episode, list)

    def _advance(self, episode: Episode, act: Callable[[], list[bool]]) -> tuple[Observation, float, bool, bool, Info]:
        try:
            ok = act()
            if episode.stop is None:
                return self._observation(), 0.0, False, False, {"ok": ok}
            info = finish(episode, lambda *arguments: checked_score(self.reward(*arguments)))
        except BaseException as error:
            self.void(describe(error))
            raise
        self._over = True
        reward, submitted = info.pop("reward"), info["stop"] == "submitted"
        return self._observation(), reward, submitted, not submitted, {"ok": ok, **info}

    def void(self, reason: str) -> None:
        """End the running episode without a reward and record the reason in its log; no effect once it is over."""
        if self._episode is not None and not self._over:
            self._over = True
            finish(self._episode, void=reason)

    def report_tokens(self, total: int) -> None:
        """Tell the environment how many tokens the episode has used; it has no tokenizer of its own.

        `token_limit` and notices go by this number; the limit is looked at before each tool call.

        Raises:
            ConfigError: `total` is no whole number from 0 to 2**53.
        """
        self.episode.report_tokens(total)

    def snapshot(self) -> Snapshot:
        """The episode as it stands: files, transcript, counters, generator. It costs what was touched.

        Raises:
            ResetNeeded: there is no episode, or it is over.
        """
        if self._over:
            raise ResetNeeded("the episode is over, its files are gone; take a snapshot before its end")
        return self.episode.snapshot(self.np_random.bit_generator.state)

    def restore(self, snapshot: Snapshot) -> tuple[Observation, Info]:
        """Go on from a snapshot, taken by this env or by another one; the log goes on in a new folder."""
        self._start(snapshot.task, snapshot)
        if snapshot.rng is not None:
            self.np_random.bit_generator.state = snapshot.rng
        return self._observation(), self._first_info()

    def fork(self, n: int) -> list[NanoCodexEnv]:
        """`n` environments of their own that go on from here; close each.

        What a branch does is seen by no other one. It costs what was touched and said so far, whatever the
        repository's size; its box is opened by its first command. Its log is whole, and says where it comes from.
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
        """End the episode's box and remove its files; a second call does nothing."""
        self._end()

    def _end(self) -> None:
        episode, self._episode, self._over = self._episode, None, True
        if episode:
            episode.close()

    def _observation(self) -> Observation:
        return list(self.episode.messages)

    def _first_info(self) -> Info:
        episode = self.episode
        about = {"instance_id": episode.task.instance_id, "tools": self._toolbox.schemas}
        return {**about, "limits": self._rules.limits()}
