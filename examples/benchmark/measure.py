"""Measure callables side by side, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Case = Callable[[], object]
Times = dict[str, list[list[float]]]
"""Name -> rounds -> seconds."""


@dataclass(frozen=True)
class Summary:
    """One column of times, or of whatever is counted."""

    name: str
    n: int
    p10: float
    median: float
    p90: float

    @classmethod
    def of(cls, name: str, values: Sequence[float]) -> Summary:
        """The figures of `values`."""
        return cls(name, len(values), quantile(values, 0.1), statistics.median(values), quantile(values, 0.9))


@dataclass(frozen=True)
class Row:
    """A line of the table: ours, what it is held against, and their ratio."""

    section: str
    goal: str
    """The goal's number, or empty."""
    what: str
    unit: str
    ours: Summary
    base: Summary | None = None
    ratio: float | None = None
    """Of the p10s, which other work on the machine disturbs least."""
    ratio_median: float | None = None
    """The median over the rounds of the ratio of medians."""
    spread: tuple[float, float] | None = None
    """The p10 and p90 of that ratio over the rounds."""
    wanted: str = ""
    met: bool | None = None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """The row, as it goes to the file."""
        return asdict(self)


@dataclass
class Wanted:
    """A bound: on the ratio, or on our own p10 where `unit` is given."""

    most: float | None = None
    unit: str = ""
    least: float | None = None
    words: str = field(init=False)

    def __post_init__(self) -> None:
        sign, bound = ("<=", self.most) if self.most is not None else (">=", self.least)
        self.words = "" if bound is None else f"{sign} {bound:g}{f' {self.unit}' if self.unit else 'x'}"

    def met(self, value: float) -> bool | None:
        """Whether `value` keeps the bound."""
        if self.most is not None:
            return value <= self.most
        return value >= self.least if self.least is not None else None


NOTHING = Wanted()


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def interleave(cases: Mapping[str, Case], *, rounds: int, each: int | Mapping[str, int] = 1) -> Times:
    """Call every case in turn, `each` times a round, each round beginning with another; once before, unmeasured."""
    names, times = list(cases), Times()
    for name in names:
        cases[name]()
        times[name] = []
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            count = each if isinstance(each, int) else each.get(name, 1)
            times[name].append([clock(cases[name]) for _ in range(count)])
    return times


def clock(case: Case) -> float:
    """Seconds that one call takes."""
    started = time.perf_counter()
    case()
    return time.perf_counter() - started


_SCALES = {"s": 1.0, "ms": 1e3, "us": 1e6}


def compare(
    section: str,
    goal: str,
    what: str,
    times: Times,
    ours: str,
    base: str | None = None,
    *,
    unit: str = "ms",
    wanted: Wanted = NOTHING,
    note: str = "",
) -> Row:
    """The row for `ours` against `base`, both names of `times`."""
    scale = _SCALES.get(unit, 1.0)
    mine = _summary(ours, times[ours], scale)
    if base is None:
        return Row(section, goal, what, unit, mine, wanted=wanted.words, met=wanted.met(mine.p10), note=note)
    other = _summary(base, times[base], scale)
    ratios = [
        statistics.median(one) / statistics.median(two) for one, two in zip(times[ours], times[base], strict=True)
    ]
    ratio = mine.p10 / other.p10
    return Row(
        section,
        goal,
        what,
        unit,
        mine,
        other,
        ratio,
        statistics.median(ratios),
        (quantile(ratios, 0.1), quantile(ratios, 0.9)),
        wanted.words,
        wanted.met(mine.p10 if wanted.unit else ratio),
        note,
    )


def _summary(name: str, rounds: Sequence[Sequence[float]], scale: float) -> Summary:
    return Summary.of(name, [value * scale for values in rounds for value in values])


def counted(section: str, goal: str, what: str, unit: str, values: Sequence[float], wanted: Wanted = NOTHING) -> Row:
    """A row of what is counted, not timed; the bound is on the median."""
    summary = Summary.of("ours", values)
    return Row(section, goal, what, unit, summary, wanted=wanted.words, met=wanted.met(summary.median))
