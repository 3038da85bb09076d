"""A control group for each box, which limits the memory of all its processes together.

It needs cgroup v2 delegation: the group above ours has the memory controller enabled and is writable for us, as in a
user's systemd session, or in a service or job with `Delegate=yes`. Elsewhere total memory is not limited.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from nano_codex_env.errors import SandboxError
from nano_codex_env.mounts import PROC, read_mounts

_PREFIX = "nano-codex-"


@cache
def delegated_group(proc: Path = PROC) -> Path | None:
    """The group in which boxes may have groups of their own, or None; groups of processes that died are removed."""
    try:
        parent = find_group(proc)
    except SandboxError:
        return None
    for folder in parent.glob(f"{_PREFIX}*"):
        if not Path("/proc", folder.name.split("-")[2]).exists():
            with contextlib.suppress(OSError):  # a process is still alive in it
                folder.rmdir()
    return parent


def find_group(proc: Path = PROC) -> Path:
    """The group in which boxes may have groups of their own.

    Raises:
        SandboxError: there is none; the message says why.
    """
    mount = next((mount for mount in read_mounts(proc) if mount.kind == "cgroup2"), None)
    lines = (proc / "cgroup").read_text(encoding="utf-8").splitlines()
    ours = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    if not mount or not ours:
        raise SandboxError("control groups are of version 1 here, or not mounted")
    parent = Path(os.path.normpath(Path(mount.target, ours.lstrip("/"), "" if ours == "/" else "..")))
    try:
        controllers = (parent / "cgroup.subtree_control").read_text(encoding="ascii").split()
    except OSError as error:
        raise SandboxError(f"{parent} cannot be read: {error.strerror}") from error
    if "memory" not in controllers:
        if any("memory" in line.split(":")[1].split(",") for line in lines):
            raise SandboxError("memory belongs to control groups of version 1 here")
        raise SandboxError(f"{parent} does not hand the memory controller down")
    if not all(os.access(path, os.W_OK) for path in (parent, parent / "cgroup.procs")):
        raise SandboxError(f"{parent} is not delegated: this user may not write in it")
    return parent


class ControlGroup:
    """The control group of one box."""

    def __init__(self, parent: Path, limits: Mapping[str, str]) -> None:
        """`limits`: file of the group -> what to write; a swap file is skipped where the kernel does not count swap.

        Raises:
            SandboxError: the group cannot be made.
        """
        with contextlib.ExitStack() as undo:
            try:
                self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))
                undo.callback(self.path.rmdir)
                for name, value in limits.items():
                    if "swap" not in name or (self.path / name).exists():
                        (self.path / name).write_text(value, encoding="ascii")
            except OSError as error:
                raise SandboxError(f"no control group for a box in {parent}: {error}") from error
            undo.pop_all()

    def entering(self, argv: Sequence[str]) -> list[str]:
        """A command that enters the group and then becomes `argv`."""
        return ["/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self.path / "cgroup.procs"), *argv]

    def remove(self) -> None:
        """Remove it, for up to a second after its processes were killed."""
        for _ in range(200):
            try:
                self.path.rmdir()
            except FileNotFoundError:
                return
            except OSError:  # the last of them takes a moment
                time.sleep(0.005)
