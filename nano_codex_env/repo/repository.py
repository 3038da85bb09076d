"""Read a repository on this machine without its configuration, which could make git run programs.

A repository's own configuration can name programs (filters, a monitor of files, a remote's transport) that git starts
even when it only reads. So git never runs on a repository that a task names, but on a *view*: a temporary git directory
with a configuration of our own that borrows the repository's refs, index and objects. Of its configuration, only the
settings in `_SAFE`, which decide how files are compared, are copied.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from nano_codex_env.cache import temporary_folder
from nano_codex_env.errors import WorkspaceError, advice_for
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
"""Settings that are copied, with their allowed values."""

_LARGEST = 16 << 20
"""Bytes of the largest file in a git directory that is read or copied."""

_MOST = 1000
"""Submodules that are looked at, including nested ones."""

QUICK, STATUS = 60.0, 300.0
"""Seconds for a command that reads a few refs, and for one that looks at each file of a checkout."""


@dataclass(frozen=True)
class Repository:
    """The paths of a repository's parts, found without running git."""

    path: Path
    git_dir: Path
    """HEAD and the index of this work tree."""
    common: Path
    """Refs, objects and configuration, which several work trees share."""
    settings: Mapping[str, str]
    """Those of `_SAFE` that it has."""
    is_bare: bool


def locate(path: Path) -> Repository:
    """The repository whose root is the folder `path`.

    Raises:
        WorkspaceError: it is not a repository, or is a folder inside one.
    """
    git_dir = _git_dir(path)
    if git_dir is None:
        above = next((folder for folder in Path(os.path.realpath(path)).parents if _git_dir(folder)), None)
        if above is not None:
            raise WorkspaceError(f"{path} is a folder inside the repository {above}; give the repository's root")
        raise WorkspaceError(f"{path} is not a git repository; run `git init` and commit, or give another path")
    common = _common(git_dir)
    settings: dict[str, str] = {}
    for file in (common / "config", git_dir / "config.worktree"):
        if text := _read(file):
            settings |= _safe(_configuration("--no-includes", "--file", "-", stdin=text))
    bare = settings.get("core.bare") in _TRUE and common == git_dir
    return Repository(path, git_dir, common, settings, bare or git_dir == path)


def _git_dir(path: Path) -> Path | None:
    """The git directory of the work tree, or of the bare repository, at `path`."""
    link = path / ".git"
    if os.path.isfile(link):
        link = path / _text(link).removeprefix("gitdir:").strip("\r\n ")
    for candidate in (link, path):
        head = os.path.isfile(candidate / "HEAD") or os.path.islink(candidate / "HEAD")  # old git made it a link
        if head and (os.path.isdir(candidate / "objects") or os.path.isfile(candidate / "commondir")):
            return candidate
    return None


def _common(git_dir: Path) -> Path:
    shared = _text(git_dir / "commondir").rstrip("\n")
    return Path(os.path.realpath(git_dir / shared)) if shared else git_dir


def folders_at(path: Path) -> tuple[Path, ...]:
    """The folders that hold objects of the repository at `path`: its own, and those that it borrows from."""
    found, git_dir = [path], _git_dir(path)
    if git_dir is not None:
        common = _common(git_dir)
        owner = common.parent if common.name == ".git" else common
        borrowed = [common / "objects" / line for line in _text(common / "objects/info/alternates").splitlines()]
        found += [git_dir, common, owner, *(folder for folder in borrowed if str(folder).strip())]
    return tuple(Path(os.path.realpath(folder)) for folder in found)


def _text(path: Path) -> str:
    """A file's text without NUL, which no path can hold; empty where there is none."""
    return os.fsdecode(_read(path)).replace("\0", "")


def _read(path: Path) -> bytes:
    """The content of a regular file; empty where there is none."""
    try:
        with open_regular(path) as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        if advice := advice_for(error):
            raise WorkspaceError(f"cannot read {path}: {error}{advice}") from error
        return b""
    if len(data) > _LARGEST:
        raise WorkspaceError(f"{path} has more than {_LARGEST} bytes")
    return data


def _configuration(*source: str, stdin: bytes = b"", as_user: bool = False) -> dict[str, str]:
    """The settings that `git config` lists; it runs in an empty folder, so that it reads no repository's."""
    with temporary_folder() as folder:
        command = ["config", "-z", *source, "--list"]
        listed = run_git(command, cwd=Path(folder), stdin=stdin, as_user=as_user, timeout=QUICK)
    entries = (os.fsdecode(entry).partition("\n") for entry in listed.split(b"\0"))
    return {name.lower(): value if given else "true" for name, given, value in entries}


def _safe(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: value.lower() for name, value in settings.items() if value.lower() in _SAFE.get(name, ())}


@contextmanager
def view(repository: Repository) -> Iterator[Path]:
    """A temporary bare git directory of our own with the repository's refs and objects."""
    with temporary_folder() as folder:
        ours, common = Path(folder), repository.common
        _check_files(common)
        head = repository.git_dir / "HEAD"
        target = os.readlink(head) if os.path.islink(head) else ""
        (ours / "HEAD").write_bytes(os.fsencode(f"ref: {target}\n") if target.startswith("refs/") else _read(head))
        for name in ("objects/info", "info"):
            (ours / name).mkdir(parents=True)
        (ours / "objects" / "info" / "alternates").write_bytes(os.fsencode(quoted(common / "objects")) + b"\n")
        for name in ("refs", "packed-refs", "reftable"):
            if (common / name).is_dir() or (common / name).is_file():  # not a pipe, which git would wait for
                (ours / name).symlink_to((common / name).absolute())
        (ours / "refs").mkdir(exist_ok=True)
        lines = ["[core]\n\trepositoryformatversion = 1\n"]
        for name, value in repository.settings.items():
            section, _, key = name.partition(".")
            if name != "core.bare":
                lines.append(f"[{section}]\n\t{key} = {_quoted(value)}\n")
        (ours / "config").write_bytes(os.fsencode("".join(lines)))
        (ours / "info" / "attributes").write_text("* -filter\n", encoding="ascii")
        (ours / "info" / "exclude").write_bytes(_read(common / "info" / "exclude"))
        yield ours


def _check_files(common: Path) -> None:
    """Refuse a pipe or a device among refs and packs: git would wait for ever, or fill the memory."""
    left = [common / name for name in ("refs", "reftable", "packed-refs", "objects/info", "objects/pack")]
    while left:
        path = left.pop()
        if os.path.isdir(path) and not os.path.islink(path):
            left += [Path(entry.path) for entry in os.scandir(path)]
        elif os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
            raise WorkspaceError(f"{path} is not a regular file; git makes no such repository")


def quoted(path: Path) -> str:
    """A path in git's list of object folders, where colons and line breaks separate entries."""
    return _quoted(str(path.absolute()))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def changes(repository: Repository) -> list[str]:
    """The paths that differ from the commit, including those in submodules; empty for a bare repository.

    Filters are not run: a file that is stored through one (Git LFS) counts as changed once git has to read it.
    """
    if repository.is_bare:
        return []
    listed = _configuration("--includes", as_user=True)  # the user is trusted
    user = {name: value for name, value in _safe(listed).items() if not name.startswith("extensions.")}
    user |= {name: listed[name] for name in ("core.excludesfile",) if name in listed}
    found: list[str] = []
    left, seen = [(repository, "")], set[str]()
    while left:
        repository, prefix = left.pop(0)
        path = repository.path
        if os.path.realpath(path) in seen:
            continue
        seen.add(os.path.realpath(path))
        if len(seen) > _MOST:
            raise WorkspaceError(f"{path}: there are more than {_MOST} submodules, including nested ones")
        with view(replace(repository, settings={**user, **repository.settings})) as ours:
            for index in (repository.git_dir / "index", *repository.git_dir.glob("sharedindex.*")):
                if index.is_file():
                    (ours / index.name).symlink_to(index.absolute())
            git = [f"--git-dir={ours}", f"--work-tree={path.absolute()}"]
            status = [*git, "status", "--porcelain", "-z", "--ignore-submodules=dirty"]
            changed = run_git(status, cwd=path, timeout=STATUS).decode("utf-8", "backslashreplace")
            staged = run_git([*git, "ls-files", "--stage", "-z"], cwd=path, timeout=STATUS).split(b"\0")
        entries = iter(changed.split("\0"))
        found += [prefix + entry[3:] for entry in entries if entry and (entry[0] not in "RC" or next(entries, ""))]
        for entry in staged:
            name = os.fsdecode(entry.partition(b"\t")[2])
            if entry.startswith(b"160000 ") and (path / name / ".git").exists():
                left.append((locate(path / name), f"{prefix}{name}/"))
    return found
