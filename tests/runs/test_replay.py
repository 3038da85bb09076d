"""A log played again gives the same bytes, or says where it does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import NanoCodexEnv, Score, Task, Trajectory, from_function
from nano_codex_env.errors import SandboxError, TaskError, TrajectoryError, WorkspaceError
from nano_codex_env.messages import assistant, dumps, tool_call
from nano_codex_env.runs.replay import Difference, Replay, replay
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.tools import apply_patch, budget, shell
from tests.conftest import git

LOOK = tool_call("shell", cmd="ls -la --time-style=full-iso; git status --short")
FIX = tool_call("apply_patch", search="return a - b", replace="return a + b", file="sums.py")
DONE = assistant("done", reasoning_content="I think so")
NOT_RUN = "not run: limit reached"

Play = Callable[..., Path]


@pytest.fixture
def play(task: Task, sandbox: Sandbox, tmp_path: Path) -> Iterator[Play]:
    """Plays actions in an environment with these arguments; the log's folder."""
    made: list[NanoCodexEnv] = []

    def run(*actions: Any, **arguments: Any) -> Path:
        worthless = from_function(lambda task, transcript, diff: 0.0)
        given = {"reward": worthless, "sandbox": sandbox, "log_dir": tmp_path / "log", **arguments}
        made.append(NanoCodexEnv([task], **given))
        made[-1].reset()
        for action in actions:
            made[-1].step(action)
        log = made[-1].episode.log
        assert log
        made[-1].close()
        return log.folder

    yield run
    for env in made:
        env.close()


@pytest.fixture
def logged(play: Play) -> Path:
    """An episode with several calls in one message, a mistake, and a submission."""
    broken = {"type": "function", "function": {"name": "shell", "arguments": '{"cmd'}}
    return play(LOOK, assistant("", FIX, LOOK, broken, tool_call("shell", cmd="cat sums.py"), LOOK), DONE)


@pytest.fixture
def again(sandbox: Sandbox) -> Callable[..., Replay]:
    """`replay` in the sandbox of the tests."""

    def run(folder: Path, **arguments: Any) -> Replay:
        return replay(folder, sandbox=sandbox, **arguments)

    return run


def rewrite(folder: Path, number: int, **changes: Any) -> None:
    """Change one message of a log."""
    lines = (folder / "messages.jsonl").read_text().splitlines()
    lines[number] = dumps({**json.loads(lines[number]), **changes})
    (folder / "messages.jsonl").write_text("".join(f"{line}\n" for line in lines))


def killed(folder: Path, lines: int, torn: bytes = b"") -> Path:
    """A copy of a log as it would be had the process been killed after so many lines."""
    copy = folder.with_name(f"killed-{lines}-{len(torn)}")
    shutil.copytree(folder, copy)
    (copy / "diff.patch").unlink()
    kept = (folder / "messages.jsonl").read_bytes().splitlines(keepends=True)[:lines]
    (copy / "messages.jsonl").write_bytes(b"".join(kept) + torn)
    about = json.loads((copy / "metadata.json").read_text())
    about = {key: about[key] for key in ("format", "task", "commit", "limits", "on_inaction", "notices", "versions")}
    (copy / "metadata.json").write_text(json.dumps({**about, "stop": None}))
    return copy


def test_an_episode_is_the_same_again(logged: Path, again: Callable[..., Replay]) -> None:
    found = again(logged)
    assert found.identical
    assert found == Replay(len(Trajectory.load(logged).messages), [])


def test_a_replay_can_name_its_folder_by_a_string_and_leaves_no_log(
    logged: Path, again: Callable[..., Replay], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    before = sorted(logged.parent.rglob("*"))
    assert again(Path(str(logged))).identical
    assert sorted(logged.parent.rglob("*")) == before
    assert list(empty.iterdir()) == []


def test_a_log_is_replayed_on_its_commit_wherever_the_repository_has_gone(
    logged: Path, again: Callable[..., Replay], repo: Path
) -> None:
    (repo / "sums.py").write_text("rewritten = True\n")
    git(repo, "commit", "-qam", "second")
    (repo / "dirty.py").write_text("")
    assert again(logged).identical


def test_a_repository_that_is_gone_is_said_so(logged: Path, again: Callable[..., Replay], repo: Path) -> None:
    shutil.rmtree(repo)
    with pytest.raises(WorkspaceError, match="there is no folder"):
        again(logged)


def test_another_answer_is_named_with_both_texts(logged: Path, again: Callable[..., Replay]) -> None:
    answer = Trajectory.load(logged).messages[5]["content"]
    rewrite(logged, 5, content="patched sums.py at line 6")
    found = again(logged)
    assert not found.identical
    assert found.differences == [Difference("message 5", "patched sums.py at line 6", answer)]


def test_another_key_of_an_answer_is_a_difference_too(logged: Path, again: Callable[..., Replay]) -> None:
    rewrite(logged, 3, name="shell")
    assert [found.where for found in again(logged).differences] == ["message 3"]


def test_another_action_shows_in_what_follows_it(logged: Path, again: Callable[..., Replay]) -> None:
    calls = Trajectory.load(logged).messages[4]["tool_calls"]
    calls[0]["function"]["arguments"] = calls[0]["function"]["arguments"].replace("a + b", "b + a")
    rewrite(logged, 4, tool_calls=calls)
    assert [found.where for found in again(logged).differences] == ["message 8", "diff.patch"]


def test_an_answer_that_is_missing_is_a_difference(logged: Path, again: Callable[..., Replay]) -> None:
    lines = (logged / "messages.jsonl").read_text().splitlines(keepends=True)
    (logged / "messages.jsonl").write_text("".join(lines[:6] + lines[7:]))
    assert not again(logged).identical


def test_other_tools_are_a_difference_and_the_same_ones_are_none(play: Play, again: Callable[..., Replay]) -> None:
    folder = play(LOOK, DONE, tools=[shell(timeout=7), apply_patch()])
    found = again(folder)
    assert [difference.where for difference in found.differences] == ["tools.json"]
    assert "after 7 seconds" in found.differences[0].logged
    assert "after 30 seconds" in found.differences[0].replayed
    assert again(folder, tools=[shell(timeout=7), apply_patch()]).identical


def test_notices_are_part_of_what_was_said(play: Play, again: Callable[..., Replay]) -> None:
    folder = play(LOOK, LOOK, DONE, notices=[budget], max_steps=4)
    assert again(folder, notices=[budget]).identical
    assert [found.where for found in again(folder).differences] == ["message 3", "message 5"]


@pytest.mark.parametrize("lines", [2, 3, 5, 10, *(pytest.param(n, marks=pytest.mark.slow) for n in (4, 6, 7, 8, 9))])
def test_an_episode_that_was_killed_is_compared_up_to_there(
    logged: Path, again: Callable[..., Replay], lines: int
) -> None:
    folder = killed(logged, lines)
    assert again(folder) == Replay(lines, [])
    torn = killed(logged, lines, b'{"role": "to')
    assert again(torn) == Replay(lines, [])
    rewrite(folder, lines - 1, content="edited")
    role = Trajectory.load(folder).messages[-1]["role"]
    assert again(folder).identical == (role == "assistant")  # what the policy said is played, not compared


def test_calls_beyond_the_limit_are_not_run_again(play: Play, again: Callable[..., Replay]) -> None:
    folder = play(LOOK, assistant("", LOOK, FIX, LOOK, LOOK), max_steps=3)
    assert Trajectory.load(folder).messages[-1]["content"] == NOT_RUN
    assert again(folder).identical


def test_a_command_that_says_the_words_of_the_limit_changes_nothing(play: Play, again: Callable[..., Replay]) -> None:
    echo = tool_call("shell", cmd=f"printf '{NOT_RUN}'")
    assert again(play(echo, assistant("", FIX, echo, LOOK), DONE)).identical


def test_a_call_that_was_stopped_is_stopped_again(play: Play, again: Callable[..., Replay]) -> None:
    """Only the call that hangs has so little time."""
    tools = [shell(), replace(shell(timeout=0.1), name="hasty"), apply_patch()]
    folder = play(tool_call("hasty", cmd="sleep 1000; echo end"), LOOK, DONE, tools=tools)
    assert Trajectory.load(folder).messages[3]["content"] == "[stopped after 0.1 seconds]"
    assert again(folder, tools=tools).identical


def test_reminders_are_given_again(play: Play, again: Callable[..., Replay]) -> None:
    folder = play(DONE, LOOK, DONE, FIX, DONE, on_inaction="remind")
    assert [message["role"] for message in Trajectory.load(folder).messages].count("user") == 3
    assert again(folder).identical


def test_a_void_episode_is_compared_up_to_there(
    play: Play, again: Callable[..., Replay], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*arguments: Any) -> Score:
        raise SandboxError("no")

    with pytest.raises(SandboxError):
        play(LOOK, FIX, DONE, reward=fail)
    [folder] = (tmp_path / "log").glob("2*")
    assert Trajectory.load(folder).metadata["void"] == "SandboxError: no"
    assert again(folder).identical


def test_a_branch_is_replayed_from_the_beginning(task: Task, env: NanoCodexEnv, again: Callable[..., Replay]) -> None:
    env.reset()
    env.step(FIX)
    [branch] = env.fork(1)
    with branch:
        branch.step(LOOK)
        branch.step(DONE)
        log = branch.episode.log
        assert log
        folder = log.folder
    assert again(folder) == Replay(7, [])


def test_an_empty_episode_is_the_same(play: Play, again: Callable[..., Replay]) -> None:
    assert again(play()) == Replay(2, [])
    assert again(play(DONE)) == Replay(3, [])


def test_what_is_no_trajectory_is_refused(tmp_path: Path, again: Callable[..., Replay]) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(TrajectoryError, match=r"holds no messages\.jsonl|there is no folder .*nothing"):
            again(path)


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"task": {"instance_id": "x"}},
        {"task": "x", "limits": {"max_steps": 5}},
        {"limits": {"max_steps": 5}},
        {"task": {"instance_id": "x", "repo": "x", "problem_statement": "x"}, "limits": {}},
        {"task": {}, "limits": {"max_steps": 5}},
        [],
    ],
    ids=dumps,
)
def test_metadata_that_does_not_say_what_was_played_is_refused(
    logged: Path, again: Callable[..., Replay], about: Any
) -> None:
    (logged / "metadata.json").write_text(json.dumps(about))
    with pytest.raises((TrajectoryError, TaskError)):
        again(logged)
