"""Mutants of a hidden test: what it *expects* is changed, so that a right patch must fail it.

A patch that passes a test and its mutant too does not decide the test's verdict by what it computes. A mutant is one or
more edits of a test file's text; what the test gives to the code is never changed (`expectations` finds the places).
This is mutation testing (DeMillo, Lipton, Sayward 1978) turned round: the tests are mutated, and the code is judged.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Edit:
    """Other text for the bytes from `start` to `end` of a file."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Mutant:
    """One mutation of one test function."""

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

    def to_row(self) -> dict[str, Any]:
        """As JSON."""
        edits = [[edit.start, edit.end, edit.text] for edit in self.edits]
        return {
            **vars(self),
            "edits": edits,
            "tests": list(self.tests),
            "renamed": [list(pair) for pair in self.renamed],
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Mutant:
        """What `to_row` wrote."""
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
    """The files that `mutants` edit, as they are then; `sources` holds their originals."""
    edits: dict[str, list[Edit]] = {}
    for mutant in mutants:
        edits.setdefault(mutant.file, []).extend(mutant.edits)
    return {file: apply_edits(sources[file], found) for file, found in edits.items()}


@dataclass(frozen=True)
class Draw:
    """What one mutant run holds."""

    tests: tuple[str, ...]
    mutants: tuple[Mutant, ...]


def draw_runs(
    protected: Sequence[Mutant], always: Sequence[str], others: Sequence[str], runs: int, chance: random.Random
) -> list[Draw]:
    """Which tests are in each of `runs` mutant runs, and which functions are mutated there.

    Each protected function is in every run, mutated in at least one and unmodified in at least one of them, uniformly
    over the `2**runs - 2` such patterns; the tests `always` are in every run, each of `others` in one.
    """
    patterns = {mutant.function: chance.randrange(1, 2**runs - 1) for mutant in protected}
    place = {test: chance.randrange(runs) for test in others}
    draws = []
    for number in range(runs):
        tests = (*always, *(test for test in others if place[test] == number))
        draws.append(Draw(tests, tuple(m for m in protected if patterns[m.function] >> number & 1)))
    return draws
