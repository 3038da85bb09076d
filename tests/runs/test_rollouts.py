"""Many episodes at once: order, bounds, failures of one, deadline, interrupts, progress."""

from __future__ import annotations

import asyncio
import json
import pickle
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import Idle, Reply, Score, Task, Trajectory, from_function
from nano_codex_env.errors import BrokenTaskError, ConfigError, NanoCodexError, PolicyError, SandboxError
from nano_codex_env.messages import Message, assistant, tool_call
from nano_codex_env.records.result import EpisodeResult
from nano_codex_env.runs import collector
from nano_codex_env.runs import progress as bar
from nano_codex_env.runs import rollouts as many
from nano_codex_env.runs.executors import Job
from nano_codex_env.runs.rollouts import TooManyVoids, rollouts
from nano_codex_env.sandbox import Sandbox
from tests.conftest import leavings, mostly_slow

LONG = 60.0
"""Seconds to wait for an event before the test fails."""

ONE = from_function(lambda task, transcript, diff: 1.0)
Play = Callable[..., list[EpisodeResult]]


def until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < limit, "what was waited for did not happen"
        time.sleep(0.005)


def idle(messages: Sequence[Message], tools: Any) -> Reply:
    return Reply(assistant("done"))


def name_of(messages: Sequence[Message]) -> str:
    """The task that a policy is asked about: `several` gives each an issue of its own."""
    return str(messages[1]["content"]).split()[0]


def lines(out: Path) -> list[dict[str, Any]]:
    file = out / "results.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


class Busy:
    """Counts the threads inside at once; each waits inside until there are `parties`."""

    def __init__(self, parties: int) -> None:
        self._lock, self._barrier = threading.Lock(), threading.Barrier(parties)
        self.now = self.most = self.all = 0

    def __enter__(self) -> None:
        with self._lock:
            self.now, self.all = self.now + 1, self.all + 1
            self.most = max(self.most, self.now)
        self._barrier.wait(LONG)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self.now -= 1


class Clock:
    """A clock that a test can put forward; with `step`, each reading puts it forward."""

    def __init__(self, step: float = 0.0) -> None:
        self.ahead, self._step = 0.0, step

    def monotonic(self) -> float:
        self.ahead += self._step
        return time.monotonic() + self.ahead


@pytest.fixture
def several(task: Task) -> Callable[[int], list[Task]]:
    def make(number: int) -> list[Task]:
        return [task.with_(instance_id=f"t{i}", problem_statement=f"t{i} is wrong") for i in range(number)]

    return make


@pytest.fixture
def play(sandbox: Sandbox) -> Play:
    """`rollouts` with a reward that costs nothing and no log, unless told otherwise."""

    def go(tasks: Any, policy: Any, **options: Any) -> list[EpisodeResult]:
        return rollouts(tasks, policy, **{"reward": ONE, "sandbox": sandbox, "log_dir": options.get("out"), **options})

    return go


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """An event that ends policies that a test leaves waiting; waits for their threads."""
    event = threading.Event()
    yield event
    event.set()
    for thread in threading.enumerate():
        if thread.name.startswith("nano-codex-rollout"):
            thread.join(LONG)


# Order and bounds.


def test_results_stand_in_the_order_of_tasks_and_attempts_whatever_is_finished_first(
    play: Play, several: Callable[[int], list[Task]], tmp_path: Path
) -> None:
    """Each task's score waits until those of the tasks after it are on disk."""

    def late(task: Task, transcript: Any, diff: str) -> float:
        after = 2 * (2 - int(task.instance_id[1:]))
        until(lambda: len(lines(tmp_path / "out")) >= after)
        return float(task.instance_id[1:])

    results = play(several(3), idle, n=2, concurrency=6, scorers=6, out=tmp_path / "out", reward=from_function(late))
    assert [(result.instance_id, result.attempt, result.reward) for result in results] == [
        (f"t{i}", attempt, float(i)) for i in range(3) for attempt in range(2)
    ]
    rows = lines(tmp_path / "out")
    assert [row["instance_id"] for row in rows] == ["t2", "t2", "t1", "t1", "t0", "t0"]
    assert sorted(rows, key=lambda row: (row["instance_id"], row["attempt"])) == [result.row() for result in results]


def test_each_result_is_that_of_its_own_episode(
    play: Play, several: Callable[[int], list[Task]], tmp_path: Path
) -> None:
    def policy(messages: Sequence[Message], tools: Any) -> Reply:
        write = tool_call("apply_patch", search="", replace=name_of(messages), file=f"{name_of(messages)}.txt")
        return Reply(assistant("", write) if len(messages) == 2 else assistant("done"))

    results = play(several(6), policy, n=2, concurrency=4, out=tmp_path / "out")
    assert len({result.folder for result in results}) == 12
    for result in results:
        assert f"+++ b/{result.instance_id}.txt" in result.diff
        assert result.folder
        logged = Trajectory.load(result.folder)
        about = (logged.metadata["task"]["instance_id"], logged.metadata["attempt"], logged.diff)
        assert about == (result.instance_id, result.attempt, result.diff)


def test_no_more_episodes_are_played_at_once_than_was_asked_for(
    play: Play, several: Callable[[int], list[Task]]
) -> None:
    busy = Busy(3)

    def policy(messages: Sequence[Message], tools: Any) -> Reply:
        with busy:
            return idle(messages, tools)

    assert len(play(several(4), policy, n=3, concurrency=3, scorers=4)) == 12
    assert (busy.most, busy.all) == (3, 12)


def test_no_more_episodes_are_scored_at_once_than_was_asked_for(
    play: Play, several: Callable[[int], list[Task]]
) -> None:
    """Two scores wait until five more episodes are played."""
    busy, asked = Busy(2), list[str]()

    def policy(messages: Sequence[Message], tools: Any) -> Reply:
        asked.append(name_of(messages))
        return idle(messages, tools)

    def reward(task: Task, transcript: Any, diff: str) -> float:
        with busy:
            until(lambda: len(asked) >= 7)
            return 1.0

    assert len(play(several(8), policy, concurrency=5, scorers=2, reward=from_function(reward))) == 8
    assert (busy.most, busy.all) == (2, 8)


def test_the_next_episode_is_played_while_one_is_scored(play: Play, several: Callable[[int], list[Task]]) -> None:
    second = threading.Event()

    def policy(messages: Sequence[Message], tools: Any) -> Reply:
        if name_of(messages) == "t1":
            second.set()
        return idle(messages, tools)

    def reward(task: Task, transcript: Any, diff: str) -> float:
        return float(second.wait(LONG))

    results = play(several(2), policy, concurrency=1, scorers=1, reward=from_function(reward))
    assert [result.reward for result in results] == [1.0, 1.0]


def test_a_stuck_policy_call_holds_up_its_own_episode_only(
    play: Play, several: Callable[[int], list[Task]], tmp_path: Path
) -> None:
    def policy(messages: Sequence[Message], tools: Any) -> Reply:
        if name_of(messages) == "t0":
            until(lambda: len(lines(tmp_path / "out")) == 5)
        return idle(messages, tools)

    results = play(several(6), policy, concurrency=2, out=tmp_path / "out")
    assert [result.reward for result in results] == [1.0] * 6
    assert lines(tmp_path / "out")[-1]["instance_id"] == "t0"


def test_one_task_a_row_and_a_thread_other_than_the_main_one_will_do(play: Play, task: Task) -> None:
    assert [result.instance_id for result in play(task, idle)] == ["sums-1"]
    found: list[EpisodeResult] = []
    thread = threading.Thread(target=lambda: found.extend(play([task.to_row()], idle, n=2)))
    thread.start()
    thread.join(LONG)
    assert [(result.instance_id, result.attempt, result.reward) for result in found] == [
        ("sums-1", 0, 1.0),
        ("sums-1", 1, 1.0),
    ]


def test_a_job_can_be_sent_to_another_process(task: Task) -> None:
    assert pickle.loads(pickle.dumps(Job(task, 3))) == Job(task, 3)


# What is refused at once.


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"n": 0}, ConfigError, "n must be a positive whole number; got 0"),
        ({"n": True}, ConfigError, "n must be a positive whole number; got True"),
        ({"n": 1.5}, ConfigError, r"n must be a positive whole number; got 1\.5"),
        ({"concurrency": 0}, ConfigError, "concurrency must be a positive whole number; got 0"),
        ({"scorers": 0}, ConfigError, "scorers must be a positive whole number; got 0"),
        ({"max_steps": 0}, ConfigError, "max_steps must be a positive whole number; got 0"),
        ({"on_inaction": "shout"}, ConfigError, "on_inaction is"),
        ({"sandbox": "moon"}, ConfigError, "moon"),
        ({"max_step": 5}, TypeError, "max_step"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_an_argument_that_cannot_be_used_is_told_before_anything_is_played(
    play: Play, task: Task, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    asked: list[object] = []

    def policy(messages: Sequence[Message], tools: Any) -> Reply:
        asked.append(messages)
        return idle(messages, tools)

    with pytest.raises(error, match=words):
        play([task], policy, **options)
    assert not asked


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (5, r"a policy is called with \(messages, tools\), such as Idle\(\) or a function of yours; got 5"),
        (Idle, "Idle is a class: give an object of it"),
        (lambda messages: None, "lambda.messages. cannot be: too many positional arguments"),
    ],
    ids=["number", "class", "function"],
)
def test_what_cannot_be_called_as_a_policy_is_refused(play: Play, task: Task, policy: Any, words: str) -> None:
    """Each episode was void for it."""
    with pytest.raises(ConfigError, match=words):
        play([task], policy)


def test_a_reward_that_breaks_shows_where(play: Play, task: Task, caplog: pytest.LogCaptureFixture) -> None:
    def breaks(*_: object) -> float:
        raise KeyError("mine")

    [result] = play([task], idle, reward=breaks)
    assert result.void == "BrokenRewardError: the reward breaks raised KeyError: 'mine'"
    assert "in breaks" in caplog.text


def test_tasks_of_one_name_are_refused(play: Play, task: Task) -> None:
    with pytest.raises(NanoCodexError, match=r"sums-1.* more than once"):
        play([task, task], idle)


# Failures of one.


class Mute(Exception):
    """An error that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


RAISED: list[tuple[BaseException, str]] = [
    (PolicyError("the endpoint is gone"), "PolicyError: the endpoint is gone"),
    (ValueError("a [b]bug[/b]\n\udce9"), "ValueError: a [b]bug[/b]\n\udce9"),
    (SystemExit(3), "SystemExit: 3"),
    (SandboxError("no"), "SandboxError: no"),
    (RecursionError("deep"), "RecursionError: deep"),
    (asyncio.CancelledError("late"), "CancelledError: late"),
    (Mute(), "Mute"),
]


@pytest.mark.parametrize(
    ("where", "error", "words"),
    [("policy", *case) for case in RAISED] + [(where, *case) for where in ("reward", "notice") for case in RAISED[:3]],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value[:6],
)
def test_whatever_is_raised_makes_one_episode_void_and_the_others_go_on(
    play: Play, several: Callable[[int], list[Task]], tmp_path: Path, where: str, error: BaseException, words: str
) -> None:
    once = iter([error])

    def perhaps(here: str) -> None:
        if here == where and (raised := next(once, None)):
            raise raised

    def policy(messages: Sequence[Message], tools: Any) -> Reply:
        perhaps("policy")
        return Reply(assistant("", tool_call("shell", cmd="true")) if len(messages) == 2 else assistant("done"))

    def reward(task: Task, transcript: Any, diff: str) -> float:
        if task.instance_id == "t0":
            perhaps("reward")
        return 1.0

    def notice(state: object) -> str:
        perhaps("notice")
        return ""

    results = play(
        several(3), policy, concurrency=1, out=tmp_path / "out", reward=from_function(reward), notices=[notice]
    )
    assert [result.reward for result in results] == [None, 1.0, 1.0]
    bad = results[0]
    assert bad.void
    assert words in bad.void  # a notice is named before them
    assert bad.folder
    assert json.loads(Path(bad.folder, "metadata.json").read_text())["void"] == bad.void
    assert {row["instance_id"]: row["void"] for row in lines(tmp_path / "out")} == {
        "t0": bad.void,
        "t1": None,
        "t2": None,
    }


@pytest.mark.parametrize(
    "reply",
    [None, "hello", Reply({"role": "user", "content": "hi"}), Reply(assistant("done"), tokens={"ids": {1}})],
    ids=["nothing", "a-string", "a-user's-message", "tokens-that-are-no-JSON"],
)
def test_an_answer_that_is_none_makes_one_episode_void(
    play: Play, several: Callable[[int], list[Task]], tmp_path: Path, reply: Any
) -> None:
    def policy(messages: Sequence[Message], tools: Any) -> Any:
        return reply if name_of(messages) == "t0" else idle(messages, tools)

    results = play(several(2), policy, out=tmp_path / "out")
    assert [(result.reward, bool(result.void)) for result in results] == [(None, True), (1.0, False)]


@pytest.mark.parametrize(
    "score",
    [lambda: "much", lambda: Score(1.0, {"seen": {1}}), lambda: Score(float("nan"))],
    ids=["a-string", "parts-that-are-no-JSON", "NaN"],
)
def test_a_score_that_is_none_makes_one_episode_void(
    play: Play, several: Callable[[int], list[Task]], tmp_path: Path, score: Callable[[], Any]
) -> None:
    def reward(task: Task, transcript: Any, diff: str) -> Any:
        return score() if task.instance_id == "t0" else Score(1.0)

    results = play(several(2), idle, out=tmp_path / "out", reward=reward, log_dir=None)
    assert [(result.reward, bool(result.void)) for result in results] == [(None, True), (1.0, False)]
    assert len(lines(tmp_path / "out")) == 2


def test_a_log_that_is_gone_makes_one_episode_void_though_its_policy_failed_too(
    play: Play, several: Callable[[int], list[Task]], tmp_path: Path
) -> None:
    def policy(messages: Sequence[Message], tools: Any) -> Reply:
        if name_of(messages) == "t0":
            for path in (tmp_path / "out").glob("*/*"):
                path.unlink()
            for path in (tmp_path / "out").glob("*/"):
                path.rmdir()
            raise ValueError("and then this")
        return idle(messages, tools)

    results = play(several(3), policy, concurrency=1, out=tmp_path / "out")
    assert [(result.reward, bool(result.void)) for result in results] == [(None, True), (1.0, False), (1.0, False)]


# Deadline.


@pytest.mark.parametrize("log", mostly_slow(["folder", "shard"], 1))
def test_what_is_not_finished_at_the_deadline_is_void_and_what_is_finished_is_kept(
    play: Play,
    several: Callable[[int], list[Task]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    released: threading.Event,
    log: str,
) -> None:
    """A policy hangs while its sandbox is open."""
    clock = Clock()
    monkeypatch.setattr(collector, "time", clock)
    before = leavings()

    def policy(messages: Sequence[Message], tools: Any) -> Reply:
        if name_of(messages) != "t1":
            return idle(messages, tools)
        if len(messages) == 2:
            return Reply(assistant("", tool_call("shell", cmd="echo here")))
        until(lambda: len(lines(tmp_path / "out")) == 3)
        clock.ahead = 7200.0
        released.wait(LONG)
        return idle(messages, tools)

    results = play(several(4), policy, concurrency=2, out=tmp_path / "out", deadline=3600.0, log=log)
    assert not released.is_set()
    reason = "the deadline of 3600 seconds for all episodes passed"
    assert [result.void for result in results] == [None, reason, None, None]
    assert [result.reward for result in results] == [1.0, None, 1.0, 1.0]
    assert {row["instance_id"]: row["void"] for row in lines(tmp_path / "out")}["t1"] == reason
    until(lambda: leavings() <= before)
    assert [Trajectory.load(str(result.folder)).metadata.get("void") for result in results] == [
        None,
        reason,
        None,
        None,
    ]
    assert (Path(str(results[1].folder)).parent == tmp_path / "out") == (log == "folder")


def test_what_was_not_begun_at_the_deadline_is_told_so(
    play: Play, several: Callable[[int], list[Task]], monkeypatch: pytest.MonkeyPatch, released: threading.Event
) -> None:
    clock = Clock()
    monkeypatch.setattr(collector, "time", clock)

    def policy(messages: Sequence[Message], tools: Any) -> Reply:
        clock.ahead = 7200.0
        released.wait(LONG)
        return idle(messages, tools)

    results = play(several(3), policy, concurrency=1, deadline=3600.0)
    assert [result.instance_id for result in results] == ["t0", "t1", "t2"]
    assert [str(result.void).partition("; ")[2] for result in results] == ["", "it was not begun", "it was not begun"]


def test_an_episode_dropped_while_it_is_scored_has_the_reason_in_its_log(
    play: Play,
    several: Callable[[int], list[Task]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    released: threading.Event,
) -> None:
    """One is inside the reward, the other waits for it."""
    clock = Clock()
    monkeypatch.setattr(collector, "time", clock)
    monkeypatch.setattr(many, "_PATIENCE", 0.0)
    played = threading.Semaphore(0)

    def policy(messages: Sequence[Message], tools: Any) -> Reply:
        played.release()
        return idle(messages, tools)

    def reward(task: Task, transcript: Any, diff: str) -> float:
        for _ in range(2):
            assert played.acquire(timeout=LONG)
        clock.ahead = 7200.0
        released.wait(LONG)
        return 1.0

    results = play(several(2), policy, scorers=1, out=tmp_path / "out", deadline=3600.0, reward=from_function(reward))
    assert all(str(result.void).startswith("the deadline of 3600 seconds") for result in results)
    released.set()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("nano-codex-rollout")])
    logs = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*/metadata.json")]
    assert sum(log.get("reward") is None for log in logs) >= 1  # the reward that was waited for came after all
    assert all("the deadline" in log["void"] for log in logs if log.get("reward") is None)


# Progress, where stderr is no terminal.


def test_no_progress_is_shown_where_nobody_looks(
    play: Play, several: Callable[[int], list[Task]], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = several(2)
    for progress in (None, False):
        play([first.with_(repo="/nowhere"), second], idle, progress=progress)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_progress_that_is_wanted_on_a_pipe_is_a_line_for_a_void_one_and_one_now_and_then(
    play: Play,
    several: Callable[[int], list[Task]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bar, "time", Clock(step=3600.0))
    first, second = several(2)
    half = from_function(lambda task, transcript, diff: 0.5)
    play([first.with_(repo="/nowhere"), second], idle, concurrency=1, progress=True, reward=half)
    said = capsys.readouterr()
    assert said.out == ""
    assert "t0 (attempt 0) is void: WorkspaceError: there is no folder /nowhere" in said.err.replace("\n", " ")
    assert re.search(r"^idle 2/2: mean reward 0.500, 1 void, \d\.\d/min; 0 running, 1 answers, 0 steps", said.err, re.M)
    assert "\x1b" not in said.err


def test_progress_shows_answers_and_steps_before_an_episode_ends(
    play: Play, task: Task, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run with a slow model showed nothing for minutes."""
    monkeypatch.setattr(bar, "time", Clock(step=3600.0))
    shown = list[str]()

    def is_shown() -> bool:
        shown.append(capsys.readouterr().err)
        return "1 running, 1 answers, 2 steps," in shown[-1]

    def looks_then_waits_to_be_shown(messages: Sequence[Message], tools: Any) -> Reply:
        if len(messages) == 2:
            return Reply(assistant("", tool_call("nothing"), tool_call("nothing")))
        until(is_shown)
        return Reply(assistant("done"))

    play([task], looks_then_waits_to_be_shown, progress=True)
    assert re.search(r"^looks_then_waits_to_be_shown 0/1: 1 running, 1 answers, 2 steps, \d", shown[-1], re.M)


# A function of each result, and an end after too many void episodes.


def test_each_result_is_handed_on_once_it_is_on_disk(
    play: Play, several: Callable[[int], list[Task]], tmp_path: Path
) -> None:
    tasks, seen = several(4), list[EpisodeResult]()

    def on_result(result: EpisodeResult) -> None:
        assert lines(tmp_path)[-1]["instance_id"] == result.instance_id
        assert threading.current_thread() is threading.main_thread()
        seen.append(result)

    play(tasks[:2], idle, out=tmp_path, on_result=on_result)
    assert sorted(result.instance_id for result in seen) == ["t0", "t1"]
    results = play(tasks, idle, out=tmp_path, resume=True, on_result=on_result)
    assert sorted(result.instance_id for result in seen) == ["t0", "t1", "t2", "t3"]  # not again
    assert all(result in seen for result in results)


def test_an_exception_in_on_result_ends_the_run_and_what_was_finished_is_kept(
    play: Play, several: Callable[[int], list[Task]], tmp_path: Path, released: threading.Event
) -> None:
    tasks, calls = several(9), list[str]()

    def waits(messages: Sequence[Message], tools: Any) -> Reply:
        if name_of(messages) == "t2":
            released.wait(LONG)
        elif name_of(messages) != "t0":
            until(lambda: calls)
        return Reply(assistant("done"))

    def on_result(result: EpisodeResult) -> None:
        calls.append(result.instance_id)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        play(tasks, waits, concurrency=3, out=tmp_path, on_result=on_result)
    assert calls == ["t0"]
    finished = {row["instance_id"] for row in lines(tmp_path)}
    assert "t0" in finished
    assert "t2" not in finished
    assert len(finished) < 9
    released.set()
    assert [result.reward for result in play(tasks, idle, out=tmp_path, resume=True)] == [1.0] * 9


def test_a_deadline_hands_on_what_it_gives_up_and_then_raises(play: Play, several: Callable[[int], list[Task]]) -> None:
    calls = list[str]()

    def on_result(result: EpisodeResult) -> None:
        calls.append(str(result.void))
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        play(several(3), idle, deadline=0.0, on_result=on_result)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("rewarded", "begun"),
    [([], 3), ([2], 6), ([0, 2, 5], 9)],  # the numbers of the answers that are given
)
def test_a_run_ends_after_so_many_void_episodes_in_a_row(
    play: Play, several: Callable[[int], list[Task]], tmp_path: Path, rewarded: list[int], begun: int
) -> None:
    tasks, asked = several(20), list[str]()

    def mostly_dead(messages: Sequence[Message], tools: Any) -> Reply:
        asked.append(name_of(messages))
        number = len(asked) - 1
        if number in rewarded:
            return Reply(assistant("done"))
        given = sum(earlier < number for earlier in rewarded)
        until(lambda: sum(row["reward"] is not None for row in lines(tmp_path)) == given)  # they are scored meanwhile
        raise PolicyError(f"dead at {asked[-1]}")

    with pytest.raises(TooManyVoids, match=rf"^3 void episodes, .*t{begun - 1} .*: PolicyError: dead at") as caught:
        play(tasks, mostly_dead, concurrency=1, out=tmp_path, stop_after_voids=3)
    assert len(asked) == begun
    rewards = [1.0 if number in rewarded else None for number in range(begun)]
    assert [result.reward for result in caught.value.results] == rewards
    assert sorted(row["instance_id"] for row in lines(tmp_path)) == [f"t{number}" for number in range(begun)]
    again = play(tasks, idle, out=tmp_path, resume=True, stop_after_voids=1)
    assert [result.reward for result in again] == [1.0] * 20


def test_void_episodes_of_a_broken_task_do_not_end_a_run(play: Play, task: Task) -> None:
    def broken(task: Task, transcript: Sequence[Message], diff: str) -> float:
        raise BrokenTaskError("its tests fail")

    results = play([task], idle, n=4, concurrency=1, stop_after_voids=2, reward=from_function(broken))
    assert [result.reward for result in results] == [None] * 4
