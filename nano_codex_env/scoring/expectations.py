"""Find what a Python test expects: the literals that only its assertions read, and natural edits of each.

A candidate edits the token's own text, so quotes, prefixes and number formats stay. Each edit is as likely as its
inverse, since code that tries to recognise mutants learns one-way edits first. Nothing is edited that could flow into
the code under test: no argument of a call, unless the call is an assertion or a constructor of the standard library,
and no name that is read anywhere but in the expected side of an assertion.
"""

from __future__ import annotations

import ast
import random
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from nano_codex_env.scoring import syntax
from nano_codex_env.scoring.literals import SourceText, constant_edits, swaps
from nano_codex_env.scoring.mutants import Edit, Mutant, apply_edits

KINDS = ("integer", "float", "boolean", "digit", "swap", "error", "letter", "negation")
"""Hardest to recognise first, as measured with classifiers on bundled and other tests; negations last, since an object
that is equal to everything fails them as a right patch does."""
_MAX_MUTANTS = 16
"""Mutants of a function that are considered."""
_COMPARING = {
    *("assertEqual", "assertEquals", "assertAlmostEqual", "assertAlmostEquals", "assertCountEqual", "assertIs"),
    *("assertListEqual", "assertTupleEqual", "assertDictEqual", "assertSetEqual", "assertSequenceEqual"),
    *("assertMultiLineEqual", "assert_equal", "assert_array_equal", "assert_allclose", "assert_almost_equal"),
    *("assert_array_almost_equal", "assert_frame_equal", "assert_series_equal", "assert_index_equal"),
}
"""Assertions of unittest, NumPy and pandas that compare their first two arguments."""
_RAISING = ("raises", "assertRaises", "assertRaisesRegex", "warns", "assertWarns")
_NEGATIONS = {
    "assertTrue": "assertFalse",
    "assertIsNone": "assertIsNotNone",
    "assertIn": "assertNotIn",
    "assertIs": "assertIsNot",
}
_NEGATIONS |= {new: old for old, new in _NEGATIONS.items()}
_OPPOSITE = {ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in"}


class _Site(NamedTuple):
    """One natural edit, and the assertion or table row that it belongs to."""

    kind: str
    edit: Edit
    lines: range
    """The lines of the assertion that reads the edited text."""
    row: int | None = None
    """The row of the parametrize table that is edited."""


def candidates(function: str, source: bytes, lines: Sequence[int], chance: random.Random) -> list[Mutant]:
    """Mutants of the test `function` of a file; `lines` are those at which it fails at the base commit.

    Mutants of a failing assertion come first, then kinds in the order of `KINDS`.
    """
    try:
        module, text = ast.parse(source), SourceText(source)
    except (SyntaxError, ValueError, tokenize.TokenError):
        return []
    node = syntax.find_function(module, function.split("::")[1:])
    if node is None:
        return []
    sites = list(_TestReader(module, node, text, chance).sites())
    chance.shuffle(sites)
    sites = list({site.edit: site for site in sites}.values())
    groups = [[site] for site in sites if site.row is None]
    rows: dict[int, list[_Site]] = {}
    for site in sorted(sites, key=lambda site: KINDS.index(site.kind)):
        if site.row is not None:
            rows.setdefault(site.row, []).append(site)
    for number in (1, 2):  # whole tables: one edit in every row, so that each row's own id fails
        if any(len(found) >= number for found in rows.values()):
            groups.append([found[:number][-1] for found in rows.values()])

    def rank(group: list[_Site]) -> tuple[bool, int]:
        is_near = any(line in site.lines for site in group for line in lines)
        return not is_near, min(KINDS.index(site.kind) for site in group)

    groups.sort(key=rank)
    mutants = [Mutant(function, KINDS[rank(group)[1]], tuple(site.edit for site in group)) for group in groups]
    return [mutant for mutant in mutants[:_MAX_MUTANTS] if _parses(apply_edits(source, mutant.edits))]


def _parses(source: bytes) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    return True


class _TestReader:
    """Finds the edits of one test function of a module."""

    def __init__(self, module: ast.Module, function: syntax.Function, text: SourceText, chance: random.Random) -> None:
        self._module, self._function, self._text, self._chance = module, function, text, chance
        self._functions = [node for node in ast.walk(module) if isinstance(node, syntax.Function)]
        self._defined, self._library = syntax.definitions(module), syntax.harmless_calls(module)
        self._reads, self._own_reads = syntax.reads(module), syntax.reads(function)
        self._errors = sorted({name for node in ast.walk(module) if (name := syntax.expected_error(node))})
        self._expected: list[tuple[ast.expr, range]] = []
        """Expected sides of assertions, with the assertion's lines."""
        self._negations: list[_Site] = []
        for node in ast.walk(function):
            if isinstance(node, ast.Assert):
                self._read_claim(node.test, node)
            elif isinstance(node, ast.Call):
                self._read_call(node)

    def sites(self) -> Iterator[_Site]:
        """Every natural edit."""
        yield from self._negations
        compared, first_lines = Counter[str](), dict[str, range]()
        for side, lines in self._expected:
            yield from self._edits(side, lines)
            for node in self._compared(side):
                if isinstance(node, ast.Name):
                    compared[node.id] += 1
                    first_lines.setdefault(node.id, lines)
        for name in sorted(compared):
            if self._own_reads[name] == compared[name]:
                yield from self._edits_of_name(name, first_lines[name])

    def _read_claim(self, claim: ast.expr, statement: ast.Assert) -> None:
        if isinstance(claim, ast.BoolOp) and isinstance(claim.op, ast.And):
            for value in claim.values:
                self._read_claim(value, statement)
            return
        lines, (start, _) = _lines(statement), self._text.span(claim)
        if isinstance(claim, ast.Compare):
            for (left, right), operator in zip(pairwise([claim.left, *claim.comparators]), claim.ops, strict=True):
                if isinstance(operator, ast.Eq):
                    self._expect((left, right), lines)
                elif type(operator) in _OPPOSITE:
                    between = self._text.tokens(self._text.span(left)[1], self._text.span(right)[0])
                    words = [(first, last) for first, last, token in between if token.string in ("is", "not", "in")]
                    if words:
                        self._negate(words[0][0], words[-1][1], _OPPOSITE[type(operator)], lines)
                    if isinstance(operator, ast.Is | ast.IsNot) and isinstance(right, ast.Constant | ast.Name):
                        self._expected.append((right, lines))
        elif statement.test is claim:
            if isinstance(claim, ast.UnaryOp) and isinstance(claim.op, ast.Not):
                rest = self._text.source[start + len("not") :]
                self._negate(start, start + len("not") + len(rest) - len(rest.lstrip(b" ")), "", lines)
            elif isinstance(claim, ast.Call | ast.Name | ast.Attribute):
                self._negate(start, start, "not ", lines)

    def _read_call(self, call: ast.Call) -> None:
        name, lines = syntax.name_of(call.func), _lines(call)
        if name in _RAISING:
            expected = call.args[0] if call.args else None
            if isinstance(expected, ast.Name):
                for other in self._errors:
                    if other != expected.id and not syntax.are_related(other, expected.id):
                        self._negations.append(_Site("error", Edit(*self._text.span(expected), other), lines))
            match = [keyword.value for keyword in call.keywords if keyword.arg == "match"]
            match += call.args[1:2] if name.endswith("Regex") else []
            self._expected += [(value, lines) for value in match if isinstance(value, ast.Constant | ast.Name)]
        elif name.startswith("assert_called") or name in ("assert_any_call", "assert_has_calls"):
            self._expect([*call.args, *(keyword.value for keyword in call.keywords)], lines)
        elif name not in self._defined:
            if name in _NEGATIONS and isinstance(call.func, ast.Attribute):
                end = self._text.span(call.func)[1]
                self._negate(end - len(name), end, _NEGATIONS[name], lines)
            if name in _COMPARING and len(call.args) > 1:
                self._expect(call.args[:2], lines)

    def _negate(self, start: int, end: int, text: str, lines: range) -> None:
        self._negations.append(_Site("negation", Edit(start, end, text), lines))

    def _expect(self, sides: Sequence[ast.expr], lines: range) -> None:
        """Record the sides of a comparison that do not call code under test and hold something to edit."""
        for side in sides:
            calls = [node for node in ast.walk(side) if isinstance(node, ast.Call)]
            is_harmless = all(ast.unparse(call.func) in self._library for call in calls)
            if is_harmless and any(isinstance(node, ast.Constant | ast.Name) for node in self._compared(side)):
                self._expected.append((side, lines))

    def _compared(self, side: ast.expr) -> Iterator[ast.expr]:
        """The nodes of an expected side that are only compared: no index of a subscript, no argument of the code."""
        yield side
        below: Sequence[ast.expr | None] = []
        if isinstance(side, ast.List | ast.Tuple | ast.Set):
            below = side.elts
        elif isinstance(side, ast.Dict):
            below = [*side.keys, *side.values]
        elif isinstance(side, ast.UnaryOp):
            below = [side.operand]
        elif isinstance(side, ast.BinOp) and not any(isinstance(node, ast.Name | ast.Call) for node in ast.walk(side)):
            below = [side.left, side.right]  # with a name, the other operand would go to its value's operator
        elif isinstance(side, ast.Starred):
            below = [side.value]
        elif isinstance(side, ast.Call) and (called := self._library.get(ast.unparse(side.func))):
            is_approx = called == "approx"  # the value, not the tolerance
            below = side.args[:1] if is_approx else [*side.args, *(keyword.value for keyword in side.keywords)]
        for node in below:
            if node is not None:
                yield from self._compared(node)

    def _edits(self, side: ast.expr, lines: range, row: int | None = None) -> Iterator[_Site]:
        for node in self._compared(side):
            if isinstance(node, ast.Constant):
                for kind, edit in constant_edits(node, self._text, self._chance):
                    yield _Site(kind, edit, lines, row)
            elif isinstance(node, ast.List | ast.Tuple | ast.Dict):
                items = node.values if isinstance(node, ast.Dict) else node.elts
                for edit in swaps(items, self._text, self._chance):
                    yield _Site("swap", edit, lines, row)

    def _edits_of_name(self, name: str, lines: range) -> Iterator[_Site]:
        """Edits of the value assigned to a name that only expected sides read."""
        if name in syntax.parameters(self._function.args):
            yield from self._edits_of_column(name, lines)
            yield from self._edits_of_fixture(name, lines)
            return
        values = syntax.assigned(self._function, name)
        if not values:
            at_module = syntax.assigned(self._module, name)
            is_only_reader = self._reads[name] == self._own_reads[name]
            values = at_module if len(at_module) == 1 and is_only_reader else []
        if len(values) == 1:
            yield from self._edits(values[0], lines)
            return
        for node in ast.walk(self._function):
            if isinstance(node, ast.For):
                items = node.target.elts if isinstance(node.target, ast.Tuple) else [node.target]
                names = [item.id for item in items if isinstance(item, ast.Name)]
                if len(names) == len(items):
                    for item in syntax.column(self._rows(node.iter), names, name)[:3]:
                        yield from self._edits(item, lines)

    def _edits_of_column(self, name: str, lines: range) -> Iterator[_Site]:
        """Edits in the column `name` of the function's parametrize tables."""
        for table in self._function.decorator_list:
            if isinstance(table, ast.Call) and syntax.name_of(table.func) == "parametrize" and len(table.args) > 1:
                names = syntax.column_names(table.args[0])
                if name in names and not self._reaches_a_fixture(name, table):
                    rows = [syntax.row_of(row) for row in self._rows(table.args[1])]
                    for number, item in enumerate(syntax.column(rows, names, name)):
                        yield from self._edits(item, lines, number)

    def _reaches_a_fixture(self, name: str, table: ast.Call) -> bool:
        """Whether the column `name` of a table may go to a fixture, and with it to the code."""
        indirect = next((keyword.value for keyword in table.keywords if keyword.arg == "indirect"), None)
        if indirect is not None:
            listed = {node.value for node in ast.walk(indirect) if isinstance(node, ast.Constant)}
            if not isinstance(indirect, ast.List | ast.Tuple | ast.Constant) or True in listed or name in listed:
                return True
        return any(syntax.is_fixture(node) and name in syntax.parameters(node) for node in self._functions)

    def _edits_of_fixture(self, name: str, lines: range) -> Iterator[_Site]:
        """Edits of what a fixture of this module returns, if no other function asks for it."""
        users = [node for node in self._functions if name in syntax.parameters(node.args)]
        is_named = any(isinstance(node, ast.Constant) and node.value == name for node in ast.walk(self._module))
        if len(users) != 1 or is_named:
            return
        for node in self._functions:
            if node.name == name and syntax.is_fixture(node):
                body = [item for item in node.body if not _is_docstring(item)]
                if len(body) == 1 and isinstance(body[0], ast.Return) and body[0].value:
                    yield from self._edits(body[0].value, lines)

    def _rows(self, node: ast.expr) -> list[ast.expr]:
        """The items of a literal table, or of a name that nothing else reads."""
        if isinstance(node, ast.Name):
            values = syntax.assigned(self._function, node.id) or syntax.assigned(self._module, node.id)
            node = values[0] if len(values) == 1 and self._reads[node.id] == 1 else node
        return list(node.elts) if isinstance(node, ast.List | ast.Tuple) else []


def _lines(node: ast.stmt | ast.expr) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
