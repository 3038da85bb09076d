"""`nano-codex cache ls | prune`: show the cache, or make it smaller."""

from __future__ import annotations

import argparse
import time
from itertools import groupby
from typing import Any

from nano_codex_env.cache import cache_dir, entries, remove, remove_dead_sessions
from nano_codex_env.cli.arguments import add_command, add_group
from nano_codex_env.cli.terminal import progress, table
from nano_codex_env.errors import ConfigError
from nano_codex_env.untrusted import on_one_line

_DAY = 86400.0


def add_commands(commands: Any) -> None:
    """Add `cache` and its subcommands."""
    group = add_group(commands, "cache", "Show the cache, or make it smaller.")
    ls = add_command(group, "ls", _ls)
    ls.add_argument("--all", action="store_true", help="print a row for each entry, the largest first")
    prune = add_command(group, "prune", _prune)
    text = "entries not used for so many days (default: 30)"
    prune.add_argument("--unused", type=float, default=30.0, metavar="DAYS", help=text)
    text = "only entries of these kinds, such as trees or venvs"
    prune.add_argument("--kind", nargs="+", default=[], metavar="KIND", help=text)
    prune.add_argument("--dry-run", action="store_true", help="remove nothing and print what would be removed")


def _ls(arguments: argparse.Namespace) -> int:
    """Show how large the cache is and when it was last used."""
    folder = cache_dir()
    found = entries(folder)
    sized = [(entry, entry.size()) for entry in progress(found, "measuring", len(found))]
    if arguments.all:
        columns = ("kind", "entry", "MB", "last used")
        sized.sort(key=lambda pair: -pair[1])
        rows = [(entry.kind, entry.path.name, _mb(size), _ago(entry.used)) for entry, size in sized]
    else:
        columns = ("kind", "entries", "MB", "last used")
        rows = []
        for kind, group in groupby(sized, key=lambda pair: pair[0].kind):
            pairs = list(group)
            size, used = sum(size for _, size in pairs), max(entry.used for entry, _ in pairs)
            rows.append((kind, str(len(pairs)), _mb(size), _ago(used)))
    table(columns, rows, right=("entries", "MB", "last used"))
    print(on_one_line(f"{len(found)} entries, {_mb(sum(size for _, size in sized))} MB in {folder}"))
    return 0


def _prune(arguments: argparse.Namespace) -> int:
    """Remove old entries of the cache; they are built again when they are needed.

    Example: nano-codex cache prune --unused 7 --kind venvs --dry-run
    """
    if not arguments.unused >= 0:
        raise ConfigError(f"--unused must be a number of days from 0 on; got {arguments.unused:g}")
    folder = cache_dir()
    found = entries(folder)
    kinds = sorted({entry.kind for entry in found})
    if unknown := sorted(set(arguments.kind) - set(kinds)):
        raise ConfigError(f"the cache holds no {', '.join(unknown)}; it holds {', '.join(kinds) or 'nothing'}")
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


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f}"


def _ago(used: float) -> str:
    hours = max(0.0, time.time() - used) / 3600
    return f"{hours:.0f} h ago" if hours < 48 else f"{hours / 24:.0f} days ago"
