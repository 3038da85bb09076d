"""A tool's description and JSON Schema, taken from a Python function's signature and docstring."""

from __future__ import annotations

import collections.abc
import enum
import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nano_codex_env.errors import ConfigError, ToolError
from nano_codex_env.tools.schema import check_schema, checked, types_of

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_LISTS = (list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_OBJECTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
USABLE = (
    "str, int, float, bool, None, Any, Literal, Enum classes, TypedDict, list[...], dict[str, ...], unions of these, "
    "and Annotated[..., 'description']"
)
_UNREADABLE = (NameError, TypeError, ValueError, SyntaxError, AttributeError, KeyError)
"""What `eval` of an annotation may raise, and `typing` for one that it does not understand."""
_HEADING = re.compile(
    r"(args|arguments|parameters|params|returns?|yields?|raises|examples?|notes?|warnings?|see also|references):\s*",
    re.IGNORECASE,
)
_ENTRY = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_FIELD = re.compile(r":(?:param|parameter|arg|argument)\s+(?:[^:]*\s)?(\w+):\s*(.*)")


@dataclass(frozen=True)
class _Node:
    """The schema of an annotation, and how an argument becomes what the annotation promises; None: it is that."""

    schema: dict[str, Any]
    convert: Callable[[Any], Any] | None = None


class TypedFunction:
    """A function whose arguments have the types of its annotations: an enumeration gets its member."""

    def __init__(self, function: Callable[..., Any], name: str | None = None) -> None:
        """Read the signature and the docstring.

        Raises:
            ConfigError: a parameter cannot be described; the message names the function, the parameter and what can.
        """
        functools.update_wrapper(self, function)
        self.function = function
        bare = function.func if isinstance(function, functools.partial) else function
        names = getattr(inspect.unwrap(bare) if inspect.isroutine(bare) else type(bare).__call__, "__globals__", {})
        self.name = name or str(getattr(bare, "__name__", type(bare).__name__))
        self.description, texts = parse_docstring(inspect.getdoc(bare) or "")
        try:
            first, *rest = inspect.signature(function).parameters.values()
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"a tool is made from a function whose first parameter gets the ToolContext; got {function!r:.200}"
            ) from error
        self._check_first(first, names)
        self._converts: dict[str, Callable[[Any], Any]] = {}
        properties, required = {}, []
        for parameter in rest:
            node = self._node(parameter, texts.get(parameter.name), names)
            properties[parameter.name] = node.schema
            required += [parameter.name] if parameter.default is parameter.empty else []
            if node.convert:
                self._converts[parameter.name] = node.convert
        self.parameters = {"type": "object", "properties": properties, "required": required}

    def __call__(self, context: Any, /, **arguments: Any) -> Any:
        """Call the function with arguments that fit `parameters`."""
        for name in self._converts.keys() & arguments.keys():
            arguments[name] = self._converts[name](arguments[name])
        return self.function(context, **arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        """The converters cannot be pickled; they are made anew."""
        return TypedFunction, (self.function, self.name)

    def _check_first(self, first: inspect.Parameter, names: dict[str, Any]) -> None:
        kinds = (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD)
        try:
            node = node_of(_evaluated(first.annotation, names), "")
        except (ConfigError, *_UNREADABLE):  # no type of JSON, such as ToolContext
            node = _Node({})
        if first.kind not in kinds or node.schema:
            raise ConfigError(
                f"the first parameter of {self.name} gets the episode's ToolContext: write "
                f"`def {self.name}(context: ToolContext, ...)`; got {first}"
            )

    def _node(self, parameter: inspect.Parameter, text: str | None, names: dict[str, Any]) -> _Node:
        where = f"{self.name}, parameter {parameter.name}"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(f"{where}: a policy passes arguments by name; `*`, `**` and `/` cannot be described")
        if parameter.annotation is parameter.empty:
            raise ConfigError(f"{where} has no annotation; there are: {USABLE}")
        try:
            node = node_of(_evaluated(parameter.annotation, names), where)
        except ConfigError:
            raise
        except _UNREADABLE as error:
            raise ConfigError(f"{where}: the annotation {parameter.annotation!r} cannot be read: {error}") from error
        schema = dict(node.schema)
        if text:
            schema["description"] = text
        if parameter.default is not parameter.empty:
            default = _plain(parameter.default)
            if default is None and not _fits(None, schema):  # `limit: int = None`
                schema, node = _with_null(schema), _Node({}, _unless_none(node.convert))
            schema["default"] = default
        check_schema(schema, where)
        return _Node(schema, node.convert)


def node_of(annotation: Any, where: str) -> _Node:
    """The schema of an annotation.

    Raises:
        ConfigError: it cannot be used.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in (Any, object):
        return _Node({})
    if isinstance(annotation, typing.NewType):
        return node_of(annotation.__supertype__, where)
    if hasattr(annotation, "__value__") and origin is None:  # `type Limit = int` of Python 3.12
        return node_of(annotation.__value__, where)
    if origin is typing.Annotated:
        node = node_of(arguments[0], where)
        texts = [text for text in arguments[1:] if isinstance(text, str)]
        return _Node({**node.schema, "description": texts[0]}, node.convert) if texts else node
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum) and list(annotation):
        return _Node(_choices([member.value for member in annotation], annotation, where), annotation)
    if annotation is None or (isinstance(annotation, type) and annotation in _PLAIN):
        return _Node({"type": "null" if annotation is None else _PLAIN[annotation]})
    if origin is typing.Literal:
        return _Node(_choices(list(arguments), annotation, where))
    if origin in (typing.Union, types.UnionType):
        return _union([node_of(argument, where) for argument in arguments])
    if annotation in _LISTS or origin in _LISTS:
        return _list(node_of(arguments[0], where) if arguments else _Node({}))
    if annotation in _OBJECTS or (origin in _OBJECTS and arguments[0] is str):
        return _object({}, node_of(arguments[1], where) if arguments else _Node({}))
    if typing.is_typeddict(annotation):
        return _typed_dict(annotation, where)
    raise ConfigError(f"{where} has the annotation {_name(annotation)}, which cannot be used; there are: {USABLE}")


def _typed_dict(annotation: Any, where: str) -> _Node:
    known, needed = {}, []
    for name, hint in typing.get_type_hints(annotation, include_extras=True).items():
        mark = typing.get_origin(hint)  # `__required_keys__` knows no mark in an annotation that was a string
        is_marked = mark in (typing.Required, typing.NotRequired)
        known[name] = node_of(typing.get_args(hint)[0] if is_marked else hint, f"{where}, key {name}")
        if mark is typing.Required or (not is_marked and name in annotation.__required_keys__):
            needed.append(name)
    node = _object(known, None)
    return _Node({**node.schema, "required": needed}, node.convert)


def _choices(values: Sequence[Any], annotation: Any, where: str) -> dict[str, Any]:
    if any(type(value) not in _PLAIN for value in values):
        raise ConfigError(f"{where}: the values of {_name(annotation)} must be str, int, float, bool or None")
    kinds = list(dict.fromkeys(_PLAIN[type(value)] for value in values))
    return {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": list(values)}


def _union(nodes: Sequence[_Node]) -> _Node:
    schemas = [node.schema for node in nodes if node.schema != {"type": "null"}]
    schema: dict[str, Any] = {}
    if {} not in schemas:
        if all(one.keys() == {"type"} for one in schemas):
            kinds = dict.fromkeys(kind for one in schemas for kind in types_of(one))
            schema = {"type": next(iter(kinds)) if len(kinds) == 1 else list(kinds)}
        else:
            schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        schema = _with_null(schema) if len(schemas) < len(nodes) else schema

    def convert(value: Any) -> Any:
        node = next(node for node in nodes if _fits(value, node.schema))
        return node.convert(value) if node.convert else value

    return _Node(schema, convert if any(node.convert for node in nodes) else None)


def _with_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of the same values and null."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    kinds = types_of(schema)
    choices = {"enum": [*schema["enum"], None]} if "enum" in schema and None not in schema["enum"] else {}
    return {**schema, "type": list(dict.fromkeys([*kinds, "null"])), **choices}


def _list(item: _Node) -> _Node:
    convert = item.convert
    schema = {"type": "array", "items": item.schema} if item.schema else {"type": "array"}
    return _Node(schema, (lambda values: [convert(value) for value in values]) if convert else None)


def _object(known: Mapping[str, _Node], other: _Node | None) -> _Node:
    """An object with these keys; `other`: what is under any other key, None: there is none."""
    rest = False if other is None else other.schema or True
    schema = {"type": "object", "additionalProperties": rest}
    if other is None:
        schema["properties"] = {name: node.schema for name, node in known.items()}

    def convert(values: Mapping[str, Any]) -> dict[str, Any]:
        converts = {name: known[name].convert if name in known else other and other.convert for name in values}
        return {name: use(value) if (use := converts[name]) else value for name, value in values.items()}

    nodes = [*known.values(), *([other] if other else [])]
    return _Node(schema, convert if any(node.convert for node in nodes) else None)


def _unless_none(convert: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    return None if convert is None else lambda value: None if value is None else convert(value)


def _evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    """An annotation, also where `from __future__ import annotations` has left its source."""
    return eval(annotation, names) if isinstance(annotation, str) else annotation


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    try:
        checked(value, schema, "")
    except ToolError:
        return False
    return True


def _plain(value: Any) -> Any:
    """A default as JSON: enumeration members by their values, tuples as lists."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def _name(annotation: Any) -> str:
    return getattr(annotation, "__name__", None) or str(annotation) if isinstance(annotation, type) else str(annotation)


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
