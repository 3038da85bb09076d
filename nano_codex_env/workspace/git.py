"""The only place where git runs on the host: over repositories that were given to us, never over a policy's files."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from nano_codex_env.errors import WorkspaceError

QUIET = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C.UTF-8"}
"""Never ask for a password, never write an index that we only read."""

PLAIN = {**QUIET, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
"""No configuration but the repository's own: the same result on every machine."""


def run_git(arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str] = PLAIN, stdin: Path | None = None) -> bytes:
    """What `git ARGUMENTS` prints on stdout, byte for byte.

    Raises:
        WorkspaceError: git is missing, or the command failed; holds what git said.
    """
    import git

    source = stdin.open("rb") if stdin else None
    try:
        output: bytes = git.Git(cwd).execute(
            ["git", *arguments],
            istream=source or subprocess.DEVNULL,
            env=dict(env),
            stdout_as_string=False,
            strip_newline_in_stdout=False,
        )
        return output
    except git.GitCommandNotFound as error:
        raise WorkspaceError("git is not installed, or not on PATH; install git >= 2.25") from error
    except git.GitCommandError as error:
        said = str(error.stderr).strip().removeprefix("stderr: ").strip("' \n") or f"exit status {error.status}"
        mend = "; free some space or move the cache" if "No space left" in said else ""
        raise WorkspaceError(f"git {arguments[0]} failed in {cwd}: {said}{mend}") from error
    finally:
        if source:
            source.close()
