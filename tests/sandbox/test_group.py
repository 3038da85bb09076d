"""Control groups for boxes: where one can be had, and a box that lives and ends in one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nano_codex_env.errors import SandboxError
from nano_codex_env.sandbox import Bubblewrap, View, bubblewrap
from nano_codex_env.sandbox.cgroup import ControlGroup, delegated_group

HERE = next(
    (
        Path(line.split()[4])
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.partition(" - ")[2].startswith("cgroup2 ")
    ),
    None,
)
needs_groups = pytest.mark.skipif(
    HERE is None or not os.access(HERE, os.W_OK), reason="needs root and a mounted cgroup v2, to make groups in it"
)


def tells(folder: Path, ours: str, handed_down: str | None) -> Path:
    """What /proc/self would tell in a group; the group above hands these controllers down."""
    groups = folder / "groups"
    (groups / ours.lstrip("/")).mkdir(parents=True)
    above = groups / ours.lstrip("/") if ours == "/" else (groups / ours.lstrip("/")).parent
    (above / "cgroup.procs").write_text("")
    if handed_down is not None:
        (above / "cgroup.subtree_control").write_text(handed_down)
    proc = folder / "proc"
    proc.mkdir()
    (proc / "mountinfo").write_text(f"30 23 0:26 / {groups} rw,nosuid shared:4 - cgroup2 cgroup2 rw\n")
    (proc / "cgroup").write_text(f"4:memory:/elsewhere\n0::{ours}\n")
    return proc


def test_a_group_can_be_had_where_the_one_above_hands_memory_down(tmp_path: Path) -> None:
    proc = tells(tmp_path, "/user.slice/app.slice/run.scope", "cpu memory pids\n")
    assert delegated_group(proc) == tmp_path / "groups" / "user.slice" / "app.slice"


def test_at_the_top_of_a_namespace_the_group_itself_may_hand_it_down(tmp_path: Path) -> None:
    assert delegated_group(tells(tmp_path, "/", "memory\n")) == tmp_path / "groups"


@pytest.mark.parametrize("handed_down", ["", "cpu pids\n", None])
def test_elsewhere_there_is_none(tmp_path: Path, handed_down: str | None) -> None:
    assert delegated_group(tells(tmp_path, "/a/b", handed_down)) is None


def test_without_version_two_there_is_none(tmp_path: Path) -> None:
    proc = tells(tmp_path, "/a/b", "memory\n")
    (proc / "mountinfo").write_text("30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - tmpfs tmpfs rw\n")
    assert delegated_group(proc) is None


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    proc = tells(tmp_path, "/a/b", "memory\n")
    dead, ours = (tmp_path / "groups" / "a" / f"nano-codex-{pid}-x" for pid in (2**22 + 1, os.getpid()))
    dead.mkdir()
    ours.mkdir()
    assert delegated_group(proc)
    assert (dead.exists(), ours.exists()) == (False, True)


@pytest.fixture
def parent() -> Iterator[Path]:
    """A real group for groups."""
    assert HERE
    folder = HERE / f"nano-codex-tests-{os.getpid()}"
    folder.mkdir()
    yield folder
    folder.rmdir()


@needs_groups
def test_a_box_is_in_its_group_and_the_group_ends_with_it(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real group; the bound is one that every kernel has, whoever holds the memory controller."""
    tmp_path.chmod(0o755)
    monkeypatch.setattr(bubblewrap, "delegated_group", lambda: parent)
    monkeypatch.setattr(bubblewrap, "ControlGroup", lambda parent, _: ControlGroup(parent, {"cgroup.max.depth": "0"}))
    box = Bubblewrap().open(View((tmp_path,)))
    [group] = [path for path in parent.iterdir() if path.is_dir()]
    assert (group / "cgroup.max.depth").read_text() == "0\n"
    assert len((group / "cgroup.procs").read_text().split()) >= 2
    assert box.run("sleep 5 & echo up", timeout=60, keep=100).output.text() == "up\n"
    box.close()
    assert not group.exists()


@needs_groups
def test_a_bound_that_the_kernel_refuses_is_a_failure_of_ours(parent: Path) -> None:
    with pytest.raises(SandboxError, match="no control group for a box"):
        ControlGroup(parent, {"cgroup.max.depth": "many"})
    assert not list(parent.glob("nano-codex-*"))
