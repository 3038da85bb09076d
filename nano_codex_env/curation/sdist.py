"""Read source distributions from the package index as trees."""

from __future__ import annotations

import importlib.util
import os
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from nano_codex_env.cache import publish
from nano_codex_env.diff import File
from nano_codex_env.errors import TaskError, WorkspaceError
from nano_codex_env.spawn import run
from nano_codex_env.tasks.trees import Tree

_LIMIT = 1800.0
"""Seconds that a download may take."""


def sdist_tree(package: str, version: str, cache: Path) -> Tree:
    """The files of a release's source distribution, without those that packaging adds.

    Raises:
        WorkspaceError: pip is missing, or cannot download it.
        TaskError: the name or the version is invalid, or the release has no readable source distribution.
    """
    try:
        package, version = Requirement(package).name, str(Version(version))
    except ValueError as error:
        raise TaskError(f"give a package's name and a version; got {package!r} and {version!r}: {error}") from error
    folder = publish(cache / "sdists" / f"{package}-{version}", lambda path: _download(package, version, path))
    archives = [path for path in folder.iterdir() if path.name.endswith((".tar.gz", ".tar.bz2", ".tgz", ".zip"))]
    if not archives:
        raise TaskError(f"{package} {version} has no source distribution")
    try:
        return dict(sorted((path, file) for path, file in _members(archives[0]) if not _is_packaging(path)))
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        raise TaskError(f"{archives[0]} cannot be read: {error}") from error


def _download(package: str, version: str, folder: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise WorkspaceError("downloading from the package index needs pip; `python -m ensurepip` installs it")
    script = str(Path(__file__).with_name("download.py"))
    done = run([sys.executable, "-P", script, package, version, str(folder)], env=os.environ, timeout=_LIMIT)
    if done.status != 0:
        message = done.stderr.decode("utf-8", "backslashreplace").strip().splitlines() or [f"exit status {done.status}"]
        late = f"it took more than {_LIMIT:g} seconds: " if done.status is None else ""
        raise WorkspaceError(f"cannot download {package} {version}: {late}{message[-1][-500:]}")


def _members(archive: Path) -> Iterator[tuple[str, File]]:
    """The regular files below an archive's single top folder, read in memory."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                if not entry.is_dir():
                    file = File(opened.read(entry), bool(entry.external_attr >> 22 & 1))
                    yield entry.filename.partition("/")[2], file
        return
    with tarfile.open(archive) as packed:
        for member in packed:
            stream = packed.extractfile(member) if member.isreg() else None
            if stream:
                yield member.name.partition("/")[2], File(stream.read(), bool(member.mode & 0o100))


def _is_packaging(path: str) -> bool:
    unsafe = not path or path.startswith("/") or any(part in ("..", ".git", "") for part in path.split("/"))
    return unsafe or path == "PKG-INFO" or any(part.endswith(".egg-info") for part in path.split("/"))
