"""`nano-codex export sft | dpo | preds | verl-parquet | harbor`: write datasets of runs and of tasks."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from nano_codex_env.cli.arguments import add_command, add_folders, add_group, add_sources, load_all, load_arguments
from nano_codex_env.cli.terminal import progress
from nano_codex_env.errors import ConfigError
from nano_codex_env.export.atomic_output import atomic_output
from nano_codex_env.export.harbor import write_tasks
from nano_codex_env.export.rows import dpo_rows, pred_rows, sft_rows
from nano_codex_env.export.transcripts import finished_episodes
from nano_codex_env.export.verl import verl_rows, write_parquet
from nano_codex_env.messages import dumps
from nano_codex_env.records.reader import existing_episodes
from nano_codex_env.tools.prompt import SYSTEM_PROMPT, checked_prompt, first_messages
from nano_codex_env.untrusted import on_one_line


def add_commands(commands: Any) -> None:
    """Add `export` and its subcommands."""
    group = add_group(commands, "export", "Write datasets of runs and of tasks.")

    def add(name: str, function: Callable[[argparse.Namespace], int], out: str) -> argparse.ArgumentParser:
        parser = add_command(group, name, function)
        parser.add_argument("--out", type=Path, default=Path(out), metavar="PATH", help=f"output (default: {out})")
        parser.add_argument("--force", action="store_true", help="replace the output if it exists")
        return parser

    sft = add("sft", _sft, "sft.jsonl")
    sft.add_argument("--min-reward", type=float, default=1.0, metavar="R", help="smallest reward (default: 1.0)")
    sft.add_argument(
        "--best", type=int, metavar="N", help="at most N per task: highest reward first, then fewest steps"
    )
    dpo = add("dpo", _dpo, "dpo.jsonl")
    dpo.add_argument("--pairs", type=int, default=4, metavar="N", help="at most N per task (default: 4)")
    dpo.add_argument("--margin", type=float, default=0.1, metavar="R", help="smallest reward difference (default: 0.1)")
    preds = add("preds", _preds, "preds.jsonl")
    preds.add_argument("--attempt", type=int, default=0, metavar="K", help="which attempt, counted from 0 (default: 0)")
    preds.add_argument("--model", metavar="NAME", help="model_name_or_path (default: the name of the policy or model)")
    verl = add("verl-parquet", _verl, "tasks.parquet")
    verl.add_argument("--split", default="train", metavar="NAME", help="'split' in extra_info (default: train)")
    verl.add_argument(
        "--system-prompt", metavar="TEXT", help="the system prompt, if the agent loop's YAML file sets one"
    )
    harbor = add("harbor", _harbor, "harbor")
    for parser in (sft, dpo, preds):
        add_folders(parser)
    for parser in (verl, harbor):
        add_sources(parser, split=parser is not verl)


def _sft(arguments: argparse.Namespace) -> int:
    """Write transcripts for TRL's SFTTrainer.

    Example: nano-codex export sft .nano-codex/run-20260101-120000 --min-reward 0.5 --best 4
    """
    return _jsonl(arguments, "transcripts", partial(sft_rows, min_reward=arguments.min_reward, best=arguments.best))


def _dpo(arguments: argparse.Namespace) -> int:
    """Write pairs of a better and a worse attempt at a task for TRL's DPOTrainer."""
    return _jsonl(arguments, "pairs", partial(dpo_rows, pairs=arguments.pairs, margin=arguments.margin))


def _preds(arguments: argparse.Namespace) -> int:
    """Write patches for SWE-bench's evaluation harness."""
    return _jsonl(arguments, "predictions", partial(pred_rows, attempt=arguments.attempt, model=arguments.model))


def _jsonl(arguments: argparse.Namespace, what: str, make_rows: Callable[..., Iterable[dict[str, Any]]]) -> int:
    """Write the rows that `make_rows` makes of the episodes."""
    _check_suffix(arguments.out, ".jsonl")
    skipped: Counter[str] = Counter()
    count = 0
    with atomic_output(arguments.out, force=arguments.force) as path:
        folders = existing_episodes(arguments.folder)
        episodes = finished_episodes(progress(folders, "reading", len(folders)), skipped)
        with path.open("w", encoding="ascii") as file:
            for row in make_rows(episodes, skipped=skipped):
                file.write(dumps(row) + "\n")
                count += 1
        if not count:
            path.unlink()
    return _print_count(count, what, arguments.out, skipped)


def _verl(arguments: argparse.Namespace) -> int:
    """Write tasks as a dataset of prompts for verl."""
    _check_suffix(arguments.out, ".parquet")
    opening = partial(first_messages, system_prompt=checked_prompt(arguments.system_prompt) or SYSTEM_PROMPT)
    tasks = load_all(arguments.source, arguments.only, **load_arguments(arguments))
    rows = list(verl_rows(tasks, opening, split=arguments.split))
    with atomic_output(arguments.out, force=arguments.force) as path:
        write_parquet(rows, path)
    return _print_count(len(rows), "prompts", arguments.out, Counter())


def _harbor(arguments: argparse.Namespace) -> int:
    """Write tasks as folders for Harbor."""
    skipped: Counter[str] = Counter()
    tasks = load_all(arguments.source, arguments.only, **load_arguments(arguments))
    with atomic_output(arguments.out, force=arguments.force, folder=True) as path:
        count = write_tasks(path, progress(tasks, "exporting", len(tasks)), skipped)
    return _print_count(count, "tasks", arguments.out, skipped)


def _check_suffix(path: Path, suffix: str) -> None:
    if path.suffix != suffix:
        raise ConfigError(f"--out must be a {suffix} file; got {path}")


def _print_count(count: int, what: str, out: Path, skipped: Counter[str]) -> int:
    """Print how many there are and what was left out; 1 if nothing was written."""
    where = f"in {out}" if count else "to export: nothing was written"
    reasons = ", ".join(f"{number} {reason}" for reason, number in skipped.most_common())
    print(on_one_line(f"{count} {what} {where}" + (f"; left out: {reasons}" if reasons else "")))
    return int(not count)
