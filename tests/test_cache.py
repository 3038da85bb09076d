"""The cache: an entry is built once and is complete or absent; a scratch folder ends with its process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import platformdirs
import pytest

from nano_codex_env import Task
from nano_codex_env.cache import (
    ENV_VAR,
    Entry,
    Scratch,
    cache_dir,
    disk_errors,
    entries,
    locked,
    publish,
    remove,
    remove_dead_sessions,
)
from nano_codex_env.cli import main
from nano_codex_env.errors import ConfigError, WorkspaceError
from nano_codex_env.records.rows import RowFile
from nano_codex_env.repo import Workspace
from nano_codex_env.sandbox.bubblewrap import find_bwrap
from tests.sandbox.test_bubblewrap import start


def wait_until_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


@contextlib.contextmanager
def running(text: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A program that has said that it is ready, and is killed at the end."""
    with start(text, *arguments) as process:
        try:
            wait_until_ready(process)
            yield process
        finally:
            process.kill()


def together(count: int, text: str, *arguments: object) -> list[str]:
    """The outputs of `count` processes that run the same program at once."""
    read, gate = os.pipe()
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(start(text, *arguments, stdin=read)) for _ in range(count)]
        os.close(read)
        for process in processes:
            wait_until_ready(process)
        os.close(gate)
        outputs = [process.communicate(timeout=60)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * count
    return outputs


# Its folder.


def test_the_argument_comes_before_the_variable_and_that_before_the_platforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENV_VAR, str(tmp_path / "variable"))
    assert cache_dir(tmp_path / "argument") == tmp_path / "argument"
    assert cache_dir(str(tmp_path / "argument")) == tmp_path / "argument"
    assert cache_dir() == cache_dir("") == tmp_path / "variable"
    platforms = platformdirs.user_cache_path("nano-codex")
    monkeypatch.setenv(ENV_VAR, "")
    assert cache_dir() == platforms
    monkeypatch.delenv(ENV_VAR)
    assert cache_dir() == platforms
    assert not (tmp_path / "argument").exists()


def test_the_folder_is_absolute_and_a_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert cache_dir("~/here") == cache_dir("here") == tmp_path / "here"
    monkeypatch.setenv(ENV_VAR, "~/there")
    assert cache_dir() == tmp_path / "there"


# Entries.


def write(text: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        (folder / "file").write_text(text)

    return build


def test_an_entry_is_built_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "entry"
    assert publish(path, write("first")) == publish(path, write("second")) == path
    assert (path / "file").read_text() == "first"
    assert path.stat().st_mode & 0o777 == 0o755
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["entry", "entry.lock"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, WorkspaceError])
def test_an_entry_whose_building_fails_is_not_there(tmp_path: Path, error: type[BaseException]) -> None:
    def build(folder: Path) -> None:
        (folder / "file").touch()
        raise error

    with pytest.raises(error):
        publish(tmp_path / "entry", build)
    assert [path.name for path in tmp_path.iterdir()] == ["entry.lock"]
    assert (publish(tmp_path / "entry", write("again")) / "file").read_text() == "again"


BUILD = """
import os, sys, time
from pathlib import Path
from nano_codex_env.cache import publish

def build(folder):
    Path(sys.argv[2], str(os.getpid())).touch()
    for number in range(20):
        (folder / str(number)).touch()
        time.sleep(0.01)

print("ready", flush=True)
sys.stdin.read()
print(len(os.listdir(publish(Path(sys.argv[1]), build))))
"""


def test_eight_processes_at_once_build_an_entry_once_and_all_see_it_whole(tmp_path: Path) -> None:
    built = tmp_path / "built"
    built.mkdir()
    assert together(8, BUILD, tmp_path / "entry", built) == ["20\n"] * 8
    assert len(list(built.iterdir())) == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["built", "entry", "entry.lock"]


HALF = """
import sys, time
from pathlib import Path
from nano_codex_env.cache import publish

def build(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "half").touch()
    print("ready", flush=True)
    time.sleep(600)

publish(Path(sys.argv[1]), build)
"""


def test_an_entry_whose_builder_was_killed_is_cleaned_up_and_built_again(tmp_path: Path) -> None:
    with running(HALF, tmp_path / "entry") as process:
        process.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.glob(".entry.*/sub/half"))) == 1
    assert not (tmp_path / "entry").exists()
    publish(tmp_path / "entry", write("whole"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["entry", "entry.lock"]
    assert [path.name for path in (tmp_path / "entry").iterdir()] == ["file"]


def test_building_one_entry_leaves_another_alone_whose_name_begins_alike(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        publish(tmp_path / "entry", write("short"))
        (folder / "file").write_text("long")

    publish(tmp_path / "entry.git", build)
    assert [(tmp_path / name / "file").read_text() for name in ("entry", "entry.git")] == ["short", "long"]


def another_disk(folder: Path) -> list[str]:
    """A command that runs a program with a file system of one megabyte at `folder`."""
    folder.mkdir()
    return [find_bwrap(), "--bind", "/", "/", "--dev", "/dev", "--size", "1000000", "--tmpfs", str(folder)]


FULL = """
import shutil, sys
from pathlib import Path
from nano_codex_env.cache import Scratch, publish
from nano_codex_env.diff import File
from nano_codex_env.errors import ConfigError, WorkspaceError
from nano_codex_env.records.rows import RowFile
from nano_codex_env.repo import Workspace

disk, cache = Path(sys.argv[1]), Path(sys.argv[1], "cache")
shutil.copytree(sys.argv[2], disk / "repo")
workspace = Workspace(str(disk / "repo"), cache=cache)

def large(folder):
    (folder / "large").write_bytes(bytes(2_000_000))

def attempt(action):
    try:
        action()
        print("done")
    except WorkspaceError as error:
        print(str(error).replace(str(cache), "CACHE"))

attempt(lambda: publish(cache / "entry", large))
attempt(lambda: workspace.write("new.txt", File(bytes(2_000_000))))
attempt(lambda: workspace.write("new.txt", File(b"small")))
attempt(lambda: publish(cache / "entry", lambda folder: (folder / "small").touch()))
workspace.close()
print(sorted(path.name for path in cache.iterdir() if path.is_dir()), *cache.glob("sessions/s-*"))
"""


def test_a_full_disk_is_reported_with_its_fix_and_leaves_nothing_half_written(repo: Path, tmp_path: Path) -> None:
    """A real one: a file system in memory of a megabyte."""
    with start(FULL, tmp_path / "disk", repo, prefix=another_disk(tmp_path / "disk")) as process:
        first, second, *rest = process.communicate(timeout=60)[0].splitlines()
    assert process.returncode == 0
    mend = f"No space left on device; free some space, or set {ENV_VAR} to a folder on a larger disk"
    assert (first, second) == (f"building CACHE/entry: [Errno 28] {mend}", f"writing new.txt: [Errno 28] {mend}")
    assert rest == ["done", "done", "['entry', 'sessions', 'trees']"]


def test_the_cache_may_lie_on_another_disk_than_the_repository(repo: Path, tmp_path: Path) -> None:
    text = (
        "import sys; from nano_codex_env.repo import Workspace; "
        "print(Workspace(sys.argv[1], cache=sys.argv[2]).read('README.md').data)"
    )
    with start(text, repo, tmp_path / "disk", prefix=another_disk(tmp_path / "disk")) as process:
        assert process.communicate(timeout=60)[0] == "b'# sums\\n'\n"


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        (PermissionError(13, "Permission denied"), "to a folder that you may write"),
        (OSError(30, "Read-only file system"), "to a folder that you may write"),
        (OSError(122, "Disk quota exceeded"), "free some space"),
        (OSError(24, "Too many open files"), "raise `ulimit -n`"),
        (OSError(23, "Too many open files in system"), "fs.file-max"),
        (OSError(11, "Resource temporarily unavailable"), "raise `ulimit -u`"),
        (OSError(12, "Cannot allocate memory"), "have fewer episodes"),
    ],
)
def test_each_error_of_the_disk_has_its_fix(error: OSError, mend: str) -> None:
    with pytest.raises(WorkspaceError, match=f"making: .*{error.strerror}; .*{mend}") as raised, disk_errors("making"):
        raise error
    assert raised.value.__cause__ is error


def test_a_cache_that_is_a_file_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    for use in (
        lambda: publish(tmp_path / "cache" / "entry", write("")),
        lambda: Scratch(tmp_path / "cache"),
        lambda: remove_dead_sessions(tmp_path / "cache"),
    ):
        with pytest.raises(WorkspaceError, match="cache"):
            use()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_lock_is_free_again_though_a_forked_child_lives_on(tmp_path: Path) -> None:
    """A data loader that is forked while a tree is built must not keep every other process from building it."""
    read, gate = os.pipe()
    with locked(tmp_path / "lock"):
        child = os.fork()
        if child == 0:
            os.close(gate)
            os.read(read, 1)
            os._exit(0)
    try:
        with open(tmp_path / "lock") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(gate)
        os.close(read)
        os.waitpid(child, 0)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=errno.errorcode.get)
def test_a_file_system_without_locks_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """NFS without a lock daemon, Lustre mounted without `flock`: nothing is built, and nothing is left open or over."""

    def refuse(handle: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    left = Scratch(tmp_path)
    monkeypatch.setattr(fcntl, "flock", refuse)
    descriptors = os.listdir("/proc/self/fd")
    for use, path in (
        (lambda: publish(tmp_path / "entry", write("")), "entry.lock"),
        (lambda: Scratch(tmp_path), "sessions/s-"),
        (lambda: remove_dead_sessions(tmp_path), "sessions/s-"),
        (lambda: remove(Entry("trees", tmp_path / "entry", 0.0)), "entry.lock"),
    ):
        with pytest.raises(WorkspaceError) as raised:
            use()
        said = str(raised.value)
        assert f"{os.strerror(number)}, so this file system grants no locks (flock): '{tmp_path}/{path}" in said
        assert said.endswith(f"; set {ENV_VAR} to a folder on a local disk; `nano-codex doctor` says what else helps")
    with pytest.raises(ConfigError, match=r"cannot write .*rows\.jsonl: .* grants no locks .*; give another folder"):
        RowFile(tmp_path / "rows.jsonl", key=lambda row: row["id"], resume=False)
    assert os.listdir("/proc/self/fd") == descriptors
    assert sorted(sessions(tmp_path)) == [left.path.name, f"{left.path.name}.lock"]
    monkeypatch.undo()
    left.close()


def test_an_error_that_says_nothing_of_locks_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(WorkspaceError, match=r"building .*entry: \[Errno 5\] Input/output error$"):
        publish(tmp_path / "entry", write(""))


# Folders of episodes.


def sessions(cache: Path) -> list[str]:
    return [path.name for path in (cache / "sessions").iterdir() if path.name != ".lock"]


def test_a_scratch_folder_is_gone_when_closed(tmp_path: Path) -> None:
    first, second = Scratch(tmp_path), Scratch(tmp_path)
    assert first.path != second.path
    (first.path / "sub").mkdir()
    (first.path / "sub" / "file").touch()
    first.close()
    first.close()
    assert not first.path.exists()
    assert second.path.is_dir()
    second.close()
    assert sessions(tmp_path) == []


def test_a_scratch_folder_is_private_to_its_episode_in_many_threads(tmp_path: Path) -> None:
    paths: list[Path] = []

    def work() -> None:
        for _ in range(20):
            scratch = Scratch(tmp_path)
            paths.append(scratch.path)
            (scratch.path / "file").touch(exist_ok=False)
            scratch.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 160
    assert sessions(tmp_path) == []


def test_a_cache_that_was_removed_meanwhile_is_made_anew(tmp_path: Path) -> None:
    first = Scratch(tmp_path)
    shutil.rmtree(tmp_path / "sessions")
    second = Scratch(tmp_path)
    assert second.path.is_dir()
    first.close()
    second.close()
    assert sessions(tmp_path) == []


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_leaves_its_parents_folder_alone_and_has_its_own(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            scratch.close()
            own = Scratch(tmp_path)
            alone = own.path != scratch.path and scratch.path.is_dir()
            own.close()
            code = 0 if alone and not own.path.exists() else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert scratch.path.is_dir()
    scratch.close()
    assert sessions(tmp_path) == []


HOLD = """
import sys, time
from pathlib import Path
from nano_codex_env.cache import Scratch

scratch = Scratch(Path(sys.argv[1]))
(scratch.path / "file").touch()
print("ready", flush=True)
time.sleep(600)
"""


def test_the_folders_of_dead_processes_are_removed_and_those_of_the_living_kept(tmp_path: Path) -> None:
    mine = Scratch(tmp_path)
    with running(HOLD, tmp_path) as living:
        with running(HOLD, tmp_path) as dying:
            assert len(list(tmp_path.glob("sessions/s-*/file"))) == 2
            assert remove_dead_sessions(tmp_path) == []
            dying.send_signal(signal.SIGKILL)
        removed = remove_dead_sessions(tmp_path)
        assert len(removed) == 1
        assert not removed[0].exists()
        assert len(list(tmp_path.glob("sessions/s-*/file"))) == 1
        assert mine.path.is_dir()
        living.send_signal(signal.SIGKILL)
    mine.close()
    assert len(sessions(tmp_path)) == 2  # the folder and its lock: nobody has looked yet
    Scratch(tmp_path).close()
    assert sessions(tmp_path) == []


COME_AND_GO = """
import sys
from pathlib import Path
from nano_codex_env.cache import Scratch

print("ready", flush=True)
sys.stdin.read()
for _ in range(500):
    Scratch(Path(sys.argv[1])).close()
"""


@pytest.mark.slow
def test_processes_come_and_go_without_tripping_over_one_another(tmp_path: Path) -> None:
    """Each looks for the folders of the dead while others remove their own."""
    assert together(4, COME_AND_GO, tmp_path) == [""] * 4
    assert sessions(tmp_path) == []


# Entries, and pruning them.


def fill(cache: Path, name: str = "trees/one", days: float = 0) -> Path:
    """An entry of one file, used so many days ago."""

    def build(folder: Path) -> None:
        (folder / "file").write_text("x" * 5000)

    path = publish(cache / name, build)
    then = path.with_name(path.name + ".lock").stat().st_mtime - days * 86400
    os.utime(path.with_name(path.name + ".lock"), (then, then))
    return path


def test_entries_tell_their_kind_their_size_and_when_they_were_used(tmp_path: Path) -> None:
    fill(tmp_path, "trees/one", days=3)
    fill(tmp_path, "venvs/two.x")
    Scratch(tmp_path).close()
    one, two = entries(tmp_path)
    assert (one.kind, one.path.name, two.kind, two.path.name) == ("trees", "one", "venvs", "two.x")
    assert 5000 <= one.size() < 50_000
    assert 2.9 * 86400 < two.used - one.used < 3.1 * 86400


def test_using_an_entry_makes_it_young(tmp_path: Path) -> None:
    path = fill(tmp_path, days=40)
    old = entries(tmp_path)[0].used
    publish(path, lambda folder: None)
    assert entries(tmp_path)[0].used - old > 39 * 86400


def test_what_is_removed_is_gone_and_is_made_anew(tmp_path: Path) -> None:
    path = fill(tmp_path)
    remove(entries(tmp_path)[0])
    assert (path.exists(), entries(tmp_path)) == (False, [])
    assert [left.name for left in path.parent.iterdir()] == ["one.lock"]
    assert fill(tmp_path).exists()


def cache_command(*arguments: str) -> int:
    return main(["cache", *arguments])


def test_the_cache_is_listed_by_kind_and_by_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(ENV_VAR, str(tmp_path))
    fill(tmp_path, days=3)
    fill(tmp_path, "trees/two")
    assert cache_command("ls") == 0
    said = capsys.readouterr().out
    assert "trees" in said
    assert "2 entries, 0.0 MB" in said
    assert cache_command("ls", "--all") == 0
    assert "3 days ago" in capsys.readouterr().out


def test_what_was_not_used_for_long_is_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(ENV_VAR, str(tmp_path))
    old, young, venv = fill(tmp_path, "trees/old", 40), fill(tmp_path, "trees/young"), fill(tmp_path, "venvs/old", 40)
    assert cache_command("prune", "--dry-run") == 0
    assert "would remove 2 of 3 entries" in capsys.readouterr().out
    assert cache_command("prune", "--kind", "trees") == 0
    assert (old.exists(), young.exists(), venv.exists()) == (False, True, True)
    assert cache_command("prune", "--unused", "0") == 0
    assert entries(tmp_path) == []
    assert cache_command("prune", "--kind", "trees") == 2
    assert cache_command("prune", "--unused", "-1") == 2
    assert "the cache holds no trees; it holds nothing" in capsys.readouterr().err


def test_a_base_tree_tells_how_far_it_is(task: Task, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        Workspace(task.repo, task.base_commit, cache=tmp_path / "cache").close()
    assert "checking out 4 files" in caplog.text


# Locks that are not released.

LOCKING = """
import os, sys
from pathlib import Path
from nano_codex_env.cache import locked
with locked(Path(sys.argv[1])):
    if sys.argv[2] == "child" and os.fork():
        os._exit(0)
    print("held", os.getpid(), flush=True)
    sys.stdin.readline()
"""


@contextlib.contextmanager
def holding(lock: Path, how: str) -> Iterator[int]:
    """Another process, or the child of one that is gone, holds the lock; its id."""
    with start(LOCKING, lock, how, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        word, pid = process.stdout.readline().split()
        assert word == "held"
        if how == "child":
            process.wait()
        yield int(pid)


def test_the_holder_of_a_lock_is_named_and_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("nano_codex_env.cache.WARN_AFTER", 0.0)
    monkeypatch.setattr("nano_codex_env.cache.LOCK_LIMIT", 0.05)
    with holding(tmp_path / "lock", "parent") as pid:
        with pytest.raises(WorkspaceError, match=rf"lock has been locked for 0\.05 seconds by process {pid}; end that"):
            locked(tmp_path / "lock").__enter__()
        assert f"waiting for {tmp_path / 'lock'}, which is locked by process {pid}" in caplog.text


def test_a_lock_whose_holder_is_gone_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that had forked under the lock was killed; its child still holds it."""
    monkeypatch.setattr("nano_codex_env.cache.LOCK_LIMIT", 0.05)
    with (
        holding(tmp_path / "lock", "child"),
        pytest.raises(
            WorkspaceError, match=r"by process \d+, which is gone; a process that it started holds the lock on"
        ),
    ):
        locked(tmp_path / "lock").__enter__()


def test_a_lock_that_is_released_is_taken(tmp_path: Path) -> None:
    with holding(tmp_path / "lock", "parent"):
        pass
    with locked(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text().split()[0] == str(os.getpid())
