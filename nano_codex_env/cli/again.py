"""`nano-codex replay`: play a log again and compare; `nano-codex score`: score saved runs again."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nano_codex_env.cli.run import log_dir
from nano_codex_env.config import make_reward
from nano_codex_env.errors import ConfigError, TaskError, TrajectoryError, WorkspaceError
from nano_codex_env.records.reader import episode_folders
from nano_codex_env.records.rows import Records
from nano_codex_env.rewards import version_of
from nano_codex_env.runs.replay import Difference, replay
from nano_codex_env.runs.rescore import is_score, rescore
from nano_codex_env.untrusted import on_one_line

_SHOWN = 40
"""Lines of one difference."""
_NEAR = 500
"""Lines that are compared, from a little before the first that differs."""
_WIDE = 2000
"""Characters of a line."""


def add_commands(commands: Any) -> None:
    """Add `replay` and `score`."""
    again = commands.add_parser("replay", help="re-execute a logged episode and compare byte for byte")
    again.add_argument("folder", nargs="+", type=Path, help="an episode's folder, or a run's")
    again.set_defaults(command=_replay)
    score = commands.add_parser("score", help="score saved episodes again, many at once")
    score.add_argument("folder", nargs="+", type=Path, help="an episode's folder, or a run's")
    score.add_argument("--reward", default="resolved", metavar="NAME", help="resolved, similarity, or a module:name")
    score.add_argument("--concurrency", type=int, metavar="N", help="how many at once (default: one per processor)")
    score.add_argument("--out", type=Path, metavar="FILE", help="write the scores as JSON lines")
    score.add_argument("--resume", action="store_true", help="leave out what --out FILE has a score of")
    score.add_argument("--json", action="store_true", help="print the scores as JSON, and nothing else on stdout")
    score.set_defaults(command=_score)


def _replay(arguments: argparse.Namespace) -> int:
    """0: all the same; 1: one differs or cannot be replayed, the others were; 2: none can be replayed."""
    different, played, failed = False, 0, 0
    for folder in episode_folders(arguments.folder):
        try:
            found = replay(folder)
        except (TrajectoryError, TaskError, WorkspaceError) as error:
            failed += 1
            told = str(error) if str(folder) in str(error) else f"{folder}: {error}"
            print(f"nano-codex: {on_one_line(told)}", file=sys.stderr)
            continue
        played += 1
        different |= not found.identical
        verdict = "identical" if found.identical else "DIFFERENT"
        print(on_one_line(f"{folder}: {found.messages} messages, {verdict}"))
        for difference in found.differences:
            _show(difference)
    if failed and played:
        print(f"{played} episodes replayed, {failed} cannot be replayed")
    return 2 if not played else int(different or failed > 0)


def _show(difference: Difference) -> None:
    """Print where two texts depart; what is far from there is not compared, which could take hours."""
    logged, replayed = difference.logged.split("\n"), difference.replayed.split("\n")
    alike = next((n for n, pair in enumerate(zip(logged, replayed, strict=False)) if pair[0] != pair[1]), None)
    start = max(0, (min(len(logged), len(replayed)) if alike is None else alike) - 3)
    lines = list(difflib.unified_diff(_near(logged, start), _near(replayed, start), "logged", "replayed", lineterm=""))
    print(f"  {on_one_line(difference.where)}" + (f", from line {start + 1} on:" if start else ":"))
    for line in lines[:_SHOWN]:
        print(f"    {line}")
    if len(lines) > _SHOWN:
        print(f"    ... {len(lines) - _SHOWN} more lines")
    if (left := max(len(logged), len(replayed)) - start - _NEAR) > 0:
        print(f"    ... {left} lines are not compared")


def _near(lines: Sequence[str], start: int) -> list[str]:
    return [
        on_one_line(line if len(line) <= _WIDE else f"{line[:_WIDE]}... {len(line) - _WIDE} more characters")
        for line in lines[start : start + _NEAR]
    ]


def _score(arguments: argparse.Namespace) -> int:
    from nano_codex_env.cli.tables import progress

    if arguments.resume and not arguments.out:
        raise ConfigError("--resume goes on with --out FILE; name the file")
    out = arguments.out or log_dir() / f"score-{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
    reward = make_reward(arguments.reward)
    folders = [str(folder) for folder in dict.fromkeys(episode_folders(arguments.folder))]
    with Records(out, lambda row: row.get("folder"), resume=arguments.resume) as records:
        known = {folder: row for folder, row in records.rows.items() if is_score(row)}  # others are damaged
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
        _tell(rows, out)
    return int(any(row["void"] for row in rows))


def _tell(rows: Sequence[dict[str, Any]], out: Path) -> None:
    from nano_codex_env.cli.tables import table

    cells = [
        (
            row["folder"],
            str(row["instance_id"] or "-"),
            _number(row["before"]),
            "void" if row["reward"] is None else _number(row["reward"]),
            row["void"] or str(row["parts"].get("reason", "")),
        )
        for row in rows
    ]
    table("", ("episode", "task", "before", "now", "note"), cells, right=("before", "now"))
    now = [row["reward"] for row in rows if row["reward"] is not None]
    mean = f"{sum(now) / len(now):.3f}" if now else "none"
    print(on_one_line(f"{len(rows)} episodes, mean reward {mean}, {len(rows) - len(now)} void; scores in {out}"))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
