"""The hidden tests by content: what the test patch makes of the base, worked out on the host from trusted input."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from nano_codex_env.cache import disk_errors
from nano_codex_env.diff import File, read_patch, split
from nano_codex_env.errors import RewardError, WorkspaceError
from nano_codex_env.git_command import run_git
from nano_codex_env.task import Task
from nano_codex_env.tasks.trees import file_at, put_file

Files = Mapping[str, File | None]
"""Path -> file, or None for one that the hidden tests remove."""


def hidden_files(task: Task, base: Path) -> Files:
    """The files that the task's test patch changes, as they are after it.

    Raises:
        RewardError: the patch does not apply to the base, or names a path outside of the repository.
    """
    return _hidden(task.instance_id, base, task.test_patch)


@lru_cache(maxsize=256)
def _hidden(name: str, base: Path, patch: str) -> Files:
    patch = read_patch(patch)
    parts = split(patch)
    paths = list(dict.fromkeys(path for part in parts for path in part.paths))
    if outside := [path for path in paths if path.startswith("/") or ".." in path.split("/") or "\0" in path]:
        raise RewardError(f"{name}: the hidden tests name a path outside of the repository: {outside[0]!r:.200}")
    with disk_errors("laying out hidden tests"), tempfile.TemporaryDirectory(prefix="nano-codex-") as folder:
        root = Path(folder)
        before = {path: file_at(base, path) for path in paths}
        for path, file in before.items():
            if file:
                put_file(root / path, file)
        try:
            if patch.strip():
                run_git(["apply", "--whitespace=nowarn", "-"], cwd=root, stdin=patch.encode("utf-8", "surrogateescape"))
        except WorkspaceError as error:
            raise RewardError(f"{name}: the hidden tests do not apply to the base: {error}") from error
        after = {path: file_at(root, path) for path in paths}
    same = [part.paths[-1] for part in parts if all(before[path] == after[path] for path in part.paths)]
    if same:
        raise RewardError(
            f"{name}: the hidden tests do not apply to the base: git left {', '.join(same[:3])} unchanged"
        )
    return after
