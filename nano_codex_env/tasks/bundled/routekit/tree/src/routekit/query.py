"""Query strings: form encoding, in both directions."""

from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, unquote

from routekit.errors import QueryError

MAX_FIELDS = 200


def _encode(text: str) -> str:
    return "+".join(quote(word, safe="") for word in text.split(" "))


def _decode(text: str) -> str:
    return unquote(text.replace("+", " "), errors="replace")


class QueryParams(Mapping[str, str]):
    """The parameters of one query string, in order; a name may stand several times."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = tuple((name, value) for name, value in pairs)

    def __getitem__(self, name: str) -> str:
        """Return the last value of that name: the one that was added to override."""
        for field, value in reversed(self._pairs):
            if field == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self._pairs))

    def __len__(self) -> int:
        return len({name for name, _ in self._pairs})

    def __eq__(self, other: object) -> bool:
        if isinstance(other, QueryParams):
            return self._pairs == other._pairs
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash(self._pairs)

    def pairs(self) -> list[tuple[str, str]]:
        """Return all names and values, repeated ones too."""
        return list(self._pairs)

    def getlist(self, name: str) -> list[str]:
        """Return all values of that name."""
        return [value for field, value in self._pairs if field == name]

    def getint(self, name: str, default: int) -> int:
        """Return the value as a whole number, or *default* where it is absent or is none."""
        try:
            return int(self[name])
        except (KeyError, ValueError):
            return default

    def getbool(self, name: str) -> bool:
        """Return whether a switch is on; a bare name (`?verbose`) is on."""
        return self.get(name, "off").lower() in ("", "1", "true", "yes", "on")

    def updated(self, changes: Mapping[str, object]) -> "QueryParams":
        """Return parameters with *changes* made: a list repeats a name, None removes it.

        A changed name keeps its place; a new one goes to the end.
        """
        pairs: list[tuple[str, str]] = []
        pending = dict(changes)
        for name, value in self._pairs:
            if name in pending:
                pairs += _expand(name, pending.pop(name))
            elif name not in changes:
                pairs.append((name, value))
        for name, value in pending.items():
            pairs += _expand(name, value)
        return QueryParams(pairs)

    def __str__(self) -> str:
        return encode_query(self._pairs)

    def __repr__(self) -> str:
        return f"QueryParams({list(self._pairs)!r})"


def _expand(name: str, value: object) -> list[tuple[str, str]]:
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return [pair for element in value for pair in _expand(name, element)]
    if isinstance(value, bool):
        return [(name, "true" if value else "false")]
    return [(name, str(value))]


def parse_query(text: str, *, max_fields: int = MAX_FIELDS) -> QueryParams:
    """Read a query string, with or without its question mark.

    >>> parse_query("?tag=a&tag=b&q=red+wine").pairs()
    [('tag', 'a'), ('tag', 'b'), ('q', 'red wine')]
    """
    fields = [field for field in text.removeprefix("?").split("&") if field]
    if len(fields) > max_fields:
        raise QueryError(f"{len(fields)} fields in a query string, at most {max_fields} are read")
    pairs = []
    for field in fields:
        name, _, value = field.partition("=")
        pairs.append((_decode(name), _decode(value)))
    return QueryParams(pairs)


def encode_query(fields: Mapping[str, object] | Iterable[tuple[str, object]]) -> str:
    """Write a query string, without a question mark.

    >>> encode_query({"q": "red wine", "tag": ["a", "b"], "page": None})
    'q=red+wine&tag=a&tag=b'
    """
    items = fields.items() if isinstance(fields, Mapping) else fields
    pairs = [pair for name, value in items for pair in _expand(name, value)]
    return "&".join(f"{_encode(name)}={_encode(value)}" for name, value in pairs)


def update_url(url: str, changes: Mapping[str, object] | None = None, /, **params: object) -> str:
    """Return *url* with some query parameters set, and the others and the fragment as they were.

    >>> update_url("/log?level=info&page=3#top", page=4)
    '/log?level=info&page=4#top'
    """
    rest, mark, fragment = url.partition("#")
    path, _, query = rest.partition("?")
    encoded = str(parse_query(query).updated({**(changes or {}), **params}))
    return path + ("?" + encoded if encoded else "") + mark + fragment
