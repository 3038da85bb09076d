"""The arguments of a call, as a policy sent them: plain JSON, under the names that the tool has."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from nano_codex_env.errors import ToolError
from nano_codex_env.messages import dumps

MAX_ARGUMENTS = 3_000_000
"""Characters of the longest arguments string that is parsed."""


def read_arguments(tool: str, schema: Mapping[str, Any], raw: object) -> dict[str, Any]:
    """The arguments of a call of `tool`, by name; their values are not checked yet.

    Raises:
        ToolError: they are not a JSON object, or some are missing or unknown.
    """
    known, required = schema["properties"], schema.get("required", ())
    form = dumps({name: _example(part) for name, part in known.items()})
    if not isinstance(raw, str):
        raise ToolError(f"arguments must be a JSON object, {form}; got {kind_of(raw)}")
    if len(raw) > MAX_ARGUMENTS:
        raise ToolError(f"the arguments are too long ({len(raw)} characters; the limit is {MAX_ARGUMENTS})")
    try:
        values: Any = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ToolError(f"the arguments are not valid JSON ({error}); send an object like {form}") from error
    if not isinstance(values, dict):
        raise ToolError(f"arguments must be a JSON object, {form}; got {kind_of(values)}")
    missing = [name for name in required if name not in values]
    unknown = (
        [ascii(name)[1:-1][:80] for name in values if name not in known] if not schema["additionalProperties"] else []
    )
    if missing or unknown:
        problems = [f"missing: {', '.join(missing)}"] if missing else []
        more = [f"and {len(unknown) - 5} more"] if len(unknown) > 5 else []
        problems += [f"unknown: {', '.join(unknown[:5] + more)}"] if unknown else []
        optional = [name for name in known if name not in required]
        takes = ", ".join(required) if optional else f"exactly {', '.join(known)}" if known else "no arguments"
        takes += f"{' and ' if required else ''}optionally {', '.join(optional)}" if optional else ""
        raise ToolError(f"{tool} takes {takes} ({'; '.join(problems)})")
    return values


def plain(value: Any, name: str) -> Any:
    """A value of JSON, where 3.0 is the integer 3.

    Raises:
        ToolError: it holds NaN, an infinity, or text with a lone surrogate.
    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ToolError(
                f"{name} is not valid Unicode: a lone surrogate U+{ord(value[error.start]):04X} stands at character "
                f"{error.start}; send whole characters"
            ) from error
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ToolError(f"{name} must be a finite number; got {shown(value)}")
        return int(value) if value.is_integer() else value
    elif isinstance(value, list):
        return [plain(item, f"{name}[{number}]") for number, item in enumerate(value)]
    elif isinstance(value, dict):
        return {
            plain(key, f"a key of {name}"): plain(item, f"{name}.{ascii(key)[1:-1]:.80}") for key, item in value.items()
        }
    return value


def shown(value: object) -> str:
    """A value as an answer quotes it: JSON, cut where it is long."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= 80 else f"{text[:80]}..."


def kind_of(value: object) -> str:
    """The type of a value of JSON, by its name in Python."""
    return "null" if value is None else type(value).__name__


_EXAMPLES: dict[str, Any] = {"integer": 1, "number": 1.0, "boolean": False, "null": None, "array": [], "object": {}}


def _example(schema: Mapping[str, Any]) -> Any:
    """A placeholder for a value of the schema, for an answer that shows the form of a call."""
    values = [schema[keyword] for keyword in ("default", "const") if keyword in schema] + schema.get("enum", [])
    if values or "anyOf" in schema:
        return values[0] if values else _example(schema["anyOf"][0])
    kind = schema.get("type")
    return _EXAMPLES.get(kind[0] if isinstance(kind, list) else str(kind), "...")
