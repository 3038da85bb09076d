"""The contract of a policy, checked by episodes of two small bundled tasks."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from copy import deepcopy

from nano_codex_env.env import NanoCodexEnv
from nano_codex_env.errors import ActionError, ContextOverflow, PolicyError, describe
from nano_codex_env.messages import Message, ToolSchema, as_assistant, assistant, dumps
from nano_codex_env.policies.base import Policy, Reply
from nano_codex_env.rewards import from_function
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.tasks import load_tasks

Question = tuple[list[Message], list[ToolSchema]]
"""The arguments of one call of a policy."""


def check_policy(policy: Policy, *, turns: int = 4, sandbox: Sandbox | str = "bubblewrap") -> None:
    """Check that `policy` does what the rest of the package expects of a `Policy`, and close it.

    It plays two bundled tasks, one turn of each at a time, is asked all of this again from several threads, and answers
    two transcripts that are unusual but possible: an unknown issue, and a call that was cut off. Each answer must be a
    `Reply` with an assistant message; its other fields, and the policy's `about`, must be what a log can hold. The
    arguments must not be changed, and `close`, if there is one, must work twice.

    Args:
        policy: what is checked.
        turns: the most answers per task.
        sandbox: where its tool calls run.

    Raises:
        AssertionError: it breaks the contract; the message says how.
        PolicyError: it cannot answer at all, for instance because its server is down.
    """
    about = getattr(policy, "about", None)
    _check_json(about, "the attribute `about`")
    questions: list[Question] = []
    worthless = from_function(lambda task, transcript, diff: 0.0)
    tasks = [task for task in load_tasks("bundled") if task.instance_id in ("pocket-distance", "pocket-shorten")]
    with ExitStack() as stack:
        running: dict[str, NanoCodexEnv] = {}
        for task in tasks:
            env = stack.enter_context(NanoCodexEnv(task, worthless, sandbox=sandbox, log_dir=None))
            messages, info = env.reset()
            running[task.instance_id] = env
            questions.append((list(messages), info["tools"]))
        latest = dict(zip(running, questions, strict=True))
        for turn in range(1, turns + 1):
            for name, env in list(running.items()):
                reply = _ask(policy, latest[name], f"{name}, turn {turn}")
                if reply is None and turn == 1:
                    raise AssertionError(f"{name}: the policy raises ContextOverflow at the first two messages")
                if reply is None:
                    del running[name]
                    continue
                messages, _, terminated, truncated, _ = env.step(reply.message)
                if terminated or truncated:
                    del running[name]
                    continue
                latest[name] = (list(messages), latest[name][1])
                questions.append(latest[name])
    with ThreadPoolExecutor(4) as threads:
        again = [threads.submit(_ask, policy, question, "asked from several threads") for question in questions * 2]
    for future in again:
        future.result()
    for transcript, where in _unusual(questions[0][0][0]):
        _ask(policy, (transcript, questions[0][1]), where, may_fail=True)
    _check_json(getattr(policy, "about", None), "the attribute `about`, after the episodes,")
    for time in ("once", "twice"):
        try:
            getattr(policy, "close", lambda: None)()
        except Exception as error:
            raise AssertionError(f"closing the policy {time} raises {describe(error)}") from error


def _unusual(system: Message) -> list[tuple[list[Message], str]]:
    issue: Message = {"role": "user", "content": "No task has this issue \U0001f600."}
    cut_off = {"id": "call00001", "type": "function", "function": {"name": "shell", "arguments": '{"cmd": "ls'}}
    answer: Message = {"role": "tool", "tool_call_id": "call00001", "content": "error: not JSON \ud800"}
    reminder: Message = {"role": "user", "content": "Nothing is changed yet."}
    late = [system, issue, assistant("", cut_off, reasoning_content="hm"), answer, assistant(""), reminder]
    return [([system, issue], "an unknown issue"), (late, "a call that was cut off")]


def _ask(policy: Policy, question: Question, where: str, *, may_fail: bool = False) -> Reply | None:
    """Ask and check the answer; None: the transcript is too long, or the policy failed where it may."""
    messages, tools = deepcopy(question)
    try:
        reply = policy(messages, tools)
    except ContextOverflow:
        return None
    except PolicyError:
        if may_fail:
            return None
        raise
    except Exception as error:
        raise AssertionError(
            f"{where}: the policy raises {describe(error)}; a failure of a policy is a PolicyError"
        ) from error
    if (messages, tools) != question:
        raise AssertionError(f"{where}: the policy changed the transcript or the tools that it was given")
    if not isinstance(reply, Reply):
        raise AssertionError(f"{where}: the policy returned a {type(reply).__name__}, not a Reply")
    if not isinstance(reply.message, dict) or reply.message.get("role") != "assistant":
        raise AssertionError(f"{where}: Reply.message is not an assistant message: {reply.message!r:.200}")
    try:
        as_assistant(reply.message, 0)
    except ActionError as error:
        raise AssertionError(f"{where}: the environment does not take Reply.message: {error}") from error
    for name, value in (("tokens", reply.tokens), ("usage", reply.usage)):
        if not isinstance(value, Mapping | None):
            raise AssertionError(f"{where}: Reply.{name} is a {type(value).__name__}, not a mapping or None")
        _check_json(value and dict(value), f"{where}: Reply.{name}")
    if not isinstance(reply.finish_reason, str | None):
        raise AssertionError(f"{where}: Reply.finish_reason is {reply.finish_reason!r:.200}, not text or None")
    return reply


def _check_json(value: object, name: str) -> None:
    try:
        dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise AssertionError(f"{name} cannot be logged as JSON: {error}") from error
