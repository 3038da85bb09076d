"""The protection of a task: its mutants and what their runs need, shipped with bundled tasks, cached for others.

A mutant counts if the reference patch fails it in the selection of tests that mutant runs hold, and the base fails it
too. Nothing is cached that depends on a run which broke off.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nano_codex_env.cache import publish
from nano_codex_env.errors import RewardError
from nano_codex_env.repo.base_tree import base_tree
from nano_codex_env.scoring.expectations import candidates
from nano_codex_env.scoring.facts import FAILED, PASSED, Control, TestRun
from nano_codex_env.scoring.hidden_tests import hidden_files
from nano_codex_env.scoring.mutants import Draw, Mutant, function_of
from nano_codex_env.scoring.run import Scorer, sources_of
from nano_codex_env.scoring.verdict import passes_in_control, raise_if_broken
from nano_codex_env.tasks.libraries import ROOT
from nano_codex_env.tasks.task import Task

logger = logging.getLogger(__name__)
_FORMAT = 4
_ROUNDS = 5
"""Mutants that are tried for each function when a task is prepared."""
_WANTED = 2
"""Mutants that a function should have: the second decides where the first passed."""
_MAX_OLD_FUNCTIONS = 12
"""PASS_TO_PASS functions that are mutated at most."""
_AFFORDABLE = 300.0
"""Seconds of unprotected PASS_TO_PASS tests that mutant runs repeat; of more, a random share."""


@dataclass(frozen=True)
class Protection:
    """See the module; `Protection()` protects nothing."""

    mutants: Mapping[str, tuple[Mutant, ...]] = field(default_factory=dict)
    """Function -> its mutants; mutant runs use the first."""
    companions: tuple[str, ...] = ()
    """PASS_TO_PASS tests without which FAIL_TO_PASS tests do not pass."""
    left_out: tuple[str, ...] = ()
    """Tests that do not pass in a part of the suite, so that no mutant run holds them."""
    flaky: tuple[str, ...] = ()
    """Tests that did not pass each time with the reference patch."""
    failed_at_base: tuple[str, ...] = ()
    """Tests that fail without any patch."""
    seconds: float = 0.0
    """Wall time of a run of all tests with the reference patch."""

    def unprotected(self, task: Task) -> list[str]:
        """FAIL_TO_PASS tests that no mutant judges."""
        judged = {test for mutants in self.mutants.values() for test in mutants[0].tests}
        return [test for test in task.FAIL_TO_PASS if test not in judged]

    def draw(self, task: Task, runs: int, chance: random.Random) -> list[Draw]:
        """Draw the tests and mutants of the mutant runs of one score, twice as many if only one function is protected.

        Each protected function is in every run, mutated in at least one and unmodified in at least one of them,
        uniformly over the `2**runs - 2` such patterns; each PASS_TO_PASS test that is not needed in all runs is in one.
        """
        if not self.mutants:
            return []
        runs *= 2 if len(self.mutants) == 1 else 1
        old = [test for test in task.PASS_TO_PASS if test not in self.left_out]
        always = [test for test in task.FAIL_TO_PASS if test not in self.left_out]
        always += [test for test in old if function_of(test) in self.mutants]
        always += [test for test in self.companions if test not in always]
        others = [test for test in old if test not in always]
        if self.seconds > _AFFORDABLE:
            others = chance.sample(others, int(len(others) * _AFFORDABLE / self.seconds))
        patterns = [(mutants[0], chance.randrange(1, 2**runs - 1)) for mutants in self.mutants.values()]
        places = [(test, chance.randrange(runs)) for test in others]
        return [
            Draw(
                (*always, *(test for test, place in places if place == number)),
                tuple(mutant for mutant, pattern in patterns if pattern >> number & 1),
            )
            for number in range(runs)
        ]

    def to_json(self, key: str) -> str:
        """The text that is kept on disk; `key` says for which task."""
        row = {"key": key, **vars(self), "seconds": round(self.seconds, 1)}
        return json.dumps(row, default=vars, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Protection:
        """The inverse of `to_json`."""
        row: dict[str, Any] = json.loads(text)
        del row["key"]
        row = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
        row["mutants"] = {function: tuple(map(Mutant.from_row, found)) for function, found in row["mutants"].items()}
        return cls(**row)


def key_of(task: Task) -> str:
    """A name for all that a protection depends on; the same on every machine for a repository of the same content."""
    fields = (task.base_commit, task.patch, task.test_patch, task.FAIL_TO_PASS, task.PASS_TO_PASS)
    text = json.dumps([_FORMAT, *fields, dict(task.environment)], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def known_protection(task: Task, cache: Path) -> Protection | None:
    """The task's protection, if it is shipped with a bundled task or cached."""
    key = key_of(task)
    shipped = [path for path in ROOT.glob("*/*/integrity.json") if path.parent.name == task.instance_id]
    for path in (*shipped, cache / "plans" / key / "plan.json"):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            if json.loads(text)["key"] == key:
                return Protection.from_json(text)
    return None


def protection_of(task: Task, scorer: Scorer, *, thorough: bool = False) -> Protection:
    """The task's protection: shipped, cached, or made now and cached.

    It is made in four runs at most, or with `thorough` in as many as it takes to find two mutants for each function.

    Raises:
        RewardError: a run broke off, or the reference patch does not pass; nothing is kept of it.
    """
    known = known_protection(task, scorer.cache)
    if known is not None:
        return known
    maker = _ProtectionMaker(task, scorer, thorough)
    made = maker.make()
    if maker.is_sound:

        def build(folder: Path) -> None:
            (folder / "plan.json").write_text(made.to_json(key_of(task)), encoding="utf-8")

        publish(scorer.cache / "plans" / key_of(task), build)
    else:
        logger.warning("%s: a run without a patch broke off; its mutants are not kept on disk", task.instance_id)
    return made


@dataclass
class _ProtectionMaker:
    task: Task
    scorer: Scorer
    thorough: bool
    is_sound: bool = True
    """Whether every run of the base ended as it should; else the protection is not kept on disk."""

    def make(self) -> Protection:
        task = self.task
        if not task.patch:
            return Protection()
        wanted = [*task.FAIL_TO_PASS, *task.PASS_TO_PASS]
        base = self._run("", wanted)
        whole = [self._run(task.patch, wanted) for _ in range(3 if self.thorough else 0)]
        flaky = [test for test in wanted if len({run.status(test) for run in whole}) > 1]
        for run in whole:
            never = [test for test in wanted if test not in flaky and run.status(test) != PASSED]
            raise_if_broken(task, never, Control(run, frozenset(flaky)))
        untried = self._candidates(base)
        tests = list(task.FAIL_TO_PASS)
        tests += [test for test in task.PASS_TO_PASS if function_of(test) in untried and test not in flaky]
        companions, unmodified, left_out = self._selection(tests, list(untried))
        kept = self._try(untried, [*tests, *companions], unmodified)
        return Protection(
            {function: tuple(found) for function, found in kept.items()},
            tuple(test for test in companions if test in task.PASS_TO_PASS),
            tuple(left_out),
            tuple(flaky),
            tuple(test for test in wanted if not passes_in_control(task, test, base)),
            max(run.seconds for run in whole or [base]),
        )

    def _run(self, patch: str, tests: Sequence[str], **more: Any) -> TestRun:
        """Run tests; the base may loop or crash, since that may be the issue, but not the reference patch."""
        source, _ = self.scorer.source(self.task, patch)
        run = self.scorer.run_tests(self.task, source, tests, **more)
        if run.reason and patch:
            raise RewardError(
                f"{self.task.instance_id}: making its mutants: {run.reason} with the reference patch: {run.output}"
            )
        self.is_sound = self.is_sound and not run.reason
        return run

    def _candidates(self, base: TestRun) -> dict[str, list[Mutant]]:
        """Function -> mutants, of every FAIL_TO_PASS function and of some PASS_TO_PASS functions."""
        task = self.task
        tree, _ = base_tree(task.repo, task.base_commit, self.scorer.cache)
        chance = random.Random(task.instance_id)
        new = list(dict.fromkeys(map(function_of, task.FAIL_TO_PASS)))
        old = [name for name in dict.fromkeys(map(function_of, task.PASS_TO_PASS)) if name not in new]
        chance.shuffle(old)
        files = {name.partition("::")[0] for name in (*new, *old)}
        sources = sources_of(tree, hidden_files(task, tree), files)
        found: dict[str, list[Mutant]] = {}
        for function in (*new, *old):
            if function not in new and len(found) >= len(new) + _MAX_OLD_FUNCTIONS:
                break
            source = sources.get(function.partition("::")[0], b"")
            lines = [line for test, line in base.lines.items() if function_of(test) == function]
            mutants = candidates(function, source, lines, random.Random(f"{task.instance_id} {function}"))
            if mutants:
                found[function] = mutants[: 2 * _ROUNDS]
        return found

    def _selection(self, tests: Sequence[str], functions: Sequence[str]) -> tuple[list[str], TestRun, list[str]]:
        """The companions that the tests need, a run of both with the reference patch, and the tests that fail in it."""
        companions: list[str] = []
        run = self._run(self.task.patch, tests, functions=functions)
        for depth in (2, 1) if self.thorough else (1,):  # the class, then the module
            near = {_scope(test, depth) for test in self.task.FAIL_TO_PASS if run.status(test) != PASSED}
            companions += [
                test
                for test in (*self.task.FAIL_TO_PASS, *self.task.PASS_TO_PASS)
                if _scope(test, depth) in near and test not in tests and test not in companions
            ]
            if near and companions and self.thorough:
                run = self._run(self.task.patch, [*tests, *companions], functions=functions)
        return companions, run, [test for test in tests if self.thorough and run.status(test) != PASSED]

    def _try(
        self, untried: Mapping[str, list[Mutant]], tests: Sequence[str], unmodified: TestRun
    ) -> dict[str, list[Mutant]]:
        """Mutants that the reference patch and the base fail, one of each function at a time."""
        kept: dict[str, list[Mutant]] = {}
        for number in range(_ROUNDS if self.thorough else 1):
            turn = [found.pop(0) for name, found in untried.items() if found and not self._suffices(kept.get(name, []))]
            if not turn:
                break
            logger.info("trying %d mutants (round %d)", len(turn), number + 1)
            functions = [mutant.function for mutant in turn]
            mutated = self._run(self.task.patch, tests, functions=functions, mutants=turn)
            at_base = self._run("", tests, functions=functions, mutants=turn)
            for mutant in turn:
                if checked := self._checked(mutant, unmodified, mutated, at_base):
                    kept.setdefault(mutant.function, []).append(checked)
        for function, mutants in kept.items():
            mutants.sort(key=lambda mutant: -len(mutant.tests))  # the first judges as many ids as any
            if not self.thorough:
                spare = [one for one in untried[function] if len(one.edits) == 1 and one.edits != mutants[0].edits]
                wanted = (*self.task.FAIL_TO_PASS, *self.task.PASS_TO_PASS)
                own = tuple(test for test in wanted if function_of(test) == function)
                mutants += [replace(other, tests=own) for other in spare[:1]]
        return kept

    def _suffices(self, mutants: Sequence[Mutant]) -> bool:
        """Whether a function has enough mutants, of which one judges all its FAIL_TO_PASS ids."""
        wanted = {test for test in self.task.FAIL_TO_PASS if mutants and function_of(test) == mutants[0].function}
        return len(mutants) >= _WANTED and any(wanted <= set(mutant.tests) for mutant in mutants)

    def _checked(self, mutant: Mutant, unmodified: TestRun, mutated: TestRun, at_base: TestRun) -> Mutant | None:
        """The mutant with the ids that it is judged by; None if no test notices it, or it breaks the test otherwise."""
        before, after = (
            [test for test in run.statuses if function_of(test) == mutant.function] for run in (unmodified, mutated)
        )
        if len(before) != len(after):
            return None
        pairs = [(old, new) for old, new in zip(before, after, strict=True) if unmodified.status(old) == PASSED]
        if any(mutated.status(new) not in (PASSED, FAILED) for _, new in pairs):
            return None
        wanted = {*self.task.FAIL_TO_PASS, *self.task.PASS_TO_PASS}
        noticed = [(old, new) for old, new in pairs if old in wanted and mutated.status(new) == FAILED]
        tests = tuple(old for old, new in noticed if at_base.status(new) != PASSED)
        renamed = tuple((new, old) for old, new in zip(before, after, strict=True) if old != new)
        return replace(mutant, tests=tests, renamed=renamed) if tests else None


def _scope(test: str, depth: int) -> str:
    """The class (2) or module (1) of a test."""
    parts = function_of(test).split("::")
    return "::".join(parts[:-1] if depth == 2 else parts[:1])
