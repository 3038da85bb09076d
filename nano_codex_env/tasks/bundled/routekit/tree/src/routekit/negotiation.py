"""Content negotiation: which of our offers does the client want most? (RFC 9110, 12.5)"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from routekit.headers import parse_value, split_list

LEAST = 0.001
"""The smallest quality that still means yes."""


@dataclass(frozen=True, slots=True)
class Preference:
    """One element of an Accept header."""

    value: str
    quality: float = 1.0
    params: tuple[tuple[str, str], ...] = ()


Closeness = Callable[[Preference, str], int | None]
"""How closely a preference describes an offer, None where it does not: more is closer."""


def parse_accept(header: str) -> list[Preference]:
    """Read an Accept, Accept-Language or Accept-Encoding header, the most wanted first.

    Elements of one quality stay in their order. An element whose quality cannot be
    read is left out, and parameters after the quality are ignored.

    >>> [p.value for p in parse_accept("text/plain;q=0.5, text/html")]
    ['text/html', 'text/plain']
    """
    preferences = []
    for element in split_list(header):
        value, params = parse_value(element)
        quality = _quality(params.get("q", "1"))
        if value and quality is not None:
            names = list(params)
            own = names[: names.index("q")] if "q" in params else names
            described = tuple((name, params[name].lower()) for name in own)
            preferences.append(Preference(value.lower(), quality, described))
    return sorted(preferences, key=lambda preference: -preference.quality)


def _quality(text: str) -> float | None:
    try:
        quality = float(text)
    except ValueError:
        return None
    return quality if 0.0 <= quality <= 1.0 else None


def _media(preference: Preference, offer: str) -> int | None:
    value, params = parse_value(offer.lower())
    wanted = "*/*" if preference.value == "*" else preference.value
    kind, _, subkind = wanted.partition("/")
    own_kind, _, own_subkind = value.partition("/")
    if kind not in ("*", own_kind) or subkind not in ("*", own_subkind):
        return None
    if any(params.get(name) != param for name, param in preference.params):
        return None
    return (kind != "*") + (subkind != "*") + len(preference.params)


def _language(preference: Preference, offer: str) -> int | None:
    if preference.value == "*":
        return 0
    wanted, own = preference.value.split("-"), offer.lower().split("-")
    return len(wanted) if own[: len(wanted)] == wanted else None


def _encoding(preference: Preference, offer: str) -> int | None:
    if preference.value == "*":
        return 0
    return 1 if preference.value == offer.lower() else None


def quality_of(offer: str, preferences: Iterable[Preference], closeness: Closeness) -> float:
    """Return the quality that the client gives to *offer*, 0.0 where it does not want it.

    The preference that describes the offer most closely decides.
    """
    closest, quality = -1, 0.0
    for preference in preferences:
        close = closeness(preference, offer)
        if close is not None and close > closest:
            closest, quality = close, preference.quality
    return quality


def _best(
    preferences: Sequence[Preference], offers: Sequence[str], closeness: Closeness
) -> str | None:
    qualities = [quality_of(offer, preferences, closeness) for offer in offers]
    top = max(qualities, default=0.0)
    return offers[qualities.index(top)] if top > 0.0 else None


def best_media_type(header: str | None, offers: Sequence[str]) -> str | None:
    """Return the media type to answer with, or None when none is acceptable (406)."""
    return _best(parse_accept(header or "*/*"), offers, _media)


def best_language(header: str | None, offers: Sequence[str]) -> str | None:
    """Return the language to answer in, or None when none is acceptable.

    A preference for `de` takes an offer of `de-AT`; one for `de-AT` does not take `de`.
    """
    return _best(parse_accept(header or "*"), offers, _language)


def best_encoding(header: str | None, offers: Sequence[str]) -> str | None:
    """Return the content coding to answer with, or None when none is acceptable.

    `identity` is always acceptable, as a last resort, unless the client rules it out.
    """
    preferences = parse_accept("*" if header is None else header)
    if all(_encoding(preference, "identity") is None for preference in preferences):
        preferences.append(Preference("identity", LEAST))
    return _best(preferences, offers, _encoding)
