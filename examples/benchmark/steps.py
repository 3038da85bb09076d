"""The cost of one step: commands, patches, the transcript and the log."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from examples.benchmark.measure import Case, Row, Times, Wanted, compare, interleave
from examples.benchmark.setting import TEXT, Setting, a_task, an_env, bash, boxed_bash, git, inner, look
from nano_codex_env import Score, Task, make_vec
from nano_codex_env.messages import dumps, tool_call
from nano_codex_env.records.trajectory import LogWriter
from nano_codex_env.tools import ToolContext, ToolResult, apply_patch
from nano_codex_env.tools import shell as shell_tool


def shell(setting: Setting) -> Iterator[Row]:
    """A logged command in the sandbox of an episode, against no sandbox and against a new sandbox for each command."""
    repo = setting.small()
    with setting.folder() as log, an_env(a_task(repo), log) as env:
        for command in ("true", "ls", "cat README.md", "grep -rn return --include=*1.py . | head -n 5"):
            action = tool_call("shell", cmd=command)
            cases = {
                "env.step": lambda action=action: env.step(action),
                "subprocess.run bash": lambda command=command: bash(command, repo),
                "bwrap for each": lambda command=command: boxed_bash(command, repo),
            }
            times = interleave(cases, rounds=setting.rounds(60), each=3)
            title = command.partition(" --")[0]
            yield compare("shell", "1", title, times, "env.step", "subprocess.run bash", wanted=Wanted(0.75))
            yield compare("shell", "1", title, times, "env.step", "bwrap for each", wanted=Wanted(0.25))


def grep(setting: Setting) -> Iterator[Row]:
    """`grep -rn` over a repository with a long history, which the sandbox does not contain."""
    repo = setting.small()
    command = "grep -rn no-such-text ."
    with setting.folder() as log, an_env(a_task(repo), log) as env:
        cases = {
            "env.step": lambda: env.step(tool_call("shell", cmd=command)),
            "subprocess.run bash": lambda: bash(command, repo),
        }
        times = interleave(cases, rounds=setting.rounds(15), each=2)
    yield compare("grep", "3", "grep -rn", times, "env.step", "subprocess.run bash", wanted=Wanted(0.25))


def trainer(setting: Setting) -> Iterator[Row]:
    """The cost of a call in the training process: processor time, and how it depends on the memory of the process."""
    repo = setting.small()
    with setting.folder() as log, an_env(a_task(repo), log) as env:
        action, tool, context = tool_call("shell", cmd="ls"), shell_tool().function, inner(env).episode.context
        cases: dict[str, Case] = {
            "the tool alone": lambda: tool(context, cmd="ls"),
            "env.step": lambda: env.step(action),
            "subprocess.run bash": lambda: bash("ls", repo),
        }
        used: Times = {name: [] for name in cases}
        for _ in range(setting.rounds(20)):
            for name, case in cases.items():
                before = _own_cpu()
                for _ in range(20):
                    case()
                used[name].append([(_own_cpu() - before) / 20])
    most = Wanted(0.15, "ms")
    for name in ("the tool alone", "env.step"):
        yield compare("trainer", "2", f"own CPU of `ls`, {name}", used, name, "subprocess.run bash", wanted=most)
    size = f"{setting.ballast:g} GiB"
    with _Worker(repo, 0.0) as light, _Worker(repo, setting.ballast) as heavy:
        names = ("env.step", f"env.step, {size}", "subprocess.run bash", f"bash, {size}")
        times: Times = {name: [] for name in names}
        for number in range(setting.rounds(20)):
            for worker, first in ((light, 0), (heavy, 1))[:: 1 if number % 2 else -1]:
                for name, found in zip(names[first::2], worker.ask(10), strict=True):
                    times[name].append(found)
    yield compare("trainer", "2", f"`ls` from a parent of {size}", times, names[1], names[0], wanted=Wanted(1.15))
    yield compare("trainer", "2", f"the baseline from {size}", times, names[3], names[2])


def _own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class _Worker:
    """A process with `ballast` GiB of memory that times `ls` in both ways."""

    def __init__(self, repo: Path, ballast: float) -> None:
        command = [sys.executable, "-m", "examples.benchmark.steps", str(repo), str(ballast)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ask(1)

    def ask(self, count: int) -> tuple[list[float], list[float]]:
        """Seconds of `count` calls, ours and the baseline."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        ours, plain = json.loads(self._process.stdout.readline())
        return ours, plain

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def _work(repo: Path, ballast: float) -> None:
    held = bytearray(int(ballast * (1 << 30)))
    for page in range(0, len(held), 4096):
        held[page] = 1
    with tempfile.TemporaryDirectory() as log, an_env(a_task(repo), Path(log)) as env:
        action = tool_call("shell", cmd="ls")
        cases = {"ours": lambda: env.step(action), "plain": lambda: bash("ls", repo)}
        for line in sys.stdin:
            times = interleave(cases, rounds=1, each=int(line))
            print(json.dumps([times["ours"][0], times["plain"][0]]), flush=True)


def patch(setting: Setting) -> Iterator[Row]:
    """`apply_patch` against reading, replacing and writing in place, as the original nano-codex did."""
    for lines in (200, 20_000):
        for place in (Path("/dev/shm"), setting.work):
            with tempfile.TemporaryDirectory(dir=place) as folder:
                task, plain = _of_lines(Path(folder), lines)
                with an_env(task, None, cache_dir=Path(folder, "cache")) as env:
                    patches, rewrites = _Patches(inner(env).episode.context), _Rewrites(plain)
                    cases = {"apply_patch": patches.next, "as the original": rewrites.next}
                    times = interleave(cases, rounds=setting.rounds(30), each=3)
                where, most = ("disk", 0.15) if place == setting.work else ("tmpfs", 0.6)
                title = f"{lines} lines, {where}"
                yield compare("patch", "4", title, times, "apply_patch", "as the original", wanted=Wanted(most))


class _Patches:
    """A sequence of patches to one file."""

    def __init__(self, context: ToolContext) -> None:
        self._tool, self._context, self._number = apply_patch(), context, 0

    def next(self) -> None:
        old, new = f"value = {self._number} #", f"value = {self._number + 1} #"
        result = self._tool.function(self._context, search=old, replace=new, file="big.py")
        assert isinstance(result, ToolResult)
        assert result.ok
        self._number += 1


class _Rewrites:
    """The same in the way of the original: resolve the path, read, replace, write in place."""

    def __init__(self, path: Path) -> None:
        self._root, self._name, self._number = path.parent.resolve(), path.name, 0

    def _inside(self) -> Path:
        path = (self._root / self._name).resolve()
        assert path.is_relative_to(self._root)
        return path

    def next(self) -> None:
        old, new = f"value = {self._number} #", f"value = {self._number + 1} #"
        assert self._inside().exists()
        text = self._inside().read_text()
        assert text.count(old) == 1
        self._inside().write_text(text.replace(old, new, 1))
        self._number += 1


def _of_lines(folder: Path, lines: int) -> tuple[Task, Path]:
    repo = folder / "repo"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    rows = [f"line {number} of a file that is patched again and again\n" for number in range(lines - 1)]
    rows.insert(lines // 2, "value = 0 #\n")
    (repo / "big.py").write_text("".join(rows))
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "x")
    plain = folder / "plain.py"
    plain.write_text("".join(rows))
    return a_task(repo), plain


def turn(setting: Setting) -> Iterator[Row]:
    """A logged turn of 2,000 characters late in an episode, against an early one."""
    late, window = (100, 10) if setting.quick else (1000, 20)
    times: Times = {"T=10": [], f"T={late}": []}
    for _ in range(setting.rounds(15)):
        with setting.folder() as log, an_env(a_task(setting.small()), log, tools=[look()]) as env:
            found = interleave({"step": partial(env.step, tool_call("look", at="it"))}, rounds=late + window)
            for turn_number in (10, late):
                times[f"T={turn_number}"].append(_around(turn_number, found["step"], window))
    yield compare("turn", "9", f"T={late} against T=10", times, f"T={late}", "T=10", unit="us", wanted=Wanted(1.2))
    yield compare("turn", "9", f"T={late}", times, f"T={late}", unit="us", wanted=Wanted(50, "us"))


def _around(turn_number: int, rounds: list[list[float]], window: int) -> list[float]:
    """Seconds of the turns around one of them."""
    return [seconds for (seconds,) in rounds[turn_number - window // 2 : turn_number + window // 2]]


def log(setting: Setting) -> Iterator[Row]:
    """Logging a message of 2 kB, against opening the file for each message."""
    message = {"role": "tool", "content": TEXT, "tool_call_id": "call00001"}
    with setting.folder() as folder:
        writer = LogWriter(folder, [], {})
        plain = folder / "plain.jsonl"

        def open_each() -> None:
            with plain.open("a") as file:
                file.write(json.dumps(message, ensure_ascii=False, sort_keys=True) + "\n")

        line = dumps(message)
        cases = {
            "serialise and append": lambda: writer.append(dumps(message)),
            "append": lambda: writer.append(line),
            "open, append, close": open_each,
        }
        times = interleave(cases, rounds=setting.rounds(60), each=30)
        writer.close()
    most = Wanted(0.15)
    yield compare(
        "log", "10", "append (its line is made anyway)", times, "append", "open, append, close", unit="us", wanted=most
    )
    yield compare("log", "10", "serialise too", times, "serialise and append", "open, append, close", unit="us")


def step(setting: Setting) -> Iterator[Row]:
    """A step that runs no tool, alone and in vectors; its cost must not depend on the length of the transcript."""
    action = {"role": "assistant", "content": "hm"}
    with an_env(a_task(setting.small()), None, on_inaction="remind") as env:
        times = interleave({"env.step": lambda: env.step(action)}, rounds=setting.rounds(20), each=20)
    yield compare("step", "11", "no tool, log off", times, "env.step", unit="us", wanted=Wanted(20, "us"))
    late, window = (60, 10) if setting.quick else (1000, 20)
    for mode in ("sync", "async"):
        found: Times = {"T=10": [], f"T={late}": []}
        for _ in range(setting.rounds(5)):
            arguments: dict[str, Any] = {
                "tools": [look()],
                "log_dir": None,
                "max_steps": 10**9,
                "tasks": a_task(setting.small()),
            }
            envs = make_vec(2, vectorization_mode=mode, reward=_NoReward(), **arguments)
            try:
                envs.reset()
                both = (tool_call("look", at="it"),) * 2
                seen = interleave({"step": partial(envs.step, both)}, rounds=late + window)
            finally:
                envs.close()
            for turn_number in (10, late):
                found[f"T={turn_number}"].append(_around(turn_number, seen["step"], window))
        title = f"{mode} vector, T={late} against T=10"
        yield compare("step", "11", title, found, f"T={late}", "T=10", unit="us", wanted=Wanted(2.0))


class _NoReward:
    """A reward that can be pickled."""

    def __call__(self, task: object, transcript: object, diff: str) -> Score:
        """See `Reward`."""
        return Score(0.0, {})


if __name__ == "__main__":
    _work(Path(sys.argv[1]), float(sys.argv[2]))
