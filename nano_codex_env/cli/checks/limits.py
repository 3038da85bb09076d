"""Limits on this process that episodes meet: memory of a box, descriptors, processes."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from nano_codex_env.cli.checks import Finding, at_once
from nano_codex_env.errors import SandboxError
from nano_codex_env.mounts import PROC, limiting_groups
from nano_codex_env.sandbox.cgroup import find_group
from nano_codex_env.sandbox.diagnosis import container, user_name

DESCRIPTORS_OF_AN_EPISODE = 12
"""Six while it is played (its lock and the pipes of its box), as many again while it is scored."""
DESCRIPTORS_OF_A_PROCESS = 12
"""What it has open anyway, and while it starts another program."""
PROCESSES_OF_AN_EPISODE = 8
"""A box is two launchers and a shell, as root one more; a command and its children come on top."""
_FEW = 32
"""Episodes at once from which on a limit is not worth a word."""
_ALL = "echo '{user} - {item} {value}' > /etc/security/limits.d/90-{item}.conf"


def memory(proc: Path = PROC, root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> Finding:
    """Whether the memory of a box is limited as a whole, for which a control group must be delegated."""
    try:
        return Finding("ok", f"each box is limited, by a group in {find_group(proc)}")
    except SandboxError as error:
        found = f"{error}: each process of a box is limited, not their sum"
    old = "version 1" in found
    admin: tuple[str, ...] = ()
    if "SLURM_JOB_ID" in environ:
        fix = "limit the job: sbatch --mem=64G, for boxes and trainer together"
        admin = (
            "slurm.conf: ProctrackType=proctrack/cgroup, TaskPlugin=task/cgroup,task/affinity",
            "cgroup.conf: ConstrainRAMSpace=yes",
        )
    elif container(root, environ):
        fix = "limit the container: docker run --memory 64g; in a pod resources.limits.memory"
    elif old:
        fix = "limit the service or job that this runs in"
    else:
        fix = "systemd-run --user --scope -p Delegate=yes nano-codex run ..."
        admin = (
            "mkdir -p /etc/systemd/system/user@.service.d",
            r"printf '[Service]\nDelegate=cpu memory pids\n' > /etc/systemd/system/user@.service.d/delegate.conf",
            f"systemctl daemon-reload && loginctl enable-linger {user_name()}",
        )
    if old:
        admin += ("grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1 && reboot",)
    return Finding("no", found, fix, admin)


def descriptors() -> Finding:
    """How many episodes at once the limit on open files allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Finding("ok", "no limit")
    episodes = max(0, soft - DESCRIPTORS_OF_A_PROCESS) // DESCRIPTORS_OF_AN_EPISODE
    found = f"{soft:,} open files: {episodes:,} episodes at once"
    if episodes >= _FEW:
        return Finding("ok", found)
    status = "no" if episodes else "MISSING"
    if hard == resource.RLIM_INFINITY or hard > _FEW * DESCRIPTORS_OF_AN_EPISODE:
        return Finding(status, found, "ulimit -n 4096" if hard < 0 or hard > 4096 else f"ulimit -n {hard}")
    line = _ALL.format(user=user_name(), item="nofile", value=65536)
    return Finding(status, f"{found}; at most {hard:,}", at_once(episodes), (line,))


def processes(proc: Path = PROC) -> Finding:
    """How many episodes at once the limits on processes allow: this user's, and those of the control groups above."""
    limits = {f"pids.max of {group}": count for group, count in _group_limits(proc).items()}
    own = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if own != resource.RLIM_INFINITY:
        limits["ulimit -u"] = own
    if not limits:
        return Finding("ok", "no limit")
    name = min(limits, key=limits.__getitem__)
    episodes = limits[name] // PROCESSES_OF_AN_EPISODE
    found = f"{limits[name]:,} ({name}): {episodes:,} episodes at once"
    if episodes >= _FEW:
        return Finding("ok", found)
    lines = (_ALL.format(user=user_name(), item="nproc", value=16384),)
    if name != "ulimit -u":
        lines = (
            "docker run --pids-limit 16384; Kubernetes: podPidsLimit: 16384 in the kubelet's configuration; "
            "systemd: TasksMax=16384 in the unit",
        )
    return Finding("no" if episodes else "MISSING", found, at_once(episodes), lines)


def _group_limits(proc: Path) -> dict[str, int]:
    """The limits on processes of our control groups."""
    found: dict[str, int] = {}
    for folder in limiting_groups("pids", proc):
        with suppress(OSError):
            text = (folder / "pids.max").read_text(encoding="ascii").strip()
            found |= {str(folder): int(text)} if text.isdecimal() else {}
    return found
