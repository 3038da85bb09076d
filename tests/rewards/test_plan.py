"""What a plan leaves out."""

import json

from nano_codex_env.scoring.making import affordable
from nano_codex_env.scoring.verdict import Run

TESTS = ("t.py::chatty", "t.py::quiet", "t.py::silent", "t.py::busy")
ASKED = dict(zip(TESTS, (20_000, 200, 0, 2_300), strict=True))


def run() -> Run:
    """One in which each test asked so much; the silent one left no trace."""
    operation = ["call", [{"o": 1}], [], ["ok", None, "", "", []]]
    traces = {test: json.dumps([operation] * number) for test, number in ASKED.items() if number}
    return Run({}, traces={"": json.dumps([operation] * 500), **traces})


def test_a_run_apart_that_costs_little_keeps_all() -> None:
    assert affordable(TESTS, run(), 2.0) == list(TESTS)


def test_the_tests_that_ask_the_most_are_left_out_until_the_rest_is_cheap_enough() -> None:
    # 22,500 operations cost one plain run too many: half of them may stay, less the dearest test.
    assert affordable(TESTS, run(), 3.0) == ["t.py::quiet", "t.py::silent", "t.py::busy"]
    # 2,250 of them for one plain run beside the first.
    assert affordable(TESTS, run(), 11.0) == ["t.py::quiet", "t.py::silent"]
    assert affordable(TESTS[:1], run(), 3.0) == []


def test_a_machine_that_was_busy_parts_nothing_that_asks_little() -> None:
    assert affordable(TESTS[1:3], run(), 50.0) == ["t.py::quiet", "t.py::silent"]
