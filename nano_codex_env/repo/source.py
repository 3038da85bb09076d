"""Find a task's repository: a folder of objects on this machine that holds its commit."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from nano_codex_env.cache import locked, publish
from nano_codex_env.errors import WorkspaceError
from nano_codex_env.git import GitDidNotRunError, run_git
from nano_codex_env.repo.repository import QUICK, Repository, changes, folders_at, locate, view
from nano_codex_env.untrusted import for_terminal

IMAGE = "docker://"
"""What `repo` begins with where only a container image holds the tree (R2E-Gym)."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A folder of objects, and the full id of a commit in it."""

    objects: Path
    commit: str


def is_full_id(commit: str) -> bool:
    """Whether `commit` is a whole SHA-1 or SHA-256."""
    return len(commit) in (40, 64) and all(char in "0123456789abcdef" for char in commit)


def local_path(repo: str) -> Path | None:
    """The path of a repository, where `repo` exists or is written like a path; else None."""
    if repo.startswith(("/", "./", "../", "~")) or (repo and os.path.exists(repo)):
        return Path(os.path.expanduser(repo)).absolute()
    return None


def _path_of_url(url: str) -> Path | None:
    """The folder of a `file:` URL of this machine; None for any other URL."""
    scheme, slashes, rest = url.partition("://")
    if scheme.lower() != "file" or not slashes:
        return None
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise WorkspaceError(f"{url!r:.300} names no folder of this machine; a file URL is file:///path")
    return Path("/" + unquote(path))


def repository_folders(repo: str) -> tuple[Path, ...]:
    """The folders on this machine that hold the repository's objects, and so the solution; none if it is remote."""
    path = local_path(repo) or _path_of_url(repo)
    return folders_at(path) if path else ()


def find(repo: str, commit: str, cache: Path) -> Source:
    """The repository's objects and the full id of `commit` (empty: HEAD); a remote repository is cloned to the cache.

    Raises:
        WorkspaceError: it is not a repository, is dirty, cannot be cloned, or has no such commit.
    """
    # `:/` and `^{/` search through messages by a regular expression, which a row could make as slow as it likes
    is_plain = len(commit) <= 500 and commit.isprintable() and ":" not in commit and "{/" not in commit
    if not is_plain or commit.startswith(("-", "^")):
        raise WorkspaceError(f"{commit!r:.300} is no commit; give a full commit id")
    if repo.startswith(IMAGE):
        raise WorkspaceError(
            f"its tree is in the container image {repo.removeprefix(IMAGE)!s:.300}, and images cannot be used yet; "
            "take tasks of a dataset with repositories, or give a task the path of a repository"
        )
    path = local_path(repo)
    if path is None:
        mirror = _mirror(repo, commit, cache)
        return _resolve(locate(mirror), commit, repo)
    if not os.path.isdir(path):
        raise WorkspaceError(f"there is no folder {path!s:.300}; give a git repository's path, a URL or owner/name")
    repository = locate(path)
    if not is_full_id(commit) and (changed := changes(repository)):
        shown = ", ".join(changed[:5]) + (" ..." if len(changed) > 5 else "")
        raise WorkspaceError(  # uncommitted changes would silently be missing from the episode
            f"{path} is dirty: {len(changed)} uncommitted change(s) ({shown}); commit or stash them, "
            "or name a commit by its full id"
        )
    return _resolve(repository, commit, str(path))


def _resolve(repository: Repository, commit: str, repo: str) -> Source:
    with view(repository) as ours:
        revision = f"{commit or 'HEAD'}^{{commit}}"
        arguments = [f"--git-dir={ours}", "rev-parse", "--verify", "--quiet", revision]
        try:
            found = run_git(arguments, cwd=ours, timeout=QUICK).decode().strip()
        except GitDidNotRunError:
            raise
        except WorkspaceError as error:
            if commit in ("", "HEAD"):
                raise WorkspaceError(f"{repo} has no commit yet; commit something first") from error
            raise WorkspaceError(f"{repo} has no commit {commit}; check the id, or fetch it first") from error
    return Source((repository.common / "objects").absolute(), found)


def _mirror(repo: str, commit: str, cache: Path) -> Path:
    """The clone of `repo` in the cache, fetched again unless it has the full id `commit`.

    Where the fetch fails, what the clone has may be enough, and a warning is logged.
    """
    is_url = "://" in repo or "@" in repo
    if not is_url and not re.fullmatch(r"[^/\s]+/[^/\s]+", repo):
        raise WorkspaceError(
            f"{repo!r} is no repository: there is no such folder, and it is neither owner/name nor a URL"
        )
    url = repo if is_url else f"https://github.com/{repo}"
    name = "".join(char if char.isalnum() else "-" for char in url.partition("://")[2] or url).strip("-")
    path = cache / "mirrors" / f"{name[-60:]}-{hashlib.sha256(url.encode()).hexdigest()[:12]}.git"

    def clone(folder: Path) -> None:
        logger.info("cloning %s into %s", url, path)
        try:
            _transfer(url, folder, ["clone", "--quiet", "--mirror", "--template="], [str(folder)])
        except WorkspaceError as error:
            raise WorkspaceError(
                f"cannot clone {url}: {error}; check the name and the network, or give the path of a clone (repos=)"
            ) from error

    is_new = not path.exists()
    publish(path, clone)
    if is_new or (is_full_id(commit) and _has(path, commit)):
        return path
    wanted = commit or "HEAD"
    logger.info("fetching %s for %s", url, wanted)
    try:
        with locked(path.with_name(path.name + ".lock")):
            _transfer(url, path, ["fetch", "--quiet", "--prune"], ["+refs/*:refs/*"])
    except WorkspaceError as error:
        if not _has(path, wanted):
            raise WorkspaceError(f"cannot fetch {url} for {wanted}: {error}") from error
        warning = f"{url} cannot be fetched, so {wanted} is what it was at the last fetch: {error}"
        logger.warning("%s", for_terminal(warning))
    return path


def _has(mirror: Path, commit: str) -> bool:
    try:
        _resolve(locate(mirror), commit, "")
    except GitDidNotRunError:
        raise
    except WorkspaceError:
        return False
    return True


def _transfer(url: str, folder: Path, command: list[str], rest: list[str]) -> None:
    """Clone or fetch; a repository on this machine through a view, since git would run programs that it names."""
    path = _path_of_url(url)
    if path is None:
        run_git([*command, "--", url, *rest], cwd=folder, network=True)
        return
    if not os.path.isdir(path):
        raise WorkspaceError(f"there is no folder {path!s:.300}")
    with view(locate(path)) as theirs:
        run_git([*command, "--", f"file://{theirs}", *rest], cwd=folder, network=True)
