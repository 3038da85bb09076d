"""The command line, `nano-codex`; each command has a module of its name."""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Sequence

from nano_codex_env.cli import agent, cache, check_reward, doctor, export, replay, run, score, tasks, templates
from nano_codex_env.cli.terminal import log_messages
from nano_codex_env.errors import NanoCodexError
from nano_codex_env.untrusted import for_terminal

_EXIT_STATUS = "Exit status: 0 success, 1 done but something failed, 2 not done, 130 interrupted."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 success, 1 done but some of it failed, 2 not done."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # escape what its encoding lacks, as stderr does
    arguments = _parser().parse_args(argv)
    try:
        with log_messages(lambda message: print(message, file=sys.stderr), logging.WARNING):
            return int(arguments.command(arguments))
    except NanoCodexError as error:
        print(f"nano-codex: {for_terminal(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("nano-codex: interrupted; what was finished is kept", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    summary = "Repair bugs in git repositories: play tasks with a policy, score and replay episodes, export data."
    parser = argparse.ArgumentParser(prog="nano-codex", description=summary, epilog=_EXIT_STATUS)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (run, agent, replay, score, check_reward, tasks, export, templates, cache, doctor):
        module.add_commands(commands)
    return parser
