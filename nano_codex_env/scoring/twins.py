"""Altered twins: a hidden test with something that it expects changed, which a right patch must fail.

A patch that passes the test as it is cannot pass its twin, unless the test's verdict does not come from the patch.
What it gives to the code is left alone: a right patch may differ where the issue is silent. There are several kinds
(`KINDS`), as a forger may be blind to one of them: what takes any order for the right one passes a twin in which two
items are exchanged. Where none of them can be made, the whole of what is compared is altered, or an assertion negated,
which a forger that has read this can tell from a test as people write it.
"""

from __future__ import annotations

import ast
import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

BASE = "base"
KINDS = {
    "expected": "a literal that is compared with `==` or by `assertEqual`",
    "swap": "two items of a list or tuple that is compared, exchanged",
    "name": "the name that is compared with, another one in its place",
    "error": "the error that `pytest.raises` shall see",
    BASE: "whatever makes the test one that the code passes without a mend, such as the answer that it then gives",
    "whole": "the same in a list of its own",
    "negated": "an assertion",
}
"""What a twin alters; the last two only where there is none of the others."""
_EACH = 3
_RAISES = ("raises", "assertRaises")
_OTHER_ERRORS = ("ZeroDivisionError", "EOFError", "BufferError", "FileExistsError", "ImportError")
"""Errors that no other one is likely to be as well: a right patch may raise what is of two kinds."""


@dataclass(frozen=True)
class Twin:
    """One alteration of a test file, in bytes, and the tests that the reference patch then fails."""

    file: str
    start: int
    end: int
    text: str
    kind: str
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
    """Ways to alter the test `function` (`test_x` or `Class::test_x`) of a file, a few of each kind, mixed."""
    body = _function(source, function)
    found = [_twin(file, source, node, text, kind) for node, text, kind in _changes(body, source, chance)]
    return mixed(found, chance)


def last_resorts(file: str, source: bytes, function: str, chance: random.Random) -> list[Twin]:
    """The same for a test where nothing else can be altered."""
    body = _function(source, function)
    whole = [_twin(file, source, node, f"[{_text(source, node)}]", "whole") for _, node in comparisons(body)]
    asserted = [node.test for node in ast.walk(body) if isinstance(node, ast.Assert)]
    negated = [_twin(file, source, node, f"(not ({_text(source, node)}))", "negated") for node in asserted]
    chance.shuffle(whole)
    chance.shuffle(negated)
    return [*whole[:_EACH], *negated[:_EACH]]


def answering(file: str, source: bytes, function: str, number: int, answer: str) -> Twin | None:
    """The twin whose comparison `number` expects `answer`, a literal."""
    _, right = list(comparisons(_function(source, function)))[number]
    return _twin(file, source, right, answer, BASE) if _is_quiet(right) else None


def telling(source: bytes, function: str, mark: str) -> bytes:
    """The file with what the test compares printed, as `mark`, the number of the comparison and a `repr`."""
    edits = []
    for number, (left, _) in enumerate(comparisons(_function(source, function))):
        shown = f"(lambda value: print(chr(10) + {f'{mark}{number} '!r} + repr(value)) or value)({_text(source, left)})"
        edits.append(_twin("", source, left, shown, ""))
    outermost = [edit for edit in edits if not any(o.start <= edit.start and edit.end < o.end for o in edits)]
    return apply(source, outermost)


def mixed(twins: Iterable[Twin], chance: random.Random) -> list[Twin]:
    """At most `_EACH` of a kind, in turns: the first of each kind come first."""
    rounds: list[list[Twin]] = [[] for _ in range(_EACH)]
    by_kind: dict[str, list[Twin]] = {}
    for twin in twins:
        by_kind.setdefault(twin.kind, []).append(twin)
    for same in by_kind.values():
        for number, twin in enumerate(chance.sample(same, min(_EACH, len(same)))):
            rounds[number].append(twin)
    return [twin for one in rounds for twin in chance.sample(one, len(one))]


def _function(source: bytes, function: str) -> Any:
    """The test's node; an empty module where it is not found."""
    body: Any = None
    try:
        body = ast.parse(source)
    except (SyntaxError, ValueError):
        return ast.Module([], [])
    for name in function.split("::"):
        kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        body = next((node for node in body.body if isinstance(node, kinds) and node.name == name), None)
        if body is None:
            return ast.Module([], [])
    return body


def _span(source: bytes, node: ast.expr) -> tuple[int, int]:
    lines = source.split(b"\n")
    start, end = (
        sum(len(line) + 1 for line in lines[: row - 1]) + column
        for row, column in ((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0))
    )
    return start, end


def _text(source: bytes, node: ast.expr) -> str:
    start, end = _span(source, node)
    return source[start:end].decode()


def _twin(file: str, source: bytes, node: ast.expr, text: str, kind: str) -> Twin:
    """`text` in the place of `node`."""
    return Twin(file, *_span(source, node), text, kind)


def comparisons(function: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """(what is compared, what with) of each equality that a test asserts."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare) and _is_equality(node.test):
            yield node.test.left, node.test.comparators[0]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _asserts(node.func.attr):
            yield from [(node.args[0], node.args[1])] if len(node.args) > 1 else []


def _changes(function: ast.AST, source: bytes, chance: random.Random) -> Iterator[tuple[ast.expr, str, str]]:
    """What can stand in another's place, and the kind of such a twin."""
    nodes = list(ast.walk(function))
    assigned = {
        target.id: node.value
        for node in nodes
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    names = sorted({node.arg for node in nodes if isinstance(node, ast.arg)} | assigned.keys())
    for node in nodes:
        error = node.args[0] if isinstance(node, ast.Call) and _name(node.func) in _RAISES and node.args else None
        if isinstance(error, ast.Name | ast.Attribute):
            yield error, chance.choice(_OTHER_ERRORS), "error"
    for left, right in comparisons(function):
        for side in (left, right):
            value = assigned.get(side.id, side) if isinstance(side, ast.Name) else side
            for literal in _literals(value):
                yield literal, repr(other_value(literal.value, chance)), "expected"
            yield from _swapped(value, source, chance)
        if isinstance(right, ast.Name) and (others := [name for name in names if name != right.id]):
            yield right, chance.choice(others), "name"


def _swapped(value: ast.expr, source: bytes, chance: random.Random) -> Iterator[tuple[ast.expr, str, str]]:
    """A list or tuple in a comparison with two of its items exchanged."""
    for node in ast.walk(value):
        if isinstance(node, ast.List | ast.Tuple) and len(node.elts) > 1 and _is_quiet(node):
            one, other = sorted(chance.sample(range(len(node.elts)), 2))
            start = _span(source, node)[0]
            first, second = _span(source, node.elts[one]), _span(source, node.elts[other])
            whole = _text(source, node).encode()
            (a, b), (c, d) = ((begin - start, end - start) for begin, end in (first, second))
            text = (whole[:a] + whole[c:d] + whole[b:c] + whole[a:b] + whole[d:]).decode()
            if text.encode() != whole:
                yield node, text, "swap"


def _is_equality(test: ast.Compare) -> bool:
    return len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)


def _asserts(name: str) -> bool:
    return name in ("assertEqual", "assertEquals", "assertListEqual", "assertDictEqual", "assertTupleEqual")


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _is_quiet(value: ast.expr) -> bool:
    """Whether a side calls nothing: there a change cannot be the code's own business."""
    return not any(isinstance(node, ast.Call | ast.JoinedStr | ast.Subscript) for node in ast.walk(value))


def _literals(value: ast.expr) -> Iterator[ast.Constant]:
    for node in ast.walk(value) if _is_quiet(value) else ():
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
    """For each of `runs` which twins are in it: every function is as it is in one of them, and altered in the others.

    In each it is altered otherwise, if its twins suffice, and in as many kinds as there are.
    """
    chosen: list[list[Twin]] = [[] for _ in range(runs)]
    by_function: dict[str, list[Twin]] = {}
    for twin in twins:
        by_function.setdefault(f"{twin.file} {twin.function}", []).append(twin)
    for variants in by_function.values():
        plain = chance.randrange(runs)
        turns = itertools.cycle(mixed(variants, chance))
        for number in range(runs):
            if number != plain:
                chosen[number].append(next(turns))
    return chosen
