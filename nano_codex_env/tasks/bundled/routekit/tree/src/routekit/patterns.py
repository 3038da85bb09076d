"""Route patterns: paths with typed parameters, to match and to build."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from routekit.errors import BuildError, PatternError

_PARAMETER = re.compile(r"<(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<kind>[a-z]+))?>")


@dataclass(frozen=True)
class Kind:
    """A kind of parameter."""

    regex: str
    """What it matches in an escaped path."""
    parse: Callable[[str], object]
    """From the escaped text to the value."""
    format: Callable[[object], str]
    """From the value to the escaped text."""
    width: int
    """How much it matches, beside the others: narrow kinds are tried first."""


KINDS: Mapping[str, Kind] = {
    "int": Kind(r"[0-9]+", int, str, width=1),
    "slug": Kind(r"[a-z0-9]+(?:-[a-z0-9]+)*", str, str, width=2),
    "str": Kind(r"[^/]+", unquote, lambda value: quote(str(value), safe=""), width=3),
    "path": Kind(r".+", unquote, lambda value: quote(str(value), safe="/"), width=4),
}


class Pattern:
    """A path like `/logs/<day:slug>/<number:int>`."""

    def __init__(self, text: str, *, kinds: Mapping[str, Kind] = KINDS) -> None:
        if not text.startswith("/"):
            raise PatternError(f"a pattern starts with a slash, found {text!r}")
        self.text = text
        self._kinds = kinds
        self._parts: list[str | tuple[str, Kind]] = []
        position = 0
        for found in _PARAMETER.finditer(text):
            self._add_literal(text[position : found.start()])
            self._add_parameter(found["name"], found["kind"] or "str")
            position = found.end()
        self._add_literal(text[position:])
        self._regex = re.compile("".join(self._regex_of(part) for part in self._parts))

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the parameters, from left to right."""
        return tuple(part[0] for part in self._parts if not isinstance(part, str))

    @property
    def rank(self) -> tuple[tuple[int, ...], str]:
        """The place among other patterns: a lower one is more particular and is tried first."""
        segments = []
        for segment in self.text.split("/")[1:]:
            kinds = [found["kind"] or "str" for found in _PARAMETER.finditer(segment)]
            segments.append(max((self._kinds[kind].width for kind in kinds), default=0))
        return tuple(segments), self.text

    def match(self, path: str) -> dict[str, object] | None:
        """Return the values of the parameters in an escaped *path*, None if it does not fit."""
        found = self._regex.fullmatch(path)
        if found is None:
            return None
        return {
            part[0]: part[1].parse(found[part[0]])
            for part in self._parts
            if not isinstance(part, str)
        }

    def build(self, params: Mapping[str, object]) -> str:
        """Return the path with these values, which must fit their kinds, in it."""
        if missing := [name for name in self.parameters if name not in params]:
            raise BuildError(f"{self.text}: no value for {', '.join(missing)}")
        if unknown := sorted(set(params) - set(self.parameters)):
            raise BuildError(f"{self.text}: there is no parameter {', '.join(unknown)}")
        path = ""
        for part in self._parts:
            if isinstance(part, str):
                path += part
                continue
            name, kind = part
            text = kind.format(params[name])
            if not re.fullmatch(kind.regex, text):
                raise BuildError(f"{self.text}: {params[name]!r} does not fit {name}")
            path += text
        return path

    def _add_literal(self, text: str) -> None:
        if "<" in text or ">" in text:
            raise PatternError(f"{self.text!r}: {text!r} is not a parameter: write <name:kind>")
        if text:
            self._parts.append(text)

    def _add_parameter(self, name: str, kind: str) -> None:
        if kind not in self._kinds:
            known = ", ".join(self._kinds)
            raise PatternError(f"{self.text!r}: no kind {kind!r}, there are {known}")
        if name in self.parameters:
            raise PatternError(f"{self.text!r}: parameter {name!r} stands twice")
        self._parts.append((name, self._kinds[kind]))

    @staticmethod
    def _regex_of(part: str | tuple[str, Kind]) -> str:
        if isinstance(part, str):
            return re.escape(part)
        return f"(?P<{part[0]}>{part[1].regex})"

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"
