"""What `nano-codex doctor` checks: boxes, the folders that are written to, and limits on this process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nano_codex_env.cache import ENV_VAR, cache_dir
from nano_codex_env.errors import WorkspaceError

_STATUSES = ("ok", "no", "MISSING")


@dataclass(frozen=True)
class Finding:
    """What a check found."""

    status: str
    """`ok`; `no`: something works less well, or is optional; `MISSING`: nothing works without it."""
    found: str
    fix: str = ""
    """What to do, for a user."""
    admin: tuple[str, ...] = ()
    """Lines for an administrator: commands, or settings with the place where they belong."""


def joined(findings: Sequence[Finding]) -> Finding:
    """Several findings as one, with the worst status."""
    return Finding(
        max((finding.status for finding in findings), key=_STATUSES.index),
        "; ".join(unique(finding.found for finding in findings)),
        "; ".join(unique(finding.fix for finding in findings)),
        unique(line for finding in findings for line in finding.admin),
    )


def unique(texts: Iterable[str]) -> tuple[str, ...]:
    """The texts that are not empty, each once."""
    return tuple(dict.fromkeys(text for text in texts if text))


def at_once(episodes: int) -> str:
    """What to do where so many episodes fit."""
    return f"concurrency={episodes} or less" if episodes else "ask the administrator for more"


def made_cache() -> Path:
    """The cache's folder, which is made if there is none.

    Raises:
        WorkspaceError: it cannot be made.
    """
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkspaceError(f"{folder}: {error}; set {ENV_VAR} to a folder that you may write") from error
    return folder
