"""The hidden tests by content: what the test patch makes of the base, worked out on the host from trusted input."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from nano_codex_env.cache import disk_errors
from nano_codex_env.diff import read_patch, split
from nano_codex_env.errors import RewardError, WorkspaceError
from nano_codex_env.git_command import run_git
from nano_codex_env.task import Task

Files = Mapping[str, tuple[bytes, bool] | None]
"""Path -> (content, whether it is executable), or None for a file that the hidden tests remove."""


def hidden_files(task: Task, base: Path) -> Files:
    """The files that the task's test patch changes, as they are after it.

    Raises:
        RewardError: the patch does not apply to the base.
    """
    return _hidden(task.instance_id, base, task.test_patch)


@lru_cache(maxsize=256)
def _hidden(name: str, base: Path, patch: str) -> Files:
    patch = read_patch(patch)
    parts = split(patch)
    paths = list(dict.fromkeys(path for part in parts for path in part.paths))
    with disk_errors("laying out hidden tests"), tempfile.TemporaryDirectory(prefix="nano-codex-") as folder:
        root = Path(folder)
        for path in paths:
            source, target = base / path, root / path
            if source.is_file() and not source.is_symlink() and source.resolve().is_relative_to(base.resolve()):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read_bytes())
                target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)
        before = {path: _read(root / path) for path in paths}
        try:
            if patch.strip():
                run_git(["apply", "--whitespace=nowarn", "-"], cwd=root, stdin=patch.encode("utf-8", "surrogateescape"))
        except WorkspaceError as error:
            raise RewardError(f"{name}: the hidden tests do not apply to the base: {error}") from error
        after = {path: _read(root / path) for path in paths}
    same = [part.paths[-1] for part in parts if all(before[path] == after[path] for path in part.paths)]
    if same:
        raise RewardError(
            f"{name}: the hidden tests do not apply to the base: git left {', '.join(same[:3])} unchanged"
        )
    return after


def _read(path: Path) -> tuple[bytes, bool] | None:
    return (path.read_bytes(), bool(path.stat().st_mode & 0o100)) if path.is_file() else None
