"""The self-test before first use: open a box and test each protection from inside."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing

from nano_codex_env.cache import disk_errors, temporary_folder
from nano_codex_env.errors import SandboxError
from nano_codex_env.sandbox.base import Shell, View

# name: a condition in bash that holds only if the protection works
_PROTECTIONS = {
    "user": "[ $EUID -ne 0 ]",
    "capabilities": "grep -q '^CapPrm:[[:space:]]*0*$' /proc/self/status",
    "no-new-privileges": "grep -q '^NoNewPrivs:[[:space:]]*1$' /proc/self/status",
    "seccomp": "grep -q '^Seccomp:[[:space:]]*2$' /proc/self/status",
    "namespaces": "! unshare --user true 2>/dev/null",
    "processes": "set -- /proc/[0-9]*; [ $# -le 8 ]",
    "server": "[ ! -e /proc/1/mem ]",
    "environment": '[ -z "$NANO_CODEX_CACHE$SSH_AUTH_SOCK$OPENAI_API_KEY" ] && [ "$HOME" = /tmp ]',
    "network": '[ "$(grep -c : /proc/net/dev)" -le 1 ]',
    "messages": '[ "$(cat /proc/sysvipc/* | grep -vc key)" -eq 0 ]',
    "hostname": '[ "$HOSTNAME" = testbed ]',
    "homes": "! compgen -G '/home/*' >/dev/null && ! compgen -G '/root/*' >/dev/null"
    " && ! compgen -G '/var/*' >/dev/null",
    "limits": '[ "$(ulimit -u)" -le 128 ] && [ "$(ulimit -c)" = 0 ]'
    ' && [ "$(ulimit -v)" != unlimited ] && [ "$(ulimit -f)" != unlimited ] && [ "$(ulimit -t)" != unlimited ]',
    "locks": "(exec 9</testbed/upper; flock 9; flock -n /testbed/upper true)",
    "repository": "! : 2>/dev/null >/testbed/probe && ! chmod 777 /testbed/upper 2>/dev/null",
    "root": "! : 2>/dev/null >/probe",
    "system": "! : 2>/dev/null >/usr/probe",
    "devices": "! : 2>/dev/null >/dev/shm/probe",
    "tree": '[ "$(</testbed/upper)" = above ] && [ "$(</testbed/lower)" = below ]',
    "packages": "! compgen -G '/usr/lib/python3*/*-packages/*' >/dev/null"
    " && ! compgen -G '/usr/local/lib/python3*/*-packages/*' >/dev/null",
}


def check_isolation(open_box: Callable[[View], Shell]) -> None:
    """Open a box over two small layers and test every protection in it.

    Raises:
        SandboxError: the box does not open, or a protection does not work.
    """
    script = "; ".join(f"if {condition}; then echo {name}; fi" for name, condition in _PROTECTIONS.items())
    with disk_errors("testing the sandbox", "TMPDIR"), temporary_folder() as folder:
        os.chmod(folder, 0o755)
        layers = folder / "lower", folder / "upper"
        for layer, files in zip(layers, ({"lower": "below", "upper": "below"}, {"upper": "above"}), strict=True):
            layer.mkdir()
            for name, text in files.items():
                (layer / name).write_text(text)
                (layer / name).chmod(0o755)
            layer.chmod(0o755)
        with closing(open_box(View(layers))) as box:
            result = box.run(script, timeout=20, keep=8192)
    working = result.output.text().split()
    missing = [name for name in _PROTECTIONS if name not in working]
    if missing or result.exit_code != 0:
        raise SandboxError(
            f"the sandbox is not isolated ({', '.join(missing) or 'no answer'}); nothing will be run in it. "
            "`nano-codex doctor` says what is missing."
        )
