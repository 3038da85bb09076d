"""Header fields: a mapping that ignores case, and the two grammars that most values share."""

import re
from collections.abc import Iterable, Iterator, Mapping

from routekit.errors import HeaderError

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Headers:
    """Header fields in their order; names ignore case, and one name may stand several times."""

    def __init__(self, fields: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._fields: list[tuple[str, str]] = []
        pairs = fields.items() if isinstance(fields, Mapping | Headers) else fields
        for name, value in pairs:
            self.add(name, value)

    def add(self, name: str, value: str) -> None:
        """Append a field, also where there is one of that name already."""
        if not _TOKEN.fullmatch(name):
            raise HeaderError(f"{name!r} is not a header name")
        if any(char in value for char in "\r\n\0"):
            raise HeaderError(f"{name}: a value has no line breaks, found {value!r}")
        self._fields.append((name, value.strip(" \t")))

    def __setitem__(self, name: str, value: str) -> None:
        """Replace all fields of that name by one, in the place of the first."""
        index = next((i for i, (n, _) in enumerate(self._fields) if _same(n, name)), None)
        self.add(name, value)
        if index is not None:
            field = self._fields.pop()
            kept = [pair for pair in self._fields[index:] if not _same(pair[0], name)]
            self._fields[index:] = [field, *kept]

    def __delitem__(self, name: str) -> None:
        self._fields = [pair for pair in self._fields if not _same(pair[0], name)]

    def __getitem__(self, name: str) -> str:
        """Return the first value of that name."""
        for field, value in self._fields:
            if _same(field, name):
                return value
        raise KeyError(name)

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of that name, or *default*."""
        return self[name] if name in self else default

    def getlist(self, name: str) -> list[str]:
        """Return all list elements of that name, over all its fields."""
        return [
            element
            for field, value in self._fields
            if _same(field, name)
            for element in split_list(value)
        ]

    def items(self) -> list[tuple[str, str]]:
        """Return the fields as they would be sent."""
        return list(self._fields)

    def copy(self) -> "Headers":
        """Return headers that can be changed without changing these."""
        return Headers(self._fields)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(_same(field, name) for field, _ in self._fields)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _ in self._fields))

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        mine, theirs = ([(n.lower(), v) for n, v in h._fields] for h in (self, other))
        return mine == theirs

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({self._fields!r})"


def _same(one: str, other: str) -> bool:
    return one.lower() == other.lower()


def _split(text: str, separator: str) -> list[str]:
    """Split at *separator*, but not inside quoted strings."""
    pieces, piece, quoted, escaped = [], "", False, False
    for char in text:
        if char == separator and not quoted:
            pieces.append(piece)
            piece = ""
            continue
        piece += char
        if escaped:
            escaped = False
        elif quoted and char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
    pieces.append(piece)
    return [piece.strip(" \t") for piece in pieces]


def split_list(text: str) -> list[str]:
    """Split a value into its list elements; empty ones do not count.

    >>> split_list('no-cache, private="set-cookie, vary", ')
    ['no-cache', 'private="set-cookie, vary"']
    """
    return [element for element in _split(text, ",") if element]


def parse_value(text: str) -> tuple[str, dict[str, str]]:
    """Take a value and its parameters apart; parameter names come back in lower case.

    >>> parse_value('text/html; Charset="utf-8"')
    ('text/html', {'charset': 'utf-8'})
    """
    first, *rest = _split(text, ";")
    params = {}
    for piece in filter(None, rest):
        name, _, value = piece.partition("=")
        value = value.strip(" \t")
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        params[name.strip(" \t").lower()] = value
    return first, params


def format_value(value: str, params: Mapping[str, str]) -> str:
    """Put a value and its parameters together, quoting what needs it."""
    parts = [value]
    for name, param in params.items():
        if not _TOKEN.fullmatch(param):
            param = '"' + re.sub(r'(["\\])', r"\\\1", param) + '"'
        parts.append(f"{name}={param}")
    return "; ".join(parts)
