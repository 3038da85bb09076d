"""Why no box opens: each cause is told from the others by the files in which the kernel's switches stand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from nano_codex_env.sandbox.diagnosis import Obstacle, container, obstacles, sysctl

DENIED = "bwrap: No permissions to creating new namespace, likely because the kernel does not allow non-privileged ..."
MAPPED = "bwrap: setting up uid map: Permission denied"
FULL = "bwrap: Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces exceeded (ENOSPC)"
PROC = "bwrap: Can't mount proc on /newroot/proc: Operation not permitted"
OVERLAY = "bwrap: Can't make overlay mount on /newroot/mnt with options lowerdir=...: Operation not permitted"
BUSY = "bwrap: Creating new namespace failed: Resource temporarily unavailable"
SOURCE = "bwrap: Can't find source path /srv/cache/roots/1: Permission denied"
BEHIND = "bwrap: Can't get type of source /tmp/2: Permission denied"

HEALTHY = {
    "proc/sys/user/max_user_namespaces": "96365\n",
    "proc/sys/user/max_pid_namespaces": "96365\n",
    "proc/sys/kernel/osrelease": "6.8.0-41-generic\n",
    "proc/self/status": "Name:\tpython\nUid:\t1000\t1000\t1000\t1000\nSeccomp:\t0\nSeccomp_filters:\t0\n",
    "proc/self/uid_map": "         0          0 4294967295\n",
    "proc/self/limits": "Limit   Soft Limit   Hard Limit   Units\nMax processes             77   100   processes\n",
}
IN_SECCOMP: dict[str, str | None] = {"proc/self/status": "Uid:\t0\t0\t0\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n"}
IN_A_NAMESPACE = {
    "proc/self/status": "Uid:\t0\t0\t0\t0\nSeccomp:\t0\n",
    "proc/self/uid_map": "         0       1000          1\n",
}
APPARMOR = "proc/sys/kernel/apparmor_restrict_unprivileged_userns"

Case = tuple[str, Mapping[str, str | None], Mapping[str, str], str, str]
CASES: dict[str, Case] = {
    "off": (
        DENIED,
        {"proc/sys/user/max_user_namespaces": "0\n"},
        {},
        "user.max_user_namespaces is 0",
        "sysctl -w user.max",
    ),
    "off, full": (
        FULL,
        {"proc/sys/user/max_user_namespaces": "0\n"},
        {},
        "user.max_user_namespaces is 0",
        "sysctl -w ",
    ),
    "debian": (
        DENIED,
        {"proc/sys/kernel/unprivileged_userns_clone": "0\n"},
        {},
        "kernel.unprivileged_userns_clone is 0",
        "sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    "ubuntu": (
        MAPPED,
        {APPARMOR: "1\n"},
        {},
        "apparmor_restrict_unprivileged_userns is 1",
        "profile nano-codex-bwrap /b/bwrap",
    ),
    "docker": (
        DENIED,
        {**IN_SECCOMP, ".dockerenv": ""},
        {},
        "(seccomp) is in force in this container (Docker)",
        "docker run",
    ),
    "podman": (
        DENIED,
        {**IN_SECCOMP, "run/.containerenv": ""},
        {},
        "container (Podman)",
        "podman run --security-opt seccomp",
    ),
    "pod": (DENIED, {**IN_SECCOMP}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "(Kubernetes)", "procMount: Unmasked"),
    "service": (DENIED, IN_SECCOMP, {}, "(seccomp) is in force", "RestrictNamespaces=no"),
    "confined": (
        DENIED,
        {"proc/self/attr/current": "docker-default (enforce)\n"},
        {},
        "docker-default",
        "apparmor=unconfined",
    ),
    "selinux": (
        DENIED,
        {"sys/fs/selinux/enforce": "1", "proc/self/attr/current": "user_u:user_r:user_t:s0\0"},
        {},
        "SELinux is enforcing (this process: user_u:user_r:user_t:s0)",
        "ausearch -m avc",
    ),
    "no kernel": (DENIED, {"proc/sys/user/max_user_namespaces": None}, {}, "CONFIG_USER_NS", "CONFIG_USER_NS=y"),
    "few": (
        FULL,
        {"proc/sys/user/max_user_namespaces": "5\n"},
        {},
        "is 5, and a box takes 2",
        "user.max_user_namespaces=15000",
    ),
    "few pids": (
        FULL,
        {"proc/sys/user/max_pid_namespaces": "0\n"},
        {},
        "max_pid_namespaces is 0",
        "user.max_pid_namespaces=",
    ),
    "outside": (FULL, {}, {}, "a limit outside of this container", "sysctl -w user.max_user_namespaces=15000"),
    "mapped": (
        "setpriv: setresuid failed: Invalid argument",
        IN_A_NAMESPACE,
        {},
        "with 1 user id(s); boxes need id 58233",
        "subuid",
    ),
    "masked": (
        PROC,
        {".dockerenv": ""},
        {},
        "parts of /proc are hidden in this container (Docker)",
        "systempaths=unconfined",
    ),
    "masked pod": (PROC, {}, {"KUBERNETES_SERVICE_HOST": "1"}, "parts of /proc are hidden", "procMount: Unmasked"),
    "masked podman": (PROC, {"run/.containerenv": ""}, {}, "parts of /proc are hidden", "unmask=ALL"),
    "old": (
        OVERLAY,
        {"proc/sys/kernel/osrelease": "4.18.0-553.el8.x86_64"},
        {},
        "Linux 4.18.0-553.el8.x86_64 has no overlay",
        "RHEL 9",
    ),
    "no module": (
        OVERLAY.replace("Operation not permitted", "No such device"),
        {},
        {},
        "no overlay",
        "modprobe overlay",
    ),
    "processes": (BUSY, {}, {}, "may start no more processes (limit: 77)", "nproc"),
}
WITHOUT_ADMIN: dict[str, Case] = {
    "overlay": (OVERLAY, {}, {}, "refuses an overlay", "NANO_CODEX_CACHE and TMPDIR"),
    "setpriv": (
        "bwrap: execvp /usr/bin/setpriv: No such file or directory",
        {},
        {},
        "setpriv is missing",
        "util-linux",
    ),
    "apptainer": (DENIED, IN_SECCOMP, {"APPTAINER_CONTAINER": "/x.sif"}, "container (Apptainer)", "--security=seccomp"),
    "closed": (SOURCE, {}, {}, "may not enter /srv/cache/roots/1", "allow_other"),
    "closed below": ("cat: /tmp/file: Permission denied", {}, {}, "may not enter a folder of ours", "allow_other"),
    "closed as root": (BEHIND, {}, {}, "may not enter a folder of ours", "allow_other"),
    "files": ("cannot start /b/bwrap: [Errno 24] Too many open files", {}, {}, "no more files", "ulimit -n"),
    "unknown": ("bwrap: something new", {}, {}, "none that is known", "--security-opt seccomp=unconfined"),
}


def found(folder: Path, case: Case) -> list[Obstacle]:
    """What is found on a healthy machine with these changes."""
    error, changes, environ, _, _ = case
    for name, text in {**HEALTHY, **changes}.items():
        if text is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return obstacles(error, "/b/bwrap", folder, environ)


@pytest.mark.parametrize("name", CASES)
def test_a_cause_is_told_from_the_others_with_lines_for_the_administrator(tmp_path: Path, name: str) -> None:
    [obstacle] = found(tmp_path, CASES[name])
    assert CASES[name][3] in obstacle.found
    assert CASES[name][4] in " ".join(obstacle.admin)
    assert obstacle.fix


@pytest.mark.parametrize("name", WITHOUT_ADMIN)
def test_a_cause_that_needs_no_administrator_is_told_with_its_fix(tmp_path: Path, name: str) -> None:
    [obstacle] = found(tmp_path, WITHOUT_ADMIN[name])
    assert WITHOUT_ADMIN[name][3] in obstacle.found
    assert WITHOUT_ADMIN[name][4] in obstacle.fix
    assert obstacle.admin == ()


def test_all_causes_that_hold_at_once_are_told(tmp_path: Path) -> None:
    switches: dict[str, str | None] = {
        "proc/sys/user/max_user_namespaces": "0\n",
        "proc/sys/kernel/unprivileged_userns_clone": "0\n",
        APPARMOR: "1",
    }
    told = " ".join(obstacle.found for obstacle in found(tmp_path, (DENIED, switches | IN_SECCOMP, {}, "", "")))
    for part in ("max_user_namespaces", "unprivileged_userns_clone", "apparmor_restrict", "seccomp"):
        assert part in told


def test_a_switch_that_allows_is_no_cause(tmp_path: Path) -> None:
    allowed: dict[str, str | None] = {
        "proc/sys/kernel/unprivileged_userns_clone": "1\n",
        APPARMOR: "0\n",
        "sys/fs/selinux/enforce": "0",
    }
    [obstacle] = found(tmp_path, ("bwrap: something new", allowed | {".dockerenv": ""}, {}, "", ""))
    assert obstacle.found == "none that is known"


def test_a_folder_without_proc_is_no_failure(tmp_path: Path) -> None:
    [obstacle] = obstacles("bwrap: something new", "/b/bwrap", tmp_path, {})
    assert obstacle.found == "none that is known"
    assert container(tmp_path, {"container": "lxc"}) == "lxc"


def test_a_value_is_set_now_and_kept() -> None:
    assert sysctl("kernel.unprivileged_userns_clone", 1) == (
        "sysctl -w kernel.unprivileged_userns_clone=1",
        "echo 'kernel.unprivileged_userns_clone = 1' > /etc/sysctl.d/90-unprivileged-userns-clone.conf",
    )
