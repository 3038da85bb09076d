"""Play many episodes at once; a run can be interrupted and resumed, and a failure of one episode stops no other."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from nano_codex_env.atomic import write_whole
from nano_codex_env.env import NanoCodexEnv
from nano_codex_env.errors import ConfigError, NanoCodexError, TrajectoryError, check_positive
from nano_codex_env.parallel import processors
from nano_codex_env.policies.base import Policy, check_policy
from nano_codex_env.records.result import EpisodeResult
from nano_codex_env.records.rows import RowFile
from nano_codex_env.records.shards import is_episode
from nano_codex_env.records.trajectory import read_metadata
from nano_codex_env.rewards import Reward, version_of
from nano_codex_env.runs.collector import Collector, Results
from nano_codex_env.runs.executors import Job, ThreadExecutor
from nano_codex_env.tasks import Rows, load_tasks
from nano_codex_env.tasks.task import Task
from nano_codex_env.tools import default_tools
from nano_codex_env.tools.prompt import default_prompt
from nano_codex_env.untrusted import on_one_line

logger = logging.getLogger(__name__)

_PATIENCE = 3.0
"""Seconds that dropped episodes have to end on their own."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended `rollouts` before all episodes were finished."""

    def __init__(self, results: list[EpisodeResult]) -> None:
        """`results`: those of the finished episodes, in the order of the tasks."""
        super().__init__(f"interrupted; {len(results)} episodes are finished")
        self.results = results


class TooManyVoids(NanoCodexError):
    """`stop_after_voids` ended `rollouts` before all episodes were finished."""

    def __init__(self, results: list[EpisodeResult], reason: str) -> None:
        """`results`: those of the finished episodes, in the order of the tasks."""
        super().__init__(reason)
        self.results = results


def rollouts(
    tasks: Rows | Task | str | os.PathLike[str],
    policy: Policy,
    *,
    n: int = 1,
    concurrency: int = 8,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    deadline: float | None = None,
    reward: Reward | None = None,
    scorers: int | None = None,
    stop_after_voids: int | None = None,
    on_result: Callable[[EpisodeResult], object] | None = None,
    progress: bool | None = None,
    config: Mapping[str, Any] | None = None,
    **env: Any,
) -> list[EpisodeResult]:
    """Play every task `n` times with one policy, many at once; the results are in the order of tasks and attempts.

    Episodes run in threads, so several call `policy` at once. While an episode is scored, the next one is played. An
    exception in an episode, also one of the policy's, makes that episode void, and its result says why; the others go
    on. The first Ctrl-C finishes the episodes that run, the second drops them.

    Args:
        tasks: what `load_tasks` takes, or one task.
        policy: `(messages, tools) -> Reply`.
        n: attempts at each task.
        concurrency: episodes played at once.
        out: a folder for `results.jsonl` and the episodes' logs; an episode counts as finished once it is on disk.
        resume: continue the run in `out`: void episodes are played again, those with a reward are not.
        deadline: seconds for the whole run; unfinished episodes are void then. None: no limit but the episodes' own.
        reward: as in `NanoCodexEnv`.
        scorers: episodes scored at once; default: one for each processor that this process may use.
        stop_after_voids: after so many void episodes, none with a reward finished between them, begin no more, finish
            those that run, and raise `TooManyVoids`; None: never. Those of a broken task are not counted.
        on_result: called with each result once it is on disk, one at a time, in the thread that called `rollouts`; not
            with those of a resumed run that are there already. An exception in it drops the running episodes and is
            raised; what was finished is kept.
        progress: a progress bar on stderr; None: if that is a terminal.
        config: written to `out/config.json` when the run begins.
        **env: further arguments of `NanoCodexEnv`.

    Raises:
        ConfigError: an argument cannot be used; or `out` holds results and `resume` is not given, results of another
            scorer or system prompt, or is in use.
        Interrupted: Ctrl-C; it holds the finished results, which are in `out` too.
        TooManyVoids: `stop_after_voids` is reached; it holds the finished results too.
    """
    from nano_codex_env.runs.progress import ProgressBar  # imports rich

    if resume and not out:
        raise ConfigError("resume goes on with what a folder holds; name it with out=")
    scorers = processors() if scorers is None else scorers
    for name, value in (("n", n), ("concurrency", concurrency), ("scorers", scorers)):
        check_positive(name, value)
    check_policy(policy)
    check_positive("stop_after_voids", stop_after_voids, optional=True)
    if on_result is not None and not callable(on_result):
        raise ConfigError(f"on_result must be a function of an EpisodeResult; got {on_result!r:.200}")
    jobs = _jobs(load_tasks([tasks] if isinstance(tasks, Task) else tasks), n)
    env = {"log_dir": out, **env} if out else env
    reward = NanoCodexEnv(reward=reward, **env).reward  # raises for invalid arguments here rather than in threads
    records = RowFile(Path(out) / "results.jsonl", _key, resume=resume) if out else None
    with records or nullcontext(), ProgressBar(_name_of(policy), len(jobs), progress) as bar:
        results = _earlier_results(records.rows if records else {}, jobs, version_of(reward))
        if out:
            _check_prompt(results.values(), Path(out), env)
            _write_config(Path(out, "config.json"), config)
        executor = ThreadExecutor(
            policy, reward, env, concurrency=concurrency, scorers=scorers, stop_after_voids=stop_after_voids
        )
        collector = Collector(executor, records, bar, results, on_result)
        try:
            collector.collect([job for job in jobs if job.key not in results], deadline)
        finally:
            executor.close(_PATIENCE)
    ordered = [results[job.key] for job in jobs if job.key in results]
    if collector.interrupts:
        raise Interrupted(ordered)
    if executor.too_many:
        raise TooManyVoids(ordered, executor.too_many)
    return ordered


def _jobs(tasks: Sequence[Task], n: int) -> list[Job]:
    """Each task `n` times; the attempts at one task follow each other."""
    names = [task.instance_id for task in tasks]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(
            f"{twice} is there more than once; give each task its own instance_id, and n= for more attempts"
        )
    return [Job(task, attempt) for task in tasks for attempt in range(n)]


def _earlier_results(rows: Mapping[Any, Mapping[str, Any]], jobs: Sequence[Job], scorer: str | None) -> Results:
    """The results of an earlier run that have a reward; the episode of a damaged row is played again.

    Raises:
        ConfigError: another version of the scorer gave them; their rewards cannot be compared with new ones.
        TrajectoryError: all of them are damaged.
    """
    results: Results = {}
    damage: TrajectoryError | None = None
    for job in jobs:
        if rows.get(job.key, {}).get("reward") is None:
            continue
        try:
            results[job.key] = EpisodeResult.from_row(rows[job.key])
        except TrajectoryError as error:
            damage = error
            logger.warning("%s", on_one_line(f"{job.key[0]} (attempt {job.attempt}) is played again: {error}"))
    if damage and not results:
        raise damage  # the file is not one of ours
    others = {result.scorer for result in results.values()} - {scorer}
    if others:
        raise ConfigError(
            f"the folder holds rewards by {others.pop() or 'an earlier version'}, this is {scorer or 'another'}; "
            "give another folder, or score the old episodes again with `nano-codex score`"
        )
    return results


def _check_prompt(results: Iterable[EpisodeResult], out: Path, env: Mapping[str, Any]) -> None:
    """Compare the system prompt with that of one earlier episode.

    Raises:
        ConfigError: they differ.
    """
    folders = (out / os.path.basename(result.folder) for result in results if result.folder)
    folder = next((folder for folder in folders if is_episode(folder)), None)
    if folder is None:
        return
    with suppress(TrajectoryError):  # a damaged log does not stop the run
        prompt, tools = env.get("system_prompt"), env.get("tools")
        default = default_prompt(default_tools() if tools is None else tools)
        if read_metadata(folder).get("system_prompt") != (None if prompt == default else prompt):
            raise ConfigError(f"{out} holds episodes with another system prompt; give the same, or another folder")


def _write_config(path: Path, config: Mapping[str, Any] | None) -> None:
    if config is None:
        return
    try:
        write_whole(path, (json.dumps(config, indent=2) + "\n").encode("ascii"), sync=True)
    except OSError as error:
        raise TrajectoryError(f"cannot write {path}: {error}") from error


def _key(row: Mapping[str, Any]) -> tuple[Any, Any]:
    return row.get("instance_id"), row.get("attempt")


def _name_of(policy: Policy) -> str:
    about = getattr(policy, "about", None)
    model = about.get("model") if isinstance(about, Mapping) else None
    return str(model or getattr(policy, "__name__", type(policy).__name__))
