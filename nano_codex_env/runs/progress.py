"""The progress of many rollouts on the terminal: what is finished, mean reward, voids, rates, what runs, time left."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from nano_codex_env.records.result import EpisodeResult
from nano_codex_env.untrusted import for_terminal

_EVERY = 30.0
"""Seconds between two lines if stderr is not a terminal."""


class _Bar(Progress):
    """A progress bar with a line of text below."""

    below = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        if self.below:
            yield Text(self.below)


class ProgressBar:
    """A progress bar if stderr is a terminal; otherwise a line every 30 seconds, if it was asked for."""

    def __init__(self, title: str, total: int, shown: bool | None) -> None:
        """`shown`: None: only on a terminal."""
        console = Console(stderr=True)
        self._live = console.is_terminal and shown is not False
        self._lines = bool(shown) and not self._live
        self._progress = _Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not self._live,
            speed_estimate_period=600.0,
        )
        self._title, self._total = for_terminal(title), total
        self._task = self._progress.add_task(self._title, total=total)
        self._rewards: list[float] = []
        self._done = self._new = self._steps = 0
        self._started = self._last_line = time.monotonic()

    def add(self, result: EpisodeResult, *, earlier: bool = False) -> None:
        """Count a result; `earlier`: it is one of a resumed run."""
        self._done += 1
        self._new += not earlier
        self._steps += 0 if earlier else result.steps
        self._rewards += [] if result.reward is None else [result.reward]
        self._progress.update(self._task, completed=self._done)

    def show_played(self, running: int, answers: int, steps: int) -> None:
        """Show how many episodes run, how many answers there were, and the steps: `steps` are those of what runs."""
        steps += self._steps
        state = f"{running} running, {answers} answers, {steps} steps, {self._per_minute(steps)} steps/min"
        if self._done:
            mean = f"{sum(self._rewards) / len(self._rewards):.3f}" if self._rewards else "-"
            void = self._done - len(self._rewards)
            state = f"mean reward {mean}, {void} void, {self._per_minute(self._new)}/min; {state}"
        self._progress.below = state
        if self._lines and time.monotonic() - self._last_line > _EVERY:
            self._last_line = time.monotonic()
            self.say(f"{self._title} {self._done}/{self._total}: {state}")

    def _per_minute(self, count: int) -> str:
        return f"{count / max(time.monotonic() - self._started, 1e-3) * 60:.1f}"

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self._live or self._lines:
            self._progress.console.print(for_terminal(text), markup=False, highlight=False, soft_wrap=self._lines)

    def __enter__(self) -> Self:
        """Show it."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state on the terminal."""
        self._progress.stop()
