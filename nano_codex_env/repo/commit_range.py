"""A task whose `base_commit` is a range `A..B`: it starts from A, and the difference to B is the hidden tests."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from nano_codex_env.cache import cache_dir, temporary_folder
from nano_codex_env.diff import split
from nano_codex_env.errors import WorkspaceError
from nano_codex_env.git import init_work_tree, run_git
from nano_codex_env.repo.repository import quoted
from nano_codex_env.repo.source import Source, find
from nano_codex_env.tasks.task import Task


def resolve_range(task: Task, cache: str | os.PathLike[str] | None) -> Task:
    """The task with the full id of a commit and a test patch, read from its repository; any other is returned as it is.

    Where the difference changes files that the reference patch changes, B is not about tests: they are in A already
    (SWE-smith's branches without a commit that removes them), and there is no test patch.

    Raises:
        WorkspaceError: the repository has no such commits.
    """
    first, dots, second = task.base_commit.partition("..")
    if not dots:
        return task
    start, end = (_find(task.repo, revision, cache_dir(cache)) for revision in (first, second))
    tests = _difference(start, end)
    fixed = {path for part in split(task.patch) for path in part.paths}
    if any(path in fixed for part in split(tests) for path in part.paths):
        tests = ""
    return task.with_(base_commit=start.commit, test_patch=tests)


def _find(repo: str, revision: str, cache: Path) -> Source:
    try:
        return find(repo, revision, cache)
    except WorkspaceError as error:
        with suppress(WorkspaceError):
            return find(repo, f"origin/{revision}", cache)  # a branch of a clone that is no mirror
        raise error


def _difference(start: Source, end: Source) -> str:
    theirs = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": quoted(start.objects)}
    with temporary_folder() as root:
        init_work_tree(root, "sha256" if len(start.commit) == 64 else "sha1")
        command = [f"--git-dir={root / '.git'}", "diff-tree", "-r", "-p", "--no-renames", "--full-index", "--binary"]
        found = run_git([*command, start.commit, end.commit], cwd=root, env=theirs)
    return found.decode("utf-8", "surrogateescape")
