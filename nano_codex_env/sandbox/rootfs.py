"""The root file system of a box: the host's /usr without installed Python packages, and a small /etc."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from nano_codex_env.cache import publish
from nano_codex_env.errors import SandboxError

DROP_UID = 58233
"""As root: the uid that a box, and the trees that it reads, have on the host; no account has it."""

MTIME = 946684800
"""The modification time of every file that a box shows, 2000-01-01: observations hold no wall time."""

_ETC = {
    "passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\ncodex:x:1000:1000:codex:/tmp:/bin/bash\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": "root:x:0:\ncodex:x:1000:\nnogroup:x:65534:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "hosts": "127.0.0.1 localhost testbed\n::1 localhost testbed\n",
    "hostname": "testbed\n",
    "gitconfig": "[safe]\n\tdirectory = *\n[core]\n\tfsmonitor = false\n\thooksPath = /nonexistent\n[gc]\n\tauto = 0\n",
    "ld.so.cache": "",
}
_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Folders in / that are links into /usr on most systems."""
_FOLDERS = ("dev", "etc", "etc/alternatives", "etc/empty", "proc", "testbed", "tmp", "usr")
_SHOWN = re.compile(rf"/(usr|{'|'.join(_LINKS)})(/.*)?")
_SYSTEM = re.compile(rf"/|(/usr(/local)?)?(/({'|'.join(_LINKS)}|libexec|share|include|etc|games|man))?")
"""Folders that programs need, which can therefore not be hidden."""
_PROGRAMS = re.compile(rf"(/usr)?(/local)?/({'|'.join(_LINKS)}|libexec)(/.*)?")


def root_folder(cache_folder: Path) -> Path:
    """The root folder in the cache: our /etc, and mount points for the system; its `etc/empty` hides other folders."""
    links = {name: os.readlink(f"/{name}") for name in _LINKS if os.path.islink(f"/{name}")}
    folders = [name for name in _LINKS if name not in links and os.path.isdir(f"/{name}")]

    def build(root: Path) -> None:
        for name in (*_FOLDERS, *folders):
            (root / name).mkdir()
        for name, text in _ETC.items():
            (root / "etc" / name).write_text(text, encoding="ascii")
        for name, target in links.items():
            (root / name).symlink_to(target)
        for path in (*root.rglob("*"), root):
            normalize_mode_and_time(path, MTIME)

    name = hashlib.sha256(repr((sorted(_ETC.items()), links, folders)).encode()).hexdigest()[:16]
    return publish(cache_folder / "roots" / name, build)


def normalize_mode_and_time(file: Path | int, mtime: int) -> None:
    """Give a path or open descriptor that a box shows the mode, owner and time that it has on every machine."""
    follow: dict[str, Any] = {} if isinstance(file, int) else {"follow_symlinks": False}
    mode = os.stat(file, **follow).st_mode
    if not stat.S_ISLNK(mode):
        os.chmod(file, 0o755 if stat.S_ISDIR(mode) or mode & 0o100 else 0o644)
    if os.geteuid() == 0:
        os.chown(file, DROP_UID, DROP_UID, **follow)
    os.utime(file, (mtime, mtime), **follow)


def reset_device_times() -> None:
    """Reset the times of the device nodes, which all boxes share: a program may have encoded a bit in them.

    Their owner sets a fixed time, anyone else the present. Where we may not (a read-only /dev), no box may either.
    (A read-only remount of each node inside would be simpler, but bubblewrap's adds `nodev`, which disables /dev/null.)
    """
    times = (MTIME, MTIME) if os.geteuid() == 0 else None
    for node in ("null", "zero", "full", "random", "urandom", "tty"):
        with contextlib.suppress(OSError):
            os.utime(f"/dev/{node}", times)


def system_mounts(root: Path, hidden: Sequence[Path] = ()) -> list[tuple[str, str]]:
    """(source, target) pairs over the root folder; folders of ours and those in `hidden` are empty, wherever they are.

    Raises:
        SandboxError: one of these is a folder that programs need.
    """
    shown = ["/usr", *(f"/{name}" for name in _LINKS if not os.path.islink(f"/{name}") and os.path.isdir(f"/{name}"))]
    shown += [name for name in ("/etc/ld.so.cache", "/etc/alternatives") if os.path.exists(name)]
    empty = str(root / "etc" / "empty")
    return [(name, name) for name in shown] + [(empty, folder) for folder in _hidden_folders(root, hidden)]


def _hidden_folders(root: Path, hidden: Sequence[Path]) -> list[str]:
    """Folders that a box must cover: installed packages, and those that hold hidden tests, mutants or fixes.

    The latter are this package, the cache, our interpreter and virtual environment, and the working folder; the last
    three are shown where they are the system's own.
    """
    private = [path.resolve() for path in (Path(__file__).parents[1], root.parents[1], *hidden)]
    for path in private:
        if _SHOWN.fullmatch(str(path)) and _SYSTEM.fullmatch(str(path)):
            raise SandboxError(f"policies would see what is in {path}, a folder of the system's; use a folder below it")
    prefixes = [Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)]
    private += [path for path in prefixes if not _SYSTEM.fullmatch(str(path))]
    here = Path.cwd().resolve()
    if not _SYSTEM.fullmatch(str(here)) and not _PROGRAMS.fullmatch(str(here)):
        private.append(here)
    found = {path for path in (*private, *_installed_packages()) if _SHOWN.fullmatch(str(path)) and path.is_dir()}
    return sorted(str(path) for path in found if found.isdisjoint(path.parents))


def _listed(folder: str | Path) -> list[str]:
    """The names in a folder; `glob` would take one that cannot be read now for an empty one."""
    return sorted(os.listdir(folder)) if os.path.isdir(folder) and os.access(folder, os.R_OK) else []


@cache
def _installed_packages() -> tuple[Path, ...]:
    """Folders of Python packages and sources under /usr: they may hold the very library under repair."""
    found = [Path("/usr/lib/python3/dist-packages"), Path("/usr/src"), Path("/usr/local/src")]
    for prefix in ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64"):
        pythons = [Path(prefix, name) for name in _listed(prefix) if name.startswith("python3")]
        found += [python / name for python in pythons for name in _listed(python) if name.endswith("-packages")]
    return tuple(path for path in found if path.is_dir() and not path.is_symlink())
