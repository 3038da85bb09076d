"""Siblings: what the hidden tests ask of the code, asked again with one input altered.

The answers expected are the reference patch's. A patch that only knows the hidden tests' own inputs differs there; so
may a right one where the issue is silent, which is why a sibling flags and does not decide by itself.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nano_codex_env.scoring.twins import other_value

_LONGEST = 60
_EACH = 6


@dataclass(frozen=True)
class Sibling:
    """Operations on the code under test, and what the reference patch answers."""

    test: str
    operations: list[Any]
    answers: str


def operations_of(trace: str) -> list[Any]:
    """What a trace holds, without the stacks of what was raised: they tell of the machine, and nobody asks for them."""
    operations: list[Any] = json.loads(trace)
    for *_, answer in operations:
        if answer[0] == "raise":
            answer[5] = ""
    return operations


def altered_traces(traces: Mapping[str, str], chance: random.Random) -> Iterator[tuple[str, list[Any]]]:
    """(test, operations) with one plain input of one call changed, a few for each test."""
    for test, text in traces.items():
        operations = operations_of(text)
        places = [
            (number, path)
            for number, (name, args, named, _) in enumerate(operations)
            if name == "call"
            for path in _places([args[1:], named], ())
        ]
        if not test or len(operations) > _LONGEST:
            continue
        for number, path in chance.sample(places, min(_EACH, len(places))):
            changed = copy.deepcopy(operations)
            _, args, named, _ = changed[number]
            holder: Any = [args[1:], named]
            _change(holder, path, chance)
            changed[number][1:3] = [[args[0], *holder[0]], holder[1]]
            yield test, changed


def _places(value: Any, path: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Where plain numbers and strings stand; the letters that tag a value are left alone."""
    if not isinstance(value, list):
        return
    for number, item in enumerate(value):
        tag = (
            number == 0
            and isinstance(item, str)
            and len(value) > 1
            and path
            and item in ("l", "t", "s", "f", "d", "n", "x")
        )
        if isinstance(item, int | float | str) and not tag:
            yield (*path, number)
        elif isinstance(item, list) and item[:1] not in (["b"], ["a"], ["c"], ["k"], ["float"], ["x"], ["n"]):
            yield from _places(item, (*path, number))


def _change(holder: Any, path: tuple[int, ...], chance: random.Random) -> None:
    for number in path[:-1]:
        holder = holder[number]
    holder[path[-1]] = other_value(holder[path[-1]], chance)
