"""Tables and progress on the terminal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from nano_codex_env.untrusted import for_terminal, on_one_line

T = TypeVar("T")
_LONGEST = 4000
"""Characters of a cell."""


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Print a table; on a pipe it is as wide as it needs to be."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    made = Table(title=Text(for_terminal(title)) if title else None, title_justify="left")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(_cell(cell)) for cell in row))  # Text: a `[` in a cell is no markup
    console.print(made)


def _cell(text: str) -> str:
    more = len(text) - _LONGEST
    return for_terminal(text) if more <= 0 else f"{for_terminal(text[:_LONGEST])}... {more} more characters"


def progress(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """The items, with a progress bar on stderr where that is a terminal; beside it what takes long says of itself."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from items
        return
    said = TextColumn("{task.fields[said]}", markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), said)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total, said="")
        with _heard(lambda words: bar.update(task, said=on_one_line(words))):
            for item in items:
                yield item
                bar.update(task, advance=1, said="")


@contextmanager
def _heard(say: Callable[[str], None]) -> Iterator[None]:
    """Pass on what our loggers tell of long work: clones, base trees, environments."""
    ours, handler = logging.getLogger("nano_codex_env"), logging.Handler(logging.INFO)
    handler.emit = lambda record: say(record.getMessage())  # type: ignore[method-assign]
    level = ours.level
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    try:
        yield
    finally:
        ours.setLevel(level)
        ours.removeHandler(handler)
