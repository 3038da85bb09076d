"""The only place where git runs on the host: over repositories that were given to us, never over a policy's files."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from nano_codex_env.errors import WorkspaceError
from nano_codex_env.spawn import spawn

_OF_THE_USER = ("GIT_SSH", "GIT_ASKPASS", "GIT_SSL", "GIT_PROXY", "GIT_TRACE", "GIT_CURL", "GIT_EXEC_PATH")
"""How a user reaches a remote; any other GIT_ variable would point git elsewhere, or change what it does."""

_NOTHING_RUNS = ("-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false")
_NO_CONFIGURATION = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "1",  # git looks for this file in the home folder even without any configuration
    "GIT_CONFIG_KEY_0": "core.attributesFile",
    "GIT_CONFIG_VALUE_0": os.devnull,
}


def run_git(
    arguments: Sequence[str],
    *,
    cwd: Path,
    as_user: bool = False,
    above: bool = False,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
) -> bytes:
    """What `git ARGUMENTS` prints on stdout, byte for byte.

    It never asks for a password. `as_user`: with the user's own configuration (credentials, proxies), as a clone
    needs it; else with the repository's only, so that the result is the same on every machine. `env` comes on top.

    Raises:
        WorkspaceError: git is missing, or the command failed; holds what git said.
    """
    variables = _environment(as_user) | _ceiling(cwd, above) | dict(env or {})
    with _in_memory() as given, _in_memory() as printed, _in_memory() as complaints:
        given.write(stdin)
        given.seek(0)
        handles = (file.fileno() for file in (given, printed, complaints))
        try:
            process = spawn(["git", "-C", str(cwd), *_NOTHING_RUNS, *arguments], *handles, env=variables)
        except FileNotFoundError as error:
            raise WorkspaceError("git is not installed, or not on PATH; install git >= 2.25") from error
        try:
            status = process.wait()
        except BaseException:  # Ctrl-C: what git was about goes with us
            os.kill(process.pid, signal.SIGTERM)
            process.wait()
            raise
        printed.seek(0)
        complaints.seek(0)
        stdout, stderr = printed.read(), complaints.read()
    if status:
        said = stderr.decode("utf-8", "backslashreplace").strip() or f"exit status {status}"
        mend = "; free some space or move the cache" if "No space left" in said else ""
        name = next((word for word in arguments if not word.startswith("-")), "")
        raise WorkspaceError(f"git {name} failed in {cwd}: {said}{mend}")
    return stdout


def _in_memory() -> BinaryIO:
    """A file for what git reads or prints; nobody waits for the end of a pipe."""
    return open(os.memfd_create("git"), "w+b")


def _ceiling(cwd: Path, above: bool) -> dict[str, str]:
    return {} if above else {"GIT_CEILING_DIRECTORIES": os.path.dirname(os.path.realpath(cwd))}


def _environment(as_user: bool) -> dict[str, str]:
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C.UTF-8"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith(_OF_THE_USER)
    }
    if as_user:
        return kept | quiet
    return kept | quiet | _NO_CONFIGURATION
