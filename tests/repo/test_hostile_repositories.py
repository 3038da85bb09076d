"""Hostile repositories: they run nothing on the host, and do not change another repository's tree."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from nano_codex_env import Agent
from nano_codex_env.errors import PolicyError, WorkspaceError
from nano_codex_env.git import run_git
from nano_codex_env.repo import Workspace, base_tree, repository
from nano_codex_env.repo.source import repository_folders
from nano_codex_env.spawn import run
from tests.conftest import GIT_ENV, git, mostly_slow


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that leaves a file when it runs."""
    path = tmp_path / "program"
    path.write_text(f'#!/bin/sh\ntouch "{tmp_path}/ran"\nexit 1\n')
    path.chmod(0o755)
    return path


def setting(name: str, value: str) -> Callable[[Path, Path], None]:
    """Put a setting into a repository's own configuration; `{program}` and `{repo}` are filled in."""

    def put(repo: Path, program: Path) -> None:
        git(repo, "config", name, value.format(program=program, repo=repo))

    return put


def included(name: str) -> Callable[[Path, Path], None]:
    """A filter in a file that the configuration includes, always or on a condition that holds."""

    def put(repo: Path, program: Path) -> None:
        (repo / ".git" / "more").write_text(f'[filter "odd"]\n\tclean = {program}\n\tprocess = {program}\n')
        git(repo, "config", name.format(repo=repo), "more")

    return put


def in_a_work_trees_configuration(repo: Path, program: Path) -> None:
    """A filter in `config.worktree`."""
    git(repo, "config", "extensions.worktreeConfig", "true")
    git(repo, "config", "--worktree", "filter.odd.clean", str(program))


def in_a_submodule(repo: Path, program: Path) -> None:
    """A filter in the configuration of a submodule, one of whose files git has to read."""
    inner = repo.parent / "inner"
    shutil.copytree(repo, inner)
    git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "inner")
    git(repo, "commit", "-q", "-m", "a submodule")
    for name in ("clean", "process"):
        git(repo / "inner", "config", f"filter.odd.{name}", str(program))
    git(repo / "inner", "config", "core.fsmonitor", str(program))
    os.utime(repo / "inner" / "sums.py", (1, 1))


def promisor(url: str, **settings: str) -> Callable[[Path, Path], None]:
    """An object is missing, and a remote promises to have it."""

    def put(repo: Path, program: Path) -> None:
        git(repo, "config", "remote.origin.promisor", "true")
        git(repo, "config", "remote.origin.url", url.format(program=program, repo=repo))
        git(repo, "config", "extensions.partialClone", "origin")
        git(repo, "config", "core.repositoryFormatVersion", "1")
        for name in ("ext", "file", "ssh"):
            git(repo, "config", f"protocol.{name}.allow", "always")
        for name, value in settings.items():
            git(repo, "config", name.replace("__", "."), value.format(program=program))
        blob = git(repo, "rev-parse", "HEAD:sums.py")
        (repo / ".git" / "objects" / blob[:2] / blob[2:]).unlink()

    return put


HOSTILE: dict[str, Callable[[Path, Path], None]] = {
    "filter.clean": setting("filter.odd.clean", "{program}"),
    "in a submodule": in_a_submodule,
    "by include": included("include.path"),
    "promisor ext": promisor("ext::{program}"),
    "promisor ssh": promisor("ssh://127.0.0.1/x", core__sshCommand="{program}"),
    "filter.process": setting("filter.odd.process", "{program}"),
    "filter.smudge": setting("filter.odd.smudge", "{program}"),
    "by includeIf": included("includeIf.gitdir:{repo}/.path"),
    "in config.worktree": in_a_work_trees_configuration,
    "promisor uploadpack": promisor("{repo}", remote__origin__uploadpack="{program}"),
    "promisor vcs": promisor("x", remote__origin__vcs="ext"),
    "fsmonitor": setting("core.fsmonitor", "{program}"),
    "hooks": setting("core.hooksPath", "{program}"),
    "alternate refs": setting("core.alternateRefsCommand", "{program}"),
    "external diff": setting("diff.external", "{program}"),
    "textconv": setting("diff.odd.textconv", "{program}"),
    "objects for a clone": setting("uploadpack.packObjectsHook", "{program}"),
    "merge driver": setting("merge.odd.driver", "{program}"),
}


@pytest.fixture
def hostile(make_repo: Callable[..., Path]) -> Path:
    """A repository with attributes that name filters, and a file that git has to read to know whether it changed."""
    repo = make_repo({"sums.py": "x = 1\n", ".gitattributes": "* filter=odd diff=odd merge=odd\n"})
    os.utime(repo / "sums.py", (1, 1))
    return repo


@pytest.mark.parametrize("kind", mostly_slow(HOSTILE, 5))
def test_a_repositorys_own_configuration_runs_nothing_on_the_host(
    hostile: Path, program: Path, tmp_path: Path, kind: str
) -> None:
    """At the head, by a full id, by a URL, and by the agent; the control shows that git by itself would."""
    HOSTILE[kind](hostile, program)
    commit = git(hostile, "rev-parse", "HEAD")
    for number, (name, wanted) in enumerate([(str(hostile), ""), (str(hostile), commit), (f"file://{hostile}", "")]):
        with contextlib.suppress(WorkspaceError):
            Workspace(name, wanted, cache=tmp_path / f"cache{number}").close()
    agent = Agent("m", "http://127.0.0.1:9/v1", log=False, cache_dir=tmp_path / "cache", max_retries=0)
    with pytest.raises((WorkspaceError, PolicyError)):
        agent.run("do it", hostile)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["filter.clean", "in a submodule", "by include", "promisor ext"])
def test_git_alone_would_run_it(hostile: Path, program: Path, tmp_path: Path, kind: str) -> None:
    """The control of the test above."""
    HOSTILE[kind](hostile, program)
    command = ["status"] if "promisor" not in kind else ["cat-file", "-p", "HEAD:sums.py"]
    subprocess.run(["git", *command], cwd=hostile, env=GIT_ENV, check=False, capture_output=True)
    assert (tmp_path / "ran").exists()


def test_a_clean_checkout_with_filters_is_clean_where_git_need_not_read_it(make_repo: Callable[..., Path]) -> None:
    """As Git LFS leaves one: the index knows the file's times, its content is not what was committed."""
    repo = make_repo({"big.bin": "pointer\n"})
    (repo / "big.bin").write_text("what it points to\n")
    git(repo, "config", "filter.lfs.clean", "echo pointer")
    (repo / ".gitattributes").write_text("*.bin filter=lfs\n")
    os.utime(repo / "big.bin", (1, 1))  # well before the index is written
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "lfs")
    assert repository.changes(repository.locate(repo)) == []


@pytest.mark.parametrize("where", ["repository", "user"])
@pytest.mark.parametrize(("name", "value"), [("core.autocrlf", "true"), ("core.fileMode", "no")])
def test_plain_settings_of_the_repository_and_the_user_count(
    make_repo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, where: str
) -> None:
    """A checkout is as clean as git finds it, wherever line ends and modes are configured."""
    monkeypatch.setenv("HOME", str(tmp_path))
    repo = make_repo({"a.txt": "x\n"})
    git(repo, "config", "--unset-all", "core.fileMode")
    if name == "core.fileMode":
        (repo / "a.txt").chmod(0o755)
    else:
        (repo / "a.txt").write_bytes(b"y\r\n")
        git(repo, "-c", f"{name}={value}", "commit", "-q", "-a", "-m", "stored with LF")
        os.utime(repo / "a.txt", (1, 1))
    plain = repository.changes(repository.locate(repo))
    file = repo / ".git" / "config" if where == "repository" else tmp_path / ".gitconfig"
    git(repo, "config", "--file", str(file), name, value)
    assert (plain, repository.changes(repository.locate(repo))) == (["a.txt"], [])


def test_what_the_user_ignores_everywhere_is_no_change(
    repo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (repo / ".idea").mkdir()
    (repo / ".idea" / "x").write_text("")
    assert repository.changes(repository.locate(repo)) == [".idea/"]
    (tmp_path / 'ignore "these"').write_text(".idea\n")
    (tmp_path / ".gitconfig").write_text('[core]\n\texcludesFile = "~/ignore \\"these\\""\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    assert repository.changes(repository.locate(repo)) == []


def test_a_partial_clone_is_told_what_to_fetch_and_works_then(repo: Path, tmp_path: Path) -> None:
    """Nothing is fetched behind the user's back."""
    git(repo, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{repo}", "partial")
    commit = git(repo, "rev-parse", "HEAD")
    with pytest.raises(WorkspaceError, match=re.escape("git fetch --refetch --no-filter")):
        Workspace(str(tmp_path / "partial"), commit, cache=tmp_path / "cache")
    git(tmp_path / "partial", "fetch", "-q", "--refetch", "--no-filter")
    with contextlib.closing(Workspace(str(tmp_path / "partial"), commit, cache=tmp_path / "cache")) as opened:
        assert (opened.base / "sums.py").read_bytes() == (repo / "sums.py").read_bytes()


# A commit's id stands for its content, whatever a repository claims.


def replaced(repo: Path, commit: str, other: str) -> None:
    git(repo, "replace", commit, other)


def grafted(repo: Path, commit: str, other: str) -> None:
    (repo / ".git" / "info" / "grafts").write_text(f"{commit} {other}\n")


def forged(repo: Path, commit: str, other: str) -> None:
    """The commit's file holds the other one."""
    files = [repo / ".git" / "objects" / name[:2] / name[2:] for name in (commit, other)]
    files[0].chmod(0o600)
    files[0].write_bytes(files[1].read_bytes())


def forged_file(repo: Path, commit: str, other: str) -> None:
    """A file of the commit's holds something else under its id."""
    blob = git(repo, "rev-parse", f"{commit}:sums.py")
    path = repo / ".git" / "objects" / blob[:2] / blob[2:]
    path.chmod(0o600)
    path.write_bytes(zlib.compress(b"blob 5\0evil\n"))


def forged_tree(repo: Path, commit: str, other: str) -> None:
    """The commit's tree is another one under its id."""
    tree, evil = (git(repo, "rev-parse", f"{name}^{{tree}}") for name in (commit, other))
    path, source = (repo / ".git" / "objects" / name[:2] / name[2:] for name in (tree, evil))
    path.chmod(0o600)
    path.write_bytes(source.read_bytes())


def in_the_commit_graph(repo: Path, commit: str, other: str) -> None:
    """The commit graph says that the commit has the other one's tree."""
    git(repo, "update-ref", "refs/heads/other", other)
    git(repo, "commit-graph", "write", "--reachable")
    path = repo / ".git" / "objects" / "info" / "commit-graph"
    tree, evil = (bytes.fromhex(git(repo, "rev-parse", f"{name}^{{tree}}")) for name in (commit, other))
    data = path.read_bytes()[:-20].replace(tree, evil)
    path.chmod(0o600)
    path.write_bytes(data + hashlib.sha1(data).digest())


CLAIMS: Mapping[str, Callable[[Path, str, str], None]] = {
    "a replacement": replaced,
    "a graft": grafted,
    "a forged commit": forged,
    "a forged file": forged_file,
    "a forged tree": forged_tree,
    "a commit graph": in_the_commit_graph,
}


@pytest.mark.parametrize("way", ["path", "url"])
@pytest.mark.parametrize("kind", CLAIMS)
def test_a_fork_cannot_change_what_another_repository_gets_for_the_same_commit(
    repo: Path, tmp_path: Path, kind: str, way: str
) -> None:
    """One row's fork comes first; what the honest repository's row gets for this commit is the commit's own tree."""
    honest, fork, cache = repo, tmp_path / "fork", tmp_path / "cache"
    commit, wanted = git(repo, "rev-parse", "HEAD"), (repo / "sums.py").read_bytes()
    shutil.copytree(repo, fork)
    (fork / "sums.py").write_text("evil\n")
    git(fork, "commit", "-q", "-a", "-m", "evil")
    CLAIMS[kind](fork, commit, git(fork, "rev-parse", "HEAD"))
    name = str(fork) if way == "path" else f"file://{fork}"
    with contextlib.suppress(WorkspaceError), contextlib.closing(Workspace(name, commit, cache=cache)) as first:
        assert (first.base / "sums.py").read_bytes() == wanted
    with contextlib.closing(Workspace(str(honest), commit, cache=cache)) as second:
        assert (second.base / "sums.py").read_bytes() == wanted


# Nothing waits for ever, and no memory or disk is filled.


def test_a_tree_of_more_files_than_anybody_has_is_refused(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten names for one tree at each level: a few kilobytes that are a million files, or a terabyte of one."""
    blob = git(repo, "rev-parse", "HEAD:sums.py")
    made = subprocess.run(
        ["git", "mktree"], cwd=repo, env=GIT_ENV, text=True, capture_output=True, check=True,
        input="".join(f"100644 blob {blob}\tf{n}\n" for n in range(10)),
    )  # fmt: skip
    for _ in range(2):
        made = subprocess.run(
            ["git", "mktree"], cwd=repo, env=GIT_ENV, text=True, capture_output=True, check=True,
            input="".join(f"040000 tree {made.stdout.strip()}\td{n}\n" for n in range(10)),
        )  # fmt: skip
    commit = git(repo, "commit-tree", made.stdout.strip(), "-m", "many")
    monkeypatch.setattr("nano_codex_env.repo.base_tree.MAX_FILES", 999)
    with pytest.raises(WorkspaceError, match="the tree has 1000 files; at most 999 are checked out"):
        Workspace(str(repo), commit, cache=tmp_path / "cache")
    monkeypatch.setattr("nano_codex_env.repo.base_tree.MAX_FILES", 1000)
    size = 1000 * (repo / "sums.py").stat().st_size
    monkeypatch.setattr("nano_codex_env.repo.base_tree.MAX_BYTES", size - 1)
    with pytest.raises(WorkspaceError, match=f"the tree's files have {size} bytes; at most {size - 1}"):
        Workspace(str(repo), commit, cache=tmp_path / "cache")


def test_a_program_gets_no_more_memory_than_it_may_have() -> None:
    program = [sys.executable, "-c", "x = bytearray(1 << 30)"]
    assert run(program, env={}, timeout=60, memory=1 << 28).status == 1
    assert run(program, env={}, timeout=60).status == 0


@pytest.mark.parametrize("name", ["refs/heads/main", "objects/info/alternates", "objects/pack/x.idx", "packed-refs"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_in_a_git_directory_is_refused_by_name(
    repo: Path, tmp_path: Path, name: str, kind: str
) -> None:
    path = repo / ".git" / name
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(WorkspaceError, match=f"{name} is not a regular file"):
        Workspace(str(repo), cache=tmp_path / "cache")


def test_submodules_that_are_one_another_are_looked_at_once(repo: Path, tmp_path: Path) -> None:
    """Each level has three links to the next level's repository, which makes 3 ** 14 paths."""
    commit, last = git(repo, "rev-parse", "HEAD"), repo
    for level in range(14):
        above = tmp_path / f"level{level}"
        above.mkdir()
        git(above, "init", "-q", "-b", "main")
        for name in "abc":
            (above / name).symlink_to(last)
            git(above, "update-index", "--add", "--cacheinfo", f"160000,{commit},{name}")
        git(above, "commit", "-q", "-m", "x")
        last = above
    with pytest.raises(WorkspaceError, match="is dirty"):
        Workspace(str(last))


def test_includes_are_not_read(repo: Path, tmp_path: Path) -> None:
    """A relative one, which is common, is no error; a pipe is not waited for; none sets how lines end."""
    git(repo, "config", "include.path", "../.gitconfig")
    with contextlib.closing(Workspace(str(repo))) as opened:
        assert opened.commit == git(repo, "rev-parse", "HEAD")
    (tmp_path / "more").write_text("[core]\n\tautocrlf = input\n")
    os.mkfifo(tmp_path / "pipe")
    config = repo / ".git" / "config"
    config.write_text(config.read_text() + f"[include]\n\tpath = {tmp_path}/more\n\tpath = {tmp_path}/pipe\n")
    assert "core.autocrlf" not in repository.locate(repo).settings


def test_an_old_head_is_a_link(repo: Path, tmp_path: Path) -> None:
    commit = git(repo, "rev-parse", "HEAD")
    git(repo, "pack-refs", "--all")
    (repo / ".git" / "HEAD").unlink()
    (repo / ".git" / "HEAD").symlink_to("refs/heads/main")
    with contextlib.closing(Workspace(str(repo), cache=tmp_path / "cache")) as opened:
        assert opened.commit == commit


@pytest.mark.parametrize("url", ["file://localhost{repo}", "FILE://{repo}", "file://{repo}"])
def test_every_spelling_of_a_file_url_is_read_by_a_view(hostile: Path, program: Path, tmp_path: Path, url: str) -> None:
    os.mkfifo(hostile / ".git" / "pipe")
    git(hostile, "config", "include.path", "pipe")  # git itself would wait for it for ever
    with contextlib.closing(Workspace(url.format(repo=hostile), cache=tmp_path / "cache")) as opened:
        assert (opened.base / "sums.py").read_text() == "x = 1\n"


def test_a_file_url_of_another_host_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="names no folder of this machine; a file URL is file:///path"):
        Workspace("file://elsewhere/x", cache=tmp_path)


def test_every_folder_with_objects_of_a_repository_is_found(repo: Path, tmp_path: Path) -> None:
    """A box covers them: a work tree's main repository, the folder of a URL, and those that lend objects."""
    git(repo, "worktree", "add", "-q", "--detach", str(tmp_path / "other"))
    git(tmp_path, "clone", "-q", "--shared", str(repo), "shared")
    assert set(repository_folders(str(repo))) == {repo, repo / ".git"}
    assert {repo, repo / ".git", tmp_path / "other"} < set(repository_folders(str(tmp_path / "other")))
    assert {tmp_path / "shared", repo / ".git" / "objects"} < set(repository_folders(str(tmp_path / "shared")))
    assert not base_tree._is_missing(str(tmp_path / "shared"))  # borrowed objects are no repository that could be gone
    assert set(repository_folders(f"file://localhost{repo}")) == {repo, repo / ".git"}
    assert repository_folders("owner/name") == repository_folders("https://example.org/x") == ()


@pytest.mark.parametrize("name", ["~nobody-of-this-name/x", "/" + "a" * 300, "a" * 5000, "x/" * 3000, "/\0"])
def test_a_path_that_cannot_be_is_an_error_of_ours(name: str, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError):
        Workspace(name, cache=tmp_path)


# Time limits.


def test_git_is_stopped_with_all_that_it_started_when_its_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nano_codex_env.git.LOCAL", 0.5)
    sleeper = "!sh -c 'echo begun >&2; sleep 1000 & sleep 1000'"
    with pytest.raises(WorkspaceError, match=r"git -c failed .* stopped after 0.5 seconds: begun|stopped after 0.5"):
        run_git(["-c", f"alias.wait={sleeper}", "wait"], cwd=tmp_path)


@pytest.mark.parametrize("name", ["config", "HEAD", "index", "packed-refs", "commondir", "info/exclude"])
def test_a_pipe_in_a_git_directory_is_not_waited_for(repo: Path, tmp_path: Path, name: str) -> None:
    path = repo / ".git" / name
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    with contextlib.suppress(WorkspaceError):
        Workspace(str(repo), cache=tmp_path / "cache").close()
