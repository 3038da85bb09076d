"""Runs with the tests: operations on the code under test that were recorded once are done again."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nano_codex_env.scoring.inside.stubs import Bridge, CrossingError, Operation


def replay(bridge: Bridge, operations: Sequence[Operation], found: dict[int, int]) -> list[Any]:
    """Do recorded operations again; what each gave, comparable: handles have no number, errors no words.

    `found` says which handle of now stands for which of then, and learns more.
    """
    results: list[Any] = []
    for name, args, kwargs, before in operations:
        sent = _translated([args, kwargs], found)
        if sent is None:
            results.append("gap")
            continue
        try:
            answer = bridge.exchange([name, *sent])
        except CrossingError:
            return [*results, "broken"]
        _match(before, answer, found)
        results.append(_bare(answer[:2]))
    return results


def _translated(value: Any, found: dict[int, int]) -> Any:
    """`value` with the handles of now, or None where one has no counterpart."""
    handles = list(_objects(value))
    if any("p" in item or item.get("o", item.get("e", -1)) not in {-1, *found} for item in handles):
        return None
    return _map(value, lambda item: {key: found[item[key]] for key in ("o", "e") if key in item} or item)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item)


def _map(value: Any, change: Callable[[dict[str, Any]], Any]) -> Any:
    if isinstance(value, dict):
        return change(value)
    return [_map(item, change) for item in value] if isinstance(value, list) else value


def _match(before: Any, now: Any, found: dict[int, int]) -> None:
    """Learn which handle of now stands where one stood before."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in ("o", "e"):
            if type(before.get(key)) is int and type(now.get(key)) is int:
                found[before[key]] = now[key]
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for one, other in zip(before, now, strict=True):
            _match(one, other, found)


def _bare(value: Any) -> Any:
    """Without numbers of handles."""
    return _map(value, lambda item: {key: item[key] for key in sorted(item) if key in ("q", "name")} or "an object")
