"""Trees of files in memory: as a patch, as a git repository, and on disk."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from nano_codex_env.diff import File, file_diff, quote
from nano_codex_env.git import run_git

Tree = dict[str, File]
"""Path -> file."""

_WHO = "nano-codex <nano-codex@localhost> 946684800 +0000"


def tree_patch(old: Tree, new: Tree) -> str:
    """The patch that turns `old` into `new`."""
    return "".join(file_diff(path, old.get(path), new.get(path)) for path in sorted(old.keys() | new.keys()))


def fast_import(trees: Mapping[str, Tree]) -> bytes:
    """A stream for `git fast-import` with one branch per tree; the same trees give the same commit ids."""
    stream = io.BytesIO()
    for name, tree in sorted(trees.items()):
        stream.write(f"commit refs/heads/{name}\ncommitter {_WHO}\ndata 4\nbase\n".encode())
        for path, file in sorted(tree.items()):
            stream.write(f"M {file.mode} inline {quote(path)}\ndata {len(file.data)}\n".encode() + file.data + b"\n")
        stream.write(b"\n")
    return stream.getvalue()


def make_repository(folder: Path, stream: bytes) -> None:
    """Create a bare repository in `folder` from a stream of `fast_import`.

    Raises:
        WorkspaceError: git failed.
    """
    folder = folder.absolute()
    run_git(["init", "--quiet", "--bare", "--template="], cwd=folder)
    run_git([f"--git-dir={folder}", "fast-import", "--quiet"], cwd=folder, stdin=stream)


@cache
def commits_of(repo: Path) -> dict[str, str]:
    """Branch -> commit id; cached, since these repositories never change."""
    import git

    with git.Repo(repo) as found:
        return {head.name: head.commit.hexsha for head in found.heads}


def file_at(root: Path, path: str) -> File | None:
    """The file below `root` as git would store it; symbolic links, also in the path, are not followed."""
    *folders, name = path.split("/")
    folder = root
    for part in folders:
        folder = folder / part
        if folder.is_symlink():
            return None
    target = folder / name
    if target.is_symlink():
        return File(os.fsencode(os.readlink(target)), is_link=True)
    return File(target.read_bytes(), bool(target.stat().st_mode & 0o100)) if target.is_file() else None


def put_file(target: Path, file: File) -> None:
    """Write a file, readable for everyone, and create the folders that it needs."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.is_link:
        target.symlink_to(os.fsdecode(file.data))
    else:
        target.write_bytes(file.data)
        target.chmod(0o755 if file.executable else 0o644)
