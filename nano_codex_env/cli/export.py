"""`nano-codex export sft | dpo | preds | verl-parquet | harbor`: datasets of runs, and of tasks."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from nano_codex_env.cache import cache_dir
from nano_codex_env.cli.run import load_all
from nano_codex_env.errors import ConfigError
from nano_codex_env.export.atomic_output import placed
from nano_codex_env.export.dpo import dpo_rows
from nano_codex_env.export.episodes import Left, read_episodes
from nano_codex_env.export.harbor import folder_name, write_task
from nano_codex_env.export.preds import pred_rows
from nano_codex_env.export.sft import sft_rows
from nano_codex_env.export.verl import verl_rows, write_parquet
from nano_codex_env.messages import dumps
from nano_codex_env.records.reader import episode_folders
from nano_codex_env.repo.base_tree import base_tree
from nano_codex_env.scoring.hidden_tests import hidden_files
from nano_codex_env.tools.prompt import SYSTEM_PROMPT, checked_prompt, first_messages
from nano_codex_env.untrusted import on_one_line


def add_commands(commands: Any) -> None:
    """Add `export` and what is below it."""
    below = commands.add_parser("export", help="make datasets of runs, and of tasks").add_subparsers(
        required=True, metavar="COMMAND"
    )
    sft = _runs(below, "sft", _sft, "sft.jsonl", "transcripts to train on, for TRL's SFTTrainer")
    sft.add_argument("--min-reward", type=float, default=1.0, metavar="R", help="the least reward (default: 1.0)")
    sft.add_argument("--best", type=int, metavar="N", help="at most N of a task: by reward, then by fewer steps")
    dpo = _runs(below, "dpo", _dpo, "dpo.jsonl", "pairs of attempts at one task, for TRL's DPOTrainer")
    dpo.add_argument("--pairs", type=int, default=4, metavar="N", help="at most N of a task (default: 4)")
    dpo.add_argument("--margin", type=float, default=0.1, metavar="R", help="least difference in reward (default: 0.1)")
    preds = _runs(below, "preds", _preds, "preds.jsonl", "patches, for SWE-bench's harness")
    preds.add_argument("--attempt", type=int, default=0, metavar="K", help="which attempt at each task (default: 0)")
    preds.add_argument("--model", metavar="NAME", help="model_name_or_path (default: who played)")
    verl = _tasks(below, "verl-parquet", _verl, "tasks.parquet", "tasks as verl's dataset of prompts")
    verl.add_argument("--split", default="train", metavar="NAME", help="what extra_info calls it (default: train)")
    verl.add_argument("--system-prompt", metavar="TEXT", help="that of the agent loop's YAML, where it has one")
    _tasks(below, "harbor", _harbor, "harbor", "tasks as Harbor's task folders")


def _runs(below: Any, name: str, function: Any, out: str, words: str) -> argparse.ArgumentParser:
    parser = _parser(below, name, function, out, words)
    parser.add_argument("folder", nargs="+", type=Path, help="a run's folder, or an episode's")
    return parser


def _tasks(below: Any, name: str, function: Any, out: str, words: str) -> argparse.ArgumentParser:
    parser = _parser(below, name, function, out, words)
    parser.add_argument("source", nargs="*", default=["bundled"], help="bundled (the default), files, or a dataset")
    parser.add_argument("--only", nargs="+", default=[], metavar="ID", help="only the tasks of these names")
    return parser


def _parser(below: Any, name: str, function: Any, out: str, words: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = below.add_parser(name, help=words)
    parser.add_argument("--out", type=Path, default=Path(out), metavar="PATH", help=f"where to (default: {out})")
    parser.add_argument("--force", action="store_true", help="replace what is there")
    parser.set_defaults(command=function)
    return parser


def _sft(arguments: argparse.Namespace) -> int:
    return _jsonl(arguments, "transcripts", partial(sft_rows, min_reward=arguments.min_reward, best=arguments.best))


def _dpo(arguments: argparse.Namespace) -> int:
    return _jsonl(arguments, "pairs", partial(dpo_rows, pairs=arguments.pairs, margin=arguments.margin))


def _preds(arguments: argparse.Namespace) -> int:
    return _jsonl(arguments, "predictions", partial(pred_rows, attempt=arguments.attempt, model=arguments.model))


def _jsonl(arguments: argparse.Namespace, what: str, make: Callable[..., Iterable[dict[str, Any]]]) -> int:
    """Write the rows that `make` makes of the episodes."""
    from nano_codex_env.cli.tables import progress

    _check_name(arguments.out, ".jsonl")
    left: Left = Counter()
    count = 0
    with placed(arguments.out, force=arguments.force) as path:
        folders = list(dict.fromkeys(episode_folders(arguments.folder)))
        found = read_episodes(progress(folders, "reading", len(folders)), left)
        with path.open("w", encoding="ascii") as file:
            for row in make(found, left=left):
                file.write(dumps(row) + "\n")
                count += 1
        if not count:
            path.unlink()
    return _tell(count, what, arguments.out, left)


def _verl(arguments: argparse.Namespace) -> int:
    _check_name(arguments.out, ".parquet")
    opening = partial(first_messages, system_prompt=checked_prompt(arguments.system_prompt) or SYSTEM_PROMPT)
    rows = list(verl_rows(load_all(arguments.source, arguments.only), opening, split=arguments.split))
    with placed(arguments.out, force=arguments.force) as path:
        write_parquet(rows, path)
    return _tell(len(rows), "prompts", arguments.out, Counter())


def _harbor(arguments: argparse.Namespace) -> int:
    from nano_codex_env.cli.tables import progress

    left: Left = Counter()
    made: set[str] = set()
    tasks = load_all(arguments.source, arguments.only)
    with placed(arguments.out, force=arguments.force, folder=True) as path:
        for task in progress(tasks, "exporting", len(tasks)):
            name = folder_name(task)
            if not task.has_tests:
                left["without tests"] += 1
                continue
            if name in made:
                raise ConfigError(f"{task.instance_id} and another task would both be called {name}; export them apart")
            made.add(name)
            first_messages(task)  # an issue that no model can read is told here
            base, _ = base_tree(task.repo, task.base_commit, cache_dir())
            write_task(path / name, task, base, hidden_files(task, base))
    return _tell(len(made), "tasks", arguments.out, left)


def _check_name(path: Path, suffix: str) -> None:
    if path.suffix != suffix:
        raise ConfigError(f"--out must be a {suffix} file; got {path}")


def _tell(count: int, what: str, out: Path, left: Left) -> int:
    """Say what there is and what was left out; an export of nothing is no file, and did not come out right."""
    where = f"in {out}" if count else "to export: nothing was written"
    reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(left.items(), key=lambda item: -item[1]))
    print(on_one_line(f"{count} {what} {where}" + (f"; left out: {reasons}" if reasons else "")))
    return int(not count)
