"""The root that a box sees: the system's /usr, an /etc of ours, and no installed Python packages."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

from nano_codex_env.cache import publish

DROP_UID = 58233
"""As root: the uid that a box and the trees it reads belong to on the host; one that nobody has."""

_ETC = {
    "passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\ncodex:x:1000:1000:codex:/tmp:/bin/bash\n",
    "group": "root:x:0:\ncodex:x:1000:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "hosts": "127.0.0.1 localhost testbed\n::1 localhost testbed\n",
    "hostname": "testbed\n",
    "gitconfig": "[safe]\n\tdirectory = *\n[core]\n\tfsmonitor = false\n\thooksPath = /nonexistent\n[gc]\n\tauto = 0\n",
    "ld.so.cache": "",
}


def etc_folder(cache_folder: Path) -> Path:
    """The synthetic /etc, published in the cache; `empty` inside it covers what shall not be seen."""
    name = hashlib.sha256(repr(sorted(_ETC.items())).encode()).hexdigest()[:16]
    return publish(cache_folder / "etc" / name, _build)


def _build(folder: Path) -> None:
    for name, text in _ETC.items():
        (folder / name).write_text(text, encoding="ascii")
        (folder / name).chmod(0o644)
    for name in ("alternatives", "empty"):
        (folder / name).mkdir()
        (folder / name).chmod(0o755)


@cache
def _package_folders() -> tuple[str, ...]:
    """Folders of installed Python packages under /usr: they may hold the very library under repair."""
    found = [Path("/usr/lib/python3/dist-packages")]
    for prefix in ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64"):
        found += Path(prefix).glob("python3*/*-packages")
    return tuple(sorted({str(path) for path in found if path.is_dir() and not path.is_symlink()}))


def system_mounts(etc: Path) -> list[tuple[str, str]]:
    """(source, target) pairs; a source that starts with `->` is a symbolic link's text."""
    mounts = [("/usr", "/usr")]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = f"/{name}"
        if os.path.islink(path):
            mounts.append((f"->{os.readlink(path)}", path))
        elif os.path.isdir(path):
            mounts.append((path, path))
    mounts += [(str(etc / "empty"), folder) for folder in _package_folders()]
    mounts.append((str(etc), "/etc"))
    for name in ("/etc/ld.so.cache", "/etc/alternatives"):
        if os.path.exists(name):
            mounts.append((name, name))
    return mounts
