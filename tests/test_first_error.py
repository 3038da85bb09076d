"""The first error is the one that is seen: a clean-up that fails too adds a note to it, and still closes everything."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from nano_codex_env import Agent, NanoCodexEnv, Reply, Task, rollouts
from nano_codex_env.adapters.trl_environment import EPISODE_OVER, Settings, TrlEnvironment, VoidWindow
from nano_codex_env.cache import Scratch, cache_dir
from nano_codex_env.episode import Rules
from nano_codex_env.errors import PolicyError, SandboxError, clean_up_after, close_all, closed_after
from nano_codex_env.messages import Message, ToolSchema
from nano_codex_env.records.trajectory import LogWriter
from nano_codex_env.repo import Workspace
from nano_codex_env.runs.rollout import rollout
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.tools import Tool, ToolContext, ToolResult, apply_patch
from tests.conftest import MENDED
from tests.test_shortages import opened

BREAK = {"type": "function", "id": "a", "function": {"name": "break", "arguments": "{}"}}
NOTE = "and then, cleaning up: "


def breaks(_: ToolContext) -> ToolResult:
    raise SandboxError("the first")


TOOLS = [Tool("break", "Break.", {}, breaks), apply_patch()]


def failing(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    return fail


@pytest.fixture
def env(task: Task, sandbox: Sandbox, tmp_path: Path) -> NanoCodexEnv:
    """An environment with a tool that breaks."""
    return NanoCodexEnv([task], reward=MENDED, tools=TOOLS, sandbox=sandbox, log_dir=tmp_path / "log")


def touched(env: NanoCodexEnv) -> None:
    """Begin an episode with something to clean up: a scratch folder, and a log."""
    env.reset()
    arguments = '{"search": "a - b", "replace": "a + b", "file": "sums.py"}'
    env.step({"type": "function", "id": "a", "function": {"name": "apply_patch", "arguments": arguments}})


def sessions() -> list[Path]:
    return list((cache_dir() / "sessions").glob("s-*"))


@pytest.mark.parametrize("second", [OSError("the second"), KeyboardInterrupt("the second")], ids=["error", "Ctrl-C"])
def test_a_step_raises_what_failed_first(
    env: NanoCodexEnv, monkeypatch: pytest.MonkeyPatch, second: BaseException
) -> None:
    before = opened()
    touched(env)
    monkeypatch.setattr(LogWriter, "finish", failing(second))
    with pytest.raises(SandboxError, match="the first") as caught:
        env.step(BREAK)
    assert caught.value.__notes__ == [f"{NOTE}{type(second).__name__}: the second"]
    assert (opened(), sessions()) == (before, [])


def test_a_log_folder_that_is_gone_hides_nothing(env: NanoCodexEnv, tmp_path: Path) -> None:
    touched(env)
    shutil.rmtree(tmp_path / "log")
    with pytest.raises(SandboxError, match="the first") as caught:
        env.step(BREAK)
    [note] = caught.value.__notes__
    assert note.startswith(f"{NOTE}TrajectoryError: cannot write ")
    assert sessions() == []


def test_leaving_an_environment_hides_nothing(env: NanoCodexEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    touched(env)
    close = Scratch.close
    monkeypatch.setattr(Scratch, "close", failing(OSError("the second")))
    with pytest.raises(ValueError, match="the first") as caught, env:
        raise ValueError("the first")
    assert caught.value.__notes__ == [f"{NOTE}OSError: the second"]
    [left] = [path for path in sessions() if path.is_dir()]
    monkeypatch.setattr(Scratch, "close", close)
    shutil.rmtree(left)
    left.with_suffix(".lock").unlink()


def test_a_rollout_says_both(env: NanoCodexEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogWriter, "finish", failing(OSError("the second")))

    def policy(messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        raise PolicyError("the first")

    with env:
        assert rollout(env, policy).void == f"PolicyError: the first; {NOTE}OSError: the second"


def test_every_episode_is_dropped_even_if_the_first_cannot_be_closed(
    task: Task, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two episodes inside a policy that does not answer when the time is over."""
    import threading

    over, both = threading.Event(), threading.Barrier(3)

    def policy(messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        both.wait(60)
        over.wait(60)
        raise PolicyError("too late")

    def release() -> None:
        both.wait(60)
        monkeypatch.setattr(Workspace, "diff", failing(OSError("the second")))

    helper = threading.Thread(target=release)
    helper.start()
    options: dict[str, Any] = {"sandbox": sandbox, "reward": MENDED, "log_dir": tmp_path / "log", "progress": False}
    results = rollouts([task], policy, n=2, concurrency=2, deadline=0.5, **options)
    over.set()
    helper.join()
    assert len(results) == 2
    for result in results:
        assert str(result.void).startswith("the deadline of 0.5 seconds for all episodes passed; ")
        assert str(result.void).endswith(f"{NOTE}OSError: the second")


def test_an_agent_raises_what_failed_first(
    repo: Path, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = opened()
    agent = Agent("m", "http://127.0.0.1:9/v1", api_key="k", sandbox=sandbox, log_dir=tmp_path / "log", max_retries=0)
    monkeypatch.setattr(LogWriter, "finish", failing(OSError("the second")))
    with pytest.raises(PolicyError, match="cannot be reached") as caught:
        agent.run("add", repo)
    assert caught.value.__notes__ == [f"{NOTE}OSError: the second"]
    assert opened() == before


def test_a_sample_of_trl_is_void_for_what_failed_first(
    task: Task, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a tool raises, TRL would show to the policy."""
    settings = Settings([task], MENDED, TOOLS, sandbox, Rules(), VoidWindow(1.0), None, None, None)
    environment = TrlEnvironment(settings)
    environment.reset(0)
    monkeypatch.setattr(Workspace, "close", failing(OSError("the second")))
    assert environment._call("break", {}) == EPISODE_OVER
    assert environment._void == f"SandboxError: the first; {NOTE}OSError: the second"
    assert environment._score([]) is None


def test_an_episode_closes_all_that_it_has_though_the_box_does_not_close(
    task: Task, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = opened()
    with NanoCodexEnv([task], reward=MENDED, tools=TOOLS, sandbox=sandbox, log_dir=tmp_path / "log") as env:
        touched(env)
        monkeypatch.setattr(ToolContext, "close", failing(OSError("the first")))
        with pytest.raises(OSError, match="the first"):
            env.close()
    assert (opened(), sessions()) == (before, [])


def test_all_is_closed_and_the_first_error_is_raised() -> None:
    closed: list[int] = []

    def close(number: int) -> None:
        closed.append(number)
        if number:
            raise OSError(f"broken {number}")

    with pytest.raises(OSError, match="broken 1") as caught:
        close_all(lambda: close(0), lambda: close(1), lambda: close(2), lambda: close(0))
    assert closed == [0, 1, 2, 0]
    assert caught.value.__notes__ == [f"{NOTE}OSError: broken 2"]
    with pytest.raises(ValueError, match="first") as seen, closed_after(lambda: close(3)):
        raise ValueError("first")
    assert seen.value.__notes__ == [f"{NOTE}OSError: broken 3"]
    clean_up_after(seen.value, lambda: close(0))
    assert len(seen.value.__notes__) == 1


def test_an_episode_that_cannot_begin_leaves_nothing(
    task: Task, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LogWriter, "resume_from", failing(OSError("the first")))
    monkeypatch.setattr(Workspace, "close", failing(OSError("the second")))
    before = opened()
    env = NanoCodexEnv([task], reward=MENDED, sandbox=sandbox, log_dir=tmp_path / "log")
    with pytest.raises(OSError, match="the first") as caught:
        env.reset()
    assert caught.value.__notes__ == [f"{NOTE}OSError: the second"]
    assert opened() == before
