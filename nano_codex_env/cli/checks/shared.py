"""What is known of file systems that several nodes share: how far locks reach, and quotas on files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from nano_codex_env.mounts import Mount

_BEEGFS = "etc/beegfs/beegfs-client.conf"
_NFS = frozenset({"nolock", "local_lock=all", "local_lock=flock"})
_SMB = frozenset({"nobrl"})
_LOCAL_LOCKS = {"nfs": _NFS, "nfs4": _NFS, "cifs": _SMB, "smb3": _SMB, "lustre": frozenset({"localflock"})}
"""Kind of file system -> the options of a mount with which its locks hold on one node only."""
_NFS_LINES = (
    "/etc/fstab: {target} with vers=4.2, without nolock and local_lock, then mount it anew",
    "NFS version 3 needs, on client and server: systemctl enable --now rpc-statd",
)
_SMB_LINES = ("/etc/fstab: {target} without nobrl, then mount it anew",)
_LOCK_LINES = {
    "nfs": _NFS_LINES,
    "nfs4": _NFS_LINES,
    "cifs": _SMB_LINES,
    "smb3": _SMB_LINES,
    "lustre": (
        "umount {target} && mount -t lustre -o flock {source} {target}",
        "/etc/fstab: the option `flock` for {target}, on every node",
    ),
    "beegfs": (f"/{_BEEGFS}: tuneUseGlobalFileLocks = true, on every node, then: systemctl restart beegfs-client",),
}
_UNKNOWN = ("9p", "fuse", "virtiofs")
_LOCAL_FUSE = ("fuse.fuse-overlayfs", "fuse.ntfs-3g", "fuse.lxcfs")


def only_local(mount: Mount, root: Path = Path("/")) -> str:
    """Why a lock there may be unknown to other nodes; empty where it is not, or where no other node has the files."""
    if mount.kind in _UNKNOWN or (mount.kind.startswith("fuse.") and mount.kind not in _LOCAL_FUSE):
        return "whether its locks hold on other nodes too cannot be told from here"
    found = sorted(mount.options & _LOCAL_LOCKS.get(mount.kind, frozenset()))
    if mount.kind == "beegfs" and not _has_global_locks(root):
        found = ["tuneUseGlobalFileLocks is not true"]
    return f"locks hold on this node only ({', '.join(found)})" if found else ""


def _has_global_locks(root: Path) -> bool:
    try:
        text = (root / _BEEGFS).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return bool(re.search(r"^\s*tuneUseGlobalFileLocks\s*=\s*(true|1)\b", text, re.MULTILINE | re.IGNORECASE))


def lock_lines(mount: Mount) -> tuple[str, ...]:
    """What an administrator can do for locks that all nodes know."""
    lines = _LOCK_LINES.get(mount.kind, ("{target} ({kind}): flock(2) that works, and across nodes",))
    return tuple(line.format(target=mount.target, kind=mount.kind, source=mount.source) for line in lines)


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
