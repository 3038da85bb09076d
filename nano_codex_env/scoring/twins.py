"""Altered twins: a hidden test with something that it expects changed, which a right patch must fail.

Altered is a literal that a test compares with `==` or by `assertEqual`, the error that `pytest.raises` shall see, or
the whole of what is compared; where there is none of these, an assertion is negated. A patch that passes the test as
it is cannot pass its twin, unless the test's verdict does not come from the patch.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_LITERALS = 3
_OTHER_ERRORS = ("ZeroDivisionError", "BufferError", "EOFError", "MemoryError")


@dataclass(frozen=True)
class Twin:
    """One alteration of a test file, in bytes, and the tests that the reference patch then fails."""

    file: str
    start: int
    end: int
    text: str
    tests: tuple[str, ...] = ()

    @property
    def function(self) -> str:
        """The test without its parameters: one function is altered in one place at a time."""
        return self.tests[0].partition("[")[0]


def apply(source: bytes, twins: Iterable[Twin]) -> bytes:
    """`source` with all `twins` in it; they do not overlap."""
    for twin in sorted(twins, key=lambda twin: -twin.start):
        source = source[: twin.start] + twin.text.encode() + source[twin.end :]
    return source


def alterations(file: str, source: bytes, function: str, chance: random.Random) -> list[Twin]:
    """Ways to alter what the test `function` (`test_x` or `Class::test_x`) of a file expects, the best first."""
    body = _function(source, function)
    literals = [_twin(file, source, node, text) for node, text in _expected(body, chance)] if body else []
    whole = [_twin(file, source, node, "[", "]", keeps=True) for node in _compared(body)] if body else []
    chance.shuffle(literals)
    chance.shuffle(whole)
    return [*literals[:_LITERALS], *whole]


def negations(file: str, source: bytes, function: str, chance: random.Random) -> list[Twin]:
    """The same with assertions negated, for a test where nothing else can be altered."""
    body = _function(source, function)
    found = []
    for node in ast.walk(body) if body else ():
        if isinstance(node, ast.Assert):
            found.append(_twin(file, source, node.test, "(not (", "))", keeps=True))
    chance.shuffle(found)
    return found


def _function(source: bytes, function: str) -> Any:
    try:
        body: Any = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    for name in function.split("::"):
        kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        body = next((node for node in body.body if isinstance(node, kinds) and node.name == name), None)
        if body is None:
            return None
    return body


def _twin(file: str, source: bytes, node: ast.expr, before: str, after: str = "", *, keeps: bool = False) -> Twin:
    """`before` and `after` in the place of `node`, or around it."""
    lines = source.split(b"\n")
    start, end = (
        sum(len(line) + 1 for line in lines[: row - 1]) + column
        for row, column in ((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0))
    )
    return Twin(file, start, end, before + (source[start:end].decode() if keeps else "") + after)


def _compared(function: ast.AST) -> Iterator[ast.expr]:
    """What a test compares with; put into a list, it is equal to nothing that it was equal to before."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare) and _is_equality(node.test):
            yield node.test.comparators[0]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _asserts(node.func.attr):
            yield from node.args[1:2]


def _expected(function: ast.AST, chance: random.Random) -> Iterator[tuple[ast.expr, str]]:
    """Literals that a test expects, and what may stand in the place of each."""
    assigned = {
        target.id: node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare) and _is_equality(node.test):
            sides = [node.test.left, *node.test.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _asserts(node.func.attr):
            sides = node.args[:2]
        elif isinstance(node, ast.Call) and _name(node.func) in ("raises", "assertRaises") and node.args:
            if isinstance(node.args[0], ast.Name | ast.Attribute):
                yield node.args[0], chance.choice(_OTHER_ERRORS)
            continue
        else:
            continue
        for side in sides:
            value = assigned.get(side.id, side) if isinstance(side, ast.Name) else side
            for literal in _literals(value):
                yield literal, repr(other_value(literal.value, chance))


def _is_equality(test: ast.Compare) -> bool:
    return len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)


def _asserts(name: str) -> bool:
    return name in ("assertEqual", "assertEquals", "assertListEqual", "assertDictEqual", "assertTupleEqual")


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _literals(value: ast.expr) -> Iterator[ast.Constant]:
    """The constants in a side that calls nothing: there a change cannot be the code's own business."""
    quiet = not any(isinstance(node, ast.Call | ast.JoinedStr | ast.Subscript) for node in ast.walk(value))
    for node in ast.walk(value) if quiet else ():
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str | bytes):
            yield node


def other_value(value: Any, chance: random.Random) -> Any:
    """Something of the same type that is not equal, and as plausible as can be."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + chance.choice([-2, -1, 1, 2, 3, 10])
    if isinstance(value, float):
        return value + chance.choice([-1.0, -0.5, 0.5, 1.0, 2.0])
    if isinstance(value, bytes):
        return other_value(value.decode("latin-1"), chance).encode("latin-1")
    if not value:
        return chance.choice("aegx0")
    place = chance.randrange(len(value))
    letter = chance.choice(
        [char for char in ("0123456789" if value[place].isdigit() else "aeioxtn") if char != value[place]]
    )
    return value[:place] + letter + value[place + 1 :]


def pick(twins: Sequence[Twin], runs: int, chance: random.Random) -> list[list[Twin]]:
    """For each of `runs` which twins are in it: every function is altered at least once, and at least once is not."""
    chosen: list[list[Twin]] = [[] for _ in range(runs)]
    by_function: dict[str, list[Twin]] = {}
    for twin in twins:
        by_function.setdefault(f"{twin.file} {twin.function}", []).append(twin)
    for variants in by_function.values():
        times = chance.sample(range(runs), chance.randint(1, max(1, runs - 1)))
        for number in times:
            chosen[number].append(chance.choice(variants))
    return chosen
