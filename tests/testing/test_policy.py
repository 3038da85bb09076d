"""The contract of a policy: those that ship keep it, and each way to break it is found."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from nano_codex_env import ChatPolicy, Idle, Oracle, Policy, Random, Reply, Scripted, load_tasks
from nano_codex_env.errors import ContextOverflow, PolicyError
from nano_codex_env.messages import Message, ToolSchema, assistant, tool_call
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.testing import check_policy
from tests.server import by_turn, call, completion, fault, serve

LOOK = tool_call("shell", cmd="ls")
DONE = Reply(assistant("done"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Oracle(load_tasks("bundled")),
        Idle,
        Random,
        lambda: Scripted([LOOK, assistant("both", LOOK, LOOK), tool_call("no such tool")]),
    ],
    ids=["Oracle", "Idle", "Random", "Scripted"],
)
def test_the_policies_that_ship_keep_it(make: Callable[[], Policy], sandbox: Sandbox) -> None:
    check_policy(make(), sandbox=sandbox)


def test_a_model_behind_an_endpoint_keeps_it(sandbox: Sandbox) -> None:
    with serve(by_turn(completion(None, call("shell", {"cmd": "ls"})), completion("done"))) as server:
        check_policy(ChatPolicy("m", server.url, max_retries=0), sandbox=sandbox)
    assert {message["role"] for request in server.requests for message in request["messages"]} == {
        "system",
        "user",
        "assistant",
        "tool",
    }


def test_a_policy_that_cannot_answer_at_all_is_no_breach(sandbox: Sandbox) -> None:
    refused = pytest.raises(PolicyError, match="answered 401")
    with serve([fault(401, "no key")]) as server, ChatPolicy("m", server.url) as policy, refused:
        check_policy(policy, sandbox=sandbox)


def answers(reply: Any) -> Policy:
    """A policy that always answers this."""
    return lambda messages, tools: reply


class ChangesTheTranscript:
    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        messages[-1]["content"] += "!"
        return DONE


class ChangesTheTools:
    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        tools[0]["function"].pop("description")
        return DONE


class ServesOneEpisode:
    """Keeps the issue of its first episode."""

    issue = ""

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        self.issue = self.issue or messages[1]["content"]
        if messages[1]["content"] != self.issue:
            raise KeyError(messages[1]["content"])
        return DONE


class ServesOneThread:
    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        if threading.get_ident() != self._thread:
            raise RuntimeError("made in another thread")
        return DONE


class ParsesArguments:
    """Trusts that the model's arguments are JSON."""

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        for message in messages:
            for each in message.get("tool_calls", []):
                json.loads(each["function"]["arguments"])
        return DONE


class NeverAnswers:
    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Reply:
        raise ContextOverflow("too long")


class ClosesOnce(Idle):
    closed = False

    def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


class DescribesItselfByAnObject(Idle):
    about = {"model": object()}  # noqa: RUF012


@pytest.mark.parametrize(
    ("make", "finding"),
    [
        (ChangesTheTranscript, "pocket-distance, turn 1: the policy changed the transcript or the tools"),
        (ChangesTheTools, "turn 1: the policy changed the transcript or the tools"),
        (ServesOneEpisode, "pocket-shorten, turn 1: the policy raises KeyError"),
        (ServesOneThread, "asked from several threads: the policy raises RuntimeError: made in another thread"),
        (ParsesArguments, "a call that was cut off: the policy raises JSONDecodeError"),
        (NeverAnswers, "pocket-distance: the policy raises ContextOverflow at the first two messages"),
        (ClosesOnce, "closing the policy twice raises RuntimeError: closed already"),
        (DescribesItselfByAnObject, "the attribute `about` cannot be logged as JSON"),
        (lambda: answers(assistant("done")), "returned a dict, not a Reply"),
        (lambda: answers(None), "returned a NoneType, not a Reply"),
        (lambda: answers(Reply({"role": "user", "content": "hm"})), r"not an assistant message: \{'role': 'user'"),
        (lambda: answers(Reply(LOOK)), "not an assistant message"),
        (lambda: answers(Reply({"role": "assistant", "content": 5})), "does not take Reply.message: content must be"),
        (lambda: answers(Reply(assistant("", 5))), "does not take Reply.message: tool_calls must"),  # type: ignore[arg-type]
        (lambda: answers(Reply(assistant("done"), tokens={"ids": {1, 2}})), "Reply.tokens cannot be logged as JSON"),
        (lambda: answers(Reply(assistant("done"), usage=12)), "Reply.usage is a int, not a mapping"),  # type: ignore[arg-type]
        (lambda: answers(Reply(assistant("done"), finish_reason=1)), "Reply.finish_reason is 1"),  # type: ignore[arg-type]
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_each_breach_is_found(make: Callable[[], Policy], finding: str, sandbox: Sandbox) -> None:
    with pytest.raises(AssertionError, match=finding):
        check_policy(make(), sandbox=sandbox)
