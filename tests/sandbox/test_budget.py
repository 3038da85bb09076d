"""Boxes that run tests: so many at once on a machine, over all threads and processes, however these end."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from nano_codex_env import Resolved, Scripted, Task, rollouts
from nano_codex_env.errors import ConfigError
from nano_codex_env.messages import tool_call
from nano_codex_env.parallel import _quota, processors
from nano_codex_env.sandbox import Bubblewrap, Sandbox, View, budget
from nano_codex_env.sandbox.budget import checked_while_waiting, slot, slots
from nano_codex_env.scoring.run import Scorer
from tests.conftest import descendants

USR = View((Path("/usr"),))
HOLD = """
import os, sys
from nano_codex_env.sandbox.budget import slot
with slot():
    if len(sys.argv) > 1 and os.fork() == 0:
        os.execv("/bin/sleep", ["sleep", "60"]) if sys.argv[1] == "exec" else sys.stdin.read()
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _own_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A budget of these tests alone: suites may run side by side."""
    folder = tmp_path / "own"
    folder.mkdir()
    ours = budget._Slots()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(budget, "_ours", ours)
    yield
    ours.forget()


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that runs one box at once."""
    monkeypatch.setenv("NANO_CODEX_BOXES", "1")


@contextmanager
def held_by_another(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Another process holds a slot."""
    command = [sys.executable, "-c", HOLD, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


class Enough(Exception):
    """Somebody has waited long enough."""


def after(times: int) -> Callable[[], None]:
    """Raises when it is called so many times."""
    left = iter(range(times))

    def check() -> None:
        if next(left, None) is None:
            raise Enough

    return check


def most_at_once(numbers: Sequence[int], work: Callable[[], None]) -> int:
    """How many of some threads hold a slot at once; each takes one twice."""
    inside, most, lock = 0, 0, threading.Lock()

    def run() -> None:
        nonlocal inside, most
        for _ in range(2):
            with slot():
                with lock:
                    inside += 1
                    most = max(most, inside)
                work()
                with lock:
                    inside -= 1

    threads = [threading.Thread(target=run) for _ in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return most


def test_by_default_there_is_a_slot_for_each_processor_that_a_process_may_use() -> None:
    ours = os.sched_getaffinity(0)
    assert slots() == sorted(ours)[: processors()]
    os.sched_setaffinity(0, {min(ours)})
    try:
        assert slots() == [min(ours)]
    finally:
        os.sched_setaffinity(0, ours)


@pytest.mark.parametrize(
    ("mount", "groups", "files", "found"),
    [
        ("cgroup2 x rw", "0::/pod/box", {"cpu.max": "max 100000", "pod/cpu.max": "150000 100000"}, 2),
        ("cgroup2 x rw", "0::/", {"cpu.max": "1600000 100000"}, 16),
        ("cgroup2 x rw", "0::/of/the/host", {"cpu.max": "5000 100000"}, 1),
        ("cgroup2 x rw", "0::/pod", {"pod/cpu.max": "max 100000"}, 1 << 20),
        (
            "cgroup x rw,cpu,cpuacct",
            "3:cpu,cpuacct:/j",
            {"j/cpu.cfs_quota_us": "400000", "j/cpu.cfs_period_us": "1"},
            400000,
        ),
        ("cgroup x rw,cpu", "3:cpu:/j", {"j/cpu.cfs_quota_us": "-1", "j/cpu.cfs_period_us": "100000"}, 1 << 20),
        ("cgroup x rw,memory", "3:memory:/j", {"j/cpu.cfs_quota_us": "1", "j/cpu.cfs_period_us": "1"}, 1 << 20),
    ],
)
def test_a_quota_of_processor_time_counts_as_processors(
    tmp_path: Path, mount: str, groups: str, files: dict[str, str], found: int
) -> None:
    """A pod with 16 processors on a node of 128 ran 128 test suites at once, each eight times slower."""
    for name, text in files.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(f"{text}\n")
    (tmp_path / "mountinfo").write_text(f"30 23 0:26 / {tmp_path}/groups rw - {mount}\n")
    (tmp_path / "cgroup").write_text(f"{groups}\n")
    assert _quota(tmp_path) == found


QUOTAS = Path("/sys/fs/cgroup/cpu")
IN_POD = """
import os, sys
from pathlib import Path
from nano_codex_env.sandbox.budget import slots
Path(sys.argv[1], "cgroup.procs").write_text("0")
print(slots() == [min(os.sched_getaffinity(0))])
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.access(QUOTAS / "cgroup.procs", os.W_OK), reason="needs root and cgroups of version 1")
def test_a_pod_with_half_a_processor_has_one_slot() -> None:
    pod = QUOTAS / f"nano-codex-tests-{os.getpid()}"
    pod.mkdir()
    try:
        (pod / "cpu.cfs_quota_us").write_text("50000")
        argv = [sys.executable, "-c", IN_POD, str(pod)]
        assert subprocess.run(argv, capture_output=True, text=True, check=False).stdout == "True\n"
    finally:
        pod.rmdir()


def test_the_variable_says_how_many_slots_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANO_CODEX_BOXES", " 3 ")
    assert slots() == [0, 1, 2]


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "1e3", "\u0663", "9" * 30, "0x10"])
def test_another_value_is_refused_when_a_sandbox_is_made(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("NANO_CODEX_BOXES", text)
    with pytest.raises(ConfigError, match="NANO_CODEX_BOXES must be a whole number from 1"):
        Bubblewrap()


def test_threads_of_a_process_share_its_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANO_CODEX_BOXES", "2")
    assert most_at_once(range(6), lambda: time.sleep(0.002)) == 2


def test_a_slot_of_another_process_is_waited_for_and_free_when_that_is_killed(one: None) -> None:
    with held_by_another() as process:
        with checked_while_waiting(after(3)), pytest.raises(Enough), slot():
            raise AssertionError
        process.kill()
        process.wait()
        with slot() as waited:
            assert waited >= 0.0
        with slot() as waited:
            assert waited == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fork", "exec"])
def test_a_child_of_a_killed_process_holds_nothing(one: None, how: str) -> None:
    """A DataLoader's worker is forked, and lives on for a while."""
    with held_by_another(how) as process:
        children = descendants(process.pid)
        assert children
        process.kill()
        process.wait()
        with checked_while_waiting(after(500)), slot():
            assert all(Path(f"/proc/{child}").exists() for child in children)
        for child in children:
            os.kill(child, 9)


def test_waiting_is_told_once_and_is_no_part_of_a_runs_time(
    one: None, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(budget, "WARN_AFTER", 0.0)
    sandbox.run(USR, ["true"], timeout=60)
    free, waits = threading.Event(), threading.Event()
    holder = threading.Thread(target=lambda: hold(waits, free))
    holder.start()
    waits.wait(60)
    release = iter([None, None, None])

    def check() -> None:
        if next(release, free) is free:
            free.set()

    with caplog.at_level(logging.WARNING), checked_while_waiting(check):
        result = sandbox.run(USR, ["true"], timeout=60)
    holder.join()
    assert result.waited > 0.0
    [told] = caplog.messages
    assert "at most 1 run at once on this machine" in told
    assert "NANO_CODEX_BOXES sets another number" in told


def hold(held: threading.Event, until: threading.Event) -> None:
    with slot():
        held.set()
        until.wait(60)


def test_the_seconds_of_a_run_are_those_of_its_box(
    one: None, task: Task, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, until = threading.Event(), threading.Event()
    holder = threading.Thread(target=lambda: hold(held, until))
    holder.start()
    held.wait(60)
    started = time.monotonic()

    def check() -> None:
        if time.monotonic() > started + 0.3:
            until.set()

    with checked_while_waiting(check):
        run = Scorer(sandbox, tmp_path, 600.0).run_tests(task, "", ["tests/test_sums.py::test_zero"])
    whole = time.monotonic() - started
    holder.join()
    assert run.status("tests/test_sums.py::test_zero") == "passed"
    assert 0.0 < run.seconds <= whole - 0.3


def test_an_episode_that_waits_ends_when_its_result_is_dropped(one: None, task: Task, sandbox: Sandbox) -> None:
    new = tool_call("apply_patch", search="", replace="this very patch was never scored", file="new.txt")
    with slot():
        [result] = rollouts(
            [task], Scripted([new]), deadline=0.5, reward=Resolved(sandbox=sandbox), log_dir=None, progress=False
        )
    assert str(result.void).startswith("the deadline of 0.5 seconds")
    assert not [thread.name for thread in threading.enumerate() if thread.name == "nano-codex-rollout"]


@pytest.mark.parametrize("kind", ["link", "open to others", "file"])
def test_a_folder_that_others_may_use_is_not_used(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Then a process counts its own boxes, and says so once."""
    folder = tmp_path / f"nano-codex-{os.geteuid()}"
    if kind == "link":
        (tmp_path / "elsewhere").mkdir(0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    elif kind == "file":
        folder.touch(0o700)
    else:
        folder.mkdir()
        folder.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(budget, "_ours", budget._Slots())
    monkeypatch.setenv("NANO_CODEX_BOXES", "2")
    with caplog.at_level(logging.WARNING):
        assert most_at_once(range(4), lambda: time.sleep(0.002)) == 2
    [told] = caplog.messages
    assert "in this process only" in told
    assert "must be a folder of yours" in told
    assert not list(tmp_path.glob("*/boxes"))


@pytest.mark.parametrize("shell", [False, True], ids=["run", "open"])
def test_linear_algebra_has_one_thread_in_a_box_unless_a_view_says_more(sandbox: Sandbox, shell: bool) -> None:
    """Each of many boxes would start a thread for every processor of the machine."""
    names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS"]
    view = View((Path("/usr"),), env={"OMP_NUM_THREADS": "4"})
    if shell:
        opened = sandbox.open(view)
        result = opened.run("env", timeout=60, keep=4096)
        opened.close()
    else:
        result = sandbox.run(view, ["env"], timeout=60)
    found = dict(line.split("=", 1) for line in result.output.text().splitlines())
    assert [found[name] for name in names] == ["4", "1", "1", "1", "1"]


MANY = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from nano_codex_env.sandbox import Bubblewrap, View
sandbox, view = Bubblewrap(), View((Path("/usr"),))
with ThreadPoolExecutor(8) as pool:
    done = list(pool.map(lambda _: sandbox.run(view, ["sleep", sys.argv[1]], timeout=60).exit_code, range(12)))
print(set(done))
"""


@pytest.mark.slow
def test_no_more_boxes_run_than_there_are_slots_over_four_processes_of_eight_threads() -> None:
    seconds, most = f"0.3{os.getpid()}", 0
    environment = {**os.environ, "NANO_CODEX_BOXES": "3"}
    command = [sys.executable, "-c", MANY, seconds]
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    while any(process.poll() is None for process in processes):
        most = max(most, len(running("sleep", seconds)))
        time.sleep(0.01)
    assert [process.communicate()[0] for process in processes] == ["{0}\n"] * 4
    assert most == 3


def running(*command: str) -> list[str]:
    """The processes with exactly this command line."""
    wanted, found = "\0".join(command) + "\0", []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [path.parent.name] if path.read_text() == wanted else []
        except OSError:  # it has ended
            continue
    return found
