"""Interleaved measurements of callables, so that other load on the machine affects all of them alike."""

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
    """The distribution of times or counts."""

    name: str
    n: int
    p10: float
    median: float
    p90: float

    @classmethod
    def of(cls, name: str, values: Sequence[float]) -> Summary:
        """Summarise `values`."""
        return cls(name, len(values), quantile(values, 0.1), statistics.median(values), quantile(values, 0.9))


@dataclass(frozen=True)
class Row:
    """A row of the table: our figures, the baseline, and their ratio."""

    section: str
    goal: str
    """The number of the goal, or empty."""
    what: str
    unit: str
    ours: Summary
    base: Summary | None = None
    ratio: float | None = None
    """The ratio of p10s, which other load on the machine disturbs least."""
    ratio_median: float | None = None
    """The median over the rounds of the ratio of medians."""
    spread: tuple[float, float] | None = None
    """The p10 and p90 of that ratio over the rounds."""
    wanted: str = ""
    met: bool | None = None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """The row as it is written to the file."""
        return asdict(self)


@dataclass
class Wanted:
    """A bound on the ratio, or on our own p10 if `unit` is given."""

    most: float | None = None
    unit: str = ""
    least: float | None = None
    words: str = field(init=False)

    def __post_init__(self) -> None:
        sign, bound = ("<=", self.most) if self.most is not None else (">=", self.least)
        self.words = "" if bound is None else f"{sign} {bound:g}{f' {self.unit}' if self.unit else 'x'}"

    def met(self, value: float) -> bool | None:
        """Whether `value` is within the bound; None if there is no bound."""
        if self.most is not None:
            return value <= self.most
        return value >= self.least if self.least is not None else None


NOTHING = Wanted()


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least a share of `share` of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def interleave(cases: Mapping[str, Case], *, rounds: int, each: int | Mapping[str, int] = 1) -> Times:
    """Call the cases in turn, `each` times a round; every round starts with another case, after one call as warm-up."""
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
    """Time one call, in seconds."""
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
    """Make the row for `ours` against the baseline `base`, both names in `times`."""
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
    """Make a row of counts instead of times; the bound is on the median."""
    summary = Summary.of("ours", values)
    return Row(section, goal, what, unit, summary, wanted=wanted.words, met=wanted.met(summary.median))
