"""`nano-codex tasks list | prepare | validate | pypi`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nano_codex_env.cache import cache_dir
from nano_codex_env.cli.run import load_all
from nano_codex_env.curation import Check, prepare, release_pair, validate
from nano_codex_env.errors import TaskError
from nano_codex_env.rewards import Resolved
from nano_codex_env.sandbox import get_sandbox
from nano_codex_env.scoring import Scorer
from nano_codex_env.tasks import load_tasks, save_tasks
from nano_codex_env.untrusted import for_terminal

_BUILDS = "let packages that have no wheel run their own build on this machine"


def add_commands(commands: Any) -> None:
    """Add `tasks` and what is below it."""
    below = commands.add_parser("tasks", help="list, prepare, validate or make tasks").add_subparsers(
        required=True, metavar="COMMAND"
    )
    for name, function, words in (
        ("list", _list, "name the tasks"),
        ("prepare", _prepare, "build base trees, environments and mutants, so that episodes need no network"),
        ("validate", _validate, "prove each task: its reference patch gives 1.0, no patch gives 0.0"),
    ):
        parser = below.add_parser(name, help=words)
        parser.add_argument("source", nargs="*", default=["bundled"], help="bundled, files, or a dataset")
        parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one run of a task's tests")
        parser.add_argument("--allow-builds", action="store_true", help=_BUILDS)
        parser.set_defaults(command=function)
    pypi = below.add_parser("pypi", help="make a task from two releases of a package")
    pypi.add_argument("package")
    pypi.add_argument("older", help="the version that has the bug")
    pypi.add_argument("newer", help="the version that mends it")
    pypi.add_argument("--with", nargs="+", default=[], dest="packages", metavar="PACKAGE", help="what the tests need")
    pypi.add_argument("--out", type=Path, required=True, metavar="FILE", help="a .jsonl; the task is added or replaced")
    pypi.add_argument("--timeout", type=float, default=600.0, help="seconds for one run of the tests")
    pypi.add_argument("--allow-builds", action="store_true", help=_BUILDS)
    pypi.set_defaults(command=_pypi)


def _list(arguments: argparse.Namespace) -> int:
    from nano_codex_env.cli.tables import table

    tasks = load_all(arguments.source)
    rows = [
        (
            task.instance_id,
            str(task.metadata.get("difficulty", "")),
            str(task.metadata.get("kind", "")),
            str(len(task.FAIL_TO_PASS)),
            str(len(task.PASS_TO_PASS)),
            next((line.strip("# ") for line in task.problem_statement.splitlines() if line.strip("# ")), ""),
        )
        for task in tasks
    ]
    table("", ("task", "difficulty", "kind", "fail", "pass", "issue"), rows, right=("fail", "pass"))
    return 0


def _prepare(arguments: argparse.Namespace) -> int:
    tasks = load_all(arguments.source)
    return _checks(prepare(tasks, _scorer(arguments)), "preparing", len(tasks), "ready")


def _validate(arguments: argparse.Namespace) -> int:
    tasks = load_all(arguments.source)
    return _checks(
        validate(tasks, Resolved(timeout=arguments.timeout, allow_builds=arguments.allow_builds)),
        "validating",
        len(tasks),
        "valid",
    )


def _checks(checks: Iterable[Check], what: str, total: int, good: str) -> int:
    from nano_codex_env.cli.tables import progress, table

    found = list(progress(checks, what, total))
    table(
        "",
        ("task", "result"),
        [(check.instance_id, _told(check, good)) for check in found],
    )
    bad = sum(bool(check.problem) for check in found)
    print(f"{total - bad} of {total} {good}")
    return int(bad > 0)


def _told(check: Check, good: str) -> str:
    """A line of the table; what the tests printed is left out."""
    return check.problem.partition("\n")[0] or ", ".join(filter(None, (good, check.note)))


def _scorer(arguments: argparse.Namespace) -> Scorer:
    return Scorer(get_sandbox(), cache_dir(), arguments.timeout, arguments.allow_builds)


def _pypi(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.markup import escape

    out: Path = arguments.out.absolute()
    if out.suffix != ".jsonl":
        raise TaskError(f"--out must be a .jsonl file; got {out}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with Console(stderr=True).status("starting") as status:
        task = release_pair(
            arguments.package,
            arguments.older,
            arguments.newer,
            packages=arguments.packages,
            repos=out.parent / "repos",
            scorer=_scorer(arguments),
            say=lambda what: status.update(escape(for_terminal(what))),
        )
    others = [old for old in load_tasks(out) if old.instance_id != task.instance_id] if out.exists() else []
    here = out.parent
    save_tasks([old.with_(repo=_relative(old.repo, here)) for old in (*others, task)], out)
    tests = f"{len(task.FAIL_TO_PASS)} FAIL_TO_PASS, {len(task.PASS_TO_PASS)} PASS_TO_PASS"
    print(for_terminal(f"{task.instance_id}: {tests}; in {out}"))
    return 0


def _relative(repo: str, folder: Path) -> str:
    """A repository below the file's folder is named from there, so that both can be moved together."""
    path = Path(repo).absolute()
    return os.path.relpath(path, folder) if path.is_relative_to(folder) else repo
