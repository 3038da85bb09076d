"""Why no box opens on this machine, what one can do about it, and what only an administrator can.

The launcher's message alone does not tell one cause from another ("Operation not permitted" has six), so the files in
/proc that the kernel's switches stand in are read as well.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nano_codex_env.sandbox.rootfs import DROP_UID

NAMESPACES_PER_BOX = 2
"""User namespaces of one box: bubblewrap makes a second one to drop the rights that it had in the first."""
_WANTED = 15000
"""User namespaces to ask an administrator for."""
_FEW = 64
DOCKER = (
    "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
    "--security-opt systempaths=unconfined ..."
)
PODMAN = "podman run --security-opt seccomp=unconfined --security-opt unmask=ALL ..."
KUBERNETES = (
    "pod spec: hostUsers: false; securityContext: {seccompProfile: {type: Unconfined}, "
    "appArmorProfile: {type: Unconfined}, procMount: Unmasked}"
)


@dataclass(frozen=True)
class Obstacle:
    """Something that keeps boxes from opening."""

    found: str
    fix: str
    """What to do, for a user."""
    admin: tuple[str, ...] = ()
    """Lines for an administrator: commands, or settings with the place where they belong."""


class _Machine:
    """What the diagnosis reads; a tree of files with the same names does as well."""

    def __init__(self, root: Path, environ: Mapping[str, str], bwrap: str) -> None:
        self._root, self.container, self.bwrap = root, container(root, environ), bwrap

    def read(self, name: str) -> str:
        """A file's text without the white space around it; empty if there is none."""
        try:
            return (self._root / name).read_text(encoding="utf-8", errors="replace").strip(" \n\0")
        except OSError:  # EINVAL: no security module writes /proc/self/attr/current
            return ""

    def number(self, name: str) -> int | None:
        """A file's number; None if there is no such file."""
        text = self.read(name)
        return int(text) if text.isdecimal() else None

    def status(self, key: str) -> list[str]:
        """A line of /proc/self/status."""
        found = re.search(rf"^{key}:(.*)$", self.read("proc/self/status"), re.MULTILINE)
        return found[1].split() if found else []


def container(root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> str:
    """The kind of container that this process seems to run in, or an empty string."""
    if "APPTAINER_CONTAINER" in environ or "SINGULARITY_CONTAINER" in environ:
        return "Apptainer"
    if "KUBERNETES_SERVICE_HOST" in environ:
        return "Kubernetes"
    for name, kind in (("run/.containerenv", "Podman"), (".dockerenv", "Docker")):
        if (root / name).exists():
            return kind
    return environ.get("container", "")


def obstacles(
    error: str, bwrap: str, root: Path = Path("/"), environ: Mapping[str, str] = os.environ
) -> list[Obstacle]:
    """What keeps a box from opening, the likeliest cause first; never empty.

    Args:
        error: what the launcher said.
        bwrap: the launcher's path.
        root: the folder that holds `proc`, `sys` and the marks of containers.
        environ: the environment variables, some of which name a container.
    """
    machine = _Machine(root, environ, bwrap)
    if "/usr/bin/setpriv" in error:
        return [Obstacle("setpriv is missing", "As root the box needs setpriv: install the package util-linux")]
    if closed := re.search(r"(?:Can't (?:find|get type of) source(?: path)?|cat:) (\S+): Permission denied", error):
        return [_closed(closed[1])]
    if "Too many open files" in error:
        return [Obstacle("this process may open no more files", "raise the limit: ulimit -n 4096")]
    if "overlay mount" in error:
        return [_overlay(machine, error)]
    if re.search(r"[Cc]an't mount proc|overflowuid", error):  # refused where parts of the present one are covered
        return [_restart(machine, f"parts of /proc are hidden{_in(machine)}, so no sandbox gets one of its own")]
    checks = (_of_this_user, _switches, _counts, _confinement)
    return [obstacle for check in checks for obstacle in check(machine, error)] or [
        Obstacle("none that is known", f"see the message; in a container, these flags help: {DOCKER}")
    ]


def advice(error: str, bwrap: str) -> str:
    """How to fix a box that did not open, given its launcher's message."""
    first = obstacles(error, bwrap)[0]
    ask = f" For the administrator: {'; '.join(first.admin)}." if first.admin else ""
    return f"The cause: {first.found}; {first.fix}.{ask} `nano-codex doctor` says more."


def user_name() -> str:
    """The name of this user, for lines that an administrator reads."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may have no entry for its user
        return f"uid {os.getuid()}"


def sysctl(name: str, value: int) -> tuple[str, ...]:
    """Commands that set a value now, and keep it."""
    file = f"/etc/sysctl.d/90-{name.rpartition('.')[2].replace('_', '-')}.conf"
    return f"sysctl -w {name}={value}", f"echo '{name} = {value}' > {file}"


def _overlay(machine: _Machine, error: str) -> Obstacle:
    release = machine.read("proc/sys/kernel/osrelease")
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers and (int(numbers[1]), int(numbers[2])) < (5, 11):
        return Obstacle(
            f"Linux {release} has no overlay mounts in user namespaces",
            "use a node with Linux 5.11 or newer (RHEL 9, Ubuntu 22.04, Debian 12)",
            ("nodes with Linux 5.11 or newer: RHEL 9, Ubuntu 22.04, Debian 12 or later",),
        )
    if "No such device" in error:
        lines = ("modprobe overlay", "echo overlay > /etc/modules-load.d/overlay.conf")
        return Obstacle("this kernel has no overlay file system loaded", "ask the administrator to load it", lines)
    return Obstacle(
        "the kernel refuses an overlay over these folders",
        "keep the cache and temporary files on a local disk (ext4, xfs, tmpfs), which is no overlay itself: set "
        "NANO_CODEX_CACHE and TMPDIR",
    )


def _closed(path: str) -> Obstacle:
    where = "" if re.fullmatch(r"/tmp/(\d+|file)", path) else f" {path}"  # names that only the launcher knows
    return Obstacle(
        f"the user of boxes may not enter{where or ' a folder of ours'}",
        "the cache (NANO_CODEX_CACHE), TMPDIR and Python must be where every user may enter: on a local disk, or on "
        "FUSE with allow_other",
    )


def _restart(machine: _Machine, found: str, *more: str) -> Obstacle:
    """Something that the settings of this container forbid."""
    if machine.container == "Kubernetes":
        return Obstacle(found, "start the pod with the settings for the administrator", (KUBERNETES, *more))
    line = PODMAN if machine.container == "Podman" else DOCKER
    return Obstacle(found, "start the container with the flags for the administrator", (line, *more))


def _in(machine: _Machine) -> str:
    return f" in this container ({machine.container})" if machine.container else ""


def _switches(machine: _Machine, error: str) -> Iterator[Obstacle]:
    most = machine.number("proc/sys/user/max_user_namespaces")
    if machine.read("proc/sys/kernel/osrelease") and most is None:
        found, line = "this kernel has no user namespaces (CONFIG_USER_NS)", "a kernel built with CONFIG_USER_NS=y"
        yield Obstacle(found, "use another node, or a virtual machine", (line,))
    clone, apparmor = "kernel.unprivileged_userns_clone", "kernel.apparmor_restrict_unprivileged_userns"
    fix = "ask the administrator to allow user namespaces"
    if most == 0:
        yield Obstacle("user.max_user_namespaces is 0", fix, sysctl("user.max_user_namespaces", _WANTED))
    if machine.number(f"proc/sys/{clone.replace('.', '/')}") == 0:
        yield Obstacle(f"{clone} is 0", fix, sysctl(clone, 1))
    if machine.number(f"proc/sys/{apparmor.replace('.', '/')}"):
        yield Obstacle(
            f"{apparmor} is 1 (Ubuntu 23.10 and later)",
            "ask for one of these: a profile for bwrap (enough for ordinary users), or the switch for all programs",
            (_profile(machine.bwrap), *sysctl(apparmor, 0)),
        )


def _counts(machine: _Machine, error: str) -> Iterator[Obstacle]:
    """A limit on the number of namespaces; those of the namespaces around this one count too, and are not shown."""
    if not re.search("ENOSPC|No space left on device", error):
        return
    limits = {f"user.max_{kind}_namespaces": machine.number(f"proc/sys/user/max_{kind}_namespaces") for kind in _KINDS}
    low = {name: limit for name, limit in limits.items() if limit is not None and limit < _FEW}
    user = "user.max_user_namespaces"
    if not low:
        found = f"a limit outside of this container or namespace is reached (inside it is {limits[user]})"
        yield Obstacle(found, "end other sandboxes, or ask for more on the host", sysctl(user, _WANTED))
    for name, limit in low.items():
        if (name, limit) != (user, 0):
            per = f", and a box takes {NAMESPACES_PER_BOX}" if name == user else ""
            yield Obstacle(f"{name} is {limit}{per}", "ask the administrator for more", sysctl(name, _WANTED))


_KINDS = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")


def _profile(bwrap: str) -> str:
    """A command that writes a profile under which this bwrap may make user namespaces."""
    text = f"abi <abi/4.0>,\\nprofile nano-codex-bwrap {bwrap} flags=(unconfined) {{\\n  userns,\\n}}\\n"
    return f"printf '{text}' > /etc/apparmor.d/nano-codex-bwrap && apparmor_parser -r /etc/apparmor.d/nano-codex-bwrap"


def _confinement(machine: _Machine, error: str) -> Iterator[Obstacle]:
    label = machine.read("proc/self/attr/current")
    if label.endswith("(enforce)"):
        yield _restart(machine, f"AppArmor confines this process: {label}{_in(machine)}")
    if machine.status("Seccomp") == ["2"]:
        found = f"a system call filter (seccomp) is in force{_in(machine)}"
        if machine.container == "Apptainer":
            yield Obstacle(found, "start it without --security=seccomp:..., and see the filter of the batch system")
        else:
            unit = "a systemd service: RestrictNamespaces=no and no SystemCallFilter= in its unit"
            yield _restart(machine, found, *([] if machine.container else [unit]))
    if machine.number("sys/fs/selinux/enforce") == 1 and re.search("[Pp]ermi", error):
        yield Obstacle(
            f"SELinux is enforcing (this process: {label})",
            "the log of denials tells if it is the cause; a container starts with `--security-opt label=disable`",
            ("ausearch -m avc -ts recent -c bwrap",),
        )


def _of_this_user(machine: _Machine, error: str) -> Iterator[Obstacle]:
    rows = [list(map(int, line.split())) for line in machine.read("proc/self/uid_map").splitlines()]
    if machine.status("Uid")[1:2] == ["0"] and not any(row[0] <= DROP_UID < row[0] + row[2] for row in rows):
        count = sum(row[2] for row in rows)
        yield Obstacle(
            f"this root is one of a user namespace with {count} user id(s); boxes need id {DROP_UID}",
            "run as an ordinary user: without `unshare -r`, `--fakeroot` (Apptainer) or `--root` (enroot)",
            ("usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER (the account outside)",),
        )
    if "temporarily unavailable" in error:
        found = re.search(r"^Max processes +(\S+)", machine.read("proc/self/limits"), re.MULTILINE)
        yield Obstacle(
            f"this user may start no more processes (limit: {found[1] if found else 'unknown'})",
            "end some, or raise the limit: ulimit -u",
            (f"echo '{user_name()} - nproc 16384' > /etc/security/limits.d/90-nproc.conf",),
        )
