"""Base trees: a commit's files with a `.git` of one synthetic commit, exported once, shared, never written again.

The export goes through a private index (`git archive` would leave out export-ignore files) in a repository of its
own that holds this tree's objects and no others: no history, refs, reflog, remotes, and no object of the future.
Names, modes and modification times are the same on every machine.
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
from nano_codex_env.repo.source import Source, find, is_full_id, is_local, local_path
from nano_codex_env.sandbox.rootfs import MTIME, settle

logger = logging.getLogger(__name__)

_IDENTITY = {
    "GIT_AUTHOR_NAME": "nano-codex",
    "GIT_AUTHOR_EMAIL": "nano-codex@localhost",
    "GIT_AUTHOR_DATE": f"{MTIME} +0000",
    "GIT_COMMITTER_NAME": "nano-codex",
    "GIT_COMMITTER_EMAIL": "nano-codex@localhost",
    "GIT_COMMITTER_DATE": f"{MTIME} +0000",
}
MAX_FILES, MAX_BYTES = 2_000_000, 64 << 30
"""Files of the largest tree, and bytes of all of them."""

_CONFIG = {
    "core.checkStat": "minimal",  # inode and ctime differ in an overlay: without these each `git status` reads all
    "core.trustctime": "false",
    "core.logAllRefUpdates": "false",
    "gc.auto": "0",
}


def base_tree(repo: str, commit: str, cache: Path) -> tuple[Path, str]:
    """The folder of `repo` at `commit`, and the commit's full id; the tree is what the id stands for, whoever gave it.

    Raises:
        WorkspaceError: see `source.find`; or the disk is full.
    """
    if is_full_id(commit) and (path := _path(cache, commit)).exists() and not _is_missing(repo):
        mark_used(path)
        return path, commit
    source = find(repo, commit, cache)
    return publish(_path(cache, source.commit), lambda folder: _export(source, folder)), source.commit


def _path(cache: Path, commit: str) -> Path:
    return cache / "trees" / f"{commit}-2"  # of the first form, ids were not proved by content


def _is_missing(repo: str) -> bool:
    """A local path must be a repository even where the commit is known from elsewhere."""
    if not is_local(repo):
        return False
    path = local_path(repo)
    return not (os.path.exists(path / ".git") or os.path.isfile(path / "HEAD"))


def _export(source: Source, folder: Path) -> None:
    kind = "sha256" if len(source.commit) == 64 else "sha1"
    init_work_tree(folder, kind)
    ours = [f"--git-dir={folder / '.git'}", f"--work-tree={folder}"]
    for name, value in _CONFIG.items():
        run_git([*ours, "config", name, value], cwd=folder)
    logger.info("base tree of %s: packing its objects", source.commit[:12])
    root = _copy_objects(source, folder, ours)
    run_git([*ours, "read-tree", root], cwd=folder, memory=1 << 30)
    count = _count_files(folder, ours)
    logger.info("base tree of %s: checking out %d files", source.commit[:12], count)
    run_git([*ours, "checkout-index", "--all", "--force", "--quiet"], cwd=folder)
    logger.info("base tree of %s: settling modes and times of %d files", source.commit[:12], count)
    _level(folder)
    run_git([*ours, "update-index", "-q", "--refresh"], cwd=folder)
    settle(folder / ".git" / "index", MTIME + 3600)  # younger than all files: git need not look into them
    settle(folder / ".git", MTIME)
    settle(folder, MTIME)


def _count_files(folder: Path, ours: list[str]) -> int:
    """How many files a checkout will have; a few objects can stand for any number of files and bytes.

    Raises:
        WorkspaceError: it would have more than anybody's repository.
    """
    with (folder / ".git" / "index").open("rb") as file:
        count = int.from_bytes(file.read(12)[8:], "big")
    if count > MAX_FILES:
        raise WorkspaceError(f"the tree has {count} files; at most {MAX_FILES} are checked out")
    blobs = Counter(
        line[7:].partition(b" ")[0] for line in run_git([*ours, "ls-files", "-sz"], cwd=folder).split(b"\0")
    )
    names = [name for name in blobs if name]
    query = ["cat-file", "--batch-check=%(objectsize)"]
    sizes = run_git([*ours, *query], cwd=folder, stdin=b"".join(name + b"\n" for name in names)).split(b"\n")
    total = sum(blobs[name] * int(size) for name, size in zip(names, sizes, strict=False) if size.isdigit())
    if total > MAX_BYTES:
        raise WorkspaceError(f"the tree's files have {total} bytes; at most {MAX_BYTES} are checked out")
    return count


def _copy_objects(source: Source, folder: Path, ours: list[str]) -> str:
    """Bring the commit's tree over and commit it anew; the new commit's id.

    Their folder of objects may claim anything: the commit's and every object's id are computed from what they hold.

    Raises:
        WorkspaceError: an object is missing, or is not the one that its id names.
    """
    theirs = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": quoted(source.objects)}
    raw = run_git([*ours, "cat-file", "commit", source.commit], cwd=folder, env=theirs)
    digest = hashlib.sha256 if len(source.commit) == 64 else hashlib.sha1
    if digest(b"commit %d\0" % len(raw) + raw).hexdigest() != source.commit:
        raise WorkspaceError(f"{source.objects} is damaged: what it holds as commit {source.commit} is another one")
    tree = raw.partition(b"\n")[0].removeprefix(b"tree ").decode("ascii")
    packs = folder / ".git" / "objects" / "pack"
    packs.mkdir(exist_ok=True)
    # no deltas and nothing taken over as it is packed there: the same pack from every clone
    pack = [*ours, "pack-objects", "--revs", "--window=0", "--no-reuse-object", "--compression=1", "--index-version=2"]
    try:
        name = run_git([*pack, "-q", str(packs / "pack")], cwd=folder, stdin=tree.encode() + b"\n", env=theirs)
    except WorkspaceError as error:
        raise WorkspaceError(
            f"{error}; where {source.objects} belongs to a partial clone, fetch what is missing first: "
            "`git fetch --refetch --no-filter`"
        ) from error
    run_git([*ours, "index-pack", "--verify", str(packs / f"pack-{name.decode().strip()}.pack")], cwd=folder)
    root = run_git([*ours, "commit-tree", tree, "-m", "base"], cwd=folder, env=_IDENTITY).decode().strip()
    (folder / ".git" / "refs" / "heads" / "main").write_text(root + "\n", encoding="ascii")
    return root


def _level(folder: Path) -> None:
    """The same modes and times for everyone, and readable for the uid that a box has on the host."""
    for top, folders, files in os.walk(folder, topdown=False):
        for name in files + folders:
            settle(Path(top, name), MTIME)
