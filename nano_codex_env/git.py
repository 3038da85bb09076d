"""The only place where git runs on the host: over repositories of ours or views of others, never over a policy's files.

Whatever the repository, no hook, filter, monitor or transport that its configuration names is run, nothing is fetched
that was not asked for, and no object stands for another one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from nano_codex_env.errors import WorkspaceError
from nano_codex_env.spawn import run

LOCAL, NETWORK = 900.0, 7200.0
"""Seconds that a command may take, without and with the network."""

MEMORY = 4 << 30
"""Bytes that a command may allocate, mapped files not counted; a clone or fetch four times as much."""

_OF_THE_USER = ("GIT_SSH", "GIT_ASKPASS", "GIT_SSL", "GIT_PROXY", "GIT_TRACE", "GIT_CURL", "GIT_EXEC_PATH")
"""How a user reaches a remote; any other GIT_ variable would point git elsewhere, or change what it does."""

_PROTOCOLS = "file:git:http:https:ssh"
"""Those of a clone or fetch; of all other commands none."""

_OURS = ("core.hooksPath", os.devnull), ("core.fsmonitor", "false"), ("core.commitGraph", "false")
"""Over every other configuration; a commit graph is a claim about commits that nobody checks."""

_STALLED = ("http.lowSpeedLimit", "1000"), ("http.lowSpeedTime", "120")

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
    """What `git ARGUMENTS` prints on stdout, byte for byte.

    It never asks for a password, and looks for no repository above `cwd`. `as_user`: with the user's and the machine's
    configuration; else with the repository's only, which must be one of ours, so that the result is the same
    everywhere. `network`: a clone or fetch, as the user (credentials, proxies). `timeout` (seconds) and `memory`
    (bytes): where the usual ones are too much. `env` comes on top.

    Raises:
        WorkspaceError: git is missing, took too long, or the command failed; holds what git said.
    """
    variables = _environment(as_user or network) | {"GIT_CEILING_DIRECTORIES": os.path.dirname(os.path.realpath(cwd))}
    variables |= {"GIT_ALLOW_PROTOCOL": _PROTOCOLS} if network else {}
    settings = [word for name, value in (*_OURS, *(_STALLED if network else ())) for word in ("-c", f"{name}={value}")]
    timeout = timeout or (NETWORK if network else LOCAL)
    memory = memory or (4 * MEMORY if network else MEMORY)
    command = ["git", "-C", str(cwd), *settings, *arguments]
    try:
        done = run(command, env=variables | dict(env or {}), stdin=stdin, timeout=timeout, memory=memory)
    except FileNotFoundError as error:
        raise WorkspaceError("git is not installed, or not on PATH; install git >= 2.25") from error
    except OSError as error:  # an argument too long, no more processes
        raise WorkspaceError(f"git cannot be started: {error}") from error
    if done.status != 0:
        said = done.stderr.decode("utf-8", "backslashreplace").strip() or f"exit status {done.status}"
        said = said if done.status is not None else f"it was stopped after {timeout:g} seconds: {said[-500:]}"
        advice = "; free some space or move the cache" if "No space left" in said else ""
        name = next((word for word in arguments if not word.startswith("-")), "")
        raise WorkspaceError(f"git {name} failed in {cwd}: {said}{advice}")
    return done.stdout


def init_work_tree(folder: Path, kind: str = "sha1") -> None:
    """Make `folder` a repository whose files are as they were committed, but for their line ends.

    Raises:
        WorkspaceError: git failed.
    """
    run_git(["init", "--quiet", "--template=", f"--object-format={kind}", "-b", "main"], cwd=folder)
    info = folder / ".git" / "info"
    info.mkdir(exist_ok=True)
    info.joinpath("attributes").write_text("* -ident -filter -working-tree-encoding\n", encoding="ascii")


def _environment(as_user: bool) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith(_OF_THE_USER)
    }
    return kept | _ALWAYS if as_user else kept | _ALWAYS | _NO_CONFIGURATION
