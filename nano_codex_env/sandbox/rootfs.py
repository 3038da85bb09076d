"""The root that a box sees: the system's /usr, an /etc of ours, and no installed Python packages."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from nano_codex_env.cache import publish
from nano_codex_env.errors import SandboxError

DROP_UID = 58233
"""As root: the uid that a box and the trees it reads belong to on the host; one that nobody has."""

MTIME = 946684800
"""What a box shows of ours was modified on 2000-01-01: no wall time gets into an observation."""

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
_SYSTEM = {"bin", "sbin", "lib", "lib32", "lib64", "libx32", "libexec", "share", "include", "etc", "games", "man"}
_FOLDERS = ("dev", "etc", "etc/alternatives", "etc/empty", "proc", "testbed", "tmp", "usr")


def root_folder(cache_folder: Path) -> Path:
    """The box's root, published in the cache: our /etc, and what the system's folders are mounted on.

    `etc/empty` in it covers what shall not be seen.
    """
    links = {name: os.readlink(f"/{name}") for name in _LINKS if os.path.islink(f"/{name}")}
    folders = [name for name in _LINKS if name not in links and os.path.isdir(f"/{name}")]
    name = hashlib.sha256(repr((sorted(_ETC.items()), links, folders)).encode()).hexdigest()[:16]
    return publish(cache_folder / "roots" / name, lambda folder: _build(folder, links, folders))


def _build(root: Path, links: dict[str, str], folders: list[str]) -> None:
    for name in (*_FOLDERS, *folders):
        (root / name).mkdir()
    for name, text in _ETC.items():
        (root / "etc" / name).write_text(text, encoding="ascii")
    for name, target in links.items():
        (root / name).symlink_to(target)
    for path in (*root.rglob("*"), root):
        settle(path, MTIME)


def settle(path: Path, mtime: int) -> None:
    """Give a file that a box shows the mode, owner and time that it has everywhere."""
    mode = path.lstat().st_mode
    if not stat.S_ISLNK(mode):
        path.chmod(0o755 if stat.S_ISDIR(mode) or mode & 0o100 else 0o644)
    if os.geteuid() == 0:
        os.chown(path, DROP_UID, DROP_UID, follow_symlinks=False)
    os.utime(path, (mtime, mtime), follow_symlinks=False)


def settle_open(handle: int, mtime: int) -> None:
    """As `settle`, for what is open: nobody can put another file in its place meanwhile."""
    mode = os.fstat(handle).st_mode
    os.fchmod(handle, 0o755 if stat.S_ISDIR(mode) or mode & 0o100 else 0o644)
    if os.geteuid() == 0:
        os.fchown(handle, DROP_UID, DROP_UID)
    os.utime(handle, (mtime, mtime))


def forget_device_times() -> None:
    """Give the device nodes other times: all boxes have the host's, and one may have left a bit there for the next.

    (A read-only remount of each node in the box would be simpler; bubblewrap's adds `nodev`, and /dev/null is gone.)
    As their owner a time that is always the same, else the present. Where they cannot be touched from here (a read-only
    /dev), no box can touch them either.
    """
    times = (MTIME, MTIME) if os.geteuid() == 0 else None
    for node in ("null", "zero", "full", "random", "urandom", "tty"):
        with contextlib.suppress(OSError):
            os.utime(f"/dev/{node}", times)


@cache
def _package_folders() -> tuple[str, ...]:
    """Folders of installed Python packages under /usr: they may hold the very library under repair."""
    found = [Path("/usr/lib/python3/dist-packages")]
    for prefix in ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64"):
        found += Path(prefix).glob("python3*/*-packages")
    found += [Path("/usr/src"), Path("/usr/local/src")]
    return tuple(sorted({str(path) for path in found if path.is_dir() and not path.is_symlink()}))


def _covered(root: Path, hidden: Sequence[Path]) -> list[str]:
    """Folders below /usr that hold installed packages or something of ours, each once; `hidden`: more of these.

    Ours are this package, its interpreter and environment, the cache, and where we run: in them lie hidden tests,
    plans of mutants and fixed sources.

    Raises:
        SandboxError: one cannot be covered, since it is a folder that the system needs.
    """
    found = [Path(path) for path in _package_folders()]
    for place in (Path(__file__).parents[1], root.parents[1], *hidden):
        real = place.resolve()
        if _is_shown(real) and _is_system(real):
            raise SandboxError(f"policies would see what is in {real}, a folder of the system's; use a folder below it")
        found.append(real)
    for place in (Path(sys.prefix), Path(sys.base_prefix)):  # of a system's Python the packages are covered
        found += [] if _is_system(real := place.resolve()) else [real]
    here = Path.cwd().resolve()
    found += [] if _is_system(here) or _holds_programs(here) else [here]
    inside = sorted({path for path in found if _is_shown(path) and path.is_dir()})
    return [str(path) for path in inside if not any(path.is_relative_to(over) for over in inside if over != path)]


def _is_shown(path: Path) -> bool:
    """Whether a box shows it, since it shows all of /usr."""
    return path.is_relative_to("/usr") or any(path.is_relative_to(f"/{name}") for name in _LINKS)


def _holds_programs(path: Path) -> bool:
    """Whether it lies in a folder of programs or libraries, where anybody may happen to be."""
    parts = path.parts[1:]
    for top in ("usr", "local"):
        parts = parts[1:] if parts[:1] == (top,) else parts
    return parts[:1] != () and parts[0] in (*_LINKS, "libexec")


def _is_system(path: Path) -> bool:
    """Whether it is a folder that programs need: /usr, /usr/local, and the usual ones in both and in /."""
    usual = path.name in _SYSTEM and str(path.parent) in ("/", "/usr", "/usr/local")
    return usual or str(path) in ("/", "/usr", "/usr/local")


def system_mounts(root: Path, hidden: Sequence[Path] = ()) -> list[tuple[str, str]]:
    """(source, target) pairs over the root folder; folders of ours and those of `hidden` are empty, wherever they lie.

    Raises:
        SandboxError: one of these cannot be covered.
    """
    mounts = [("/usr", "/usr")]
    mounts += [
        (f"/{name}", f"/{name}") for name in _LINKS if not os.path.islink(f"/{name}") and os.path.isdir(f"/{name}")
    ]
    empty = str(root / "etc" / "empty")
    mounts += [(empty, folder) for folder in _covered(root, hidden)]
    return mounts + [(name, name) for name in ("/etc/ld.so.cache", "/etc/alternatives") if os.path.exists(name)]
