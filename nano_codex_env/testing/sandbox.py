"""The contract of a sandbox, tested from inside its boxes."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from nano_codex_env.errors import SandboxError, describe
from nano_codex_env.sandbox import ExecResult, Limits, Sandbox, View

_PATIENCE = 120.0
"""Seconds for a command that ends by itself, however busy the machine is."""
_HANG = 2.0
"""Seconds after which a command that hangs is stopped; enough to print a line first."""
_FILES = {"README.md": "# sums\n", "pkg/data.txt": "one\ntwo\n"}
_COMMANDS = [
    ("echo hi", "hi\n", 0),
    ("printf '  indented\\n\\n'", "  indented\n\n", 0),
    ("exit 7", "", 7),
    ("false", "", 1),
    ("kill -9 $BASHPID", "", 137),
    ("no-such-program 2>/dev/null", "", 127),
    ("echo 1; echo 2 >&2; echo 3", "1\n2\n3\n", 0),
    ("cat; echo end", "end\n", 0),
    ("pwd; cat pkg/data.txt", "/testbed\none\ntwo\n", 0),
    ("cat <<'EOF' | sort -r\na\nb\nEOF", "b\na\n", 0),
    ("trap 'echo bye' EXIT; echo hello", "hello\nbye\n", 0),
]
"""Commands, what they print, and their exit status."""
_LEAVE = [
    ("a folder", "cd pkg", "pwd", "/testbed\n"),
    ("a variable", "export NOTE=mine HOME=/", "echo $NOTE", "\n"),
    ("a function", "f() { echo mine; }; export -f f", "f 2>/dev/null", ""),
    ("an option of bash", "set -f; shopt -s nullglob", "echo *.none /testbed/R*", "*.none /testbed/README.md\n"),
    ("a umask", "umask 0", "umask", "0022\n"),
    ("a file in /tmp", "echo mine >/tmp/.note", "ls -A /tmp", ""),
    (
        "a process",
        "sleep {mark} >/dev/null 2>&1 & disown",
        "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c '[s]leep {mark}'",
        "0\n",
    ),
]
"""What a command might leave behind, how, and what the next one prints if it does not."""
_WRITES = (": >new", ": >>README.md", "rm README.md", "mkdir new", "chmod 777 README.md", "mv README.md x", ": >/usr/x")
_FORK = """import os, time
try:
  for _ in range(60): os.fork() or (time.sleep(99), os._exit(0))
except BlockingIOError: print('limited')"""
_LIMITS = [
    ("processes", Limits(processes=40), f'python3 -c "{_FORK}" >/tmp/out; grep -q limited /tmp/out'),
    ("memory", Limits(memory=128 << 20), "head -c 400000000 /dev/zero | tail -n 1 >/dev/null; ((PIPESTATUS[1]))"),
    ("cpu", Limits(cpu=1), "timeout 30 bash -c 'while :; do :; done'; (($? > 128))"),
    ("file_size", Limits(file_size=1 << 20), "! head -c 2000000 /dev/zero >/tmp/big"),
    ("tmp", Limits(tmp=1 << 20), "! head -c 2000000 /dev/zero >/tmp/big"),
]
"""Commands that succeed if the limit holds."""


def check_sandbox(sandbox: Sandbox) -> None:
    """Test that a sandbox keeps the `Sandbox` and `Shell` protocols.

    It covers output and exit status, time limits, output caps, resource limits, state between commands, read-only and
    writable views, layers, mounts and variables, isolation from the host's files, environment, network and processes,
    and closing. Boxes must have bash, coreutils, grep and Python, and their processes must run on this machine for
    leftovers to be found. It takes some ten seconds.

    Raises:
        AssertionError: the sandbox breaks the protocol; the message has a line for each finding.
    """
    findings: list[str] = []
    with tempfile.TemporaryDirectory(prefix="nano-codex-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        tree = _write(folder / "tree", _FILES)
        for check in (_commands, _output, _state, _stops, _views, _limits, _close, _programs, _isolation):
            try:
                findings += check(sandbox, tree)
            except Exception as error:  # noqa: BLE001 (whatever a sandbox raises is a finding)
                findings.append(f"{check.__name__.strip('_')}: {describe(error)}")
        if _read(tree) != _FILES:
            findings.append("files: a command changed the tree on the host")
    if findings:
        raise AssertionError(f"{type(sandbox).__name__} breaks the sandbox protocol:\n" + "\n".join(findings))


def _write(folder: Path, files: dict[str, str]) -> Path:
    """Write a tree that every user may read."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def _read(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if not path.is_dir())
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in files}


def _seen(result: ExecResult) -> tuple[object, ...]:
    return result.output.text(), result.exit_code, result.timed_out, result.flooded


def _expect(name: str, found: object, wanted: object) -> Iterator[str]:
    if found != wanted:
        yield f"{name}: expected {wanted!r:.300}, got {found!r:.300}"


def _commands(sandbox: Sandbox, tree: Path) -> Iterator[str]:
    with closing(sandbox.open(View((tree,)))) as shell:
        for command, output, status in _COMMANDS:
            result = shell.run(command, timeout=_PATIENCE, keep=10_000)
            yield from _expect(f"command {command!r}", _seen(result), (output, status, False, False))
        yield from _expect("alive after commands", shell.alive, True)


def _output(sandbox: Sandbox, tree: Path) -> Iterator[str]:
    with closing(sandbox.open(View((tree,)))) as shell:
        output = shell.run("seq 1 9999", timeout=_PATIENCE, keep=100).output
    whole = "".join(f"{number}\n" for number in range(1, 10_000)).encode()
    parts = output.head, output.left_out, output.tail
    yield from _expect("head, left_out and tail of an output", parts, (whole[:100], len(whole) - 200, whole[-100:]))
    view = View((tree,), limits=Limits(output=100_000))
    for length, flooded in ((100_000, False), (3_000_000, True)):
        with closing(sandbox.open(view)) as shell:
            result = shell.run(f"head -c {length} /dev/zero", timeout=_PATIENCE, keep=10)
            found = result.flooded, result.exit_code, result.output.left_out, shell.alive
        wanted = (flooded, None if flooded else 0, 100_000 - 20, not flooded)
        yield from _expect(f"flooded, exit_code, left_out, alive of {length} bytes (cap: 100000)", found, wanted)


def _state(sandbox: Sandbox, tree: Path) -> Iterator[str]:
    mark = unique_seconds()
    with closing(sandbox.open(View((tree,)))) as shell:
        for name, command, look, wanted in _LEAVE:
            shell.run(command.replace("{mark}", mark), timeout=_PATIENCE, keep=1000)
            found = shell.run(look.replace("{mark}", mark), timeout=_PATIENCE, keep=1000).output.text()
            yield from _expect(f"{name} outlives its command ({command!r}): {look!r}", found, wanted)


def unique_seconds() -> str:
    """Seconds to sleep that no other process on this machine sleeps."""
    return f"{1000 + secrets.randbelow(10**6)}.{secrets.randbelow(10**9)}"


def processes_with(mark: str) -> list[str]:
    """The command lines on this machine that contain `mark`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
    return [line for line in found if mark in line]


def _stops(sandbox: Sandbox, tree: Path) -> Iterator[str]:
    mark, view = unique_seconds(), View((tree,))
    script = f"echo before; setsid sleep {mark} & sleep {mark}"
    with closing(sandbox.open(view)) as shell:
        result = shell.run(script, timeout=_HANG, keep=100)
        yield from _expect("a command that hangs", _seen(result), ("before\n", None, True, False))
        yield from _expect("processes after a time-out", processes_with(mark), [])
        yield from _expect("alive after a time-out", shell.alive, False)
    result = sandbox.run(view, ["bash", "-c", script], timeout=_HANG)
    yield from _expect("run: a program that hangs", _seen(result), ("before\n", None, True, False))
    yield from _expect("run: processes after a time-out", processes_with(mark), [])
    result = sandbox.run(view, ["bash", "-c", f"setsid sleep {mark} & echo done"], timeout=_PATIENCE)
    yield from _expect("run: a program whose child holds its pipes", _seen(result), ("done\n", 0, False, False))
    yield from _expect("run: processes after the program", processes_with(mark), [])


def _views(sandbox: Sandbox, tree: Path) -> Iterator[str]:
    def ask(view: View, *commands: str) -> list[str]:
        with closing(sandbox.open(view)) as shell:
            return [shell.run(command, timeout=_PATIENCE, keep=1000).output.text() for command in commands]

    with closing(sandbox.open(View((tree,)))) as shell:
        for command in _WRITES:
            if shell.run(command, timeout=_PATIENCE, keep=1000).exit_code == 0:
                yield f"read-only view: {command!r} succeeds"
    upper = _write(tree.parent / "upper", {"README.md": "# upper\n", "more.txt": "more\n"})
    look = "cat README.md pkg/data.txt more.txt"
    yield from _expect("layers", ask(View((tree, upper)), look), ["# upper\none\ntwo\nmore\n"])
    writable = View((tree,), writable=True)
    found = ask(writable, "echo new >new; rm README.md; cat new; ls", "ls")
    yield from _expect("writable view", found, ["new\nnew\npkg\n", "new\npkg\n"])
    yield from _expect("writable view opened again", ask(writable, "ls"), ["README.md\npkg\n"])
    more = View((tree,), mounts=((upper / "more.txt", "/opt/more.txt"),), env={"NOTE": "a b"})
    found = ask(more, 'cat /opt/more.txt; echo "$NOTE"', "echo x 2>/dev/null >/opt/more.txt || echo refused")
    yield from _expect("mounts and env of a view", found, ["more\na b\n", "refused\n"])


def _limits(sandbox: Sandbox, tree: Path) -> Iterator[str]:
    for name, limits, command in _LIMITS:
        with closing(sandbox.open(View((tree,), limits=limits))) as shell:
            result = shell.run(command, timeout=_PATIENCE, keep=1000)
        yield from _expect(f"Limits.{name} is not applied: exit status of {command!r}", result.exit_code, 0)


def _close(sandbox: Sandbox, tree: Path) -> Iterator[str]:
    shell = sandbox.open(View((tree,)))
    yield from _expect("alive after open", shell.alive, True)
    shell.close()
    shell.close()
    yield from _expect("alive after close", shell.alive, False)
    with contextlib.suppress(SandboxError):
        shell.run("echo hi", timeout=_PATIENCE, keep=100)
        yield "a closed shell runs a command; it must raise SandboxError"
    with contextlib.suppress(SandboxError):
        sandbox.open(View((tree / "missing",))).close()
        yield "a view of a missing folder opens; it must raise SandboxError"


def _programs(sandbox: Sandbox, tree: Path) -> Iterator[str]:
    view, script = View((tree,)), "cat; pwd; printf 'a report\\0' >&2; exit 3"
    result = sandbox.run(view, ["bash", "-c", script], stdin=b"input\n", timeout=_PATIENCE)
    yield from _expect("run: output and exit status", _seen(result), ("input\n/testbed\n", 3, False, False))
    yield from _expect("run: reports", result.reports, b"a report\0")
    words = ["", " ", "a b", "$HOME", "'", '"', "é", "--"]
    result = sandbox.run(view, ["printf", "%s\n", *words], timeout=_PATIENCE)
    yield from _expect("run: arguments", result.output.text(), "".join(f"{word}\n" for word in words))
    for argv, status in ((["no-such-program"], 127), (["bash", "-c", "kill -9 $$"], 137)):
        result = sandbox.run(view, argv, timeout=_PATIENCE)
        yield from _expect(f"run: exit status of {argv}", result.exit_code, status)
    result = sandbox.run(view, ["bash", "-c", "exec <&-; echo"], stdin=b"x" * 3_000_000, timeout=_PATIENCE)
    yield from _expect("run: a program that does not read its input", _seen(result), ("\n", 0, False, False))
    capped = View((tree,), limits=Limits(output=100_000))
    result = sandbox.run(capped, ["head", "-c", "3000000", "/dev/zero"], timeout=_PATIENCE, keep=10)
    found = result.flooded, result.exit_code, result.output.left_out
    yield from _expect("run: flooded, exit_code, left_out of a flood", found, (True, None, 100_000 - 20))


def _isolation(sandbox: Sandbox, tree: Path) -> Iterator[str]:
    """Look from inside for a file, a variable, a process and two listeners of the host."""
    secret, variable, name = secrets.token_hex(8), secrets.token_hex(8), f"\0nano-codex-{secrets.token_hex(8)}"
    outside = _write(tree.parent / "outside", {"file": secret}) / "file"
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(name)
        unix.listen()
        mark = unique_seconds()
        victim = subprocess.Popen(["sleep", mark])
        stack.callback(victim.wait)
        stack.callback(victim.kill)
        stack.callback(os.environ.pop, "NANO_CODEX_SECRET")
        os.environ["NANO_CODEX_SECRET"] = variable
        connect = f"python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"\\0{name[1:]}\")'"
        probes = [
            f"cat {outside}; echo changed >{outside}; cat /proc/*/root{outside}",
            "env; cat /proc/*/environ | tr '\\0' '\\n'",
            f"cat /proc/*/cmdline | tr '\\0' ' '; kill -9 {victim.pid}",
            f"echo >/dev/tcp/127.0.0.1/{tcp.getsockname()[1]}",
            connect,
        ]
        with closing(sandbox.open(View((tree,)))) as shell:
            results = [shell.run(probe, timeout=_PATIENCE, keep=1 << 20) for probe in probes]
        for probe in probes:
            results.append(sandbox.run(View((tree,)), ["bash", "-c", probe], timeout=_PATIENCE, keep=1 << 20))
        text = "\n".join(result.output.text() for result in results)
        connected = select.select([tcp, unix], [], [], 0)[0]
        effects = {
            "reads a file": secret in text,
            "reads a variable": variable in text,
            "sees a process": f"sleep {mark}" in text,
            "writes a file": outside.read_text(encoding="utf-8") != secret,
            "kills a process": victim.poll() is not None,
            "connects to a TCP port": tcp in connected,
            "connects to a UNIX socket": unix in connected,
        }
        yield from (f"isolation: a command {effect} of the host" for effect, found in effects.items() if found)
