"""Out of memory: the limit of a box is the patch's failure, that of the job or the machine is nobody's score."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nano_codex_env import Resolved, Task
from nano_codex_env.errors import SandboxError
from nano_codex_env.sandbox import ExecResult, Output, Sandbox, View
from nano_codex_env.sandbox.cgroup import ControlGroup, MemoryWatch, _job_counter
from nano_codex_env.scoring.run import _read
from tests.conftest import BUG, descendants, mostly_slow
from tests.rewards.patches import patch

USR = View((Path("/usr"),))
JOBS = Path("/sys/fs/cgroup/memory")
HOG = "kept = []\nfor number in range(60):\n    kept.append(b'x' * 10_000_000)\nprint('survived')"
"""600 MB, more than the jobs of these tests have."""

needs_jobs = pytest.mark.skipif(
    not os.access(JOBS / "cgroup.procs", os.W_OK), reason="needs root and the memory controller of cgroup v1"
)


@pytest.mark.parametrize(
    ("events", "status", "told"),
    [
        ("low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n", 137, "own"),
        ("low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n", 1, "own"),
        ("low 0\nhigh 0\nmax 0\noom 0\noom_kill 1\n", 137, "ran out of memory"),
        ("low 0\nhigh 0\nmax 0\noom 0\noom_kill 1\n", 1, "ran out of memory"),
        ("low 0\nhigh 0\nmax 3\noom 0\noom_kill 0\n", 137, ""),
        ("low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n", -9, "by signal 9"),
        (None, 137, ""),
    ],
)
def test_a_group_tells_its_own_limit_from_those_above(
    tmp_path: Path, events: str | None, status: int, told: str
) -> None:
    """137: a process that a test killed itself."""
    group = ControlGroup(tmp_path, {})
    watch = MemoryWatch(group)
    if events is not None:
        (group.path / "memory.events").write_text(events)
    if told in ("", "own"):
        assert watch.reached_own_limit(status) == bool(told)
    else:
        with pytest.raises(SandboxError, match=rf"killed from outside: .*{told}.*NANO_CODEX_BOXES"):
            watch.reached_own_limit(status)


@pytest.mark.parametrize(
    ("mount", "line", "file"),
    [
        ("/ {} rw - cgroup2 cgroup2 rw", "0::/job/step", "job/step/memory.events"),
        ("/job {} rw - cgroup2 cgroup2 rw", "0::/job/step", "step/memory.events"),
        ("/ {} rw - cgroup cgroup rw,memory", "4:cpu,memory:/job", "job/memory.oom_control"),
    ],
    ids=["v2", "v2 in a container", "v1"],
)
def test_the_counter_of_a_job_is_found(tmp_path: Path, mount: str, line: str, file: str) -> None:
    groups = tmp_path / "groups"
    (groups / file).parent.mkdir(parents=True)
    (groups / file).write_text("oom_kill 3\n")
    (tmp_path / "mountinfo").write_text(f"30 23 0:26 {mount.format(groups)}\n")
    (tmp_path / "cgroup").write_text(f"1:name=systemd:/x\n{line}\n")
    found = _job_counter(tmp_path)
    assert found
    assert found.resolve() == groups / file


def test_a_process_that_tests_kill_is_no_failure_of_ours(sandbox: Sandbox) -> None:
    result = sandbox.run(USR, ["bash", "-c", "kill -9 $$"], timeout=60)
    assert (result.exit_code, result.out_of_memory) == (137, False)


def test_a_box_that_is_killed_from_outside_is_a_failure_of_ours(sandbox: Sandbox) -> None:
    """Nothing inside can kill the launcher."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            sandbox.run(USR, ["sleep", "1000"], timeout=60)
        except SandboxError as error:
            errors.append(error)

    before, thread = descendants(), threading.Thread(target=run)
    thread.start()
    while not (found := [pid for pid in descendants() - before if name_of(pid) == "sleep"]):
        thread.join(0.01)
    launchers = [pid for pid in descendants() - before if found[0] in descendants(pid) and name_of(pid) == "bwrap"]
    os.kill(min(launchers), signal.SIGKILL)
    thread.join()
    [error] = errors
    assert "killed from outside: by signal 9" in str(error)


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def test_tests_that_the_boxs_limit_ends_are_the_patchs_failure(task: Task) -> None:
    """A run that the kernel broke off for the box's own limit: no flag of forgery, as an early end would be."""
    started = b'["start", "8"]'
    reports = b"up\nsource\ntests\n" + chained(started)
    run = _read(task, ExecResult(Output(b""), 137, reports=reports, out_of_memory=True), "k")
    assert run.reason == "the tests ran out of memory with the patch: all processes of the tests together may use 8 GiB"
    assert (
        _read(task, ExecResult(Output(b""), 137, reports=reports), "k").reason
        == "the run ended early (exit status 137)"
    )


def chained(text: bytes) -> bytes:
    return hashlib.sha256(b"k" + text).hexdigest().encode() + b" " + text + b"\n"


@pytest.mark.parametrize(
    "body",
    mostly_slow(
        [
            "def add(a, b):\n    return len(bytearray(1 << 36))\n",
            "KEPT = bytearray(1 << 36)\n",
            "def add(a, b):\n    raise OSError(12, 'Cannot allocate memory')\n",
        ],
        keep=1,
    ),
)
def test_a_patch_that_wants_more_than_a_process_may_have_is_told_so(task: Task, sandbox: Sandbox, body: str) -> None:
    score = Resolved(sandbox=sandbox, integrity="fast")(
        task, [], patch({"sums.py": BUG}, {"sums.py": f"{BUG}\n\n{body}"})
    )
    assert score.value == 0.0
    assert "tests failed; out of memory: one process may use 16 GiB (tests/test_sums.py" in score.parts["reason"]
    assert score.parts["integrity"] == []


@pytest.fixture
def job() -> Iterator[Path]:
    """A job that may use 250 MB."""
    folder = JOBS / f"nano-codex-tests-{os.getpid()}"
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text(str(250_000_000))
    yield folder
    folder.rmdir()


IN_JOB = """
import sys
from pathlib import Path
from nano_codex_env import Resolved, Task
from nano_codex_env.errors import SandboxError
from nano_codex_env.sandbox import Bubblewrap, View
Path(sys.argv[2], "cgroup.procs").write_text("0")
sandbox, view, hog = Bubblewrap(), View((Path("/usr"),)), sys.argv[1]
sandbox.run(view, ["true"], timeout=60)
for command in (["python3", "-c", hog], ["bash", "-c", 'python3 -c "$0"; exit 1', hog]):
    try:
        print(sandbox.run(view, command, timeout=60))
    except SandboxError as error:
        print(error)
box = sandbox.open(view)
print(box.run(f'python3 -c "{hog}"', timeout=60, keep=100).exit_code, box.alive)
print(box.run("echo well", timeout=60, keep=100).output.text(), end="")
box.close()
print(sandbox.run(view, ["bash", "-c", "kill -9 $$"], timeout=60).exit_code)
Path(sys.argv[2]).parent.joinpath("cgroup.procs").write_text("0")
"""


@needs_jobs
@pytest.mark.slow
def test_a_job_that_runs_out_of_memory_gives_no_result(job: Path) -> None:
    """Neither where the program itself was killed nor where one of its children was."""
    done = subprocess.run(
        [sys.executable, "-c", IN_JOB, HOG, str(job)], capture_output=True, text=True, timeout=300, check=False
    )
    told = "processes of the box were killed from outside: the machine, or the job that this is, ran out of memory. "
    lines = done.stdout.splitlines()
    assert [line.startswith(told) for line in lines[:2]] == [True, True], done
    assert lines[2:] == ["137 True", "well", "137"]
