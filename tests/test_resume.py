"""What is finished is kept and never done twice: the file of records, resuming, Ctrl-C, killed processes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import Reply, Task, from_function, save_tasks
from nano_codex_env.errors import ConfigError, NanoCodexError, TrajectoryError
from nano_codex_env.messages import Message, assistant
from nano_codex_env.rollout import Interrupted, Records, Result, rollouts
from nano_codex_env.sandbox import Sandbox

LONG = 60.0
"""Seconds after which something that must happen has not."""

WAITING = """
import time
from pathlib import Path

from nano_codex_env import Reply
from nano_codex_env.messages import assistant


def policy(messages, tools):
    name = messages[1]["content"].split()[0]
    Path(f"asked-{name}").touch()
    while not (Path("go").exists() or Path(f"go-{name}").exists()):
        time.sleep(0.005)
    return Reply(assistant("done"))
"""
"""A policy that answers about a task once the file `go` or `go-TASK` is there."""

Play = Callable[..., list[Result]]
Row = dict[str, Any]


def until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < limit, "what was waited for did not happen"
        time.sleep(0.005)


def key(row: Row) -> Any:
    return row.get("name")


def lines(path: Path) -> list[Row]:
    """The rows of a file, a line that is just being written left out."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def many(task: Task, number: int) -> list[Task]:
    return [task.with_(instance_id=f"t{i}", problem_statement=f"t{i} is wrong") for i in range(number)]


class Player:
    """A policy that remembers whom it was asked about, and is ill where it is told to be."""

    def __init__(self, *ill: str) -> None:
        self.asked: list[str] = []
        self._ill = ill

    def __call__(self, messages: Sequence[Message], tools: Any) -> Reply:
        name = str(messages[1]["content"]).split()[0]
        self.asked.append(name)
        if name in self._ill:
            raise ValueError("ill")
        return Reply(assistant("done"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def play(sandbox: Sandbox, out: Path) -> Play:
    def go(tasks: Any, policy: Any, **options: Any) -> list[Result]:
        one = from_function(lambda task, transcript, diff: 1.0)
        return rollouts(tasks, policy, **{"reward": one, "sandbox": sandbox, "out": out, **options})

    return go


# The file of records.


def test_a_row_is_on_disk_when_it_is_added(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    with Records(path, key, resume=False) as records:
        for name in ("a", "b", "\udce9 é"):
            records.add({"name": name, "n": 1})
            assert lines(path)[-1] == {"name": name, "n": 1}
    assert path.read_bytes().isascii()
    assert list(records.rows) == ["a", "b", "\udce9 é"]
    assert [file.name for file in path.parent.iterdir()] == ["rows.jsonl"]


def test_what_is_torn_or_no_row_is_dropped_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"name": "a"}\n\n[1]\nnull\n\xff\xfe\n{"name": \n{"name": "b"}\n{"name": "c", "n": 1')
    with Records(path, key, resume=True) as records:
        assert list(records.rows) == ["a", "b"]
        assert path.read_text() == '{"name": "a"}\n{"name": "b"}\n'
        records.add({"name": "c"})
    assert [row["name"] for row in lines(path)] == ["a", "b", "c"]


def test_the_last_row_of_a_name_stands_for_it_and_the_others_go(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"name": "a", "n": 1}\n{"name": "b", "n": 1}\n{"name": "a", "n": 2}\n')
    with Records(path, key, resume=True) as records:
        assert lines(path) == [{"name": "a", "n": 2}, {"name": "b", "n": 1}]
        records.add({"name": "b", "n": 2})
        assert len(lines(path)) == 3
    assert lines(path) == [{"name": "a", "n": 2}, {"name": "b", "n": 2}]


def test_rows_are_not_touched_unless_they_are_resumed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"name": "a"}\n{"name": "a"}\n{"na')
    with pytest.raises(ConfigError, match="holds 2 results of an earlier run; resume it, or give another folder"):
        Records(path, key, resume=False)
    assert path.read_bytes() == b'{"name": "a"}\n{"name": "a"}\n{"na'


def test_a_second_writer_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with Records(path, key, resume=False) as first:
        first.add({"name": "a"})
        for resume in (True, False):
            with pytest.raises(ConfigError, match="another process is writing .*rows.jsonl; wait for it"):
                Records(path, key, resume=resume)
        first.add({"name": "b"})
    with Records(path, key, resume=True) as second:
        assert list(second.rows) == ["a", "b"]


def test_two_writers_that_begin_at_one_moment_do_not_both_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one opens, locks and replaces the file between our opening it and our locking it."""
    path, lock, others = tmp_path / "rows.jsonl", fcntl.flock, list[Records]()

    def overtaken(handle: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        others.append(Records(path, key, resume=True))
        lock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", overtaken)
    with pytest.raises(ConfigError, match="another process is writing"):
        Records(path, key, resume=True).close()
    others[0].add({"name": "a"})
    others[0].close()
    assert lines(path) == [{"name": "a"}]


def test_a_row_that_the_disk_takes_in_pieces_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with Records(tmp_path / "rows.jsonl", key, resume=False) as records, monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: write(handle, data[:3]))
        records.add({"name": "a long one"})
    assert lines(tmp_path / "rows.jsonl") == [{"name": "a long one"}]


def test_a_full_disk_is_told_and_what_was_there_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Records(path, key, resume=False) as records:
        records.add({"name": "a"})
        with monkeypatch.context() as patch, pytest.raises(TrajectoryError, match="cannot write .*: .*No space left"):
            patch.setattr(os, "write", full)
            records.add({"name": "b"})
        assert list(records.rows) == ["a"]
    with monkeypatch.context() as patch, pytest.raises(NanoCodexError, match="rows.jsonl"):
        patch.setattr(Path, "replace", full)
        Records(path, key, resume=True)
    with Records(path, key, resume=True) as records:
        assert list(records.rows) == ["a"]


def test_a_closed_file_takes_no_more(tmp_path: Path) -> None:
    records = Records(tmp_path / "rows.jsonl", key, resume=False)
    records.close()
    records.close()
    with pytest.raises(TrajectoryError, match="is closed"):
        records.add({"name": "a"})


@pytest.mark.parametrize("place", ["file/rows.jsonl", "folder"])
def test_a_place_that_takes_no_file_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="cannot write .*; give another folder"):
        Records(tmp_path / place, key, resume=True)


# Resuming.


def test_an_episode_with_a_reward_is_not_played_again_and_a_void_one_is(play: Play, out: Path, task: Task) -> None:
    first = play(many(task, 4), Player("t1", "t3"))
    assert [result.reward for result in first] == [1.0, None, 1.0, None]
    player = Player("t3")
    second = play(many(task, 4), player, resume=True)
    assert sorted(player.asked) == ["t1", "t3"]
    assert [second[0], second[2]] == [first[0], first[2]]
    assert [result.reward for result in second] == [1.0, 1.0, 1.0, None]
    rows = lines(out / "results.jsonl")
    assert {row["instance_id"]: row for row in rows} == {result.instance_id: result.row() for result in second}
    assert len(rows) == 4


def test_nothing_is_left_to_play(play: Play, task: Task) -> None:
    first, player = play(many(task, 3), Player()), Player()
    assert play(many(task, 3), player, resume=True, deadline=0.001) == first
    assert not player.asked


def test_more_attempts_and_other_tasks_join_those_that_are_there(play: Play, out: Path, task: Task) -> None:
    play(many(task, 2), Player(), n=2)
    player = Player()
    results = play(many(task, 3)[1:], player, n=3, resume=True)
    assert sorted(player.asked) == ["t1", "t2", "t2", "t2"]
    assert [(result.instance_id, result.attempt) for result in results] == [
        (name, attempt) for name in ("t1", "t2") for attempt in range(3)
    ]
    rows = lines(out / "results.jsonl")
    assert sorted((row["instance_id"], row["attempt"]) for row in rows) == [
        *(("t0", attempt) for attempt in range(2)),
        *((name, attempt) for name in ("t1", "t2") for attempt in range(3)),
    ]


def test_a_torn_result_is_played_again(play: Play, out: Path, task: Task) -> None:
    play(many(task, 3), Player(), concurrency=1, scorers=1)
    path = out / "results.jsonl"
    lost = lines(path)[-1]["instance_id"]
    path.write_bytes(path.read_bytes()[:-40])
    player = Player()
    assert [result.reward for result in play(many(task, 3), player, resume=True)] == [1.0] * 3
    assert player.asked == [lost]
    assert len(lines(path)) == 3


def test_results_are_refused_unless_they_are_resumed_and_so_are_those_of_a_stranger(
    play: Play, out: Path, task: Task
) -> None:
    play([task], Player())
    before, player = (out / "results.jsonl").read_bytes(), Player()
    with pytest.raises(ConfigError, match="holds 1 results of an earlier run; resume it"):
        play([task], player)
    assert (out / "results.jsonl").read_bytes() == before
    (out / "results.jsonl").write_text('{"instance_id": "sums-1", "attempt": 0, "reward": 1.0}\n')
    with pytest.raises(TrajectoryError, match="a row of results has no stop, steps"):
        play([task], player, resume=True)
    assert not player.asked


# Ctrl-C, in this process.


@pytest.mark.parametrize("presses", [1, 2])
def test_one_interrupt_finishes_what_runs_and_a_second_one_drops_it(
    play: Play, out: Path, task: Task, capsys: pytest.CaptureFixture[str], presses: int
) -> None:
    """The policy presses; it goes on when the first press was heard, and after a second one only when all is over."""
    over = threading.Event()

    def policy(messages: Sequence[Message], tools: Any) -> Reply:
        os.kill(os.getpid(), signal.SIGINT)
        until(lambda: "interrupted: finishing the episodes that run" in capsys.readouterr().err)
        if presses > 1:
            os.kill(os.getpid(), signal.SIGINT)
            over.wait(LONG)
        return Reply(assistant("done"))

    heed = signal.getsignal(signal.SIGINT)
    assert heed is signal.default_int_handler
    with pytest.raises(Interrupted) as caught:
        play(many(task, 5), policy, concurrency=1, progress=True)
    finished = ["t0"] if presses == 1 else []
    assert [result.instance_id for result in caught.value.results] == finished
    assert [row["instance_id"] for row in lines(out / "results.jsonl")] == finished
    assert signal.getsignal(signal.SIGINT) is heed
    over.set()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("nano-codex-rollout")])
    player = Player()
    assert [result.reward for result in play(many(task, 5), player, resume=True)] == [1.0] * 5
    assert len(player.asked) == 5 - len(finished)


def test_a_handler_of_ones_own_keeps_the_interrupts(play: Play, task: Task) -> None:
    heard: list[int] = []

    def policy(messages: Sequence[Message], tools: Any) -> Reply:
        os.kill(os.getpid(), signal.SIGINT)
        until(lambda: heard)
        return Reply(assistant("done"))

    old = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        assert [result.reward for result in play(many(task, 2), policy)] == [1.0, 1.0]
    finally:
        signal.signal(signal.SIGINT, old)


# The command: killed, interrupted, resumed.


class Run:
    """`nano-codex run` in a process of its own, over tasks and policy of the test's folder."""

    def __init__(self, folder: Path, *argv: str, policy: str = "waiting:policy") -> None:
        self.folder, self.results = folder, folder / "out" / "results.jsonl"
        command = [str(Path(sys.executable).with_name("nano-codex")), "run", "--tasks", "tasks.jsonl"]
        command += ["--policy", policy, "--reward", "similarity", "--out", "out", *argv]
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )

    def asked(self, name: str) -> bool:
        return (self.folder / f"asked-{name}").exists()

    def hears(self, words: str) -> None:
        """Wait until it says so on stderr."""
        assert self.process.stderr
        for line in self.process.stderr:
            if words in line:
                return
        raise AssertionError(f"it ended without {words!r}")

    def ends(self) -> tuple[int, str, str]:
        said, complaint = self.process.communicate(timeout=LONG)
        return self.process.returncode, said, complaint


@pytest.fixture
def begin(task: Task, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Begins a run; what a test leaves of it is killed."""
    (tmp_path / "waiting.py").write_text(WAITING)
    runs: list[Run] = []

    def go(*argv: str, **options: str) -> Run:
        runs.append(Run(tmp_path, *argv, **options))
        return runs[-1]

    yield go
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
        run.process.communicate()


def test_ctrl_c_finishes_what_runs_starts_no_other_and_a_resumed_run_does_the_rest(
    begin: Callable[..., Run], task: Task, tmp_path: Path
) -> None:
    save_tasks(many(task, 6), tmp_path / "tasks.jsonl")
    run = begin("--concurrency", "2", "--json")
    until(lambda: run.asked("t0") and run.asked("t1"))
    run.process.send_signal(signal.SIGINT)
    run.hears("interrupted: finishing the episodes that run; Ctrl-C again drops them")
    (tmp_path / "go").touch()
    code, said, complaint = run.ends()
    assert code == 130
    assert [row["instance_id"] for row in json.loads(said)["results"]] == ["t0", "t1"]
    assert "interrupted; go on with: --out out --resume" in complaint
    assert not run.asked("t2")
    kept = {row["instance_id"]: row for row in lines(run.results)}
    assert sorted(kept) == ["t0", "t1"]
    code, said, _ = begin("--resume", "--json").ends()
    results = {row["instance_id"]: row for row in json.loads(said)["results"]}
    assert (code, len(results)) == (0, 6)
    assert kept.items() <= results.items()


def test_a_second_ctrl_c_drops_what_runs(begin: Callable[..., Run], task: Task, tmp_path: Path) -> None:
    save_tasks(many(task, 3), tmp_path / "tasks.jsonl")
    (tmp_path / "go-t0").touch()
    run = begin("--concurrency", "2")
    until(lambda: run.asked("t1") and run.asked("t2") and len(lines(run.results)) == 1)
    run.process.send_signal(signal.SIGINT)
    run.hears("Ctrl-C again drops them")
    run.process.send_signal(signal.SIGINT)
    code, said, complaint = run.ends()
    assert (code, complaint) == (130, "nano-codex: interrupted; go on with: --out out --resume\n")
    assert "1 episodes, mean reward 0.000, 0 void" in said
    assert [row["instance_id"] for row in lines(run.results)] == ["t0"]
    (tmp_path / "go").touch()
    assert begin("--resume").ends()[0] == 0
    assert len(lines(run.results)) == 3


def test_a_run_of_200_episodes_killed_twice_comes_to_200_results(
    begin: Callable[..., Run], task: Task, tmp_path: Path
) -> None:
    save_tasks(many(task, 100), tmp_path / "tasks.jsonl")
    kept: list[Row] = []
    for number in (30, 100):
        run = begin(*(["--resume"] if kept else []), "-n", "2", "--concurrency", "4", policy="idle")
        until(lambda: len(lines(run.results)) >= number)  # noqa: B023 (called before the next turn)
        run.process.kill()
        assert run.ends()[0] == -signal.SIGKILL
        rows = lines(run.results)
        assert 200 > len(rows) >= number
        assert [row for row in rows if row in kept] == kept
        kept = rows
    code, said, complaint = begin("--resume", "-n", "2", "--concurrency", "4", "--json", policy="idle").ends()
    assert (code, complaint) == (0, "")
    results, rows = json.loads(said)["results"], lines(run.results)
    assert len(results) == len(rows) == 200
    assert len({(row["instance_id"], row["attempt"]) for row in rows}) == 200
    assert [(row["instance_id"], row["attempt"]) for row in results] == [
        (f"t{i}", j) for i in range(100) for j in (0, 1)
    ]
    assert rows[: len(kept)] == kept
    assert all(row["reward"] == 0.0 for row in rows)
