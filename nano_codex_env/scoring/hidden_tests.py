"""The contents of the hidden tests: the test patch applied to the base, on the host, without input of the policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from nano_codex_env.cache import disk_errors, temporary_folder
from nano_codex_env.diff import File, FilePatch, normalize_patch, split
from nano_codex_env.errors import RewardError, WorkspaceError
from nano_codex_env.git import GitDidNotRunError, init_work_tree, run_git
from nano_codex_env.tasks.task import Task
from nano_codex_env.tasks.trees import file_at, put_file

Files = Mapping[str, File | None]
"""Path -> file, or None for one that the hidden tests remove."""


def hidden_files(task: Task, base: Path) -> Files:
    """The files that the task's test patch changes, as they are after it.

    Raises:
        RewardError: the patch does not apply to the base, or names a path outside of the repository.
    """
    return _hidden_files(task.instance_id, base, task.test_patch)


@lru_cache(maxsize=256)
def _hidden_files(name: str, base: Path, patch: str) -> Files:
    parts = [part for part in split(normalize_patch(patch)) if not _is_submodule(part)]
    paths = list(dict.fromkeys(path for part in parts for path in part.paths))
    if found := outside(paths):
        raise RewardError(f"{name}: the hidden tests name a path outside of the repository: {found[0]!r:.200}")
    text = "".join(part.text for part in parts).encode("utf-8", "surrogateescape")
    with disk_errors("laying out hidden tests", "TMPDIR"), temporary_folder() as root:
        before = {path: file_at(base, path) for path in paths}
        for parent in {parent for path in paths for parent in Path(path).parents}:
            attributes = str(parent / ".gitattributes")  # how lines end
            if (file := file_at(base, attributes)) and not file.is_link:
                put_file(root / attributes, file)
        for path, file in before.items():
            if file:
                put_file(root / path, file)
        try:
            if text.strip():
                init_work_tree(root)
                run_git(["apply", "--whitespace=nowarn", "-"], cwd=root, stdin=text)
        except GitDidNotRunError:
            raise
        except WorkspaceError as error:
            raise RewardError(f"{name}: the hidden tests do not apply to the base: {error}") from error
        after = {path: file_at(root, path) for path in paths}
    same = [part.paths[-1] for part in parts if all(before[path] == after[path] for path in part.paths)]
    if same:
        raise RewardError(
            f"{name}: the hidden tests do not apply to the base: git left {', '.join(same[:3])} unchanged"
        )
    return after


def outside(paths: Iterable[str]) -> list[str]:
    """Those of `paths` that do not lie in the repository."""
    return [path for path in paths if path.startswith("/") or ".." in path.split("/") or "\0" in path]


def _is_submodule(part: FilePatch) -> bool:
    """Whether a part changes the commit of a submodule; base trees do not hold submodules."""
    header = part.text.partition("\n@@ ")[0].split("\n")
    modes = ("new file mode 160000", "deleted file mode 160000")
    return any(line in modes or (line.startswith("index ") and line.endswith(" 160000")) for line in header)
