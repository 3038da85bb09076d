"""A tool as a method of the environment that TRL sees: its signature and docstring, from which TRL makes the schema."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union

from nano_codex_env.tools import Tool


def tool_method(tool: Tool) -> Callable[..., str]:
    """A tool as a method; TRL derives the policy's schema from its signature and docstring.

    It accepts any arguments: the toolbox answers wrong ones, as in every environment.
    """

    def method(self: Any, /, **arguments: Any) -> str:
        return str(self._call(tool.name, arguments))

    schemas = tool.arguments["properties"]
    lines = "\n".join(f"    {name}: {_described(schema) or name}" for name, schema in schemas.items())
    method.__doc__ = f"{tool.description}\n\nArgs:\n{lines}\n"
    method.__name__ = method.__qualname__ = tool.name
    hints = {name: _hint(schema) for name, schema in schemas.items()}
    method.__annotations__ = hints  # no "return": it would appear in the prompt
    first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    required = tool.arguments.get("required", ())
    rest = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=hint,
            default=inspect.Parameter.empty if name in required else schemas[name].get("default"),
        )
        for name, hint in hints.items()
    ]
    method.__signature__ = inspect.Signature([first, *rest])  # type: ignore[attr-defined]
    return method


_HINTS: dict[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool, "null": None}


def _hint(schema: Mapping[str, Any]) -> Any:
    """The annotation from which transformers makes the closest schema."""
    if choices := schema.get("enum", [schema["const"]] if "const" in schema else []):
        plain = all(isinstance(choice, str | int | float | bool | None) for choice in choices)
        return Literal[tuple(choices)] if plain else Any
    if "anyOf" in schema:
        return Union[tuple(_hint(part) for part in schema["anyOf"])]  # noqa: UP007 (made of values)
    kinds = schema.get("type", [])
    hints: list[Any] = []
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if kind == "array":
            hints.append(list[_hint(schema["items"])] if schema.get("items") else list)  # type: ignore[misc]
        elif kind == "object":
            other = schema.get("additionalProperties")
            hints.append(dict[str, _hint(other)] if isinstance(other, dict) else dict)  # type: ignore[misc]
        else:
            hints.append(_HINTS[kind])
    return Union[tuple(hints)] if hints else Any  # noqa: UP007


def _described(schema: Mapping[str, Any]) -> str:
    """An argument's description, on one line, and in it what no annotation says: `how many (default: 10)`."""
    said = {"type", "enum", "const", "anyOf", "title", "description"}
    said |= set() if schema.get("properties") else {"additionalProperties", "properties", "required"}
    said |= {"items"} if schema.get("items", {}).keys() <= {"type", "enum", "items"} else set()
    rest = ", ".join(f"{key}: {json.dumps(value)}" for key, value in schema.items() if key not in said)
    text = re.sub(r"\s*\n\s*", " ", str(schema.get("description", "")))
    return f"{text} ({rest})".strip() if rest else text
