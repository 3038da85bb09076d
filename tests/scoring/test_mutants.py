"""Mutants of hidden tests: what is edited and how, what is never touched, how runs are drawn, and how they are made."""

from __future__ import annotations

import ast
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import indent
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nano_codex_env import Task
from nano_codex_env.diff import File, file_diff
from nano_codex_env.errors import BrokenTaskError, RewardError
from nano_codex_env.sandbox import ExecResult, Sandbox, Shell, View
from nano_codex_env.scoring import Scorer
from nano_codex_env.scoring.expectations import KINDS, candidates
from nano_codex_env.scoring.mutants import Edit, Mutant, apply_edits, apply_mutants, function_of
from nano_codex_env.scoring.protection import Protection, known_protection, protection_of
from tests.conftest import git
from tests.strategies import quick

SEEDS = range(40)
Found = set[tuple[str, str]]


def mutants(
    source: str, function: str = "test_it", lines: Sequence[int] = (), seeds: Iterable[int] = SEEDS
) -> set[Mutant]:
    """Every mutant that some seed gives: of a string, each seed edits other characters."""
    return {
        mutant
        for seed in seeds
        for mutant in candidates(f"t.py::{function}", source.encode(), lines, random.Random(seed))
    }


def changed(source: str, function: str = "test_it") -> Found:
    """(kind, the lines that are new, joined by `/`) of each mutant; every one must parse."""
    found = set()
    for mutant in mutants(source, function):
        text = apply_edits(source.encode(), mutant.edits).decode()
        ast.parse(text)
        pairs = zip(source.split("\n"), text.split("\n"), strict=True)
        found.add((mutant.kind, " / ".join(new.strip() for old, new in pairs if old != new)))
    return found


def claim(line: str) -> Found:
    """What becomes of one assertion, without the word `assert`."""
    return {(kind, text.removeprefix("assert ")) for kind, text in changed(f"def test_it():\n    assert {line}\n")}


def expected(written: str) -> set[str]:
    """What becomes of an expected value; the kinds do not matter."""
    return {text.removeprefix("f() == ") for _, text in claim(f"f() == {written}")}


def of(kind: str, *texts: str) -> Found:
    return {(kind, text) for text in texts}


# Numbers and booleans.


@pytest.mark.parametrize(
    ("written", "others"),
    [
        ("5", {"4", "6"}),
        ("0", {"1"}),
        ("9", {"8"}),
        ("10", {"20", "11"}),
        ("15", {"25", "14", "16"}),
        ("-5", {"-4", "-6"}),
        ("345", {"335", "355", "344", "346"}),
        ("1_000", {"1_010", "1_001"}),
        ("0x1f", set()),
        ("0b101", set()),
        ("0o17", set()),
        ("2.0", {"3.0", "1.0"}),
        ("20.0", {"10.0", "30.0", "21.0"}),
        ("5.", {"4.", "6."}),
        (".5", {".4", ".6"}),
        ("0.5", {"1.5", "0.4", "0.6"}),
        ("2.25", {"2.15", "2.35", "2.24", "2.26"}),
        ("1e3", {"0e3", "2e3"}),
        ("2.5E-3", {"1.5E-3", "3.5E-3", "2.4E-3", "2.6E-3"}),
        ("0e5", {"1e5"}),
        ("3j", set()),
        ("5 * 7", {"4 * 7", "6 * 7", "5 * 6", "5 * 8"}),
        ("n + 2", set()),
        ("2 + n", set()),
        ("[5] * n", set()),
        ("self.n + 2", set()),
        ("(0, n + 2)", {"(1, n + 2)"}),
        ("None", set()),
        ("...", set()),
        ('"5"', {'"4"', '"6"'}),
        ("'-10-'", {"'-11-'"}),
        ("'-12-'", {"'-11-'", "'-13-'"}),
        ('b"7"', {'b"6"', 'b"8"'}),
        ('r"\\d3"', {'r"\\d2"', 'r"\\d4"'}),
        ('R"3"', {'R"2"', 'R"4"'}),
        ('u"3"', {'u"2"', 'u"4"'}),
        ('"\\t5\\n"', {'"\\t4\\n"', '"\\t6\\n"'}),
        ('"\\\\5"', {'"\\\\4"', '"\\\\6"'}),
        ('"5\\x41"', {'"4\\x41"', '"6\\x41"'}),
        ('"\\x41"', set()),
        ('"\\N{DIGIT ONE}"', set()),
        ('"\\101"', set()),
        ('"ü5"', {'"ü4"', '"ü6"'}),
        ('"""5"""', {'"""4"""', '"""6"""'}),
        ('""', set()),
        ('"- ?"', set()),
        ('"5" "-"', {'"4" "-"', '"6" "-"'}),
        ('f"{n}5"', set()),
        ('"5" f"{n}"', set()),
        ('rb"5"', {'rb"4"', 'rb"6"'}),
    ],
)
def test_literals_keep_their_format(written: str, others: set[str]) -> None:
    """A digit becomes one more or less, never a leading zero; quotes, prefixes, escapes and magnitudes stay."""
    assert expected(written) == others


def test_numbers_and_booleans_by_kind() -> None:
    assert claim("5 == f()") == of("integer", "4 == f()", "6 == f()")
    assert claim("f() == 0.5") == of("float", "f() == 1.5", "f() == 0.4", "f() == 0.6")
    assert claim("f() is False") == {("boolean", "f() is True"), ("negation", "f() is not False")}
    assert claim("f() == (True, 0)") == {("boolean", "f() == (False, 0)"), ("integer", "f() == (True, 1)")}


def test_letters_become_letters_of_their_sort() -> None:
    """A vowel for a vowel, a capital for a capital; one at a time."""
    found = claim("f() == 'Ab'")
    assert {kind for kind, _ in found} == {"letter"}
    texts = {text.removeprefix("f() == '")[:2] for _, text in found}
    assert {text for text in texts if text[1] == "b"} == {"Eb", "Ib", "Ob", "Ub"}
    assert {text[1] for text in texts if text[0] == "A"} <= set("cdfghjklmnpqrstvwxyz")
    assert len(texts) > 14


def test_a_text_over_several_lines() -> None:
    source = 'def test_it():\n    assert f() == """one 1\n  two 2\n"""\n'
    digits = {text for kind, text in changed(source) if kind == "digit"}
    assert digits == {'assert f() == """one 0', 'assert f() == """one 2', "two 1", "two 3"}


def test_other_ends_of_lines() -> None:
    source = "# ü\r\ndef test_it():\r\n    x = '\u2028\x0b'\r\n    assert f('ü') == 0\r\n"
    place = source.encode().index(b"0\r\n")
    assert {mutant.edits for mutant in mutants(source)} == {(Edit(place, place + 1, "1"),)}


# Order, errors, negations.


@pytest.mark.parametrize(
    ("written", "swapped"),
    [
        ("[-5, -7, -6]", {"[-7, -5, -6]", "[-5, -6, -7]"}),
        ("('-', '+')", set()),
        ("[3, 1, 2]", {"[1, 3, 2]", "[3, 2, 1]"}),
        ("[1, 2, 3]", set()),
        ("[3, 2, 1]", set()),
        ("[2, 2, 1]", set()),
        ("[2, 1, 1, 2]", {"[1, 2, 1, 2]", "[2, 1, 2, 1]"}),
        ("[1]", set()),
        ("[1, 'b', 2]", set()),
        ("[(1), 3, (2)]", {"[(3), 1, (2)]", "[(1), 2, (3)]"}),
        ("{'x': 3, 'y': 1, 'z': 2}", {"{'x': 1, 'y': 3, 'z': 2}", "{'x': 3, 'y': 2, 'z': 1}"}),
        ("{3, 1, 2}", set()),
        ("[a, c, b]", set()),
    ],
)  # fmt: skip
def test_two_neighbours_are_exchanged_only_where_nothing_is_sorted(written: str, swapped: set[str]) -> None:
    assert {text.removeprefix("f() == ") for kind, text in claim(f"f() == {written}") if kind == "swap"} == swapped


ERRORS = """
import pytest

def test_it(self):
    with pytest.raises({}):
        f(3)

def test_other():
    with pytest.raises({}):
        f(5)
"""


@pytest.mark.parametrize(
    ("one", "other", "is_edited"),
    [
        ("ValueError", "TypeError", True),
        ("KeyError", "IndexError", True),
        ("ValueError", "ValueError", False),
        ("LookupError", "KeyError", False),
        ("KeyError", "LookupError", False),
        ("ValueError", "Exception", False),
        ("ValueError", "OwnError", False),
        ("OwnError", "OtherError", False),
        ("(ValueError, KeyError)", "TypeError", False),
        ("ValueError", "module.TypeError", False),
    ],
)
def test_an_error_becomes_another_that_the_file_expects(one: str, other: str, is_edited: bool) -> None:
    """Not one that may be caught as the first, and none that this file does not know."""
    assert changed(ERRORS.format(one, other)) == (of("error", f"with pytest.raises({other}):") if is_edited else set())


def test_errors_of_unittest() -> None:
    source = """
class TestIt:
    def test_it(self):
        with self.assertRaises(ValueError):
            f(3)
        self.assertRaises(TypeError, f, 5)
"""
    assert changed(source, "TestIt::test_it") == of(
        "error", "with self.assertRaises(TypeError):", "self.assertRaises(ValueError, f, 5)"
    )


@pytest.mark.parametrize(
    ("line", "negated"),
    [
        ("f(3)", "not f(3)"),
        ("flag", "not flag"),
        ("thing.flag", "not thing.flag"),
        ("not f(3)", "f(3)"),
        ("f(3) is None", "f(3) is not None"),
        ("f(3) is not None", "f(3) is None"),
        ("3 in f()", "3 not in f()"),
        ("f(3) in [5, 7]", "f(3) not in [5, 7]"),
        ("'x5' in WANTED", "'x5' not in WANTED"),
        ("3 not in f()", "3 in f()"),
        ("a is b, 'message 5'", "a is not b, 'message 5'"),
        ("f(3) > 2", None),
        ("f(3) != 2", None),
        ("not (a or f(3))", "(a or f(3))"),
        ("not(f(3))", "(f(3))"),
        ("not  f(3), 'message'", "f(3), 'message'"),
        ("(not f(3))", "(f(3))"),
        ("[n for n in f(3)]", None),
        ("f(3) or f(5)", None),
    ],
)
def test_a_claim_is_negated(line: str, negated: str | None) -> None:
    assert claim(line) == ({("negation", negated)} if negated else set())


def test_each_part_of_a_claim_is_read() -> None:
    assert claim("f() == 5 and g() is a") == {
        *of("integer", "f() == 4 and g() is a", "f() == 6 and g() is a"),
        ("negation", "f() == 5 and g() is not a"),
    }
    assert claim("f() == g() == 5") == of("integer", "f() == g() == 4", "f() == g() == 6")
    assert claim("f() == 5 or g() == 7") == set()


# Assertions that are calls.


def body(*lines: str, head: str = "") -> str:
    """A module with one test of these lines."""
    return f"{head}\ndef test_it(self=None):\n" + indent("\n".join(lines), "    ") + "\n"


@pytest.mark.parametrize(
    ("line", "others"),
    [
        ("self.assertEqual(f(3), 5)", {"self.assertEqual(f(3), 4)", "self.assertEqual(f(3), 6)"}),
        ("self.assertEqual(5, f(3))", {"self.assertEqual(4, f(3))", "self.assertEqual(6, f(3))"}),
        ("self.assertIs(f(3), True)", {"self.assertIs(f(3), False)", "self.assertIsNot(f(3), True)"}),
        ("self.assertTrue(f(3))", {"self.assertFalse(f(3))"}),
        ("self.assertFalse(f(3))", {"self.assertTrue(f(3))"}),
        ("self.assertIsNone(f(3))", {"self.assertIsNotNone(f(3))"}),
        ("self.assertIn(None, f(3))", {"self.assertNotIn(None, f(3))"}),
        ("self.assertAlmostEqual(f(3), 2.0, places=5)", {"self.assertAlmostEqual(f(3), 1.0, places=5)",
                                                         "self.assertAlmostEqual(f(3), 3.0, places=5)"}),
        ("self.assertNotEqual(f(3), 5)", set()),
        ("self.assertLess(f(3), 5)", set()),
        ("self.assertGreaterEqual(f(3), 5)", set()),
        ("self.fail('5')", set()),
        ("assert f(3) == pytest.approx(2.0, rel=5)", {"assert f(3) == pytest.approx(1.0, rel=5)",
                                                      "assert f(3) == pytest.approx(3.0, rel=5)"}),
        ("assert f(3) == approx([2.0])", {"assert f(3) == approx([1.0])", "assert f(3) == approx([3.0])"}),
        ("with pytest.raises(E, match='- 5'): f(3)", {"with pytest.raises(E, match='- 4'): f(3)",
                                                      "with pytest.raises(E, match='- 6'): f(3)"}),
        ("with self.assertRaisesRegex(E, '5'): f(3)", {"with self.assertRaisesRegex(E, '4'): f(3)",
                                                       "with self.assertRaisesRegex(E, '6'): f(3)"}),
        ("with pytest.warns(E, match='5'): f(3)", {"with pytest.warns(E, match='4'): f(3)",
                                                   "with pytest.warns(E, match='6'): f(3)"}),
        ("mock.assert_called_with(5, k=2)", {"mock.assert_called_with(4, k=2)", "mock.assert_called_with(6, k=2)",
                                             "mock.assert_called_with(5, k=1)", "mock.assert_called_with(5, k=3)"}),
        ("mock.assert_called_once_with(g(5))", set()),
        ("mock.assert_any_call(5)", {"mock.assert_any_call(4)", "mock.assert_any_call(6)"}),
        ("mock.assert_called_once()", set()),
        ("self.check(f(3), 5)", set()),
        ("check(5)", set()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_assertions_that_are_calls(line: str, others: set[str]) -> None:
    assert {text for _, text in changed(body(line, head="import pytest\nfrom pytest import approx"))} == others


COMPARING = "assertEqual assertListEqual assertTupleEqual assertDictEqual assertSetEqual assertSequenceEqual "
COMPARING += "assertMultiLineEqual assertCountEqual assertAlmostEqual assert_allclose assert_array_equal "
COMPARING += "assert_frame_equal"
OTHERS = "assertNotEqual assertNotAlmostEqual assertRegex assertIsInstance assertParsesEqual assert_equals_parsed check"


@pytest.mark.parametrize("name", COMPARING.split() + OTHERS.split())
def test_assertions_that_compare_are_a_fixed_list(name: str) -> None:
    """An assertion of the tests' own may parse its arguments."""
    found = {text for _, text in changed(body(f"self.{name}(f(3), [9], 5)"))}
    assert found == ({f"self.{name}(f(3), [8], 5)"} if name in COMPARING.split() else set())


@pytest.mark.parametrize(
    "head", ["def assertEqual(one, other): pass", "class Base:\n    def assertEqual(self, one, other): pass"]
)
def test_an_assertion_that_the_file_defines_is_its_own(head: str) -> None:
    assert changed(body("self.assertEqual(f(3), 5)")) != set()
    assert changed(body("self.assertEqual(f(3), 5)", head=head)) == set()


@pytest.mark.parametrize(
    ("head", "call", "is_read"),
    [
        ("import pytest", "pytest.approx", True),
        ("import pytest as pt", "pt.approx", True),
        ("from pytest import approx, raises", "approx", True),
        ("from pytest import approx as near", "near", True),
        ("from decimal import Decimal", "Decimal", True),
        ("import datetime as dt", "dt.timedelta", True),
        ("", "frozenset", True),
        ("", "approx", False),
        ("import pytest", "approx", False),
        ("from geometry import approx", "approx", False),
        ("from .decimal import Decimal", "Decimal", False),
        ("import pytest", "geometry.approx", False),
        ("from decimal import *", "Decimal", False),
        ("from pytest import approx\ndef approx(n): pass", "approx", False),
        ("from pytest import approx as near\ndef near(n): pass", "near", False),
        ("from pytest import approx\nclass approx: pass", "approx", False),
        ("import pytest\npytest = own", "pytest.approx", False),
        ("from pytest import approx\nfor approx in []: pass", "approx", False),
        ("from pytest import approx\nfrom geometry import approx", "approx", False),
        ("from geometry import approx\nfrom pytest import approx", "approx", False),
        ("from pytest import approx as near\nfrom geometry import near", "near", False),
        ("from pytest import approx\nimport geometry.approx as approx", "approx", False),
        ("import pytest\nimport geometry as pytest", "pytest.approx", False),
        ("import datetime\nfrom datetime import datetime", "datetime.timedelta", False),
        ("from pytest import approx\ndef other():\n    from geometry import approx", "approx", False),
        ("from pytest import approx\ndef other(approx): pass", "approx", False),
        ("from pytest import approx\nother = lambda approx: approx", "approx", False),
        ("from geometry import *\nfrom pytest import approx", "approx", False),
        ("import pytest\nfrom geometry import *", "pytest.approx", False),
        ("def set(items): pass", "set", False),
        ("from sets import set", "set", False),
        ("def other(set): pass", "set", False),
        ("from sets import *", "set", False),
    ],
)
def test_a_call_is_read_if_its_name_means_only_one_harmless_thing(head: str, call: str, is_read: bool) -> None:
    """`approx`, or a constructor of the standard library; a name that is bound twice may mean code under test."""
    found = {text for _, text in changed(body(f"assert f(3) == {call}(9)", head=head))}
    assert found == ({f"assert f(3) == {call}(8)"} if is_read else set())


@pytest.mark.parametrize(
    ("head", "value", "others"),
    [
        ("import datetime", "datetime.date(5, 9, 0)", {
            f"datetime.date({parts})" for parts in ["4, 9, 0", "6, 9, 0", "5, 8, 0", "5, 9, 1"]}),
        ("from collections import OrderedDict as Ordered", "Ordered([('-', 9)])", {"Ordered([('-', 8)])"}),
        ("from decimal import Decimal", "Decimal('9')", {"Decimal('8')"}),
        ("", "dict(key=9)", {"dict(key=8)"}),
        ("import pytest", "pytest.approx(9, 5)", {"pytest.approx(8, 5)"}),
        ("import pytest as pt", "pt.approx(9, rel=5, abs=7)", {"pt.approx(8, rel=5, abs=7)"}),
        ("from pytest import approx as near", "near(9, rel=5)", {"near(8, rel=5)"}),
    ],
)  # fmt: skip
def test_all_arguments_of_a_harmless_call_are_read_but_a_tolerance(head: str, value: str, others: set[str]) -> None:
    found = {text.removeprefix("assert f() == ") for _, text in changed(body(f"assert f() == {value}", head=head))}
    assert found == others


# Tables.

COLUMNS = """
import pytest

@pytest.mark.parametrize({names}, {table})
def test_it({arguments}):
    assert f(n) == wanted
"""


def columns(names: str, table: str, arguments: str = "n, wanted", head: str = "") -> Found:
    return changed(head + COLUMNS.format(names=names, table=table, arguments=arguments))


@pytest.mark.parametrize("names", ['("n", "wanted")', '["n", "wanted"]', '"n, wanted"', '"n,wanted"'])
@pytest.mark.parametrize("way", ["[(3, {}), (4, {})]", "((3, {}), [4, {}])", "[pytest.param(3, {}, id='1'), (4, {})]"])
def test_every_row_of_a_table_is_edited(names: str, way: str) -> None:
    """A row's id fails by its own edit only. Inputs, ids and marks stay."""
    found = columns(names, way.format("0", "9"))
    assert found == of("integer", f"@pytest.mark.parametrize({names}, {way.format('1', '8')})")


def test_a_table_of_one_column() -> None:
    source = (
        "@pytest.mark.parametrize('wanted', [0, pytest.param(9)])\ndef test_it(wanted):\n    assert f() == wanted\n"
    )
    assert changed(source) == of("integer", "@pytest.mark.parametrize('wanted', [1, pytest.param(8)])")


def test_a_row_without_anything_to_edit_stays() -> None:
    found = columns('"n, wanted"', "[(3, None), (4, 9), (5, (0,)), (6, x)]")
    assert found == of("integer", '@pytest.mark.parametrize("n, wanted", [(3, None), (4, 8), (5, (1,)), (6, x)])')


def test_a_second_mutant_of_a_table_edits_other_places() -> None:
    """Where a row has another; it decides when the first passed."""
    source = COLUMNS.format(names='"n, wanted"', table="[(3, 5), (4, 0)]", arguments="n, wanted")
    for seed in SEEDS:
        first, second = candidates("t.py::test_it", source.encode(), (), random.Random(seed))
        assert len(first.edits) == len(second.edits) == 2
        assert first.edits != second.edits


def test_a_table_in_a_module_constant() -> None:
    table = "TABLE = [(3, 0), (4, 9)]\n"
    assert columns('"n, wanted"', "TABLE", head=table) == of("integer", "TABLE = [(3, 1), (4, 8)]")
    assert columns('"n, wanted"', "TABLE", head=table + "OTHER = TABLE[1:]\n") == set()
    assert columns('"n, wanted"', "TABLE", head=table + "TABLE = [(3, 0)]\n") == set()
    assert columns('"n, wanted"', "make(TABLE)", head=table) == set()


def test_a_column_of_messages() -> None:
    source = """
@pytest.mark.parametrize("n, text", [(3, "5"), (4, "9")])
def test_it(n, text):
    with pytest.raises(ValueError, match=text):
        f(n)
"""
    found = changed(source)
    assert {kind for kind, _ in found} == {"digit"}
    assert {text.partition("[")[2] for _, text in found} == {'(3, "4"), (4, "8")])', '(3, "6"), (4, "8")])'}


def test_an_input_column_stays() -> None:
    source = "@pytest.mark.parametrize('n', [3, 4])\ndef test_it(n):\n    assert f(n) == n\n"
    assert changed(source) == set()
    assert changed(source.replace("f(n) == n", "f(n) == g(n)")) == set()


@pytest.mark.parametrize(
    ("lines", "others"),
    [
        (["for n, wanted in {}:", "    assert f(n) == wanted"], True),
        (["table = {}", "for n, wanted in table:", "    assert f(n) == wanted"], True),
        (["table = {}", "for n, wanted in table:", "    assert f(n) == wanted", "f(table)"], False),
        (["for n, wanted in {}:", "    assert f(n) == (n, wanted)"], True),
        (["for n, (wanted, _) in {}:", "    assert f(n) == wanted"], False),
        (["for n in {}:", "    assert f(n) == n"], False),
    ],
)
def test_the_rows_of_a_loop(lines: list[str], others: bool) -> None:
    table = next(line for line in lines if "{}" in line)
    found = changed(body(*lines).replace("{}", "[(3, 0), (4, 9)]"))
    mutated = [table.format(rows) for rows in ("[(3, 1), (4, 9)]", "[(3, 0), (4, 8)]")]
    assert found == (of("integer", *mutated) if others else set())


def test_a_loop_over_a_module_constant() -> None:
    loop = body("for n, wanted in TABLE:", "    assert f(n) == wanted", head="TABLE = [(3, 0), (4, 9)]")
    assert changed(loop) == of("integer", "TABLE = [(3, 1), (4, 9)]", "TABLE = [(3, 0), (4, 8)]")
    assert changed(loop + "\ndef test_other():\n    assert f(TABLE)\n") == set()
    found = changed(body("for wanted in (0, 9):", "    assert next(it) == wanted"))
    assert found == of("integer", "for wanted in (1, 9):", "for wanted in (0, 8):")


# Names.


def test_a_name_that_only_expected_sides_read() -> None:
    both = of("integer", "wanted = 4", "wanted = 6")
    assert changed(body("wanted = 5", "assert f(3) == wanted")) == both
    assert changed(body("wanted = 5", "assert f(3) == wanted", "assert g(3) == [wanted]")) == both
    assert changed(body("wanted: int = 5", "assert f(3) == wanted")) == of(
        "integer", "wanted: int = 4", "wanted: int = 6"
    )
    assert changed(body("assert f(3) == WANTED", head="WANTED = 0")) == of("integer", "WANTED = 1")
    assert changed(body("wanted = [n, 9]", "assert f(3) == wanted")) == of("integer", "wanted = [n, 8]")


def test_a_fixture_that_only_expected_sides_read() -> None:
    source = '''
@pytest.fixture
def wanted():
    """What is wanted."""
    return [9]

def test_it(wanted):
    assert f(3) == wanted
'''
    assert changed(source) == of("integer", "return [8]")
    assert changed(source + "\ndef test_other(wanted):\n    f(wanted)\n") == set()
    assert changed(source.replace("@pytest.fixture", "@decorated")) == set()
    assert changed(source.replace("return [9]", "f(9)\n    return [9]")) == set()
    assert changed(source.replace("f(3)", "f(wanted)")) == set()


INPUTS = {
    "the-text-that-was-parsed": ["text = '1 5'", "assert show(parse(text)) == text"],
    "an-argument-and-an-expectation": ["n = 5", "assert f(n) == n"],
    "an-argument-of-another-call": ["n = 5", "f(n)", "assert g() == n"],
    "a-keyword-argument": ["n = 5", "f(key=n)", "assert g() == n"],
    "an-alias": ["n = [5]", "other = n", "f(other)", "assert g() == n"],
    "an-attribute-of-it": ["n = [5]", "n.sort()", "assert g() == n"],
    "read-by-a-closure": ["n = 5", "f(lambda: n)", "assert g() == n"],
    "read-in-a-text": ["n = 5", "f(f'{n}')", "assert g() == n"],
    "written-twice": ["n = 5", "n = 6", "assert g() == n"],
    "added-to": ["n = 5", "n += 6", "assert g() == n"],
    "unpacked": ["n, m = 5, 6", "assert g() == n"],
    "the-codes-constructor": ["assert f(3) == Point(5, 'text')"],
    "the-codes-constructor-in-a-list": ["assert f(3) == [Point(5), 7]"],
    "a-method-of-the-code": ["assert f(3) == point.moved(5)"],
    "what-the-code-made": ["wanted = Point(5)", "assert f(3) == wanted"],
    "a-subscript": ["assert f(3)[5] == n[7]"],
    "a-slice": ["assert f(3) == n[1:7]"],
    "an-argument": ["assert f(3, 'x1', key=5) == g(5)"],
    "a-comprehension": ["assert f(3) == [n + 5 for n in range(7)]"],
    "a-condition": ["assert f(3) == (5 if n else 7)"],
    "an-f-string": ["assert f(3) == f'{n} 5'"],
    "no-assertion": ["f(3) == 5"],
    "a-docstring": ["'''Test 5.'''", "assert f(3) > 5"],
    "a-message": ["assert f(3) > 2, 'message 5'"],
    "a-default": ["def g(n=5): return n", "assert f(g) > 0"],
    "a-lambda": ["assert f(3) == (lambda: 5)"],
    "a-keyword-of-the-codes-constructor": ["assert f(3) == Point(key=5)"],
}


@pytest.mark.parametrize("lines", INPUTS.values(), ids=INPUTS)
def test_what_may_flow_into_the_code_stays(lines: list[str]) -> None:
    """With other inputs a right patch may give other results."""
    assert changed(body(*lines)) == set()


def test_a_module_constant_that_others_read_stays() -> None:
    source = body("assert f(3) == WANTED", head="WANTED = 5")
    assert changed(source + "\ndef test_other():\n    f(WANTED)\n") == set()
    assert changed("WANTED = 5\n" + body("WANTED = 6", "assert f(WANTED) == WANTED")) == set()


LEAKS = {
    "starmap": ("import itertools\n", "assert list(itertools.starmap(add, [(3, 5)])) == [x]"),
    "reduce": ("from functools import reduce\n", "assert reduce(add, [3, 5]) == x"),
    "a-command": ("import subprocess\n", "assert subprocess.check_output(['tool', '5']) == x"),
    "an-operator-of-the-code": ("", "assert money * 5 == x"),
    "membership-in-an-object-of-the-code": ("", "assert '5' in registry"),
}


@pytest.mark.parametrize(("head", "line"), LEAKS.values(), ids=LEAKS)
def test_what_may_flow_into_the_code_stays_in_rare_forms_too(head: str, line: str) -> None:
    found = {text for kind, text in changed(body(line, head=head)) if kind != "negation"}
    assert found == set()


@pytest.mark.parametrize(
    "source",
    [
        """
@pytest.fixture
def wanted(request):
    return build(request.param)

@pytest.mark.parametrize("wanted", [5, 6], indirect=True)
def test_it(wanted):
    assert f(3) == wanted
""",
        """
@pytest.fixture
def made(wanted):
    return build(wanted)

@pytest.mark.parametrize("wanted", [5, 6])
def test_it(made, wanted):
    assert made.n == wanted
""",
        """
@pytest.fixture
def wanted():
    return 5

def test_it(wanted):
    assert f(3) == wanted

def test_other(request):
    f(request.getfixturevalue("wanted"))
""",
    ],
    ids=["indirect", "a-column-that-a-fixture-asks-for", "a-fixture-that-is-asked-for-by-name"],
)
def test_what_a_fixture_may_give_to_the_code_stays(source: str) -> None:
    assert changed(source) == set()


# Which function, and what comes first.


def test_the_function_is_found_by_its_id() -> None:
    source = """
def test_it():
    assert f() == 0

class TestIt:
    def test_it(self):
        assert f() == 9

    class TestInner:
        async def test_it(self):
            assert f() == 0, "inner"
"""
    assert changed(source) == of("integer", "assert f() == 1")
    assert changed(source, "TestIt::test_it") == of("integer", "assert f() == 8")
    assert changed(source, "TestIt::TestInner::test_it") == of("integer", 'assert f() == 1, "inner"')
    for missing in ("test_other", "TestIt::test_other", "TestIt", "TestOther::test_it"):
        assert changed(source, missing) == set()
    assert changed(source + "\ndef test_it():\n    assert g() == 0\n") == of("integer", "assert g() == 1")


@pytest.mark.parametrize("source", [b"def test_it(:\n", b"\xff\xfe", b"", b"x = '\0'\n", b"# coding: nothing\n"])
def test_a_file_that_cannot_be_read_has_no_mutants(source: bytes) -> None:
    assert candidates("t.py::test_it", source, (), random.Random(0)) == []


def test_the_failing_assertion_comes_first_then_the_least_visible_kind() -> None:
    source = body(
        "assert f() is flag", "assert f() == '5'", "assert f() == 5", "assert g() is flag", "assert g() == '7'"
    )
    for seed in SEEDS:
        found = candidates("t.py::test_it", source.encode(), (), random.Random(seed))
        kinds = [mutant.kind for mutant in found]
        assert kinds == sorted(kinds, key=KINDS.index)
        near = candidates("t.py::test_it", source.encode(), [7], random.Random(seed))
        assert [mutant.kind for mutant in near[:2]] == ["digit", "digit"]
        assert b"g() == '" in apply_edits(source.encode(), near[0].edits).split(b"\n")[6]
        assert {mutant.edits for mutant in near} == {mutant.edits for mutant in found}


def test_the_same_seed_gives_the_same_mutants() -> None:
    source = body("assert f() == ['one', 'two', 3, 1]").encode()
    first, second = (candidates("t.py::test_it", source, (), random.Random(7)) for _ in range(2))
    assert first == second
    assert all(mutant.function == "t.py::test_it" and not mutant.tests and not mutant.renamed for mutant in first)


def test_edits_are_as_likely_backwards_as_forwards() -> None:
    """What is always one more is recognised by that."""
    source = body("assert f() == 5").encode()
    firsts = Counter(
        apply_edits(source, candidates("t.py::test_it", source, (), random.Random(seed))[0].edits)[-2:-1]
        for seed in range(600)
    )
    assert set(firsts) == {b"4", b"6"}
    assert 230 < firsts[b"4"] < 370


# Properties.

LITERALS = st.one_of(
    st.integers(-(10**6), 10**6).map(repr),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.booleans().map(repr),
    st.text(max_size=12).map(repr),
    st.text(max_size=12).map(ascii),
    st.binary(max_size=8).map(repr),
    st.text("ab1 \n'é", max_size=8).map(lambda text: f'"""{text}"""'),
    st.text("ab1\\d", max_size=6).map(lambda text: f'r"{text}-"'),
    st.just("None"),
    st.just("name"),
)
VALUES = st.recursive(
    LITERALS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: f"({', '.join(items)},)"),
        st.lists(inner, max_size=3).map(lambda items: f"dict([{', '.join(items)}])"),
        st.lists(st.tuples(LITERALS, inner), max_size=3).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items) + "}"
        ),
    ),
    max_leaves=6,
)
CLAIMS = st.one_of(
    VALUES.map(lambda value: f"assert f('ü', 1) == {value}"),
    VALUES.map(lambda value: f"assert {value} == f('ü', 1), 'message'"),
    VALUES.map(lambda value: f"wanted = {value}\n    assert f(2) == wanted"),
    VALUES.map(lambda value: f"self.assertEqual(f(2), {value})"),
    VALUES.map(lambda value: f"for n, wanted in [(1, {value}), (2, 3)]:\n        assert f(n) == wanted"),
    st.sampled_from(["assert f()", "assert not f()", "assert f() is None", "assert 'a1' in f()"]),
)
SOURCES = st.lists(CLAIMS, min_size=1, max_size=4).map(
    lambda lines: "# ü\n\n\ndef test_it(self):\n" + "".join(f"    {line}\n" for line in lines)
)


@quick(200)
@given(SOURCES, st.integers(0, 2**32))
def test_a_mutated_file_parses_and_differs_in_what_was_edited_only(text: str, seed: int) -> None:
    source = text.encode("utf-8", "surrogatepass")
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        return  # half a surrogate, or a text that ends its own quotes
    for mutant in candidates("t.py::test_it", source, (), random.Random(seed)):
        result = apply_edits(source, mutant.edits)
        ast.parse(result)
        assert result != source
        (edit,) = mutant.edits
        assert result == source[: edit.start] + edit.text.encode() + source[edit.end :]
        if mutant.kind in ("integer", "float", "digit", "letter", "swap"):
            assert len(edit.text) == len(source[edit.start : edit.end].decode())
            assert edit.text != source[edit.start : edit.end].decode()


def test_the_mutants_of_several_files_are_applied_to_each() -> None:
    one, two, other = (
        Mutant(f"{file}::test", "integer", (Edit(at, at + 1, "7"),))
        for file, at in (("a.py", 0), ("a.py", 2), ("b.py", 1))
    )
    assert apply_mutants({"a.py": b"012", "b.py": b"345", "c.py": b"6"}, [two, other, one]) == {
        "a.py": b"717",
        "b.py": b"375",
    }


# What runs hold.


@pytest.mark.parametrize("runs", [2, 3, 4])
def test_each_function_is_mutated_in_some_runs_and_not_in_others(runs: int) -> None:
    """Every such pattern is as likely as any other, so that none is worth a guess; other tests are in one run each."""
    made = Protection({name: (Mutant(name, "integer", ()),) for name in ("t.py::test_a", "t.py::test_b")})
    task = Task("t-1", "/nowhere", "", "x", FAIL_TO_PASS=tuple(made.mutants), PASS_TO_PASS=tuple("vwxyz"))
    chance, patterns, places, times = random.Random(runs), Counter[tuple[int, ...]](), Counter[int](), 4000
    together = 0
    for _ in range(times):
        draws = made.draw(task, runs, chance)
        assert len(draws) == runs
        one, other = (
            tuple(number for number, draw in enumerate(draws) if mutant in draw.mutants)
            for (mutant,) in made.mutants.values()
        )
        assert 0 < len(one) < runs
        patterns[one] += 1
        together += one == other
        assert all(draw.tests[:2] == task.FAIL_TO_PASS for draw in draws)
        assert sorted(test for draw in draws for test in draw.tests[2:]) == list("vwxyz")
        for number, draw in enumerate(draws):
            assert list(draw.tests[2:]) == sorted(draw.tests[2:])
            places[number] += len(draw.tests) - 2
    likely = times / (2**runs - 2)
    assert len(patterns) == 2**runs - 2
    assert all(0.6 * likely < count < 1.5 * likely for count in [*patterns.values(), together])
    assert all(0.9 < count * runs / (5 * times) < 1.1 for count in places.values())


NEW, OTHER, OLD, LOOSE = "t.py::test_new", "t.py::test_other", "t.py::test_old", "t.py::test_loose"


def protection(*functions: str, **more: tuple[str, ...]) -> Protection:
    """These functions, each with two mutants that all their rows are judged by."""
    rows = {NEW: (f"{NEW}[1]", f"{NEW}[2]"), OTHER: (OTHER,), OLD: (OLD,)}
    found = {
        name: tuple(
            Mutant(name, kind, (Edit(1, 2, "é"),), rows[name], ((f"{name}[3]", f"{name}[1]"),)) for kind in KINDS[:2]
        )
        for name in functions
    }
    return replace(Protection(found, seconds=2.04), **cast(Any, more))


TASK = Task("t-1", "/nowhere", "", "x", FAIL_TO_PASS=(f"{NEW}[1]", f"{NEW}[2]", OTHER), PASS_TO_PASS=(OLD, LOOSE))


def test_the_runs_of_a_score() -> None:
    chance = random.Random(1)
    assert Protection().draw(TASK, 3, chance) == []
    assert len(protection(NEW).draw(TASK, 3, chance)) == 6
    draws = protection(NEW, OLD).draw(TASK, 3, chance)
    assert len(draws) == 3
    assert all(draw.tests[:4] == (*TASK.FAIL_TO_PASS, OLD) for draw in draws)
    assert sorted(test for draw in draws for test in draw.tests[4:]) == [LOOSE]
    assert {mutant.kind for draw in draws for mutant in draw.mutants} == {KINDS[0]}
    with_loose = protection(NEW, OTHER, companions=(LOOSE,), left_out=(OTHER,)).draw(TASK, 2, chance)
    assert all(draw.tests[:3] == (f"{NEW}[1]", f"{NEW}[2]", LOOSE) for draw in with_loose)
    assert sorted(test for draw in with_loose for test in draw.tests[3:]) == [OLD]


def test_of_a_long_suite_runs_hold_a_share() -> None:
    many = TASK.with_(PASS_TO_PASS=tuple(f"t.py::test_loose_{n}" for n in range(100)))
    long = replace(protection(NEW), seconds=600.0)
    draws = long.draw(many, 3, random.Random(1))
    held = [test for draw in draws for test in draw.tests if "loose" in test]
    assert len(held) == len(set(held)) == 50


def test_what_no_mutant_judges_is_unprotected() -> None:
    assert protection(NEW, OTHER).unprotected(TASK) == []
    assert protection(NEW).unprotected(TASK) == [OTHER]
    assert Protection().unprotected(TASK) == list(TASK.FAIL_TO_PASS)
    one_row = {NEW: (Mutant(NEW, "integer", (), (f"{NEW}[2]",)),)}
    assert Protection(one_row).unprotected(TASK) == [f"{NEW}[1]", OTHER]


def test_a_protection_is_written_and_read() -> None:
    made = protection(NEW, OLD, companions=(LOOSE,), left_out=(OTHER,), flaky=(OLD,), failed_at_base=(f"{NEW}[1]",))
    assert Protection.from_json(made.to_json("a key")) == replace(made, seconds=2.0)
    assert Protection.from_json(Protection().to_json("")) == Protection()
    assert '"key":"a key"' in made.to_json("a key")


def test_the_function_of_an_id() -> None:
    assert function_of("t.py::TestIt::test_it[a[b]::c]") == "t.py::TestIt::test_it"


# Made in boxes.

BASE = "def double(n):\n    return n\n\n\ndef name(n):\n    return ''\n\n\ndef one():\n    return 1\n"
FIXED = "def double(n):\n    return 2 * n\n\n\ndef name(n):\n    return f'n{n}'\n\n\ndef one():\n    return 1\n"
HIDDEN = """\
import pytest

from doubles import double, name, one


@pytest.mark.parametrize("n, wanted", [(2, 4), (3, 6)])
def test_double(n, wanted):
    assert double(n) == wanted


class TestNames:
    def test_name(self):
        assert name(7) == "n7"


def test_computed():
    assert double(5) == 5 * one() + double(2) + one()


def test_one():
    assert one() == 1
"""
DOUBLE, NAME, COMPUTED, ONE = (
    f"tests/test_doubles.py::{name}" for name in ("test_double", "TestNames::test_name", "test_computed", "test_one")
)
Build = Callable[[str], Task]


class Recording(Sandbox):
    """The real sandbox; it counts runs, and cuts the reports of some short."""

    def __init__(self, inner: Sandbox, broken: int = 0) -> None:
        self.inner, self.broken, self.runs = inner, broken, 0

    def open(self, view: View) -> Shell:
        return self.inner.open(view)

    def run(
        self, view: View, argv: Sequence[str], *, stdin: bytes = b"", timeout: float, keep: int = 8192
    ) -> ExecResult:
        self.runs += 1
        result = self.inner.run(view, argv, stdin=stdin, timeout=timeout, keep=keep)
        return replace(result, reports=result.reports[:-30]) if self.runs == self.broken else result


@pytest.fixture
def build(make_repo: Callable[..., Path]) -> Build:
    """A task over a library of two broken functions, with this as its fix."""

    def make(fixed: str) -> Task:
        repo = make_repo({"doubles.py": BASE})
        return Task(
            "doubles-1",
            str(repo),
            git(repo, "rev-parse", "HEAD"),
            "x",
            file_diff("doubles.py", File(BASE.encode()), File(fixed.encode())),
            file_diff("tests/test_doubles.py", None, File(HIDDEN.encode())),
            (f"{DOUBLE}[2-4]", f"{DOUBLE}[3-6]", NAME, COMPUTED),
            (ONE,),
        )

    return make


@pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_protection_is_made(sandbox: Sandbox, tmp_path: Path, build: Build, thorough: bool) -> None:
    recording, task = Recording(sandbox), build(FIXED)
    made = protection_of(task, Scorer(recording, tmp_path / "cache", 60), thorough=thorough)
    assert recording.runs <= 4 or thorough
    assert (made.companions, made.left_out, made.flaky) == ((), (), ())
    assert made.failed_at_base == task.FAIL_TO_PASS
    assert made.seconds > 0
    assert {DOUBLE, NAME} <= set(made.mutants) <= {DOUBLE, NAME, COMPUTED, ONE}
    table, *_ = made.mutants[DOUBLE]
    assert table.tests == (f"{DOUBLE}[2-4]", f"{DOUBLE}[3-6]")
    text = apply_edits(HIDDEN.encode(), table.edits).decode()
    rows = ast.literal_eval(text.split('wanted", ', 1)[1].split(")\ndef", 1)[0])
    assert table.renamed == tuple((f"{DOUBLE}[{n}-{new}]", f"{DOUBLE}[{n}-{2 * n}]") for n, new in rows)
    assert all(mutant.tests == (NAME,) and not mutant.renamed for mutant in made.mutants[NAME])
    assert [mutant.tests for mutant in made.mutants[ONE]][:1] == [(ONE,)], "an old test is mutated as well"


@pytest.mark.parametrize("broken", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_nothing_is_kept_of_a_run_that_broke_off(sandbox: Sandbox, tmp_path: Path, build: Build, broken: int) -> None:
    """The next try finds nothing in its way, and its own is kept."""
    task, cache = build(FIXED), tmp_path / "cache"
    with pytest.raises(RewardError, match=r"doubles-1: making its mutants: .* with the reference patch"):
        protection_of(task, Scorer(Recording(sandbox, broken), cache, 60))
    assert known_protection(task, cache) is None
    recording = Recording(sandbox)
    made = protection_of(task, Scorer(recording, cache, 60))
    first = recording.runs
    assert known_protection(task, cache) == protection_of(task, Scorer(recording, cache, 60))
    assert replace(made, seconds=round(made.seconds, 1)) == known_protection(task, cache)
    assert recording.runs == first


def test_a_reference_that_does_not_pass_has_no_protection(sandbox: Sandbox, tmp_path: Path, build: Build) -> None:
    task = build(FIXED.replace("f'n{n}'", "'n8'"))
    with pytest.raises(BrokenTaskError, match="TestNames::test_name"):
        protection_of(task, Scorer(sandbox, tmp_path / "cache", 60), thorough=True)


def test_a_task_without_a_reference_patch_is_not_run(sandbox: Sandbox, tmp_path: Path, build: Build) -> None:
    recording = Recording(sandbox)
    task = build(FIXED).with_(patch="")
    assert protection_of(task, Scorer(recording, tmp_path, 60), thorough=True) == Protection()
    assert recording.runs == 0
