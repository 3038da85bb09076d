"""Tools, and the toolbox that answers calls: the one place where a policy's mistake becomes text."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

from nano_codex_env.errors import (
    BrokenToolError,
    ConfigError,
    SandboxError,
    ToolError,
    WorkspaceError,
    describe,
    is_ours,
)
from nano_codex_env.messages import ToolCall, ToolSchema, dumps
from nano_codex_env.repo import Workspace
from nano_codex_env.sandbox import ExecResult, Sandbox, Shell, View
from nano_codex_env.tools.arguments import kind_of, plain, read_arguments

_FORMS = "name -> description, or a JSON Schema {'type': 'object', 'properties': {...}, 'required': [...]}"


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
    parameters: Mapping[str, Any]
    """Argument -> description, where all are required texts; or a JSON Schema, `{"type": "object", "properties": ...}`,
    of the keywords that docs/environment.md lists."""
    function: Callable[..., ToolResult | str]
    """`(context, **arguments) -> ToolResult | str`; raises ToolError for a mistake of the policy."""
    in_prompt: str = ""
    """Its line in the default system prompt; empty: name, arguments and description."""
    types: Mapping[str, Any] | None = field(default=None, repr=False)
    """The annotations of the arguments, as `from_function` found them; None: as the schema says."""

    def __post_init__(self) -> None:
        """Check that the function can be called as the schema says.

        Raises:
            ConfigError: it cannot, or the parameters cannot be used.
        """
        for what, text in (("name", self.name), ("description", self.description)):
            if not isinstance(text, str):
                raise ConfigError(f"the {what} of a tool is a text; got {text!r:.200}")
        if not callable(self.function):
            raise ConfigError(f"the function of the tool {self.name!r} cannot be called: {self.function!r:.200}")
        kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
        if any(is_kind(self.function) for is_kind in kinds):
            raise ConfigError(f"the function of the tool {self.name!r} must return its answer; it is async or yields")
        self._checks  # noqa: B018 (made now, to refuse now)
        try:
            signature = inspect.signature(self.function)
        except (TypeError, ValueError):  # of a function in C
            return
        try:
            for names in (self.arguments["properties"], self.arguments.get("required", ())):
                signature.bind(None, **dict.fromkeys(names))
        except TypeError as error:
            raise ConfigError(
                f"the function of the tool {self.name!r} cannot be called as (context, "
                f"{', '.join(self.arguments['properties'])}), of which required are "
                f"{', '.join(self.arguments.get('required', ())) or 'none'}: {error}"
            ) from error

    @classmethod
    def from_function(
        cls,
        function: Callable[..., ToolResult | str],
        *,
        name: str | None = None,
        description: str | None = None,
        in_prompt: str | None = None,
    ) -> Self:
        """A tool from a function `(context, ...) -> ToolResult | str`, by its annotations and its docstring.

        The first parameter gets the `ToolContext`; each other one is an argument, described after `Args:` in the
        docstring. One with a default may be left out, and the function's default applies. `name`, `description` and
        `in_prompt` replace what the function says.

        Raises:
            ConfigError: a parameter has no annotation that can be used, or there is no name or description.
        """
        from nano_codex_env.tools.typed import parse_docstring, signature_of

        bare = function.func if isinstance(function, partial) else function
        name = name or str(getattr(bare, "__name__", type(bare).__name__))
        parameters, types = signature_of(function, name)
        if not re.fullmatch(r"[\w-]{1,64}", name, re.ASCII):
            raise ConfigError(f"{name!r} is no name for a tool: give name=, of letters, digits, _ and -")
        description = description or parse_docstring(inspect.getdoc(bare) or "")[0]
        if not description:
            raise ConfigError(f"{name} has no docstring: write one, or give description=, for the policy to read")
        tool = cls(name, description, parameters, function, types=types)
        summary = " ".join(description.split("\n\n")[0].split())
        return replace(tool, in_prompt=f"{tool.usage}: {summary}" if in_prompt is None else in_prompt)

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The JSON Schema of the arguments; it belongs to the tool."""
        given = self.parameters
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            raise ConfigError(f"the parameters of the tool {self.name!r} are {_FORMS}; got {given!r:.200}")
        if given.get("type") != "object" and all(isinstance(text, str) for text in given.values()):
            return {
                "type": "object",
                "properties": {name: {"type": "string", "description": text} for name, text in given.items()},
                "required": list(given),
                "additionalProperties": False,
            }
        try:
            schema: dict[str, Any] = json.loads(dumps(dict(given)))
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"the parameters of the tool {self.name!r} are no JSON: {error}") from error
        if schema.get("type") != "object":
            raise ConfigError(f"the parameters of the tool {self.name!r} are {_FORMS}; got {given!r:.200}")
        return {"properties": {}, "additionalProperties": False} | schema

    @cached_property
    def _checks(self) -> dict[str, Callable[[Any], Any]]:
        """Argument -> its check; where all are texts, without pydantic, which takes time to import."""
        properties = self.arguments["properties"]
        if self.parameters.get("type") != "object":
            return {name: partial(_text, name=name) for name in properties}
        from nano_codex_env.tools.typed import Argument, annotations_of

        checks: dict[str, Callable[[Any], Any]] = {}
        types = annotations_of(self.arguments, f"the tool {self.name!r}") if self.types is None else self.types
        for name, annotation in types.items():
            argument = Argument(name, annotation, f"the tool {self.name!r}, argument {name}")
            if self.types is None and "default" in properties[name]:
                argument.default(properties[name]["default"])
            checks[name] = argument.checked
        return checks

    def __getstate__(self) -> dict[str, Any]:
        """The fields; what is made of them cannot be pickled."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def checked(self, raw: object) -> dict[str, Any]:
        """The arguments of a call as the function takes them; raises ToolError if they do not fit the schema."""
        try:
            values = read_arguments(self.name, self.arguments, raw)
            return {name: self._checks.get(name, partial(plain, name=name))(value) for name, value in values.items()}
        except RecursionError as error:
            raise ToolError("the arguments are nested too deeply") from error

    @property
    def schema(self) -> ToolSchema:
        """The tool for `chat.completions.create(tools=[...])`."""
        function = {"name": self.name, "description": self.description, "parameters": deepcopy(self.arguments)}
        return {"type": "function", "function": function}

    @property
    def usage(self) -> str:
        """The tool as it is called, with its defaults: `count(word, limit=10)`."""
        required = self.arguments.get("required", ())
        shown = []
        for name, part in self.arguments["properties"].items():
            default = f"={dumps(part['default'])}" if "default" in part else " (optional)"
            shown.append(name if name in required else f"{name}{default}")
        return f"{self.name}({', '.join(shown)})"


class Toolbox:
    """The tools of an environment, by name."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        """Raise ConfigError if there is no tool, something that is none, or two of one name."""
        if not isinstance(tools, Iterable) or isinstance(tools, str | bytes | Mapping):
            raise ConfigError(f"tools is a list of tools, such as [shell(), apply_patch()]; got {tools!r:.200}")
        tools = list(tools)
        for tool in tools:
            if not isinstance(tool, Tool):
                hint = "call it to make the tool" if is_ours(tool) else "Tool.from_function makes one of a function"
                raise ConfigError(
                    f"tools is a list of tools, such as [shell(), apply_patch()]; {tool!r:.200} is none"
                    + (f": {hint}" if callable(tool) else "")
                )
        self._tools = {tool.name: tool for tool in tools}
        if len(self._tools) != len(tools):
            raise ConfigError(f"tools must have names of their own; got {[tool.name for tool in tools]}")
        if not tools:
            raise ConfigError("tools is empty: give at least one, or None for shell and apply_patch")

    @property
    def tools(self) -> list[Tool]:
        """All tools, in order."""
        return list(self._tools.values())

    @property
    def schemas(self) -> list[ToolSchema]:
        """All schemas, in order, made anew."""
        return [tool.schema for tool in self._tools.values()]

    def call(self, context: ToolContext, call: ToolCall) -> ToolResult:
        """The answer to one tool call; a mistake in the call itself is answered too.

        Raises:
            BrokenToolError: a tool that is not of this package raised something else than a ToolError, or gave no
                answer.
            SandboxError, WorkspaceError: as a tool raised it.
        """
        name = _name(call)
        tool = None if name is None else self._tools.get(name)
        try:
            if tool is None:
                problem = "the call names no function" if name is None else f"no tool is called {name!a:.80}"
                raise ToolError(f"{problem}; there are: {', '.join(self._tools)}")
            return _run(tool, context, tool.checked(call["function"].get("arguments")))
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


def _run(tool: Tool, context: ToolContext, arguments: Mapping[str, Any]) -> ToolResult:
    try:
        answer = tool.function(context, **arguments)
    except (ToolError, SandboxError, WorkspaceError):
        raise
    except (Exception, SystemExit) as error:
        if is_ours(tool.function):
            raise
        raise BrokenToolError(f"tool {tool.name!r} failed: {describe(error)}") from error
    result = ToolResult(answer) if isinstance(answer, str) else answer
    if isinstance(result, ToolResult) and isinstance(result.content, str) and isinstance(result.ok, bool):
        return result
    raise BrokenToolError(
        f"tool {tool.name!r} returned {answer!r:.200}; a tool returns a text, or ToolResult(text, ok=True or False)"
    )


def _text(value: object, name: str) -> Any:
    if not isinstance(value, str):
        raise ToolError(f"{name} must be a string; got {kind_of(value)}")
    return plain(value, name)
