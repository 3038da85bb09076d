"""What can go wrong: one class for each thing that a caller may want to catch."""


class RoutekitError(Exception):
    """The base of all errors here."""


class PatternError(RoutekitError, ValueError):
    """A route pattern is malformed."""


class BuildError(RoutekitError, ValueError):
    """No URL can be built from this name and these values."""


class HeaderError(RoutekitError, ValueError):
    """A header name or value cannot be sent."""


class QueryError(RoutekitError, ValueError):
    """A query string is refused."""


class BadSignature(RoutekitError, ValueError):
    """A signed value was not signed by us, or was changed since."""


class SignatureExpired(BadSignature):
    """A signed value is genuine but too old."""


class NotFound(RoutekitError):
    """Nothing lives at this path."""

    status = 404


class MethodNotAllowed(RoutekitError):
    """Something lives at this path, but not for this method."""

    status = 405

    def __init__(self, method: str, path: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"{method} {path}: only {', '.join(allowed)} allowed")
        self.allowed = allowed
