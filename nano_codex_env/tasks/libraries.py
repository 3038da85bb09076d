"""The bundled tasks: small libraries in the package, each with bugs that were put into it.

    bundled/<library>/tree/            the library as it should be, with its own tests
    bundled/<library>/<task>/bug/      the files that the bug changes, whole; laid over `tree` they are the base
    bundled/<library>/<task>/hidden/   the hidden tests
    bundled/<library>/<task>/issue.md  the issue
    bundled/<library>/<task>/task.toml kind, difficulty, test ids

To add one, add such a folder; `nano-codex tasks validate bundled` says whether it holds. On first use a library
becomes a git repository in the cache, with one commit per task.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from nano_codex_env.cache import cache_dir, publish
from nano_codex_env.diff import File, file_diff
from nano_codex_env.errors import TaskError
from nano_codex_env.task import Task

ROOT = Path(__file__).with_name("bundled")
_WHO = "nano-codex <nano-codex@localhost> 946684800 +0000"
Tree = dict[str, File]


def bundled_tasks(cache_folder: Path | None = None) -> list[Task]:
    """All bundled tasks, sorted by name; their repositories are made in the cache if they are not there."""
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
            patch=_patch(base, fixed),
            test_patch=_patch(base, hidden),
            FAIL_TO_PASS=tuple(about.pop("fail_to_pass")),
            PASS_TO_PASS=tuple(about.pop("pass_to_pass")),
            environment={"kind": "host", "pythonpath": ["src" if (library / "tree" / "src").is_dir() else "."]},
            metadata={"library": library.name, **about},
        )


def _tree(folder: Path) -> Tree:
    paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): File(path.read_bytes()) for path in sorted(paths)}


def _patch(old: Tree, new: Tree) -> str:
    return "".join(file_diff(path, old.get(path), new.get(path)) for path in sorted(old.keys() | new.keys()))


def _repository(name: str, bases: Mapping[str, Tree], cache_folder: Path) -> tuple[Path, dict[str, str]]:
    """A bare repository with one commit per tree, and the commits' ids; made once for this very content."""
    stream = _fast_import(bases)
    path = cache_folder / "bundled" / f"{name}-{hashlib.sha256(stream).hexdigest()[:16]}.git"
    publish(path, lambda folder: _import(stream, folder))
    return path, _commits(path)


@cache
def _commits(repo: Path) -> dict[str, str]:
    import git

    with git.Repo(repo) as found:
        return {head.name: head.commit.hexsha for head in found.heads}


def _import(stream: bytes, folder: Path) -> None:
    import git

    with git.Repo.init(folder, bare=True) as repo, tempfile.TemporaryFile() as file:
        file.write(stream)
        file.seek(0)
        try:
            repo.git.fast_import("--quiet", istream=file)
        except git.GitCommandError as error:
            raise TaskError(f"cannot make the bundled repository {folder}: {error.stderr}") from error


def _fast_import(bases: Mapping[str, Tree]) -> bytes:
    """The trees as a stream for `git fast-import`, each on a branch of its own."""
    stream = io.BytesIO()
    for name, tree in sorted(bases.items()):
        stream.write(f"commit refs/heads/{name}\ncommitter {_WHO}\ndata 4\nbase\n".encode())
        for path, file in tree.items():
            stream.write(f"M {file.mode} inline {path}\ndata {len(file.data)}\n".encode() + file.data + b"\n")
        stream.write(b"\n")
    return stream.getvalue()
