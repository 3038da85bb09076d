"""TRL: tasks and a reward as the three arguments of a `GRPOTrainer`, in the shape of TRL's own `HarborSpec`.

    spec = TrlSpec(load_tasks("bundled"))
    trainer = GRPOTrainer(
        model=model, args=args, train_dataset=spec.train_dataset,
        environment_factory=spec.environment_factory, reward_funcs=spec.reward_funcs,
    )

TRL calls the tools and owns the transcript; an environment here is the episode behind it. What TRL does by itself and
an environment cannot change (trl 1.16, trainer/grpo_trainer.py): a call that is no valid JSON becomes text and ends the
rollout; an answer that its vLLM server aborts counts as one; a tool that does not exist is answered by TRL; a tool
answer that overflows `max_completion_length` is taken back; tools of a batch run one after the other (the scoring does
not).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from statistics import fmean
from typing import Any

from nano_codex_env.adapters.trl_environment import TrlEnvironment, VoidWindow, check_names, environment_class
from nano_codex_env.episode import Rules
from nano_codex_env.errors import ConfigError, TaskError
from nano_codex_env.messages import Message
from nano_codex_env.parallel import each
from nano_codex_env.rewards import Resolved, Reward, needs_tests, once_per_diff
from nano_codex_env.sandbox import Sandbox, get_sandbox
from nano_codex_env.tasks import Rows, load_tasks
from nano_codex_env.tasks.task import Task
from nano_codex_env.tools import Notice, Tool, Toolbox, default_tools
from nano_codex_env.tools.prompt import default_prompt, first_messages

logger = logging.getLogger(__name__)


class TrlSpec:
    """What a trainer of TRL's takes: `train_dataset`, `environment_factory`, `reward_funcs`."""

    def __init__(
        self,
        tasks: Rows | Task | str | os.PathLike[str] = "bundled",
        reward: Reward | None = None,
        *,
        tools: Sequence[Tool] | None = None,
        sandbox: Sandbox | str = "bubblewrap",
        max_steps: int = 50,
        time_limit: float | None = 1800.0,
        notices: Sequence[Notice] = (),
        system_prompt: str | None = None,
        log_dir: str | os.PathLike[str] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        workers: int | None = None,
        asynchronous: bool = False,
        max_void_share: float = 0.5,
    ) -> None:
        """Choose tasks and rules.

        Args:
            tasks: tasks, one task, or what `load_tasks` takes; a row of the dataset for each.
            reward: judges the patch at the end; the default, `Resolved()`, runs the task's tests.
            tools: what the policy may call; for AsyncGRPOTrainer they must be picklable.
            sandbox: where its commands run.
            max_steps: tool calls; further ones are answered "not run: limit reached".
            time_limit: seconds from reset; None: no limit.
            notices: functions `(State) -> str | None` whose text joins a tool's answer.
            system_prompt: the first message, verbatim; None: one that names the tools.
            log_dir: where episodes are logged, one folder each, as the trainer saw them; None: nowhere.
            cache_dir: mirrors, base trees, virtual environments.
            workers: how many episodes are scored at once; default: one for each processor.
            asynchronous: for AsyncGRPOTrainer, where an environment owns its reward (`get_reward`) and
                `reward_funcs` is empty.
            max_void_share: of the last 64 samples in a process, so many may be without a reward, because a box, the
                repository or a reward of yours failed; one more, and the trainer gets a `RewardError`. 1.0: any number.

        Raises:
            ConfigError: an argument cannot be used.
            TaskError: a task has no tests, and the reward needs them.
        """
        self.tasks = [tasks] if isinstance(tasks, Task) else load_tasks(tasks)
        made = reward or Resolved(sandbox=get_sandbox(sandbox, cache=cache_dir), cache=cache_dir)
        bare = [task.instance_id for task in self.tasks if not task.has_tests]
        if bare and needs_tests(made):
            raise TaskError(f"{', '.join(bare[:5])}: no tests, so nothing can judge a patch; give another reward=")
        if workers is not None and workers < 1:
            raise ConfigError(f"workers must be at least 1; got {workers!r}")
        self._workers, self._reward = workers, made
        settings: dict[str, Any] = {"reward": made, "tools": tools, "cache": cache_dir, "log_dir": log_dir}
        settings["voids"] = VoidWindow(max_void_share)
        settings["sandbox"] = get_sandbox(sandbox, cache=cache_dir)
        settings["rules"] = Rules(max_steps, time_limit, None, tuple(notices), system_prompt=system_prompt)
        toolbox = Toolbox(default_tools() if tools is None else tools)
        check_names(toolbox.tools)
        self._prompt = system_prompt or default_prompt(toolbox.tools)
        self.environment_factory = EnvironmentFactory(self.tasks, settings, owns=asynchronous)
        self.reward_funcs: list[Callable[..., list[float | None]]] = [] if asynchronous else [self._reward_func]

    @cached_property
    def train_dataset(self) -> Any:
        """A `datasets.Dataset`: `prompt` (the first messages of an episode), `instance_id`, `task` (a number)."""
        from datasets import Dataset

        return Dataset.from_list(
            [
                {"prompt": first_messages(task, self._prompt), "instance_id": task.instance_id, "task": number}
                for number, task in enumerate(self.tasks)
            ]
        )

    @property
    def _reward_func(self) -> Callable[..., list[float | None]]:
        workers, reward = self._workers, self._reward

        def nano_codex(
            prompts: Sequence[Sequence[Message]],
            completions: Sequence[Sequence[Message]],
            environments: Sequence[TrlEnvironment],
            log_metric: Callable[[str, float], None] | None = None,
            **columns: Any,
        ) -> list[float | None]:
            """Score a batch, several episodes at once; None is a void sample, which TRL leaves out.

            Raises:
                RewardError: too many of the last samples are void; TRL lets it end the training.
            """
            seen = [[*prompt, *completion] for prompt, completion in zip(prompts, completions, strict=True)]
            judge = once_per_diff(reward)
            pairs = zip(environments, seen, strict=True)
            rewards = list(each(lambda pair: pair[0]._score(pair[1], judge), pairs, workers))
            if log_metric:
                for name, value in _means([environment._metrics for environment in environments]).items():
                    log_metric(f"nano_codex/{name}", value)
            return rewards

        return nano_codex


class EnvironmentFactory:
    """Makes the environments of a trainer; it can be pickled, the class that it makes is built where it is used."""

    def __init__(self, tasks: Sequence[Task], settings: Mapping[str, Any], *, owns: bool) -> None:
        """`owns`: whether the environments own their reward, as AsyncGRPOTrainer wants it."""
        self._tasks, self._settings, self._owns = tasks, settings, owns
        self._lock = threading.Lock()
        self._class: type[TrlEnvironment] | None = None

    def __call__(self) -> TrlEnvironment:
        """One more environment; all are of one class."""
        with self._lock:
            if self._class is None:
                self._class = environment_class(self._settings["tools"], owns=self._owns)
        return self._class(self._tasks, self._settings)

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs."""
        return {"tasks": self._tasks, "settings": self._settings, "owns": self._owns}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """See `__getstate__`."""
        self.__init__(**state)  # type: ignore[misc]


def _means(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each number over the episodes that have it (a count that is not there is 0), and the share void."""
    played = [found for found in metrics if found]
    means = {}
    for name in dict.fromkeys(name for found in played for name in found):
        counts = name.endswith(".calls") or name.startswith("commands.")
        means[name] = fmean(found.get(name, 0.0) for found in played if counts or name in found)
    return means | {"void": 1 - len(played) / len(metrics)} if metrics else {}
