"""Arguments that several commands share, and the tasks, episodes and files that they name."""

from __future__ import annotations

import argparse
import inspect
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

from nano_codex_env.errors import ConfigError
from nano_codex_env.records.log_format import LOG_DIR, check_log_dir
from nano_codex_env.tasks import Skipped, load_tasks
from nano_codex_env.tasks.task import Task
from nano_codex_env.untrusted import for_terminal

CHOICE = ("split", "select", "holdout", "held_out", "seed", "limit", "repos")
"""The arguments of `load_tasks` that are options of commands."""
MOST_SHOWN = 20
"""Rows left out that are printed."""
REWARD = "'resolved' (the tests of the task), 'similarity' (not for training), or your own as module:name"
SOURCES = (
    "'bundled' (the default), .jsonl, .json or .parquet files, folders of them, or datasets of the Hugging Face hub"
)


def add_command(commands: Any, name: str, function: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
    """Add a command that calls `function`; its help is the function's docstring, the last paragraph an example."""
    text, _, example = (inspect.getdoc(function) or "").partition("\n\nExample: ")
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text.partition("\n\n")[0], description=text, epilog=f"Example: {example}" if example else None
    )
    parser.set_defaults(command=function)
    return parser


def add_group(commands: Any, name: str, summary: str) -> Any:
    """Add a command that only has subcommands; they are added to the result."""
    return commands.add_parser(name, help=summary, description=summary).add_subparsers(required=True, metavar="COMMAND")


def add_sources(parser: argparse.ArgumentParser, *, split: bool = True) -> None:
    """Add the positional argument `source`, `--only` and `add_choice`; `load_all` takes them."""
    parser.add_argument("source", nargs="*", default=["bundled"], help=SOURCES)
    parser.add_argument("--only", nargs="+", default=[], metavar="ID", help="only the tasks with these ids")
    add_choice(parser, split=split)


def add_choice(parser: argparse.ArgumentParser, *, split: bool = True) -> None:
    """Add the options that choose among the tasks of each source; `load_arguments` returns them.

    `split`: False where the command has an option of that name itself.
    """
    add = parser.add_argument_group("which tasks of each source").add_argument
    if split:
        add("--split", dest="from_split", metavar="NAME", help="the split of a dataset (default: test, else train)")
    add("--select", nargs="+", metavar="PATTERN", help="only ids that are or match these, such as 'django__*'")
    add("--holdout", type=float, metavar="SHARE", help="without this share of tasks, chosen by the md5 of their ids")
    text = "only the tasks that --holdout leaves out"
    add("--held-out", action="store_const", const=True, help=text)
    add("--seed", type=int, metavar="N", help="shuffle, before --limit")
    add("--limit", type=int, metavar="N", help="at most N tasks")
    text = (
        "folder of clones, as owner/name or owner__name with or without .git, or a TOML file of 'owner/name' = 'path'"
    )
    add("--repos", metavar="PATH", help=text)


def load_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """Those options of `add_choice` that were given, as arguments of `load_tasks`."""
    given = {name: getattr(arguments, "from_split" if name == "split" else name, None) for name in CHOICE}
    return {name: value for name, value in given.items() if value is not None}


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Add the positional argument `folder`; `existing_episodes` and `episode_folders` take it."""
    parser.add_argument(
        "folder", nargs="+", type=_path, help="the folder of a run or of one episode, or a shard of episodes"
    )


def _path(text: str) -> Path:
    """A path; an empty one, such as that of a variable that is not set, would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("a folder has a name; got an empty text")
    return Path(text)


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help=f"print the {what} as JSON and nothing else on stdout")


def load_all(sources: Sequence[str], only: Sequence[str] = (), **choice: Any) -> list[Task]:
    """Load the tasks of all sources, or those with an id in `only`, and print on stderr which rows are left out.

    `choice`: arguments of `load_tasks`, for each source.

    Raises:
        ConfigError: a source has no name, two tasks share an id, or no task has an id of `only`.
    """
    if not all(sources):
        raise ConfigError("a source of tasks has a name; got an empty text")
    tasks = []
    for source in sources:
        left_out: list[Skipped] = []
        tasks += load_tasks(source, **choice, skipped=left_out.append)
        for row in left_out[:MOST_SHOWN]:
            print(f"nano-codex: left out {for_terminal(row.instance_id)}: {for_terminal(row.reason)}", file=sys.stderr)
        if left_out:
            print(f"nano-codex: left out {len(left_out)} of the rows of {for_terminal(source)}", file=sys.stderr)
    ids = Counter(task.instance_id for task in tasks)
    repeated = [name for name, count in ids.items() if count > 1]
    if repeated:
        raise ConfigError(f"{min(repeated)} is in more than one of {', '.join(sources)}; give each task once")
    unknown = [name for name in only if name not in ids]
    if unknown:
        raise ConfigError(f"no task is called {unknown[0]!r}; there are: {', '.join(list(ids)[:20])}")
    return [task for task in tasks if not only or task.instance_id in only]


def log_dir() -> Path:
    """The folder of logs in the current folder.

    Raises:
        ConfigError: it is a symbolic link.
    """
    try:
        check_log_dir(LOG_DIR)
    except OSError as error:
        raise ConfigError(f"cannot use {LOG_DIR}: {error} (--out)") from error
    return LOG_DIR


def new_path(prefix: str, suffix: str = "") -> Path:
    """A new path in the folder of logs that is named after the current time."""
    stem = log_dir() / f"{prefix}-{time.strftime('%Y%m%d-%H%M%S')}"
    paths = (Path(f"{stem}{number}{suffix}") for number in chain([""], (f"-{more}" for more in count(2))))
    return next(path for path in paths if not os.path.lexists(path))
