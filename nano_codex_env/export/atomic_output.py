"""Write an export in one step, and never over something that was not to be replaced."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nano_codex_env.errors import ConfigError


@contextlib.contextmanager
def atomic_output(path: Path, *, force: bool, folder: bool = False) -> Iterator[Path]:
    """A temporary path for a file, or for a folder of tasks; what is written there replaces `path` at the end.

    Raises:
        ConfigError: `path` exists and `force` is not given, it holds something else, or it cannot be written.
    """
    if path.exists():
        if path.is_dir() != folder:
            raise ConfigError(f"{path} is {'a folder' if path.is_dir() else 'a file'}; give another --out")
        if folder and not all((below / "task.toml").is_file() for below in path.iterdir()):
            raise ConfigError(f"{path} holds something else than exported tasks; give another --out")
        is_empty = folder and not any(path.iterdir())
        if not force and not is_empty:
            raise ConfigError(f"{path} already exists; replace it with --force, or give another --out")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
            made = Path(scratch, "new")
            yield made
            if made.is_dir() and path.exists():
                path.replace(Path(scratch, "old"))
            if made.exists():
                made.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error}; give another --out") from error
