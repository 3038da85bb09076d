"""Shards: an episode on a line is the episode in its folder, in neither place never, and each process has its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from nano_codex_env import (
    Agent,
    Idle,
    NanoCodexEnv,
    Oracle,
    Scripted,
    Task,
    Trajectory,
    from_function,
    load_tasks,
    rollouts,
)
from nano_codex_env.cli import main
from nano_codex_env.errors import ConfigError, TrajectoryError
from nano_codex_env.messages import dumps
from nano_codex_env.records.packing import pack
from nano_codex_env.records.reader import episode_folders, existing_episodes, read_runs
from nano_codex_env.records.trajectory import LogWriter
from nano_codex_env.tools import ToolContext
from nano_codex_env.untrusted import read_lines
from tests.records.logs import FIX, as_line, record
from tests.server import completion, serve

HALF = from_function(lambda task, transcript, diff: 0.5)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def content(path: str | Path | None) -> dict[str, Any]:
    """What a log holds, wherever it is."""
    return {**vars(Trajectory.load(str(path))), "folder": None}


def odd(log_dir: Path, name: str) -> Path:
    """A log of a kind that shards may hold."""
    if name == "finished":
        return record(log_dir)
    log = LogWriter(
        log_dir, [{"function": {"z": 1, "name": "a"}}], {"task": {"x": [float("nan"), 1e400, -0.0, 10**400]}}
    )
    if name == "any text":
        for text in ("\ud83d", "\ude00", "\ud83d\ude00", "\0\x7f\x85\u2028", "é😀"):
            log.append(dumps({"role": "user", "content": text, text: [text], "": None}))
        log.add("stats.json", {"\udcff": 1.0})
        log.finish(b"+\xff\r\n\xed\xa0\xbd\xed\xb8\x80\0\n".decode("utf-8", "surrogateescape"), {"void": "\udc80"})
    log.close()  # and otherwise it was killed, or left before its end
    return log.folder


@pytest.mark.parametrize("name", ["finished", "any text", "unfinished"])
def test_an_episode_in_a_shard_is_that_of_its_folder(tmp_path: Path, name: str) -> None:
    folder = odd(tmp_path, name)
    shutil.copytree(folder, tmp_path / "copy")
    place = pack(folder)
    assert (place.name, place.parent.parent, folder.exists()) == (folder.name, tmp_path, False)
    assert repr(content(place)) == repr(content(tmp_path / "copy"))  # nan is not itself
    assert Trajectory.load(folder).folder == place  # whoever noted the folder finds the episode
    folder.mkdir()  # or what is left of it
    assert Trajectory.load(folder).folder == place
    assert [episode.name for episode in read_runs([folder, place])] == [place.name]
    folder.rmdir()
    assert json.loads(place.parent.read_text())["episode"] == folder.name
    again = tmp_path / folder.name
    again.mkdir()
    for key, value in json.loads(place.parent.read_text()).items():  # as the docs say how to restore a file
        if key == "diff":
            (again / "diff.patch").write_bytes(value.encode("utf-8", "surrogateescape"))
        elif key in ("messages", "tokens"):
            (again / f"{key}.jsonl").write_text("".join(dumps(item) + "\n" for item in value))
        elif key != "episode":
            (again / key).with_suffix(".json").write_text(json.dumps(value, indent=2) + "\n")
    assert files_of(again) == files_of(tmp_path / "copy")


# What stays a folder.


def fails_after(count: int, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full after `count` bytes of a shard."""
    real = os.write

    def write(handle: int, data: Any) -> int:
        if os.readlink(f"/proc/self/fd/{handle}").endswith(".jsonl") and len(data) > count:
            if where == "write":
                real(handle, data[:count])
            raise OSError(28, "No space left on device")
        return real(handle, data)

    monkeypatch.setattr("os.write", write)


def torn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (folder / "messages.jsonl").open("a") as file:
        file.write('{"role": "us')


def long(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nano_codex_env.records.packing.LINE_LIMIT", 1000)


def grows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short enough as a folder, but not as a line: each byte of the diff takes six."""
    (folder / "diff.patch").write_bytes(b"\xff" * (11 << 20))


def full(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_after(100, "write", monkeypatch)


def linked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "more.json").symlink_to("/etc/passwd")


def no_json(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "notes.txt").write_text("mine")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (torn, "the last line of messages.jsonl is torn"),
        (long, "it is larger than"),
        pytest.param(grows, "it is longer than 64 MiB", marks=pytest.mark.slow),
        (full, "No space left on device"),
        (linked, "it is a link to /etc/passwd"),
        (no_json, "Expecting value"),
    ],
)
def test_an_episode_that_a_shard_cannot_hold_stays_a_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[Path, pytest.MonkeyPatch], None],
    words: str,
) -> None:
    first = pack(record(tmp_path))
    folders = [record(tmp_path), record(tmp_path)]
    with monkeypatch.context() as patch:
        for folder in folders:
            change(folder, patch)
            there = files_of(folder)
            assert pack(folder) == folder
            assert files_of(folder) == there
    assert [record.getMessage() for record in caplog.records if words in record.getMessage()] == [
        record.getMessage() for record in caplog.records
    ]
    assert len(caplog.records) == 1
    assert caplog.text.count("an episode's log stays a folder: ") == 1
    last = pack(record(tmp_path))
    assert first.parent == last.parent  # it is whole: what was half written was taken back
    assert first.parent.read_bytes().count(b"\n") == 2
    assert list(episode_folders([tmp_path])) == sorted([first, *folders, last], key=lambda path: path.name)


def test_after_half_a_line_that_cannot_be_taken_back_there_is_another_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, ill = pack(record(tmp_path)), record(tmp_path)
    with monkeypatch.context() as patch:
        fails_after(100, "write", patch)
        patch.setattr("os.ftruncate", lambda *arguments: os.write(1 << 20, b""))  # fails as well
        assert pack(ill) == ill
    last = pack(record(tmp_path))
    assert last.parent != first.parent
    assert list(episode_folders([tmp_path])) == [first, ill, last]
    assert [content(path)["metadata"]["stop"] for path in episode_folders([tmp_path])] == ["submitted"] * 3


def test_a_folder_that_cannot_be_removed_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = record(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("os.rmdir", lambda *arguments, **named: os.write(1 << 20, b""))
        patch.setattr("os.unlink", lambda *arguments, **named: os.write(1 << 20, b""))
        place = pack(folder)
    assert (folder / "messages.jsonl").exists()
    assert list(episode_folders([tmp_path])) == [place]
    assert [episode.folder for episode in read_runs([tmp_path, folder])] == [place]


def test_an_interrupted_packing_leaves_one_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogWriter(tmp_path, [], {}, log="shard")

    def interrupt(folder: Path) -> None:
        (folder / "messages.jsonl").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", interrupt)
    with pytest.raises(KeyboardInterrupt):
        log.pack()
    log.pack()
    [place] = episode_folders([tmp_path])
    assert (place.name, Trajectory.load(log.folder).folder) == (log.folder.name, place)


# Whose shard it is.

PACKS = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from nano_codex_env.records.packing import pack
from nano_codex_env.records.trajectory import LogWriter
from nano_codex_env.tools import ToolContext
from tests.records.logs import record

log = LogWriter(Path("log"), [], {}, log="shard")
begun = log.folder

def some(count):
    with ThreadPoolExecutor(4) as pool:
        print(*pool.map(lambda number: pack(record(Path("log"))), range(count)), sep="\\n", flush=True)

some(5)
if child := os.fork():
    some(4)
    status = os.waitpid(child, 0)[1]
    log.append('{"role": "user", "content": "after the child"}')
    log.pack()
    print(log.folder)
    sys.exit(status)
some(5)
log.pack()  # it is the parent's
os._exit(0 if begun == log.folder and begun.is_dir() else 1)
"""


@pytest.mark.slow
def test_each_process_has_a_shard_and_its_threads_share_it(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", PACKS]
    running = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=env) for _ in range(2)]
    said = [process.communicate(timeout=60)[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    places = [tmp_path / place for places in said for place in places]
    assert len(set(places)) == 30
    assert [len({Path(place).parent for place in places}) for places in said] == [2, 2]
    assert len({place.parent for place in places}) == 4
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == sorted(
        {".gitignore", *(place.parent.name for place in places)}
    )
    assert set(episode_folders([Path(tmp_path, "log")])) == set(places)
    assert len(read_runs([tmp_path / "log"])) == 30
    assert [content(tmp_path / said[-1])["messages"][-1]["content"] for said in said] == ["after the child"] * 2


def test_a_folder_of_logs_may_be_called_otherwise_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    places = [pack(record(Path("log")))]
    (tmp_path / "elsewhere" / "log").mkdir(parents=True)
    monkeypatch.chdir("elsewhere")
    places += [pack(record(tmp_path / "log")), pack(record(Path("../log"))), pack(record(Path("log")))]
    assert [place.parents[1] for place in places] == [Path("log"), tmp_path / "log", Path("../log"), Path("log")]
    assert len({place.parent.name for place in places}) == 2
    assert [content(place)["metadata"]["reward"] for place in places[1:]] == [1.0] * 3


def test_a_shard_ends_before_it_is_too_large_and_one_that_is_gone_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pack(record(tmp_path))
    size = first.parent.stat().st_size
    monkeypatch.setattr("nano_codex_env.records.packing.SHARD_LIMIT", 3 * size + 100)
    places = [first, *(pack(record(tmp_path)) for _ in range(6))]
    files = [place.parent for place in places]
    assert [files.count(file) for file in dict.fromkeys(files)] == [3, 3, 1]
    files[-1].unlink()
    assert pack(record(tmp_path)).parent not in files
    assert len(list(episode_folders([tmp_path]))) == 7


# What readers take.


def test_a_run_has_folders_and_shards_and_each_episode_once(tmp_path: Path) -> None:
    run = tmp_path / "run"
    folder, both, torn = record(run, 0, 0.0), record(run, 1), record(run, 2)
    only = record(run, 3)
    whole, half = as_line(both), as_line(torn)[:-30]
    shard = run / "episodes-1.jsonl"
    shard.write_bytes(as_line(only) + b'{"episode": "cut", "metadata": \n' + b"?\n" + whole + half)
    shutil.rmtree(only)
    (run / "episodes-2.jsonl").mkdir()
    paths = [folder, shard / both.name, torn, shard / only.name, shard / "cut", shard / "line-3"]
    assert list(episode_folders([run])) == paths
    assert list(episode_folders([shard])) == [paths[3], paths[4], paths[5], paths[1]]
    assert list(episode_folders([paths[1], folder])) == [paths[1], folder]
    found = {episode.folder: episode for episode in read_runs([run, shard, both])}
    assert {path: episode.reward for path, episode in found.items()} == dict(
        zip(paths, [0.0, 1.0, 1.0, 1.0, None, None], strict=True)
    )
    assert f"{shard}, line 2 is damaged: Expecting value" in str(found[paths[4]].damage)
    assert f"{shard}, line 3 is damaged: Expecting value" in str(found[paths[5]].damage)
    shutil.rmtree(torn)  # now its line is all there is
    assert shard / torn.name in episode_folders([run])
    with pytest.raises(TrajectoryError, match=r"episodes-1.jsonl, line 5 is damaged: "):
        Trajectory.load(shard / torn.name)
    row = {"folder": f"/elsewhere/run/episodes-1.jsonl/{only.name}"}
    (run / "results.jsonl").write_text(json.dumps(row) + "\n")
    assert list(episode_folders([run])) == [shard / only.name, shard / "line-3"]


def test_a_line_is_read_however_another_program_wrote_it(tmp_path: Path) -> None:
    lines = [json.loads(as_line(record(tmp_path / "run", number))) for number in range(2)]
    wholes = [content(tmp_path / "run" / line["episode"]) for line in lines]
    shard = tmp_path / "mine.jsonl"
    sorted_keys = json.dumps(lines[0], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    tools = json.dumps({"stats.json": None, **lines[1], "episode": "é\n.x"})
    shard.write_text(sorted_keys + "\n" + tools, encoding="utf-8")  # and the last one has no end
    names = [path.name for path in episode_folders([shard])]
    assert names == [lines[0]["episode"], "é\n.x"]
    first, second = (content(shard / name) for name in names)
    assert second == wholes[1]
    assert {**first, "tools": None} == {**wholes[0], "tools": None}
    assert [episode.reward for episode in read_runs([shard])] == [1.0, 1.0]


def sparse(shard: Path) -> None:
    shard.touch()
    os.truncate(shard, (1 << 30) + 1)


def link(shard: Path) -> None:
    target = shard.parents[1] / "private"
    target.write_bytes(as_line(record(shard.parents[1] / "other")))
    shard.symlink_to(target)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkfifo, "it is a named pipe, not a regular file"),
        (sparse, "it holds more than 1024 MiB"),
        (link, "it is a link to .*private, outside of the log"),
        (lambda shard: shard.write_bytes(b"\n" * 7), "it holds more than 5 lines"),
        (
            lambda shard: shard.write_text('{"reward": 1.0}\n' * 3),
            "line 1 is damaged: its key 'episode' must be the name",
        ),
        (lambda shard: shard.write_text('{"episode": "../x"}\n'), "must be the name of a folder; got '../x'"),
        (lambda shard: shard.write_text('{"episode": ".."}\n'), "must be the name of a folder; got '..'"),
        (lambda shard: shard.write_text('{"episode": "\\ud800"}\n'), "surrogates not allowed"),
        (lambda shard: shard.write_bytes(b"\xff\n"), "line 1 is damaged"),
    ],
)
def test_what_is_no_shard_is_one_damaged_episode_of_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object], words: str
) -> None:
    monkeypatch.setattr("nano_codex_env.records.shards.MAX_LINES", 5)
    fine = record(tmp_path / "run")
    shard = tmp_path / "run" / "episodes-0.jsonl"
    make(shard)
    assert list(episode_folders([tmp_path / "run"])) == [fine, shard]
    for path in (shard, shard / "x"):
        with pytest.raises(TrajectoryError, match=words) as caught:
            Trajectory.load(path)
        assert str(shard) in str(caught.value)
    found = read_runs([tmp_path / "run"])
    assert [(episode.reward, bool(episode.damage)) for episode in found] == [(None, True), (1.0, False)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"episode": "a", "messages": {}, "tools": []}', "a/messages.jsonl: it must be a list; got dict"),
        ('{"episode": "a", "messages": [], "tools": []}', "a/metadata.json: .*No such file"),
        ('{"episode": "a", "messages": [], "tools": [], "metadata": {}, "diff": 5}', "a/diff.patch: it must be text"),
        (
            '{"episode": "a", "messages": [], "metadata": {}, "diff": "\\ud800"}',
            "a/diff.patch: .*surrogates not allowed",
        ),
        (
            '{"episode": "a", "messages": [], "metadata": {}, "episode": "b"}',
            "line 1 is damaged: the key 'episode' is th",
        ),
        ('{"episode": "a"}\n{"episode": "a", "messages": []}', "a holds no messages.jsonl"),
        ('{"episode": "b"}', "0.jsonl holds no episode a"),
        ('{"episode": "b", "messages": []}\n{"episode": "c"}', "0.jsonl holds no episode a"),
    ],
)
def test_a_line_that_holds_something_else_is_refused_in_words(tmp_path: Path, line: str, words: str) -> None:
    shard = tmp_path / "episodes-0.jsonl"
    shard.write_text(line + "\n")
    with pytest.raises(TrajectoryError, match=words):
        Trajectory.load(shard / "a")


def test_an_episode_that_is_there_twice_counts_once_and_is_told(tmp_path: Path) -> None:
    line = as_line(record(tmp_path / "run"))
    shard = tmp_path / "episodes-0.jsonl"
    shard.write_bytes(line * 2)
    [_, twice] = episode_folders([shard])
    with pytest.raises(TrajectoryError, match=r"line 2 is damaged: the episode .* is there twice"):
        Trajectory.load(twice)
    with pytest.raises(TrajectoryError, match=r"holds 2 episodes; name one of them, such as .*episodes-0.jsonl/2"):
        Trajectory.load(shard)


@pytest.mark.parametrize("content", ["", '{"episode": "a", "mess'])
def test_a_shard_without_an_episode_is_told_and_hides_no_other(tmp_path: Path, content: str) -> None:
    """Its process was killed before its first line had an end; while the episode's folder is there, that counts."""
    fine = record(tmp_path / "run")
    shard = tmp_path / "run" / "episodes-0.jsonl"
    shard.write_text(content.replace('"a"', f'"{fine.name}"'))
    assert list(episode_folders([tmp_path / "run"])) == [fine]
    with pytest.raises(TrajectoryError, match=r"episodes-0.jsonl holds 0 episodes"):
        existing_episodes([shard])
    [alone] = episode_folders([shard])
    with pytest.raises(TrajectoryError, match=r"episodes-0.jsonl holds 0 episodes"):
        Trajectory.load(alone)


def test_a_shard_that_grows_is_read_anew_and_one_that_does_not_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[BinaryIO] = []
    places = [pack(record(tmp_path)) for _ in range(3)]

    def counted(file: BinaryIO) -> Iterator[bytes]:
        reads.append(file)
        return read_lines(file)

    monkeypatch.setattr("nano_codex_env.records.shards.read_lines", counted)
    for _ in range(2):
        assert [content(place)["metadata"]["reward"] for place in places] == [1.0] * 3
    assert len(reads) == 1
    places.append(pack(record(tmp_path)))
    assert content(places[-1])["diff"].startswith("diff --git")
    assert len(reads) == 2


# Through the environment.


class Fails(Scripted):
    """Fails at the third task."""

    def __call__(self, messages: Any, tools: Any) -> Any:
        if "third" in str(messages):
            raise ZeroDivisionError("gone")
        return super().__call__(messages, tools)


def many(task: Task) -> list[Task]:
    return [task.with_(instance_id=name, problem_statement=name) for name in ("first", "second", "third")]


def test_a_run_in_shards_is_that_in_folders(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = {
        kind: rollouts(many(task), Fails([FIX]), n=2, out=kind, log=kind, reward=HALF, concurrency=3)
        for kind in ("folder", "shard")
    }
    assert len(list(Path("shard").iterdir())) == 3  # .gitignore, results.jsonl and one shard
    for one, other in zip(*runs.values(), strict=True):
        logs = [content(one.folder), content(other.folder)]
        times = [{key: log["metadata"].pop(key) for key in ("started", "seconds")} for log in logs]
        assert logs[0] == logs[1]
        assert all(times[1].values())
        assert one.void == other.void == logs[1]["metadata"].get("void")
    for kind in runs:
        assert main(["replay", kind]) == 0
        assert main(["score", kind, "--reward", "similarity", "--out", f"{kind}.scores.jsonl"]) == 1  # two are void
        main(["export", "sft", kind, "--min-reward", "0", "--out", f"{kind}.sft.jsonl"])
        main(["export", "preds", kind, "--out", f"{kind}.preds.jsonl"])
    capsys.readouterr()
    for name, rows in (("sft", 2), ("preds", 2), ("scores", 6)):
        made = [[json.loads(line) for line in Path(f"{kind}.{name}.jsonl").read_text().splitlines()] for kind in runs]
        for row in made[0] + made[1]:
            row.pop("episode", None)
            row.pop("folder", None)
        assert len(made[0]) == rows
        assert sorted(map(json.dumps, made[0])) == sorted(map(json.dumps, made[1]))
    Path("shard").rename("moved")
    with pytest.raises(ConfigError, match="moved holds episodes with another system prompt"):
        rollouts(many(task), Scripted([FIX]), n=2, out="moved", resume=True, reward=HALF, system_prompt="Be brief.")
    again = rollouts(many(task), Scripted([FIX]), n=2, out="moved", log="shard", resume=True, reward=HALF)
    assert [result.reward for result in again] == [0.5] * 6
    assert len(list(episode_folders([Path("moved")]))) == 6
    assert sum(path.suffix == ".jsonl" for path in Path("moved").iterdir()) == 3  # results and two shards


def log_of(env: NanoCodexEnv) -> LogWriter:
    assert env.episode.log
    return env.episode.log


def test_an_env_packs_what_is_over_and_what_is_left(task: Task, tmp_path: Path) -> None:
    with NanoCodexEnv(task, HALF, log="shard", log_dir=tmp_path / "log") as env:
        env.reset()
        log = log_of(env)
        assert (log.folder / "messages.jsonl").exists()
        env.step(FIX)
        [branch] = env.fork(1)
        with branch:
            branch.step({"role": "assistant", "content": "done"})
            packed = Trajectory.load(log_of(branch).folder)
        env.reset()
        second = log_of(env)
    assert packed.metadata["branched"]["from"] == log.folder.name
    assert [Trajectory.load(each.folder).metadata["stop"] for each in (log, second)] == [None, None]
    assert {each.folder.parent for each in (log, second)} == {packed.folder.parent}
    assert len(list((tmp_path / "log").iterdir())) == 2
    with NanoCodexEnv(task, HALF, log=None, log_dir=tmp_path / "none") as env:
        env.reset()
        assert env.episode.log is None


@pytest.mark.parametrize("log", ["folder", "shard"])
def test_an_episode_that_is_void_because_it_did_not_close_is_void_in_its_log(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: str
) -> None:
    """It was packed with a reward before the error, and then could not be marked."""

    def broken(_: ToolContext) -> None:
        monkeypatch.undo()  # it fails once
        raise OSError("it does not close")

    monkeypatch.setattr(ToolContext, "close", broken)
    [result] = rollouts([task], Idle(), reward=HALF, log=log, out=tmp_path / "run", progress=False)
    assert (result.reward, result.void) == (None, "OSError: it does not close")
    [episode] = read_runs([tmp_path / "run"])
    assert (episode.reward, episode.void) == (None, "OSError: it does not close")
    assert Path(str(result.folder)) == episode.folder
    assert (episode.folder.parent.suffix == ".jsonl") == (log == "shard")


def test_a_disk_that_is_full_at_the_end_makes_no_episode_void(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("nano_codex_env.records.packing.os.fsync", no_room)
        with NanoCodexEnv(task, HALF, log="shard", log_dir=tmp_path) as env:
            env.reset()
            assert env.step({"role": "assistant", "content": "done"})[1] == 0.5
            log = log_of(env)
    assert log.folder.is_dir()
    assert Trajectory.load(log.folder).metadata["reward"] == 0.5
    assert list(episode_folders([tmp_path])) == [log.folder]


@pytest.mark.parametrize("log", [True, "folders", "", 3, ["shard"]])
def test_another_kind_of_log_is_refused(task: Task, log: Any) -> None:
    with pytest.raises(ConfigError, match="log is 'folder', 'shard' or None; got "):
        NanoCodexEnv(task, HALF, log=log)


@pytest.mark.slow
def test_an_agent_keeps_its_log_in_a_shard_too(repo: Path, tmp_path: Path) -> None:
    with serve([completion("", FIX), completion("done")]) as server:
        agent = Agent("hosted_vllm/m", server.url, log="shard", log_dir=tmp_path / "log")
        diff = agent.run("mend", repo)
    assert agent.folder
    logged = Trajectory.load(agent.folder)
    assert (logged.diff, logged.messages, agent.folder.parents[1]) == (diff, agent.messages, tmp_path / "log")
    assert json.loads(agent.folder.parent.read_text())["stats.json"] == agent.tool_stats
    with pytest.raises(ConfigError, match="log is 'folder', 'shard' or None; got 'no'"):
        Agent("hosted_vllm/m", server.url, log="no")


PLAYS = """
import json, sys
from nano_codex_env import Scripted, Task, from_function, rollouts
from tests.records.logs import FIX
tasks = [Task.from_row(json.loads(line)) for line in open("tasks.jsonl")]
reward = from_function(lambda task, transcript, diff: 0.5)
rollouts(tasks, Scripted([FIX]), n=40, out="out", log="shard", reward=reward, resume=True, concurrency=4)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_loses_and_doubles_nothing(task: Task, tmp_path: Path) -> None:
    (tmp_path / "tasks.jsonl").write_text("".join(dumps(one.to_row()) + "\n" for one in many(task)))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    results = tmp_path / "out" / "results.jsonl"
    for lines in (7, 23, 24, 61, 90, 0):
        process = subprocess.Popen([sys.executable, "-c", PLAYS], cwd=tmp_path, env=env)
        while lines and process.poll() is None:
            if results.exists() and results.read_bytes().count(b"\n") >= lines:
                process.kill()
        process.wait(timeout=120)
        for row in map(json.loads, results.read_bytes().splitlines()):
            assert content(tmp_path / row["folder"])["metadata"]["reward"] == row["reward"] == 0.5
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    found = read_runs([tmp_path / "out"])
    assert len(rows) == len(found) == len({(episode.instance_id, episode.attempt) for episode in found}) == 120
    assert {episode.reward for episode in found} == {0.5}
    results.unlink()  # without it, the killed ones and those whose rows were not written are there too
    every = read_runs([tmp_path / "out"])
    assert len({episode.name for episode in every}) == len(every) >= 120
    assert {episode.damage for episode in every} == {None}
    assert len(list((tmp_path / "out").glob("episodes-*.jsonl"))) <= 6


@pytest.mark.slow
def test_exports_of_packed_runs_are_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real episodes of all bundled tasks: won, lost, void, killed, damaged."""
    tasks = load_tasks("bundled")
    reward = from_function(lambda task, transcript, diff: float(bool(diff)))
    said: dict[str, list[bytes]] = {"folder": [], "shard": []}
    for kind in said:
        (tmp_path / kind).mkdir()
        monkeypatch.chdir(tmp_path / kind)
        if kind == "folder":
            rollouts(tasks, Oracle(tasks), n=2, out="oracle", reward=reward)
            [*_, killed, ill] = [str(result.folder) for result in rollouts(tasks, Idle(), out="idle", reward=reward)]
            about = json.loads(Path(killed, "metadata.json").read_text())
            Path(killed, "metadata.json").write_text(
                json.dumps({**about, "stop": None, "void": "gone"}, indent=2) + "\n"
            )
            Path(ill, "tools.json").write_text("[\n  {}\n]\n")
        else:
            for run in ("oracle", "idle"):
                shutil.copytree(tmp_path / "folder" / run, run)
                for folder in episode_folders([Path(run)]):
                    assert pack(folder) != folder
        for what in ("sft", "dpo", "preds"):
            main(
                ["export", what, "oracle", "idle", "--out", f"{what}.jsonl", *(["--min-reward", "0"] * (what == "sft"))]
            )
            said[kind].append(Path(f"{what}.jsonl").read_bytes())
        main(["score", "oracle", "idle", "--reward", "similarity", "--out", "scores.jsonl"])
        rows = [json.loads(line) for line in Path("scores.jsonl").read_text().splitlines()]
        for row in rows:
            row["folder"] = Path(row["folder"]).name
            row["void"] = row["void"] and str(row["void"]).partition(":")[0]
        said[kind] += sorted(json.dumps(row).encode() for row in rows)
    assert said["folder"] == said["shard"]
    assert [text.count(b"\n") for text in said["folder"][:3]] == [2 * len(tasks) - 2, len(tasks) - 2, len(tasks)]


@pytest.mark.slow
def test_the_kind_of_log_may_change_when_a_run_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["run", "--only", "pocket-distance", "--reward", "similarity", "--out", "run"]
    assert main(argv) == 0
    config = json.loads(Path("run/config.json").read_text())
    assert config["env"].pop("log") == "folder"
    Path("run/config.json").write_text(json.dumps(config))  # as an earlier version wrote it
    assert main([*argv, "--resume", "-n", "3", "--set", "env.log=shard"]) == 0
    assert [path.parent.suffix for path in episode_folders([Path("run")])] == ["", ".jsonl", ".jsonl"]
    capsys.readouterr()
    assert main([*argv, "--resume", "--set", "env.log=files"]) == 2
    assert capsys.readouterr().err == "nano-codex: log is 'folder', 'shard' or None; got 'files'\n"
