"""Mutants of a hidden test: what it *expects* is changed, so that a right patch must fail it.

A patch that passes a test and its mutant too does not decide the test's verdict by what it computes. A mutant is one or
more edits of a test file's text; what the test gives to the code is never changed (`expectations` finds the places).
This is mutation testing (DeMillo, Lipton, Sayward 1978) the other way round: the tests are mutated, the code is judged.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Edit(NamedTuple):
    """Other text for the bytes from `start` to `end` of a file."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Mutant:
    """One mutation of one test function; JSON holds its fields."""

    function: str
    """The test's id without its parameters: `tests/test_x.py::Class::test_y`."""
    kind: str
    """`integer`, `float`, `boolean`, `digit`, `letter`, `swap`, `error`, `negation`: what was edited."""
    edits: tuple[Edit, ...]
    tests: tuple[str, ...] = ()
    """The ids that fail with the reference patch; by these the mutant is judged."""
    renamed: tuple[tuple[str, str], ...] = ()
    """(id of a mutated row of a parametrize table, the original id)."""

    @property
    def file(self) -> str:
        """The test file that is edited."""
        return self.function.partition("::")[0]

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Mutant:
        """A mutant from its fields as JSON holds them."""
        edits = tuple(Edit(*edit) for edit in row["edits"])
        renamed = tuple((new, old) for new, old in row["renamed"])
        return cls(row["function"], row["kind"], edits, tuple(row["tests"]), renamed)


def function_of(test: str) -> str:
    """A test's id without its parameters.

    >>> function_of("tests/test_x.py::test_y[a-[b]]")
    'tests/test_x.py::test_y'
    """
    return test.partition("[")[0]


def apply_edits(source: bytes, edits: Iterable[Edit]) -> bytes:
    """`source` with all `edits`, which do not overlap."""
    for edit in sorted(edits, key=lambda edit: -edit.start):
        source = source[: edit.start] + edit.text.encode() + source[edit.end :]
    return source


def apply_mutants(sources: Mapping[str, bytes], mutants: Iterable[Mutant]) -> dict[str, bytes]:
    """The files that `mutants` edit, after the edits; `sources` holds their originals."""
    edits: dict[str, list[Edit]] = {}
    for mutant in mutants:
        edits.setdefault(mutant.file, []).extend(mutant.edits)
    return {file: apply_edits(sources[file], found) for file, found in edits.items()}


class Draw(NamedTuple):
    """The tests of one mutant run, and which functions are mutated in it."""

    tests: tuple[str, ...]
    mutants: tuple[Mutant, ...]


def draw_runs(
    protected: Sequence[Mutant], always: Sequence[str], others: Sequence[str], runs: int, chance: random.Random
) -> list[Draw]:
    """Draw which tests are in each of `runs` mutant runs, and which functions are mutated there.

    Each protected function is in every run, mutated in at least one and unmodified in at least one of them, uniformly
    over the `2**runs - 2` such patterns; the tests `always` are in every run, each of `others` in one.
    """
    patterns = [(mutant, chance.randrange(1, 2**runs - 1)) for mutant in protected]
    places = [(test, chance.randrange(runs)) for test in others]
    return [
        Draw(
            (*always, *(test for test, place in places if place == number)),
            tuple(mutant for mutant, pattern in patterns if pattern >> number & 1),
        )
        for number in range(runs)
    ]
