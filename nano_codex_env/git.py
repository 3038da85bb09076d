"""The only place where git runs on the host; never over files that a policy may have written.

Whatever the repository, git runs no hook, filter, monitor or transport that its configuration names, fetches nothing
that was not asked for, and follows no replacement of one object by another.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from nano_codex_env.errors import WorkspaceError, advice_for
from nano_codex_env.spawn import run

LOCAL, NETWORK = 900.0, 7200.0
"""Seconds that a command may take, without and with the network."""

MEMORY = 4 << 30
"""Bytes that a command may allocate, not counting mapped files; a clone or fetch may take four times as much."""

_OF_THE_USER = ("GIT_SSH", "GIT_ASKPASS", "GIT_SSL", "GIT_PROXY", "GIT_TRACE", "GIT_CURL", "GIT_EXEC_PATH")
"""Variables that are kept, since they say how to reach a remote; others could make git do something else."""

_SETTINGS = ("core.hooksPath=" + os.devnull, "core.fsmonitor=false", "core.commitGraph=false")
"""Settings that override all configuration; nobody checks what a commit graph claims."""

_NETWORK_SETTINGS = ("http.lowSpeedLimit=1000", "http.lowSpeedTime=120")
_PROTOCOLS = "file:git:http:https:ssh"

_ALWAYS = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_ALLOW_PROTOCOL": "",
    "LC_ALL": "C.UTF-8",
}
_NO_CONFIGURATION = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "1",  # git looks for this file in the home folder even without any configuration
    "GIT_CONFIG_KEY_0": "core.attributesFile",
    "GIT_CONFIG_VALUE_0": os.devnull,
}


class GitDidNotRunError(WorkspaceError):
    """git was not started, or was killed: this says nothing about what it was asked."""


def run_git(
    arguments: Sequence[str],
    *,
    cwd: Path,
    as_user: bool = False,
    network: bool = False,
    timeout: float | None = None,
    memory: int | None = None,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
) -> bytes:
    """Run `git ARGUMENTS` in `cwd` and return its stdout; it asks for no password and looks for no repository above.

    `as_user`: with the user's and the machine's configuration; else only the repository's, which must be one of ours.
    `network`: a clone or fetch, which needs the user's credentials and proxies. `timeout` is in seconds, `memory` in
    bytes. `env`: more environment variables.

    Raises:
        WorkspaceError: git took too long, or failed; with what it wrote to stderr.
        GitDidNotRunError: git is missing, cannot be started, or was killed.
    """
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith(_OF_THE_USER)
    }
    variables |= _ALWAYS if as_user or network else _ALWAYS | _NO_CONFIGURATION
    variables |= {"GIT_CEILING_DIRECTORIES": os.path.dirname(os.path.realpath(cwd))}
    variables |= {"GIT_ALLOW_PROTOCOL": _PROTOCOLS} if network else {}
    timeout = timeout or (NETWORK if network else LOCAL)
    memory = memory or (4 * MEMORY if network else MEMORY)
    command = ["git", "-C", str(cwd)]
    for setting in (*_SETTINGS, *(_NETWORK_SETTINGS if network else ())):
        command += ["-c", setting]
    try:
        done = run([*command, *arguments], env=variables | dict(env or {}), stdin=stdin, timeout=timeout, memory=memory)
    except FileNotFoundError as error:
        raise GitDidNotRunError("git is not installed, or not on PATH; install git >= 2.25") from error
    except OSError as error:  # an argument too long, no more processes
        raise GitDidNotRunError(f"git cannot be started: {error}{advice_for(error)}") from error
    if done.status == -signal.SIGKILL:
        raise GitDidNotRunError("git was killed from outside: the machine or this job may be out of memory")
    if done.status != 0:
        message = done.stderr.decode("utf-8", "backslashreplace").strip() or f"exit status {done.status}"
        if done.status is None:
            message = f"it was stopped after {timeout:g} seconds: {message[-500:]}"
        advice = "; free some space or move the cache" if "No space left" in message else ""
        name = next((word for word in arguments if not word.startswith("-")), "")
        raise WorkspaceError(f"git {name} failed in {cwd}: {message}{advice}")
    return done.stdout


def init_work_tree(folder: Path, kind: str = "sha1") -> None:
    """Make `folder` a repository in which no filter changes files on checkout; only line ends may be converted.

    Raises:
        WorkspaceError: git failed.
    """
    run_git(["init", "--quiet", "--template=", f"--object-format={kind}", "-b", "main"], cwd=folder)
    info = folder / ".git" / "info"
    info.mkdir(exist_ok=True)
    info.joinpath("attributes").write_text("* -ident -filter -working-tree-encoding\n", encoding="ascii")
