"""An episode's files: a shared base tree and the few files that were touched.

Nothing is copied at the start, so a reset costs the same for any repository; a diff, a snapshot and a disposal cost
what was touched. `write` is the only writer; the box sees both layers as one, read-only.
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
from nano_codex_env.sandbox.rootfs import MTIME, settle

_TOUCHED = MTIME + 86400
"""A touched file is a day younger than the base, so that git sees that it was touched."""


class Workspace:
    """The repository as an episode has changed it; close it when done."""

    def __init__(self, repo: str, commit: str = "", *, cache: str | os.PathLike[str] | None = None) -> None:
        """Open `repo` (a path, a URL or `owner/name`) at `commit` (empty: HEAD).

        Raises:
            WorkspaceError: it is no repository, is dirty, has no such commit or cannot be cloned.
        """
        self._cache = cache_dir(cache)
        self.base, self.commit = base_tree(repo, commit, self._cache)
        self._touched: dict[files.Parts, File] = {}
        self._scratch: Scratch | None = None
        self.version = 0
        """Goes up with every write: a box opened at an earlier version shows old files."""

    @property
    def layers(self) -> tuple[Path, ...]:
        """The folders that make up the tree, lowest first."""
        return (self.base, self._scratch.path) if self._scratch else (self.base,)

    @property
    def touched(self) -> tuple[str, ...]:
        """The paths that were written, sorted."""
        return tuple(sorted("/".join(parts) for parts in self._touched))

    @property
    def changed(self) -> bool:
        """Whether any file differs from the base."""
        return any(file != self._original(parts) for parts, file in self._touched.items())

    def _original(self, parts: files.Parts) -> File | None:
        """The base's file below a touched one; it could be read when that was written."""
        try:
            with disk_errors(f"reading {'/'.join(parts)} of the base"):
                return files.read(self.base, parts)
        except ToolError as error:
            raise WorkspaceError(f"the base tree {self.base} was changed: {error}") from error

    def read(self, file: str) -> File | None:
        """The file as it is now; None where there is none.

        Raises:
            ToolError: the path is none that may be patched, see `files`.
        """
        parts = files.parts_of(file)
        self._check_way(parts)
        with disk_errors(f"reading {'/'.join(parts)}"):
            return self._touched.get(parts) or files.read(self.base, parts)

    def write(self, file: str, content: File) -> None:
        """Put `content` at `file`.

        Raises:
            ToolError: the path is none that may be patched.
            WorkspaceError: the disk is full or broken.
        """
        self._write(files.parts_of(file), content)

    def _check_way(self, parts: files.Parts) -> None:
        """A file may not stand where a touched one needs a folder, nor below a touched file."""
        if parts in self._touched:
            return
        for other in self._touched:
            shorter, longer = sorted((parts, other), key=len)
            if shorter != longer and longer[: len(shorter)] == shorter:
                words = (
                    "is a folder; only regular files can be patched" if shorter == parts else "is a file, not a folder"
                )
                raise ToolError(f"{'/'.join(shorter)} {words}")

    def _write(self, parts: files.Parts, content: File) -> None:
        self._check_way(parts)
        with disk_errors(f"writing {'/'.join(parts)}"):
            if parts not in self._touched:
                files.read(self.base, parts)  # what may not be read may not be covered either
            files.check_folder(self.base, parts[:-1])  # a link or a file of the base may not become a folder
            scratch = self._scratch or Scratch(self._cache)
            self._scratch = scratch
            files.write(scratch.path, parts, content, lambda handle: settle(handle, _TOUCHED))
        self._touched[parts] = content
        self.version += 1

    def diff(self) -> str:
        """What was changed, as a patch in git's format that `git apply` takes on a clean checkout."""
        ordered = sorted(self._touched.items(), key=lambda item: "/".join(item[0]).encode("utf-8", "surrogateescape"))
        return "".join(file_diff("/".join(parts), self._original(parts), file) for parts, file in ordered)

    def snapshot(self) -> Mapping[files.Parts, File]:
        """The touched files; costs nothing, since their contents are never changed in place."""
        return dict(self._touched)

    def restore(self, snapshot: Mapping[files.Parts, File]) -> None:
        """Make the touched files those of `snapshot`."""
        if snapshot == self._touched:
            return
        self.close()
        for parts, content in snapshot.items():
            self._write(parts, content)
        self.version += 1

    def close(self) -> None:
        """Remove the touched files; a second call does nothing."""
        scratch, self._scratch, self._touched = self._scratch, None, {}
        if scratch:
            try:
                scratch.close()
            except OSError as error:
                raise WorkspaceError(f"cannot remove {scratch.path}: {error}") from error
