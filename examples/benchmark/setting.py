"""Generated repositories, environments and baselines for the benchmarks."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym

import nano_codex_env
from nano_codex_env import Task, from_function
from nano_codex_env.sandbox.bubblewrap import find_bwrap
from nano_codex_env.tools import Tool, ToolResult

_GIT = {
    **os.environ,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{
        f"GIT_{who}_{what}": f"bench{at}"
        for who in ("AUTHOR", "COMMITTER")
        for what, at in (("NAME", ""), ("EMAIL", "@b"))
    },
}
_PLAIN = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
_CAPTURED: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
REWARD = from_function(lambda task, transcript, diff: 0.0)
"""A reward that costs nothing."""


@dataclass(frozen=True)
class Setting:
    """The sizes of a benchmark run and its working folder."""

    work: Path
    quick: bool = False
    repo: Path | None = None
    """A repository to use in place of a generated one."""
    ballast: float = 4.0
    """GiB of memory of the large parent process."""
    episodes: int = 2000
    """Episodes of the soak test."""
    at_once: tuple[int, ...] = ()
    """Numbers of episodes for `many`; empty: the defaults."""

    def rounds(self, full: int) -> int:
        """`full`, or 2 in a quick run."""
        return 2 if self.quick else full

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of files at which costs are measured that must not depend on the size."""
        return (100, 500) if self.quick else (100, 7_000, 50_000)

    def repository(self, files: int, history: int = 0) -> Path:
        """Generate a repository of `files` small files once; `history` is MiB of deleted files in older commits."""
        folder = self.work / f"repo-{files}-{history}"
        if not folder.exists():
            building = Path(tempfile.mkdtemp(prefix=".repo-", dir=self.work))
            _generate(building, files, history)
            building.rename(folder)
        return folder

    def small(self) -> Path:
        """The repository in which single commands run."""
        return self.repo or self.repository(120, 1 if self.quick else 12)

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """A temporary folder on the same disk."""
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            yield Path(folder)


def _generate(folder: Path, files: int, history: int) -> None:
    git(folder, "init", "-q", "-b", "main")
    git(folder, "config", "gc.auto", "0")  # it would run in the background and collide with the gc below
    rng = random.Random(files)
    for number in range(history):
        (folder / "old.bin").write_bytes(rng.randbytes(1 << 20))
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", f"old {number}")
    (folder / "old.bin").unlink(missing_ok=True)
    (folder / "README.md").write_text("# A generated repository\n")
    for number in range(files - 1):
        place = folder / f"part{number // 1000}" / f"module{number // 50 % 20}"
        place.mkdir(parents=True, exist_ok=True)
        lines = [f"def f{number}_{row}(x):\n    return x + {rng.random()}\n\n" for row in range(20)]
        (place / f"f{number}.py").write_text("\n".join(lines))
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "all")
    git(folder, "gc", "-q")


def git(folder: Path, *arguments: str) -> str:
    """Run git and return its output."""
    done = subprocess.run(["git", *arguments], cwd=folder, env=_GIT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def a_task(repo: Path) -> Task:
    """A task at the last commit of a repository."""
    commit = git(repo, "rev-parse", "HEAD")
    return Task(instance_id=repo.name, repo=str(repo), base_commit=commit, problem_statement="Fix it.")


@contextlib.contextmanager
def an_env(task: Task, log: Path | None, **arguments: Any) -> Iterator[gym.Env[Any, Any]]:
    """An environment from `gym.make` with an episode started."""
    more = {"reward": REWARD, "max_steps": 10**9, "time_limit": None, **arguments}
    env = gym.make("NanoCodex-v0", tasks=task, log_dir=log, **more)
    env.reset()
    try:
        yield env
    finally:
        env.close()


def inner(env: gym.Env[Any, Any]) -> nano_codex_env.NanoCodexEnv:
    """The environment inside the wrappers of `gym.make`."""
    unwrapped = env.unwrapped
    assert isinstance(unwrapped, nano_codex_env.NanoCodexEnv)
    return unwrapped


def bash(command: str, folder: Path) -> None:
    """Baseline: run a command without a sandbox."""
    subprocess.run(["bash", "-rc", command], cwd=folder, env=_PLAIN, check=False, **_CAPTURED)


def boxed_bash(command: str, folder: Path) -> None:
    """Baseline: start a bubblewrap sandbox for this one command."""
    box = [find_bwrap(), "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/", "/"]
    box += ["--proc", "/proc", "--dev", "/dev", "--chdir", str(folder), "bash", "-c", command]
    subprocess.run(box, env=_PLAIN, check=False, **_CAPTURED)


TEXT = "x = compute(value)  # a line of output\n" * 51


def look() -> Tool:
    """A tool that only returns 2,000 characters."""
    return Tool("look", "Look.", {"at": "what"}, _look)


def _look(episode: object, at: str) -> ToolResult:
    return ToolResult(TEXT)
