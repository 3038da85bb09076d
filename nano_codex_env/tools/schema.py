"""The JSON Schema of a tool's arguments: which keywords there are, and the strict check of what a policy sent."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nano_codex_env.errors import ConfigError, ToolError

Schema = Mapping[str, Any]

_TYPES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
    "array": "an array",
    "object": "an object",
}
_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "greater than {}",
    "exclusiveMaximum": "less than {}",
}
_LENGTHS = ("minLength", "maxLength", "minItems", "maxItems")
KEYWORDS = (
    *("type", "enum", "const", "anyOf", *_LIMITS, *_LENGTHS, "items", "properties", "required"),
    *("additionalProperties", "title", "description", "default", "examples"),
)
"""The keywords that are understood; any other is refused, since it would be shown to a policy and not checked."""

_SHOWN = 80
"""Characters of a value that an answer quotes."""


def check_schema(schema: Any, where: str) -> None:
    """Check that every part of a schema is understood.

    Raises:
        ConfigError: it has an unknown keyword or type, or a value that the keyword cannot have.
    """
    _require(isinstance(schema, dict), where, "a schema is an object, such as {'type': 'integer'}", schema)
    parts = list(_parts(schema, where))
    for keyword, value in schema.items():
        here = f"{where}: {keyword}"
        if keyword not in KEYWORDS:
            raise ConfigError(f"{where}: the keyword {keyword!r} is not supported; there are: {', '.join(KEYWORDS)}")
        if keyword == "type":
            types = value if isinstance(value, list) and value else [value]
            known = all(isinstance(name, str) and name in _TYPES for name in types)
            _require(known, here, f"is one of {', '.join(_TYPES)}, or a list of these", value)
        elif keyword == "enum":
            _require(isinstance(value, list) and bool(value), here, "is a list of values", value)
        elif keyword in _LIMITS:
            _require(_is(value, "number") and math.isfinite(value), here, "is a number", value)
        elif keyword in _LENGTHS:
            _require(_is(value, "integer") and value >= 0, here, "is a whole number from 0", value)
        elif keyword == "required":
            named = isinstance(value, list) and all(name in list(schema.get("properties", {})) for name in value)
            _require(named, here, "is a list of names in properties", value)
        elif keyword in ("title", "description"):
            _require(isinstance(value, str), here, "is a text", value)
        elif keyword == "examples":
            _require(isinstance(value, list), here, "is a list of values", value)
    for name, part in parts:
        check_schema(part, f"{where}{name}")
    if "default" in schema:
        try:
            checked(schema["default"], schema, "default")
        except ToolError as error:
            raise ConfigError(f"{where}: the default cannot be given: {error}") from error


def _parts(schema: Schema, where: str) -> Iterator[tuple[str, Any]]:
    """The schemas in a schema, each with its place."""
    properties, either = schema.get("properties", {}), schema.get("anyOf", [{}])
    _require(isinstance(properties, dict), f"{where}: properties", "is an object of name: schema", properties)
    _require(isinstance(either, list) and bool(either), f"{where}: anyOf", "is a list of schemas", either)
    yield from ((f".{name}", part) for name, part in properties.items())
    yield from ((f", anyOf {number}", part) for number, part in enumerate(either, 1) if "anyOf" in schema)
    if "items" in schema:
        yield "[]", schema["items"]
    if not isinstance(schema.get("additionalProperties", False), bool):
        yield ".*", schema["additionalProperties"]


def _require(is_valid: bool, where: str, what: str, found: object) -> None:
    if not is_valid:
        raise ConfigError(f"{where} {what}; got {found!r:.200}")


def checked(value: Any, schema: Schema, name: str) -> Any:
    """`value`, if it fits the schema; nothing is converted, but 3.0 is an integer in JSON and is returned as 3.

    Raises:
        ToolError: it does not fit, or is not plain JSON: NaN, an infinity, a number that no float holds where fractions
            are allowed, or text with a lone surrogate.
    """
    types = types_of(schema)
    if types and not any(_is(value, kind) for kind in types):
        raise ToolError(f"{name} must be {_described(schema)}; got {found(value, types)}")
    if "anyOf" in schema:
        value = _any_of(value, schema, name)
    for choices in (schema.get("enum"), [schema["const"]] if "const" in schema else None):
        if choices is not None:
            same = [choice for choice in choices if _same(value, choice)]
            if not same:
                raise ToolError(f"{name} must be {_listed(choices)}; got {shown(value)}")
            value = same[0]
    if isinstance(value, str):
        _check_text(value, name)
        _check_length(len(value), schema, name, "Length", "characters")
    elif isinstance(value, list):
        _check_length(len(value), schema, name, "Items", "items")
        return [checked(item, schema.get("items", {}), f"{name}[{number}]") for number, item in enumerate(value)]
    elif isinstance(value, dict):
        return _checked_object(value, schema, name)
    elif _is(value, "number"):
        return _checked_number(value, schema, name)
    return value


def _any_of(value: Any, schema: Schema, name: str) -> Any:
    """The value as the first alternative that it fits has it."""
    alternatives, problems = schema["anyOf"], []
    for alternative in alternatives:
        try:
            return checked(value, alternative, name)
        except ToolError as error:
            types = types_of(alternative)
            problems += [error] if not types or any(_is(value, kind) for kind in types) else []
    if len(problems) == 1:  # the one that was meant
        raise problems[0]
    raise ToolError(f"{name} must be {_described(schema)}; got {shown(value)}")


def _checked_number(value: float, schema: Schema, name: str) -> float:
    if isinstance(value, float) and not math.isfinite(value):
        raise ToolError(f"{name} must be a finite number; got {shown(value)}")
    types = types_of(schema)
    if isinstance(value, float) and "integer" in types and "number" not in types:
        value = int(value)
    if "integer" not in types:
        try:
            float(value)
        except OverflowError as error:
            raise ToolError(f"{name} is too large for a number; got {shown(value)}") from error
    fits = {
        "minimum": lambda limit: value >= limit,
        "maximum": lambda limit: value <= limit,
        "exclusiveMinimum": lambda limit: value > limit,
        "exclusiveMaximum": lambda limit: value < limit,
    }
    for keyword, words in _LIMITS.items():
        if keyword in schema and not fits[keyword](schema[keyword]):
            raise ToolError(f"{name} must be {words.format(schema[keyword])}; got {shown(value)}")
    return value


def _checked_object(value: dict[str, Any], schema: Schema, name: str) -> dict[str, Any]:
    known, other = schema.get("properties", {}), schema.get("additionalProperties", True)
    if missing := [key for key in schema.get("required", ()) if key not in value]:
        raise ToolError(f"{name} lacks {', '.join(missing)}")
    result = {}
    for key, item in value.items():
        _check_text(key, f"a key of {name}")
        if key not in known and other is False:
            raise ToolError(f"{name} has an unknown key {key!a:.{_SHOWN}}; there are: {', '.join(known) or 'none'}")
        part = known[key] if key in known else other if isinstance(other, dict) else {}
        result[key] = checked(item, part, f"{name}.{ascii(key)[1:-1]:.{_SHOWN}}")
    return result


def _check_length(length: int, schema: Schema, name: str, of: str, unit: str) -> None:
    least, most = schema.get(f"min{of}"), schema.get(f"max{of}")
    if least is not None and length < least:
        raise ToolError(f"{name} must have at least {least} {unit}; got {length}")
    if most is not None and length > most:
        raise ToolError(f"{name} must have at most {most} {unit}; got {length}")


def _check_text(text: str, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ToolError(
            f"{name} is not valid Unicode: a lone surrogate U+{ord(text[error.start]):04X} stands at character "
            f"{error.start}; send whole characters"
        ) from error


def types_of(schema: Schema) -> Sequence[str]:
    """The types that a schema names; none: any."""
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _is(value: object, kind: str) -> bool:
    """Whether a value is of a type of JSON Schema: a boolean is no number, and 3.0 is an integer."""
    if kind == "null":
        return value is None
    if kind in ("integer", "number"):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and (kind == "number" or isinstance(value, int) or float(value).is_integer())  # type: ignore[arg-type]
    return isinstance(value, {"string": str, "boolean": bool, "array": list, "object": dict}[kind])


def _same(one: object, other: object) -> bool:
    """Whether two values of JSON are equal; Python's True is 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return one == other


def _described(schema: Schema) -> str:
    """What a value must be, in a few words."""
    if "enum" in schema:
        return _listed(schema["enum"])
    if "anyOf" in schema and not schema.get("type"):
        return " or ".join(dict.fromkeys(_described(part) for part in schema["anyOf"]))
    return " or ".join(_TYPES[kind] for kind in types_of(schema)) or "another value"


def _listed(choices: Sequence[Any]) -> str:
    return f"{'one of ' if len(choices) > 1 else ''}{', '.join(map(shown, choices))}"


def shown(value: object) -> str:
    """A value as an answer quotes it: JSON, cut where it is long."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def found(value: object, types: Sequence[str]) -> str:
    """What was found in the place of another type; where no text is wanted, the value too: "3" may stand for 3."""
    kind = kind_of(value)
    return kind if "string" in types or value is None or isinstance(value, list | dict) else f"{kind} {shown(value)}"


def kind_of(value: object) -> str:
    """The type of a value of JSON, by its name in Python."""
    return "null" if value is None else type(value).__name__


def example(schema: Schema) -> Any:
    """A placeholder for a value of the schema, for an answer that shows the form of a call."""
    for keyword in ("default", "const"):
        if keyword in schema:
            return schema[keyword]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return example(schema["anyOf"][0])
    samples: dict[str, Any] = {"integer": 1, "number": 1.0, "boolean": False, "null": None, "array": [], "object": {}}
    return samples.get(types_of(schema)[0], "...") if types_of(schema) else "..."
