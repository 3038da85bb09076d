"""`nano-codex score`: score logged episodes again."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from nano_codex_env.cli.arguments import REWARD, add_command, add_folders, add_json, new_path
from nano_codex_env.cli.terminal import number, print_totals, progress, table
from nano_codex_env.config import make_reward
from nano_codex_env.errors import ConfigError
from nano_codex_env.records.reader import existing_episodes
from nano_codex_env.records.rows import RowFile
from nano_codex_env.rewards import version_of
from nano_codex_env.runs.rescore import is_score, rescore


def add_commands(commands: Any) -> None:
    """Add `score`."""
    parser = add_command(commands, "score", _score)
    add_folders(parser)
    parser.add_argument("--reward", default="resolved", metavar="NAME", help=f"{REWARD} (default: resolved)")
    parser.add_argument("--concurrency", type=int, metavar="N", help="episodes at a time (default: one per processor)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="file of scores (default: .nano-codex/score-...jsonl)")
    parser.add_argument("--resume", action="store_true", help="skip the episodes that --out FILE has scores of")
    add_json(parser, "scores")


def _score(arguments: argparse.Namespace) -> int:
    """Score logged episodes again, several at a time.

    Example: nano-codex score .nano-codex/run-20260101-120000 --reward my_module:my_reward
    """
    if arguments.resume and not arguments.out:
        raise ConfigError("--resume goes on with --out FILE; name the file")
    out = arguments.out or new_path("score", ".jsonl")
    reward = make_reward(arguments.reward)
    folders = [str(folder) for folder in existing_episodes(arguments.folder)]
    with RowFile(out, lambda row: row.get("folder"), resume=arguments.resume) as records:
        known = {folder: row for folder, row in records.rows.items() if is_score(row)}  # the other rows are damaged
        if records.rows and not known:
            raise ConfigError(f"{out} holds no scores; give another --out")
        others = {str(row.get("by")) for row in known.values()} - {arguments.reward}
        if others:
            raise ConfigError(f"{out} holds scores by {min(others)}; give another --out for {arguments.reward}")
        versions = {row.get("scorer") for row in known.values()} - {version_of(reward)}
        if versions:
            raise ConfigError(f"{out} holds scores by {versions.pop() or 'an earlier version'}; give another --out")
        left = [folder for folder in folders if known.get(folder, {}).get("reward") is None]
        for row in progress(rescore(left, reward, arguments.concurrency), "scoring", len(left)):
            records.add({**row, "by": arguments.reward})
        rows = [records.rows[folder] for folder in folders]
    if arguments.json:
        print(json.dumps({"out": str(out), "scores": rows}))
    else:
        table(("episode", "task", "before", "now", "note"), map(_cells, rows), right=("before", "now"))
        print_totals([row["reward"] for row in rows], "scores", out)
    return int(any(row["void"] for row in rows))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    note = row["void"] or str(row["parts"].get("reason", ""))
    return (row["folder"], str(row["instance_id"] or "-"), number(row["before"]), number(row["reward"], "void"), note)
