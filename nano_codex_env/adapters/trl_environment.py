"""The environment that TRL sees: a class whose methods are the tools, with an episode inside."""

from __future__ import annotations

import json
import keyword
import logging
import os
import threading
import traceback
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

from nano_codex_env.adapters.trl_methods import tool_method
from nano_codex_env.episode import NOT_RUN, Episode, Rules, finish
from nano_codex_env.errors import (
    ConfigError,
    NanoCodexError,
    RewardError,
    clean_up_after,
    describe_all,
    is_unforeseen,
)
from nano_codex_env.messages import Message, ToolSchema, as_assistant, dumps
from nano_codex_env.rewards import Reward, Score, call_reward
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.tasks.task import Task
from nano_codex_env.tools import Tool, Toolbox, default_tools
from nano_codex_env.untrusted import for_terminal

logger = logging.getLogger(__name__)

EPISODE_OVER = "not run: the episode is over"
"""The answer to a call when there is no episode."""

WINDOW_SIZE = 64
"""The number of last samples of which a share may be void."""


class VoidWindow:
    """Counts void samples among the last ones of all environments of a spec, in this process.

    A trainer leaves out samples without a reward, so it would not notice if most of them failed.
    """

    def __init__(self, share: float) -> None:
        """`share`: the share of `WINDOW_SIZE` samples that may be void.

        Raises:
            ConfigError: it is not a number from 0 to 1.
        """
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ConfigError(f"max_void_share must be a number from 0 to 1; got {share!r}")
        self._share, self._lock = share, threading.Lock()
        self._last: deque[str | None] = deque(maxlen=WINDOW_SIZE)

    def add(self, void: str | None) -> None:
        """Count a sample; `void` is the reason why it has no reward, None if it has one.

        Raises:
            RewardError: it is void, and with it too many of the last ones are.
        """
        with self._lock:
            self._last.append(void)
            reasons = [reason for reason in self._last if reason is not None]
        if void is not None and len(reasons) > self._share * WINDOW_SIZE:
            last = "; ".join(dict.fromkeys(reasons[:-6:-1]))
            raise RewardError(
                f"{len(reasons)} of the last {WINDOW_SIZE} samples are void, more than max_void_share={self._share:g} "
                f"allows; fix the cause, or raise max_void_share. The last reasons: {last}"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process counts its own samples."""
        return VoidWindow, (self._share,)


@dataclass(frozen=True)
class Settings:
    """The arguments of `TrlSpec` that all its environments share."""

    tasks: Sequence[Task]
    reward: Reward
    tools: Sequence[Tool] | None
    sandbox: Sandbox
    rules: Rules
    voids: VoidWindow
    log: str | None
    log_dir: str | os.PathLike[str] | None
    cache_dir: str | os.PathLike[str] | None

    @property
    def toolbox(self) -> Toolbox:
        """A toolbox of `tools`, made anew: the default tools cannot be pickled."""
        return Toolbox(default_tools() if self.tools is None else self.tools)


class TrlEnvironment:
    """One slot of a batch, reset for each episode and never closed by TRL; its public methods are the policy's tools.

    If our code, a reward or a tool of the user's fails, the episode is void: the reason is logged, further calls are
    refused, and the reward is None. The failure never becomes a tool message or a number. A bug of this package is
    raised, at the latest when the sample is scored, because TRL turns what a tool raises into a tool message.
    """

    def __init__(self, settings: Settings) -> None:
        """Make an environment without an episode."""
        self._settings, self._toolbox = settings, settings.toolbox
        self._open = ExitStack()
        self._episode: Episode | None = None
        self._void = "the environment was never reset"
        self._bug: Exception | None = None
        self._metrics: dict[str, float] = {}
        weakref.finalize(self, self._open.close)

    def reset(self, task: int, **row: Any) -> None:
        """Close the last episode, and start one on the task of a row of the dataset."""
        self._void, self._bug, self._metrics = "", None, {}
        settings = self._settings
        try:
            self._close()
            episode = Episode(
                settings.tasks[task],
                self._toolbox,
                settings.sandbox,
                settings.rules,
                cache=settings.cache_dir,
                log_dir=None,
                log=settings.log,
            )
        except NanoCodexError as error:
            self._fail(error)
        else:
            self._episode = self._open.enter_context(closing(episode))

    def _close(self) -> None:
        self._episode = None
        self._open.close()

    def _fail(self, error: Exception) -> None:
        """Make the sample void; what fails while its episode is closed hides nothing."""
        clean_up_after(error, self._close)
        self._void, self._metrics = describe_all(error), {}
        trace = traceback.format_exception(error) if is_unforeseen(error) else []
        logger.warning("a sample is void: %s", for_terminal("\n".join([self._void, *trace])))

    def _call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """The answer of a tool, which also names any mistake in the arguments."""
        episode = self._episode
        if episode is None:
            return EPISODE_OVER
        if episode.stop:
            return NOT_RUN
        try:
            text = json.dumps(arguments)
        except (TypeError, ValueError, RecursionError) as error:
            text = f"(no JSON: {error})"  # the toolbox answers it
        try:
            call = {"type": "function", "function": {"name": name, "arguments": text}}
            episode.act(as_assistant(call, episode.calls))
        except Exception as error:  # noqa: BLE001 (TRL would show it to the policy and continue)
            self._bug = None if isinstance(error, NanoCodexError) else error
            self._fail(error)
            return EPISODE_OVER
        return str(episode.messages[-1]["content"])

    def _score(self, messages: Sequence[Message], reward: Reward | None = None) -> float | None:
        """The reward of the episode, which is closed; None: it is void.

        `messages` is the transcript as the trainer has it: that one is logged. `reward` replaces that of the settings.

        Raises:
            RewardError: too many of the last samples are void, see `VoidWindow`. A bug of this package is raised too.
        """
        if self._bug:
            raise self._bug
        value, episode = None, self._episode

        def judge(task: Task, _: object, diff: str) -> Score:
            score = call_reward(reward or self._settings.reward, task, list(messages), diff)
            self._log(messages)  # only now: a void sample has no log
            return score

        if episode:
            last = messages[-1] if messages else {}
            is_cut = last.get("role") != "assistant" or bool(last.get("tool_calls"))
            episode.stop = episode.stop or ("token_limit" if is_cut else "submitted")
            try:
                info = finish(episode, judge)
                self._close()
                value, self._metrics = info["reward"], info["metrics"]
            except NanoCodexError as error:
                self._fail(error)
            except BaseException as error:
                clean_up_after(error, self._close)
                raise
        self._settings.voids.add(self._void if value is None else None)
        return value

    def _log(self, messages: Sequence[Message]) -> None:
        """Write the episode's log, with the tools and the transcript as the trainer has them."""
        if self._episode and self._settings.log and self._settings.log_dir:
            log = self._episode.begin_log(self._settings.log_dir, self.tool_schemas, policy={"name": "trl"})
            log.resume_from([dumps(message) for message in messages], (), ())

    @property
    def tool_schemas(self) -> list[ToolSchema]:
        """The tools as the trainer renders them: sorted by name, as it lists the methods of a class."""
        from transformers.utils import get_json_schema

        return [get_json_schema(getattr(self, name)) for name in sorted(tool.name for tool in self._toolbox.tools)]


def environment_class(settings: Settings, *, get_reward: bool) -> type[TrlEnvironment]:
    """A class whose public methods are the tools, because TRL finds tools only there.

    With `get_reward` it has a method of that name, for AsyncGRPOTrainer.

    Raises:
        ConfigError: a tool's name is private or taken by a method of ours or TRL's, or an argument's name is invalid.
    """
    tools = settings.toolbox.tools
    for tool in tools:
        if tool.name.startswith("_") or tool.name == "get_reward" or hasattr(TrlEnvironment, tool.name):
            raise ConfigError(
                f"no tool for TRL can be called {tool.name!r}: TRL hides such methods, or calls them itself"
            )
        for name in tool.arguments["properties"]:
            if not name.isidentifier() or keyword.iskeyword(name) or name == "self":
                raise ConfigError(
                    f"no argument of a method can be called {name!r}; rename that of the tool {tool.name}"
                )
    methods: dict[str, Any] = {tool.name: tool_method(tool) for tool in tools}
    if get_reward:
        methods["get_reward"] = lambda self: self._score(self._episode.transcript() if self._episode else ())
    return type("NanoCodex", (TrlEnvironment,), methods)
