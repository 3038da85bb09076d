"""A workspace: a shared base tree, and the files that an episode has written.

Nothing is copied at the start, so a reset costs the same for any repository; a diff, a snapshot and closing cost what
was written. A box shows both layers as one read-only tree.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from nano_codex_env.cache import Scratch, cache_dir, disk_errors
from nano_codex_env.diff import File, file_diff
from nano_codex_env.errors import ToolError, WorkspaceError
from nano_codex_env.repo import files
from nano_codex_env.repo.base_tree import base_tree
from nano_codex_env.sandbox.rootfs import MTIME, normalize_mode_and_time

_TOUCHED = MTIME + 86400
"""Modification time of written files, a day after the base's, so that git sees that they were written."""


class Workspace:
    """The repository as an episode has changed it; close it when done."""

    def __init__(self, repo: str, commit: str = "", *, cache: str | os.PathLike[str] | None = None) -> None:
        """Open `repo` (a path, a URL or `owner/name`) at `commit` (empty: HEAD).

        Raises:
            WorkspaceError: it is not a repository, is dirty, has no such commit or cannot be cloned.
        """
        self._cache = cache_dir(cache)
        self.base, self.commit = base_tree(repo, commit, self._cache)
        self._touched: dict[files.Parts, File] = {}
        self._scratch: Scratch | None = None
        self.version = 0
        """Incremented by every write; a box opened at an earlier version shows old files."""

    @property
    def layers(self) -> tuple[Path, ...]:
        """The folders that make up the tree, lowest first."""
        return (self.base, self._scratch.path) if self._scratch else (self.base,)

    @property
    def touched(self) -> tuple[str, ...]:
        """The written paths, sorted."""
        return tuple(sorted("/".join(parts) for parts in self._touched))

    @property
    def changed(self) -> bool:
        """Whether any file differs from the base."""
        return any(file != self._original(parts) for parts, file in self._touched.items())

    def _original(self, parts: files.Parts) -> File | None:
        """The base's file at a written path; it was readable when that was written."""
        try:
            with disk_errors(f"reading {'/'.join(parts)} of the base"):
                return files.read(self.base, parts)
        except ToolError as error:
            raise WorkspaceError(f"the base tree {self.base} was changed: {error}") from error

    def read(self, file: str) -> File | None:
        """The file as it is now; None where there is none.

        Raises:
            ToolError: the path may not be patched, see `files`.
        """
        parts = files.parts_of(file)
        self._check_conflict(parts)
        with disk_errors(f"reading {'/'.join(parts)}"):
            return self._touched.get(parts) or files.read(self.base, parts)

    def write(self, file: str, content: File) -> None:
        """Write `content` to `file`.

        Raises:
            ToolError: the path may not be patched.
            WorkspaceError: the disk is full or broken.
        """
        parts = files.parts_of(file)
        self._check_conflict(parts)
        with disk_errors(f"writing {'/'.join(parts)}"):
            if parts not in self._touched:
                files.read(self.base, parts)  # a file that may not be read may not be replaced either
            files.check_folder(self.base, parts[:-1])  # a link or a file of the base may not become a folder
            self._scratch = self._scratch or Scratch(self._cache)
            files.write(self._scratch.path, parts, content, lambda handle: normalize_mode_and_time(handle, _TOUCHED))
        self._touched[parts] = content
        self.version += 1

    def _check_conflict(self, parts: files.Parts) -> None:
        """Refuse a path that a written file needs as a folder, or that is below a written file."""
        if parts in self._touched:
            return
        for other in self._touched:
            if len(parts) < len(other) and other[: len(parts)] == parts:
                raise ToolError(f"{'/'.join(parts)} is a folder; only regular files can be patched")
            if len(other) < len(parts) and parts[: len(other)] == other:
                raise ToolError(f"{'/'.join(other)} is a file, not a folder")

    def diff(self) -> str:
        """The changes as a patch in git's format, which `git apply` accepts on a clean checkout."""
        ordered = sorted(self._touched.items(), key=lambda item: "/".join(item[0]).encode("utf-8", "surrogateescape"))
        return "".join(file_diff("/".join(parts), self._original(parts), file) for parts, file in ordered)

    def snapshot(self) -> Mapping[files.Parts, File]:
        """The written files; cheap, since their contents are never changed in place."""
        return dict(self._touched)

    def restore(self, snapshot: Mapping[files.Parts, File]) -> None:
        """Make the written files those of `snapshot`."""
        if snapshot == self._touched:
            return
        self.close()
        for parts, content in snapshot.items():
            self.write("/".join(parts), content)
        self.version += 1

    def close(self) -> None:
        """Remove the written files; a second call does nothing."""
        scratch, self._scratch, self._touched = self._scratch, None, {}
        if scratch:
            scratch.close()
