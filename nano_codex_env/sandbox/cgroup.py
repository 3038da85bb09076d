"""A control group for each box, where one can be had: a bound on the memory of all its processes together.

One can be had where cgroup v2 is delegated: the group above ours hands the memory controller down, and it is ours to
write, as in a user's systemd session, or a service or job with `Delegate=yes`. Elsewhere there is no such bound.
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

_PREFIX = "nano-codex-"


@cache
def delegated(proc: Path = Path("/proc/self")) -> Path | None:
    """The group in which a box may have one of its own, or None; `proc` is where a process tells of itself."""
    mounts = [line.split() for line in (proc / "mountinfo").read_text(encoding="utf-8").splitlines()]
    mount = next((row for row in mounts if row[row.index("-") + 1] == "cgroup2"), None)
    lines = (proc / "cgroup").read_text(encoding="utf-8").splitlines()
    ours = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    if not mount or not ours:
        return None
    above = Path(mount[4]) / ours.lstrip("/") / ("" if ours == "/" else "..")
    parent = Path(os.path.normpath(above))
    try:
        handed_down = (parent / "cgroup.subtree_control").read_text(encoding="ascii").split()
    except OSError:
        return None
    writable = os.access(parent, os.W_OK) and os.access(parent / "cgroup.procs", os.W_OK)
    if not writable or "memory" not in handed_down:
        return None
    _remove_dead(parent)
    return parent


def _remove_dead(parent: Path) -> None:
    """Groups of processes that were killed; one in which something lives cannot be removed."""
    for folder in parent.glob(f"{_PREFIX}*"):
        if not Path("/proc", folder.name.split("-")[2]).exists():
            with contextlib.suppress(OSError):
                folder.rmdir()


class Group:
    """One box's group."""

    def __init__(self, parent: Path, bounds: Mapping[str, str]) -> None:
        """`bounds`: what is written into the group's files; swap's is left out where the kernel counts none.

        Raises:
            SandboxError: the group cannot be made.
        """
        with contextlib.ExitStack() as undo:
            try:
                self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))
                undo.callback(self.path.rmdir)
                for name, value in bounds.items():
                    if "swap" not in name or (self.path / name).exists():
                        (self.path / name).write_text(value, encoding="ascii")
            except OSError as error:
                raise SandboxError(f"no control group for a box in {parent}: {error}") from error
            undo.pop_all()

    def entering(self, argv: Sequence[str]) -> list[str]:
        """`argv`, begun inside the group."""
        return ["/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self.path / "cgroup.procs"), *argv]

    def remove(self) -> None:
        """Remove it; its processes are dead or dying."""
        for _ in range(200):
            try:
                self.path.rmdir()
            except FileNotFoundError:
                return
            except OSError:  # the last of them takes a moment
                time.sleep(0.005)
