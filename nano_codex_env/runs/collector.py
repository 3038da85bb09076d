"""Takes the results of an executor as they come: records and shows them, and decides when to stop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nano_codex_env.errors import BrokenTaskError
from nano_codex_env.records.result import EpisodeResult
from nano_codex_env.records.rows import RowFile
from nano_codex_env.runs.executors import Job, ThreadExecutor

if TYPE_CHECKING:
    from nano_codex_env.runs.progress import ProgressBar

Results = dict[Any, EpisodeResult]
"""Results by `EpisodeResult.key`."""

_POLL = 0.2
"""Seconds between two checks of the deadline and of interrupts."""


class Collector:
    """Records and shows the results of an executor as they come, and handles the deadline and Ctrl-C."""

    def __init__(
        self,
        executor: ThreadExecutor,
        records: RowFile | None,
        bar: ProgressBar,
        results: Results,
        on_result: Callable[[EpisodeResult], object] | None = None,
    ) -> None:
        """`results`: those of a resumed run; new ones are added. For the other arguments see `rollouts`."""
        self._executor, self._records, self._bar, self._results = executor, records, bar, results
        self._on_result = on_result
        self.interrupts = 0
        """How often Ctrl-C was pressed."""
        self._failure: BaseException | None = None
        """What `on_result` raised."""
        self._reasons: set[str] = set()
        for result in results.values():
            bar.add(result, earlier=True)

    def collect(self, jobs: Sequence[Job], deadline: float | None) -> None:
        """Have the jobs played, until all are finished, the deadline has passed, or Ctrl-C was pressed twice.

        Raises what `on_result` raised, once all that is finished is recorded.
        """
        until = None if deadline is None else time.monotonic() + deadline
        is_announced = is_ending = False
        with self._counted_interrupts():
            self._executor.start(jobs)
            while self._executor.running:
                self._take(_POLL)
                self._bar.show_played(*self._executor.played())
                if self.interrupts and not is_announced:
                    is_announced = True
                    self._bar.say("interrupted: finishing the episodes that run; Ctrl-C again drops them")
                if self._executor.too_many and not is_ending:
                    is_ending = True
                    self._bar.say("too many void episodes: finishing the episodes that run")
                if self.interrupts > 1 or self._failure:
                    break
                if until is not None and time.monotonic() > until:
                    self._give_up(jobs, f"the deadline of {deadline:g} seconds for all episodes passed")
                    break
            while self._take(0):
                pass
            self._bar.show_played(*self._executor.played())
        if self._failure:
            raise self._failure

    def _take(self, timeout: float) -> bool:
        result = self._executor.poll(timeout)
        if result:
            self._keep(result)
        return result is not None

    def _keep(self, result: EpisodeResult) -> None:
        self._results[result.key] = result
        if self._records:
            self._records.add(result.row())
        if result.void and result.void not in self._reasons:
            self._reasons.add(result.void)  # shown once: with a dead endpoint all episodes have the same one
            broken = result.void.startswith(BrokenTaskError.__name__)
            state = "is broken, and all its episodes are void" if broken else f"(attempt {result.attempt}) is void"
            self._bar.say(f"{result.instance_id} {state}: {result.void:.4000}")
        self._bar.add(result)
        if self._on_result and not self._failure:
            try:
                self._on_result(result)
            except BaseException as error:  # noqa: BLE001 (`collect` raises it)
                self._failure = error
                self._executor.finish()

    def _give_up(self, jobs: Sequence[Job], reason: str) -> None:
        """Record every unfinished job as void."""
        running = {void.key: void for void in self._executor.drop(reason)}
        while self._take(0):
            pass
        for job in jobs:
            if job.key not in self._results:
                self._keep(running.get(job.key) or job.void(f"{reason}; it was not begun"))

    @contextmanager
    def _counted_interrupts(self) -> Iterator[None]:
        """Count Ctrl-C, so that it does not end the writing of a row; not if the caller has a handler of its own."""
        is_main = threading.current_thread() is threading.main_thread()
        if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return

        def count(number: int, frame: object) -> None:
            self.interrupts += 1
            self._executor.finish()

        signal.signal(signal.SIGINT, count)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
