"""The targets of the probes outside the box, and how the effects of a probe are found there."""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import BUG, git

_LIBC: Any = ctypes.CDLL(None)
_LIBC.shmat.restype = ctypes.c_void_p


@dataclass
class Outside:
    """A folder with secrets, and listeners and a victim process around it."""

    area: Path
    secret: str
    mark: str
    values: dict[str, Any]
    listeners: list[socket.socket]
    victim: subprocess.Popen[bytes]
    watched: list[Path]
    """More folders that must stay as they are."""

    @property
    def repo(self) -> Path:
        """A repository whose history holds the secret everywhere but in the first commit."""
        return self.area / "repo"

    def script(self, text: str) -> str:
        """A probe's script with the places filled in."""
        return text.format(**self.values)

    def environment(self) -> dict[str, str]:
        """The environment that a careless harness passes on."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        more = {"API_KEY": self.secret, "HOME": str(self.area / "home"), "TMPDIR": str(self.area / "tmp")}
        return {**os.environ, "PATH": path, **more}

    def state(self) -> dict[str, Any]:
        """Files with their metadata, the victim, and our mounts."""
        files = [path for folder in (self.area, *self.watched) for path in sorted(folder.rglob("*"))]
        pid = self.victim.pid
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split() if self.victim.poll() is None else []
        return {
            "files": [_metadata(path) for path in files if self.area / "tmp" not in path.parents],
            "victim": [*status[:1], *status[16:17], *_lines(pid, "limits"), *_lines(pid, "oom_score_adj")],
            "mounts": Path("/proc/self/mountinfo").read_text(),
        }

    def effects(self, before: dict[str, Any], output: str) -> set[str]:
        """The names of the effects of a probe."""
        after = self.state()
        made, wrote = (
            max(map(int, re.findall(rf"^{word} (\d+)$", output, re.MULTILINE)), default=0) for word in ("made", "wrote")
        )
        effects = {
            "changed": before["files"] != after["files"] or before["mounts"] != after["mounts"],
            "victim": before["victim"] != after["victim"],
            "message": self._messages(),
            "secret": self.secret in output or "canary-42" in output,
            "left": self.started(),
            "flood": len(output) > 1_000_000,
            "entered": "entered" in output.split(),
            "many": made >= 250,
            "filled": wrote > 75_000_000,
        }
        return {name for name, found in effects.items() if found}

    def started(self) -> list[int]:
        """Processes that a probe has started and that are still there."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended
                if f"3{self.mark}".encode() in folder.joinpath("cmdline").read_bytes():
                    found.append(int(folder.name))
        return found

    def sweep(self) -> None:
        """Kill the processes that a probe has started without a box."""
        for pid in self.started():
            with suppress(ProcessLookupError):
                os.kill(pid, 9)

    def _messages(self) -> list[bytes]:
        deadline = time.monotonic() + 0.05
        found: list[bytes] = []
        while not found and time.monotonic() < deadline:
            for listener in self.listeners:
                try:
                    if listener.type == socket.SOCK_STREAM:
                        connection, _ = listener.accept()
                        connection.close()
                        found.append(b"connection")
                    else:
                        found.append(listener.recv(100))
                except BlockingIOError:
                    continue
            with suppress(BlockingIOError):
                found.append(os.read(self.values["fifo"], 100))
            buffer = ctypes.create_string_buffer(64)
            if _LIBC.msgrcv(self.values["queue_id"], buffer, 8, 0, 0o4000) >= 0:
                found.append(buffer.raw)
        return found


def _lines(pid: int, name: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/{name}").read_text().splitlines()
    except OSError:
        return []


def _metadata(path: Path) -> tuple[Any, ...]:
    found = path.lstat()
    content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
    return (str(path), found.st_mode, found.st_uid, found.st_nlink, found.st_size, found.st_mtime_ns, content)


@contextmanager
def planted(area: Path) -> Iterator[Outside]:
    """Create the targets, and remove them afterwards."""
    secret, mark = f"canary-{secrets.token_hex(8)}", str(secrets.randbelow(10**9) + 10**9)
    with ExitStack() as stack:
        kept = [stack.enter_context(_file(Path(f"/{name}/canary.{mark}"), secret)) for name in ("dev/shm", "tmp")]
        assert kept
        files = {"file": "x" * 20, "home/.bashrc": "", "home/.ssh/id_ed25519": secret, "home/.netrc": secret}
        files |= {"runs/messages.jsonl": secret, "other/sums.py": secret, "cache/tasks.jsonl": secret}
        files |= {"cache/all.tar": secret, "cache/test_hidden.py": secret, "drop/.keep": "", "tmp/.keep": ""}
        for name, text in files.items():
            (area / name).parent.mkdir(parents=True, exist_ok=True)
            (area / name).write_text(text)
        _plant_repository(area / "repo", secret)
        values: dict[str, Any] = {"area": area, "home": area / "home", "mark": mark, "name": f"canary.{mark}"}
        listeners = [_listener(stack, socket.AF_INET, kind, ("127.0.0.1", 0)) for kind in (1, 2)]
        values |= dict(zip(("port", "udp"), (one.getsockname()[1] for one in listeners), strict=True))
        values["path"] = f"/tmp/nano-codex.{mark}.sock"
        listeners.append(_listener(stack, socket.AF_UNIX, 2, f"\0canary.{mark}"))
        listeners.append(_listener(stack, socket.AF_UNIX, 2, values["path"]))
        stack.callback(os.unlink, values["path"])
        os.mkfifo(area / "fifo")
        values["fifo"] = os.open(area / "fifo", os.O_RDWR | os.O_NONBLOCK)
        stack.callback(os.close, values["fifo"])
        values |= _plant_ipc(stack, secret)
        command = ["sh", "-c", "exec 9<cache/all.tar; echo up; read x", secret]
        victim = subprocess.Popen(command, cwd=area, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        stack.callback(_end, victim)
        assert victim.stdout
        assert victim.stdout.readline() == b"up\n"
        values["pid"] = victim.pid
        yield Outside(area, secret, mark, values, listeners, victim, [])


def _end(victim: subprocess.Popen[bytes]) -> None:
    victim.kill()
    victim.communicate()


@contextmanager
def _file(path: Path, text: str) -> Iterator[Path]:
    path.write_text(text)
    yield path
    path.unlink()


def _listener(stack: ExitStack, family: int, kind: int, address: Any) -> socket.socket:
    made = stack.enter_context(socket.socket(family, kind))
    made.bind(address)
    made.setblocking(False)
    if kind == socket.SOCK_STREAM:
        made.listen()
    return made


def _plant_ipc(stack: ExitStack, secret: str) -> dict[str, int]:
    """A SysV segment with the secret, and a queue that listens."""
    keys = {name: secrets.randbelow(2**30) + 1 for name in ("shm", "queue")}
    memory, queue = _LIBC.shmget(keys["shm"], 64, 0o1600), _LIBC.msgget(keys["queue"], 0o1600)
    ctypes.memmove(_LIBC.shmat(memory, None, 0), secret.encode(), len(secret))
    stack.callback(_LIBC.shmctl, memory, 0, None)
    stack.callback(_LIBC.msgctl, queue, 0, None)
    return {**keys, "queue_id": queue}


def _plant_repository(folder: Path, secret: str) -> None:
    """The bug in the first commit; the fix in a later one, a tag, a stash, ORIG_HEAD, a reflog and a note."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "sums.py").write_text(BUG)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    first = git(folder, "rev-parse", "HEAD")
    (folder / "sums.py").write_text(f"{BUG}# {secret}\n")
    git(folder, "commit", "-q", "-a", "-m", "mended")
    git(folder, "tag", "fixed")
    git(folder, "repack", "-q", "-a", "-d")
    git(folder, "reset", "-q", "--hard", first)
    git(folder, "notes", "add", "-m", f"see {secret}")
    for text in ("lost", "stashed"):
        (folder / "sums.py").write_text(f"{BUG}# {text} {secret}\n")
        git(folder, "stash", "push", "-q")
        if text == "lost":
            git(folder, "stash", "drop", "-q")
