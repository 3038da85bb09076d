"""`nano-codex replay`: execute a logged episode again and compare."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from typing import Any

from nano_codex_env.cli.arguments import add_command, add_folders
from nano_codex_env.cli.terminal import clipped
from nano_codex_env.errors import TaskError, TrajectoryError, WorkspaceError
from nano_codex_env.records.reader import episode_folders
from nano_codex_env.runs.replay import Difference, replay
from nano_codex_env.untrusted import on_one_line

_PRINTED = 40
"""Lines of one difference that are printed."""
_COMPARED = 500
"""Lines that are compared; difflib takes hours for many more."""
_BEFORE = 3
"""Lines that are shown before the first one that differs."""
_LINE_LIMIT = 2000
"""Characters of a line that are compared."""


def add_commands(commands: Any) -> None:
    """Add `replay`."""
    add_folders(add_command(commands, "replay", _replay))


def _replay(arguments: argparse.Namespace) -> int:
    """Execute logged episodes again and compare all observations byte for byte.

    Exit status: 0 all are identical, 1 one differs or cannot be replayed, 2 none can be replayed.

    Example: nano-codex replay .nano-codex/run-20260101-120000
    """
    different, played, failed = False, 0, 0
    for folder in episode_folders(arguments.folder):
        try:
            found = replay(folder)
        except (TrajectoryError, TaskError, WorkspaceError) as error:
            failed += 1
            message = str(error) if str(folder) in str(error) else f"{folder}: {error}"
            print(f"nano-codex: {on_one_line(message)}", file=sys.stderr)
            continue
        played += 1
        different |= not found.identical
        print(on_one_line(f"{folder}: {found.messages} messages, {'identical' if found.identical else 'DIFFERENT'}"))
        for difference in found.differences:
            _show(difference)
    if failed and played:
        print(f"{played} episodes replayed, {failed} cannot be replayed")
    return 2 if not played else int(different or failed > 0)


def _show(difference: Difference) -> None:
    """Print a unified diff of the lines around the first one that differs."""
    logged, replayed = difference.logged.split("\n"), difference.replayed.split("\n")
    pairs = enumerate(zip(logged, replayed, strict=False))
    first = next((index for index, (old, new) in pairs if old != new), min(len(logged), len(replayed)))
    start = max(0, first - _BEFORE)
    old, new = _excerpt(logged, start), _excerpt(replayed, start)
    lines = list(difflib.unified_diff(old, new, "logged", "replayed", lineterm=""))
    print(f"  {on_one_line(difference.where)}" + (f", from line {start + 1} on:" if start else ":"))
    for line in lines[:_PRINTED]:
        print(f"    {line}")
    if len(lines) > _PRINTED:
        print(f"    ... {len(lines) - _PRINTED} more lines")
    if (left := max(len(logged), len(replayed)) - start - _COMPARED) > 0:
        print(f"    ... {left} lines are not compared")


def _excerpt(lines: Sequence[str], start: int) -> list[str]:
    return [on_one_line(clipped(line, _LINE_LIMIT)) for line in lines[start : start + _COMPARED]]
