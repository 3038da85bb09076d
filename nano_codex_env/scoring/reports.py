"""Read the records that a runner sent: a status for each test, or why the run as a whole does not count."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from nano_codex_env.scoring.facts import FAILED, FORGED, PASSED, SKIPPED, XFAILED, XPASSED, TestRun


class _Kind(NamedTuple):
    """The shape and bounds of a kind of record; code under test may write records too."""

    types: tuple[type, ...]
    size: int
    """Bytes of its text at most."""
    most: int = 1
    """How many a run has at most."""


_KINDS = {
    "start": _Kind((str, str), 1 << 10),
    "phase": _Kind((str, str, str, str, bool, bool, int), 1 << 16, 1 << 20),
    "missing": _Kind((str, list), 1 << 18),
    "foreign": _Kind((str, list), 1 << 18),
    "memory": _Kind((str, str), 1 << 16),
    "end": _Kind((str, int), 1 << 10),
}
_MAX_LINE = 128 + max(kind.size for kind in _KINDS.values())


def read_reports(
    reports: bytes, key: str, exit_code: int | None, stopped: str, output: str, *, start: int = 0
) -> TestRun:
    """The facts in the records of a runner, from byte `start` on; `stopped` says why it was stopped, if it was.

    A run counts when its records form an unbroken chain from `start` to `end`, and the end agrees with the exit status.
    """
    first, end_status, memory = "", None, ""
    phases: dict[str, dict[str, tuple[str, bool]]] = {}
    failed: set[str] = set()
    lines: dict[str, int] = {}
    nearest: dict[str, tuple[str, ...]] = {}
    foreign: tuple[str, ...] = ()
    try:
        for kind, *values in _chain(reports, key, start):
            first = first or kind
            if kind == "phase":
                test, when, outcome, is_xfail, is_subtest, line = values
                if outcome == FAILED and line:
                    lines[test] = line
                if is_subtest:
                    failed.update([test] if outcome == FAILED else [])
                elif when in phases.setdefault(test, {}):
                    failed.add(test)  # each phase is reported exactly once
                else:
                    phases[test][when] = (outcome, is_xfail)
            elif kind == "missing":
                pairs = [pair for pair in values[0] if isinstance(pair, list) and len(pair) == 2]
                nearest = {str(test): tuple(map(str, near)) for test, near in pairs if isinstance(near, list)}
            elif kind == "foreign":
                foreign = tuple(map(str, values[0]))
            elif kind == "memory":
                memory = values[0]
            elif kind == "end":
                end_status = values[0]
        reason = (
            "" if end_status == exit_code else f"the run reported exit status {end_status} but ended with {exit_code}"
        )
        if first != "start" or end_status is None:
            reason = f"the run ended early (exit status {exit_code})"
    except (ValueError, RecursionError):
        reason = FORGED
    statuses = {test: FAILED if test in failed else _status(found) for test, found in phases.items()}
    return TestRun(statuses, stopped or reason, first == "start", output, lines, 0.0, nearest, foreign, memory)


def _chain(reports: bytes, key: str, start: int) -> Iterator[list[Any]]:
    """The records in order.

    Raises:
        ValueError, RecursionError: a record is invalid, does not continue the chain, or follows the last.
    """
    digest, counts = key, Counter[str]()
    while start < len(reports):
        end = reports.find(b"\n", start, start + _MAX_LINE)
        given, _, text = reports[start : max(end, start)].partition(b" ")
        digest = hashlib.sha256(digest.encode() + text).hexdigest()
        if end < 0 or given != digest.encode():
            raise ValueError("the chain is broken")
        record = json.loads(text)
        name = record[0] if isinstance(record, list) and record and isinstance(record[0], str) else ""
        counts[name] += 1
        kind = _KINDS.get(name)
        if kind is None or len(text) > kind.size or counts[name] > kind.most or tuple(map(type, record)) != kind.types:
            raise ValueError("not a record of the runner's")
        if any(type(value) is int and abs(value) >= 1 << 31 for value in record):
            raise ValueError("a number out of bounds")
        yield record
        start = end + 1
        if name == "end" and start < len(reports):
            raise ValueError("more after the end")


def _status(phases: dict[str, tuple[str, bool]]) -> str:
    """The status of a test whose set-up, call and tear-down are these: (outcome, whether it was expected to fail)."""
    none = ("", False)
    setup, call, teardown = (phases.get(when, none) for when in ("setup", "call", "teardown"))
    if teardown[0] != PASSED:
        return FAILED
    for outcome, is_xfail in (setup, call):
        if outcome == SKIPPED:
            return XFAILED if is_xfail else SKIPPED
    if setup[0] != PASSED or call[0] != PASSED:
        return FAILED
    return XPASSED if call[1] else PASSED
