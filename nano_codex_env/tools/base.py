"""Tools, and the toolbox that answers calls: the one place where a policy's mistake becomes text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nano_codex_env.errors import ConfigError, ToolError
from nano_codex_env.messages import ToolCall, ToolSchema
from nano_codex_env.repo import Workspace
from nano_codex_env.sandbox import ExecResult, Sandbox, Shell, View

MAX_ARGUMENTS = 3_000_000
"""Characters of the longest arguments string that is parsed."""


class ToolContext:
    """The part of an episode that a tool may use: the files, and a shell that shows them."""

    def __init__(self, workspace: Workspace, sandbox: Sandbox, hidden: tuple[Path, ...] = ()) -> None:
        """`hidden`: folders of the host that no command may see."""
        self.workspace = workspace
        self._sandbox, self._hidden = sandbox, hidden
        self._shell: Shell | None = None
        self._version = -1

    def execute(self, command: str, *, timeout: float, keep: int) -> ExecResult:
        """Run a command at the repository's root for at most `timeout` seconds.

        The first and last `keep` bytes of its output are kept. A new sandbox is opened if the last one is dead or shows
        files from before a patch.

        Raises:
            SandboxError: the sandbox cannot be opened, or broke.
        """
        if self._shell is None or not self._shell.alive or self._version != self.workspace.version:
            self.close()
            self._shell = self._sandbox.open(View(self.workspace.layers, hidden=self._hidden))
            self._version = self.workspace.version
        return self._shell.run(command, timeout=timeout, keep=keep)

    def close(self) -> None:
        """End the sandbox; the next command opens a new one."""
        shell, self._shell = self._shell, None
        if shell:
            shell.close()


@dataclass(frozen=True)
class ToolResult:
    """A tool's answer, and whether the call succeeded."""

    content: str
    ok: bool = True


@dataclass(frozen=True)
class Tool:
    """A name, a schema that the policy reads, and a function."""

    name: str
    description: str
    parameters: Mapping[str, str]
    """Argument -> description; all are strings, all are required."""
    function: Callable[..., ToolResult]
    """`(context, **arguments) -> ToolResult`; raises ToolError for a mistake of the policy."""
    in_prompt: str = ""
    """Its line in the default system prompt; empty: name, arguments and description."""

    @property
    def schema(self) -> ToolSchema:
        """The tool for `chat.completions.create(tools=[...])`."""
        properties = {name: {"type": "string", "description": text} for name, text in self.parameters.items()}
        parameters = {
            "type": "object",
            "properties": properties,
            "required": list(self.parameters),
            "additionalProperties": False,
        }
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}


class Toolbox:
    """The tools of an environment, by name."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        """Raise ConfigError if there is no tool, or two of one name."""
        self._tools = {tool.name: tool for tool in tools}
        if not tools or len(self._tools) != len(tools):
            raise ConfigError(f"tools must have names of their own; got {[tool.name for tool in tools]}")

    @property
    def tools(self) -> list[Tool]:
        """All tools, in order."""
        return list(self._tools.values())

    @property
    def schemas(self) -> list[ToolSchema]:
        """All schemas, in order, made anew."""
        return [tool.schema for tool in self._tools.values()]

    def call(self, context: ToolContext, call: ToolCall) -> ToolResult:
        """The answer to one tool call; a mistake in the call itself is answered too."""
        name = _name(call)
        tool = None if name is None else self._tools.get(name)
        try:
            if tool is None:
                problem = "the call names no function" if name is None else f"no tool is called {name!a:.80}"
                raise ToolError(f"{problem}; there are: {', '.join(self._tools)}")
            return tool.function(context, **_arguments(tool, call["function"].get("arguments")))
        except ToolError as error:
            return ToolResult(f"error: {error}", ok=False)

    def name_of(self, call: ToolCall) -> str:
        """The name of the called tool, or "unknown"."""
        name = _name(call)
        return name if name is not None and name in self._tools else "unknown"


def _name(call: ToolCall) -> str | None:
    function = call.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


def _arguments(tool: Tool, raw: object) -> dict[str, str]:
    """The arguments of a call, checked against the schema.

    Raises:
        ToolError: they are not a JSON object, or some are missing, unknown, not text, or not valid Unicode.
    """
    form = json.dumps(dict.fromkeys(tool.parameters, "..."))
    if not isinstance(raw, str):
        raise ToolError(f"arguments must be a JSON object, {form}; got {_kind(raw)}")
    if len(raw) > MAX_ARGUMENTS:
        raise ToolError(f"the arguments are too long ({len(raw)} characters; the limit is {MAX_ARGUMENTS})")
    try:
        values: Any = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ToolError(f"the arguments are not valid JSON ({error}); send an object like {form}") from error
    if not isinstance(values, dict):
        raise ToolError(f"arguments must be a JSON object, {form}; got {_kind(values)}")
    missing = [name for name in tool.parameters if name not in values]
    unknown = [ascii(name)[1:-1][:80] for name in values if name not in tool.parameters]
    if missing or unknown:
        problems = [f"missing: {', '.join(missing)}"] if missing else []
        more = [f"and {len(unknown) - 5} more"] if len(unknown) > 5 else []
        problems += [f"unknown: {', '.join(unknown[:5] + more)}"] if unknown else []
        raise ToolError(f"{tool.name} takes exactly {', '.join(tool.parameters)} ({'; '.join(problems)})")
    for name, value in values.items():
        if not isinstance(value, str):
            raise ToolError(f"{name} must be a string; got {_kind(value)}")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ToolError(
                f"{name} is not valid Unicode: a lone surrogate U+{ord(value[error.start]):04X} stands at character "
                f"{error.start}; send whole characters"
            ) from error
    return values


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__
