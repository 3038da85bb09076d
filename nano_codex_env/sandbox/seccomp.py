"""The system call filter of a box: a classic BPF program for bwrap's --seccomp.

In every box: no namespaces, tracing, kernel keys, BPF, io_uring or file handles; no System V or POSIX message queues,
which would outlive a command; no page-cache queries (mincore, preadv2 with RWF_NOWAIT), which are a side channel
between episodes, since all boxes share the pages of /usr. `clone3` fails with ENOSYS, so that the C library falls back
to `clone`, whose flags a filter can read. Sockets are UNIX, IPv4, IPv6 or netlink; vsock, for one, has no namespace.

In a policy's shell as well: all episodes over one base tree share its files, and all boxes share the host's device
nodes. So file watches are refused, and locks succeed without effect (SQLite needs them). Setting times by descriptor
succeeds without effect; by path it fails with EROFS, as on any read-only file system.

Calls that the kernel refuses without a capability (mount, chroot, reboot, swapon, ...) are not listed: a box has none.
"""

from __future__ import annotations

import errno
import platform
import struct
from functools import cache

from nano_codex_env.errors import SandboxError

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*

# linux/bpf_common.h, linux/seccomp.h, and offsets in struct seccomp_data; the arguments' halves are little-endian.
_LOAD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000  # a call fails with errno _FAIL | errno; _FAIL: it returns 0
_NUMBER, _ARCH, _ARG0, _ARG1, _ARG1_HIGH = 0, 4, 16, 24, 28
_EPERM = _FAIL | errno.EPERM

_NEW_NAMESPACE = 0x7E020080  # CLONE_NEWNS | CGROUP | UTS | IPC | USER | PID | NET | TIME
_FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
_TYPING = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: they type into a terminal
_LOCKS = (6, 7, 37, 38)  # F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW
# They show another box's locks, or stay with the shared output pipe: F_GETLK, F_SETOWN, F_SETSIG, F_SETOWN_EX,
# F_OFD_GETLK, F_SETLEASE, F_NOTIFY, F_SET_RW_HINT, F_SET_FILE_RW_HINT.
_VISIBLE = (5, 8, 10, 15, 36, 1024, 1026, 1036, 1038)

_Condition = tuple[int, int, int, int]
"""Offset of what is compared, comparison, value, and the verdict if it holds."""
_Rule = tuple[str, list[_Condition], int]
"""Calls as `name:number on x86_64/number on aarch64` ("-": no such call), conditions, and the verdict if none holds."""

_RULES: list[_Rule] = [
    (
        "add_key:248/217 adjtimex:159/171 bpf:321/280 cachestat:451/451 clock_adjtime:305/266 delete_module:176/106 "
        "finit_module:313/273 fsconfig:431/431 init_module:175/105 io_uring_enter:426/426 io_uring_register:427/427 "
        "io_uring_setup:425/425 ioperm:173/- iopl:172/- kcmp:312/272 kexec_file_load:320/294 kexec_load:246/104 "
        "keyctl:250/219 lookup_dcookie:212/18 mincore:27/232 modify_ldt:154/- mq_open:240/180 msgget:68/186 "
        "name_to_handle_at:303/264 open_by_handle_at:304/265 open_tree:428/428 perf_event_open:298/241 "
        "pidfd_getfd:438/438 preadv2:327/286 process_madvise:440/440 process_vm_readv:310/270 "
        "process_vm_writev:311/271 ptrace:101/117 quotactl:179/60 readahead:187/213 request_key:249/218 semget:64/190 "
        "setns:308/268 shmat:30/196 shmget:29/194 syslog:103/116 unshare:272/97 userfaultfd:323/282",
        [],
        _EPERM,
    ),
    ("clone3:435/435", [], _FAIL | errno.ENOSYS),
    ("clone:56/220", [(_ARG0, _JSET, _NEW_NAMESPACE, _EPERM)], _ALLOW),
    ("socket:41/198", [(_ARG0, _JEQ, family, _ALLOW) for family in _FAMILIES], _FAIL | errno.EAFNOSUPPORT),
    ("ioctl:16/29", [(_ARG1, _JEQ, request, _EPERM) for request in _TYPING], _ALLOW),
    ("fadvise64:221/223", [], _FAIL),  # coreutils call it for every file
    # On /tmp itself attributes would outlive a command; many file systems do not have them.
    ("setxattr:188/5 lsetxattr:189/6 fsetxattr:190/7", [], _FAIL | errno.ENOTSUP),
    # Process 1, the resident shell, keeps its limits and priorities; groups and users include it.
    (
        "prlimit64:302/261 sched_setaffinity:203/122 sched_setattr:314/274 sched_setparam:142/118 "
        "sched_setscheduler:144/119",
        [(_ARG0, _JEQ, 1, _EPERM)],
        _ALLOW,
    ),
    ("setpriority:141/140", [(_ARG0, _JEQ, 1, _EPERM), (_ARG0, _JEQ, 2, _EPERM), (_ARG1, _JEQ, 1, _EPERM)], _ALLOW),
    ("ioprio_set:251/30", [(_ARG0, _JEQ, 2, _EPERM), (_ARG0, _JEQ, 3, _EPERM), (_ARG1, _JEQ, 1, _EPERM)], _ALLOW),
]
_SHELL_RULES: list[_Rule] = [
    ("fanotify_init:300/262 inotify_init:253/- inotify_init1:294/26", [], _EPERM),
    ("flock:73/32", [], _FAIL),
    (
        "fcntl:72/25",
        [(_ARG1, _JEQ, command, _EPERM) for command in _VISIBLE] + [(_ARG1, _JEQ, lock, _FAIL) for lock in _LOCKS],
        _ALLOW,
    ),
    ("futimesat:261/- utime:132/- utimes:235/-", [], _FAIL | errno.EROFS),
    # With a null path, in both halves, it sets the times of a descriptor.
    ("utimensat:280/88", [(half, _JSET, 0xFFFFFFFF, _FAIL | errno.EROFS) for half in (_ARG1, _ARG1_HIGH)], _FAIL),
]


@cache
def program(machine: str | None = None, *, shell: bool = True) -> bytes:
    """The filter for this machine, as an array of `struct sock_filter` (linux/filter.h).

    `shell`: for a policy's shell; a program that runs tests may lock and watch files.

    Raises:
        SandboxError: the machine is neither x86_64 nor aarch64.
    """
    machine = machine or platform.machine()
    if machine not in _ARCHITECTURES:
        raise SandboxError(f"no system call filter for {machine}; the sandbox runs on {', '.join(_ARCHITECTURES)}")
    column = list(_ARCHITECTURES).index(machine)
    ops = _op(_LOAD, _ARCH) + _op(_JEQ, _ARCHITECTURES[machine], 1, 0) + _op(_RET, _KILL) + _op(_LOAD, _NUMBER)
    if machine == "x86_64":  # the x32 calls
        ops += _op(_JGE, 0x40000000, 0, 1) + _op(_RET, _FAIL | errno.ENOSYS)
    for calls, conditions, otherwise in _RULES + (_SHELL_RULES if shell else []):
        body = b"".join(
            _op(_LOAD, offset) + _op(comparison, value, 0, 1) + _op(_RET, verdict)
            for offset, comparison, value, verdict in conditions
        ) + _op(_RET, otherwise)
        for call in calls.split():
            number = call.partition(":")[2].split("/")[column]
            if number != "-":
                ops += _op(_JEQ, int(number), 0, len(body) // 8) + body
    return ops + _op(_RET, _ALLOW)


def _op(code: int, value: int, true: int = 0, false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, true, false, value)
