"""The system prompt: byte for byte what it was, true of the tools there are, and another one where it is given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import Agent, NanoCodexEnv, Task, Trajectory
from nano_codex_env.adapters.trl import TrlSpec
from nano_codex_env.cli import main
from nano_codex_env.errors import ConfigError
from nano_codex_env.messages import assistant, tool_call
from nano_codex_env.policies.scripted import Scripted
from nano_codex_env.runs.replay import replay
from nano_codex_env.runs.rollouts import rollouts
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.tools import Tool, ToolResult, apply_patch, default_tools, shell
from nano_codex_env.tools.prompt import REMINDER, SYSTEM_PROMPT, default_prompt
from tests.conftest import MENDED
from tests.server import completion, serve

GOLDEN = Path(__file__).parents[1].joinpath("golden/system_prompt.txt").read_text(encoding="utf-8")
FIX = tool_call("apply_patch", search="return a - b", replace="return a + b", file="sums.py")
DONE = assistant("done")
OWN = "  You are brief.\n\nü\n"


def answer(episode: Any, **arguments: str) -> ToolResult:
    """What a tool of the tests does."""
    return ToolResult("ok")


LOOK = Tool("look", "Look at a line of a file.", {"file": "its path", "line": "its number"}, answer)
WAIT = Tool("wait", "Wait.", {}, answer, "wait(): do nothing, if you must")


def said(env: NanoCodexEnv) -> str:
    """The first message of an episode."""
    obs, _ = env.reset()
    return str(obs[0]["content"])


def folder_of(env: NanoCodexEnv) -> Path:
    """Where the running episode is logged."""
    log = env.episode.log
    assert log
    return log.folder


@pytest.fixture
def make(task: Task, sandbox: Sandbox, tmp_path: Path) -> Callable[..., NanoCodexEnv]:
    """Makes an environment that logs and runs no tests."""

    def made(**arguments: Any) -> NanoCodexEnv:
        return NanoCodexEnv([task], MENDED, **{"sandbox": sandbox, "log_dir": tmp_path / "log", **arguments})

    return made


# The default.


def test_with_the_two_default_tools_it_is_what_it_always_was() -> None:
    assert GOLDEN == SYSTEM_PROMPT
    assert default_prompt(default_tools()) == GOLDEN
    assert default_prompt([shell(timeout=5, max_output=100), apply_patch()]) == GOLDEN


def tools_in(prompt: str) -> list[str]:
    """The paragraph that names the tools."""
    return prompt.split("\n\n")[1].split("\n")


def test_it_names_the_tools_there_are_in_their_order() -> None:
    first, about_shell, about_patch = tools_in(GOLDEN)
    look = "- look(file, line): Look at a line of a file."
    patch = about_patch.replace("This is the only way to change a file; an empty", "An empty")
    assert patch != about_patch
    assert tools_in(default_prompt([shell()])) == ["You have one tool:", about_shell]
    assert tools_in(default_prompt([apply_patch()])) == ["You have one tool:", about_patch]
    assert tools_in(default_prompt([apply_patch(), shell()])) == [first, about_patch, about_shell]
    assert tools_in(default_prompt([LOOK, apply_patch()])) == [first, look, patch]
    waiting = "- wait(): do nothing, if you must"
    assert tools_in(default_prompt([*default_tools(), WAIT])) == ["You have three tools:", about_shell, patch, waiting]
    assert tools_in(default_prompt([LOOK] * 12)) == ["You have 12 tools:", *[look] * 12]
    for tools in ([shell()], [LOOK, apply_patch()], [LOOK] * 12):
        assert [*default_prompt(tools).split("\n\n")[::2]] == GOLDEN.split("\n\n")[::2]


def test_without_tools_nothing_is_said_of_calling_one() -> None:
    prompt = default_prompt([])
    assert tools_in(prompt) == ["You have no tools."]
    assert prompt.endswith("When you are done, answer.\n")


def test_a_tool_of_ones_own_by_the_name_of_ours_is_described_as_it_is() -> None:
    mine = Tool("apply_patch", "Apply a patch.", {"patch": "a diff"}, answer)
    assert tools_in(default_prompt([mine])) == ["You have one tool:", "- apply_patch(patch): Apply a patch."]


def test_an_episode_and_a_dataset_begin_with_it(make: Callable[..., NanoCodexEnv], task: Task) -> None:
    with make(tools=[LOOK, apply_patch()]) as env:
        assert said(env) == default_prompt([LOOK, apply_patch()])
    [row] = TrlSpec(task, MENDED, tools=[LOOK]).train_dataset
    assert row["prompt"][0]["content"] == default_prompt([LOOK])


def test_the_reminder_names_the_tools_there_are(make: Callable[..., NanoCodexEnv]) -> None:
    words = "You have not changed anything yet. Use the tools to solve the issue: look, wait."
    for tools, expected in (([LOOK, WAIT], words), ([*default_tools(), LOOK], REMINDER), (None, REMINDER)):
        with make(tools=tools, on_inaction="remind", max_steps=1) as env:
            env.reset()
            obs, *_ = env.step(DONE)
        assert obs[-1] == {"role": "user", "content": expected}


# One that is given.


def test_a_text_given_is_taken_verbatim_and_told_in_the_log(make: Callable[..., NanoCodexEnv]) -> None:
    with make(system_prompt=OWN, tools=[LOOK, apply_patch()]) as env:
        assert said(env) == OWN
        folder = folder_of(env)
        env.step(FIX)
        env.step(DONE)
    assert Trajectory.load(folder).metadata["system_prompt"] == OWN
    assert Trajectory.load(folder).messages[0] == {"role": "system", "content": OWN}
    assert replay(folder, tools=[LOOK, apply_patch()]).identical


def test_the_default_is_not_told_in_the_log(make: Callable[..., NanoCodexEnv]) -> None:
    """Also where it is given as a text: a log is then the same as ever."""
    for arguments in ({}, {"system_prompt": SYSTEM_PROMPT}):
        with make(**arguments) as env:
            assert said(env) == GOLDEN
            folder = folder_of(env)
        assert "system_prompt" not in Trajectory.load(folder).metadata
        assert replay(folder).identical


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("", "is blank"),
        (" \n", "is blank"),
        (7, "must be a text; got 7"),
        (b"text", "must be a text"),
        (["text"], "must be a text"),
        ("a\udce9", "a lone surrogate stands at character 1"),
    ],
    ids=ascii,
)
def test_a_prompt_that_cannot_be_sent_is_refused_at_once(prompt: Any, words: str, task: Task, tmp_path: Path) -> None:
    makers: list[Callable[[], Any]] = [
        lambda: NanoCodexEnv([task], MENDED, system_prompt=prompt),
        lambda: rollouts([task], Scripted([]), reward=MENDED, out=tmp_path / "out", system_prompt=prompt),
        lambda: Agent("m", "http://h/v1", system_prompt=prompt),
        lambda: TrlSpec(task, MENDED, system_prompt=prompt),
    ]
    for make in makers:
        with pytest.raises(ConfigError, match=f"system_prompt .*{words}"):
            make()


def test_a_branch_has_the_prompt_of_its_beginning(make: Callable[..., NanoCodexEnv]) -> None:
    """Whatever the environment would begin with that takes it up; its log plays again."""
    logs = []
    with make(system_prompt=OWN) as env, make() as plain, make(system_prompt="Another.") as other:
        env.reset()
        [fork] = env.fork(1)
        plain.restore(env.snapshot())
        other.restore(env.snapshot())
        with fork:
            for branch in (fork, plain, other):
                branch.step(FIX)
                branch.step(DONE)
                logs.append(folder_of(branch))
        plain.reset()
        other.restore(plain.snapshot())
        other.step(DONE)
        last = folder_of(other)
    for folder in logs:
        assert Trajectory.load(folder).metadata["system_prompt"] == OWN
        assert replay(folder).identical
    assert "system_prompt" not in Trajectory.load(last).metadata
    assert replay(last).identical


def test_a_log_of_an_earlier_version_plays_again(make: Callable[..., NanoCodexEnv]) -> None:
    """It has no such key, and says two tools and a reminder of both whatever the tools were."""
    tools = [LOOK, WAIT]
    with make(tools=tools, system_prompt=SYSTEM_PROMPT, on_inaction="remind", max_steps=1) as env:
        env.reset()
        folder = folder_of(env)
        obs, *_ = env.step(DONE)
    assert obs[-1]["content"] == REMINDER
    path = folder / "metadata.json"
    about = json.loads(path.read_text())
    del about["system_prompt"]
    path.write_text(json.dumps(about))
    assert replay(folder, tools=tools).identical


def test_the_command_of_the_agent_has_it_too(repo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with serve([completion("no")]) as server:
        options = ["--api-base", server.url, "--system-prompt", OWN, "--tool-limit", "1", "--path", str(repo)]
        assert main(["agent", "add(2, 3) gives -1", "--model", "m", *options]) == 0
    assert [request["messages"][0]["content"] for request in server.requests] == [OWN]


def test_a_dataset_of_trls_begins_with_it(task: Task) -> None:
    spec = TrlSpec(task, MENDED, system_prompt=OWN)
    env: Any = spec.environment_factory()
    env.reset(task=0)
    [row] = spec.train_dataset
    assert row["prompt"] == env._episode.transcript()
    assert row["prompt"][0]["content"] == OWN


def test_a_run_by_the_command_logs_it_and_the_command_replays_it(
    task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "tasks.jsonl", tmp_path / "run"
    source.write_text(json.dumps(task.to_row()) + "\n")
    given = ["--tasks", str(source), "--policy", "idle", "--reward", "similarity", "--out", str(out)]
    assert main(["run", *given, "--set", "env.system_prompt=Be brief."]) == 0
    [folder] = out.glob("2*")
    logged = Trajectory.load(folder)
    assert logged.messages[0]["content"] == logged.metadata["system_prompt"] == "Be brief."
    assert main(["replay", str(out)]) == 0
    assert "identical" in capsys.readouterr().out


@pytest.mark.parametrize(("given", "expected"), [([], GOLDEN), (["--system-prompt", OWN], OWN)], ids=["default", "own"])
def test_the_dataset_for_verl_has_the_prompt_of_the_loop(
    task: Task, tmp_path: Path, given: list[str], expected: str
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    source, out = tmp_path / "tasks.jsonl", tmp_path / "tasks.parquet"
    source.write_text(json.dumps(task.to_row()) + "\n")
    assert main(["export", "verl-parquet", str(source), "--out", str(out), *given]) == 0
    [row] = parquet.read_table(out).to_pylist()
    assert [message["content"] for message in row["prompt"]] == [expected, task.problem_statement]
    assert main(["export", "verl-parquet", str(source), "--out", str(out), "--force", "--system-prompt", " "]) != 0
