"""What is finished is kept and never done twice: the file of records, resuming, Ctrl-C, killed processes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import Oracle, Reply, Task, from_function, save_tasks
from nano_codex_env.errors import ConfigError, NanoCodexError, TrajectoryError
from nano_codex_env.messages import Message, assistant
from nano_codex_env.records.result import EpisodeResult
from nano_codex_env.records.rows import RowFile
from nano_codex_env.runs.rollouts import Interrupted, rollouts
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.tools.prompt import SYSTEM_PROMPT

LONG = 60.0  # seconds to wait for an event before the test fails

WAITING = '''
import time
from itertools import count
from pathlib import Path

from nano_codex_env import Reply
from nano_codex_env.messages import assistant


def policy(messages, tools):
    """Answers about a task once the file `go` or `go-TASK` is there."""
    name = messages[1]["content"].split()[0]
    Path(f"asked-{name}").touch()
    while not (Path("go").exists() or Path(f"go-{name}").exists()):
        time.sleep(0.005)
    return Reply(assistant("done"))


_asked = count()


def limited(messages, tools):
    """Answers as often as the file `limit` says, then never again."""
    while next(_asked) >= int(Path("limit").read_text()):
        time.sleep(3600)
    return Reply(assistant("done"))
'''

Play = Callable[..., list[EpisodeResult]]
Row = dict[str, Any]


def until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < limit, "what was waited for did not happen"
        time.sleep(0.005)


def key(row: Row) -> Any:
    return row.get("name")


def lines(path: Path) -> list[Row]:
    """The complete lines of a file."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def many(task: Task, number: int) -> list[Task]:
    return [task.with_(instance_id=f"t{i}", problem_statement=f"t{i} is wrong") for i in range(number)]


class Player:
    """A policy that records the tasks it is asked about, and raises for those named in `ill`."""

    def __init__(self, *ill: str) -> None:
        self.asked: list[str] = []
        self._ill = ill

    def __call__(self, messages: Sequence[Message], tools: Any) -> Reply:
        name = str(messages[1]["content"]).split()[0]
        self.asked.append(name)
        if name in self._ill:
            raise ValueError("ill")
        return Reply(assistant("done"))


@pytest.fixture(autouse=True)
def _interrupts_are_heard() -> Iterator[None]:
    """A shell starts background jobs with SIGINT ignored, and their children inherit that."""
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, old)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def play(sandbox: Sandbox, out: Path) -> Play:
    def go(tasks: Any, policy: Any, **options: Any) -> list[EpisodeResult]:
        one = from_function(lambda task, transcript, diff: 1.0)
        return rollouts(tasks, policy, **{"reward": one, "sandbox": sandbox, "out": out, **options})

    return go


# The file of records.


def test_a_row_is_on_disk_when_it_is_added(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    with RowFile(path, key, resume=False) as records:
        for name in ("a", "b", "\udce9 é"):
            records.add({"name": name, "n": 1})
            assert lines(path)[-1] == {"name": name, "n": 1}
    assert path.read_bytes().isascii()
    assert list(records.rows) == ["a", "b", "\udce9 é"]
    assert [file.name for file in path.parent.iterdir()] == ["rows.jsonl"]


def test_what_is_torn_or_no_row_is_dropped_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"name": "a"}\n\n[1]\nnull\n\xff\xfe\n{"name": \n{"name": "b"}\n{"name": "c", "n": 1')
    with RowFile(path, key, resume=True) as records:
        assert list(records.rows) == ["a", "b"]
        assert path.read_text() == '{"name": "a"}\n{"name": "b"}\n'
        records.add({"name": "c"})
    assert [row["name"] for row in lines(path)] == ["a", "b", "c"]


def test_the_last_row_of_a_name_stands_for_it_and_the_others_go(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"name": "a", "n": 1}\n{"name": "b", "n": 1}\n{"name": "a", "n": 2}\n')
    with RowFile(path, key, resume=True) as records:
        assert lines(path) == [{"name": "a", "n": 2}, {"name": "b", "n": 1}]
        records.add({"name": "b", "n": 2})
        assert len(lines(path)) == 3
    assert lines(path) == [{"name": "a", "n": 2}, {"name": "b", "n": 2}]


def test_rows_are_not_touched_unless_they_are_resumed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"name": "a"}\n{"name": "a"}\n{"na')
    with pytest.raises(ConfigError, match="of an earlier run; resume it, or give another folder"):
        RowFile(path, key, resume=False)
    assert path.read_bytes() == b'{"name": "a"}\n{"name": "a"}\n{"na'


def test_a_second_writer_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with RowFile(path, key, resume=False) as first:
        first.add({"name": "a"})
        for resume in (True, False):
            with pytest.raises(ConfigError, match=r"another process is writing .*rows.jsonl; wait for it"):
                RowFile(path, key, resume=resume)
        first.add({"name": "b"})
    with RowFile(path, key, resume=True) as second:
        assert list(second.rows) == ["a", "b"]


@pytest.mark.parametrize(("owner", "name"), [(fcntl, "flock"), (Path, "replace")], ids=["locking", "replacing"])
def test_two_that_begin_at_one_moment_do_not_both_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    """The second comes when the first has opened the file and is about to lock it, or to replace it."""
    path, call, writers = tmp_path / "rows.jsonl", getattr(owner, name), list[RowFile]()

    def begin() -> None:
        with suppress(ConfigError):
            writers.append(RowFile(path, key, resume=True))

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.undo()
        begin()
        return call(*arguments)

    monkeypatch.setattr(owner, name, overtaken)
    begin()
    [writer] = writers
    with writer:
        writer.add({"name": "a"})
    assert lines(path) == [{"name": "a"}]


def test_a_row_that_the_disk_takes_in_pieces_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with RowFile(tmp_path / "rows.jsonl", key, resume=False) as records, monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: write(handle, data[:3]))
        records.add({"name": "a long one"})
    assert lines(tmp_path / "rows.jsonl") == [{"name": "a long one"}]


def full(*arguments: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_and_what_was_there_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    with RowFile(path, key, resume=False) as records:
        records.add({"name": "a"})
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(TrajectoryError, match=r"cannot write .*rows\.jsonl: .*No space left"):
            records.add({"name": "b"})
        monkeypatch.undo()
        assert list(records.rows) == ["a"]
    assert lines(path) == [{"name": "a"}]


def test_a_file_that_cannot_be_replaced_is_told_and_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"name": "a"}\n{"na')
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(NanoCodexError, match="No space left"):
        RowFile(path, key, resume=True)
    assert path.read_text() == '{"name": "a"}\n{"na'
    monkeypatch.undo()
    again = threading.Thread(target=lambda: RowFile(path, key, resume=True).close(), daemon=True)
    again.start()
    again.join(LONG)  # not for ever, where a lock is left behind
    assert path.read_text() == '{"name": "a"}\n'


def test_a_closed_file_takes_no_more(tmp_path: Path) -> None:
    records = RowFile(tmp_path / "rows.jsonl", key, resume=False)
    records.close()
    records.close()
    with pytest.raises(TrajectoryError, match="is closed"):
        records.add({"name": "a"})


@pytest.mark.parametrize("place", ["file/rows.jsonl", "folder"])
def test_a_place_that_takes_no_file_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match=r"cannot write .*; give another folder"):
        RowFile(tmp_path / place, key, resume=True)


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
    names = [f"{row['instance_id']} {row['attempt']}" for row in rows]
    assert sorted(names) == ["t0 0", "t0 1", "t1 0", "t1 1", "t1 2", "t2 0", "t2 1", "t2 2"]


def test_results_are_refused_unless_they_are_resumed_and_so_are_those_of_a_stranger(
    play: Play, out: Path, task: Task
) -> None:
    play([task], Player())
    before, player = (out / "results.jsonl").read_bytes(), Player()
    with pytest.raises(ConfigError, match="of an earlier run; resume it"):
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
    """The policy sends SIGINT; after a second one it waits until `rollouts` has returned."""
    over, pressed = threading.Event(), list[int]()

    def policy(messages: Sequence[Message], tools: Any) -> Reply:
        for press in range(0 if pressed else presses):
            pressed.append(press)
            os.kill(os.getpid(), signal.SIGINT)
            until(lambda: "interrupted: finishing the episodes that run" in capsys.readouterr().err or press)  # noqa: B023
        over.wait(LONG if presses > 1 else 0)
        return Reply(assistant("done"))

    with pytest.raises(Interrupted) as caught:
        play(many(task, 5), policy, concurrency=1, progress=True)
    finished = ["t0"] if presses == 1 else []
    assert [result.instance_id for result in caught.value.results] == finished
    assert [row["instance_id"] for row in lines(out / "results.jsonl")] == finished
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
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

    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    assert [result.reward for result in play(many(task, 2), policy)] == [1.0, 1.0]


# The command: killed, interrupted, resumed.


class Run:
    """`nano-codex run` in a process of its own, over tasks and policy of the test's folder."""

    def __init__(self, folder: Path, *argv: str, policy: str = "waiting:policy", stderr: int = subprocess.PIPE) -> None:
        self.folder, self.results = folder, folder / "out" / "results.jsonl"
        command = [str(Path(sys.executable).with_name("nano-codex")), "run", "--tasks", "tasks.jsonl"]
        command += ["--policy", policy, "--reward", "similarity", "--out", "out", *argv]
        size = {"TERM": "xterm", "COLUMNS": "160"}
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=stderr, text=True, bufsize=1, env={**os.environ, **size}
        )

    def asked(self, name: str) -> bool:
        return (self.folder / f"asked-{name}").exists()

    def hears(self, words: str) -> None:
        """Wait until it says so on stderr."""
        bound = threading.Timer(LONG, self.process.kill)
        bound.start()
        assert self.process.stderr
        assert any(words in line for line in self.process.stderr)
        bound.cancel()

    def ends(self) -> tuple[int, str, str]:
        said, complaint = self.process.communicate(timeout=LONG)
        return self.process.returncode, said, complaint


@pytest.fixture
def begin(task: Task, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Starts runs, and kills those that a test leaves running."""
    (tmp_path / "waiting.py").write_text(WAITING)
    runs: list[Run] = []

    def go(*argv: str, **options: Any) -> Run:
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
    code, said, _ = begin("--resume", "--json").ends()
    results = {row["instance_id"]: row for row in json.loads(said)["results"]}
    assert (code, len(kept), len(results)) == (0, 2, 6)
    assert kept.items() <= results.items()


def test_a_run_of_200_episodes_killed_twice_comes_to_200_results(
    begin: Callable[..., Run], task: Task, tmp_path: Path
) -> None:
    """Each process is killed while it writes results; its policy hangs before it could finish."""
    save_tasks(many(task, 100), tmp_path / "tasks.jsonl")
    argv = ("-n", "2", "--concurrency", "4")
    kept: list[Row] = []
    for number in (30, 100):
        (tmp_path / "limit").write_text(str(number + 40 - len(kept)))
        run = begin(*argv, *(["--resume"] if kept else []), policy="waiting:limited")
        until(lambda: len(lines(run.results)) >= number)  # noqa: B023 (called before the next turn)
        run.process.kill()
        assert run.ends()[0] == -signal.SIGKILL
        rows = lines(run.results)
        assert number <= len(rows) <= number + 40
        assert rows[: len(kept)] == kept
        kept = rows
    (tmp_path / "limit").write_text(str(200 - len(kept)))
    code, said, complaint = begin(*argv, "--resume", "--json", policy="waiting:limited").ends()
    assert (code, complaint) == (0, "")
    results, rows = json.loads(said)["results"], lines(run.results)
    names = [(f"t{i}", attempt) for i in range(100) for attempt in range(2)]
    assert [(row["instance_id"], row["attempt"]) for row in results] == names
    assert sorted((row["instance_id"], row["attempt"]) for row in rows) == sorted(names)
    assert rows[: len(kept)] == kept
    assert all(row["reward"] == 0.0 for row in rows)


def test_on_a_terminal_a_bar_tells_how_far_it_is_and_stdout_stays_pure(
    begin: Callable[..., Run], task: Task, tmp_path: Path
) -> None:
    save_tasks([*many(task, 2), task.with_(repo="/nowhere")], tmp_path / "tasks.jsonl")
    terminal, end = pty.openpty()
    seen = bytearray()
    thread = threading.Thread(target=_read_all, args=(terminal, seen))
    thread.start()
    try:
        code, said, _ = begin("--json", policy="idle", stderr=end).ends()
    finally:
        os.close(end)
        thread.join(LONG)
        os.close(terminal)
    assert code == 1
    assert len(json.loads(said)["results"]) == 3
    shown = seen.decode()
    assert "\x1b[" in shown
    assert "3/3" in shown
    assert re.search(r"mean reward 0\.000, 1 void, \d+\.\d/min", shown)
    assert "sums-1 (attempt 0) is void: WorkspaceError: there is no folder /nowhere" in shown


def _read_all(terminal: int, seen: bytearray) -> None:
    try:  # that nobody has the other end any more, a terminal tells by an error
        while piece := os.read(terminal, 65536):
            seen.extend(piece)
    except OSError:
        return


def test_rewards_of_two_versions_of_a_scorer_are_not_mixed(task: Task, tmp_path: Path) -> None:
    first = rollouts(task, Oracle([task]), out=tmp_path, n=1)
    assert first[0].scorer == "resolved 2"
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    for earlier, words in (({"scorer": "resolved 1"}, "resolved 1"), ({}, "an earlier version")):
        old = [{key: value for key, value in row.items() if key != "scorer"} | earlier for row in rows]
        (tmp_path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in old))
        assert EpisodeResult.from_row(old[0]).reward == 1.0
        with pytest.raises(ConfigError, match=f"the folder holds rewards by {words}, this is resolved 2"):
            rollouts(task, Oracle([task]), out=tmp_path, n=2, resume=True)


def test_episodes_with_two_system_prompts_are_not_mixed(play: Play, out: Path, task: Task) -> None:
    [first] = play([task], Player(), system_prompt="Be brief.")
    player = Player()
    for prompt in ({}, {"system_prompt": "Be long."}):
        with pytest.raises(ConfigError, match=r"out holds episodes with another system prompt; give the same"):
            play([task], player, n=2, resume=True, **prompt)
    assert play([task], player, n=2, resume=True, system_prompt="Be brief.")[0] == first
    assert len(player.asked) == 1
    assert first.folder
    Path(first.folder, "metadata.json").write_text("{")  # what is damaged tells nothing
    play([task], player, n=2, resume=True)


def test_a_system_prompt_that_is_the_default_is_no_other_one(play: Play, task: Task) -> None:
    play([task], Player())
    assert len(play([task], Player(), n=2, resume=True, system_prompt=SYSTEM_PROMPT)) == 2
