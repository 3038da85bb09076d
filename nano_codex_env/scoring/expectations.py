"""Find what a Python test expects: the literals that only its assertions read, and natural edits of each.

A candidate edits the token's own text, so quotes, prefixes and number formats stay; each edit is as likely backwards
as forwards (a recogniser learns one-way edits first). Nothing is touched that could flow into the code under test: no
argument of a call, unless the call is an assertion or a constructor of the standard library, and no name that is read
anywhere but in the expected side of an assertion.
"""

from __future__ import annotations

import ast
import itertools
import random
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from nano_codex_env.scoring.literals import SourceText, constant_edits, swaps
from nano_codex_env.scoring.mutants import Edit, Mutant, apply_edits
from nano_codex_env.scoring.syntax import (
    Function,
    argument_names,
    arguments_of,
    assigned,
    column,
    defined_names,
    find_function,
    harmless_calls,
    is_docstring,
    is_fixture,
    is_named,
    may_call,
    name_of,
    quiet,
    raised,
    reads_in,
    reads_of,
    related,
    unpacked,
)

KINDS = ("integer", "float", "boolean", "digit", "swap", "error", "letter", "negation")
"""Least visible first, as measured with recognisers on bundled and outside tests; a negation last, since an object that
agrees with everything fails it as a right patch does."""
_COMPARING = {
    *(
        f"assert{kind}Equal"
        for kind in ("", "List", "Tuple", "Dict", "Set", "Sequence", "MultiLine", "Count", "Almost")
    ),
    *("assertEquals", "assertIs", "assertAlmostEquals"),
    *("assert_equal", "assert_array_equal", "assert_allclose", "assert_almost_equal", "assert_array_almost_equal"),
    *("assert_frame_equal", "assert_series_equal", "assert_index_equal"),
}
"""Assertions of unittest, NumPy and pandas that compare their first two arguments."""
_MOST = 16
"""Mutants of a function that are looked at."""
_NEGATIONS = {
    "assertTrue": "assertFalse",
    "assertIsNone": "assertIsNotNone",
    "assertIn": "assertNotIn",
    "assertIs": "assertIsNot",
}
_NEGATIONS |= {new: old for old, new in _NEGATIONS.items()}
_OPPOSITE = {ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in"}


@dataclass(frozen=True)
class _Site:
    """One natural edit, and the assertion or table row that it belongs to."""

    kind: str
    edit: Edit
    lines: range
    """The lines of the assertion that reads what is edited."""
    row: int | None = None
    """The row of the parametrize table that is edited."""


def candidates(function: str, source: bytes, lines: Sequence[int], chance: random.Random) -> list[Mutant]:
    """Mutants of the test `function` of a file, the most natural first; `lines` are where it fails without a fix.

    Mutations of the assertion that fails at the base commit come before others, then kinds in the order of `KINDS`.
    """
    try:
        module = ast.parse(source)
        text = SourceText(source)
    except (SyntaxError, ValueError, tokenize.TokenError):
        return []
    node = find_function(module, function.split("::")[1:])
    if node is None:
        return []
    sites = list(_Reader(module, node, text, chance).sites())
    chance.shuffle(sites)
    by_edit = {(site.edit.start, site.edit.end, site.edit.text): site for site in sites}
    at_base = set(lines)
    groups: list[tuple[tuple[bool, int], Mutant]] = []
    in_rows = [site for site in by_edit.values() if site.row is not None]
    for site in by_edit.values():
        if site.row is None:
            near = not at_base.isdisjoint(site.lines)
            groups.append(((not near, KINDS.index(site.kind)), Mutant(function, site.kind, (site.edit,))))
    for turn in range(2):  # whole tables: one edit in every row, each row's own failing id
        rows: dict[int, list[_Site]] = {}
        for site in sorted(in_rows, key=lambda site: KINDS.index(site.kind)):
            rows.setdefault(site.row or 0, []).append(site)
        chosen = [found[min(turn, len(found) - 1)] for found in rows.values()]
        if chosen and (not turn or any(len(found) > 1 for found in rows.values())):
            kind = min((site.kind for site in chosen), key=KINDS.index)
            near = any(not at_base.isdisjoint(site.lines) for site in chosen)
            groups.append(((not near, KINDS.index(kind)), Mutant(function, kind, tuple(site.edit for site in chosen))))
    found = (mutant for _, mutant in sorted(groups, key=lambda group: group[0]))
    return [mutant for mutant in itertools.islice(found, _MOST) if _parses(apply_edits(source, mutant.edits))]


def _parses(source: bytes) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    return True


class _Reader:
    """Reads one test function of a module."""

    def __init__(self, module: ast.Module, function: Function, text: SourceText, chance: random.Random) -> None:
        self._module, self._function, self._text, self._chance = module, function, text, chance
        self._library, self._defined = harmless_calls(module), defined_names(module)
        self._errors = sorted({name for node in ast.walk(module) if (name := raised(node))})
        self._expected: list[tuple[ast.expr, ast.stmt | ast.expr]] = []
        self._negations: list[_Site] = []
        self._read_assertions()

    def sites(self) -> Iterator[_Site]:
        """Every natural edit."""
        yield from self._negations
        free: set[str] = set()
        for side, statement in self._expected:
            lines = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
            yield from self._edits(side, lines)
            free |= {node.id for node in quiet(side, self._library) if isinstance(node, ast.Name)}
        for name in sorted(free):
            readers = [(side, at) for side, at in self._expected if reads_in(side, name, self._library)]
            lines = range(readers[0][1].lineno, (readers[0][1].end_lineno or 0) + 1)
            if reads_of(self._function, name) == sum(reads_in(side, name, self._library) for side, _ in readers):
                yield from self._named(name, lines)

    def _named(self, name: str, lines: range) -> Iterator[_Site]:
        """Edits of what a name stands for, which only expected sides read."""
        if name in arguments_of(self._function.args):
            yield from self._columns(name, lines)
            yield from self._fixture(name, lines)
            return
        values = assigned(self._function, name)
        if not values:
            at_module = assigned(self._module, name, top=True)
            total = reads_of(self._module, name)
            values = at_module if len(at_module) == 1 and total == reads_of(self._function, name) else []
        if len(values) == 1:
            yield from self._edits(values[0], lines)
            return
        for node in ast.walk(self._function):
            if isinstance(node, ast.For) and isinstance(node.target, ast.Tuple | ast.Name):
                for number, item in enumerate(column(node.target, name, self._rows(node.iter))):
                    if number < 3:
                        yield from self._edits(item, lines)

    def _fixture(self, name: str, lines: range) -> Iterator[_Site]:
        """Edits of what a fixture of this module returns, if no other function asks for it."""
        functions = [n for n in ast.walk(self._module) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        users = sum(name in arguments_of(node.args) for node in functions)
        for node in functions:
            body = [item for item in node.body if not is_docstring(item)]
            returns = body[0].value if len(body) == 1 and isinstance(body[0], ast.Return) else None
            if node.name == name and is_fixture(node) and users == 1 and returns and not is_named(self._module, name):
                yield from self._edits(returns, lines)

    def _may_be_given(self, name: str, decorator: ast.Call) -> bool:
        """Whether the column `name` of a table may go to a fixture, and with it to the code."""
        indirect = next((word.value for word in decorator.keywords if word.arg == "indirect"), None)
        if indirect is not None:
            listed = {node.value for node in ast.walk(indirect) if isinstance(node, ast.Constant)}
            if not isinstance(indirect, ast.List | ast.Tuple | ast.Constant) or True in listed or name in listed:
                return True
        return any(is_fixture(node) and name in arguments_of(node) for node in ast.walk(self._module))

    def _columns(self, name: str, lines: range) -> Iterator[_Site]:
        """Edits in the column `name` of the function's parametrize tables."""
        for decorator in self._function.decorator_list:
            if not (
                isinstance(decorator, ast.Call) and name_of(decorator.func) == "parametrize" and len(decorator.args) > 1
            ):
                continue
            names = argument_names(decorator.args[0])
            if name not in names or self._may_be_given(name, decorator):
                continue
            target: ast.expr = ast.Tuple([ast.Name(one, ast.Store()) for one in names], ast.Store())
            rows = [unpacked(row) for row in self._rows(decorator.args[1])]
            items = rows if len(names) == 1 else column(target, name, rows)
            for number, item in enumerate(items):
                for site in self._edits(item, lines):
                    yield _Site(site.kind, site.edit, lines, number)

    def _rows(self, node: ast.expr) -> list[ast.expr]:
        """The items of a literal table, or of a name that nothing else reads."""
        if isinstance(node, ast.Name):
            values = assigned(self._function, node.id) or assigned(self._module, node.id, top=True)
            node = values[0] if len(values) == 1 and reads_of(self._module, node.id) == 1 else node
        return list(node.elts) if isinstance(node, ast.List | ast.Tuple) else []

    def _read_assertions(self) -> None:
        for node in ast.walk(self._function):
            if isinstance(node, ast.Assert):
                self._read_claim(node.test, node)
            elif isinstance(node, ast.Call):
                self._read_call(node)

    def _read_claim(self, claim: ast.expr, statement: ast.stmt) -> None:
        if isinstance(claim, ast.BoolOp) and isinstance(claim.op, ast.And):
            for value in claim.values:
                self._read_claim(value, statement)
            return
        lines = range(statement.lineno, (statement.end_lineno or 0) + 1)
        if not isinstance(claim, ast.Compare):
            if isinstance(statement, ast.Assert) and statement.test is claim:
                start, _ = self._text.span(claim)
                if isinstance(claim, ast.UnaryOp) and isinstance(claim.op, ast.Not):
                    rest = self._text.source[start + len("not") :]
                    end = start + len("not") + len(rest) - len(rest.lstrip(b" "))
                    self._negations.append(_Site("negation", Edit(start, end, ""), lines))
                elif isinstance(claim, ast.Call | ast.Name | ast.Attribute):
                    self._negations.append(_Site("negation", Edit(start, start, "not "), lines))
            return
        sides = [claim.left, *claim.comparators]
        for (left, right), operator in zip(pairwise(sides), claim.ops, strict=True):
            if isinstance(operator, ast.Eq):
                self._expected += [(side, statement) for side in (left, right) if self._is_expected(side)]
            elif type(operator) in _OPPOSITE:
                self._negate(left, right, operator, lines)
                if isinstance(operator, ast.Is | ast.IsNot) and isinstance(right, ast.Constant | ast.Name):
                    self._expected.append((right, statement))

    def _negate(self, left: ast.expr, right: ast.expr, operator: ast.cmpop, lines: range) -> None:
        """`is` and `in` become `is not` and `not in`, and the other way round."""
        between = (self._text.span(left)[1], self._text.span(right)[0])
        tokens = [
            (a, b) for a, b, token in self._text.tokens
            if between[0] <= a and b <= between[1] and token.string in ("is", "not", "in")
        ]  # fmt: skip
        if tokens:
            edit = Edit(tokens[0][0], tokens[-1][1], _OPPOSITE[type(operator)])
            self._negations.append(_Site("negation", edit, lines))

    def _read_call(self, call: ast.Call) -> None:
        name = name_of(call.func)
        lines = range(call.lineno, (call.end_lineno or 0) + 1)
        if name in ("raises", "assertRaises", "assertRaisesRegex", "warns", "assertWarns"):
            self._read_error(call, lines)
        elif name.startswith("assert_called") or name in ("assert_any_call", "assert_has_calls"):
            self._expected += [(side, call) for side in call.args if self._is_expected(side)]
            self._expected += [(word.value, call) for word in call.keywords if self._is_expected(word.value)]
        elif name not in self._defined:
            if name in _NEGATIONS and isinstance(call.func, ast.Attribute):
                end = self._text.span(call.func)[1]
                self._negations.append(_Site("negation", Edit(end - len(name), end, _NEGATIONS[name]), lines))
            if name in _COMPARING and len(call.args) > 1:
                self._expected += [(side, call) for side in call.args[:2] if self._is_expected(side)]

    def _read_error(self, call: ast.Call, lines: range) -> None:
        """The error that is expected, another that the file expects too, and the text that it must match."""
        named = call.args[0] if call.args else None
        if isinstance(named, ast.Name):
            for other in self._errors:
                if other != named.id and not related(other, named.id):
                    start, end = self._text.span(named)
                    self._negations.append(_Site("error", Edit(start, end, other), lines))
        match = [word.value for word in call.keywords if word.arg == "match"]
        match += call.args[1:2] if name_of(call.func).endswith("Regex") else []
        self._expected += [(value, call) for value in match if isinstance(value, ast.Constant | ast.Name)]

    def _is_expected(self, side: ast.expr) -> bool:
        """Whether a side of a comparison calls nothing of the code's and holds something to edit."""
        found = list(quiet(side, self._library))
        loud = [node for node in ast.walk(side) if isinstance(node, ast.Call) and not may_call(node, self._library)]
        return not loud and any(isinstance(node, ast.Constant | ast.Name) for node in found)

    def _edits(self, side: ast.expr, lines: range) -> Iterator[_Site]:
        for node in quiet(side, self._library):
            if isinstance(node, ast.Constant):
                for kind, edit in constant_edits(node, self._text, self._chance):
                    yield _Site(kind, edit, lines)
            elif isinstance(node, ast.List | ast.Tuple):
                for edit in swaps(node.elts, self._text, self._chance):
                    yield _Site("swap", edit, lines)
            elif isinstance(node, ast.Dict):
                for edit in swaps(node.values, self._text, self._chance):
                    yield _Site("swap", edit, lines)
