"""The command line, `nano-codex`: run, agent, replay, score, check-reward, tasks, export, templates, cache, doctor."""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from nano_codex_env.cli import again, agent, cache, check_reward, doctor, export, run, tasks, templates
from nano_codex_env.errors import NanoCodexError
from nano_codex_env.untrusted import for_terminal


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0: all is well, 1: it did not come out right, 2: it could not be done."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what its encoding lacks is written out, as on stderr
    arguments = _parser().parse_args(argv)
    try:
        with _warnings():
            return int(arguments.command(arguments))
    except NanoCodexError as error:
        print(f"nano-codex: {for_terminal(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("nano-codex: interrupted; what was finished is kept", file=sys.stderr)
        return 130


class _Formatter(logging.Formatter):
    """Messages and tracebacks may quote what a server or a row said."""

    def format(self, record: logging.LogRecord) -> str:
        return for_terminal(super().format(record))


@contextmanager
def _warnings() -> Iterator[None]:
    """Print our warnings on stderr, as Python does where nobody has said otherwise, but safe for a terminal."""
    ours, handler = logging.getLogger("nano_codex_env"), logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_Formatter())
    ours.addHandler(handler)
    try:
        yield
    finally:
        ours.removeHandler(handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nano-codex", description="Repository repair as a Gymnasium environment.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (run, agent, again, check_reward, tasks, export, templates, cache, doctor):
        module.add_commands(commands)
    return parser
