"""From what a task calls its repository to a git directory on this machine that holds the commit."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from nano_codex_env.cache import locked, publish
from nano_codex_env.errors import WorkspaceError
from nano_codex_env.git_command import run_git

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A repository at a commit: where its objects are, and the commit's full id."""

    git_dir: Path
    commit: str


def is_full_id(commit: str) -> bool:
    """Whether `commit` names a commit by its whole SHA-1 or SHA-256."""
    return len(commit) in (40, 64) and all(char in "0123456789abcdef" for char in commit)


def is_local(repo: str) -> bool:
    """Whether `repo` is a path: it exists, or is written like one."""
    return repo.startswith(("/", "./", "../", "~")) or (bool(repo) and Path(repo).exists())


def find(repo: str, commit: str, cache: Path) -> Source:
    """The repository's objects and the full id of `commit` (empty: HEAD), cloned into the cache where it is remote.

    Raises:
        WorkspaceError: it is no repository, is dirty, cannot be cloned, or has no such commit.
    """
    if commit.startswith(("-", "^")) or "\0" in commit:
        raise WorkspaceError(f"{commit!r} is no commit; give a full commit id")
    if is_local(repo):
        return _find_local(Path(repo).expanduser().absolute(), commit)
    url = repo if "://" in repo or "@" in repo else _github(repo)
    mirror, is_new = _mirror(url, cache)
    if not is_new and not (is_full_id(commit) and _has(mirror, commit)):
        _fetch(mirror, url, commit or "HEAD")
    return Source(mirror, _resolve(mirror, commit or "HEAD", repo))


def _has(mirror: Path, commit: str) -> bool:
    try:
        _resolve(mirror, commit, "")
    except WorkspaceError:
        return False
    return True


def _fetch(mirror: Path, url: str, commit: str) -> None:
    """Bring a mirror up to date; where that fails, what it has may do, which is said."""
    logger.info("fetching %s for %s", url, commit)
    try:
        with locked(mirror.with_name(mirror.name + ".lock")):
            run_git(["fetch", "--quiet", "--prune"], cwd=mirror, as_user=True)
    except WorkspaceError as error:
        if not _has(mirror, commit):
            raise
        logger.warning("%s cannot be fetched, so %s is what it was at the last fetch: %s", url, commit, error)


def _github(repo: str) -> str:
    owner, _, name = repo.partition("/")
    if not owner or not name or "/" in name or any(char.isspace() for char in repo):
        raise WorkspaceError(
            f"{repo!r} is no repository: there is no such folder, and it is neither owner/name nor a URL"
        )
    return f"https://github.com/{owner}/{name}"


def _mirror(url: str, cache: Path) -> tuple[Path, bool]:
    """The clone of `url` in the cache, and whether it was made just now."""
    name = "".join(char if char.isalnum() else "-" for char in url.partition("://")[2] or url).strip("-")
    path = cache / "mirrors" / f"{name[-60:]}-{hashlib.sha256(url.encode()).hexdigest()[:12]}.git"

    def clone(folder: Path) -> None:
        logger.info("cloning %s into %s", url, path)
        try:
            run_git(["clone", "--quiet", "--mirror", "--", url, str(folder)], cwd=folder, as_user=True)
        except WorkspaceError as error:
            raise WorkspaceError(
                f"cannot clone {url}: {error}; check the name and the network, or give the path of a clone"
            ) from error

    is_new = not path.exists()
    return publish(path, clone), is_new


def _find_local(path: Path, commit: str) -> Source:
    if not path.is_dir():
        raise WorkspaceError(f"there is no folder {path}; give a git repository's path, a URL or owner/name")
    bare, git_dir = _look_inside(path)
    above = b"" if bare else run_git(["rev-parse", "--show-cdup"], cwd=path, as_user=True, above=True).strip()
    if above:
        top = (path / above.decode()).resolve()
        raise WorkspaceError(f"{path} is a folder inside the repository {top}; give the repository's root")
    if not bare and not is_full_id(commit):
        _refuse_dirty(path)
    return Source(git_dir, _resolve(git_dir, commit or "HEAD", str(path)))


def _look_inside(path: Path) -> tuple[bool, Path]:
    """Whether the repository at `path` is bare, and its git directory, whose name may hold anything."""
    try:
        where = ["rev-parse", "--is-bare-repository", "--absolute-git-dir"]
        said = run_git(where, cwd=path, as_user=True, above=True)  # a folder inside a repository is told from none
    except WorkspaceError as error:
        if "not a git repository" not in str(error):
            raise
        raise WorkspaceError(
            f"{path} is not a git repository; run `git init` and commit, or give another path"
        ) from error
    bare, _, git_dir = said.partition(b"\n")
    return bare == b"true", Path(os.fsdecode(git_dir.removesuffix(b"\n")))


def _refuse_dirty(path: Path) -> None:
    """An episode starts from a commit: what is not committed would silently be missing from it."""
    status = ["status", "--porcelain", "--ignore-submodules=none"]
    changed = run_git(status, cwd=path, as_user=True).decode("utf-8", "backslashreplace").splitlines()
    if changed:
        shown = ", ".join(line[3:] for line in changed[:5]) + (" ..." if len(changed) > 5 else "")
        raise WorkspaceError(
            f"{path} is dirty: {len(changed)} uncommitted change(s) ({shown}); commit or stash them, "
            "or name a commit by its full id"
        )


def _resolve(git_dir: Path, commit: str, repo: str) -> str:
    arguments = [f"--git-dir={git_dir}", "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"]
    try:
        return run_git(arguments, cwd=git_dir).decode().strip()
    except WorkspaceError as error:
        if commit == "HEAD":
            raise WorkspaceError(f"{repo} has no commit yet; commit something first") from error
        raise WorkspaceError(f"{repo} has no commit {commit}; check the id, or fetch it first") from error
