"""`nano-codex check-reward`: check a reward before a policy exploits it."""

from __future__ import annotations

import argparse
from typing import Any

from nano_codex_env.cli.run import load_all
from nano_codex_env.config import make_reward
from nano_codex_env.errors import RewardCheckError
from nano_codex_env.rewards import check_reward
from nano_codex_env.untrusted import for_terminal


def add_commands(commands: Any) -> None:
    """Add `check-reward`."""
    parser = commands.add_parser("check-reward", help="try a reward with hacks, noise and honest patches")
    parser.add_argument("reward", metavar="NAME", help="resolved, similarity, or a module:name of yours")
    parser.add_argument(
        "--tasks", nargs="+", default=["bundled"], metavar="SOURCE", help="bundled (the default), files"
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="ID", help="only the tasks of these names")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds that one score may take")
    parser.set_defaults(command=_check)


def _check(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.markup import escape

    tasks = load_all(arguments.tasks, arguments.only)
    with Console(stderr=True).status("starting") as status:
        try:
            check_reward(
                make_reward(arguments.reward),
                tasks,
                timeout=arguments.timeout,
                say=lambda what: status.update(escape(for_terminal(what))),
            )
        except RewardCheckError as error:
            print(for_terminal(str(error)))
            return 1
    print(f"nothing found wrong with {arguments.reward} on {len(tasks)} task(s)")
    return 0
