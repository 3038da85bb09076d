"""Many episodes at once: in threads, resumable, and no failure of one stops another."""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from nano_codex_env.atomic import write_whole
from nano_codex_env.env import NanoCodexEnv
from nano_codex_env.errors import BrokenTaskError, ConfigError, TrajectoryError
from nano_codex_env.parallel import processors
from nano_codex_env.policies.base import Policy
from nano_codex_env.records.result import EpisodeResult
from nano_codex_env.records.rows import Records
from nano_codex_env.records.trajectory import read_metadata
from nano_codex_env.rewards import Resolved, Reward, version_of
from nano_codex_env.runs.executors import Batch, Job, void_result
from nano_codex_env.tasks import Rows, load_tasks
from nano_codex_env.tasks.task import Task
from nano_codex_env.tools import default_tools
from nano_codex_env.tools.prompt import default_prompt
from nano_codex_env.untrusted import on_one_line

if TYPE_CHECKING:
    from nano_codex_env.runs.progress import Bar

logger = logging.getLogger(__name__)

_POLL = 0.2
"""Seconds between two looks at deadline and interrupts."""

_PATIENCE = 3.0
"""Seconds that dropped episodes have to end by themselves."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended `rollouts` before all was done; `results` holds what was."""

    def __init__(self, results: list[EpisodeResult]) -> None:
        """`results`: in the order of the tasks."""
        super().__init__(f"interrupted; {len(results)} episodes are finished")
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
    progress: bool | None = None,
    config: Mapping[str, Any] | None = None,
    **env: Any,
) -> list[EpisodeResult]:
    """Play every task `n` times with one policy, many at once; the results in the order of tasks and attempts.

    Episodes run in threads, so `policy` is called by several at once. One that has been played gives its place to the
    next while it is scored. Whatever goes wrong in one episode, in the policy too, makes that one void and is told in
    its result; the others go on. Ctrl-C once finishes what runs, twice drops it.

    Args:
        tasks: what `load_tasks` takes, or one task.
        policy: `(messages, tools) -> Reply`.
        n: attempts at each task.
        concurrency: episodes played at once.
        out: a folder for `results.jsonl` and the episodes' logs; a finished episode is on disk before it counts.
        resume: go on with what `out` holds: an episode with a reward is not played again, a void one is.
        deadline: seconds for all; what is not finished then is void. None: no limit but the episodes' own.
        reward: as in `NanoCodexEnv`.
        scorers: episodes scored at once; default: one for each processor that this process may use.
        progress: a bar on stderr; None: if that is a terminal.
        config: what `out/config.json` shall say of the run; written once it begins.
        **env: further arguments of `NanoCodexEnv`.

    Raises:
        ConfigError: an argument cannot be used, `out` holds results and `resume` is not given, or results of another
            scorer or system prompt, or it is in use.
        Interrupted: Ctrl-C; what is finished stands in it, and in `out`.
    """
    from nano_codex_env.runs.progress import Bar  # rich is needed where something is shown

    jobs = _jobs(load_tasks([tasks] if isinstance(tasks, Task) else tasks), n)
    if resume and not out:
        raise ConfigError("resume goes on with what a folder holds; name it with out=")
    _check(concurrency=concurrency, scorers=1 if scorers is None else scorers)
    env = {"log_dir": out, **env} if out else env
    judge = reward or Resolved(sandbox=env.get("sandbox", "bubblewrap"), cache=env.get("cache_dir"))
    NanoCodexEnv(reward=judge, **env).close()  # arguments that cannot be used are told here, not in threads
    records = Records(Path(out) / "results.jsonl", _key, resume=resume) if out else None
    with records or nullcontext(), Bar(_name_of(policy), len(jobs), progress) as bar:
        results = _earlier(records, jobs, version_of(judge))
        if out:
            _begin(Path(out), results.values(), env, config)
        batch = Batch([job for job in jobs if _of(job) not in results], policy, judge, env)
        collector = _Collector(batch, records, bar, results)
        try:
            collector.collect(concurrency, scorers or processors(), deadline)
        finally:
            batch.drop("broken off")
            batch.join(_PATIENCE)
    ordered = [results[_of(job)] for job in jobs if _of(job) in results]
    if collector.interrupts:
        raise Interrupted(ordered)
    return ordered


def _begin(
    out: Path, earlier: Iterable[EpisodeResult], env: Mapping[str, Any], config: Mapping[str, Any] | None
) -> None:
    """Write the config once nothing stands against it."""
    _check_prompt(earlier, out, env)
    if config is None:
        return
    path = out / "config.json"
    try:
        write_whole(path, (json.dumps(config, indent=2) + "\n").encode("ascii"), sync=True)
    except OSError as error:
        raise TrajectoryError(f"cannot write {path}: {error}") from error


class _Collector:
    """Takes in results as they come, and heeds deadline and interrupts."""

    def __init__(self, batch: Batch, records: Records | None, bar: Bar, results: dict[Any, EpisodeResult]) -> None:
        self._batch, self._records, self._bar, self._results = batch, records, bar, results
        self.interrupts = 0
        self._told = False
        self._reasons: set[str] = set()
        for result in results.values():
            bar.add(result, earlier=True)

    def collect(self, concurrency: int, scorers: int, deadline: float | None) -> None:
        until = None if deadline is None else time.monotonic() + deadline
        with self._heeding():
            self._batch.start(concurrency, scorers)
            while self._batch.running:
                self._take(_POLL)
                self._tell()
                if self.interrupts > 1:
                    break
                if until is not None and time.monotonic() > until:
                    self._give_up(f"the deadline of {deadline:g} seconds for all episodes passed")
                    break
            self._drain()

    def _tell(self) -> None:
        if self.interrupts and not self._told:
            self._told = True
            self._bar.say("interrupted: finishing the episodes that run; Ctrl-C again drops them")

    def _take(self, timeout: float) -> None:
        try:
            result = self._batch.finished.get(timeout=timeout)
        except queue.Empty:
            return
        if isinstance(result, BaseException):
            raise result
        self._keep(result)

    def _drain(self) -> None:
        while not self._batch.finished.empty():
            self._take(0)

    def _keep(self, result: EpisodeResult) -> None:
        self._results[result.instance_id, result.attempt] = result
        if self._records:
            self._records.add(result.row())
        if result.void and result.void not in self._reasons:
            self._reasons.add(result.void)  # once: a dead endpoint would say it for each episode
            broken = result.void.startswith(BrokenTaskError.__name__)
            state = "is broken, and all its episodes are void" if broken else f"(attempt {result.attempt}) is void"
            self._bar.say(f"{result.instance_id} {state}: {result.void:.4000}")
        self._bar.add(result)

    def _give_up(self, reason: str) -> None:
        """Record what has no result as void."""
        left, running = self._batch.drop(reason)
        self._drain()
        known = {(result.instance_id, result.attempt): result for result in running}
        for job in self._batch.jobs:
            if _of(job) not in self._results:
                words = f"{reason}; it was not begun" if job in left else reason
                self._keep(known.get(_of(job)) or void_result(job, words))

    @contextmanager
    def _heeding(self) -> Iterator[None]:
        """Count Ctrl-C instead of raising it in the middle of a row; only the main thread is told of it."""
        mine = threading.current_thread() is threading.main_thread()
        if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return

        def heed(number: int, frame: FrameType | None) -> None:
            self.interrupts += 1
            if self.interrupts == 1:
                self._batch.finish()

        signal.signal(signal.SIGINT, heed)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _check(**numbers: int) -> None:
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name} must be a positive whole number; got {value!r}")


def _jobs(tasks: Sequence[Task], n: int) -> list[Job]:
    """Every task `n` times; the attempts at one task stand together."""
    _check(n=n)
    names = [task.instance_id for task in tasks]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"{twice} is there more than once; attempts are told apart by n=, tasks by their instance_id")
    return [Job(task, attempt) for task in tasks for attempt in range(n)]


def _earlier(records: Records | None, jobs: Sequence[Job], scorer: str | None) -> dict[Any, EpisodeResult]:
    """The results with a reward that an earlier run left; a damaged one is not there, and its episode played again.

    Raises:
        ConfigError: they are of another version of the scorer; rewards of two in one file would be compared.
        TrajectoryError: all of them are damaged.
    """
    rows = records.rows if records else {}
    found = {_of(job): rows[_of(job)] for job in jobs if _of(job) in rows}
    results: dict[Any, EpisodeResult] = {}
    damage: TrajectoryError | None = None
    for key, row in found.items():
        if row.get("reward") is None:
            continue
        try:
            results[key] = EpisodeResult.from_row(row)
        except TrajectoryError as error:
            damage = error
            words = f"{key[0]} (attempt {key[1]}) is played again: {error}"
            logger.warning("%s", on_one_line(words))
    if damage and not results:
        raise damage  # no row is one of ours: it is somebody else's file
    others = {result.scorer for result in results.values()} - {scorer}
    if others:
        raise ConfigError(
            f"the folder holds rewards by {others.pop() or 'an earlier version'}, this is {scorer or 'another'}; "
            "give another folder, or score the old episodes again with `nano-codex score`"
        )
    return results


def _check_prompt(results: Iterable[EpisodeResult], out: Path, env: Mapping[str, Any]) -> None:
    """Look into the log of one earlier episode, if there is any.

    Raises:
        ConfigError: it was played with another system prompt.
    """
    folders = (out / os.path.basename(result.folder) for result in results if result.folder)
    folder = next((folder for folder in folders if (folder / "metadata.json").exists()), None)
    if folder is None:
        return
    with suppress(TrajectoryError):  # a damaged log is no reason to play nothing
        prompt, tools = env.get("system_prompt"), env.get("tools")
        default = default_prompt(default_tools() if tools is None else tools)
        if read_metadata(folder).get("system_prompt") != (None if prompt == default else prompt):
            raise ConfigError(f"{out} holds episodes with another system prompt; give the same, or another folder")


def _key(row: dict[str, Any]) -> tuple[Any, Any]:
    return row.get("instance_id"), row.get("attempt")


def _of(job: Job) -> tuple[Any, Any]:
    return job.task.instance_id, job.attempt


def _name_of(policy: Policy) -> str:
    about = getattr(policy, "about", None)
    model = about.get("model") if isinstance(about, Mapping) else None
    return str(model or getattr(policy, "__name__", type(policy).__name__))
