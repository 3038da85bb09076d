"""Tables, progress and log messages on the terminal; all text is made safe to print."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from nano_codex_env.untrusted import for_terminal, on_one_line

T = TypeVar("T")
_CELL_LIMIT = 4000
"""Characters of a cell."""
_NARROW = 24
"""Table columns up to this width are not wrapped."""
_PIPE_WIDTH = 200


def table(
    names: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = (), pipe_width: int = _PIPE_WIDTH
) -> None:
    """Print a table; the columns in `right` are aligned right, columns without any text are left out.

    On a terminal that is too narrow for it, print a line for each row. Elsewhere it is at most `pipe_width` wide.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=pipe_width)
    cells = [[Text(for_terminal(clipped(cell, _CELL_LIMIT))) for cell in row] for row in rows]
    columns = {name: column for name, column in zip(names, zip(*cells, strict=True), strict=False) if any(column)}
    widths = {name: max(len(name), *(cell.cell_len for cell in column)) for name, column in columns.items()}
    if sum(min(width, _NARROW) + 3 for width in widths.values()) >= console.width:
        for row in zip(*columns.values(), strict=True):
            first, *others = [on_one_line(cell.plain) for cell in row]
            named = [f"{name} {cell}" for name, cell in zip(list(columns)[1:], others, strict=True)]
            console.print(Text(first, "bold") + Text(f": {', '.join(named)}"))
        return
    made = Table()
    for name, width in widths.items():
        made.add_column(name, justify="right" if name in right else "left", overflow="fold", no_wrap=width <= _NARROW)
    for row in zip(*columns.values(), strict=True):
        made.add_row(*row)
    console.print(made)


def number(value: float | None, missing: str = "-") -> str:
    """A reward as it stands in a table."""
    return missing if value is None else f"{value:.2f}"


def print_totals(rewards: Sequence[float | None], where: str, out: Path) -> None:
    """Print the line below a table of episodes; a reward of None is a void episode."""
    known = [reward for reward in rewards if reward is not None]
    average = f"{mean(known):.3f}" if known else "none"
    void = len(rewards) - len(known)
    print(on_one_line(f"{len(rewards)} episodes, mean reward {average}, {void} void; {where} in {out}"))


def clipped(text: str, limit: int) -> str:
    """The text, or its first `limit` characters and how many more there are."""
    return text if len(text) <= limit else f"{text[:limit]}... {len(text) - limit} more characters"


def progress(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Yield the items; if stderr is a terminal, show a progress bar with the latest log message."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from items
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    note = TextColumn("{task.fields[note]}", markup=False)
    with Progress(*columns, note, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total, note="")
        with log_messages(lambda message: bar.update(task, note=on_one_line(message)), logging.INFO):
            for item in items:
                yield item
                bar.update(task, advance=1, note="")


class _Handler(logging.Handler):
    """Calls `show` with each message; messages and tracebacks may quote a server or a dataset."""

    def __init__(self, show: Callable[[str], None], level: int) -> None:
        super().__init__(level)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._show(for_terminal(self.format(record)))
        except Exception:  # noqa: BLE001 (as in logging.StreamHandler: a failure to log must not end the work)
            self.handleError(record)


@contextmanager
def log_messages(show: Callable[[str], None], level: int) -> Iterator[None]:
    """Pass the package's log messages from `level` on to `show`."""
    logger, handler = logging.getLogger("nano_codex_env"), _Handler(show, level)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(level, logger.getEffectiveLevel()))
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


@contextmanager
def status() -> Iterator[Callable[[str], None]]:
    """Show a spinner on stderr; calling the yielded function sets its text."""
    with Console(stderr=True).status("starting") as spinner:
        yield lambda text: spinner.update(escape(for_terminal(text)))
