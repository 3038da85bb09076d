"""Saved episodes are scored again: one, those of a run, many; one that cannot be scored is void, with its reason."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import Reply, Task, from_function
from nano_codex_env.cli import main
from nano_codex_env.errors import PolicyError, RewardError
from nano_codex_env.messages import Message, assistant, tool_call
from nano_codex_env.runs.rollouts import rollouts
from nano_codex_env.sandbox import Sandbox

LONG = 60.0
"""Seconds after which something that must happen has not."""

FIX = tool_call("apply_patch", search="return a - b", replace="return a + b", file="sums.py")
HALF = from_function(lambda task, transcript, diff: 0.5)

MINE = '''
import threading

barrier = None
ill = ()
scored = []
lock = threading.Lock()
now = most = 0


def mine(task, transcript, diff):
    """The number of messages; it fails for the tasks that are `ill`, and meets others at `barrier` if there is one."""
    global now, most
    with lock:
        scored.append(task.instance_id)
        now += 1
        most = max(most, now)
    if barrier:
        barrier.wait(60)
    with lock:
        now -= 1
    if task.instance_id in ill:
        raise ill[task.instance_id]
    return float(len(transcript))
'''

Save = Callable[..., list[str]]


@pytest.fixture
def save(task: Task, sandbox: Sandbox, tmp_path: Path) -> Save:
    """Plays tasks, which the policy fixes except for those of `idle`; returns their folders in order."""

    def go(*names: str, idle: Sequence[str] = (), out: str = "run", reward: Any = HALF) -> list[str]:
        def policy(messages: Sequence[Message], tools: Any) -> Reply:
            fixes = len(messages) == 2 and str(messages[1]["content"]) not in idle
            return Reply(assistant("", FIX) if fixes else assistant("done"))

        tasks = [task.with_(instance_id=name, problem_statement=name) for name in names]
        results = rollouts(tasks, policy, reward=reward, sandbox=sandbox, out=tmp_path / out)
        return [str(result.folder) for result in results]

    return go


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module with a reward of the user's own, in the current folder."""
    (tmp_path / "mine_of_score.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine_of_score", raising=False)
    import mine_of_score  # type: ignore[import-not-found]  # it is made above

    yield mine_of_score
    del sys.modules["mine_of_score"]


@pytest.fixture
def score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[dict[str, Any]]]]:
    """`nano-codex score --json`: its exit status and the scores it prints."""

    def go(*argv: str, out: str = "scores.jsonl") -> tuple[int, list[dict[str, Any]]]:
        capsys.readouterr()
        code = main(["score", *argv, "--json", "--out", str(tmp_path / out)])
        said = capsys.readouterr()
        assert said.err == ""
        printed = json.loads(said.out)
        assert printed["out"] == str(tmp_path / out)
        return code, printed["scores"]

    return go


Scoring = Callable[..., tuple[int, list[dict[str, Any]]]]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_episode_is_scored_by_its_tests(save: Save, score: Scoring, tmp_path: Path) -> None:
    mended, left = save("a", "b", idle=["b"])
    code, scores = score(mended, left)
    assert code == 0
    keys = ["folder", "instance_id", "attempt", "reward", "before", "parts", "void", "scorer", "by"]
    assert list(scores[0]) == keys
    assert [(row["folder"], row["instance_id"], row["attempt"], row["reward"], row["before"]) for row in scores] == [
        (mended, "a", 0, 1.0, 0.5),
        (left, "b", 0, 0.0, 0.5),
    ]
    assert scores[1]["parts"]["reason"] == "tests failed"
    assert sorted(lines(tmp_path / "scores.jsonl"), key=lambda row: row["instance_id"]) == scores


def test_a_run_is_all_its_episodes_and_each_is_scored_once(
    save: Save, score: Scoring, mine: Any, tmp_path: Path
) -> None:
    first, second = save("a", "b", "c", idle=["c"]), save("d", out="other")
    code, scores = score(
        str(tmp_path / "run"), *second, first[1], str(tmp_path / "other"), "--reward", "mine_of_score:mine"
    )
    assert code == 0
    assert [row["folder"] for row in scores] == [*sorted(first), *second]
    assert {row["instance_id"]: row["reward"] for row in scores} == {"a": 5.0, "b": 5.0, "c": 3.0, "d": 5.0}
    assert sorted(mine.scored) == ["a", "b", "c", "d"]


def test_a_table_shows_the_rewards_before_and_now(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    [folder] = save("a", idle=["a"])
    assert main(["score", folder]) == 0
    said = capsys.readouterr().out
    assert re.search(r"│ a +│ +0\.50 │ +0\.00 │ tests failed ", said)
    [out] = (tmp_path / ".nano-codex").glob("score-*.jsonl")
    assert said.endswith(f"1 episodes, mean reward 0.000, 0 void; scores in {out.relative_to(tmp_path)}\n")
    assert lines(out)[0]["folder"] == folder


# What cannot be scored.


def test_an_episode_without_an_end_is_void_and_one_that_only_its_reward_failed_is_scored(
    task: Task, sandbox: Sandbox, score: Scoring, tmp_path: Path
) -> None:
    def policy(messages: Sequence[Message], tools: Any) -> Reply:
        if messages[1]["content"] == "ill":
            raise PolicyError("the endpoint is gone")
        return Reply(assistant("done"))

    def judge(task: Task, transcript: Sequence[Message], diff: str) -> Any:
        raise RewardError("the judge is ill")

    tasks = [task.with_(instance_id=name, problem_statement=name) for name in ("ill", "fine")]
    folders = [str(r.folder) for r in rollouts(tasks, policy, reward=judge, sandbox=sandbox, out=tmp_path / "run")]
    killed = tmp_path / "killed"
    killed.mkdir()
    for name in ("messages.jsonl", "tools.json"):
        (killed / name).write_bytes(Path(folders[1], name).read_bytes())
    about = json.loads(Path(folders[1], "metadata.json").read_text())
    about = {key: value for key, value in about.items() if key in ("format", "task", "commit", "attempt", "versions")}
    (killed / "metadata.json").write_text(json.dumps({**about, "stop": None}))
    code, (ill, fine, gone) = score(*folders, str(killed))
    assert code == 1
    assert (ill["reward"], ill["instance_id"]) == (None, "ill")
    assert ill["void"] == "TrajectoryError: the episode has no end: PolicyError: the endpoint is gone"
    assert (fine["reward"], fine["before"], fine["void"]) == (0.0, None, None)
    assert (gone["reward"], gone["void"]) == (None, "TrajectoryError: the episode has no end: it was killed")


def test_a_damaged_episode_is_void_and_the_others_are_scored(save: Save, score: Scoring, tmp_path: Path) -> None:
    good, torn = save("a", "b")
    Path(torn, "metadata.json").write_text("{")
    code, scores = score(torn, good, "--reward", "similarity")
    assert code == 1
    assert [bool(row["void"]) for row in scores] == [True, False]
    assert scores[0]["void"].startswith("TrajectoryError: cannot read")


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("nowhere", "there is no folder nowhere"),
        ("empty", "empty holds no messages.jsonl; give the folder of an episode, or of a run"),
        ("file", "file holds no messages.jsonl"),
        ("locked", "cannot read locked: "),
    ],
)
def test_a_folder_without_an_episode_is_an_error_before_anything_is_scored(
    save: Save,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: str,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    [good] = save("a")
    Path("empty").mkdir()
    Path("file").touch()
    Path("locked").mkdir()
    listdir = os.listdir

    def refuse(path: Any) -> list[str]:  # root may read all
        if str(path) == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    assert main(["score", good, folder, "--reward", "similarity"]) == 2
    assert main(["export", "sft", good, folder]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert [line.startswith(f"nano-codex: {words}") for line in said.err.splitlines()] == [True, True]
    assert not Path(".nano-codex").exists()
    assert not Path("sft.jsonl").exists()


def test_two_files_of_scores_within_a_second_have_two_names(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda *arguments: "20260101-120000")
    [good] = save("a")
    assert [main(["score", good, "--reward", "similarity"]) for _ in range(3)] == [0, 0, 0]
    names = sorted(path.name for path in Path(".nano-codex").glob("score*"))
    assert names == [f"score-20260101-120000{more}.jsonl" for more in ("-2", "-3", "")]


@pytest.mark.parametrize(
    "error", [RewardError("ill"), ZeroDivisionError("ill"), KeyError("ill")], ids=lambda error: type(error).__name__
)
def test_a_reward_that_raises_makes_one_void_and_the_others_are_scored(
    save: Save, score: Scoring, mine: Any, tmp_path: Path, error: Exception
) -> None:
    save("a", "b", "c")
    mine.ill = {"b": error}
    code, scores = score(str(tmp_path / "run"), "--reward", "mine_of_score:mine", "--concurrency", "1")
    assert code == 1
    assert {row["instance_id"]: row["reward"] for row in scores} == {"a": 5.0, "b": None, "c": 5.0}
    [void] = [row["void"] for row in scores if row["void"]]
    said = f"{type(error).__name__}: {error}"
    assert void == (said if isinstance(error, RewardError) else f"BrokenRewardError: the reward mine raised {said}")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--resume"], "--resume goes on with --out FILE; name the file"),
        (["--reward", "money"], "no reward is called 'money'; there are: resolved, similarity"),
        (["--concurrency", "-1"], "workers must be a positive whole number; got -1"),
        (["--out", "/proc/nothing/x.jsonl"], "cannot write /proc/nothing/x.jsonl"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_refusal_is_one_line(
    save: Save,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    save("a")
    assert main(["score", "run", *argv]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"nano-codex: {words}")
    assert said.err.count("\n") == 1


# Many, and again.


def test_as_many_are_scored_at_once_as_was_asked_for(save: Save, score: Scoring, mine: Any, tmp_path: Path) -> None:
    """Each score waits for two others."""
    save("a", "b", "c", "d", "e", "f")
    mine.barrier = threading.Barrier(3)
    code, scores = score(str(tmp_path / "run"), "--reward", "mine_of_score:mine", "--concurrency", "3")
    assert (code, len(scores), mine.most) == (0, 6, 3)


def test_a_score_that_is_there_is_not_made_again_and_a_void_one_is(
    save: Save, score: Scoring, mine: Any, tmp_path: Path
) -> None:
    save("a", "b")
    mine.ill = {"b": RewardError("ill")}
    argv = ("--reward", "mine_of_score:mine")
    assert score(str(tmp_path / "run"), *argv)[0] == 1
    save("c", out="other")
    mine.ill = {}
    mine.scored.clear()
    code, scores = score(str(tmp_path / "run"), str(tmp_path / "other"), *argv, "--resume")
    assert (code, sorted(mine.scored)) == (0, ["b", "c"])
    assert {row["instance_id"]: row["reward"] for row in scores} == {"a": 5.0, "b": 5.0, "c": 5.0}
    assert sorted(row["instance_id"] for row in lines(tmp_path / "scores.jsonl")) == ["a", "b", "c"]
    mine.scored.clear()
    code, scores = score(str(tmp_path / "other"), *argv, "--resume")
    assert (code, mine.scored, [row["instance_id"] for row in scores]) == (0, [], ["c"])
    assert len(lines(tmp_path / "scores.jsonl")) == 3


def test_a_file_is_not_replaced_by_scores_and_holds_those_of_one_reward(
    save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [folder] = save("a")
    notes, scores = tmp_path / "notes.md", tmp_path / "scores.jsonl"
    notes.write_text("# Notes\n\nnot to be lost\n")
    argv = ["score", folder, "--reward", "similarity", "--out"]
    assert main([*argv, str(scores)]) == 0
    before = scores.read_bytes()
    for refused, words in (
        ([*argv, str(notes)], str(notes)),
        ([*argv, str(scores)], "results of an earlier run; resume it"),
        (["score", folder, "--out", str(scores), "--resume"], "scores by similarity; give another --out for resolved"),
    ):
        capsys.readouterr()
        assert main(refused) == 2
        assert words in capsys.readouterr().err
    assert (notes.read_text(), scores.read_bytes()) == ("# Notes\n\nnot to be lost\n", before)


def test_of_a_resumed_run_only_the_episodes_that_count_are_scored(save: Save, score: Scoring, tmp_path: Path) -> None:
    """The folder that a killed process left unfinished is not an episode of the run."""
    [kept] = save("a")
    run = Path(kept).parent
    left = run / "20000101-000000-000-00000000"
    left.mkdir()
    (left / "messages.jsonl").write_text("")
    (run / "results.jsonl").write_text(json.dumps({"instance_id": "a", "attempt": 0, "folder": kept}) + "\n")
    code, scores = score(str(run))
    assert (code, [row["instance_id"] for row in scores]) == (0, ["a"])
