"""The command line, `nano-codex`: run, agent, replay, score, check-reward, tasks, export, templates, cache, doctor."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from nano_codex_env.cli import again, check, doctor, export, play, solve, store, tasks, templates
from nano_codex_env.errors import NanoCodexError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0: all is well, 1: it did not come out right, 2: it could not be done."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.command(arguments))
    except NanoCodexError as error:
        print(f"nano-codex: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("nano-codex: interrupted; what was finished is kept", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nano-codex", description="Repository repair as a Gymnasium environment.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (play, solve, again, check, tasks, export, templates, store, doctor):
        module.add_commands(commands)
    return parser
