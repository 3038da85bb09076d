"""Make a task's plan from its reference patch: try what holds, keep what does."""

from __future__ import annotations

import ast
import itertools
import json
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nano_codex_env.scoring.hidden import Files, hidden_files
from nano_codex_env.scoring.plan import Plan, order_of
from nano_codex_env.scoring.run import Bridge, Scorer
from nano_codex_env.scoring.siblings import Sibling, altered_traces, operations_of
from nano_codex_env.scoring.twins import BASE, Twin, alterations, answering, apply, last_resorts, telling
from nano_codex_env.scoring.verdict import FAILED, PASSED, Run
from nano_codex_env.task import Task
from nano_codex_env.workspace.tree import base_tree

logger = logging.getLogger(__name__)
_ROUNDS = 6
_SIBLINGS = 24
_DEAREST = 2.0
"""What a run apart from the code may take, in plain runs."""
_FREE = 2_000
"""Operations whose cost is not worth a thought: some 0.1 ms each. With no more, a slow run had another reason."""


def make_plan(task: Task, scorer: Scorer) -> Plan:
    """The plan of a task; the tests run some twenty times.

    Raises:
        NanoCodexError: the tests could not be run at all.
    """
    if not task.patch:
        return Plan(note="no reference patch")
    logger.info("%s: making twins and siblings", task.instance_id)
    started = time.monotonic()
    run = scorer.run(task, task.patch, _wanted(task), seed=None)
    if run.reason or any(run.status(test) != PASSED for test in task.FAIL_TO_PASS):
        return Plan(note="the reference patch does not pass here")
    took = time.monotonic() - started
    patient = replace(scorer, timeout=min(scorer.timeout, 5 + 8 * took))
    return _Maker(task, patient, random.Random(task.instance_id), took).make(run)


def _wanted(task: Task) -> list[str]:
    return [*task.FAIL_TO_PASS, *task.PASS_TO_PASS]


@dataclass
class _Maker:
    task: Task
    scorer: Scorer
    chance: random.Random
    plainly: float
    """Seconds that a plain run takes."""

    def make(self, plain: Run) -> Plan:
        passing = [test for test in _wanted(self.task) if plain.status(test) == PASSED]
        separate, traced = self._separate(passing)
        imports, siblings = self._siblings(traced, separate) if separate else ((), ())
        rest = [test for test in self.task.FAIL_TO_PASS if test not in separate]
        asked = traced.asked if traced else ()
        return Plan(tuple(separate), asked, self._twins(rest, passing), imports, siblings)

    def _run(self, patch: str, ids: Sequence[str], seed: int | None = None, **more: Any) -> Run:
        return self.scorer.run(self.task, patch, ids, seed=seed, **more)

    def _separate(self, passing: Sequence[str]) -> tuple[list[str], Run | None]:
        """Tests that hold when the code is in another process; each file by itself, as one that hangs ends the run."""
        good: list[str] = []
        for file in dict.fromkeys(test.partition("::")[0] for test in passing):
            ids = [test for test in passing if test.partition("::")[0] == file]
            run = self._run(self.task.patch, ids, bridge=Bridge())
            good += [test for test in ids if run.status(test) == PASSED]
        if not good:
            return [], None
        base = self._run("", good, bridge=Bridge())
        weak = {test for test in self.task.FAIL_TO_PASS if base.statuses.get(test) == PASSED}
        weak |= {test for test in self.task.PASS_TO_PASS if base.statuses.get(test, PASSED) != PASSED}
        good = [test for test in good if test not in weak]
        order = order_of(self.task, 1)
        for _ in range(4):  # until an order no longer matters
            started = time.monotonic()
            run = self._run(self.task.patch, good, order, bridge=Bridge(keeps=True)) if good else Run({})
            dear = (time.monotonic() - started) / self.plainly
            held = affordable([test for test in good if run.status(test) == PASSED], run, dear)
            if good and held == good:
                return good, run
            good = held
        return [], None

    def _siblings(self, traced: Run | None, separate: Sequence[str]) -> tuple[tuple[Any, ...], tuple[Sibling, ...]]:
        """Those whose answers are the same each time, and not the same without the reference patch."""
        traces = {
            test: text for test, text in (traced.traces if traced else {}).items() if test in self.task.FAIL_TO_PASS
        }
        imports = operations_of(traced.traces.get("", "[]")) if traced else []
        tried = list(altered_traces(traces, self.chance))
        if not tried:
            return (), ()
        bridge = Bridge(siblings=[imports, *(operations for _, operations in tried)])
        ids = separate[:1]
        one, two, base = (self._run(patch, ids, bridge=bridge) for patch in (self.task.patch, self.task.patch, ""))
        kept = [
            Sibling(test, operations, one.siblings[number])
            for number, (test, operations) in enumerate(tried)
            if number in one.siblings
            and one.siblings[number] == two.siblings.get(number)
            and one.siblings[number] != base.siblings.get(number)
            and '"broken"' not in one.siblings[number]
        ]
        self.chance.shuffle(kept)
        return (tuple(imports), tuple(kept[:_SIBLINGS])) if kept else ((), ())

    def _twins(self, rest: Sequence[str], passing: Sequence[str]) -> tuple[Twin, ...]:
        """Alterations that the reference patch notices; many tests at a time."""
        base, _ = base_tree(self.task.repo, self.task.base_commit, self.scorer.cache)
        hidden = hidden_files(self.task, base)
        functions = [
            name for name in dict.fromkeys(test.partition("[")[0] for test in rest) if self._source(name, hidden)
        ]
        ways = {name: self._ways(alterations, name, hidden) for name in functions}
        kept = self._rounds(ways, hidden, passing)
        kept += self._rounds({name: self._of_base(name, hidden) for name in functions}, hidden, passing)
        without = [name for name in functions if name not in {twin.function for twin in kept}]
        ways = {name: self._ways(last_resorts, name, hidden) for name in without}
        return (*kept, *self._rounds(ways, hidden, passing))

    def _source(self, function: str, hidden: Files) -> bytes:
        file = hidden.get(function.partition("::")[0])
        return file[0] if file else b""

    def _ways(self, kind: Callable[..., list[Twin]], function: str, hidden: Files) -> list[Twin]:
        """What can be altered in a test, parameters left out."""
        file, _, name = function.partition("::")
        return kind(file, self._source(function, hidden), name, self.chance)

    def _of_base(self, function: str, hidden: Files) -> list[Twin]:
        """Twins that expect what the code answers without a mend, where that is plain data."""
        file, _, name = function.partition("::")
        mark, source = f"{self.chance.getrandbits(64):x} ", self._source(function, hidden)
        own = [test for test in self.task.FAIL_TO_PASS if test.partition("[")[0] == function]
        run = self._run("", own, altered={file: telling(source, name, mark)})
        told = dict(line[len(mark) :].split(" ", 1) for line in run.output.splitlines() if line.startswith(mark))
        found = [
            answering(file, source, name, int(number), answer)
            for number, answer in told.items()
            if number.isdigit() and _is_data(answer)
        ]
        return [twin for twin in found if twin]

    def _rounds(self, ways: Mapping[str, Sequence[Twin]], hidden: Files, passing: Sequence[str]) -> list[Twin]:
        """Try at most `_ROUNDS` for each test, one of each test at a time; what holds."""
        kept: list[Twin] = []
        for number in range(_ROUNDS):
            tried = {name: twins[number] for name, twins in ways.items() if number < len(twins)}
            kept += self._kept(tried, hidden, passing) if tried else []
        return kept

    def _kept(self, tried: dict[str, Twin], hidden: Files, passing: Sequence[str]) -> list[Twin]:
        """Those that the reference patch fails; what passes without it is of kind `BASE`."""
        altered = altered_files(hidden, list(tried.values()))
        ids = [test for test in passing if test.partition("[")[0] in tried]
        run, base = (self._run(patch, ids, altered=altered) for patch in (self.task.patch, ""))
        kept = []
        for function, twin in tried.items():
            own = [test for test in ids if test.partition("[")[0] == function]
            failed = tuple(test for test in own if run.status(test) == FAILED)
            if failed and all(run.status(test) in (FAILED, PASSED) for test in own):
                is_base = any(base.status(test) == PASSED for test in failed)
                kept.append(replace(twin, tests=failed, kind=BASE if is_base else twin.kind))
        return kept


def affordable(tests: Sequence[str], run: Run, dear: float) -> list[str]:
    """Where a run apart was too `dear`, in plain runs: without the tests that ask the most, so that it will not be."""
    if dear <= _DEAREST:
        return list(tests)
    asked = {test: len(json.loads(run.traces.get(test, "[]"))) for test in tests}
    budget = max(_FREE, sum(asked.values()) * (_DEAREST - 1) / (dear - 1))
    cheapest = sorted(tests, key=asked.__getitem__)
    spent = itertools.accumulate(asked[test] for test in cheapest)
    kept = {test for test, total in zip(cheapest, spent, strict=True) if total <= budget}
    return [test for test in tests if test in kept]


def _is_data(text: str) -> bool:
    try:
        return repr(ast.literal_eval(text)) == text
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False


def altered_files(hidden: Files, twins: Sequence[Twin]) -> dict[str, bytes]:
    """The hidden test files that `twins` alter, as they are then."""
    files = dict.fromkeys(twin.file for twin in twins)
    sources = {file: content[0] for file in files if (content := hidden[file])}
    return {file: apply(text, [twin for twin in twins if twin.file == file]) for file, text in sources.items()}
