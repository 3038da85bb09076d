"""The environment that TRL sees: tools as methods of a class, an episode behind them."""

from __future__ import annotations

import inspect
import json
import keyword
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nano_codex_env.episode import NOT_RUN, Episode, finish
from nano_codex_env.errors import ConfigError, NanoCodexError, RewardError, describe
from nano_codex_env.messages import Message, ToolSchema, as_assistant, dumps
from nano_codex_env.records.trajectory import Writer
from nano_codex_env.rewards import Reward, Score, call_reward
from nano_codex_env.rewards.base import is_ours
from nano_codex_env.tasks.task import Task
from nano_codex_env.tools import Tool, Toolbox, default_tools
from nano_codex_env.untrusted import for_terminal

logger = logging.getLogger(__name__)

OVER = "not run: the episode is over"


WINDOW = 64
"""How many of the last samples the share of void ones is taken of."""


class VoidWindow:
    """The last samples of all environments of a spec in this process: whether each is void, and why.

    Where most are void, something is broken that no trainer would notice: it leaves out what has no reward.
    """

    def __init__(self, share: float) -> None:
        """`share`: of `WINDOW`, so many may be void.

        Raises:
            ConfigError: it is no number from 0 to 1.
        """
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ConfigError(f"max_void_share must be a number from 0 to 1; got {share!r}")
        self._share, self._lock = share, threading.Lock()
        self._last: deque[str | None] = deque(maxlen=WINDOW)

    def add(self, void: str | None) -> None:
        """Count a sample; `void` says why it has no reward, None: it has one.

        Raises:
            RewardError: it is void, and with it too many of the last ones are.
        """
        with self._lock:
            self._last.append(void)
            reasons = [reason for reason in self._last if reason is not None]
        if void is not None and len(reasons) > self._share * WINDOW:
            last = "; ".join(dict.fromkeys(reasons[:-6:-1]))
            raise RewardError(
                f"{len(reasons)} of the last {WINDOW} samples are void, more than max_void_share={self._share:g} "
                f"allows; mend what breaks them, or raise max_void_share. The last reasons: {last}"
            )

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs; it counts its own samples."""
        return {"share": self._share}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """See `__getstate__`."""
        self.__init__(**state)  # type: ignore[misc]


class TrlEnvironment:
    """One place in a batch: reset often, never closed by TRL; its public methods are the policy's tools.

    A failure of ours is told to nobody but the log: the episode is void, further calls are refused, and the reward is
    None. It never becomes a tool message or a number. The same holds of what a reward or a tool of the user's raises. A
    bug of ours is raised, at the latest when the sample is scored: TRL makes a tool message of what a tool raises.
    """

    def __init__(self, tasks: Sequence[Task], settings: Mapping[str, Any]) -> None:
        """`settings`: reward, tools, sandbox, rules, log_dir, cache, voids; see `TrlSpec`."""
        tools = settings["tools"]
        self._tasks, self._settings = tasks, settings
        self._toolbox = Toolbox(default_tools() if tools is None else tools)
        self._held: list[Episode] = []
        self._void = "the environment was never reset"
        self._bug: Exception | None = None
        self._metrics: dict[str, float] = {}
        self._started = time.time()
        weakref.finalize(self, _close, self._held)

    def reset(self, task: int, **row: Any) -> None:
        """Free the episode before, and begin one on the task of a dataset's row."""
        _close(self._held)
        self._void, self._bug, self._metrics, self._started = "", None, {}, time.time()
        settings = self._settings
        cache = Path(settings["cache"]) if settings["cache"] else None
        try:
            self._held.append(
                Episode(
                    self._tasks[task],
                    self._toolbox,
                    settings["sandbox"],
                    settings["rules"],
                    cache=cache,
                    log_dir=None,
                )
            )
        except NanoCodexError as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._void, self._metrics = describe(error), {}
        logger.warning("a sample is void: %s", for_terminal(self._void))
        _close(self._held)

    def _call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """A tool's answer; whatever is wrong with the arguments is said in it."""
        if not self._held:
            return OVER
        [episode] = self._held
        if episode.stop:
            return NOT_RUN
        try:
            call = {"type": "function", "function": {"name": name, "arguments": _written(arguments)}}
            episode.act(as_assistant(call, episode.calls))
        except Exception as error:  # noqa: BLE001 (TRL would show it to the policy and go on)
            ours = all(is_ours(tool.function) for tool in self._settings["tools"] or () if tool.name == name)
            self._bug = error if ours and not isinstance(error, NanoCodexError) else None
            self._fail(error)
            return OVER
        return str(episode.messages[-1]["content"])

    def _score(self, messages: Sequence[Message], reward: Reward | None = None) -> float | None:
        """What the episode is worth; None: it is void. Its files are gone afterwards.

        `messages` is the transcript as the trainer saw it, which is what is logged. `reward`: instead of the settings'.

        Raises:
            RewardError: too many of the last samples are void, see `VoidWindow`. So is whatever a bug of ours raises.
        """
        if self._bug:
            raise self._bug
        value = None
        if self._held:
            try:
                value = self._finish(self._held[0], messages, reward or self._settings["reward"])
            except NanoCodexError as error:
                self._fail(error)
            finally:
                _close(self._held)
        self._settings["voids"].add(self._void if value is None else None)
        return value

    def _finish(self, episode: Episode, messages: Sequence[Message], reward: Reward) -> float:
        def judge(task: Task, _: object, diff: str) -> Score:
            score = call_reward(reward, task, list(messages), diff)
            self._log(episode, messages)  # only now: a void sample has no log
            return score

        episode.stop = episode.stop or ("token_limit" if _is_cut(messages) else "submitted")
        info = finish(episode, judge)
        self._metrics = info["metrics"]
        return float(info["reward"])

    def _log(self, episode: Episode, messages: Sequence[Message]) -> None:
        """Begin a log with the tools and the transcript as the trainer saw them."""
        if not self._settings["log_dir"]:
            return
        about = {"task": episode.task.to_row(), "commit": episode.workspace.commit, **episode.rules.about()}
        about |= {"started": self._started, "policy": {"name": "trl"}}
        episode.log = Writer(Path(self._settings["log_dir"]), self.tool_schemas, about)
        for message in messages:
            episode.log.append(dumps(message))

    @property
    def tool_schemas(self) -> list[ToolSchema]:
        """The tools as the trainer renders them: it lists the methods of a class by name, whatever order ours have."""
        from transformers.utils import get_json_schema

        names = sorted(schema["function"]["name"] for schema in self._toolbox.schemas)
        return [get_json_schema(getattr(self, name)) for name in names]


def _written(arguments: Mapping[str, Any]) -> str:
    """A call's arguments as JSON; what a trainer's parser made of them and JSON has not is answered by the toolbox."""
    try:
        return json.dumps(arguments)
    except (TypeError, ValueError, RecursionError) as error:
        return f"(no JSON: {error})"


def _close(held: list[Episode]) -> None:
    while held:
        held.pop().close()


def _is_cut(messages: Sequence[Message]) -> bool:
    """Whether the transcript does not end with an answer that calls nothing."""
    return not messages or messages[-1].get("role") != "assistant" or bool(messages[-1].get("tool_calls"))


def environment_class(tools: Sequence[Tool] | None, *, owns: bool) -> type[TrlEnvironment]:
    """A class whose public methods are `tools`; TRL looks for them there, and at nothing else of an object.

    `owns`: with `get_reward`, for AsyncGRPOTrainer.
    """
    toolbox = Toolbox(default_tools() if tools is None else tools)
    check_names(toolbox.tools)
    methods: dict[str, Any] = {schema["function"]["name"]: _method(schema) for schema in toolbox.schemas}
    if owns:
        methods["get_reward"] = lambda self: self._score(self._held[0].transcript() if self._held else ())
    return type("NanoCodex", (TrlEnvironment,), methods)


def check_names(tools: Sequence[Tool]) -> None:
    """Look whether tools can be methods that TRL finds, with their parameters as arguments.

    Raises:
        ConfigError: a tool's name is private or that of a method which TRL or we need, or no argument can be so called.
    """
    for tool in tools:
        if tool.name.startswith("_") or tool.name == "get_reward" or hasattr(TrlEnvironment, tool.name):
            raise ConfigError(
                f"no tool for TRL can be called {tool.name!r}: TRL hides such methods, or calls them itself"
            )
        for name in tool.parameters:
            if not name.isidentifier() or keyword.iskeyword(name) or name == "self":
                raise ConfigError(
                    f"no argument of a method can be called {name!r}; rename that of the tool {tool.name}"
                )


def _method(schema: ToolSchema) -> Callable[..., str]:
    """A tool as a method: its signature and docstring say what the schema says, since TRL reads them.

    It takes whatever comes: wrong arguments are answered by the toolbox, in the words that every policy reads.
    """
    function: dict[str, Any] = schema["function"]
    properties: dict[str, Any] = function["parameters"]["properties"]

    def method(self: TrlEnvironment, /, **arguments: Any) -> str:
        return self._call(function["name"], arguments)

    lines = "\n".join(f"    {name}: {about['description']}" for name, about in properties.items())
    method.__doc__ = f"{function['description']}\n\nArgs:\n{lines}\n"
    method.__name__ = method.__qualname__ = function["name"]
    method.__annotations__ = dict.fromkeys(properties, str)  # no "return": it would stand in the prompt
    first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    rest = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=str) for name in properties]
    method.__signature__ = inspect.Signature([first, *rest])  # type: ignore[attr-defined]
    return method
