"""`nano-codex tasks list | prepare | validate | pypi`: show, prepare, check and make tasks."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nano_codex_env.cache import cache_dir
from nano_codex_env.cli.arguments import add_command, add_group, add_sources, load_all, load_arguments
from nano_codex_env.cli.terminal import progress, status, table
from nano_codex_env.curation import Check, prepare, release_pair, validate
from nano_codex_env.errors import TaskError
from nano_codex_env.rewards import Resolved
from nano_codex_env.sandbox import get_sandbox
from nano_codex_env.scoring import Scorer
from nano_codex_env.scoring.preconditions import why_unscorable
from nano_codex_env.tasks import load_tasks, save_tasks
from nano_codex_env.tasks.task import Task
from nano_codex_env.untrusted import for_terminal


def add_commands(commands: Any) -> None:
    """Add `tasks` and its subcommands."""
    group = add_group(commands, "tasks", "List, prepare and check tasks, or make new ones.")
    add_sources(add_command(group, "list", _list))
    for name, function in (("prepare", _prepare), ("validate", _validate)):
        parser = add_command(group, name, function)
        add_sources(parser)
        _add_scoring(parser)
    pypi = add_command(group, "pypi", _pypi)
    pypi.add_argument("package", help="name on PyPI")
    pypi.add_argument("older", help="version with the bug")
    pypi.add_argument("newer", help="version with the fix")
    pypi.add_argument(
        "--with", nargs="+", default=[], dest="packages", metavar="PACKAGE", help="packages that its tests need"
    )
    text = ".jsonl file; the task is added to it, or replaced in it"
    pypi.add_argument("--out", type=Path, required=True, metavar="FILE", help=text)
    _add_scoring(pypi)


def _add_scoring(parser: argparse.ArgumentParser) -> None:
    text = "limit for one run of the tests (default: 600)"
    parser.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS", help=text)
    text = "let packages without a wheel run their build scripts on this machine"
    parser.add_argument("--allow-builds", action="store_true", help=text)


def _scorer(arguments: argparse.Namespace) -> Scorer:
    return Scorer(get_sandbox(), cache_dir(), arguments.timeout, arguments.allow_builds)


def _list(arguments: argparse.Namespace) -> int:
    """List tasks, with how many tests a solution must fix and how many must still pass.

    Example: nano-codex tasks list princeton-nlp/SWE-bench_Verified
    """
    rows: list[tuple[str, ...]] = []
    problems: list[tuple[str, str]] = []
    for task in load_all(arguments.source, arguments.only, **load_arguments(arguments)):
        if problem := why_unscorable(task):
            problems.append((task.instance_id, problem))
        about = (str(task.metadata.get(key, "")) for key in ("difficulty", "kind"))
        counts = (str(len(task.FAIL_TO_PASS)), str(len(task.PASS_TO_PASS)))
        rows.append((task.instance_id, *about, *counts, _title(task)))
    table(("task", "difficulty", "kind", "fail", "pass", "issue"), rows, right=("fail", "pass"))
    if problems:
        name, problem = problems[0]
        print(
            for_terminal(f"{len(problems)} of {len(rows)} cannot be scored here, the first of them {name}: {problem}")
        )
    return 0


def _title(task: Task) -> str:
    """The first line of the issue that is not an HTML comment, without Markdown's marks."""
    lines = (line.strip("#* ") for line in task.problem_statement.splitlines())
    return next((line for line in lines if line and not line.startswith("<!--")), "")


def _prepare(arguments: argparse.Namespace) -> int:
    """Download and build everything that tasks need, so that episodes need no network.

    Example: nano-codex tasks prepare tasks.jsonl
    """
    tasks = load_all(arguments.source, arguments.only, **load_arguments(arguments))
    return _print_checks(prepare(tasks, _scorer(arguments)), "preparing", len(tasks), "ready")


def _validate(arguments: argparse.Namespace) -> int:
    """Check that each task's reference patch scores 1.0 and that an empty patch scores 0.0.

    Example: nano-codex tasks validate tasks.jsonl --timeout 300
    """
    tasks = load_all(arguments.source, arguments.only, **load_arguments(arguments))
    reward = Resolved(timeout=arguments.timeout, allow_builds=arguments.allow_builds)
    return _print_checks(validate(tasks, reward), "validating", len(tasks), "valid")


def _print_checks(checks: Iterable[Check], what: str, total: int, good: str) -> int:
    """Print a row for each task; of a problem only its first line, as the tests' output follows."""
    rows, bad = [], 0
    for check in progress(checks, what, total):
        rows.append(
            (check.instance_id, check.problem.partition("\n")[0] or ", ".join(filter(None, (good, check.note))))
        )
        bad += bool(check.problem)
    table(("task", "result"), rows)
    print(f"{total - bad} of {total} {good}")
    return int(bad > 0)


def _pypi(arguments: argparse.Namespace) -> int:
    """Make a task from two releases of a PyPI package: the newer one fixes a bug of the older one.

    Example: nano-codex tasks pypi humanize 4.12.0 4.12.1 --out tasks.jsonl
    """
    out: Path = arguments.out.absolute()
    if out.suffix != ".jsonl":
        raise TaskError(f"--out must be a .jsonl file; got {out}")
    out.parent.mkdir(parents=True, exist_ok=True)
    pair, repos = (arguments.package, arguments.older, arguments.newer), out.parent / "repos"
    with status() as say:
        task = release_pair(*pair, packages=arguments.packages, repos=repos, scorer=_scorer(arguments), say=say)
    others = [old for old in load_tasks(out) if old.instance_id != task.instance_id] if out.exists() else []
    save_tasks([each.with_(repo=_relative(each.repo, out.parent)) for each in (*others, task)], out)
    tests = f"{len(task.FAIL_TO_PASS)} FAIL_TO_PASS, {len(task.PASS_TO_PASS)} PASS_TO_PASS"
    print(for_terminal(f"{task.instance_id}: {tests}; in {out}"))
    return 0


def _relative(repo: str, folder: Path) -> str:
    """Make the path of a repository below `folder` relative to it, so that both can be moved together."""
    path = Path(repo).absolute()
    return os.path.relpath(path, folder) if path.is_relative_to(folder) else repo
