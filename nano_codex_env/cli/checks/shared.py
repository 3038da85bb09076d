"""What is known of file systems that several nodes share: how far locks reach, and quotas on files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from nano_codex_env.mounts import Mount

_BEEGFS = "etc/beegfs/beegfs-client.conf"
_UNKNOWN = ("9p", "fuse", "virtiofs")
_LOCAL_FUSE = ("fuse.fuse-overlayfs", "fuse.ntfs-3g", "fuse.lxcfs")


def only_local(mount: Mount, root: Path = Path("/")) -> str:
    """Why a lock there may be unknown to other nodes; empty where it is not, or where no other node has the files."""
    kind, options = mount.kind, mount.options
    if kind in ("nfs", "nfs4"):
        found = sorted(options & {"nolock", "local_lock=all", "local_lock=flock"})
    elif kind == "lustre":
        found = sorted(options & {"localflock"})
    elif kind in ("cifs", "smb3"):
        found = sorted(options & {"nobrl"})
    elif kind == "beegfs":
        found = [] if _has_global_locks(root) else ["tuneUseGlobalFileLocks is not true"]
    elif kind in _UNKNOWN or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE):
        return "whether its locks hold on other nodes too cannot be told from here"
    else:
        found = []
    return f"locks hold on this node only ({', '.join(found)})" if found else ""


def _has_global_locks(root: Path) -> bool:
    try:
        text = (root / _BEEGFS).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return bool(re.search(r"^\s*tuneUseGlobalFileLocks\s*=\s*(true|1)\b", text, re.MULTILINE | re.IGNORECASE))


def lock_lines(mount: Mount) -> tuple[str, ...]:
    """What an administrator can do for locks that all nodes know."""
    if mount.kind == "lustre":
        mounting = f"umount {mount.target} && mount -t lustre -o flock {mount.source} {mount.target}"
        return mounting, f"/etc/fstab: the option `flock` for {mount.target}, on every node"
    if mount.kind in ("nfs", "nfs4"):
        return (
            f"/etc/fstab: {mount.target} with vers=4.2, without nolock and local_lock, then mount it anew",
            "NFS version 3 needs, on client and server: systemctl enable --now rpc-statd",
        )
    if mount.kind in ("cifs", "smb3"):
        return (f"/etc/fstab: {mount.target} without nobrl, then mount it anew",)
    if mount.kind == "beegfs":
        file = f"/{_BEEGFS}"
        return (f"{file}: tuneUseGlobalFileLocks = true, on every node, then: systemctl restart beegfs-client",)
    return (f"{mount.target} ({mount.kind}): flock(2) that works, and across nodes",)


def quota_left(folder: Path, mount: Mount, output: Callable[[list[str]], str]) -> int | None:
    """How many files the quotas on this user and group still allow there; None where there is no quota.

    Args:
        folder: where files are to be made.
        mount: the file system it lies on.
        output: runs a program and returns what it prints; empty if there is no such program.
    """
    if mount.kind == "lustre":
        texts = [
            output(["lfs", "quota", "-q", f"-{which}", str(number), mount.target])
            for which, number in (("u", os.getuid()), ("g", os.getgid()))
        ]
        name = mount.target
    else:  # statfs tells of quotas on a project, but not of those on a user or a group
        texts = [output(["quota", "-ugwp"])]
        name = mount.source
    left = [count for text in texts for count in _files_left(text, name)]
    return min(left, default=None)


def _files_left(text: str, name: str) -> list[int]:
    """By the rows for one file system: blocks, quota, limit, grace, files, quota, limit, grace."""
    row = rf"^\s*{re.escape(name)}\s+\d+\*?\s+\d+\s+\d+\s+\S+\s+(\d+)\*?\s+(\d+)\s+(\d+)(?:\s|$)"
    rows = [tuple(map(int, found)) for found in re.findall(row, text, re.MULTILINE)]
    return [max(0, (hard or soft) - used) for used, soft, hard in rows if hard or soft]
