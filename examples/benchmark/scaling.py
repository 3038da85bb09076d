"""What a GRPO step costs in processor time: 32 tasks, 8 attempts at each, played and scored on one node.

Run it on a machine that does nothing else: the processor time is that of the whole machine, because a box's processes
are not all reaped by descendants of ours, and so are missing in `getrusage`.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from examples.benchmark.measure import Row, compare, counted
from examples.benchmark.scores import checkout_of, plain_pytest
from examples.benchmark.setting import REWARD, Setting
from nano_codex_env import Oracle, Reply, Resolved, Reward, Task, load_tasks, rollouts
from nano_codex_env.messages import Message, ToolSchema, assistant, tool_call
from nano_codex_env.parallel import parallel_map
from nano_codex_env.records.result import EpisodeResult

_LOOKS = 8
_SOLVED = 0.25
"""The share of episodes that solve their task: a policy in the middle of its training."""


class Sampled:
    """A stand-in for a model that answers at once: it looks around, and solves the task or not; no two diffs are equal.

    A model's attempts differ, so equal diffs, which are scored once, must not make the figures too good.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        """Know the reference patches of `tasks`."""
        self._oracle = Oracle(tasks)

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        """Answer as `Policy` says; the note that an episode begins with holds its plan."""
        turn = sum(message["role"] == "assistant" for message in messages)
        if not turn:
            note = f"{random.random()} {'solve' if random.random() < _SOLVED else 'fail'}\n"
            return Reply(assistant("", tool_call("apply_patch", search="", replace=note, file="NOTES.txt")))
        if turn <= _LOOKS:
            return Reply(assistant("", tool_call("shell", cmd="grep -rn 'def ' . | head -n 40")))
        if "solve" in messages[2]["tool_calls"][0]["function"]["arguments"]:
            return self._oracle([*messages[:2], *messages[2 * _LOOKS + 4 :]], tools)
        return Reply(assistant("I do not know."))


def grpo(setting: Setting) -> Iterator[Row]:
    """The wall and processor time of a step, against plain pytest runs of the same tests, as many at once."""
    groups, attempts = (3, 2) if setting.quick else (32, 8)
    bundled, count = load_tasks("bundled"), groups * attempts
    tasks = [bundled[at % len(bundled)].with_(instance_id=f"group-{at}") for at in range(groups)]
    with setting.folder() as folder:
        _step(tasks, 1, folder / "warm-up", Resolved())
        playing = _Used(lambda: _step(tasks, attempts, folder / "played", REWARD))
        step = _Used(lambda: _step(tasks, attempts, folder / "scored", Resolved()))
        runs = _pytest_runs(tasks, folder)
        pytest = _Used(lambda: list(parallel_map(lambda run: run(), runs * attempts)))
        files = sum(len(files) + len(folders) for _, folders, files in os.walk(folder / "scored"))
    solved = sum(result.reward == 1.0 for result in step.value)
    title = f"{groups} x {attempts} episodes of {_LOOKS + 1} calls, {solved} of them solved"
    wall = {"env and score": [[step.seconds]], "plain pytest, one for each": [[pytest.seconds]]}
    yield compare("grpo", "", f"{title}: time", wall, *wall, unit="s")
    cpu = {"a score": [[(step.cpu - playing.cpu) / count]], "a cold pytest": [[pytest.cpu / count]]}
    yield compare("grpo", "", f"{title}: processor time of a score", cpu, *cpu, unit="s")
    yield counted("grpo", "", "processor time of playing, for each episode", "s", [playing.cpu / count])
    yield counted("grpo", "", "processors busy on average", "", [step.cpu / step.seconds])
    yield counted("grpo", "", "files and folders of the log, for each episode", "", [files / count])


class _Used:
    """The value of a call, and the wall time and processor time that it took, in seconds."""

    def __init__(self, case: Callable[[], Any]) -> None:
        cpu, started = _busy_seconds(), time.perf_counter()
        self.value = case()
        self.seconds, self.cpu = time.perf_counter() - started, _busy_seconds() - cpu


def _busy_seconds() -> float:
    """Processor seconds that the machine was not idle, in all; see proc(5)."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _step(tasks: Sequence[Task], attempts: int, out: Path, reward: Reward) -> list[EpisodeResult]:
    return rollouts(tasks, Sampled(tasks), n=attempts, concurrency=64, out=out, reward=reward)


def _pytest_runs(tasks: Sequence[Task], folder: Path) -> list[Callable[[], object]]:
    """For each task, a run of its tests in a checkout with its patch."""
    runs: list[Callable[[], object]] = []
    for task in tasks:
        (folder / task.instance_id).mkdir()
        checkout = checkout_of(task, folder / task.instance_id)
        files = sorted({name.partition("::")[0] for name in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS)})
        runs.append(partial(plain_pytest, checkout, *files))
    return runs
