"""A daemon has descriptors 0 to 2 closed: episodes, scores and commands work as ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nano_codex_env
from nano_codex_env import Task, save_tasks
from nano_codex_env.cache import cache_dir
from tests.conftest import mostly_slow

CLOSED = ["012", "0", "1", "2", "01", "02", "12"]
PLAY = """
import json, sys
from nano_codex_env import NanoCodexEnv, from_function, load_tasks
from nano_codex_env.messages import assistant, tool_call

with NanoCodexEnv(load_tasks("tasks.jsonl"), from_function(lambda *_: 0.5), log_dir="log") as env:
    env.reset()
    seen, *_ = env.step(tool_call("shell", cmd="cat sums.py; echo to stderr >&2"))
    _, reward, *_ = env.step(assistant("done"))
with open("result.json", "w") as file:
    json.dump([seen[-1]["content"].splitlines()[-1], reward], file)
"""
RUN = "import sys; from nano_codex_env.cli import main; sys.exit(main(sys.argv[1:]))"


def python(closed: str, folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run `code` in a process of its own that begins with the descriptors `closed`; the others are open."""
    redirected = " ".join(f"{number}>&-" for number in closed)
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "NANO_CODEX_CACHE": str(cache_dir())}
    env["PYTHONPATH"] = str(Path(nano_codex_env.__file__).parents[1])
    command = ["bash", "-c", f'exec "$@" {redirected}', "bash", sys.executable, "-W", "error", "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False)


@pytest.mark.parametrize("closed", mostly_slow(CLOSED, 1))
def test_an_episode_is_played(closed: str, task: Task, tmp_path: Path) -> None:
    """The sandbox's filter and the child's own copies of its pipes landed on 0 to 2, and were overwritten."""
    save_tasks([task], tmp_path / "tasks.jsonl")
    assert python(closed, tmp_path, PLAY).returncode == 0
    assert json.loads((tmp_path / "result.json").read_text()) == ["to stderr", 0.5]


@pytest.mark.slow
@pytest.mark.parametrize("closed", CLOSED)
def test_a_run_is_played_scored_and_recorded(closed: str, task: Task, tmp_path: Path) -> None:
    """Nothing that is printed gets into a file of the run."""
    save_tasks([task], tmp_path / "tasks.jsonl")
    assert python(closed, tmp_path, RUN, "run", "--tasks", "tasks.jsonl", "--out", "out").returncode == 0
    [row] = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert json.loads(row)["reward"] == 1.0
    assert python(closed, tmp_path, RUN, "run", "--tasks", "nowhere.jsonl", "--out", "other").returncode == 2


@pytest.mark.slow
def test_an_error_is_not_printed_to_stdout_in_place_of_stderr(tmp_path: Path) -> None:
    """`print(..., file=None)` prints to stdout, where a program reads the result."""
    done = python("2", tmp_path, RUN, "run", "--tasks", "nowhere.jsonl")
    assert (done.returncode, done.stdout) == (2, b"")
