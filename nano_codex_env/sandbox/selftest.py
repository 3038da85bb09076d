"""Prove the walls before the first use: one box, one command, facts compared, never trusted."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from nano_codex_env.cache import disk_errors
from nano_codex_env.errors import SandboxError
from nano_codex_env.sandbox.base import Shell, View

# Each line: what is tried; it prints the word only if the wall stands.
_WALLS = {
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


def check_walls(open_box: Callable[[View], Shell]) -> None:
    """Open a box over two small layers and try each wall from inside.

    Raises:
        SandboxError: the box does not open, or a wall does not stand.
    """
    script = "; ".join(f"if {test}; then echo {name}; fi" for name, test in _WALLS.items())
    with disk_errors("proving the walls"), tempfile.TemporaryDirectory(prefix="nano-codex-") as folder:
        Path(folder).chmod(0o755)
        lower, upper = Path(folder, "lower"), Path(folder, "upper")
        for layer, text in ((lower, "below"), (upper, "above")):
            layer.mkdir(mode=0o755)
            layer.chmod(0o755)
            (layer / "upper").write_text(text)
        (lower / "lower").write_text("below")
        for file in Path(folder).rglob("*er"):
            file.chmod(0o755)
        box = open_box(View((lower, upper)))
        try:
            result = box.run(script, timeout=20, keep=8192)
        finally:
            box.close()
    stand = result.output.text().split()
    fallen = [name for name in _WALLS if name not in stand]
    if fallen or result.exit_code != 0:
        raise SandboxError(
            f"the sandbox's walls do not stand ({', '.join(fallen) or 'no answer'}); nothing will be run in it. "
            "`nano-codex doctor` says what is missing."
        )
