"""Bring what an episode changed into a user's own checkout: all of it or nothing, and nothing of theirs is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from nano_codex_env.diff import File
from nano_codex_env.errors import ToolError, WorkspaceError
from nano_codex_env.repo import files
from nano_codex_env.repo.source import find
from nano_codex_env.repo.workspace import Workspace


def bring_back(workspace: Workspace, root: Path, cache: Path) -> None:
    """Make the touched files those of the checkout at `root`, which must still be what the episode started from.

    A checkout that keeps its lines with CRLF gets them so. A file that git says is unchanged but that is not what the
    episode saw (ignored, hidden from git, or stored through a filter) stops it all.

    Raises:
        WorkspaceError: it is dirty, at another commit, or a file cannot be changed; nothing was.
    """
    root = root.resolve()
    if find(str(root), "", cache).commit != workspace.commit:
        raise WorkspaceError(f"{root} is at another commit than when the run started")
    touched = {parts: file for parts, file in workspace.snapshot().items() if file != files.read(workspace.base, parts)}
    try:
        old = {parts: _current(root, parts) for parts in touched}
        new = {parts: _form(workspace.base, parts, old[parts], file) for parts, file in touched.items()}
        _write_all(root, old, new)
    except (ToolError, OSError) as error:
        raise WorkspaceError(f"cannot change {root}: {error}") from error


def _current(root: Path, parts: files.Parts) -> File | None:
    for depth in range(1, len(parts)):
        if root.joinpath(*parts[:depth], ".git").exists():
            raise ToolError(f"{'/'.join(parts)} lies in a repository of its own")
    return files.read(root, parts)


def _form(base: Path, parts: files.Parts, current: File | None, new: File) -> File:
    """`new` as this checkout keeps it."""
    before = files.read(base, parts)
    if (before and before.data) == (current and current.data):
        return new
    if before and current and before.data.replace(b"\n", b"\r\n") == current.data:
        return File(new.data.replace(b"\n", b"\r\n"), new.executable)
    found = "is there already" if before is None else "is not what the run started from"
    raise ToolError(f"{'/'.join(parts)} {found} (git does not tell of it: ignored, hidden, or stored through a filter)")


def _write_all(root: Path, old: Mapping[files.Parts, File | None], new: Mapping[files.Parts, File]) -> None:
    begun: list[files.Parts] = []
    try:
        for parts, file in new.items():
            begun.append(parts)
            files.write(root, parts, file)
    except BaseException:
        for parts in begun:
            with contextlib.suppress(ToolError, OSError):  # the first error is the one to tell
                _put_back(root, parts, old[parts])
        raise


def _put_back(root: Path, parts: files.Parts, file: File | None) -> None:
    if file is None:
        files.remove(root, parts)
    else:
        files.write(root, parts, file)
