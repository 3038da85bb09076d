"""From what a task calls its repository to a folder of objects on this machine that holds the commit."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from nano_codex_env.cache import locked, publish
from nano_codex_env.errors import WorkspaceError
from nano_codex_env.git import run_git
from nano_codex_env.repo.repository import QUICK, Repository, changes, folders_at, locate, view
from nano_codex_env.untrusted import for_terminal

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A repository at a commit: where its objects are, and the commit's full id."""

    objects: Path
    commit: str


def is_full_id(commit: str) -> bool:
    """Whether `commit` names a commit by its whole SHA-1 or SHA-256."""
    return len(commit) in (40, 64) and all(char in "0123456789abcdef" for char in commit)


def is_local(repo: str) -> bool:
    """Whether `repo` is a path: it exists, or is written like one."""
    return repo.startswith(("/", "./", "../", "~")) or (bool(repo) and os.path.exists(repo))


def folders_of(repo: str) -> tuple[Path, ...]:
    """The folders on this machine that hold a repository, and so its future; none for one elsewhere."""
    path = local_path(repo) if is_local(repo) else _path_of_url(repo)
    return folders_at(path) if path else ()


def local_path(repo: str) -> Path:
    """The path that a local repository's name stands for."""
    return Path(os.path.expanduser(repo)).absolute()


def _path_of_url(url: str) -> Path | None:
    """The folder that a `file:` URL names; None for another URL.

    Raises:
        WorkspaceError: it names another host.
    """
    scheme, slashes, rest = url.partition("://")
    if scheme.lower() != "file" or not slashes:
        return None
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise WorkspaceError(f"{url!r:.300} names no folder of this machine; a file URL is file:///path")
    return Path("/" + unquote(path))


def find(repo: str, commit: str, cache: Path) -> Source:
    """The repository's objects and the full id of `commit` (empty: HEAD), cloned into the cache where it is remote.

    Raises:
        WorkspaceError: it is no repository, is dirty, cannot be cloned, or has no such commit.
    """
    if commit.startswith(("-", "^")) or not _is_revision(commit):
        raise WorkspaceError(f"{commit!r:.300} is no commit; give a full commit id")
    if is_local(repo):
        return _find_local(local_path(repo), commit)
    url = repo if "://" in repo or "@" in repo else _github(repo)
    mirror, is_new = _mirror(url, cache)
    if not is_new and not (is_full_id(commit) and _has(mirror, commit)):
        _fetch(mirror, url, commit or "HEAD")
    return _resolve(locate(mirror), commit or "HEAD", repo)


def _is_revision(commit: str) -> bool:
    """Whether it can name a commit; a search through messages (`:/`, `^{/`) would run anybody's regular expression."""
    return len(commit) <= 500 and commit.isprintable() and ":" not in commit and "{/" not in commit


def _has(mirror: Path, commit: str) -> bool:
    try:
        _resolve(locate(mirror), commit, "")
    except WorkspaceError:
        return False
    return True


def _fetch(mirror: Path, url: str, commit: str) -> None:
    """Bring a mirror up to date; where that fails, what it has may do, which is said."""
    logger.info("fetching %s for %s", url, commit)
    try:
        with locked(mirror.with_name(mirror.name + ".lock")):
            _transfer(url, mirror, ["fetch", "--quiet", "--prune"], ["+refs/*:refs/*"])
    except WorkspaceError as error:
        if not _has(mirror, commit):
            raise WorkspaceError(f"cannot fetch {url} for {commit}: {error}") from error
        words = f"{url} cannot be fetched, so {commit} is what it was at the last fetch: {error}"
        logger.warning("%s", for_terminal(words))


def _transfer(url: str, folder: Path, command: list[str], rest: list[str]) -> None:
    """Clone or fetch; a repository on this machine through a view of it, since git would run what its own names."""
    path = _path_of_url(url)
    if path is None:
        run_git([*command, "--", url, *rest], cwd=folder, network=True)
        return
    if not os.path.isdir(path):
        raise WorkspaceError(f"there is no folder {path!s:.300}")
    with view(locate(path)) as theirs:
        run_git([*command, "--", f"file://{theirs}", *rest], cwd=folder, network=True)


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
            _transfer(url, folder, ["clone", "--quiet", "--mirror", "--template="], [str(folder)])
        except WorkspaceError as error:
            raise WorkspaceError(
                f"cannot clone {url}: {error}; check the name and the network, or give the path of a clone"
            ) from error

    is_new = not path.exists()
    return publish(path, clone), is_new


def _find_local(path: Path, commit: str) -> Source:
    if not os.path.isdir(path):
        raise WorkspaceError(f"there is no folder {path!s:.300}; give a git repository's path, a URL or owner/name")
    repository = locate(path)
    if not is_full_id(commit):
        _refuse_dirty(path, changes(repository))
    return _resolve(repository, commit or "HEAD", str(path))


def _refuse_dirty(path: Path, changed: list[str]) -> None:
    """An episode starts from a commit: what is not committed would silently be missing from it."""
    if changed:
        shown = ", ".join(changed[:5]) + (" ..." if len(changed) > 5 else "")
        raise WorkspaceError(
            f"{path} is dirty: {len(changed)} uncommitted change(s) ({shown}); commit or stash them, "
            "or name a commit by its full id"
        )


def _resolve(repository: Repository, commit: str, repo: str) -> Source:
    with view(repository) as ours:
        arguments = [f"--git-dir={ours}", "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"]
        try:
            found = run_git(arguments, cwd=ours, timeout=QUICK).decode().strip()
        except WorkspaceError as error:
            if commit == "HEAD":
                raise WorkspaceError(f"{repo} has no commit yet; commit something first") from error
            raise WorkspaceError(f"{repo} has no commit {commit}; check the id, or fetch it first") from error
    return Source((repository.common / "objects").absolute(), found)
