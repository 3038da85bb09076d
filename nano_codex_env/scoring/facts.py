"""Facts about a patch: the result of one run of the tests, and the runs that a verdict is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from nano_codex_env.scoring.mutants import Mutant

PASSED, FAILED, SKIPPED, XFAILED, XPASSED, MISSING = "passed", "failed", "skipped", "xfailed", "xpassed", "missing"

TIMED_OUT, FLOODED = "the tests timed out", "the tests flooded the output"
NOT_APPLIED = "the patch does not apply"
FORGED = "the reports were tampered with"
TAMPERED = "the tests were tampered with: one that must fail was reported as passed"


@dataclass(frozen=True)
class TestRun:
    """The facts of one run of the tests."""

    __test__: ClassVar[bool] = False  # pytest: no test class

    statuses: Mapping[str, str] = field(default_factory=dict)
    """Test id -> status, in the order of the run; tests that were not reported are absent."""
    reason: str = ""
    """Why the run as a whole does not count; empty: it counts."""
    started: bool = True
    """Whether the runner started: if not, the failure is ours."""
    output: str = ""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Test id -> the line of the test file at which it failed."""
    seconds: float = 0.0
    """Wall time of the run, start-up included."""
    nearest: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Test id that was not found -> similar ids in the same file."""
    foreign: tuple[str, ...] = ()
    """Files of the task's own packages that were imported from outside of the repository."""
    memory: str = ""
    """Whose limit of memory was reached, if one was."""

    def status(self, test: str) -> str:
        """The status of one test; nothing passes in a run that does not count."""
        return MISSING if self.reason else self.statuses.get(test, MISSING)

    def renamed(self, names: Mapping[str, str]) -> TestRun:
        """With test ids replaced: the rows of a mutated table have ids of their own."""
        return replace(self, statuses={names.get(test, test): status for test, status in self.statuses.items()})


@dataclass(frozen=True)
class Isolated:
    """One function run in isolation with the patch, so that no other test can have left state behind."""

    function: str
    unmodified: TestRun
    mutant: Mutant | None = None
    mutated: TestRun | None = None
    """A second run, with its mutant, if it has one."""


@dataclass(frozen=True)
class Round:
    """One set of tests run with the patch, and the runs that check what it showed."""

    tests: tuple[str, ...]
    run: TestRun
    mutants: tuple[Mutant, ...] = ()
    """At most one for each function; empty in the first round."""
    repeat: TestRun | None = None
    """The same set with the patch once more."""
    reference: TestRun | None = None
    """The same set with the reference patch, run after it."""
    isolated: tuple[Isolated, ...] = ()
    """Functions that failed unmodified, run in isolation."""

    @property
    def mutated_tests(self) -> dict[str, Mutant]:
        """The tests by which the mutants are judged, each with its mutant."""
        return {test: mutant for mutant in self.mutants for test in mutant.tests}


@dataclass(frozen=True)
class Control:
    """The control run: all tests with the reference patch (the empty patch, where a task has no reference)."""

    run: TestRun | None = None
    """None: not run yet."""
    flaky: frozenset[str] = frozenset()
    """Tests that do not always pass with the reference patch."""
