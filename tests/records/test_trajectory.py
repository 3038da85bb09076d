"""The log of an episode: the bytes on disk, and what is read back."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nano_codex_env import NanoCodexEnv, Reply, Scripted, Task, Trajectory
from nano_codex_env.errors import TrajectoryError
from nano_codex_env.messages import Message, ToolSchema, assistant, dumps, tool_call
from nano_codex_env.records.trajectory import LogWriter
from nano_codex_env.runs.rollout import rollout
from nano_codex_env.tools import default_tools
from tests.strategies import quick

LOOK = tool_call("shell", cmd="cat sums.py")
FIX = tool_call("apply_patch", search="return a - b", replace="return a + b", file="sums.py")
DONE = assistant("done")


def folder_of(env: NanoCodexEnv) -> Path:
    log = env.episode.log
    assert log
    return log.folder


@pytest.fixture
def finished(env: NanoCodexEnv) -> Path:
    """The folder of an episode that looked, repaired and submitted."""
    assert rollout(env, Scripted([LOOK, FIX])).void is None
    return folder_of(env)


def write(folder: Path, *lines: str | bytes) -> Path:
    """A log folder with these lines, as an episode that was killed leaves it."""
    log = LogWriter(folder, [], {"task": {}})
    log.close()
    raw = b"".join(line.encode() if isinstance(line, str) else line for line in lines)
    (log.folder / "messages.jsonl").write_bytes(raw)
    return log.folder


# What is written.


def test_a_line_is_on_disk_before_the_next_call_starts(env: NanoCodexEnv) -> None:
    obs, _ = env.reset()
    for action in (LOOK, FIX):
        assert Trajectory.load(folder_of(env)).messages == obs
        obs, *_ = env.step(action)
    assert Trajectory.load(folder_of(env)).messages == obs


def test_the_tools_keep_the_order_of_their_keys(finished: Path) -> None:
    """Sorted keys would be another prompt."""
    assert re.fullmatch(r"\d{8}-\d{6}-\d{3}-[0-9a-f]{8}", finished.name)
    assert {path.name for path in finished.iterdir()} == {"diff.patch", "messages.jsonl", "metadata.json", "tools.json"}
    schemas = [tool.schema for tool in default_tools()]
    assert (finished / "tools.json").read_text() == json.dumps(schemas, indent=2) + "\n"
    assert list(schemas[1]["function"]["parameters"]["properties"]) == ["search", "replace", "file"]


def test_without_a_log_nothing_is_written(
    task: Task, sandbox: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    with NanoCodexEnv([task], sandbox=sandbox, log_dir=None) as env:
        env.reset()
        env.step(FIX)
        env.step(DONE)
        assert env.episode.log is None
        assert rollout(env, Counting([])).void is None
    assert list(empty.iterdir()) == []


def test_the_log_ignores_itself_and_keeps_what_the_user_wrote(finished: Path, env: NanoCodexEnv) -> None:
    ignore = finished.parent / ".gitignore"
    assert ignore.read_text() == "*\n"
    ignore.write_text("# mine\n")
    env.reset()
    assert ignore.read_text() == "# mine\n"


# Two at once.


def test_threads_that_start_in_the_same_millisecond_do_not_collide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.5)
    draws = cycle(["00000000", "00000000", "00000001", "00000002"])
    real = secrets.token_hex
    monkeypatch.setattr(secrets, "token_hex", lambda n: next(draws) if secrets.randbelow(2) else real(n))

    def start(number: int) -> Path:
        log = LogWriter(tmp_path / "log", [], {"number": number})
        log.append(dumps({"role": "user", "content": str(number)}))
        log.close()
        return log.folder

    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(start, range(200)))
    assert len(set(folders)) == 200
    for number, folder in enumerate(folders):
        logged = Trajectory.load(folder)
        assert (logged.metadata["number"], logged.messages[0]["content"]) == (number, str(number))


def test_processes_that_start_in_the_same_millisecond_do_not_collide(tmp_path: Path) -> None:
    code = (
        "import sys, time; time.time = lambda: 1700000000.5\n"
        "from pathlib import Path\n"
        "from nano_codex_env.records.trajectory import LogWriter\n"
        "for n in range(50):\n"
        "    log = LogWriter(Path('log'), [], {}); print(log.folder); log.close()\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    folders = [line for process in running for line in process.communicate()[0].splitlines()]
    assert [process.returncode for process in running] == [0] * 4
    assert len(folders) == len(set(folders)) == 200
    assert {name.rpartition("-")[0] for name in folders} == {"log/20231114-221320-500"}


# What is left of an episode that was killed.

KILLED = """
import json, os, sys, time
from nano_codex_env import NanoCodexEnv, Task
from nano_codex_env.messages import tool_call
env = NanoCodexEnv(Task.from_row(json.load(open("task.json"))), log_dir="log")
env.reset()
env.step(tool_call("apply_patch", search="return a - b", replace="return a + b", file="sums.py"))
env.step(tool_call("shell", cmd="git diff"))
print(env.episode.log.folder, flush=True)
{wait}
"""
WAITS = {
    "between calls": "time.sleep(1000)",
    "during a call": "env.step(tool_call('shell', cmd='sleep 1000'))",
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_an_episode_that_was_killed_leaves_a_readable_folder(task: Task, tmp_path: Path, wait: str) -> None:
    (tmp_path / "task.json").write_text(json.dumps(task.to_row()))
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED.replace("{wait}", wait)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "NANO_CODEX_CACHE": str(tmp_path / "cache")},  # its left-overs shall not look like ours
    )
    assert process.stdout
    folder = tmp_path / process.stdout.readline().strip()
    lines = 7 if "step" in wait else 6
    while (folder / "messages.jsonl").read_bytes().count(b"\n") < lines:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    logged = Trajectory.load(folder)
    assert not logged.torn
    assert [message["role"] for message in logged.messages[:6]] == ["system", "user", *["assistant", "tool"] * 2]
    assert "+    return a + b" in logged.messages[5]["content"]
    assert len(logged.messages) == lines
    assert logged.metadata["stop"] is None
    assert "reward" not in logged.metadata
    assert Task.from_row(logged.metadata["task"]) == task
    assert (logged.diff, logged.tokens) == ("", [])


@pytest.mark.parametrize(
    "line", ["", "{", "nonsense", b"\xff\xfe{}", '{"role": "us\n', "\0" * 8, "5", "[]"], ids=lambda line: repr(line)
)
def test_a_line_in_the_middle_that_is_damaged_is_an_error(tmp_path: Path, line: str | bytes) -> None:
    raw = line.encode() if isinstance(line, str) else line
    folder = write(tmp_path, '{"role": "system"}\n', raw + b"\n", '{"role": "user"}\n')
    with pytest.raises(TrajectoryError, match=r"messages\.jsonl, line 2 is damaged"):
        Trajectory.load(folder)


@pytest.mark.parametrize("name", ["tools.json", "metadata.json"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff", b"5"])
def test_a_damaged_file_beside_it_is_an_error(tmp_path: Path, name: str, content: bytes | None) -> None:
    folder = write(tmp_path, '{"role": "system"}\n')
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(TrajectoryError, match=name.replace(".", r"\.")):
        Trajectory.load(folder)


def test_what_is_no_folder_of_an_episode_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, Path(__file__)):
        with pytest.raises(TrajectoryError, match=r"holds no messages\.jsonl; give the folder of one episode"):
            Trajectory.load(path)
    with pytest.raises(TrajectoryError, match=r"there is no folder .*/nothing$"):
        Trajectory.load(str(tmp_path / "nothing"))


# Any text.

anything = st.text(st.characters(exclude_categories=[]))  # lone surrogates too
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | anything
values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(anything, st.lists(scalars, max_size=3), max_size=3)


def said(others: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[Message]:
    """A message with any role and content, and whatever else."""
    content = st.none() | anything
    return st.builds(lambda role, text, more: {**more, "role": role, "content": text}, anything, content, others)


@given(messages=st.lists(said(st.dictionaries(anything, values, max_size=4)), max_size=5))
@quick(100)
def test_any_text_survives(messages: list[Message]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tools: list[ToolSchema] = [{"function": {"name": message["role"]}, **message} for message in messages]
        log = LogWriter(Path(folder), tools, {"messages": messages})
        for message in messages:
            log.append(dumps(message))
        log.finish("", {"again": messages})
        logged = Trajectory.load(log.folder)
    assert [dumps(message) for message in logged.messages] == [dumps(message) for message in messages]
    assert dumps(logged.tools) == dumps(tools)
    assert logged.metadata["again"] == logged.metadata["messages"] == messages
    assert not logged.torn


@given(raw=st.binary())
@quick(100)
def test_any_bytes_in_a_patch_survive(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = LogWriter(Path(folder), [], {})
        log.finish(raw.decode("utf-8", "surrogateescape"), {})
        assert (log.folder / "diff.patch").read_bytes() == raw
        assert Trajectory.load(log.folder).diff.encode("utf-8", "surrogateescape") == raw


@given(messages=st.lists(said(st.dictionaries(anything, anything, max_size=3)), min_size=1, max_size=4), data=st.data())
@quick(100)
def test_a_log_that_was_cut_anywhere_is_read_up_to_there(messages: list[Message], data: st.DataObject) -> None:
    whole = "".join(dumps(message) + "\n" for message in messages).encode("ascii")
    cut = data.draw(st.integers(0, len(whole)))
    with tempfile.TemporaryDirectory() as folder:
        logged = Trajectory.load(write(Path(folder), whole[:cut]))
    complete = whole[:cut].count(b"\n")
    assert logged.messages == messages[:complete]
    assert logged.torn == (not whole[:cut].endswith(b"\n") and cut > 0)


# A disk that will not have it.


def test_a_log_dir_that_cannot_be_written_names_the_mend(task: Task, sandbox: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nothing")):
        env = NanoCodexEnv([task], sandbox=sandbox, log_dir=path)
        with env, pytest.raises(TrajectoryError, match="set log_dir to a folder you may write, or to None"):
            env.reset()


def no_space(*arguments: object, **named: object) -> Any:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("method", ["append", "finish"])
def test_a_disk_that_is_full_is_a_failure_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    log = LogWriter(tmp_path, [], {})
    with monkeypatch.context() as patch:
        patch.setattr("os.write", no_space)
        with pytest.raises(TrajectoryError, match=f"cannot write {log.folder}.*: .*No space left on device"):
            log.append("{}") if method == "append" else log.finish("", {})
    log.close()


def test_a_line_that_is_written_in_pieces_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    log = LogWriter(tmp_path, [], {})
    with monkeypatch.context() as patch:
        patch.setattr("os.write", lambda handle, data: real(handle, data[:3]))
        log.append(dumps({"role": "user", "content": "hello"}))
    log.close()
    assert Trajectory.load(log.folder).messages == [{"role": "user", "content": "hello"}]


def test_a_closed_log_takes_nothing(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, [], {})
    log.close()
    log.close()
    with pytest.raises(TrajectoryError, match="this log is closed"):
        log.append("{}")


# Tokens.


class Counting(Scripted):
    """Says of each turn which ids it took and gave."""

    def __call__(self, messages: Any, tools: Any) -> Reply:
        reply = super().__call__(messages, tools)
        return Reply(reply.message, {"prompt_ids": [1, len(messages)], "ids": [7, 8], "logprobs": [-0.5, -1e-9]})


def test_the_tokens_of_a_policy_are_logged_and_never_in_a_message(env: NanoCodexEnv) -> None:
    result = rollout(env, Counting([LOOK]))
    assert result.folder
    logged = Trajectory.load(result.folder)
    assert logged.tokens == [
        {"prompt_ids": [1, 2], "ids": [7, 8], "logprobs": [-0.5, -1e-9]},
        {"prompt_ids": [1, 4], "ids": [7, 8], "logprobs": [-0.5, -1e-9]},
    ]
    assert (Path(result.folder) / "tokens.jsonl").read_text().count("\n") == 2
    assert "prompt_ids" not in (Path(result.folder) / "messages.jsonl").read_text()


def test_tokens_that_cannot_be_written_are_a_failure_of_ours(env: NanoCodexEnv) -> None:
    class Spoiling(Counting):
        def __call__(self, messages: Any, tools: Any) -> Reply:
            (folder_of(env) / "tokens.jsonl").mkdir(exist_ok=True)
            return super().__call__(messages, tools)

    result = rollout(env, Spoiling([LOOK]))
    assert result.reward is None
    assert (result.void or "").startswith("TrajectoryError: ")
