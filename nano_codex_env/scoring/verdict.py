"""From the reports of a run to a status for each test; what does not add up is no verdict at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

PASSED, FAILED, SKIPPED, XFAILED, XPASSED, MISSING = "passed", "failed", "skipped", "xfailed", "xpassed", "missing"

TIMED_OUT, FLOODED = "the tests timed out", "the tests flooded the output"
STOPPED = (TIMED_OUT, FLOODED)
"""Reasons that may be the tests' own fault rather than the patch's."""


@dataclass(frozen=True)
class Run:
    """What one run of the tests showed."""

    statuses: dict[str, str]
    """Test id -> status; a test that was not reported is not in here."""
    reason: str = ""
    """Why the run as a whole counts for nothing; empty: it counts."""
    started: bool = True
    """Whether the runner came up: if not, the failure is ours."""
    applied: bool = True
    """Whether the patch could be applied at all."""
    output: str = ""
    traces: Mapping[str, str] = field(default_factory=dict)
    """Test id -> what it asked of the code under test, as JSON; under "" what the imports asked."""
    asked: tuple[str, ...] = ()
    """The kinds of operations that the tests asked, if traces are kept; of attributes with their names."""
    siblings: Mapping[int, str] = field(default_factory=dict)
    """Number of a sibling -> what the code under test answered, as JSON."""

    def status(self, test: str) -> str:
        """The status of one test; nothing passes in a run that does not count."""
        return MISSING if self.reason else self.statuses.get(test, MISSING)


def read_run(reports: bytes, key: str, exit_code: int | None, stopped: str, output: str) -> Run:
    """Judge the records that a runner sent; `stopped` says why it was stopped, if it was.

    A run counts when its records form an unbroken chain from `start` to `end`, and the end agrees with the exit status.
    """
    records, sound = _chain(reports, key)
    started = bool(records) and records[0][0] == "start"
    statuses = _statuses(record for record in records if record[0] == "phase")
    if stopped:
        reason = stopped
    elif not sound:
        reason = "the reports were tampered with"
    elif not started or records[-1][0] != "end":
        reason = f"the run ended early (exit status {exit_code})"
    elif records[-1][1] != exit_code:
        reason = f"the run said it ended with {records[-1][1]} but ended with {exit_code}"
    else:
        reason = ""
    traces, siblings = ({row[1]: row[2] for row in records if row[0] == kind} for kind in ("trace", "sibling"))
    asked = tuple(str(name) for row in records if row[0] == "asked" for name in row[1])
    return Run(statuses, reason, started, True, output, traces, asked, siblings)


def _chain(reports: bytes, key: str) -> tuple[list[list[Any]], bool]:
    """The records up to the first that is none or does not continue the chain, and whether that is all."""
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
    "phase": (str, str, str, str, bool, bool),
    "trace": (str, str, str),
    "asked": (str, list),
    "sibling": (str, int, str),
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
    for _, test, when, outcome, expected, is_subtest in phases:
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
