"""The router: from a method and a path to an endpoint, and from a name to a URL."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from routekit.errors import BuildError, MethodNotAllowed, NotFound, PatternError
from routekit.patterns import KINDS, Kind, Pattern
from routekit.query import encode_query

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True)
class Match:
    """What a request was meant for."""

    endpoint: Any
    params: dict[str, object]
    name: str | None = None


@dataclass(frozen=True)
class _Route:
    pattern: Pattern
    endpoint: Any
    methods: frozenset[str]
    name: str | None


class Router:
    """Routes, found by what is asked and by what they are called."""

    def __init__(self, *, kinds: Mapping[str, Kind] | None = None) -> None:
        self._kinds = {**KINDS, **(kinds or {})}
        self._routes: list[_Route] = []
        self._names: dict[str, Pattern] = {}

    def add(
        self,
        pattern: str,
        endpoint: Any,
        *,
        methods: Iterable[str] = ("GET",),
        name: str | None = None,
    ) -> None:
        """Add a route; *endpoint* is whatever you want back from `match`."""
        route = _Route(
            Pattern(pattern, kinds=self._kinds),
            endpoint,
            frozenset(method.upper() for method in methods),
            name,
        )
        self._insert(route)

    def route(
        self, pattern: str, *, methods: Iterable[str] = ("GET",), name: str | None = None
    ) -> Callable[[Endpoint], Endpoint]:
        """Add the decorated function as a route, under its own name if no other is given."""

        def decorate(endpoint: Endpoint) -> Endpoint:
            self.add(pattern, endpoint, methods=methods, name=name or endpoint.__name__)
            return endpoint

        return decorate

    def include(self, prefix: str, router: "Router", *, namespace: str = "") -> None:
        """Add all routes of another router below *prefix*, their names behind *namespace*."""
        kinds = {**router._kinds, **self._kinds}
        for route in router._routes:
            pattern = Pattern(prefix.rstrip("/") + route.pattern.text, kinds=kinds)
            name = f"{namespace}.{route.name}" if namespace and route.name else route.name
            self._insert(_Route(pattern, route.endpoint, route.methods, name))

    def match(self, method: str, path: str) -> Match:
        """Return the endpoint for a method and an escaped path.

        Raises NotFound, or MethodNotAllowed where the path is known under other methods.
        """
        method = method.upper()
        allowed: set[str] = set()
        for route in self._routes:
            params = route.pattern.match(path)
            if params is None:
                continue
            methods = _with_head(route.methods)
            if method in methods:
                return Match(route.endpoint, params, route.name)
            allowed |= methods
        if allowed:
            raise MethodNotAllowed(method, path, tuple(sorted(allowed)))
        raise NotFound(f"nothing at {path}")

    def url_for(
        self, name: str, /, *, query: Mapping[str, object] | None = None, **params: object
    ) -> str:
        """Return the URL of a named route."""
        if name not in self._names:
            raise BuildError(f"no route is called {name!r}")
        encoded = encode_query(query or {})
        return self._names[name].build(params) + ("?" + encoded if encoded else "")

    def _insert(self, route: _Route) -> None:
        if route.name is not None:
            if self._names.get(route.name, route.pattern).text != route.pattern.text:
                raise PatternError(f"two routes are called {route.name!r}")
            self._names[route.name] = route.pattern
        self._routes.append(route)
        self._routes.sort(key=lambda route: route.pattern.rank)

    def __len__(self) -> int:
        return len(self._routes)


def _with_head(methods: frozenset[str]) -> frozenset[str]:
    return methods | {"HEAD"} if "GET" in methods else methods
