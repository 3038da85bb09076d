"""The command line, `nano-codex`; each command has a module of its name."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from nano_codex_env.cli import agent, cache, check_reward, doctor, export, replay, run, score, tasks, templates
from nano_codex_env.cli.terminal import log_messages
from nano_codex_env.errors import NanoCodexError, PolicyError, describe
from nano_codex_env.untrusted import for_terminal, on_one_line

_EXIT_STATUS = "Exit status: 0 success, 1 done but something failed, 2 not done, 130 interrupted."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 success, 1 done but some of it failed, 2 not done."""
    _open_standard_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # escape what its encoding lacks, as stderr does
    arguments = _parser().parse_args(argv)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # each failed attempt is a warning of two lines
    try:
        with log_messages(lambda message: print(message, file=sys.stderr), logging.WARNING):
            status = int(arguments.command(arguments))
        _flush()
        return status
    except BrokenPipeError:  # the reader of a pipe has seen enough, such as `head`
        with suppress(OSError):
            _flush()
        return 141
    except (NanoCodexError, OSError) as error:  # an OSError: the disk is full, a file may not be read, ...
        with suppress(OSError):
            _flush()
        print(f"nano-codex: {for_terminal(_with_causes(error))}", file=sys.stderr)
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


def _flush() -> None:
    """Write what is buffered; if that fails, drop it: Python would try again at its exit, with a traceback.

    Raises:
        OSError: it cannot be written.
    """
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _with_causes(error: BaseException) -> str:
    """The message of an error, with those of its causes that it does not quote.

    A `PolicyError` quotes them itself, without keys and passwords.
    """
    text = str(error)
    cause = None if isinstance(error, PolicyError) else error.__cause__
    while cause is not None:
        if on_one_line(str(cause)) not in on_one_line(text):
            text += f" (caused by {on_one_line(describe(cause)):.300})"
        cause = cause.__cause__
    return text


def _parser() -> argparse.ArgumentParser:
    summary = "Repair bugs in git repositories: play tasks with a policy, score and replay episodes, export data."
    parser = argparse.ArgumentParser(prog="nano-codex", description=summary, epilog=_EXIT_STATUS)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (run, agent, replay, score, check_reward, tasks, export, templates, cache, doctor):
        module.add_commands(commands)
    return parser
