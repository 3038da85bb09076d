"""Apply an episode's changes to a user's own checkout."""

from __future__ import annotations

import contextlib
from pathlib import Path

from nano_codex_env.diff import File
from nano_codex_env.errors import ToolError, WorkspaceError
from nano_codex_env.repo import files
from nano_codex_env.repo.source import find
from nano_codex_env.repo.workspace import Workspace


def apply_to_checkout(workspace: Workspace, root: Path, cache: Path) -> None:
    """Write the files that an episode changed to the checkout at `root`: all of them, or none.

    A checkout whose lines end with CRLF gets such lines. A file that differs from the one the episode started from,
    although git reports it as unchanged (ignored, hidden from git, or stored through a filter), is an error.

    Raises:
        WorkspaceError: the checkout is dirty or at another commit, or a file cannot be changed; none was.
    """
    root = root.resolve()
    if find(str(root), "", cache).commit != workspace.commit:
        raise WorkspaceError(f"{root} is at another commit than when the run started")
    changes: list[tuple[files.Parts, File | None, File]] = []
    try:
        for parts, file in workspace.snapshot().items():
            base = files.read(workspace.base, parts)
            if file != base:
                current = _current(root, parts)
                changes.append((parts, current, _converted(parts, base, current, file)))
        with contextlib.ExitStack() as undo:
            for parts, current, file in changes:
                undo.callback(_restore, root, parts, current)
                files.write(root, parts, file)
            undo.pop_all()
    except (ToolError, OSError) as error:
        raise WorkspaceError(f"cannot change {root}: {error}") from error


def _restore(root: Path, parts: files.Parts, file: File | None) -> None:
    with contextlib.suppress(ToolError, OSError):  # the first error is the one to report
        if file is None:
            files.remove(root, parts)
        else:
            files.write(root, parts, file)


def _current(root: Path, parts: files.Parts) -> File | None:
    for depth in range(1, len(parts)):
        if root.joinpath(*parts[:depth], ".git").exists():
            raise ToolError(f"{'/'.join(parts)} lies in a repository of its own")
    return files.read(root, parts)


def _converted(parts: files.Parts, base: File | None, current: File | None, new: File) -> File:
    """`new` with the line ends of the checkout's current file."""
    if (base and base.data) == (current and current.data):
        return new
    if base and current and base.data.replace(b"\n", b"\r\n") == current.data:
        return File(new.data.replace(b"\n", b"\r\n"), new.executable)
    problem = "exists already" if base is None else "is not what the run started from"
    raise ToolError(
        f"{'/'.join(parts)} {problem} (git does not report it: ignored, hidden, or stored through a filter)"
    )
