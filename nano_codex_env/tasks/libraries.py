"""The bundled tasks: small libraries in this package, each with injected bugs.

    bundled/<library>/tree/            the correct library, with its own tests
    bundled/<library>/<task>/bug/      the complete files that the bug changes; copied over `tree` they make the base
    bundled/<library>/<task>/hidden/   the hidden tests
    bundled/<library>/<task>/issue.md  the issue
    bundled/<library>/<task>/task.toml kind, difficulty, test ids

To add a task, add such a folder and run `nano-codex tasks validate bundled`. On first use, a library becomes a git
repository in the cache, with one commit per task.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from nano_codex_env.cache import cache_dir, publish
from nano_codex_env.diff import File
from nano_codex_env.tasks.environment import Environment
from nano_codex_env.tasks.task import Task
from nano_codex_env.tasks.trees import Tree, commits_of, fast_import, make_repository, tree_patch

ROOT = Path(__file__).with_name("bundled")


def bundled_tasks(cache_folder: Path | None = None) -> list[Task]:
    """All bundled tasks, sorted by name; their repositories are created in the cache on first use."""
    folder = cache_folder or cache_dir()
    return [task for library in sorted(ROOT.iterdir()) if library.is_dir() for task in _tasks(library, folder)]


def _tasks(library: Path, cache_folder: Path) -> Iterator[Task]:
    fixed = _tree(library / "tree")
    folders = sorted(path.parent for path in library.glob("*/task.toml"))
    bases = {path.name: fixed | _tree(path / "bug") for path in folders}
    repo, commits = _repository(library.name, bases, cache_folder)
    for path in folders:
        about = tomllib.loads((path / "task.toml").read_text(encoding="utf-8"))
        base = bases[path.name]
        hidden = base | _tree(path / "hidden")
        yield Task(
            instance_id=path.name,
            repo=str(repo),
            base_commit=commits[path.name],
            problem_statement=(path / "issue.md").read_text(encoding="utf-8"),
            patch=tree_patch(base, fixed),
            test_patch=tree_patch(base, hidden),
            FAIL_TO_PASS=tuple(about.pop("fail_to_pass")),
            PASS_TO_PASS=tuple(about.pop("pass_to_pass")),
            environment=Environment(
                {"kind": "host", "pythonpath": ["src" if (library / "tree" / "src").is_dir() else "."]}
            ),
            metadata={"library": library.name, **about},
        )


def _tree(folder: Path) -> Tree:
    paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): File(path.read_bytes()) for path in sorted(paths)}


def _repository(name: str, bases: Mapping[str, Tree], cache_folder: Path) -> tuple[Path, dict[str, str]]:
    """A bare repository with one commit per tree, and the commits' ids; its name has a hash of the content."""
    stream = fast_import(bases)
    path = cache_folder / "bundled" / f"{name}-{hashlib.sha256(stream).hexdigest()[:16]}.git"
    publish(path, lambda folder: make_repository(folder, stream))
    return path, commits_of(path)
