"""URL routing and small HTTP message tools for web UIs on small devices."""

from routekit.cache import CacheStats, ResponseCache, cache_key
from routekit.cookies import CookieSigner, format_cookie, parse_cookies
from routekit.errors import (
    BadSignature,
    BuildError,
    HeaderError,
    MethodNotAllowed,
    NotFound,
    PatternError,
    QueryError,
    RoutekitError,
    SignatureExpired,
)
from routekit.headers import Headers, format_value, parse_value, split_list
from routekit.messages import Request, Response
from routekit.negotiation import (
    Preference,
    best_encoding,
    best_language,
    best_media_type,
    parse_accept,
)
from routekit.patterns import KINDS, Kind, Pattern
from routekit.query import QueryParams, encode_query, parse_query, update_url
from routekit.router import Match, Router
from routekit.static import StaticFiles

__all__ = [
    "KINDS",
    "BadSignature",
    "BuildError",
    "CacheStats",
    "CookieSigner",
    "HeaderError",
    "Headers",
    "Kind",
    "Match",
    "MethodNotAllowed",
    "NotFound",
    "Pattern",
    "PatternError",
    "Preference",
    "QueryError",
    "QueryParams",
    "Request",
    "Response",
    "ResponseCache",
    "RoutekitError",
    "Router",
    "SignatureExpired",
    "StaticFiles",
    "best_encoding",
    "best_language",
    "best_media_type",
    "cache_key",
    "encode_query",
    "format_cookie",
    "format_value",
    "parse_accept",
    "parse_cookies",
    "parse_query",
    "parse_value",
    "split_list",
    "update_url",
]
