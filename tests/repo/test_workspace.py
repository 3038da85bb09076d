"""An episode's files: a base that never changes, and the few that were written."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nano_codex_env.cache import cache_dir
from nano_codex_env.diff import File
from nano_codex_env.errors import ToolError, WorkspaceError
from nano_codex_env.repo import Workspace
from nano_codex_env.sandbox import Sandbox, View
from tests.conftest import BUG, GIT_ENV, git

FIXED = File(BUG.replace("a - b", "a + b").encode())


@pytest.fixture
def workspace(repo: Path) -> Iterator[Workspace]:
    """The library whose `add` subtracts, open."""
    with contextlib.closing(Workspace(str(repo))) as made:
        yield made


def state(root: Path) -> dict[str, tuple[int, int, int, str]]:
    """Name -> mode, time, inode and content of all below a folder, `.git` included."""
    found = {}
    for path in sorted([root, *root.rglob("*")]):
        status = path.lstat()
        data = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        digest = hashlib.sha256(data).hexdigest()
        found[str(path.relative_to(root))] = (status.st_mode, status.st_mtime_ns, status.st_ino, digest)
    return found


def apply(folder: Path, patch: str) -> None:
    """Let git apply a patch to a checkout."""
    raw = patch.encode("utf-8", "surrogateescape")
    command = ["git", "apply", "--whitespace=nowarn", "-"]
    subprocess.run(command, cwd=folder, env=GIT_ENV, input=raw, capture_output=True, check=True)


def test_a_fresh_workspace_is_its_base(workspace: Workspace) -> None:
    assert workspace.layers == (workspace.base,)
    assert (workspace.touched, workspace.changed, workspace.diff(), workspace.version) == ((), False, "", 0)
    assert workspace.read("sums.py") == File(BUG.encode())
    assert workspace.read("nothing.py") is None
    assert workspace.read("no/such/folder/x.py") is None


def test_what_was_written_is_read_back_and_the_base_stays_as_it_was(workspace: Workspace) -> None:
    """Bytes, modes, times and inodes of every file of the base, `.git` included."""
    before = state(workspace.base)
    workspace.write("sums.py", FIXED)
    workspace.write("new/deep/run.sh", File(b"#!/bin/sh\n", executable=True))
    workspace.write("pkg/__init__.py", File(b"\xff\r\n"))
    workspace.write("sums.py", File(FIXED.data + b"# twice\n"))
    assert workspace.read("sums.py") == File(FIXED.data + b"# twice\n")
    assert workspace.read("/testbed/new/./deep//run.sh") == File(b"#!/bin/sh\n", executable=True)
    assert workspace.touched == ("new/deep/run.sh", "pkg/__init__.py", "sums.py")
    assert (workspace.changed, workspace.version) == (True, 4)
    assert state(workspace.base) == before


def test_the_box_sees_both_layers_as_one(workspace: Workspace, sandbox: Sandbox) -> None:
    workspace.write("sums.py", FIXED)
    workspace.write("new/run.sh", File(b"echo ran\n", executable=True))
    with contextlib.closing(sandbox.open(View(workspace.layers))) as shell:
        said = shell.run("cat sums.py pkg/data.txt; ./new/run.sh; git status --short", timeout=60, keep=4000)
        diff = shell.run("git diff; git commit -qam x", timeout=60, keep=4000)
    assert said.output.text() == FIXED.data.decode() + "one\ntwo\nran\n M sums.py\n?? new/\n"
    assert "-    return a - b\n+    return a + b\n" in diff.output.text()
    assert diff.exit_code != 0


def test_touched_files_have_one_time_and_two_modes(workspace: Workspace) -> None:
    """A day after the base, so that git sees them; no wall time."""
    workspace.write("new/deep/run.sh", File(b"", executable=True))
    workspace.write("sums.py", FIXED)
    scratch = workspace.layers[1]
    assert {path.stat().st_mtime for path in [scratch, *scratch.rglob("*")]} == {946684800.0 + 86400}
    modes = {str(path.relative_to(scratch)): path.stat().st_mode & 0o7777 for path in scratch.rglob("*")}
    assert modes == {"new": 0o755, "new/deep": 0o755, "new/deep/run.sh": 0o755, "sums.py": 0o644}
    assert {path.name for path in scratch.rglob("*") if path.is_file()} == {"run.sh", "sums.py"}


ODD = {
    "lf.txt": b"one\ntwo\nthree\n",
    "crlf.txt": b"one\r\ntwo\r\nthree\r\n",
    "attr.bat": b"one\ntwo\nthree\n",
    "unix.sh": b"one\ntwo\nthree\n",
    ".gitattributes": b"*.bat text eol=crlf\n*.sh text eol=lf\n",
    "no-end.txt": b"one\ntwo\nthree",
    "latin.txt": b"caf\xe9\ntwo\n",
    'a b/\u00e9 "q".txt': b"one\ntwo\n",
    "empty": b"",
}


def test_a_diff_applies_to_a_clean_checkout_and_gives_the_same_files(
    make_repo: Callable[..., Path], tmp_path: Path
) -> None:
    """Whatever the attributes make of the line endings, and whatever the files are called."""
    repo = make_repo(ODD)
    git(tmp_path, "clone", "-q", str(repo), "checkout")
    with contextlib.closing(Workspace(str(repo))) as workspace:
        for name in ODD:
            old = workspace.read(name)
            assert old is not None
            workspace.write(name, File(old.data.replace(b"two", b"2") or b"no longer empty"))
        workspace.write("made/new.txt", File(b"x\r\ny", executable=True))
        workspace.write("made/nothing", File(b""))
        apply(tmp_path / "checkout", workspace.diff())
        for name in workspace.touched:
            path = tmp_path / "checkout" / name
            assert File(path.read_bytes(), os.access(path, os.X_OK)) == workspace.read(name)


def test_a_diff_applies_where_a_checkout_is_not_what_was_committed(
    make_repo: Callable[..., Path], tmp_path: Path
) -> None:
    """Keywords that git expands and encodings that it changes: the policy sees, and patches, what was committed."""
    attributes = "*.ident ident\n*.utf16 text working-tree-encoding=UTF-16\n"
    repo = make_repo({".gitattributes": attributes, "id.ident": "$Id$\none\n"})
    git(tmp_path, "clone", "-q", str(repo), "checkout")
    assert (tmp_path / "checkout" / "id.ident").read_text().startswith("$Id: ")
    (repo / "a.utf16").write_bytes("one\n".encode("utf-16"))
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "wide")
    git(tmp_path / "checkout", "pull", "-q")
    with contextlib.closing(Workspace(str(repo))) as workspace:
        assert workspace.read("id.ident") == File(b"$Id$\none\n")
        assert workspace.read("a.utf16") == File(b"one\n")
        for name in ("id.ident", "a.utf16"):
            old = workspace.read(name)
            assert old is not None
            workspace.write(name, File(old.data.replace(b"one", b"two")))
        apply(tmp_path / "checkout", workspace.diff())
    assert (tmp_path / "checkout" / "id.ident").read_text().endswith("$\ntwo\n")
    assert (tmp_path / "checkout" / "a.utf16").read_bytes().decode("utf-16") == "two\n"


def test_a_diff_names_files_in_one_order_however_they_were_written(workspace: Workspace) -> None:
    names = ["z", "a/b", "a-b", "a.b", "\u00e9", "B", "pkg/z", "pkg0"]
    for name in names:
        workspace.write(name, File(b"x\n"))
    first = workspace.diff()
    workspace.close()
    for name in reversed(names):
        workspace.write(name, File(b"x\n"))
    assert workspace.diff() == first


def test_what_was_put_back_is_no_change(workspace: Workspace) -> None:
    """Touched, but not changed: the diff is empty."""
    workspace.write("sums.py", FIXED)
    workspace.write("sums.py", File(BUG.encode()))
    assert (workspace.changed, workspace.diff(), workspace.touched) == (False, "", ("sums.py",))


def test_two_episodes_of_one_tree_do_not_see_each_other(repo: Path) -> None:
    with contextlib.closing(Workspace(str(repo))) as one, contextlib.closing(Workspace(str(repo))) as two:
        assert one.base == two.base
        one.write("sums.py", FIXED)
        assert two.read("sums.py") == File(BUG.encode())
        two.write("other.py", File(b""))
        assert one.touched == ("sums.py",)


# Snapshots.


def test_a_snapshot_is_restored(workspace: Workspace) -> None:
    """Files made since are gone, also from the box's layers; the snapshot itself never changes."""
    workspace.write("sums.py", FIXED)
    snapshot, diff = workspace.snapshot(), workspace.diff()
    workspace.write("new.py", File(b"x = 1\n"))
    workspace.write("sums.py", File(b"broken\n"))
    version = workspace.version
    workspace.restore(snapshot)
    assert (workspace.diff(), workspace.touched) == (diff, ("sums.py",))
    assert workspace.version > version
    assert sorted(path.name for path in workspace.layers[1].rglob("*")) == ["sums.py"]
    assert workspace.snapshot() == snapshot
    workspace.write("sums.py", File(b"broken again\n"))
    workspace.restore(snapshot)
    assert workspace.diff() == diff


def test_a_snapshot_of_nothing_makes_the_base_again(workspace: Workspace) -> None:
    nothing = workspace.snapshot()
    workspace.write("new/x.py", File(b""))
    version = workspace.version
    workspace.restore(nothing)
    assert (workspace.layers, workspace.diff()) == ((workspace.base,), "")
    assert workspace.version > version


def test_restoring_the_present_state_keeps_the_box(workspace: Workspace) -> None:
    workspace.write("sums.py", FIXED)
    layers, version = workspace.layers, workspace.version
    workspace.restore(workspace.snapshot())
    assert (workspace.layers, workspace.version) == (layers, version)


def test_a_snapshot_goes_to_another_workspace_and_survives_its_own(repo: Path) -> None:
    with contextlib.closing(Workspace(str(repo))) as one, contextlib.closing(Workspace(str(repo))) as two:
        one.write("sums.py", FIXED)
        one.write("a/b", File(b"1", executable=True))
        snapshot, diff = one.snapshot(), one.diff()
        one.close()
        two.write("other.py", File(b""))
        two.restore(snapshot)
        assert two.diff() == diff
        two.write("sums.py", File(b"2"))
        one.restore(snapshot)
        assert one.diff() == diff


# The end.


def test_closing_leaves_no_folder_and_may_be_done_twice(repo: Path) -> None:
    sessions = cache_dir() / "sessions"
    before = set(sessions.glob("*")) if sessions.is_dir() else set()
    workspace = Workspace(str(repo))
    workspace.write("new/deep/x.py", File(b""))
    scratch = workspace.layers[1]
    workspace.close()
    workspace.close()
    assert not scratch.exists()
    assert {path for path in sessions.glob("*") if path.name != ".lock"} <= before
    assert workspace.base.is_dir()
    assert (workspace.touched, workspace.diff()) == ((), "")


def test_a_folder_that_cannot_be_removed_is_reported(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(str(repo), cache=tmp_path / "cache")
    workspace.write("sums.py", FIXED)

    def fail(path: str, *_: object, **__: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy", path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", fail)
        with pytest.raises(WorkspaceError, match=r"cannot remove .*Device or resource busy"):
            workspace.close()


# Conflicts and failures.


def test_a_file_may_not_become_a_folder_nor_a_folder_a_file(workspace: Workspace) -> None:
    """A mistake of the policy, whoever made the file or folder in the way; the episode goes on."""
    workspace.write("made/x.py", File(b"1"))
    workspace.write("file", File(b"2"))
    version, diff = workspace.version, workspace.diff()
    for name in ("sums.py/x.py", "file/x.py", "file/deep/x.py", "pkg", "made", "pkg/data.txt/x"):
        with pytest.raises(ToolError, match=r"is a file, not a folder|is a folder"):
            workspace.write(name, File(b"3"))
        assert (workspace.version, workspace.diff()) == (version, diff)
    assert sorted(path.name for path in workspace.layers[1].rglob("*")) == ["file", "made", "x.py"]


@pytest.mark.parametrize(
    ("number", "mend"),
    [(errno.ENOSPC, "free some space, or set NANO_CODEX_CACHE"), (errno.EROFS, "set NANO_CODEX_CACHE to a folder")],
)
def test_a_full_disk_is_ours_and_leaves_the_files_as_they_were(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, number: int, mend: str
) -> None:
    workspace.write("sums.py", FIXED)
    version, diff = workspace.version, workspace.diff()

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    for name in ("rename", "fchmod", "mkdir"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(WorkspaceError, match=f"writing new/x.py: .*{mend}"):
                workspace.write("new/x.py", File(b"1"))
        assert (workspace.version, workspace.diff()) == (version, diff)
        assert [path.name for path in workspace.layers[1].rglob("*") if path.is_file()] == ["sums.py"]
    workspace.write("new/x.py", File(b"1"))
    assert workspace.read("new/x.py") == File(b"1")
