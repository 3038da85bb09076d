"""Where descriptors, processes, memory or disk run out: an error that says what to raise, and nothing left open."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from nano_codex_env import Idle, NanoCodexEnv, Resolved, Task, from_function, rollouts
from nano_codex_env.cache import Scratch, cache_dir, disk_errors, remove_tree
from nano_codex_env.errors import NanoCodexError, SandboxError, WorkspaceError, advice_for
from nano_codex_env.git import GitDidNotRunError
from nano_codex_env.runtimes import Runtime
from nano_codex_env.sandbox import Bubblewrap, Sandbox, View, box
from nano_codex_env.sandbox.bubblewrap import bwrap_version, find_bwrap
from nano_codex_env.sandbox.budget import slot
from nano_codex_env.scoring import keep_source
from tests.conftest import FIX, MENDED, mostly_slow

USR = View((Path("/usr"),))
HERE = Runtime("python3", (), (), ("/testbed",))


def opened() -> list[str]:
    """What the descriptors of this process are."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:  # the one of the listing itself
            continue
    return sorted(found)


@contextmanager
def files_limited(most: int) -> Iterator[None]:
    """The process may have so many descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def fails_cleanly(action: Callable[[], object], temporary: Path) -> int:
    """How often `action` failed under a limit of descriptors that is raised one by one until it works."""
    action()
    before, sessions, messages = opened(), cache_dir() / "sessions", list[str]()
    for failures in range(100):
        try:
            with files_limited(len(before) + failures):
                action()
        except NanoCodexError as error:
            messages.append(str(error))
        else:
            said = [f"of {len(before) + number} files open: raise `ulimit -n`" for number in range(failures)]
            assert [words for words, message in zip(said, messages, strict=True) if words not in message] == []
            return failures
        finally:
            left = opened(), list(sessions.glob("s-*")), list(temporary.iterdir())
            assert left == (before, [], []), f"at {len(before) + failures} descriptors"
    raise AssertionError("it never worked")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made from now on."""
    with slot():
        pass
    folder = tmp_path / "temporary"
    folder.mkdir()
    folder.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def open_and_run(sandbox: Sandbox) -> None:
    with closing(sandbox.open(USR)) as shell:
        shell.run("echo well", timeout=60, keep=100)


def test_too_few_descriptors_for_a_box_leave_nothing_open(sandbox: Sandbox, temporary: Path) -> None:
    """Memory files, pipes, copies for the child, and the descriptor of the process."""
    assert fails_cleanly(lambda: open_and_run(sandbox), temporary) >= 8
    assert fails_cleanly(lambda: sandbox.run(USR, ["true"], timeout=60), temporary) >= 8


def test_too_few_descriptors_for_the_self_test_leave_nothing_open(tmp_path: Path, temporary: Path) -> None:
    def check() -> None:
        Bubblewrap().check()

    assert fails_cleanly(check, temporary) >= 8


@pytest.mark.parametrize("scored", mostly_slow([False, True], keep=1))
def test_too_few_descriptors_for_an_episode_leave_nothing_open(
    task: Task, sandbox: Sandbox, temporary: Path, tmp_path: Path, scored: bool
) -> None:
    """Played, forked, and with `scored` also judged by its tests."""
    reward = Resolved(sandbox=sandbox) if scored else MENDED

    def play() -> None:
        with NanoCodexEnv([task], reward=reward, sandbox=sandbox, log_dir=tmp_path / "log") as env:
            env.reset()
            for branch in env.fork(2):
                branch.close()
            env.step({"role": "assistant", "content": "done"})

    assert fails_cleanly(play, temporary) >= 1  # fewer where other tests have opened the base tree
    assert not list((tmp_path / "log").glob("*/.*.tmp"))


CALLS = ("pipe", "dup", "memfd_create", "posix_spawn", "pidfd_open", "set_blocking")


@pytest.mark.parametrize("number", mostly_slow([errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EMFILE], keep=1))
def test_each_call_of_the_system_may_fail(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The first call fails, then the second, and so on, until the box opens."""
    open_and_run(sandbox)
    before, failed, left, message = opened(), 0, 0, ""

    def failing(real: Callable[..., object], name: str) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                raise OSError(number, os.strerror(number), name)
            return real(*arguments, **named)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, failing(getattr(os, name), name))
    for which in range(1, 100):
        left = which
        try:
            open_and_run(sandbox)
        except SandboxError as error:
            failed += 1
            message = str(error)
        assert opened() == before
        if left > 0:
            break
    assert failed >= 8
    assert advice_for(OSError(number, "")).split("; ")[-1][:10] in message


def test_where_no_thread_can_start_nothing_is_left_to_start_later(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an executor without a thread was given would run later, with descriptors that are others' by then."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    sandbox.run(USR, ["true"], timeout=60)
    monkeypatch.setattr(box, "_starters", {})
    before = opened()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(SandboxError, match=r"can't start new thread; no more processes .* raise `ulimit -u`"):
            sandbox.run(USR, ["true"], timeout=60)
    assert opened() == before
    assert sandbox.run(USR, ["echo", "well"], timeout=60).output.text() == "well\n"
    assert opened() == before


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EAGAIN, "raise `ulimit -u`"), (errno.ENOMEM, "out of memory"), (errno.ENFILE, "fs.file-max")],
)
def test_what_the_launcher_runs_out_of_is_told_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    """It starts processes too, and says so in words only."""
    said = f"bwrap: Creating new namespace failed: {os.strerror(number)}"
    launcher = tmp_path / "bwrap"
    launcher.write_text(f"#!/bin/sh\n[ $1 = --version ] && exec echo bubblewrap 0.11.0\necho '{said}' >&2; exit 1\n")
    launcher.chmod(0o755)
    sandbox = Bubblewrap(bwrap=str(launcher))
    with pytest.raises(SandboxError, match=f"{said}.*{words}") as opened_error:
        sandbox.open(USR)
    assert "Creating namespaces is forbidden" not in str(opened_error.value)
    monkeypatch.setattr(sandbox, "_checked", True)
    with pytest.raises(SandboxError, match=f"{said}.*{words}"):
        sandbox.run(USR, ["true"], timeout=60)


def test_a_version_that_could_not_be_asked_is_asked_again(temporary: Path) -> None:
    """Else bwrap counts as too old for as long as the process lives."""

    def find() -> None:
        bwrap_version.cache_clear()
        assert find_bwrap()

    assert fails_cleanly(find, temporary) >= 3  # fewer where the numbers of open descriptors have gaps


def test_what_a_reward_of_the_users_runs_out_of_is_told_as_well(task: Task, sandbox: Sandbox) -> None:
    """And of a policy's, a tool's: the text of any void episode."""

    def reward(*_: object) -> float:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "data.json")

    [result] = rollouts([task], Idle(), reward=from_function(reward), sandbox=sandbox, log=None, progress=False)
    assert result.reward is None
    assert "raise `ulimit -n`" in str(result.void)


def test_a_git_that_cannot_start_says_nothing_about_a_patch(task: Task, repo: Path) -> None:
    """Whether git agrees with the headers of a patch is not known then; before, nothing was asked."""
    with files_limited(len(opened())), pytest.raises(GitDidNotRunError, match="raise `ulimit -n`"):
        keep_source(FIX, task, repo, HERE)


def test_a_folder_is_removed_even_where_none_can_be_listed(tmp_path: Path) -> None:
    folder = tmp_path / "one" / "two"
    folder.mkdir(parents=True)
    (folder / "file").write_text("")
    with files_limited(len(opened()) - 1):
        remove_tree(tmp_path / "one")
    assert not (tmp_path / "one").exists()


def test_a_scratch_folder_that_cannot_be_made_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    Scratch(tmp_path).close()
    monkeypatch.setattr(Path, "chmod", full)
    before = opened()
    with pytest.raises(WorkspaceError, match=r"No space left on device.*free some space"):
        Scratch(tmp_path)
    assert opened() == before
    assert not list((tmp_path / "sessions").glob("*.lock"))


@pytest.mark.parametrize("name", ["TMPDIR", "NANO_CODEX_CACHE"])
def test_a_full_disk_is_told_by_the_variable_that_names_it(tmp_path: Path, temporary: Path, name: str) -> None:
    folder = temporary if name == "TMPDIR" else tmp_path
    with pytest.raises(WorkspaceError, match=f"or set {name} to a folder on a larger disk"), disk_errors("writing"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "nano-codex-tmp-a" / "file"))


@pytest.mark.slow
def test_a_user_of_very_many_pipes_gets_small_ones_and_all_of_the_output(sandbox: Sandbox) -> None:
    """From 1,024 pipes on, an ordinary user may not enlarge one; commands share theirs, and may change its size."""
    with files_limited(resource.getrlimit(resource.RLIMIT_NOFILE)[1]), ExitStack() as boxes:
        for _ in range(350):
            shell = boxes.enter_context(closing(sandbox.open(USR)))
        for _ in range(2):
            result = shell.run("head -c 300000 /dev/zero | tr '\\0' x", timeout=60, keep=10)
            assert result.output.left_out == 299_980


MANY = """
import os, resource, sys
from pathlib import Path
from nano_codex_env import Oracle, from_function, load_tasks, make_vec, rollouts
from nano_codex_env.errors import SandboxError
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
tasks, log = load_tasks("bundled")[:2], sys.argv[1]
def opened():
    return len(os.listdir("/proc/self/fd"))
before = opened()
reward = from_function(lambda task, transcript, diff: float(bool(diff)))
results = rollouts(tasks, Oracle(tasks), n=128, concurrency=64, reward=reward, log_dir=log, progress=False)
print(len(results), sum(result.reward == 1.0 for result in results) > 0)
print([result.void for result in results if result.void and "ulimit -n" not in result.void])
print(opened() - before)
try:
    make_vec(40, vectorization_mode="async", tasks=tasks, reward=reward, log_dir=log)
except SandboxError as error:
    print("raise `ulimit -n`" in str(error))
print([child for file in Path("/proc/self/task").glob("*/children") for child in file.read_text().split()])
"""


@pytest.mark.slow
def test_256_episodes_with_64_descriptors_end_each_in_a_reward_or_a_reason(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MANY, str(tmp_path / "log")], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.stdout.splitlines() == ["256 True", "[]", "0", "True", "[]"]
    assert done.stderr == ""
