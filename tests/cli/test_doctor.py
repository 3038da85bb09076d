"""What `nano-codex doctor` says of machines that lack something: real ones where a user can make them, else files.

In a user namespace of one's own one may switch namespaces off, cover /proc, and mount a file system with few inodes.
"""

from __future__ import annotations

import os
import resource
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from nano_codex_env.cli import main
from nano_codex_env.cli.checks import Finding, folders, limits
from nano_codex_env.cli.checks.shared import lock_lines, only_local, quota_left
from nano_codex_env.errors import WorkspaceError
from nano_codex_env.mounts import Mount, mount_of
from tests.sandbox.test_bubblewrap import FORBID, script, start

DOCTOR = """
import sys
from nano_codex_env.cli import main
sys.exit(main(["doctor", *sys.argv[1:]]))
"""
FLOCK = """
import ctypes, platform, struct

op = lambda code, value, true=0, false=0: struct.pack("=HBBI", code, true, false, value)
number = {{"x86_64": 73, "aarch64": 32}}[platform.machine()]
program = op(0x20, 0) + op(0x15, number, 0, 1) + op(0x06, 0x00050000 | {error}) + op(0x06, 0x7FFF0000)
buffer = ctypes.create_string_buffer(program, len(program))
fprog = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, fprog, 0, 0) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
"""
"""Makes every flock of this process answer with an error of the kernel's; 0: it says yes, and locks nothing."""


def doctor(
    folder: Path, *arguments: str, setup: str = "", unshare: str = "", before: str = "", **env: str
) -> tuple[int, dict[str, str], str]:
    """Exit status, the table's rows by check, and all that was said; by an ordinary user after `setup`.

    `setup`: shell commands, run with all rights in a user namespace that has only user 1000; empty: none is made.
    """
    prefix = ["bash", "-c", 'cd "$0" && exec "$@"', str(folder)]
    if setup:
        drop = f'{setup}; cd {shlex.quote(str(folder))}; exec setpriv --ambient-caps=-all --inh-caps=-all "$@"'
        prefix = ["unshare", "-U", "--map-user=1000", "--map-group=1000", "--keep-caps", *unshare.split()]
        prefix += ["bash", "-euc", drop, "bash"]
    variables = {"NANO_CODEX_CACHE": str(folder / "cache"), "TMPDIR": str(folder), **env}
    with start(before + DOCTOR, *arguments, prefix=prefix, env=variables) as process:
        said = process.communicate(timeout=120)[0]
    lines = [line.strip("│").split("│") for line in said.splitlines() if line.startswith("│")]
    return process.returncode, {cells[0].strip(): " | ".join(map(str.strip, cells[1:])) for cells in lines}, said


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can reach."""
    with tempfile.TemporaryDirectory(prefix="nano-codex-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


# User namespaces, for real.


@pytest.mark.slow
def test_namespaces_that_are_switched_off_are_named_with_the_lines_that_switch_them_on(folder: Path) -> None:
    off = "echo 0 >/proc/sys/user/max_user_namespaces"
    status, rows, said = doctor(folder, setup=off)
    assert status == 1
    assert rows["namespaces"].startswith("MISSING | an ordinary user: user.max_user_namespaces is 0 (bwrap: ")
    assert rows["overlay"] == rows["sandbox"] == "MISSING | needs namespaces | "
    assert "\nnamespaces, for the administrator: sysctl -w user.max_user_namespaces=15000\n" in said
    assert said.count("/etc/sysctl.d/90-max-user-namespaces.conf") == 1
    assert said.endswith("\nnot ready: namespaces, overlay, sandbox\n")
    status, rows, said = doctor(folder, "--admin", setup=off)
    assert (status, rows) == (1, {})
    assert "\n1. namespaces (nothing runs without it): each command runs in user namespaces of its own" in said
    assert "\n   sysctl -w user.max_user_namespaces=15000\n   echo 'user.max_user_namespaces = 15000' > /etc/" in said


@pytest.mark.slow
def test_other_obstacles_to_namespaces_are_told_apart(folder: Path) -> None:
    few = doctor(folder, setup="echo 5 >/proc/sys/user/max_user_namespaces")[1]["namespaces"]
    assert few.startswith(
        "MISSING | an ordinary user; 5 user namespaces, for 2 boxes at once | ask the administrator for more"
    )
    some = doctor(folder, setup="echo 40 >/proc/sys/user/max_user_namespaces")
    assert (some[0], some[1]["namespaces"][:2], some[1]["sandbox"][:2]) == (0, "no", "ok")
    others = doctor(folder, setup="echo 0 >/proc/sys/user/max_pid_namespaces")[1]["namespaces"]
    assert "user.max_pid_namespaces is 0 (" in others
    outside = doctor(folder, setup='echo 1 >/proc/sys/user/max_user_namespaces; set -- unshare -U -c "$@"')[1]
    assert "a limit outside of this container or namespace is reached" in outside["namespaces"]
    forbidden = doctor(folder, before=FORBID)
    assert "a system call filter (seccomp) is in force" in forbidden[1]["namespaces"]
    assert "RestrictNamespaces=no" in forbidden[2] or "seccomp=unconfined" in forbidden[2]


@pytest.mark.slow
def test_a_hidden_part_of_proc_is_named(folder: Path) -> None:
    hide = "mount -t proc proc /proc; mount -t tmpfs none /proc/irq"
    status, rows, said = doctor(folder, setup=hide, unshare="-m -p -f")
    assert status == 1
    assert (rows["namespaces"][:2], rows["overlay"][:2]) == ("ok", "ok")
    assert rows["sandbox"].startswith("MISSING | parts of /proc are hidden")
    assert "systempaths=unconfined" in said or "procMount: Unmasked" in said or "unmask=ALL" in said


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_root_that_cannot_become_another_user_is_named(folder: Path) -> None:
    program = f"import os, sys; os.execvp('unshare', ['unshare', '-Ur', sys.executable, '-c', {DOCTOR!r}])"
    with start(program, env={"NANO_CODEX_CACHE": str(folder / "cache")}) as process:
        said = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "this root is one of a user namespace with 1 user id(s); boxes need id 58233" in said
    assert "or run as an ordinary user: as root the files must get the owner 58233" in said


# Folders, for real.


@pytest.mark.slow
def test_a_file_system_with_few_inodes_says_how_much_fits(folder: Path) -> None:
    mount = f"mkdir {folder}/few; mount -t tmpfs -o nr_inodes=2000,size=80m,noexec none {folder}/few"
    cache = str(folder / "few" / "cache")
    status, rows, said = doctor(folder, setup=mount, unshare="-m", NANO_CODEX_CACHE=cache, TMPDIR=str(folder / "few"))
    assert status == 0
    assert rows["cache"].startswith(f"no | {cache}, tmpfs, 80 MiB free | a larger disk")
    assert rows["inodes"].startswith("no | cache: 1,9")
    assert " files left, 6 repositories; logs: " in rows["inodes"]
    assert rows["tmp"].startswith(f"no | {folder}/few, tmpfs, 80 MiB and 1,9")
    assert f"inodes, for the administrator: mount -o remount,nr_inodes=1000000 {folder}/few\n" in said
    tiny = mount.replace("2000", "100").replace("80m", "800k")
    status, rows, _ = doctor(folder, setup=f"rmdir {folder}/few; {tiny}", unshare="-m", TMPDIR=str(folder / "few"))
    assert (status, rows["tmp"][:7]) == (1, "MISSING")
    large = mount.replace(",size=80m", "")
    _, rows, said = doctor(folder, setup=f"rmdir {folder}/few; {large}", unshare="-m", NANO_CODEX_CACHE=cache)
    assert "noexec: tasks with packages cannot run" in rows["cache"]
    assert f"cache, for the administrator: mount -o remount,exec {folder}/few\n" in said


@pytest.mark.slow
def test_a_file_system_without_locks_is_named(folder: Path) -> None:
    status, rows, said = doctor(folder, before=FLOCK.format(error=37))
    assert status == 1
    assert rows["locks"].startswith("MISSING | cache: ")
    assert "grants no locks (No locks available)" in rows["locks"]
    assert "export NANO_CODEX_CACHE=/local/disk/nano-codex" in rows["locks"]
    assert "\nlocks, for the administrator: " in said
    assert "so this file system grants no locks (flock)" in rows["sandbox"]
    assert "set NANO_CODEX_CACHE to a folder on a local disk" in rows["sandbox"]
    status, rows, _ = doctor(folder, before=FLOCK.format(error=0))
    assert (status, "exclude nobody" in rows["locks"]) == (1, True)


@pytest.mark.slow
def test_a_cache_on_two_overlays_is_no_place_for_a_third(folder: Path) -> None:
    """The self-test, which lays its tree out in TMPDIR, does not see that."""
    mount = f"mkdir {folder}/o; mount -t tmpfs none {folder}/o; cd {folder}/o; mkdir l u w m u2 w2 m2"
    mount += "; mount -t overlay none -o lowerdir=l,upperdir=u,workdir=w,userxattr m"
    status, rows, _ = doctor(folder, setup=mount, unshare="-m", NANO_CODEX_CACHE=f"{folder}/o/m/cache")
    assert (status, rows["overlay"]) == (0, "ok | in a user namespace | ")
    mount += f"; mount -t overlay none -o lowerdir={folder}/o/m,upperdir=u2,workdir=w2,userxattr m2"
    status, rows, _ = doctor(
        folder, setup=f"rmdir {folder}/o; {mount}", unshare="-m", NANO_CODEX_CACHE=f"{folder}/o/m2/cache"
    )
    assert (status, rows["sandbox"][:2]) == (1, "ok")
    found = f"MISSING | {folder}/o/m2/cache: the kernel refuses an overlay over these folders (bwrap: "
    assert rows["overlay"].startswith(found)
    assert "a local disk (ext4, xfs, tmpfs), which is no overlay itself: set NANO_CODEX_CACHE" in rows["overlay"]


# Folders, without a process of their own.


def test_a_folder_of_temporary_files_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    found = folders.tmp()
    assert (found.status, f"; TMPDIR={tmp_path}/missing cannot be used" in found.found) == ("no", True)
    assert found.found.startswith(f"{tempfile.gettempdir()}, ")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert folders.tmp().found.startswith(f"{tmp_path}, ")

    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    found = folders.tmp()
    assert (found.status, found.found) == ("MISSING", "No usable temporary directory found in ['/tmp']")
    assert "export TMPDIR=" in found.fix


def test_a_folder_of_logs_that_cannot_be_used_is_named_and_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NANO_CODEX_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert folders.locks().status == "ok"
    Path(".nano-codex").symlink_to(tmp_path)
    found = folders.locks()
    assert found.status == "no"
    assert f"logs: .nano-codex cannot be used: it is a link to {tmp_path}, which a checkout may bring" in found.found
    assert found.fix == "logs elsewhere: --out, log_dir="
    Path("gone").mkdir()
    monkeypatch.chdir("gone")
    Path("../gone").rmdir()
    for check in (folders.locks, folders.inodes):
        with pytest.raises(WorkspaceError, match="the current folder has been removed; go to one that exists"):
            check()


@pytest.mark.parametrize("name", ["making a folder", "renaming a folder", "setting owner, mode and time"])
def test_a_cache_on_which_an_operation_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setenv("NANO_CODEX_CACHE", str(tmp_path))
    assert folders.cache().status in ("ok", "no")
    owner, attribute = {"making": (Path, "mkdir"), "renaming": (Path, "rename"), "setting": (os, "utime")}[
        name.split()[0]
    ]
    (tmp_path / "sessions").mkdir(exist_ok=True)
    with monkeypatch.context() as patch:
        patch.setattr(owner, attribute, refuse)
        found = folders._failing_operation(tmp_path)
    assert found == f"{name} fails: Operation not permitted"


def test_a_quota_on_files_counts_before_the_file_system_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = mount_of(tmp_path)
    row = f"{mount.source}  20  0  0  0  1000*  1600  2200  0"
    script(tmp_path / "bin" / "quota", f"#!/bin/sh\necho 'Disk quotas for user x (uid 1):'\necho '{row}'\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("NANO_CODEX_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    found = folders.inodes()
    assert (found.status, found.found) == (
        "no",
        "cache: 1,200 files left, by your quota, 4 repositories; logs: 1,200 files left, by your quota, 200 episodes",
    )
    assert 'log="shard"' in found.fix
    assert "room for 1,000,000 files of" in found.admin[0]


def test_rows_of_quotas_are_read_whatever_program_prints_them() -> None:
    lustre = Mount("/scratch", "lustre", "10.0.0.1@o2ib:/scratch", frozenset())
    said = {
        "-u": "       /scratch 16384*     0       0       - 999990       0 1000000       -\n",
        "-g": "       /scratch\n   16384     0       0       -  1       0       0       -\n",
    }
    asked: list[list[str]] = []

    def lfs(argv: list[str]) -> str:
        asked.append(argv)
        return said[argv[3]]

    assert quota_left(Path("/scratch/me"), lustre, lfs) == 10
    assert [argv[:4] for argv in asked] == [["lfs", "quota", "-q", which] for which in said]
    nfs = Mount("/home", "nfs4", "server:/home", frozenset())
    text = "Disk quotas for user me (uid 1):\nFilesystem blocks quota limit grace files quota limit grace\n"
    for row, left in (("1 0 0 0 5 4 0 1796059919", 0), ("1 9 9 0 5 0 0 0", None), ("1 0 0 0 5 6 9 0", 4)):
        assert quota_left(Path("/home/me"), nfs, lambda _, row=row: f"{text}server:/home {row}\n") == left  # type: ignore[misc]
    assert quota_left(Path("/home/me"), nfs, lambda _: f"{text}/dev/sda1 1 0 0 0 5 6 9 0\n") is None
    assert quota_left(Path("/home/me"), nfs, lambda _: "") is None


LOCAL = "locks hold on this node only"


@pytest.mark.parametrize(
    ("kind", "options", "said", "line"),
    [
        ("nfs", "rw,vers=3,local_lock=none", "", "rpc-statd"),
        ("nfs", "rw,nolock,local_lock=all", f"{LOCAL} (local_lock=all, nolock)", "without nolock"),
        ("nfs4", "rw,vers=4.2,local_lock=flock", f"{LOCAL} (local_lock=flock)", "vers=4.2"),
        ("lustre", "rw,flock", "", "mount -t lustre -o flock host:/x /mnt/x"),
        ("lustre", "rw,localflock", f"{LOCAL} (localflock)", "/etc/fstab: the option `flock` for /mnt/x"),
        ("cifs", "rw,nobrl", f"{LOCAL} (nobrl)", "without nobrl"),
        ("gpfs", "rw", "", "flock(2)"),
        ("ceph", "rw", "", "flock(2)"),
        ("fuse.sshfs", "rw", "whether its locks hold on other nodes too cannot be told from here", "flock(2)"),
        ("fuse", "rw,allow_other", "whether its locks hold on other nodes too cannot be told from here", "flock(2)"),
        ("9p", "rw", "whether its locks hold on other nodes too cannot be told from here", "flock(2)"),
        ("ext4", "rw,localflock", "", "flock(2)"),
        ("overlay", "rw", "", "flock(2)"),
    ],
)
def test_how_far_locks_reach_is_read_from_the_mounts_options(kind: str, options: str, said: str, line: str) -> None:
    mount = Mount("/mnt/x", kind, "host:/x", frozenset(options.split(",")))
    assert only_local(mount) == said
    assert line in " ".join(lock_lines(mount))


def test_beegfs_says_in_a_file_of_its_own_how_far_locks_reach(tmp_path: Path) -> None:
    mount = Mount("/mnt/x", "beegfs", "beegfs_nodev", frozenset())
    file = tmp_path / "etc" / "beegfs" / "beegfs-client.conf"
    assert only_local(mount, tmp_path) == f"{LOCAL} (tuneUseGlobalFileLocks is not true)"
    file.parent.mkdir(parents=True)
    for text, local in (("tuneUseGlobalFileLocks = false\n", True), ("x = 1\ntuneUseGlobalFileLocks=true\n", False)):
        file.write_text(text)
        assert bool(only_local(mount, tmp_path)) is local
    assert "tuneUseGlobalFileLocks = true" in lock_lines(mount)[0]


# Limits.


def tells(folder: Path, mounts: str, groups: str, files: Mapping[str, str]) -> Path:
    """A folder that says what /proc/self would, and files below it."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "mountinfo").write_text(mounts.replace("{}", str(folder)))
    (folder / "cgroup").write_text(groups)
    return folder


V2 = "30 23 0:26 / {}/v2 rw - cgroup2 cgroup2 rw\n"


def test_without_a_delegated_group_it_is_said_why_and_what_helps(tmp_path: Path) -> None:
    ours, root = "0::/user.slice/run.scope\n", tmp_path / "root"
    groups = {"v2/user.slice/cgroup.subtree_control": "cpu pids\n", "v2/user.slice/cgroup.procs": ""}
    proc = tells(tmp_path, V2, ours, groups)
    found = limits.memory(proc, root, {})
    assert (found.status, found.fix) == ("no", "systemd-run --user --scope -p Delegate=yes nano-codex run ...")
    assert found.found.startswith(f"{tmp_path}/v2/user.slice does not hand the memory controller down: each process")
    assert r"printf '[Service]\nDelegate=cpu memory pids\n' > /etc/systemd/system/user@.service.d/" in found.admin[1]
    found = limits.memory(proc, root, {"SLURM_JOB_ID": "1"})
    assert found.fix.startswith("limit the job: sbatch --mem=")
    assert found.admin[1] == "cgroup.conf: ConstrainRAMSpace=yes"
    found = limits.memory(proc, root, {"KUBERNETES_SERVICE_HOST": "1"})
    assert (found.fix.startswith("limit the container"), found.admin) == (True, ())
    old = tells(tmp_path, V2.replace("cgroup2", "cgroup"), "4:memory:/x\n", {})
    found = limits.memory(old, root, {})
    assert found.found.startswith("control groups are of version 1 here, or not mounted: each process")
    assert "unified_cgroup_hierarchy=1" in found.admin[0]
    v1 = V2 + "31 23 0:27 / {}/v1 rw - cgroup cgroup rw,cpu,memory\n"
    proc = tells(tmp_path, v1, f"4:cpu,memory:/x\n{ours}", {})
    assert limits.memory(proc, root, {}).found.startswith("memory belongs to control groups of version 1 here")
    proc = tells(tmp_path, V2, ours, {"v2/user.slice/cgroup.subtree_control": "memory\n"})
    assert limits.memory(proc, root, {}) == Finding(
        "ok", f"each box is limited, by a group in {tmp_path}/v2/user.slice"
    )


def test_the_smallest_limit_on_processes_is_named(tmp_path: Path) -> None:
    files = {
        "v2/pids.max": "max\n",
        "v2/job/pids.max": "200\n",
        "v2/job/step/pids.max": "max\n",
        "v1/pids.max": "100\n",
    }
    found = limits.processes(tells(tmp_path, V2, "0::/job/step\n", files))
    assert (found.status, found.found) == ("no", f"200 (pids.max of {tmp_path}/v2/job): 25 episodes at once")
    assert (found.fix, "--pids-limit 16384" in found.admin[0]) == ("concurrency=25 or less", True)
    old = "31 23 0:27 / {}/v1 rw - cgroup cgroup rw,pids\n"
    found = limits.processes(tells(tmp_path, V2 + old, "7:pids:/of/the/host\n0::/\n", files))
    assert found.found == f"100 (pids.max of {tmp_path}/v1): 12 episodes at once"


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ((20000, 20000), Finding("ok", "20,000 open files: 1,665 episodes at once")),
        ((100, 1 << 19), Finding("no", "100 open files: 7 episodes at once", "ulimit -n 4096")),
        ((23, 1000), Finding("MISSING", "23 open files: 0 episodes at once", "ulimit -n 1000")),
        ((-1, -1), Finding("ok", "no limit")),
    ],
)
def test_a_small_limit_on_open_files_is_named(
    monkeypatch: pytest.MonkeyPatch, values: tuple[int, int], found: Finding
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: values)
    assert limits.descriptors() == found


def test_a_limit_that_only_an_administrator_can_raise_comes_with_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    found = limits.descriptors()
    assert (found.found, found.fix) == ("256 open files: 20 episodes at once; at most 256", "concurrency=20 or less")
    assert found.admin[0].endswith(" - nofile 65536' > /etc/security/limits.d/90-nofile.conf")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (20, 20))
    assert limits.descriptors().fix == "ask the administrator for more"


@pytest.mark.slow
@pytest.mark.parametrize("episodes", [1, 8])
def test_the_figures_for_an_episode_hold(folder: Path, episodes: int) -> None:
    """With as many descriptors as `doctor` asks for, so many episodes at once are played and scored."""
    program = f"""
import resource
from nano_codex_env import load_tasks, rollouts
from nano_codex_env.policies.scripted import Oracle

needed = {limits.DESCRIPTORS_OF_A_PROCESS + episodes * limits.DESCRIPTORS_OF_AN_EPISODE}
resource.setrlimit(resource.RLIMIT_NOFILE, (needed, needed))
tasks = load_tasks("bundled")[:{episodes}]
found = rollouts(tasks, Oracle(tasks), concurrency={episodes}, scorers={episodes}, out="{folder}/run", log="shard")
print([result.void or result.reward for result in found])
"""
    with start(program, env={"NANO_CODEX_CACHE": str(folder / "cache"), "TMPDIR": str(folder)}) as process:
        said = process.communicate(timeout=300)[0]
    assert said == f"{[1.0] * episodes}\n"


def test_a_letter_without_a_request_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nano_codex_env.cli.doctor._CHECKS", (lambda: Finding("ok", "all"),))
    assert main(["doctor", "--admin"]) == 0
    assert capsys.readouterr().out == "there is nothing to ask the administrator for\n"
