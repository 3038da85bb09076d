"""Attacks on the resident server of a box, tried in an episode and, as a control, on a naive server.

The naive server below is a bash that reads commands, evaluates each in its own process and answers by a fixed frame on
the one pipe that it has. A probe must harm that one, which shows that the probe works, and none that we run.
`@server` is the server's process, `@mark` a number that nobody else has. A probe is a line as a policy writes it.

Nothing here waits for a time to pass where something is to happen: what a probe leaves in the background is waited for
(`@up`, `@gone`), and what a neighbour is to see lasts until it has seen it (`@hold`, which ends in a box by itself).
"""

# ruff: noqa: E501

from __future__ import annotations

import contextlib
import os
import secrets
import select
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from nano_codex_env import NanoCodexEnv, Task
from nano_codex_env.messages import tool_call
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.sandbox.bubblewrap import find_bwrap
from nano_codex_env.tools import shell
from tests.conftest import BUG, descendants


@dataclass(frozen=True)
class Probe:
    """One attack on the server."""

    id: str
    kind: str
    effect: str
    """Its effect on the naive server; see `effects`."""
    call: str
    look: str
    """A call whose answer must not change by the attack; the neighbour's, if `effect` is "seen"."""
    hole: str
    """Why it works on ours as well, if it is a known hole."""


_TABLE = r"""
# killing dead
kill-server: kill -9 @server
kill-all: (kill -9 -1)
kill-parent: sh -c 'kill -9 $PPID'
kill-python: python3 -c 'import os; os.kill(@server, 9)'
kill-pidfd: python3 -c 'import os, signal; signal.pidfd_send_signal(os.pidfd_open(@server), 9)'
leave: exit 0
# garbling harm
garble-random: head -c 20000 /dev/urandom >/proc/@server/fd/1
garble-nul: head -c 5 /dev/zero | tee /proc/@server/fd/2 /proc/self/fd/2 >/dev/null
garble-half: printf '\0do' >/dev/stderr
garble-huge: head -c 3000000 /dev/zero >/proc/@server/fd/1
garble-control: printf 'x\0y\0z\0' >&3
# garbling kept
garble-later: @later printf "late\0late\0"') & @up ?? @meanwhile
# answering forged
answer-plausible: printf 'all passed\n\0done 0\0'; (exit 7)
answer-variables: printf '\0%s 0\0' "$_n" 0123456789abcdef | tee /proc/$$/fd/3 /proc/self/fd/2 >/dev/null; (exit 7)
answer-guess: python3 -c $'import os, secrets\nfor n in range(900):\n    try: os.write(3 - n % 3, b"\\0" + secrets.token_hex(8).encode() + b" 0\\0")\n    except OSError: pass'; (exit 7)
answer-from-memory: @memory; (exit 7)
answer-by-its-words: printf() { builtin printf '\0done 0\0'; }; (exit 7)
# answering kept
answer-the-next: @later printf "Mended.\n\0done 0\0"') & @up ?? @meanwhile
# pipes harm
pipe-flood: yes @mark & sleep 0.1
pipe-reader: exec 4<&0; for n in {1..8}; do (exec -a 3@mark cat <&4 >/dev/null) & done; while [ "$(jobs -r)" ] && [ $(@alive) -lt 8 ]; do :; done; sleep 0.2
pipe-closed: exec 1>&- 2>&- 3>&-
pipe-input: exec </dev/null
# pipes kept
pipe-writer: @later echo noise') & @up ?? @meanwhile
pipe-held: sleep 3@mark & disown; @up ?? @alive
pipe-small: @fcntl(1, 1031, 4096))' ?? @fcntl(1, 1032))'
pipe-nonblocking: python3 -c 'import os; os.set_blocking(1, False)' ?? @fcntl(1, 3))'
pipe-mode: chmod 0 /dev/stdout ?? stat -Lc %a /dev/stdout
pipe-time: touch -d 2001-01-01 /dev/stdout ?? stat -Lc %Y /dev/stdout
pipe-lock: flock -n 1 ?? flock -n /proc/self/fd/1 echo free
pipe-owner: @fcntl(1, 8, 1))' ?? @fcntl(1, 9))'
pipe-range-lock: @fcntl(1, 37, b"\1" + bytes(31)))' ?? @fcntl(open("/proc/self/fd/1", "wb"), 37, b"\1" + bytes(31)))'
pipe-signal: @fcntl(1, 10, 37))' ?? @fcntl(1, 11))'
# stopping silent
stop-server: kill -STOP @server
stop-parent: sh -c 'kill -STOP $PPID'
stop-all: (kill -STOP -1)
stop-pidfd: python3 -c 'import os, signal; signal.pidfd_send_signal(os.pidfd_open(@server), signal.SIGSTOP)'
stop-seize: @ptrace(0x4206, @server, 0, 0); p(0x4207, @server, 0, 0); open("/tmp/up@mark", "w"); time.sleep(99)' & until [ -e /tmp/up@mark ]; do sleep 0.01; done
# stopping kept
slow-nice-group: renice -n 19 -g 0; python3 -c 'import os; os.setpriority(2, os.getuid(), 15)' ?? nice
slow-files: prlimit --pid @server --nofile=20:20 ?? ulimit -n
slow-session: echo 19 >/proc/self/autogroup ?? cut -d' ' -f3 /proc/self/autogroup !! the niceness of the server's session stays
# calls kept
keep-alias: shopt -s expand_aliases; alias ls='echo mine' ?? alias; shopt expand_aliases
keep-function: ls() { echo mine; }; export -f ls ?? declare -F; bash -c 'declare -F'
keep-variable: export NOTE=mine; LANG=C ?? echo $NOTE $LANG; env | grep -c NOTE
keep-trap: trap 'echo mine' DEBUG ?? trap
keep-process-that-forks: f() { (exec -a 3@mark sleep 9); f; }; f &>/dev/null & @up ?? @alive
keep-socket: (@listen(socket.AF_UNIX); s.bind("\0c@mark"); time.sleep(99)' &>/dev/null &) ; until grep -q c@mark /proc/net/unix; do sleep 0.01; done ?? grep -c c@mark /proc/net/unix
keep-connection: @listen(); s.bind(("127.0.0.1", 0)); s.listen(); c = socket.create_connection(s.getsockname()); s.accept(); c.close()' ?? tail -n +2 /proc/net/tcp | wc -l !! a closed connection waits in the box's network
keep-file: echo mine >/tmp/note ?? cat /tmp/note
keep-mode: chmod 700 /tmp ?? stat -c %a /tmp !! the mode of /tmp stays while its owner may use it
keep-time: touch -d 2001-01-01 /tmp ?? stat -c %Y /tmp
keep-limit: ulimit -Sn 99 -Sf 100 ?? ulimit -n -f
keep-mask: umask 077 ?? umask
keep-redirection: exec 5</etc/passwd 6>&1 ?? ls /proc/$BASHPID/fd | grep -c '[56]'
# episodes seen
see-process: (exec -a 3@mark sh -c '@hold') ?? @alive
see-file: echo mine >/tmp/n@mark; @hold; rm /tmp/n@mark ?? cat /tmp/n@mark
see-socket: @listen(socket.AF_UNIX); s.bind("/tmp/s@mark"); os.system("@hold")' ?? stat -c %F /tmp/s@mark
see-abstract: @listen(socket.AF_UNIX); s.bind("\0a@mark"); os.system("@hold")' ?? grep -c a@mark /proc/net/unix
see-port: @listen(); s.bind(("127.0.0.1", 4242)); s.listen(); os.system("@hold")' ?? : </dev/tcp/127.0.0.1/4242 && echo open
see-memory: python3 -c 'import ctypes, os; c = ctypes.CDLL(None); n = c.shmget(@mark, 64, 0o1600); os.system("@hold"); c.shmctl(n, 0, None)' ?? awk '$1 == @mark' /proc/sysvipc/shm | wc -l
see-lock: flock sums.py sh -c '@hold' ?? flock -n sums.py echo free
see-device: flock /dev/null sh -c '@hold' ?? flock -n /dev/null echo free
see-range-lock: @fcntl(f := open("/dev/null", "w"), 6, b"\1" + bytes(31))); import os; os.system("@hold")' ?? @fcntl(open("/dev/null", "w"), 6, b"\1" + bytes(31)))'
see-time: sleep 0.3; touch /dev/full; @hold ?? echo $(( ($(date -r /dev/full +%s%3N) - $(date -r /dev/zero +%s%3N)) / 50 ))
see-watch: @until; do cat sums.py; sleep 0.02; done ?? @watch
"""
"""Below a heading (class and effect) a line for each probe: `name: call ?? look !! hole`."""
_WORDS = {
    "@hold": "@until; do sleep 0.02; done",
    "@until": "n=0; until [ -e /tmp/seen@mark ] || [ $((n += 1)) -gt @turns ]",
    "@later": "(exec -a 3@mark bash -c 'until [ -e /tmp/go@mark ]; do sleep 0.01; done;",
    "@meanwhile": "touch /tmp/go@mark; while @there; do sleep 0.01; done; rm /tmp/go@mark; echo over",
    "@up": "until @there; do sleep 0.01; done",
    "@there": "grep -qzs '[3]@mark' /proc/[0-9]*/cmdline",
    "@alive": "grep -lzs '[3]@mark' /proc/[0-9]*/cmdline | wc -l",
    "@fcntl": "python3 -c 'import fcntl; print(fcntl.fcntl",
    "@ptrace": "python3 -c 'import ctypes, time; p = ctypes.CDLL(None).ptrace; p",
    "@listen": "python3 -c 'import os, socket, time; s = socket.socket",
    "@watch": r"""python3 -c 'import ctypes, select; c = ctypes.CDLL(None); n = c.inotify_init()
c.inotify_add_watch(n, b"sums.py", 1); print(bool(select.select([n], [], [], 0.3)[0]))'""",
    "@memory": r"""python3 -c 'import os, re
found, parent = {b"0" * 16}, os.getppid()
for low, high in re.findall(r"(\w+)-(\w+) .*(?:heap|stack)", open(f"/proc/{parent}/maps").read()):
    memory = os.open(f"/proc/{parent}/mem", os.O_RDONLY)
    found |= set(re.findall(rb"[0-9a-f]{16}", os.pread(memory, int(high, 16) - int(low, 16), int(low, 16))))
for path in [f"/proc/{pid}/fd/{fd}" for pid in (@server, parent) for fd in range(1, 10)]:
    try: [os.write(os.open(path, os.O_WRONLY), b"\0%b 0\0" % nonce) for nonce in [*found][:50]]
    except OSError: pass'""",
}


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def _probes() -> Iterator[Probe]:
    for block in _TABLE.strip("# \n").split("\n# "):
        heading, *lines = block.splitlines()
        kind, effect = heading.split()
        for line in lines:
            name, _, rest = line.partition(": ")
            rest, _, hole = _filled(rest, _WORDS).partition(" !! ")
            call, _, look = rest.partition(" ?? ")
            if "autogroup" not in call or Path("/proc/self/autogroup").exists():  # not in every kernel
                yield Probe(name, kind, effect, call, look or "true", hole)


PROBES = list(_probes())
QUICK = {
    next(probe.id for probe in PROBES if (probe.kind, probe.effect) == key)
    for key in {(p.kind, p.effect) for p in PROBES}
}
"""The first of each kind and effect."""
CASES = [pytest.param(probe, id=probe.id, marks=[] if probe.id in QUICK else [pytest.mark.slow]) for probe in PROBES]
_NAIVE = "exec 2>&1 3>&1; while IFS= read -r -d '' c; do eval \"$c\"; printf '\\0done %s\\0' $? >&3; done"
_FAILED = ("[exit 7]", "[the shell was killed]")
_PATIENCE = 120.0
"""Seconds for what is to succeed, however busy the machine is."""
_HANGING = {"stop-parent", "stop-all"}
"""Probes that stop the very command that they are; only these are given a second and no more."""
_PAIR = 'setsid bash -c "$0" <&$3 >&$4 & exec bash -c "$0" <&$1 >&$2'


class Naive:
    """The host's end of a naive server."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._buffer, self.patience = write, read, b"", _PATIENCE

    def ask(self, command: str) -> str:
        """Send a command, take the next two pieces that end with a NUL: what it said, and a frame."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._write, command.encode() + b"\0")
        end = time.monotonic() + self.patience
        while self._buffer.count(b"\0") < 2:
            left = max(0, end - time.monotonic())
            if not left or len(self._buffer) > 10_000_000 or not select.select([self._read], [], [], left)[0]:
                self.patience = 0.1
                return "[silent]"
            if not (data := os.read(self._read, 65536)):
                return "[dead]"
            self._buffer += data
        said, frame, self._buffer = self._buffer.split(b"\0", 2)
        status = frame.decode("utf-8", "replace").rpartition(" ")[2]
        return said.decode("utf-8", "replace") + ("" if status == "0" else f"[exit {status}]")


def living(pids: Iterable[int]) -> set[tuple[int, str]]:
    """Those of `pids` that have not ended, with the time of their start."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            found |= {(pid, stat[19])} if stat[0] not in "ZX" else set()
    return found


@dataclass
class Place:
    """Where a probe is tried: a policy's own server, and a neighbour's."""

    ask: Callable[[str], str]
    neighbour: Callable[[str], str]
    attack: Callable[[Probe, str], str]
    """Ask for the probe's call."""
    server: int
    turns: int
    """How often what a neighbour may see looks whether it was seen, before it ends by itself."""

    def effects(self, probe: Probe) -> dict[str, str]:
        """The probe's effects by name, with what was seen of each."""
        mark = str(secrets.randbelow(10**8) + 10**8)
        words = {"@mark": mark, "@turns": str(self.turns), "@server": str(self.server)}
        call, look = (_filled(text, words) for text in (probe.call, probe.look))
        watch = self.neighbour if probe.effect == "seen" else self.ask
        before = watch(look)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self.attack, probe, call)
            seen = before
            while probe.effect == "seen" and seen == before and not answer.done():
                seen = watch(look)
            if probe.effect == "seen":
                watch(f"touch /tmp/seen{mark}")  # where /tmp is shared, it has been seen
            own = answer.result()
        found = {} if seen == before else {"seen": f"{before!r}, then {seen!r}"}
        if probe.effect == "forged" and not own.endswith(_FAILED):
            found["forged"] = own[-500:]
        if probe.effect != "seen" and (after := watch(look)) != before:
            found["kept"] = f"{before!r}, then {after!r}"
        for ask, effect in ((self.ask, "harm"), (self.neighbour, "neighbour")):
            said = [ask("cat sums.py"), ask("echo still-$((40+2))")]
            if said != [BUG, "still-42\n"]:
                ends = [word for word in ("dead", "silent") if f"[{word}]" in said[0]]
                return found | dict.fromkeys([effect, *ends], f"{said!r:.500}")
        return found


@pytest.fixture
def episode(task: Task, sandbox: Sandbox, tmp_path: Path) -> Iterator[Place]:
    """An episode, and a neighbour on the same task."""
    hasty = replace(shell(timeout=1), name="hasty")

    def opened(name: str) -> Callable[[str, str], str]:
        tools = [shell(timeout=_PATIENCE), hasty]
        made = NanoCodexEnv([task], tools=tools, sandbox=sandbox, log_dir=tmp_path / name, max_steps=10**9)
        stack.enter_context(made).reset()
        return lambda tool, cmd: str(made.step(tool_call(tool, cmd=cmd))[0][-1]["content"])

    before = descendants()
    with contextlib.ExitStack() as stack:
        call, neighbour = opened("one"), opened("two")
        one, two = partial(call, "shell"), partial(neighbour, "shell")
        assert one("cat sums.py") == two("cat sums.py") == BUG
        started = living(descendants() - before)

        def attack(probe: Probe, text: str) -> str:
            return call("hasty" if probe.id in _HANGING else "shell", text)

        yield Place(one, two, attack, server=1, turns=30)
        started |= living(descendants() - before)
        assert started
    end = time.monotonic() + _PATIENCE  # a killed process takes a moment to be gone
    while (left := started & living(pid for pid, _ in started)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not left


@pytest.fixture
def naive(repo: Path) -> Iterator[Place]:
    """Two naive servers with no wall between them; the one around both holds what `kill -9 -1` would do to the host."""
    command = [find_bwrap(), "--unshare-user", "--uid", "0", "--gid", "0", "--cap-add", "ALL", "--unshare-pid"]
    command += ["--unshare-ipc", "--unshare-net", "--ro-bind", "/", "/", "--dev", "/dev", "--tmpfs", "/dev/shm"]
    command += ["--proc", "/proc", "--tmpfs", "/tmp", "--ro-bind", str(repo), "/tmp/testbed", "--chdir", "/tmp/testbed"]
    with contextlib.ExitStack() as stack:
        (in_1, to_1), (from_1, out_1), (in_2, to_2), (from_2, out_2) = [os.pipe() for _ in range(4)]
        inner = (in_1, out_1, in_2, out_2)
        command += ["--die-with-parent", "bash", "-c", _PAIR, _NAIVE, *map(str, inner)]
        process = subprocess.Popen(command, env={"PATH": "/usr/bin:/bin"}, pass_fds=inner, start_new_session=True)
        for ours, theirs in zip((to_1, from_1, to_2, from_2), inner, strict=True):
            stack.callback(os.close, ours)
            os.close(theirs)
        stack.callback(process.wait)
        stack.callback(process.kill)
        one, two = Naive(to_1, from_1), Naive(to_2, from_2)
        assert one.ask("cat sums.py") == two.ask("cat sums.py") == BUG

        def attack(probe: Probe, text: str) -> str:
            """What is to fall silent, or may, is not waited for as long."""
            if probe.effect in ("silent", "harm"):
                one.patience = 1
            return one.ask(text)

        yield Place(one.ask, two.ask, attack, server=int(one.ask("echo $$")), turns=3000)


@pytest.mark.parametrize("probe", CASES)
def test_no_probe_harms_the_server(probe: Probe, episode: Place) -> None:
    """After each, the next calls, the attack's own answer, the neighbour and our descriptors are checked.

    A known hole has its one effect and no other; one that is closed must lose its mark.
    """
    descriptors = len(os.listdir("/proc/self/fd"))
    found = episode.effects(probe)
    for _ in range(4 if probe.effect == "seen" else 0):  # a score of another suite touches all devices
        found = found and episode.effects(probe)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert set(found) == ({probe.effect} if probe.hole else set()), found
    if probe.hole:
        pytest.xfail(probe.hole)


@pytest.mark.parametrize("probe", CASES)
def test_each_probe_works_on_a_naive_server(probe: Probe, naive: Place) -> None:
    """The control: the same text and the same checks."""
    found = naive.effects(probe)
    for _ in range(4 if probe.effect == "seen" else 0):  # another suite may hold the same device
        found = found or naive.effects(probe)
    assert probe.effect in found, found
