"""Many episodes: at the same time, and one after another for a long time."""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium as gym

from examples.benchmark.measure import Row, Times, Wanted, compare, counted
from examples.benchmark.setting import Setting, a_task, an_env, bash, boxed_bash
from nano_codex_env.cache import cache_dir
from nano_codex_env.messages import tool_call

_LS = tool_call("shell", cmd="ls")
_TICK = os.sysconf("SC_CLK_TCK")


def many(setting: Setting) -> Iterator[Row]:
    """64 and 256 episodes in as many threads: calls per second, processor time, fairness and memory."""
    for count in setting.at_once or ((8,) if setting.quick else (64, 256)):
        yield from _many(setting, count)


def _many(setting: Setting, count: int) -> Iterator[Row]:
    repo, title = setting.small(), f"{count} episodes"
    task = a_task(repo)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(setting.folder())
        before = _memory()
        envs = [stack.enter_context(an_env(task, log)) for _ in range(count)]
        for env in envs:
            env.step(_LS)
        boxes = _descendants()
        yield counted("many", "5", f"{title}: processes of an idle one", "", [len(boxes) / count], Wanted(3))
        kib = (_memory() - before) / count
        yield counted("many", "5", f"{title}: memory of an idle one", "MB", [kib / 1000], Wanted(2))
        yield counted("many", "5", f"{title}: threads before the first call", "", [threading.active_count()])
        ways: dict[str, Callable[[int], object]] = {
            "env.step": lambda at: envs[at].step(_LS),
            "subprocess.run bash": lambda at: bash("ls", repo),
            "bwrap for each": lambda at: boxed_bash("ls", repo),
        }
        pause: Times = {name: [] for name in ways}
        cpu: Times = {name: [] for name in ways}
        slowest: list[float] = []
        for _ in range(1 if setting.quick else 4):
            for name, way in ways.items():
                calls, seconds, used = _at_once(way, count, 0.5 if setting.quick else max(3.0, count / 20))
                pause[name].append([seconds / sum(calls)])
                cpu[name].append([used / sum(calls)])
                if name == "env.step":
                    slowest.append(min(calls) / statistics.median(calls))
    yield compare("many", "5", f"{title}: time per call", pause, "env.step", "subprocess.run bash", wanted=Wanted(1.11))
    yield compare("many", "5", f"{title}: time per call", pause, "env.step", "bwrap for each", wanted=Wanted(0.4))
    yield compare("many", "5", f"{title}: CPU per call", cpu, "env.step", "subprocess.run bash", wanted=Wanted(1.05))
    least = Wanted(least=0.01)
    yield counted("many", "5", f"{title}: calls of the slowest, of the median", "", slowest, least)


def _at_once(way: Callable[[int], object], count: int, seconds: float) -> tuple[list[int], float, float]:
    """Return the calls of each episode, the wall time and the processor time, both in seconds."""
    over, calls = threading.Event(), [0] * count

    def play(at: int) -> None:
        while not over.is_set():
            way(at)
            calls[at] += 1

    used, started = _cpu(), time.perf_counter()
    with ThreadPoolExecutor(count) as threads:
        playing = [threads.submit(play, at) for at in range(count)]
        time.sleep(seconds)
        over.set()
        for one in playing:
            one.result()
    return calls, time.perf_counter() - started, _cpu() - used


def _cpu() -> float:
    """Processor seconds of this process and all its descendants, dead or alive."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        total += used.ru_utime + used.ru_stime
    for fields in _descendants().values():
        total += sum(map(int, fields[11:15])) / _TICK
    return total


def _descendants() -> dict[int, list[str]]:
    """Living descendants of this process: pid -> the fields of /proc/<pid>/stat after the name."""
    found: dict[int, list[str]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError):
                found[int(name)] = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
    ours, added = {os.getpid()}, True
    while added:
        new = {pid for pid, fields in found.items() if int(fields[1]) in ours} - ours
        ours, added = ours | new, bool(new)
    return {pid: found[pid] for pid in ours if pid != os.getpid()}


def _memory() -> float:
    """Proportional set size of this process and its descendants, in KiB."""
    total = 0
    for pid in (os.getpid(), *_descendants()):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total


def soak(setting: Setting) -> Iterator[Row]:
    """A soak test: what thousands of episodes, some of them hostile or abandoned, leave behind over time."""
    marks = 10
    every = max(1, setting.episodes // marks)
    figures: dict[str, list[float]] = {name: [] for name in _resources()}
    with setting.folder() as log, an_env(a_task(setting.small()), log) as env:
        _hostile_episode(env, 0)
        start = _resources()
        for number in range(every * marks):
            _hostile_episode(env, number)
            if (number + 1) % every == 0:
                now = _resources()
                for name, values in figures.items():
                    values.append(now[name])
    for name, values in figures.items():
        shown = f"{start[name]:g}, then every {every}: " + " ".join(f"{value:g}" for value in values)
        growth = values[-1] - values[0]
        most = Wanted() if name == "resident MB" else Wanted(0)
        summary = counted("soak", "", f"{name}: growth from {every} to {every * marks} episodes", "", [growth], most)
        yield Row(**{**vars(summary), "note": shown})
    left = {"processes": len(_descendants()), "session folders": _sessions()}
    for name, value in left.items():
        yield counted("soak", "", f"{name} after close", "", [value], Wanted(0))


def _hostile_episode(env: gym.Env[Any, Any], number: int) -> None:
    env.reset()
    env.step(_LS)
    env.step(tool_call("apply_patch", search="", replace="x = 1\n", file=f"notes/new{number}.py"))
    command = ("ls", "setsid sleep 1000 & disown", "kill -9 $$", "kill -9 -1", "echo x >/tmp/left")[number % 5]
    env.step(tool_call("shell", cmd=command))
    if number % 7:  # the next reset abandons the others
        env.step({"role": "assistant", "content": "done"})


def _resources() -> dict[str, float]:
    """Resources that this process holds."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "processes": len(_descendants()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
        "session folders": _sessions(),
        "threads": threading.active_count(),
        "resident MB": round(resident / 1e6, 1),
    }


def _sessions() -> int:
    """Count the folders of episodes on disk."""
    return sum(1 for _ in (cache_dir() / "sessions").glob("s-*/e-*"))
