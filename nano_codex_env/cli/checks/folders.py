"""The folders that are written to (the cache, logs, temporary files): room, files, locks."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from nano_codex_env.cache import ENV_VAR, cache_dir, remove_dead_sessions
from nano_codex_env.cli.checks import Finding, joined, made_cache
from nano_codex_env.cli.checks.shared import lock_lines, only_local, quota_left
from nano_codex_env.errors import WorkspaceError
from nano_codex_env.locks import NoLocksError, try_lock
from nano_codex_env.mounts import Mount, mount_of
from nano_codex_env.records.log_format import LOG_DIR, check_log_dir
from nano_codex_env.sandbox.diagnosis import user_name
from nano_codex_env.sandbox.rootfs import DROP_UID, MTIME, normalize_mode_and_time

_MIB, _GIB = 1 << 20, 1 << 30
_LOCAL = f"export {ENV_VAR}=/local/disk/nano-codex"
FILES_OF_A_REPOSITORY = 300
"""Files and folders of a small repository in the cache: its mirror and one base tree (the bundled ones have 290)."""
FILES_OF_A_LOG = 6
"""A folder and its files, with the tokens that some policies report."""
FILES_OF_SCORING = 16
"""Temporary files of an episode that is being scored, about 64 KiB."""


def cache() -> Finding:
    """Where the cache is, whether all that is done there works, and its room."""
    folder = made_cache()
    removed = remove_dead_sessions(folder)
    mount = mount_of(folder)
    free = shutil.disk_usage(folder).free
    left = f"; {len(removed)} left-over session folder(s) removed" if removed else ""
    found = f"{folder}, {mount.kind}, {_size(free)} free{left}"
    if failed := _failing_operation(folder):
        fix = f"a local disk: {_LOCAL}"
        if os.geteuid() == 0:  # NFS with root_squash, or a user namespace without that id
            fix += f"; or run as an ordinary user: as root the files must get the owner {DROP_UID}"
        return Finding("MISSING", f"{found}; {failed}", fix)
    if free < 64 * _MIB:
        return Finding("MISSING", found, f"nano-codex cache prune, or a larger disk: {_LOCAL}")
    if free < _GIB:
        return Finding("no", found, f"a larger disk for more than small repositories: {_LOCAL}")
    if "noexec" in mount.options:
        line = f"mount -o remount,exec {mount.target}"
        return Finding("no", f"{found}; noexec: tasks with packages cannot run", f"another disk: {_LOCAL}", (line,))
    return Finding("ok", found)


def locks() -> Finding:
    """Whether locks on files exclude others, in the cache and where logs are written."""
    cache = _locks_in("cache", made_cache(), f"one cache for each node: {_LOCAL}", "MISSING")
    elsewhere = "logs elsewhere: --out, log_dir="
    try:
        check_log_dir(LOG_DIR)
    except OSError as error:
        return joined([cache, Finding("no", f"logs: {LOG_DIR} cannot be used: {error}", elsewhere)])
    return joined([cache, _locks_in("logs", _existing(_logs()), elsewhere, "no")])


def inodes() -> Finding:
    """How many files can still be made in the cache and in the folder of logs."""
    return joined(
        [
            _files_in(
                "cache", cache_dir(), "repositories", FILES_OF_A_REPOSITORY, 30, f"nano-codex cache prune; {_LOCAL}"
            ),
            _files_in("logs", _logs(), "episodes", FILES_OF_A_LOG, 20_000, 'log="shard", or --out elsewhere'),
        ]
    )


def tmp() -> Finding:
    """The folder of temporary files: whether it is the one that TMPDIR names, and its room."""
    fix = "export TMPDIR=/local/disk/tmp, a folder that exists"
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        return Finding("MISSING", str(error.strerror or error), fix)
    mount, state = mount_of(folder), os.statvfs(folder)
    room, files = state.f_bavail * state.f_frsize, state.f_favail if state.f_files else None
    found = f"{folder}, {mount.kind}, {_size(room)} and {_count(files)} files free"
    if mount.kind in ("tmpfs", "ramfs"):
        found += ", which is memory"
    wanted = os.environ.get("TMPDIR")
    status = "ok"
    if wanted and not (os.path.isdir(wanted) and os.path.samefile(wanted, folder)):
        status, found = "no", f"{found}; TMPDIR={wanted} cannot be used"
    line = f"mount -o remount,size=4G,nr_inodes=1000000 {mount.target}"
    admin = (
        line if mount.kind == "tmpfs" else f"room on {mount.target}, or a job's own /tmp (Slurm: job_container/tmpfs)"
    )
    if room < _MIB or (files is not None and files < FILES_OF_SCORING):
        return Finding("MISSING", f"{found}; an episode needs {FILES_OF_SCORING} files, 1 MiB", fix, (admin,))
    if room < 256 * _MIB or (files is not None and files < 64 * FILES_OF_SCORING):
        return Finding("no", f"{found}: little for many episodes at once", fix, (admin,))
    return Finding(status, found, "" if status == "ok" else fix)


def _failing_operation(folder: Path) -> str | None:
    """The first of the operations on which the cache relies that fails there."""

    def changed(path: Path) -> None:
        normalize_mode_and_time(path, MTIME)
        if int(path.stat().st_mtime) != MTIME:
            raise OSError("it has no effect")

    with tempfile.TemporaryDirectory(prefix=".nano-codex-", dir=folder) as name:
        inside = Path(name)
        operations: dict[str, Callable[[], object]] = {
            "writing a file": lambda: (inside / "file").write_bytes(bytes(8192)),
            "making a folder": (inside / "folder").mkdir,
            "a symbolic link": lambda: (inside / "link").symlink_to("file"),
            "setting owner, mode and time": lambda: changed(inside / "file"),
            "renaming a folder": lambda: (inside / "folder").rename(inside / "renamed"),
            "replacing a file": lambda: (inside / "link").replace(inside / "file"),
        }
        for what, operation in operations.items():
            try:
                operation()
            except OSError as error:
                return f"{what} fails: {error.strerror or error}"
    return None


def _locks_in(name: str, folder: Path, fix: str, status: str) -> Finding:
    mount = mount_of(folder)
    found = f"{name}: flock works on {mount.kind}"
    try:
        with tempfile.NamedTemporaryFile(prefix=".nano-codex-", dir=folder) as one, open(one.name, "ab") as two:
            path = Path(one.name)
            if try_lock(one.fileno(), path) and try_lock(two.fileno(), path):
                return Finding(status, f"{name}: locks on {mount} exclude nobody", fix, lock_lines(mount))
    except NoLocksError as error:
        return Finding(
            status, f"{name}: {mount} grants no locks ({os.strerror(error.errno or 0)})", fix, lock_lines(mount)
        )
    except OSError as error:
        return Finding(status, f"{name}: {folder} cannot be written ({error.strerror})", fix)
    if why := only_local(mount):
        return Finding("no", f"{name}: {mount}: {why}", fix, lock_lines(mount))
    return Finding("ok", found)


def _files_in(name: str, folder: Path, units: str, each: int, enough: int, fix: str) -> Finding:
    folder = _existing(folder)
    mount, state = mount_of(folder), os.statvfs(folder)
    free = state.f_favail if state.f_files else None  # none: the file system makes them as they are needed
    left = quota_left(folder, mount, _output)
    counts = [count for count in (free, left) if count is not None]
    if not counts:
        return Finding("ok", f"{name}: no fixed number")
    fits = min(counts) // each
    by = ", by your quota" if left is not None and left == min(counts) else ""
    found = f"{name}: {_count(min(counts))} files left{by}, {fits:,} {units}"
    if fits >= enough:
        return Finding("ok", found)
    return Finding("no" if fits else "MISSING", found, fix, (_inode_line(mount, by),))


def _inode_line(mount: Mount, by: str) -> str:
    if mount.kind == "tmpfs" and not by:
        return f"mount -o remount,nr_inodes=1000000 {mount.target}"
    if mount.kind == "lustre" and by:
        return f"lfs setquota -u {user_name()} -I 1000000 {mount.target}"
    return f"room for 1,000,000 files of {user_name()} on {mount.target} ({mount.kind})"


def _output(argv: list[str]) -> str:
    """What a program prints; empty if there is no such program or it does not answer."""
    if shutil.which(argv[0]) is None:
        return ""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False, timeout=10)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout


def _logs() -> Path:
    """The folder of logs in the current one."""
    try:
        return LOG_DIR.absolute()
    except FileNotFoundError as error:
        raise WorkspaceError("the current folder has been removed; go to one that exists") from error


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _size(count: int) -> str:
    return f"{count / _GIB:.0f} GiB" if count >= 10 * _GIB else f"{count / _MIB:,.0f} MiB"


def _count(files: int | None) -> str:
    return "any number of" if files is None else f"{files:,}"
