"""The system calls that no program inside a box may make, as a BPF program for bwrap's --seccomp.

Refused with EPERM: mounting, namespaces, tracing, kernel keys, BPF, io_uring, modules, clocks, file handles,
System V and POSIX message IPC (it would outlive a call). `clone3` answers ENOSYS, so that the C library falls back
to `clone`, whose flags can be seen; sockets are UNIX, IPv4, IPv6 and netlink only (vsock knows no namespace).

What tells which pages of a file are in memory is refused as well: the pages of /usr are everybody's.

A policy's shell is refused more: watches on files, which all episodes over one base tree would see. Locks are granted
to it and hold nothing, since they would reach the others by the machine's own device nodes; so would times, which are
set to no effect by a descriptor (`touch /dev/null`), and by a path not at all (EROFS, as `touch` of what is read-only
says it anyway).
"""

from __future__ import annotations

import errno
import platform
import struct

from nano_codex_env.errors import SandboxError

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# name: (x86_64, aarch64); None where there is no such call
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "cachestat": (451, 451),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mincore": (27, 232),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "preadv2": (327, 286),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "readahead": (187, 213),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "semget": (64, 190),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "shmat": (30, 196),
    "shmget": (29, 194),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}
_REFUSED_TO_SHELLS: dict[str, tuple[int | None, int | None]] = {
    "fanotify_init": (300, 262),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
}
_ADVICE = (221, 223)
"""fadvise64: heard, to no effect; coreutils give it with every file."""
_FLOCK = (73, 32)
_TIMES: dict[str, tuple[int | None, int | None]] = {
    "futimesat": (261, None),
    "utime": (132, None),
    "utimes": (235, None),
}
_UTIMENSAT = (280, 88)
"""With no path in its second argument it is `futimens`."""
_FCNTL = (72, 25)
_LOCKS = {"F_SETLK": 6, "F_SETLKW": 7, "F_OFD_SETLK": 37, "F_OFD_SETLKW": 38}
"""Of `fcntl`: on a device they would hold for all boxes. Granted, or SQLite would not work; they hold nothing."""
_REFUSED_COMMANDS = {
    "F_GETLK": 5,
    "F_SETOWN": 8,
    "F_SETSIG": 10,
    "F_SETOWN_EX": 15,
    "F_OFD_GETLK": 36,
    "F_SETLEASE": 1024,
    "F_NOTIFY": 1026,
    "F_SET_RW_HINT": 1036,
    "F_SET_FILE_RW_HINT": 1038,
}
"""Of `fcntl`: what would see another's lock or reading, or would stay with the output pipe."""
_CLONE, _CLONE3, _SOCKET, _IOCTL = (56, 220), (435, 435), (41, 198), (16, 29)
# Calls that change the process that their first argument names: pid 1, the resident shell, is out of bounds.
_ON_SERVER = {
    "prlimit64": (302, 261),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
}
_ON_PROCESS = {"setpriority": (141, 140, 0), "ioprio_set": (251, 30, 1)}
"""These name a process only where their first argument is the last number here; groups and users hold pid 1 as well."""
_XATTR = {"setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7)}
"""Not supported, as on many file systems: on /tmp itself they would outlive a call."""
_NEW_NAMESPACE = 0x7E020080  # CLONE_NEWNS | CGROUP | UTS | IPC | USER | PID | NET | TIME
_FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
_TERMINAL = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: typing into a terminal

_LOAD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH, _ARG0, _ARG1, _ARG1_HIGH = 0, 4, 16, 24, 28
_ALLOW, _KILL = 0x7FFF0000, 0x80000000


def _errno(number: int) -> int:
    return 0x00050000 | number


def _op(code: int, value: int, true: int = 0, false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, true, false, value)


def _return_if(code: int, value: int, result: int) -> bytes:
    return _op(code, value, 0, 1) + _op(_RET, result)


def program(machine: str | None = None, *, shell: bool = True) -> bytes:
    """The filter for this machine, as an array of `struct sock_filter` (linux/filter.h).

    `shell`: for a policy's shell; what runs tests may lock and watch files.

    Raises:
        SandboxError: the machine is neither x86_64 nor aarch64.
    """
    machine = machine or platform.machine()
    if machine not in _AUDIT_ARCH:
        raise SandboxError(f"no system call filter for {machine}; the sandbox runs on {', '.join(_AUDIT_ARCH)}")
    column = list(_AUDIT_ARCH).index(machine)
    ops = _op(_LOAD, _ARCH) + _op(_JEQ, _AUDIT_ARCH[machine], 1, 0) + _op(_RET, _KILL) + _op(_LOAD, _NR)
    if machine == "x86_64":
        ops += _return_if(_JGE, 0x40000000, _errno(errno.ENOSYS))  # the x32 calls
    for numbers in (_REFUSED | (_REFUSED_TO_SHELLS if shell else {})).values():
        if (number := numbers[column]) is not None:
            ops += _return_if(_JEQ, number, _errno(errno.EPERM))
    ops += _return_if(_JEQ, _CLONE3[column], _errno(errno.ENOSYS))
    ops += _when(_CLONE[column], _op(_LOAD, _ARG0) + _return_if(_JSET, _NEW_NAMESPACE, _errno(errno.EPERM)))
    ops += _return_if(_JEQ, _ADVICE[column], _errno(0))
    if shell:
        commands = b"".join(_return_if(_JEQ, number, _errno(errno.EPERM)) for number in _REFUSED_COMMANDS.values())
        commands += b"".join(_return_if(_JEQ, number, _errno(0)) for number in _LOCKS.values())
        ops += _when(_FCNTL[column], _op(_LOAD, _ARG1) + commands)
        ops += _return_if(_JEQ, _FLOCK[column], _errno(0))
        for pair in _TIMES.values():
            if (number := pair[column]) is not None:
                ops += _return_if(_JEQ, number, _errno(errno.EROFS))
        by_path = _op(_RET, _errno(errno.EROFS))
        pathless = _op(_LOAD, _ARG1) + _op(_JEQ, 0, 1, 0) + by_path
        pathless += _op(_LOAD, _ARG1_HIGH) + _op(_JEQ, 0, 1, 0) + by_path
        ops += _when(_UTIMENSAT[column], pathless + _op(_RET, _errno(0)))
    tiocs = b"".join(_return_if(_JEQ, code, _errno(errno.EPERM)) for code in _TERMINAL)
    ops += _when(_IOCTL[column], _op(_LOAD, _ARG1) + tiocs)
    families = b"".join(_return_if(_JEQ, family, _ALLOW) for family in _FAMILIES)
    for calls in _ON_SERVER.values():
        ops += _when(calls[column], _op(_LOAD, _ARG0) + _return_if(_JEQ, 1, _errno(errno.EPERM)))
    for *numbers_of, process in _ON_PROCESS.values():
        body = _op(_LOAD, _ARG0) + _op(_JEQ, process, 1, 0) + _op(_RET, _errno(errno.EPERM))
        ops += _when(numbers_of[column], body + _op(_LOAD, _ARG1) + _return_if(_JEQ, 1, _errno(errno.EPERM)))
    for pair in _XATTR.values():
        ops += _return_if(_JEQ, pair[column], _errno(errno.ENOTSUP))
    ops += _when(_SOCKET[column], _op(_LOAD, _ARG0) + families + _op(_RET, _errno(errno.EAFNOSUPPORT)))
    return ops + _op(_RET, _ALLOW)


def _when(number: int, body: bytes) -> bytes:
    """`body` for one system call; whatever it does not decide is allowed."""
    body += _op(_RET, _ALLOW)
    return _op(_JEQ, number, 0, len(body) // 8) + body
