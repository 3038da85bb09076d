"""Find a task's repository and commit; every mistake in their names is an error before an episode begins."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nano_codex_env.errors import WorkspaceError
from nano_codex_env.repo import Workspace
from tests.conftest import GIT_ENV, git


def opened(repo: str | Path, commit: str = "", *, cache: Path | None = None) -> tuple[str, dict[str, bytes]]:
    """The commit's id, and the files of its tree."""
    with contextlib.closing(Workspace(str(repo), commit, cache=cache)) as workspace:
        paths = [path for path in workspace.base.rglob("*") if path.is_file() and ".git" not in path.parts]
        return workspace.commit, {str(path.relative_to(workspace.base)): path.read_bytes() for path in paths}


def head(repo: Path, name: str = "HEAD") -> str:
    """A commit's id."""
    return git(repo, "rev-parse", name)


def commit(repo: Path, name: str, content: str) -> str:
    """The id of a new commit that writes one file."""
    (repo / name).write_text(content)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", content)
    return head(repo)


def test_a_repository_is_named_by_any_path(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute, relative, below the home folder, with a slash at the end."""
    wanted = head(repo)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in (repo, f"{repo}/", "repo", "./repo", "../" + tmp_path.name + "/repo", "~/repo"):
        assert opened(name)[0] == wanted
    monkeypatch.chdir(repo)
    assert opened(".")[0] == wanted


@pytest.mark.parametrize(
    "name", ["-rf", "a b", "quo'te\"", "ü", "line\nbreak", "u\u2028sep", "--help", "$(x)", "x.git", "a:b"]
)
def test_a_repositorys_folder_may_have_any_name(
    make_repo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    repo = make_repo({"a": name}, name=name)
    monkeypatch.chdir(repo.parent)
    assert opened(repo) == opened(name) == (head(repo), {"a": name.encode()})


def test_a_bare_repository_will_do(repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(repo), "bare.git")
    files = opened(repo)[1]
    assert opened(tmp_path / "bare.git", cache=tmp_path / "cache") == (head(repo), files)
    assert opened(tmp_path / "bare.git", head(repo), cache=tmp_path / "other") == (head(repo), files)


def test_a_commit_is_named_by_its_id_a_part_of_it_a_tag_or_a_branch(repo: Path) -> None:
    old = head(repo)
    git(repo, "tag", "-a", "v1", "-m", "first")
    new = commit(repo, "later.txt", "later")
    for name in (old, old[:10], old.upper(), "v1", "HEAD~1", "main^", "v1^{commit}"):
        assert opened(repo, name)[0] == old
    assert opened(repo)[0] == opened(repo, "HEAD")[0] == opened(repo, "main")[0] == new
    assert "later.txt" not in opened(repo, old)[1]


def test_a_file_named_like_a_commit_is_no_commit(make_repo: Callable[..., Path]) -> None:
    repo = make_repo({"HEAD": "no commit\n", "main": "nor this\n"})
    assert opened(repo)[0] == opened(repo, "main")[0] == head(repo)


# A dirty repository: uncommitted changes would silently be missing.


def _staged(repo: Path) -> None:
    (repo / "sums.py").write_text("x = 1\n")
    git(repo, "add", "-A")


def _conflict(repo: Path) -> None:
    git(repo, "checkout", "-q", "-b", "other")
    commit(repo, "sums.py", "theirs\n")
    git(repo, "checkout", "-q", "main")
    commit(repo, "sums.py", "ours\n")
    subprocess.run(["git", "merge", "-q", "other"], cwd=repo, env=GIT_ENV, capture_output=True, check=False)


def _submodule(repo: Path) -> None:
    add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repo), "vendored"]
    git(repo, *add)
    git(repo, "commit", "-q", "-a", "-m", "vendored")
    (repo / "vendored" / "sums.py").write_text("x = 1\n")


DIRT: dict[str, tuple[Callable[[Path], object], str]] = {
    "modified": (lambda repo: (repo / "sums.py").write_text("x = 1\n"), "sums.py"),
    "untracked": (lambda repo: (repo / "new\u00e9.py").write_text("x = 1\n"), "new"),
    "staged": (_staged, "sums.py"),
    "removed": (lambda repo: (repo / "README.md").unlink(), "README.md"),
    "made executable": (lambda repo: (repo / "sums.py").chmod(0o755), "sums.py"),
    "in a merge": (_conflict, "sums.py"),
    "a submodule": (_submodule, "vendored"),
}


@pytest.mark.parametrize("kind", DIRT)
def test_a_dirty_repository_is_refused_unless_the_commit_is_named(repo: Path, kind: str) -> None:
    """The message names the files; with a full id nothing of the work tree is looked at."""
    soil, file = DIRT[kind]
    soil(repo)
    for name in ("", "HEAD", "main"):
        with pytest.raises(
            WorkspaceError, match=rf"is dirty: \d+ uncommitted .*{file}.*; commit or stash them"
        ) as caught:
            Workspace(str(repo), name)
        assert str(repo) in str(caught.value)
    assert opened(repo, head(repo))[0] == head(repo)


def test_many_changes_are_counted_and_some_named(repo: Path) -> None:
    for number in range(30):
        (repo / f"new{number:02d}.py").write_text("")
    with pytest.raises(WorkspaceError, match=r"30 uncommitted change\(s\) \(new00.py, .*new04.py \.\.\.\)"):
        Workspace(str(repo))


def test_what_git_ignores_is_no_dirt(make_repo: Callable[..., Path]) -> None:
    repo = make_repo({".gitignore": "*.log\nbuild/\n", "a.py": ""})
    (repo / "x.log").write_text("noise")
    (repo / "build").mkdir()
    (repo / "build" / "a.o").write_text("object")
    assert set(opened(repo)[1]) == {".gitignore", "a.py"}


def test_looking_at_a_repository_changes_nothing_in_it(repo: Path) -> None:
    """Not even the index, which `git status` likes to write."""
    (repo / "sums.py").touch()
    before = {path: (path.stat().st_mtime_ns, path.is_dir() or path.read_bytes()) for path in repo.rglob("*")}
    opened(repo)
    assert {path: (path.stat().st_mtime_ns, path.is_dir() or path.read_bytes()) for path in repo.rglob("*")} == before


# Errors in the names of repositories and commits.


def test_a_folder_that_is_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=f"{re.escape(str(tmp_path))} is not a git repository; run `git init`"):
        Workspace(str(tmp_path))


@pytest.mark.parametrize("full", [False, True], ids=["HEAD", "full id"])
def test_a_folder_inside_a_repository_is_refused(repo: Path, full: bool) -> None:
    """The episode would have another root than the caller thinks."""
    opened(repo)  # its tree is in the cache already
    with pytest.raises(WorkspaceError, match=f"is a folder inside the repository {re.escape(str(repo))}; give the"):
        Workspace(str(repo / "pkg"), head(repo) if full else "")


def test_a_repository_without_a_commit_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with pytest.raises(WorkspaceError, match=f"{re.escape(str(tmp_path))} has no commit yet; commit something first"):
        Workspace(str(tmp_path))


@pytest.mark.parametrize("kind", ["missing", "a file", "below a file", "not a folder any more"])
def test_a_path_that_is_no_folder_is_refused(repo: Path, tmp_path: Path, kind: str) -> None:
    wanted = head(repo)
    opened(repo)
    path = {"missing": tmp_path / "nowhere", "a file": repo / "sums.py", "below a file": repo / "sums.py" / "x"}.get(
        kind, repo
    )
    if path == repo:
        repo.rename(tmp_path / "moved")
    for name in ("", wanted):
        with pytest.raises(WorkspaceError, match=f"there is no folder {re.escape(str(path))}"):
            Workspace(str(path), name)


@pytest.mark.parametrize(
    "name", ["nonsense", "a/b/c", "owner/", "/name/".strip("/"), "two words/x", "", " ", "a\0b", "\n"]
)
def test_a_name_that_means_nothing_is_refused(repo: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An empty one too: it is no way to say "the folder that I happen to be in"."""
    monkeypatch.chdir(repo)
    with pytest.raises(
        WorkspaceError, match=r"is no repository: there is no such folder, and it is neither owner/name"
    ):
        Workspace(name)


@pytest.mark.parametrize(
    "name",
    [
        "nope",
        "0" * 40,
        "f" * 64,
        "HEAD~99",
        "HEAD^{tree}",
        "HEAD:sums.py",
        ":sums.py",
        "^HEAD",
        "HEAD..HEAD",
        "a b",
        " ",
        "ü",
        "\n",
        "x" * 5000,
        "\udcff",
        "HEAD\0",
        "@{upstream}",
    ],
)
def test_what_is_no_commit_of_the_repository_is_refused(repo: Path, name: str) -> None:
    with pytest.raises(WorkspaceError, match=r"no commit"):
        Workspace(str(repo), name)


def test_a_tree_or_a_file_is_no_commit_even_by_its_full_id(repo: Path) -> None:
    for name in ("HEAD^{tree}", "HEAD:sums.py"):
        with pytest.raises(
            WorkspaceError, match=f"{re.escape(str(repo))} has no commit {head(repo, name)}; check the id"
        ):
            Workspace(str(repo), head(repo, name))


@pytest.mark.parametrize(
    "name",
    [
        *["-rf", "--help", "--upload-pack=touch ran", "-", "--all", "--output=ran"],
        *[":/x", "main^{/x}", "HEAD^{/((a{1,255}){1,255})}", "HEAD:sums.py", "x" * 501, "a\nb"],
    ],
)
def test_an_option_or_a_search_is_refused_before_git_reads_it(
    repo: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """`:/REGEX` compiles anybody's regular expression: 3 GB for a short one."""
    monkeypatch.chdir(repo.parent)
    for source in (str(repo), f"file://{repo}"):
        with pytest.raises(WorkspaceError, match=f"{re.escape(repr(name)[:300])} is no commit; give a full commit id"):
            Workspace(source, name)
    assert sorted(path.name for path in repo.parent.iterdir()) == ["repo"]


def test_what_was_refused_leaves_nothing_in_the_cache(repo: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (repo / "sums.py").write_text("x = 1\n")
    for name, wanted in (
        ("nonsense", ""),
        (str(repo), ""),
        (str(repo), "nope"),
        ("file:///nowhere", ""),
        (str(tmp_path), ""),
    ):
        with pytest.raises(WorkspaceError):
            Workspace(name, wanted, cache=cache)
    assert [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_a_broken_repository_is_refused_and_builds_no_tree(repo: Path, tmp_path: Path) -> None:
    """An object is missing: the next attempt, after the mend, does not find half a tree."""
    wanted = head(repo)
    blob = head(repo, "HEAD:sums.py")
    lost = repo / ".git" / "objects" / blob[:2] / blob[2:]
    kept = lost.read_bytes()
    lost.chmod(0o600)
    lost.unlink()
    with pytest.raises(WorkspaceError, match=blob):
        Workspace(str(repo), wanted, cache=tmp_path / "cache")
    assert not (tmp_path / "cache" / "trees" / f"{wanted}-2").exists()
    lost.write_bytes(kept)
    assert "sums.py" in opened(repo, wanted, cache=tmp_path / "cache")[1]


# Mirrors of remote repositories.


def test_a_url_is_cloned_once_and_a_later_commit_is_fetched(repo: Path, tmp_path: Path) -> None:
    cache, url = tmp_path / "cache", f"file://{repo}"
    first = head(repo)
    assert opened(url, cache=cache)[0] == opened(url, first, cache=cache)[0] == first
    second = commit(repo, "later.txt", "later")
    assert opened(url, second, cache=cache)[1]["later.txt"] == b"later"
    git(repo, "checkout", "-q", "-b", "side")
    third = commit(repo, "side.txt", "side")
    assert opened(url, "side", cache=cache)[0] == third
    assert len([path for path in (cache / "mirrors").iterdir() if path.suffix == ".git"]) == 1
    with pytest.raises(WorkspaceError, match=f"{url} has no commit {'1' * 40}; check the id"):
        Workspace(url, "1" * 40, cache=cache)


def test_what_was_cloned_stays_usable_when_its_origin_is_gone(repo: Path, tmp_path: Path) -> None:
    """Training goes on when the git server is down; only what was never fetched is missing."""
    cache, url, first = tmp_path / "cache", f"file://{repo}", head(repo)
    files = opened(url, first, cache=cache)[1]
    old = head(repo)
    later = commit(repo, "later.txt", "later")
    repo.rename(tmp_path / "gone")
    assert opened(url, first, cache=cache) == (first, files)
    assert opened(url, cache=cache)[0] == old
    with pytest.raises(WorkspaceError, match="fetch"):
        Workspace(url, later, cache=cache)


def test_two_urls_do_not_share_a_mirror(make_repo: Callable[..., Path], tmp_path: Path) -> None:
    one, two = make_repo({"a": "1"}, name="x-y"), make_repo({"a": "2"}, name="x_y")
    cache = tmp_path / "cache"
    assert opened(f"file://{one}", cache=cache)[1] == {"a": b"1"}
    assert opened(f"file://{two}", cache=cache)[1] == {"a": b"2"}


@pytest.mark.parametrize(
    "url",
    ["file:///nowhere", "http://127.0.0.1:9/x", "ssh://127.0.0.1:9/x", "git@127.0.0.1.invalid:x/y", "nonsense://x/y"],
)
def test_a_url_that_cannot_be_cloned_is_refused_with_what_git_said(url: str, tmp_path: Path) -> None:
    with pytest.raises(
        WorkspaceError, match=f"(?s)cannot clone {re.escape(url)}: .*; check the name and the network"
    ) as caught:
        Workspace(url, cache=tmp_path / "cache")
    assert re.search("fatal: |git: |ssh: |there is no folder /nowhere", str(caught.value))
    assert not [path for path in (tmp_path / "cache" / "mirrors").iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% {marker}% @x",
        "ext::sh -c 'touch {marker}' ://x",
        "fd::17@x",
        "ext::sh@x",
        "ext::touch% {marker}",
        "--upload-pack=touch {marker} @x",
        "-u@touch {marker}",
        "ssh://-oProxyCommand=touch%20{marker}/x",
        "--config=x://y",
    ],
)
def test_a_url_runs_no_command(url: str, tmp_path: Path) -> None:
    """`ext::` and its like start programs; an option is no URL."""
    marker = tmp_path / "ran"
    with pytest.raises(WorkspaceError):
        Workspace(url.format(marker=marker), cache=tmp_path / "cache")
    assert not marker.exists()


def test_without_git_it_is_said_what_to_install(repo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    for name in (str(repo), f"file://{repo}"):
        with pytest.raises(WorkspaceError, match="git is not installed, or not on PATH; install git"):
            Workspace(name, cache=tmp_path / "cache")
