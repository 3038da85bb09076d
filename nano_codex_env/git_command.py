"""The only place where git runs on the host: over repositories that were given to us, never over a policy's files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from nano_codex_env.errors import WorkspaceError

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
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
) -> bytes:
    """What `git ARGUMENTS` prints on stdout, byte for byte.

    It never asks for a password. `as_user`: with the user's own configuration (credentials, proxies), as a clone
    needs it; else with the repository's only, so that the result is the same on every machine. `env` comes on top.

    Raises:
        WorkspaceError: git is missing, or the command failed; holds what git said.
    """
    try:
        done = subprocess.run(
            ["git", *_NOTHING_RUNS, *arguments],
            cwd=cwd,
            env=_environment(as_user) | dict(env or {}),
            input=stdin,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise WorkspaceError("git is not installed, or not on PATH; install git >= 2.25") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "backslashreplace").strip() or f"exit status {done.returncode}"
        mend = "; free some space or move the cache" if "No space left" in said else ""
        name = next((word for word in arguments if not word.startswith("-")), "")
        raise WorkspaceError(f"git {name} failed in {cwd}: {said}{mend}")
    return done.stdout


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
