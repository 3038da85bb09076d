"""The command line, `nano-codex`; each command has a module of its name."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence

from nano_codex_env.cli import agent, cache, check_reward, doctor, export, replay, run, score, tasks, templates
from nano_codex_env.cli.terminal import log_messages
from nano_codex_env.errors import NanoCodexError
from nano_codex_env.untrusted import for_terminal

_EXIT_STATUS = "Exit status: 0 success, 1 done but something failed, 2 not done, 130 interrupted."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 success, 1 done but some of it failed, 2 not done."""
    _open_standard_streams()
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


def _open_standard_streams() -> None:
    """Open on /dev/null what a daemon has closed of descriptors 0 to 2, so that no file of a run takes their place."""
    while (handle := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(handle, True)
    os.close(handle)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (as long as the process)


def _parser() -> argparse.ArgumentParser:
    summary = "Repair bugs in git repositories: play tasks with a policy, score and replay episodes, export data."
    parser = argparse.ArgumentParser(prog="nano-codex", description=summary, epilog=_EXIT_STATUS)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (run, agent, replay, score, check_reward, tasks, export, templates, cache, doctor):
        module.add_commands(commands)
    return parser
