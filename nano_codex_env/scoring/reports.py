"""From the records that a runner sent to facts: a status for each test, or why the run as a whole does not count."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
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


def read_reports(reports: bytes, key: str, exit_code: int | None, stopped: str, output: str) -> TestRun:
    """The facts in the records of a runner; `stopped` says why it was stopped, if it was.

    A run counts when its records form an unbroken chain from `start` to `end`, and the end agrees with the exit status.
    """
    records, sound = _chain(reports, key)
    started = bool(records) and records[0][0] == "start"
    if stopped:
        reason = stopped
    elif not sound:
        reason = FORGED
    elif not started or records[-1][0] != "end":
        reason = f"the run ended early (exit status {exit_code})"
    elif records[-1][1] != exit_code:
        reason = f"the run reported exit status {records[-1][1]} but ended with {exit_code}"
    else:
        reason = ""
    phases = [record for record in records if record[0] == "phase"]
    lines = {record[1]: record[6] for record in phases if record[6] and record[3] == "failed"}
    foreign = tuple(str(file) for record in records if record[0] == "foreign" for file in record[1])
    missing = [pair for record in records if record[0] == "missing" for pair in record[1]]
    nearest = {str(pair[0]): tuple(map(str, pair[1])) for pair in missing if _is_pair(pair)}
    return TestRun(_statuses(phases), reason, started, output, lines, 0.0, nearest, foreign)


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[1], list)


def _chain(reports: bytes, key: str) -> tuple[list[list[Any]], bool]:
    """The records up to the first that is invalid or does not continue the chain, and whether that is all."""
    digest = key
    records: list[list[Any]] = []
    *lines, rest = reports.split(b"\n")
    for number, line in enumerate(lines, 1):
        given, _, text = line.partition(b" ")
        digest = hashlib.sha256(digest.encode() + text).hexdigest()
        record = _record(text) if given == digest.encode() else None
        if record is None:
            return records, False
        records.append(record)
        if record[0] == "end":
            return records, not rest and number == len(lines)
    return records, not rest


_SHAPES = {
    "start": (str, str),
    "phase": (str, str, str, str, bool, bool, int),
    "missing": (str, list),
    "foreign": (str, list),
    "end": (str, int),
}


def _record(text: bytes) -> list[Any] | None:
    """One record of the runner's, or None for what it would never write."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, list) or not record or not isinstance(record[0], str):
        return None
    return record if tuple(type(value) for value in record) == _SHAPES.get(record[0]) else None


def _statuses(phases: Iterable[list[Any]]) -> dict[str, str]:
    """Status by test: each of set-up, call and tear-down exactly once, or it failed."""
    seen: dict[str, dict[str, list[tuple[str, bool]]]] = {}
    broken: set[str] = set()
    for _, test, when, outcome, expected, is_subtest, *_ in phases:
        if is_subtest:
            if outcome == "failed":
                broken.add(test)
            continue
        seen.setdefault(test, {}).setdefault(when, []).append((outcome, expected))
    return {test: FAILED if test in broken else _status(found) for test, found in seen.items()}


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
