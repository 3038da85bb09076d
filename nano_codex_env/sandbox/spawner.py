"""Start processes from one long-lived thread.

bwrap's --die-with-parent follows the *thread* that started it: a box opened in a worker thread would die with that
thread. So one thread of this process, which lives as long as it does, starts all boxes; a forked child makes its own.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

_threads: dict[int, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=_threads.clear)


def spawn(argv: Sequence[str], *, stdin: int, stdout: int, stderr: int, keep: Sequence[int]) -> subprocess.Popen[bytes]:
    """Start `argv` with these descriptors, an empty environment and `keep` left open; its group is its own.

    No `preexec_fn` and no `user=`: either would make Python fork, which copies a trainer's page tables.
    """
    thread = _threads.setdefault(os.getpid(), ThreadPoolExecutor(1, thread_name_prefix="nano-codex-spawner"))
    return thread.submit(
        subprocess.Popen,
        argv,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=tuple(keep),
        env={},
        cwd="/",
        start_new_session=True,
    ).result()
