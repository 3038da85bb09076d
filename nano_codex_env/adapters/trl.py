"""TRL: tasks and a reward as the three arguments of a `GRPOTrainer`, in the shape of TRL's own `HarborSpec`.

    spec = TrlSpec(load_tasks("bundled"))
    trainer = GRPOTrainer(
        model=model, args=args, train_dataset=spec.train_dataset,
        environment_factory=spec.environment_factory, reward_funcs=spec.reward_funcs,
    )

TRL calls the tools and keeps the transcript; an environment here runs the episode. An environment cannot change how
TRL (1.16, trainer/grpo_trainer.py) treats these cases: a call that is not valid JSON becomes text and ends the rollout;
an answer that its vLLM server aborts counts as complete; TRL itself answers a call of an unknown tool; a tool answer
that overflows `max_completion_length` is removed; the tools of a batch run one after the other (scoring does not).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from statistics import fmean
from typing import Any

from nano_codex_env.adapters.trl_environment import Settings, TrlEnvironment, VoidWindow, environment_class
from nano_codex_env.episode import Rules
from nano_codex_env.errors import check_positive
from nano_codex_env.messages import Message
from nano_codex_env.parallel import parallel_map
from nano_codex_env.rewards import Resolved, Reward, once_per_diff, require_tests
from nano_codex_env.sandbox import Sandbox, get_sandbox
from nano_codex_env.tasks import Rows, load_tasks
from nano_codex_env.tasks.task import Task
from nano_codex_env.tools import Notice, Tool
from nano_codex_env.tools.prompt import default_prompt, first_messages


class TrlSpec:
    """The three arguments of a TRL trainer: `train_dataset`, `environment_factory`, `reward_funcs`."""

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
        """Choose tasks and rules; arguments that are not listed are those of `NanoCodexEnv`.

        - `tasks`: tasks, one task, or an argument of `load_tasks`; each becomes a row of the dataset.
        - `tools`: what the policy may call; for AsyncGRPOTrainer they must be picklable.
        - `log_dir`: where episodes are logged, one folder each, as the trainer saw them; None: nowhere.
        - `workers`: how many episodes are scored at once; default: one for each processor.
        - `asynchronous`: for AsyncGRPOTrainer: environments have a method `get_reward`, and `reward_funcs` is empty.
        - `max_void_share`: the share of the last 64 samples in a process that may be void (without a reward, because a
          sandbox, the repository or your reward failed); above it a `RewardError` ends the training. 1.0: any.

        Raises:
            ConfigError: an argument cannot be used.
            TaskError: a task has no tests, and the reward needs them.
        """
        self.tasks = [tasks] if isinstance(tasks, Task) else load_tasks(tasks)
        box = get_sandbox(sandbox, cache=cache_dir)
        reward = reward or Resolved(sandbox=box, cache=cache_dir)
        require_tests(self.tasks, reward)
        check_positive("workers", workers, optional=True)
        rules = Rules(max_steps, time_limit, None, tuple(notices), system_prompt=system_prompt)
        voids = VoidWindow(max_void_share)
        settings = Settings(self.tasks, reward, tools, box, rules, voids, log_dir=log_dir, cache_dir=cache_dir)
        self.environment_factory = EnvironmentFactory(settings, asynchronous)
        self._prompt = system_prompt or default_prompt(settings.toolbox.tools)
        functions: list[Callable[..., list[float | None]]] = [] if asynchronous else [_reward_function(reward, workers)]
        self.reward_funcs = functions

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


def _reward_function(reward: Reward, workers: int | None) -> Callable[..., list[float | None]]:
    """A reward function of TRL, whose logs call it by its name."""

    def nano_codex(
        prompts: Sequence[Sequence[Message]],
        completions: Sequence[Sequence[Message]],
        environments: Sequence[TrlEnvironment],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Score a batch, several episodes at once; TRL leaves out void samples, whose reward is None.

        Raises:
            RewardError: too many of the last samples are void; this ends the training.
        """
        transcripts = [[*prompt, *completion] for prompt, completion in zip(prompts, completions, strict=True)]
        shared = once_per_diff(reward)
        pairs = zip(environments, transcripts, strict=True)
        rewards = list(parallel_map(lambda pair: pair[0]._score(pair[1], shared), pairs, workers))
        if log_metric:
            for name, value in _means([environment._metrics for environment in environments]).items():
                log_metric(f"nano_codex/{name}", value)
        return rewards

    return nano_codex


class EnvironmentFactory:
    """Makes the environments of a trainer, all of one class: TRL has one `get_reward` for each class.

    When the factory is pickled, the class is made anew.
    """

    def __init__(self, settings: Settings, get_reward: bool) -> None:
        """`get_reward`: whether an environment returns its own reward, as AsyncGRPOTrainer wants it."""
        self._settings, self._get_reward = settings, get_reward
        self._class = environment_class(settings, get_reward=get_reward)

    def __call__(self) -> TrlEnvironment:
        """Make another environment."""
        return self._class(self._settings)

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out the class, which cannot be pickled."""
        return EnvironmentFactory, (self._settings, self._get_reward)


def _means(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric over the episodes that have it (an absent count is 0), and the share of void samples."""
    played = [found for found in metrics if found]
    means = {}
    for name in dict.fromkeys(name for found in played for name in found):
        counts = name.endswith(".calls") or name.startswith("commands.")
        means[name] = fmean(found.get(name, 0.0) for found in played if counts or name in found)
    return means | {"void": 1 - len(played) / len(metrics)} if metrics else {}
