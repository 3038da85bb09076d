"""Costs that must not depend on the size of the repository (reset, disposal, diff, branches), and the base tree."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym

from examples.benchmark.measure import NOTHING, Row, Times, Wanted, clock, compare, counted, interleave
from examples.benchmark.setting import Setting, a_task, an_env, git, inner
from nano_codex_env.messages import tool_call
from nano_codex_env.repo import Workspace

_LS = tool_call("shell", cmd="ls")


def reset(setting: Setting) -> Iterator[Row]:
    """A reset with the commit in the cache, the first command and the disposal, at several sizes, against cloning."""
    with contextlib.ExitStack() as stack:
        envs = {files: _env(stack, setting, files) for files in setting.sizes}
        times: Times = {}
        for number in range(setting.rounds(40)):
            for files, env in list(envs.items())[:: 1 if number % 2 else -1]:
                for what, seconds in _life(env).items():
                    times.setdefault(f"{what}, {files} files", []).append([seconds])
    plain: Times = {}
    for files in setting.sizes:
        plain |= _clones(setting, files)
    small, large = setting.sizes[0], setting.sizes[-1]
    for what, most in (
        ("reset", Wanted(10, "ms")),
        ("reset and first command", NOTHING),
        ("disposal", Wanted(5, "ms")),
    ):
        for files in setting.sizes:
            name = f"{what}, {files} files"
            yield compare("reset", "6", name, times, name, wanted=most)
        names = f"{what}, {large} files", f"{what}, {small} files"
        yield compare("reset", "6", f"{what}: growth", times, *names, wanted=Wanted(1.5))
    for files in setting.sizes:
        for way in [name for name in plain if name.endswith(f" {files}")]:
            rounds = len(plain[way])
            shown = {"reset": [[v for (v,) in times[f"reset, {files} files"]]] * rounds, way: plain[way]}
            bound = Wanted(1 / 500) if "fetch" in way and files >= 5000 else Wanted()
            yield compare("reset", "6", f"reset, {files} files", shown, "reset", way, wanted=bound)


def _env(stack: contextlib.ExitStack, setting: Setting, files: int) -> gym.Env[Any, Any]:
    log = stack.enter_context(setting.folder())
    return stack.enter_context(an_env(a_task(setting.repository(files)), log))


def _life(env: gym.Env[Any, Any]) -> dict[str, float]:
    """Time an episode of a command, a patch and a command."""
    started = clock(env.reset)
    first = started + clock(lambda: env.step(_LS))
    env.step(tool_call("apply_patch", search="", replace="x = 1\n", file="notes/new.py"))
    env.step(_LS)
    return {"reset": started, "reset and first command": first, "disposal": clock(inner(env).episode.close)}


def _clones(setting: Setting, files: int) -> Times:
    """Time the usual ways to make a checkout; few rounds, since they are slow."""
    repo, found = setting.repository(files), Times()

    def clone(folder: Path) -> None:
        git(folder, "clone", "-q", "--local", str(repo), "c")

    def fetch(folder: Path) -> None:
        git(folder, "init", "-q")
        git(folder, "fetch", "-q", "--depth", "1", f"file://{repo}", "HEAD")
        git(folder, "checkout", "-q", "FETCH_HEAD")

    for name, way in (("git clone --local", clone), ("fetch --depth 1", fetch)):
        rounds = found.setdefault(f"{name}, {files}", [])
        for _ in range(1 if setting.quick else 3):
            with setting.folder() as folder:
                rounds.append([clock(lambda way=way, folder=folder: way(folder))])  # type: ignore[misc]
    return found


def diff(setting: Setting) -> Iterator[Row]:
    """The diff at the end of an episode against `git diff` in a checkout with the same change."""
    with contextlib.ExitStack() as stack:
        cases = {}
        for files in setting.sizes:
            env = _env(stack, setting, files)
            env.step(tool_call("apply_patch", search="# A generated", replace="# Once a generated", file="README.md"))
            workspace = inner(env).episode.workspace
            folder = stack.enter_context(setting.folder())
            git(folder, "clone", "-q", "--local", str(setting.repository(files)), "c")
            (folder / "c" / "README.md").write_text("# Once a generated repository\n")
            cases[f"diff, {files} files"] = workspace.diff
            cases[f"git diff, {files} files"] = lambda folder=folder: git(folder / "c", "diff")  # type: ignore[misc]
        times = interleave(cases, rounds=setting.rounds(20), each=3)
    for files in setting.sizes:
        most = Wanted(0.05) if files >= 5000 else Wanted()
        yield compare(
            "diff", "7", f"{files} files", times, f"diff, {files} files", f"git diff, {files} files", wanted=most
        )
    names = [f"diff, {files} files" for files in (setting.sizes[-1], setting.sizes[0])]
    yield compare("diff", "7", "growth", times, *names, wanted=Wanted(1.5))


def branch(setting: Setting) -> Iterator[Row]:
    """64 branches of an episode with 20 turns and three new files, against copying the checkout for each."""
    count = 4 if setting.quick else 64
    repo = setting.repository(setting.sizes[1])
    times: Times = {"a branch": [], "a branch and its first command": [], "cp -a": []}
    memory, disk = [], []
    with setting.folder() as log, an_env(a_task(repo), log) as env, contextlib.ExitStack() as stack:
        for number in range(20):
            env.step(_LS)
            if number < 3:
                env.step(tool_call("apply_patch", search="", replace="x = 1\n" * 50, file=f"notes/new{number}.py"))
        for _ in range(1 if setting.quick else 5):
            before, held = _resident(), _size(log)
            started = time.perf_counter()
            branches = [stack.enter_context(branch) for branch in inner(env).fork(count)]
            made = time.perf_counter() - started
            memory.append((_resident() - before) / count / 1e3)
            disk.append((_size(log) - held) / count / 1e3)
            for one in branches:
                one.step(_LS)
            times["a branch"].append([made / count])
            times["a branch and its first command"].append([(time.perf_counter() - started) / count])
            for one in branches:
                one.close()
            with setting.folder() as folder:
                copy = ["cp", "-a", str(repo), str(folder / "copy")]
                times["cp -a"].append([clock(lambda copy=copy: subprocess.run(copy, check=True))])  # type: ignore[misc]
    title = f"{count} branches, {setting.sizes[1]} files"
    for what in ("a branch", "a branch and its first command"):
        yield compare("branch", "", f"{title}: {what}", times, what, "cp -a")
    yield counted("branch", "", f"{title}: memory of each, box closed", "kB", memory)
    yield counted("branch", "", f"{title}: its log on disk", "kB", disk)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def tree(setting: Setting) -> Iterator[Row]:
    """Building the base tree of a commit, once, against one shallow clone."""
    for repo in (setting.repo,) if setting.repo else [setting.repository(files) for files in setting.sizes[1:]]:
        commit, times = git(repo, "rev-parse", "HEAD"), Times()
        for _ in range(1 if setting.quick else 3):
            with setting.folder() as folder:
                times.setdefault("base tree", []).append([_build(repo, commit, folder)])
                size = _size(folder / "trees")
            with setting.folder() as folder:
                times.setdefault("git clone --depth 1", []).append([_clone(repo, folder)])
        files = int(git(repo, "ls-files").count("\n")) + 1
        yield compare("tree", "", f"base tree, {files} files", times, "base tree", "git clone --depth 1", unit="s")
        yield counted("tree", "", f"its size, {files} files", "MB", [size / 1e6])


def _build(repo: Path, commit: str, cache: Path) -> float:
    return clock(lambda: Workspace(str(repo), commit, cache=cache).close())


def _clone(repo: Path, folder: Path) -> float:
    return clock(lambda: git(folder, "clone", "-q", "--depth", "1", f"file://{repo}", "c"))
