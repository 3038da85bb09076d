"""`nano-codex check-reward`: check a reward before a policy exploits it."""

from __future__ import annotations

import argparse
from typing import Any

from nano_codex_env.cli.arguments import REWARD, SOURCES, add_choice, add_command, load_all, load_arguments
from nano_codex_env.cli.terminal import status
from nano_codex_env.config import make_reward
from nano_codex_env.errors import RewardCheckError
from nano_codex_env.rewards import check_reward
from nano_codex_env.untrusted import for_terminal


def add_commands(commands: Any) -> None:
    """Add `check-reward`."""
    parser = add_command(commands, "check-reward", _check)
    parser.add_argument("reward", metavar="NAME", help=REWARD)
    parser.add_argument("--tasks", nargs="+", default=["bundled"], metavar="SOURCE", help=SOURCES)
    parser.add_argument("--only", nargs="+", default=[], metavar="ID", help="only the tasks with these ids")
    parser.add_argument(
        "--reads-transcript", action="store_true", help="the score may depend on the transcript; it must not by default"
    )
    parser.add_argument(
        "--timeout", type=float, default=600.0, metavar="SECONDS", help="limit for one score (default: 600)"
    )
    add_choice(parser)


def _check(arguments: argparse.Namespace) -> int:
    """Test a reward with reward hacks, useless patches and correct patches, before a policy is trained with it.

    Example: nano-codex check-reward my_module:my_reward --only pocket-tint
    """
    tasks = load_all(arguments.tasks, arguments.only, **load_arguments(arguments))
    with status() as say:
        try:
            reads = arguments.reads_transcript or None
            check_reward(
                make_reward(arguments.reward), tasks, reads_transcript=reads, timeout=arguments.timeout, say=say
            )
        except RewardCheckError as error:
            print(for_terminal(str(error)))
            return 1
    print(f"nothing found wrong with {arguments.reward} on {len(tasks)} task(s)")
    return 0
