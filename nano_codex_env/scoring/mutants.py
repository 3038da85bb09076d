"""Mutants of a hidden test: its expected values are changed, so that a right patch must fail it.

A patch that passes both a test and its mutant does not pass the test by what it computes. A mutant is one or more edits
of a test file's text; the inputs of the code are never changed (`expectations` finds the places). This is mutation
testing (DeMillo, Lipton, Sayward 1978) in reverse: the tests are mutated, and the code is judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    """The ids that fail with the reference patch; the mutant is judged by them."""
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
