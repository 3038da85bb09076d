"""Whether boxes open: bubblewrap, user namespaces, overlays, and the sandbox's own test."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from nano_codex_env.cache import ENV_VAR, disk_errors
from nano_codex_env.cli.checks import Finding, at_once, joined, made_cache
from nano_codex_env.errors import SandboxError
from nano_codex_env.sandbox import Bubblewrap, View
from nano_codex_env.sandbox.bubblewrap import bwrap_version, find_bwrap
from nano_codex_env.sandbox.diagnosis import NAMESPACES_PER_BOX, obstacles, sysctl
from nano_codex_env.sandbox.privileges import PrivilegeDrop, can_mount

_TOOLS = ("git", "python3", "awk", "sed", "grep", "find", "file", "diff")
_NEEDS_NAMESPACES = Finding("MISSING", "needs namespaces")
_MANY = 1 << 20
_FEW_BOXES, _TOO_FEW_BOXES = 64, 4
"""The kernel frees a namespace some time after its last process has ended, so one box alone may need several."""


def bwrap() -> Finding:
    """Bubblewrap's version and path."""
    path = find_bwrap()
    return Finding("ok", f"{'.'.join(map(str, bwrap_version(path)))} at {path}")


def namespaces() -> Finding:
    """Whether this user can make the namespaces of a box, or what forbids it, and how many."""
    user = "an ordinary user"
    if os.geteuid() == 0:
        may = "may mount" if can_mount() else "may not mount: cache and Python must be readable for everyone"
        user = f"root, {may}"
    if (error := _try_bwrap()) is not None:
        return _blocked(error, f"{user}: ")
    try:
        limit = int(Path("/proc/sys/user/max_user_namespaces").read_text(encoding="ascii"))
    except OSError:  # hidden by a container
        limit = _MANY
    if limit >= _MANY:
        return Finding("ok", user)
    boxes = limit // NAMESPACES_PER_BOX
    found = f"{user}; {limit:,} user namespaces, for {boxes:,} boxes at once"
    if boxes >= _FEW_BOXES:
        return Finding("ok", found)
    status = "no" if boxes >= _TOO_FEW_BOXES else "MISSING"
    fix = at_once(boxes if status == "no" else 0)
    return Finding(status, found, fix, sysctl("user.max_user_namespaces", 15000))


def overlay() -> Finding:
    """Whether the kernel mounts overlays over what lies in the cache and in the folder of temporary files."""
    if _try_bwrap() is not None:
        return _NEEDS_NAMESPACES
    findings = []
    for parent, variable in {Path(tempfile.gettempdir()): "TMPDIR", made_cache(): ENV_VAR}.items():
        what = f"laying out an overlay in {parent}"
        with disk_errors(what, variable), tempfile.TemporaryDirectory(prefix=".nano-codex-", dir=parent) as folder:
            layers = [Path(folder, name) for name in ("lower", "upper")]
            for path in (Path(folder), *layers):
                path.mkdir(exist_ok=True)
                path.chmod(0o755)
            (layers[0] / "file").touch(mode=0o644)
            if (error := _try_bwrap(layers)) is not None:
                findings.append(_blocked(error, f"{parent}: "))
    return joined(findings) if findings else Finding("ok", "in a user namespace")


def sandbox() -> Finding:
    """A box as an episode gets it, and the tools that a policy finds in it."""
    if _try_bwrap() is not None:
        return _NEEDS_NAMESPACES
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        try:
            with closing(Bubblewrap().open(View((Path(folder),)))) as box:
                result = box.run(f"for tool in {' '.join(_TOOLS)}; do command -v $tool; done", timeout=20, keep=4096)
        except SandboxError as error:
            if not isinstance(error.__cause__, SandboxError):
                raise
            return _blocked(str(error.__cause__))  # the message of the launcher, without advice
    missing = sorted(set(_TOOLS) - {Path(path).name for path in result.output.text().split()})
    fix = f"policies will miss {', '.join(missing)}: install them below /usr" if missing else ""
    return Finding("ok", "self-test passed: namespaces, seccomp, read-only root, no network", fix)


def _try_bwrap(layers: Sequence[Path] = ()) -> str | None:
    """What is said when a box is opened, with a file in an overlay of the layers if there are any; None if it works.

    As root it is run by the user that boxes are run by.
    """
    path = find_bwrap()
    drop = PrivilegeDrop(as_root=os.geteuid() == 0)
    command = [drop.program(path), "--unshare-all", "--unshare-user", "--ro-bind", "/", "/"]
    for layer in layers:
        command += ["--overlay-src", drop.path(str(layer))]
    command += ["--ro-overlay", "/tmp", "cat", "/tmp/file"] if layers else ["true"]
    argv = drop.wrap(path, command)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False, timeout=20)
    except OSError as error:  # as root: no setpriv
        return str(error)
    return (done.stderr.strip() or f"exit status {done.returncode}") if done.returncode else None


def _blocked(error: str, where: str = "") -> Finding:
    first, *others = [Finding("MISSING", one.found, one.fix, one.admin) for one in obstacles(error, find_bwrap())]
    return joined([replace(first, found=f"{where}{first.found} ({error})"), *others])
