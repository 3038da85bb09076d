"""From the records that a runner sent to facts: a status for each test, or why the run as a whole does not count."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

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
    """Test id -> status, in the order of the run; a test that was not reported is not in here."""
    reason: str = ""
    """Why the run as a whole does not count; empty: it counts."""
    started: bool = True
    """Whether the runner came up: if not, the failure is ours."""
    output: str = ""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Test id -> the line of the test file at which it failed."""
    seconds: float = 0.0
    """What the run took, start-up and all."""
    nearest: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Test id that was not found -> ids of the same file that look like it."""
    foreign: tuple[str, ...] = ()
    """Files of the task's own packages that were imported from outside of the repository."""

    def status(self, test: str) -> str:
        """The status of one test; nothing passes in a run that does not count."""
        return MISSING if self.reason else self.statuses.get(test, MISSING)

    def renamed(self, names: Mapping[str, str]) -> TestRun:
        """With test ids replaced: the rows of a mutated table have ids of their own."""
        return replace(self, statuses={names.get(test, test): status for test, status in self.statuses.items()})


def read_reports(
    reports: bytes, key: str, exit_code: int | None, stopped: str, output: str, *, start: int = 0
) -> TestRun:
    """The facts in the records of a runner, from byte `start` on; `stopped` says why it was stopped, if it was.

    A run counts when its records form an unbroken chain from `start` to `end`, and the end agrees with the exit status.
    Whoever shares the runner's process can write records of its own: each is bounded, and none is kept but its facts.
    """
    first, last, sound = None, None, True
    statuses, lines = _Statuses(), {}
    missing: list[Any] = []
    foreign: tuple[str, ...] = ()
    for record in _chain(reports, key, start):
        if record is None:
            sound = False
            break
        first, last = first or record, record
        if record[0] == "phase":
            statuses.add(record)
            if record[6] and record[3] == "failed":
                lines[record[1]] = record[6]
        elif record[0] == "missing":
            missing = record[1]
        elif record[0] == "foreign":
            foreign = tuple(str(file) for file in record[1])
    started = first is not None and first[0] == "start"
    if stopped:
        reason = stopped
    elif not sound:
        reason = FORGED
    elif not started or last is None or last[0] != "end":
        reason = f"the run ended early (exit status {exit_code})"
    elif last[1] != exit_code:
        reason = f"the run reported exit status {last[1]} but ended with {exit_code}"
    else:
        reason = ""
    nearest = {str(pair[0]): tuple(map(str, pair[1])) for pair in missing if _is_pair(pair)}
    return TestRun(statuses.found(), reason, started, output, lines, 0.0, nearest, foreign)


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[1], list)


def _chain(reports: bytes, key: str, start: int) -> Iterator[list[Any] | None]:
    """The records in order; None, and no more, for one that is invalid or does not continue the chain."""
    digest, counts = key, Counter[str]()
    while start < len(reports):
        end = reports.find(b"\n", start, start + _LARGEST)
        given, _, text = reports[start : max(end, start)].partition(b" ")
        digest = hashlib.sha256(digest.encode() + text).hexdigest()
        record = _record(text) if end >= 0 and given == digest.encode() else None
        start = end + 1
        if record is not None:
            counts[record[0]] += 1
        if record is None or counts[record[0]] > _SHAPES[record[0]].count:
            yield None
            return
        yield record
        if record[0] == "end":
            if start != len(reports):
                yield None
            return


@dataclass(frozen=True)
class _Shape:
    """What a kind of record looks like."""

    types: tuple[type, ...]
    size: int
    """Bytes of its text at most."""
    count: int = 1
    """How many a run has at most."""


_SHAPES = {
    "start": _Shape((str, str), 1 << 10),
    "phase": _Shape((str, str, str, str, bool, bool, int), 1 << 16, 1 << 20),
    "missing": _Shape((str, list), 1 << 18),
    "foreign": _Shape((str, list), 1 << 18),
    "end": _Shape((str, int), 1 << 10),
}
_LARGEST = 128 + max(shape.size for shape in _SHAPES.values())
"""Bytes of the longest line."""


def _record(text: bytes) -> list[Any] | None:
    """One record of the runner's, or None for what it would never write."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, list) or not record or not isinstance(record[0], str):
        return None
    shape = _SHAPES.get(record[0])
    if shape is None or len(text) > shape.size or tuple(type(value) for value in record) != shape.types:
        return None
    return None if any(type(value) is int and abs(value) >= 1 << 31 for value in record) else record


class _Statuses:
    """Status by test: each of set-up, call and tear-down exactly once, or it failed."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, list[tuple[str, bool]]]] = {}
        self._broken: set[str] = set()

    def add(self, phase: list[Any]) -> None:
        """Take one record of a phase."""
        _, test, when, outcome, expected, is_subtest, _ = phase
        if not is_subtest:
            outcomes = self._seen.setdefault(test, {}).setdefault(when, [])
            outcomes[:] = [*outcomes[:1], (outcome, expected)]  # two are one too many
        elif outcome == "failed":
            self._broken.add(test)

    def found(self) -> dict[str, str]:
        """Test -> status, in the order of the run."""
        return {test: FAILED if test in self._broken else _status(found) for test, found in self._seen.items()}


def _status(found: dict[str, list[tuple[str, bool]]]) -> str:
    phases = {when: outcomes[0] for when, outcomes in found.items() if len(outcomes) == 1}
    if len(phases) != len(found) or phases.get("teardown", ("", False))[0] != PASSED:
        return FAILED
    setup, call = phases.get("setup"), phases.get("call")
    for phase in (setup, call):
        if phase is not None and phase[0] == "skipped":
            return XFAILED if phase[1] else SKIPPED
    if setup is None or call is None or setup[0] != PASSED or call[0] != PASSED:
        return FAILED
    return XPASSED if call[1] else PASSED
