"""The first messages of an episode: a system prompt, which by default lists the tools, and the issue."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from nano_codex_env.errors import ConfigError, NanoCodexError, TaskError
from nano_codex_env.messages import Message
from nano_codex_env.tasks.task import Task
from nano_codex_env.tools import default_tools
from nano_codex_env.tools.apply_patch import IN_PROMPT as APPLY_PATCH
from nano_codex_env.tools.base import Tool
from nano_codex_env.tools.shell import IN_PROMPT as SHELL

_TEMPLATE = resources.files("nano_codex_env").joinpath("prompts/system.txt").read_text(encoding="utf-8")
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
REMINDER = (
    "You have not changed anything yet. Use the tools: look around with shell, then solve the issue with apply_patch."
)
"""The answer of `reminder` if both of these tools are there."""
_ONLY_WAY = ("This is the only way to change a file; an empty search", "An empty search")
"""A claim that may be false if a tool is not ours, and its replacement."""


def default_prompt(tools: Sequence[Tool]) -> str:
    """The default system prompt of an environment with these tools."""
    if not tools:
        return _TEMPLATE.replace("{tools}", "You have no tools.").replace(" without calling a tool", "")
    count = _NUMBERS[len(tools)] if len(tools) < len(_NUMBERS) else str(len(tools))
    lines = [f"You have {count} tool{'s' if len(tools) > 1 else ''}:"]
    for tool in tools:
        about = tool.in_prompt or f"{tool.usage}: {tool.description}"
        lines.append(f"- {about}")
    text = "\n".join(lines)
    if not all(tool.in_prompt in (SHELL, APPLY_PATCH) for tool in tools):
        text = text.replace(*_ONLY_WAY)
    return _TEMPLATE.replace("{tools}", text)


def checked_prompt(text: object) -> str | None:
    """`text`, if it is a system prompt that can be sent, or None.

    Raises:
        ConfigError: it is not text, blank, or not valid Unicode.
    """
    if text is None:
        return None
    if not isinstance(text, str):
        raise ConfigError(f"system_prompt must be a text; got {text!r}")
    if not text.strip():
        raise ConfigError(f"system_prompt is blank ({text!r}); leave it out to have the default")
    _check_unicode(text, ConfigError, "system_prompt")
    return text


SYSTEM_PROMPT = default_prompt(default_tools())
"""Part of the observation: a changed prompt changes the environment, and so its id."""


def first_messages(task: Task, system_prompt: str = SYSTEM_PROMPT) -> list[Message]:
    """The first messages of every episode on a task: the system prompt, and the issue.

    Raises:
        TaskError: the issue is empty, or not valid text.
    """
    issue = task.problem_statement
    _check_unicode(issue, TaskError, f"{task.instance_id}: the issue")
    if not issue.strip():
        raise TaskError(f"{task.instance_id}: the issue is empty; there is nothing to solve")
    return [{"role": "system", "content": system_prompt}, {"role": "user", "content": issue}]


def _check_unicode(text: str, error: type[NanoCodexError], name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as failure:
        raise error(
            f"{name} is not valid Unicode: a lone surrogate stands at character {failure.start}; no tokenizer and no "
            "endpoint can take it"
        ) from failure


def reminder(tools: Sequence[Tool], system_prompt: str | None) -> str:
    """The answer to a message without tool calls if `on_inaction="remind"` and no file is changed."""
    names = [tool.name for tool in tools]
    if {"shell", "apply_patch"} <= set(names) or system_prompt == SYSTEM_PROMPT:  # as in logs of earlier versions
        return REMINDER
    return f"{REMINDER.partition(' Use ')[0]} Use the tools to solve the issue: {', '.join(names)}."
