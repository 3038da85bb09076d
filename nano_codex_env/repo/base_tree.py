"""Base trees: a commit's files and a `.git` with one synthetic commit, exported to the cache and never written again.

Files are checked out through an index of our own, since `git archive` would leave out export-ignore files. The
repository holds only the objects of this tree: no history, refs, reflog or remotes, and nothing of the future. Names,
modes and modification times are the same on every machine.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from pathlib import Path

from nano_codex_env.cache import mark_used, publish
from nano_codex_env.errors import WorkspaceError
from nano_codex_env.git import init_work_tree, run_git
from nano_codex_env.repo.repository import quoted
from nano_codex_env.repo.source import Source, find, is_full_id, local_path
from nano_codex_env.sandbox.rootfs import MTIME, normalize_mode_and_time

logger = logging.getLogger(__name__)

MAX_FILES, MAX_BYTES = 2_000_000, 64 << 30
"""Files of the largest tree, and their bytes."""

_IDENTITY = {
    f"GIT_{who}_{key}": value
    for who in ("AUTHOR", "COMMITTER")
    for key, value in {"NAME": "nano-codex", "EMAIL": "nano-codex@localhost", "DATE": f"{MTIME} +0000"}.items()
}
_CONFIG = {
    "core.checkStat": "minimal",  # an overlay has other inodes and ctimes: `git status` would read every file
    "core.trustctime": "false",
    "core.logAllRefUpdates": "false",
    "gc.auto": "0",
}


def base_tree(repo: str, commit: str, cache: Path) -> tuple[Path, str]:
    """The folder of `repo` at `commit`, and the commit's full id; it is the same tree whichever repository it is from.

    Raises:
        WorkspaceError: see `source.find`; or the disk is full.
    """
    if is_full_id(commit) and (path := _path(cache, commit)).exists() and not _is_missing(repo):
        mark_used(path)
        return path, commit
    source = find(repo, commit, cache)
    return publish(_path(cache, source.commit), lambda folder: _export(source, folder)), source.commit


def _path(cache: Path, commit: str) -> Path:
    return cache / "trees" / f"{commit}-2"  # trees of the first format were not verified by their objects' ids


def _is_missing(repo: str) -> bool:
    """Whether there is no repository at a local path: an error even if the cache has the commit from elsewhere."""
    path = local_path(repo)
    return path is not None and not (os.path.exists(path / ".git") or os.path.isfile(path / "HEAD"))


def _export(source: Source, folder: Path) -> None:
    name = source.commit[:12]
    init_work_tree(folder, "sha256" if len(source.commit) == 64 else "sha1")
    git = [f"--git-dir={folder / '.git'}", f"--work-tree={folder}"]
    for key, value in _CONFIG.items():
        run_git([*git, "config", key, value], cwd=folder)
    logger.info("base tree of %s: packing its objects", name)
    commit = _copy_objects(source, folder, git)
    run_git([*git, "read-tree", commit], cwd=folder, memory=1 << 30)
    count = _count_files(folder, git)
    logger.info("base tree of %s: checking out %d files", name, count)
    run_git([*git, "checkout-index", "--all", "--force", "--quiet"], cwd=folder)
    logger.info("base tree of %s: setting modes and times of %d files", name, count)
    for top, folders, files in os.walk(folder, topdown=False):
        for path in files + folders:
            normalize_mode_and_time(Path(top, path), MTIME)
    run_git([*git, "update-index", "-q", "--refresh"], cwd=folder)
    # the index is newer than all files, so that git trusts their recorded times
    normalize_mode_and_time(folder / ".git" / "index", MTIME + 3600)
    normalize_mode_and_time(folder / ".git", MTIME)
    normalize_mode_and_time(folder, MTIME)


def _copy_objects(source: Source, folder: Path, git: list[str]) -> str:
    """Copy the objects of the commit's tree, commit the tree anew, and return the new commit's id.

    The source's object folder may be forged, so the ids of the commit and of every object are computed again.
    """
    theirs = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": quoted(source.objects)}
    raw = run_git([*git, "cat-file", "commit", source.commit], cwd=folder, env=theirs)
    digest = hashlib.sha256 if len(source.commit) == 64 else hashlib.sha1
    if digest(b"commit %d\0" % len(raw) + raw).hexdigest() != source.commit:
        raise WorkspaceError(f"{source.objects} is damaged: it holds another commit under the id {source.commit}")
    tree = raw.partition(b"\n")[0].removeprefix(b"tree ").decode("ascii")
    packs = folder / ".git" / "objects" / "pack"
    packs.mkdir(exist_ok=True)
    # without deltas and without reuse of packed objects, the pack is the same from every clone
    pack = [*git, "pack-objects", "--revs", "--window=0", "--no-reuse-object", "--compression=1", "--index-version=2"]
    try:
        name = run_git([*pack, "-q", str(packs / "pack")], cwd=folder, stdin=tree.encode() + b"\n", env=theirs)
    except WorkspaceError as error:
        raise WorkspaceError(
            f"{error}; where {source.objects} belongs to a partial clone, fetch what is missing first: "
            "`git fetch --refetch --no-filter`"
        ) from error
    run_git([*git, "index-pack", "--verify", str(packs / f"pack-{name.decode().strip()}.pack")], cwd=folder)
    commit = run_git([*git, "commit-tree", tree, "-m", "base"], cwd=folder, env=_IDENTITY).decode().strip()
    (folder / ".git" / "refs" / "heads" / "main").write_text(commit + "\n", encoding="ascii")
    return commit


def _count_files(folder: Path, git: list[str]) -> int:
    """The number of files in the index; too many are refused, since a few objects can stand for any number of files."""
    with (folder / ".git" / "index").open("rb") as file:
        count = int.from_bytes(file.read(12)[8:], "big")
    if count > MAX_FILES:
        raise WorkspaceError(f"the tree has {count} files; at most {MAX_FILES} are checked out")
    staged = run_git([*git, "ls-files", "-sz"], cwd=folder).split(b"\0")[:-1]
    blobs = Counter(line.split(b" ", 2)[1] for line in staged)
    query = [*git, "cat-file", "--batch-check=%(objectsize)"]
    sizes = run_git(query, cwd=folder, stdin=b"".join(blob + b"\n" for blob in blobs)).split(b"\n")
    total = sum(number * int(size) for number, size in zip(blobs.values(), sizes, strict=False) if size.isdigit())
    if total > MAX_BYTES:
        raise WorkspaceError(f"the tree's files have {total} bytes; at most {MAX_BYTES} are checked out")
    return count
