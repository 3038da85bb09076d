"""What is mounted where, according to /proc/self/mountinfo."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc/self")


@dataclass(frozen=True)
class Mount:
    """A mounted file system."""

    target: str
    """The folder that it is mounted on."""
    kind: str
    """`ext4`, `nfs4`, `fuse.sshfs` and so on."""
    source: str
    """The device, or the server and its export."""
    options: frozenset[str]
    """Those of this mount and those of the file system."""
    root: str = "/"
    """The folder of the file system that is mounted."""

    def __str__(self) -> str:
        """The kind, and where it is mounted."""
        return f"{self.kind} at {self.target}"


def read_mounts(proc: Path = PROC) -> list[Mount]:
    """All mounts, in the order in which they were made."""
    found = []
    for line in (proc / "mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        row = line.split(" ")
        rest = row[row.index("-") + 1 :]
        options = frozenset(f"{row[5]},{rest[2] if len(rest) > 2 else ''}".split(","))
        found.append(Mount(_unescaped(row[4]), rest[0], _unescaped(rest[1]), options, _unescaped(row[3])))
    return found


def mount_of(path: Path, proc: Path = PROC) -> Mount:
    """The mount that a path lies on, or would lie on once it is made."""
    real = Path(os.path.realpath(path))
    holding = [mount for mount in read_mounts(proc) if real.is_relative_to(mount.target)]
    if not holding:  # in a chroot: no mount leads here
        return Mount("/", "unknown", "", frozenset())
    longest = max(len(mount.target) for mount in holding)
    return [mount for mount in holding if len(mount.target) == longest][-1]  # a later one covers those before it


def control_groups(proc: Path = PROC) -> dict[str, tuple[Path, Path]]:
    """The control groups that this process is in: controller -> where they are mounted, and ours.

    Those of version 2 have the controller "". In a container our path may be the host's, which is not there.
    """
    mounts = read_mounts(proc)
    found: dict[str, tuple[Path, Path]] = {}
    for line in (proc / "cgroup").read_text(encoding="utf-8").splitlines():
        _, names, ours = line.split(":", 2)
        for name in names.split(","):
            for mount in mounts:
                if mount.kind == ("cgroup" if name else "cgroup2") and (not name or name in mount.options):
                    group = os.path.normpath(Path(mount.target, os.path.relpath(ours, mount.root)))
                    found.setdefault(name, (Path(mount.target), Path(group)))
    return found


def limiting_groups(controller: str, proc: Path = PROC) -> list[Path]:
    """The folders of the control groups that may limit this process by a controller, of either version, ours first."""
    groups = control_groups(proc)
    found = [groups[name] for name in ("", controller) if name in groups]
    above = [folder for top, ours in found for folder in (ours, *ours.parents, top) if folder.is_relative_to(top)]
    return list(dict.fromkeys(above))


def _unescaped(text: str) -> str:
    """A name of mountinfo, which writes blanks as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
