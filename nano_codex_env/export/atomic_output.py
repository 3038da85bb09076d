"""Where an export goes: there in one step or not at all, and over nothing that is not to be replaced."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nano_codex_env.errors import ConfigError


@contextlib.contextmanager
def placed(path: Path, *, force: bool, folder: bool = False) -> Iterator[Path]:
    """A place for a file, or a folder of tasks, which becomes `path` at the end if something was made there.

    Raises:
        ConfigError: `path` is there and `force` is not given, it is something else, or it cannot be written.
    """
    _check(path, force, folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
            made, old = Path(scratch, "new"), Path(scratch, "old")
            yield made
            if made.is_dir() and path.exists():
                path.replace(old)
            if made.exists():
                made.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error}; give another --out") from error


def _check(path: Path, force: bool, folder: bool) -> None:
    if not path.exists():
        return
    if path.is_dir() != folder:
        raise ConfigError(f"{path} is {'a folder' if path.is_dir() else 'a file'}; give another --out")
    if folder and not all((below / "task.toml").is_file() for below in path.iterdir()):
        raise ConfigError(f"{path} holds something else than exported tasks; give another --out")
    if not force and not (folder and not any(path.iterdir())):
        raise ConfigError(f"{path} is there already; replace it with --force, or give another --out")


def copy_tree(source: Path, target: Path) -> None:
    """The files of a base tree without its `.git`."""
    shutil.copytree(
        source, target, symlinks=True, ignore=lambda folder, names: {".git"} if folder == str(source) else ()
    )
