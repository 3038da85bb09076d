"""What a person sees of many rollouts: how far, the mean reward, voids, the rate, the time left."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nano_codex_env.records.result import EpisodeResult
from nano_codex_env.untrusted import for_terminal

_EVERY = 30.0
"""Seconds between two lines where stderr is no terminal."""


class Bar:
    """A progress bar on stderr; a line now and then where that is no terminal; nothing where it is not wanted."""

    def __init__(self, what: str, total: int, shown: bool | None) -> None:
        """`shown`: None: on a terminal only."""
        self._console = Console(stderr=True)
        self._live = self._console.is_terminal and shown is not False
        self._lines = bool(shown) and not self._live
        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), MofNCompleteColumn())
        words = TextColumn("{task.fields[words]}")
        self._progress = Progress(
            *columns, words, TimeRemainingColumn(), console=self._console, disable=not self._live,
            speed_estimate_period=600.0,
        )  # fmt: skip
        self._what, self._total = for_terminal(what), total
        self._task = self._progress.add_task(self._what, total=total, words="")
        self._rewards: list[float] = []
        self._done = self._new = self._void = 0
        self._started = self._said = time.monotonic()

    def add(self, result: EpisodeResult, *, earlier: bool = False) -> None:
        """Count a result; `earlier`: it was there when the run was resumed."""
        self._done += 1
        self._new += not earlier
        if result.reward is None:
            self._void += 1
        else:
            self._rewards.append(result.reward)
        self._progress.update(self._task, completed=self._done, words=self._words())
        if self._lines and not earlier and time.monotonic() - self._said > _EVERY:
            self._said = time.monotonic()
            self.say(f"{self._what} {self._done}/{self._total} {self._words()}")

    def _words(self) -> str:
        mean = f"{sum(self._rewards) / len(self._rewards):.3f}" if self._rewards else "-"
        rate = self._new / max(time.monotonic() - self._started, 1e-3) * 60
        return f"mean reward {mean}, {self._void} void, {rate:.1f}/min"

    def say(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self._live or self._lines:
            self._progress.console.print(for_terminal(text), markup=False, highlight=False)

    def __enter__(self) -> Self:
        """Itself, shown."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state on the terminal."""
        self._progress.stop()
