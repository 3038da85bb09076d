"""Typed arguments, from a function's signature or a JSON Schema: pydantic makes the schemas and checks the values."""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, Optional, Union, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import ErrorDetails, PydanticSerializationError, SchemaError
from typing_extensions import Annotated, NotRequired, TypedDict  # noqa: UP035 (pydantic needs these below Python 3.12)

from nano_codex_env.errors import ConfigError, ToolError
from nano_codex_env.tools.arguments import kind_of, plain, shown

_CONFIG = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_UNUSABLE = (PydanticUserError, SchemaError, PydanticSerializationError, TypeError, ValueError, RecursionError)

_LIMITS = {"minimum": "ge", "maximum": "le", "exclusiveMinimum": "gt", "exclusiveMaximum": "lt"}
_LENGTHS = {"minLength": "min_length", "maxLength": "max_length", "pattern": "pattern"}
_ITEMS = {"minItems": "min_length", "maxItems": "max_length"}
_KINDS: dict[str, tuple[Any, dict[str, str]]] = {
    "string": (str, _LENGTHS),
    "integer": (int, _LIMITS),
    "number": (float, _LIMITS),
    "boolean": (bool, {}),
    "null": (None, {}),
    "array": (list, {"items": "", **_ITEMS}),
    "object": (dict, dict.fromkeys(("properties", "required", "additionalProperties"), "")),
}
"""Type of JSON Schema -> type of Python, and the keywords beside it with their names in pydantic."""
_ABOUT = {"title", "description", "default", "examples"}


class Argument:
    """An argument of a tool: its schema, and the check of what a policy sent."""

    def __init__(self, name: str, annotation: Any, where: str) -> None:
        """Raise ConfigError if the annotation cannot be used; `where` is for its message."""
        self._name, self._where = name, where
        shape: Any = _typed_dict({name: annotation})
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(shape)
            schema = self._adapter.json_schema()
            self.schema: dict[str, Any] = _inlined(schema["properties"][name], schema.get("$defs", {}))
        except _UNUSABLE as error:
            reason = str(error).split("\n")[0] or "it contains itself"
            raise ConfigError(f"{where} has the annotation {annotation}, which cannot be used: {reason}") from error

    def checked(self, value: Any) -> Any:
        """`value` as the annotation promises it, from plain JSON; raises ToolError if it does not fit."""
        sent = {self._name: plain(value, self._name)}
        try:
            result = self._adapter.validate_json(json.dumps(sent))
        except ValidationError as error:
            problems = error.errors(include_url=False)
            more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
            raise ToolError("; or ".join(map(_told, problems[:5])) + more) from error
        if not _has_same_booleans(sent, self._adapter.dump_python(result, mode="json", warnings=False)):
            raise ToolError(f"{self._name} must have numbers as numbers, not as true or false; got {shown(value)}")
        return result[self._name]

    def default(self, value: Any) -> Any:
        """A default as JSON; raises ConfigError if it could not be sent."""
        try:
            default = self._adapter.dump_python({self._name: value}, mode="json", warnings=False)[self._name]
            self.checked(default)
        except (ToolError, *_UNUSABLE) as error:
            raise ConfigError(f"{self._where}: the default cannot be given: {error}") from error
        return default


def _has_same_booleans(sent: Any, taken: Any) -> bool:
    """Whether true and 1 were told apart, which pydantic does not do in the values of a Literal or an Enum."""
    if isinstance(sent, dict) and isinstance(taken, dict):
        return all(_has_same_booleans(sent[key], taken[key]) for key in sent.keys() & taken.keys())
    if isinstance(sent, list) and isinstance(taken, list):
        return all(map(_has_same_booleans, sent, taken))
    return isinstance(sent, bool) == isinstance(taken, bool)


def _typed_dict(hints: dict[str, Any], **config: Any) -> Any:
    result = TypedDict("result", hints)  # type: ignore[misc]
    result.__pydantic_config__ = _CONFIG | config  # type: ignore[attr-defined]
    return result


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """A schema without references, which many a chat template does not follow, and without pydantic's titles."""
    if isinstance(schema, list):
        return [_inlined(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        schema = {**definitions[schema["$ref"].rpartition("/")[2]], **schema}
    drop = {"$ref"} | ({"title"} if isinstance(schema.get("title"), str) else set())
    return {key: _inlined(part, definitions) for key, part in schema.items() if key not in drop}


def _told(problem: ErrorDetails) -> str:
    """A problem that pydantic found, for the policy."""
    first, *rest = (
        ascii(part)[1:-1][:80] if isinstance(part, str) else part for part in problem["loc"] or ["arguments"]
    )
    place = f"{first}{''.join(f'[{part}]' if isinstance(part, int) else f'.{part}' for part in rest)}"
    value = problem["input"]
    message = re.sub(r"\ba valid (?=([aeiou])?)", lambda found: "an " if found[1] else "a ", problem["msg"])
    if problem["type"] in ("missing", "json_invalid", "extra_forbidden"):
        return f"{place}: {message}"
    got = kind_of(value) if isinstance(value, list | dict | None) else f"{kind_of(value)} {shown(value)}"
    said = message.removeprefix("Input should be ")
    return f"{place} must be {said}; got {got}" if said != message else f"{place}: {message}; got {got}"


def annotation_of(schema: Any, where: str) -> Any:
    """The type of Python that takes what a schema allows.

    Raises:
        ConfigError: it has a keyword or a value that is not understood; it would be shown to a policy and not checked.
    """
    if not isinstance(schema, dict):
        raise ConfigError(f"{where}: a schema is an object, such as {{'type': 'integer'}}; got {schema!r:.200}")
    if not all(isinstance(schema.get(key, ""), str) for key in ("title", "description")):
        raise ConfigError(f"{where}: title and description are texts; got {schema!r:.200}")
    form = next((key for key in ("const", "enum", "anyOf") if key in schema), "type")
    kinds = schema.get("type", [])
    kinds = kinds if isinstance(kinds, list) and kinds else [kinds] if "type" in schema else []
    if unknown := [kind for kind in kinds if not isinstance(kind, str) or kind not in _KINDS]:
        raise ConfigError(f"{where}: type is one of {', '.join(_KINDS)}, or a list of these; got {unknown[0]!r:.80}")
    known = {form, "type"} - ({"type"} if form == "anyOf" else set())
    known |= {key for kind in kinds for key in _KINDS[kind][1]} if form == "type" else set()
    if unknown := sorted(schema.keys() - known - _ABOUT):
        raise ConfigError(
            f"{where}: the keyword {unknown[0]!r} is not supported here; beside {form} {kinds or ''} there are: "
            f"{', '.join(sorted(known | _ABOUT))}"
        )
    if form == "type":
        return Union[tuple(_of_kind(kind, schema, where) for kind in kinds)] if kinds else Any  # noqa: UP007
    choices = [schema[form]] if form == "const" else schema[form]
    if not isinstance(choices, list) or not choices:
        raise ConfigError(f"{where}: {form} is a list of {'schemas' if form == 'anyOf' else 'values'}; got {choices!r}")
    if form == "anyOf":
        return Union[tuple(annotation_of(part, f"{where}, anyOf {n}") for n, part in enumerate(choices, 1))]  # noqa: UP007
    if any(isinstance(choice, list | dict) for choice in choices):
        raise ConfigError(f"{where}: a value of {form} is a text, a number, true, false or null; got {choices!r:.200}")
    return Literal[tuple(plain(choice, where) for choice in choices)]


def _of_kind(kind: str, schema: dict[str, Any], where: str) -> Any:
    type_, names = _KINDS[kind]
    limits: Any = {names[key]: value for key, value in schema.items() if names.get(key)}
    if kind == "array" and "items" in schema:
        type_ = list[annotation_of(schema["items"], f"{where}[]")]  # type: ignore[misc]
    elif kind == "object":
        other = schema.get("additionalProperties", True)
        if isinstance(other, dict) and "properties" not in schema:
            return dict[str, annotation_of(other, f"{where}.*")]  # type: ignore[misc]
        required = schema.get("required", ())
        types = annotations_of(schema, where)
        hints = {name: hint if name in required else NotRequired[hint] for name, hint in types.items()}
        return _typed_dict(hints, extra="allow" if other else "forbid")
    return Annotated[type_, Field(**limits)] if limits else type_


def annotations_of(schema: dict[str, Any], where: str) -> dict[str, Any]:
    """The types of an object's properties.

    Raises:
        ConfigError: as `annotation_of`.
    """
    known, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(known, dict):
        raise ConfigError(f"{where}: properties is an object of name: schema; got {known!r:.200}")
    if not isinstance(required, list) or not all(name in list(known) for name in required):
        raise ConfigError(f"{where}: required is a list of names in properties; got {required!r:.200}")
    if not isinstance(schema.get("additionalProperties", True), bool):
        raise ConfigError(f"{where}: additionalProperties beside properties is true or false")
    return {name: annotation_of(part, f"{where}.{name}") for name, part in known.items()}


def signature_of(function: Callable[..., Any], name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON Schema of a function's arguments, and their types.

    Raises:
        ConfigError: a parameter cannot be described; the message names the function and the parameter.
    """
    bare = function.func if isinstance(function, functools.partial) else function
    names = getattr(inspect.unwrap(bare) if inspect.isroutine(bare) else type(bare).__call__, "__globals__", {})
    try:
        first, *rest = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"a tool is made from a function whose first parameter gets the ToolContext; got {function!r:.200}"
        ) from error
    is_value = re.match(
        r"(<class ')?(typing\.)?(str|int|float|bool|list|dict|Optional|Union|Literal)\b", str(first.annotation)
    )
    if first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD) or is_value:
        raise ConfigError(
            f"the first parameter of {name} gets the episode's ToolContext: write "
            f"`def {name}(context: ToolContext, ...)`; got {first}"
        )
    _, texts = parse_docstring(inspect.getdoc(bare) or "")
    types, properties = {}, {}
    for parameter in rest:
        where = f"{name}, parameter {parameter.name}"
        types[parameter.name] = annotation = _annotation(parameter, names, where)
        argument = Argument(parameter.name, annotation, where)
        schema = dict(argument.schema)
        noted = (annotation, *get_args(annotation))
        notes = [note for one in noted for note in getattr(one, "__metadata__", ()) if isinstance(note, str)]
        if text := texts.get(parameter.name) or next(iter(notes), ""):
            schema["description"] = text
        if parameter.default is not parameter.empty:
            schema["default"] = argument.default(parameter.default)
        properties[parameter.name] = schema
    required = [parameter.name for parameter in rest if parameter.default is parameter.empty]
    return {"type": "object", "properties": properties, "required": required}, types


def _annotation(parameter: inspect.Parameter, names: dict[str, Any], where: str) -> Any:
    """The annotation, also where `from __future__ import annotations` has left its source."""
    annotation = parameter.annotation
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise ConfigError(f"{where}: a policy passes arguments by name; `*`, `**` and `/` cannot be described")
    if annotation is parameter.empty:
        raise ConfigError(f"{where} has no annotation, such as `int`, `Literal['a', 'b']` or `list[str] | None`")
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, names)
        except (NameError, TypeError, ValueError, SyntaxError, AttributeError, KeyError) as error:
            raise ConfigError(f"{where}: the annotation {annotation!r} cannot be read: {error}") from error
    return Optional[annotation] if parameter.default is None else annotation  # noqa: UP045 (`limit: int = None`)


_HEADING = re.compile(
    r"(args|arguments|parameters|params|returns?|yields?|raises|examples?|notes?|warnings?|see also|references):\s*",
    re.IGNORECASE,
)
_ENTRY = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_FIELD = re.compile(r":(?:param|parameter|arg|argument)\s+(?:[^:]*\s)?(\w+):\s*(.*)")


def parse_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The description, and what is said of each parameter: after `Args:`, or as `:param name:`."""
    description: list[str] = []
    texts: dict[str, str] = {}
    section, current, indent = "", "", 0
    for line in text.splitlines():
        stripped, depth = line.strip(), len(line) - len(line.lstrip())
        if depth == 0 and (heading := _HEADING.fullmatch(stripped)):
            section, current, indent = heading[1].lower(), "", 0
        elif field := _FIELD.fullmatch(stripped):
            section, current, indent = "fields", field[1], depth + 1
            texts[current] = field[2]
        elif re.match(r":\w+[^:]*:", stripped):  # `:returns:` and the like
            section, current = "fields", ""
        elif not section:
            description.append(line.rstrip())
        elif section.startswith(("arg", "param")) and stripped:
            indent = indent or depth
            entry = _ENTRY.fullmatch(stripped) if depth == indent else None
            current = entry[1] if entry else current
            texts[current] = entry[2] if entry else f"{texts.get(current, '')} {stripped}".strip()
        elif section == "fields" and current and stripped:
            texts[current] = f"{texts[current]} {stripped}".strip()
    return "\n".join(description).strip(), {name: text for name, text in texts.items() if name and text}
