"""`nano-codex cache ls | prune`: what lies in the cache, and how to make it smaller."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nano_codex_env.cache import Entry, cache_dir, entries, remove, remove_dead_sessions
from nano_codex_env.errors import ConfigError

_DAY = 86400.0


def add_commands(commands: Any) -> None:
    """Add `cache` and what is below it."""
    below = commands.add_parser("cache", help="show the cache, or make it smaller").add_subparsers(
        required=True, metavar="COMMAND"
    )
    ls = below.add_parser("ls", help="what it holds, how large it is, when it was used last")
    ls.add_argument("--all", action="store_true", help="a row for each entry, the largest first")
    ls.set_defaults(command=_ls)
    prune = below.add_parser("prune", help="remove what has not been used for long; it is made anew when it is needed")
    prune.add_argument("--unused", type=float, default=30.0, metavar="DAYS", help="default: 30")
    prune.add_argument("--kind", nargs="+", default=[], metavar="KIND", help="only these, such as trees or venvs")
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")
    prune.set_defaults(command=_prune)


def _ls(arguments: argparse.Namespace) -> int:
    from nano_codex_env.cli.tables import progress, table

    folder = cache_dir()
    found = entries(folder)
    sizes = {entry.path: entry.size() for entry in progress(found, "measuring", len(found))}
    if arguments.all:
        ordered = sorted(found, key=lambda entry: -sizes[entry.path])
        rows = [(entry.kind, entry.path.name, _mb(sizes[entry.path]), _ago(entry)) for entry in ordered]
        table(str(folder), ("kind", "entry", "MB", "used"), rows, right=("MB", "used"))
    else:
        rows = [_sum(kind, [entry for entry in found if entry.kind == kind], sizes) for kind in _kinds(found)]
        table(str(folder), ("kind", "entries", "MB", "used last"), rows, right=("entries", "MB", "used last"))
    print(f"{len(found)} entries, {_mb(sum(sizes.values()))} MB")
    return 0


def _prune(arguments: argparse.Namespace) -> int:
    from nano_codex_env.cli.tables import progress

    if not arguments.unused >= 0:
        raise ConfigError(f"--unused must be a number of days from 0 on; got {arguments.unused:g}")
    folder = cache_dir()
    found = entries(folder)
    if unknown := sorted(set(arguments.kind) - set(_kinds(found))):
        raise ConfigError(f"the cache holds no {', '.join(unknown)}; it holds {', '.join(_kinds(found)) or 'nothing'}")
    before = time.time() - arguments.unused * _DAY
    old = [entry for entry in found if entry.used <= before and (not arguments.kind or entry.kind in arguments.kind)]
    size = 0
    for entry in progress(old, "removing", len(old)):
        size += entry.size()
        if not arguments.dry_run:
            remove(entry)
    if not arguments.dry_run:
        remove_dead_sessions(folder)
    print(f"{'would remove' if arguments.dry_run else 'removed'} {len(old)} of {len(found)} entries, {_mb(size)} MB")
    return 0


def _kinds(found: Iterable[Entry]) -> list[str]:
    return sorted({entry.kind for entry in found})


def _sum(kind: str, found: Sequence[Entry], sizes: dict[Path, int]) -> tuple[str, str, str, str]:
    size = sum(sizes[entry.path] for entry in found)
    return kind, str(len(found)), _mb(size), _ago(max(found, key=lambda entry: entry.used))


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f}"


def _ago(entry: Entry) -> str:
    hours = max(0.0, time.time() - entry.used) / 3600
    return f"{hours:.0f} h ago" if hours < 48 else f"{hours / 24:.0f} days ago"
