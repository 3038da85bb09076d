"""A repository on this machine, read without its configuration: whoever wrote that must not run anything here.

A repository's own configuration can name programs (filters, a monitor of files, a remote's transport) that git starts
while it only looks. So git is never run on a repository that a task names. It is run on a *view*: a temporary git
directory of ours with a configuration of ours, which borrows the repository's refs, index and objects. Of its
configuration only plain settings that decide how files are compared are taken over (`_SAFE`), by their values.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from nano_codex_env.errors import WorkspaceError
from nano_codex_env.git import run_git
from nano_codex_env.untrusted import open_regular

_TRUE = frozenset({"true", "yes", "on", "1"})
_BOOLEAN = _TRUE | {"false", "no", "off", "0", ""}
_SAFE: dict[str, frozenset[str]] = {
    "core.bare": _BOOLEAN,
    "core.filemode": _BOOLEAN,
    "core.symlinks": _BOOLEAN,
    "core.ignorecase": _BOOLEAN,
    "core.precomposeunicode": _BOOLEAN,
    "core.trustctime": _BOOLEAN,
    "core.checkstat": frozenset({"default", "minimal"}),
    "core.autocrlf": _BOOLEAN | {"input"},
    "core.eol": frozenset({"lf", "crlf", "native"}),
    "core.sparsecheckout": _BOOLEAN,
    "core.sparsecheckoutcone": _BOOLEAN,
    "status.showuntrackedfiles": _BOOLEAN | {"normal", "all"},
    "extensions.objectformat": frozenset({"sha256"}),
    "extensions.refstorage": frozenset({"reftable"}),
}
"""Settings that are taken over, with the values that they may have."""

_LARGEST = 16 << 20
"""Bytes of the largest file in a git directory that is read or copied."""

_MOST = 1000
"""Submodules, those of submodules too, that are looked at."""

QUICK, STATUS = 60.0, 300.0
"""Seconds for a command that reads a few refs, and for one that looks at each file of a checkout."""


@dataclass(frozen=True)
class Repository:
    """Where a repository's parts lie; nothing of it was run or interpreted by git."""

    path: Path
    git_dir: Path
    """HEAD and the index: those of this work tree."""
    common: Path
    """Refs, objects and configuration, which several work trees share."""
    settings: Mapping[str, str]
    """Those of `_SAFE` that it has."""
    is_bare: bool


def locate(path: Path) -> Repository:
    """The repository whose root is the folder `path`.

    Raises:
        WorkspaceError: it is none, or a folder inside one.
    """
    git_dir = _git_dir(path)
    if git_dir is None:
        above = next((folder for folder in Path(os.path.realpath(path)).parents if _git_dir(folder)), None)
        if above is not None:
            raise WorkspaceError(f"{path} is a folder inside the repository {above}; give the repository's root")
        raise WorkspaceError(f"{path} is not a git repository; run `git init` and commit, or give another path")
    common = _common(git_dir)
    settings = _settings(common / "config") | _settings(git_dir / "config.worktree")
    bare = settings.get("core.bare") in _TRUE and common == git_dir
    return Repository(path, git_dir, common, settings, bare or git_dir == path)


def _git_dir(path: Path) -> Path | None:
    """The git directory of the work tree, or of the bare repository, at `path`."""
    link = path / ".git"
    if os.path.isfile(link):
        link = path / _text(link).removeprefix("gitdir:").strip("\r\n ")
    for candidate in (link, path):
        head = os.path.isfile(candidate / "HEAD") or os.path.islink(candidate / "HEAD")  # an old one is a link to a ref
        if head and (os.path.isdir(candidate / "objects") or os.path.isfile(candidate / "commondir")):
            return candidate
    return None


def _common(git_dir: Path) -> Path:
    shared = _text(git_dir / "commondir").rstrip("\n")
    return Path(os.path.realpath(git_dir / shared)) if shared else git_dir


def folders_at(path: Path) -> tuple[Path, ...]:
    """The folders in which the objects of the repository at `path` can be read: its own, and those it borrows from."""
    found, git_dir = [path], _git_dir(path)
    if git_dir is not None:
        common = _common(git_dir)
        owner = common.parent if common.name == ".git" else common
        borrowed = [common / "objects" / line for line in _text(common / "objects/info/alternates").splitlines()]
        found += [git_dir, common, owner, *(folder for folder in borrowed if str(folder).strip())]
    return tuple(Path(os.path.realpath(folder)) for folder in found)


def _text(path: Path) -> str:
    """A file's text without NUL, which is in no path; empty where there is none."""
    return os.fsdecode(_read(path)).replace("\0", "")


def _read(path: Path) -> bytes:
    """What a regular file holds; empty where there is none, or something else in its place.

    Raises:
        WorkspaceError: it is too large for what it is.
    """
    try:
        with open_regular(path) as file:
            data = file.read(_LARGEST + 1)
    except OSError:
        return b""
    if len(data) > _LARGEST:
        raise WorkspaceError(f"{path} has more than {_LARGEST} bytes")
    return data


def _settings(file: Path) -> dict[str, str]:
    """The plain settings in a repository's configuration file; what that includes is not read."""
    text = _read(file)
    listed = _listed(["--no-includes", "--file", "-"], stdin=text) if text else {}
    return {name: value.lower() for name, value in listed.items() if value.lower() in _SAFE.get(name, ())}


def _users_settings() -> dict[str, str]:
    """The same ones of the user and the machine, who are trusted, and the user's file of names to ignore."""
    listed = _listed(["--includes"], as_user=True)
    safe = {name: value.lower() for name, value in listed.items() if value.lower() in _SAFE.get(name, ())}
    kept = {name: value for name, value in safe.items() if not name.startswith("extensions.")}
    return kept | {name: listed[name] for name in ("core.excludesfile",) if name in listed}


def _listed(where: list[str], *, stdin: bytes = b"", as_user: bool = False) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="nano-codex-") as folder:  # no repository, so none is read besides
        listed = run_git(
            ["config", "-z", *where, "--list"], cwd=Path(folder), stdin=stdin, as_user=as_user, timeout=QUICK
        )
    entries = (os.fsdecode(entry).partition("\n") for entry in listed.split(b"\0"))
    return {name.lower(): value if given else "true" for name, given, value in entries}


@contextmanager
def view(repository: Repository) -> Iterator[Path]:
    """A bare git directory of ours that shows the repository's refs and objects; gone with the block."""
    with tempfile.TemporaryDirectory(prefix="nano-codex-") as folder:
        made, common = Path(folder), repository.common
        _check_files(common, ("refs", "reftable", "packed-refs", "objects/info", "objects/pack"))
        (made / "HEAD").write_bytes(_head(repository.git_dir / "HEAD"))
        (made / "objects" / "info").mkdir(parents=True)
        (made / "objects" / "info" / "alternates").write_bytes(os.fsencode(quoted(common / "objects")) + b"\n")
        for name in ("refs", "packed-refs", "reftable"):
            if (common / name).is_dir() or (common / name).is_file():  # not a pipe, which would never end
                (made / name).symlink_to((common / name).absolute())
        (made / "refs").mkdir(exist_ok=True)
        (made / "config").write_bytes(os.fsencode(_configuration(repository.settings)))
        (made / "info").mkdir()
        (made / "info" / "attributes").write_text("* -filter\n", encoding="ascii")
        (made / "info" / "exclude").write_bytes(_read(common / "info" / "exclude"))
        yield made


def _head(path: Path) -> bytes:
    """What HEAD says; old versions of git made it a link to a ref."""
    if os.path.islink(path) and (target := os.readlink(path)).startswith("refs/"):
        return os.fsencode(f"ref: {target}\n")
    return _read(path)


def _check_files(common: Path, names: Sequence[str]) -> None:
    """A pipe or a device in the place of a ref or a pack would hold git up for ever, or fill the memory."""
    left = [common / name for name in names]
    while left:
        path = left.pop()
        if os.path.isdir(path) and not os.path.islink(path):
            left += [Path(entry.path) for entry in os.scandir(path)]
        elif os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
            raise WorkspaceError(f"{path} is no regular file; no git makes such a repository")


def quoted(path: Path) -> str:
    """A path in git's list of object folders, where a bare colon or line break would part it."""
    return '"' + str(path.absolute()).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _configuration(settings: Mapping[str, str]) -> str:
    lines = ["[core]\n\trepositoryformatversion = 1"]
    for name, value in settings.items():
        section, _, key = name.partition(".")
        plain = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        if name != "core.bare":
            lines.append(f'[{section}]\n\t{key} = "{plain}"')
    return "\n".join(lines) + "\n"


def changes(repository: Repository) -> list[str]:
    """The paths of a checkout that are not as committed, those in its submodules too; empty for a bare repository.

    Filters are not run: a file that is stored through one (Git LFS) counts as changed once git would have to read it.
    """
    return [] if repository.is_bare else _changes(repository, _users_settings(), "", set())


def _changes(repository: Repository, user: Mapping[str, str], prefix: str, seen: set[str]) -> list[str]:
    place = os.path.realpath(repository.path)
    if place in seen:
        return []
    seen.add(place)
    if len(seen) > _MOST:
        raise WorkspaceError(f"{repository.path}: there are more than {_MOST} submodules, those of submodules included")
    with view(replace(repository, settings={**user, **repository.settings})) as ours:
        for path in (repository.git_dir / "index", *repository.git_dir.glob("sharedindex.*")):
            if path.is_file():
                (ours / path.name).symlink_to(path.absolute())
        git = [f"--git-dir={ours}", f"--work-tree={repository.path.absolute()}"]
        status = [*git, "status", "--porcelain", "-z", "--ignore-submodules=dirty"]
        said = run_git(status, cwd=repository.path, timeout=STATUS).decode("utf-8", "backslashreplace")
        staged = run_git([*git, "ls-files", "--stage", "-z"], cwd=repository.path, timeout=STATUS).split(b"\0")
    entries = iter(said.split("\0"))
    found = [prefix + entry[3:] for entry in entries if entry and (entry[0] not in "RC" or next(entries, ""))]
    for entry in staged:
        name = os.fsdecode(entry.partition(b"\t")[2])
        if entry.startswith(b"160000 ") and (repository.path / name / ".git").exists():
            found += _changes(locate(repository.path / name), user, f"{prefix}{name}/", seen)
    return found
