"""The checkout that `Agent` works on: changed by exactly the diff that is returned, and what is a user's is kept."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import Agent, Trajectory
from nano_codex_env.cache import cache_dir, remove_dead_sessions
from nano_codex_env.errors import PolicyError, TrajectoryError, WorkspaceError
from nano_codex_env.runs.replay import replay
from nano_codex_env.sandbox import Sandbox
from tests.conftest import git, mostly_slow
from tests.server import Answer, Raw, Script, Server, by_turn, call, completion, fault, serve, turn_of

MODEL = "hosted_vllm/qwen3-8b"
DONE = completion("done")
Made = Callable[[Path], Path]
Solve = Callable[..., tuple[Agent, Server, Any]]


def patch(search: str, replace: str, file: str = "sums.py") -> dict[str, Any]:
    return call("apply_patch", {"search": search, "replace": replace, "file": file})


FIX = patch("a - b", "a + b")


def at(turn: int, action: Callable[[], object], *answers: Answer) -> Script:
    """`answers` by turn; `action` happens before that of `turn` is given."""

    def play(request: dict[str, Any], number: int) -> Answer:
        if turn_of(request) == turn:
            action()
        return by_turn(*answers)(request, number)

    return play


@pytest.fixture
def solve(repo: Path, sandbox: Sandbox, tmp_path: Path) -> Solve:
    """Runs an agent against a script; gives the agent, the endpoint, and the diff or what was raised."""

    def run(script: Script, where: Path = repo, **options: Any) -> tuple[Agent, Server, Any]:
        with serve(script) as server:
            agent = Agent(MODEL, server.url, sandbox=sandbox, **{"log_dir": tmp_path / "log", **options})
            try:
                return agent, server, agent.run("add(2, 3) gives -1", where)
            except (PolicyError, WorkspaceError, KeyboardInterrupt) as error:
                return agent, server, error

    return run


def status(checkout: Path) -> set[str]:
    """Git's lines without the blanks around them: `M  x` is staged, `M x` is not."""
    return {line.strip() for line in git(checkout, "status", "--porcelain", "-z").split("\0")} - {""}


def staged(checkout: Path) -> list[str]:
    """Modes, blobs and names of all that git would commit."""
    git(checkout, "add", "-A")
    return git(checkout, "ls-files", "-s", "-z").split("\0")


def assert_changed_by_exactly(diff: str, checkout: Path, folder: Path, *options: str) -> None:
    """A fresh clone of the checkout's commit becomes what the checkout is by `git apply`."""
    raw = folder / "returned.patch"
    raw.write_bytes(diff.encode("utf-8", "surrogateescape"))
    fresh = folder / "fresh"
    git(folder, "clone", "-q", *options, str(checkout), str(fresh))
    git(fresh, "apply", "--check", str(raw))
    git(fresh, "apply", "--whitespace=nowarn", str(raw))
    assert staged(checkout) == staged(fresh)


def commit(checkout: Path, files: Mapping[str, str | bytes], mode: int = 0o644) -> None:
    for name, content in files.items():
        path = checkout / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "another")


FILES: dict[str, tuple[bytes | None, str, str]] = {
    "crlf.bat": (b"@echo off\r\nset a=1\r\n", "set a=1\n", "set a=2\nset b=3\n"),
    "latin.py": (b"name = 'caf\xe9'\nx = 1\n", "x = 1", "x = 2"),
    "bytes.txt": (b"\xff\xfe1\nb\n", "\xff\xfe1", "\xfe2"),
    "run.sh": (b"#!/bin/sh\necho 1\n", "echo 1", "echo 2"),
    "empty.py": (b"", "", "x = 1\n"),
    "a folder/two words.txt": (b"one\n", "one", "two"),
    "übung/naïve \u65e5.txt": (b"one\n", "one", "two"),
    'quo"te\\back.txt': (b"one\n", "one", "two"),
    "-rf": (b"one\n", "one", "two"),
    "new/folder/new file é.py": (None, "", "x = 1\n"),
    "new-empty/__init__.py": (None, "", ""),
}


@pytest.mark.parametrize("name", mostly_slow(FILES, 5), ids=ascii)
def test_a_file_of_any_shape_is_changed_as_the_diff_says(repo: Path, solve: Solve, tmp_path: Path, name: str) -> None:
    content, search, replace = FILES[name]
    mode = 0o755 if name == "run.sh" else 0o644
    if content is not None:
        commit(repo, {name: content}, mode)
    agent, _, diff = solve(by_turn(completion("", patch(search, replace, name)), DONE))
    assert agent.stop == "submitted"
    assert (repo / name).stat().st_mode & 0o777 == mode
    assert_changed_by_exactly(diff, repo, tmp_path)
    assert git(repo, "diff", "--cached", "--name-only", "-z") == f"{name}\0"


def test_many_files_and_several_edits_of_one_are_one_diff(repo: Path, solve: Solve, tmp_path: Path) -> None:
    edits = [FIX, patch("# sums", "# Sums", "README.md"), patch("", "new\n", "pkg/new.py"), patch("a + b", "b + a")]
    undone = [patch("one", "1", "pkg/data.txt"), patch("1", "one", "pkg/data.txt")]
    same = (repo / "pkg" / "data.txt").stat()
    _, _, diff = solve(by_turn(completion("", *edits), completion("", *undone), DONE))
    assert (repo / "pkg" / "data.txt").stat().st_ino == same.st_ino
    assert status(repo) == {"M README.md", "M sums.py", "?? pkg/new.py"}
    assert_changed_by_exactly(diff, repo, tmp_path)


def _worktree(repo: Path) -> Path:
    git(repo, "worktree", "add", "-q", str(repo.parent / "tree"))
    return repo.parent / "tree"


def _clone(*options: str, name: str = "clone") -> Made:
    def make(repo: Path) -> Path:
        git(repo.parent, "clone", "-q", *options, f"file://{repo}", name)
        return repo.parent / name

    return make


def _attributes(text: str) -> Made:
    def make(repo: Path) -> Path:
        commit(repo, {".gitattributes": text})
        return _clone()(repo)

    return make


def _link(repo: Path) -> Path:
    (repo.parent / "link").symlink_to(repo)
    return repo.parent / "link"


CHECKOUTS: dict[str, Made] = {
    "worktree": _worktree,
    "shallow": _clone("--depth=1"),
    "borrowed objects": _clone("--shared", "--no-local"),
    "autocrlf": _clone("--config=core.autocrlf=true"),
    "no file modes": _clone("--config=core.fileMode=false"),
    "eol=crlf": _attributes("*.py text eol=crlf\n"),
    "ident and export-ignore": _attributes("*.py ident export-ignore\n"),
    "odd name": _clone(name="c:lone \u00e9"),
    "symbolic link": _link,
}


@pytest.mark.parametrize("kind", mostly_slow(CHECKOUTS, 4))
def test_a_checkout_of_any_kind_is_changed(repo: Path, solve: Solve, tmp_path: Path, kind: str) -> None:
    checkout = CHECKOUTS[kind](repo)
    assert status(checkout) == set()
    _, _, diff = solve(by_turn(completion("", FIX, patch("", "x\n", "new.py")), DONE), checkout)
    assert isinstance(diff, str), diff
    assert status(checkout) == {"M sums.py", "?? new.py"}
    options = ["--config=core.autocrlf=true"] if kind == "autocrlf" else []
    assert_changed_by_exactly(diff, checkout, tmp_path, *options)


def test_a_file_keeps_the_encoding_of_the_checkout_or_is_left_alone(repo: Path, solve: Solve) -> None:
    commit(repo, {".gitattributes": "*.cs text working-tree-encoding=UTF-16\n"})
    commit(repo, {"sums.cs": "a - b\n".encode("utf-16")})
    _, _, diff = solve(by_turn(completion("", patch("a - b", "a + b", "sums.cs")), DONE))
    text = "a + b\n" if isinstance(diff, str) else "a - b\n"
    assert (repo / "sums.cs").read_bytes().decode("utf-16") == text


def test_a_log_inside_a_checkout_does_not_make_it_dirty(
    repo: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo)
    with serve(by_turn(completion("", FIX), DONE)) as server:
        Agent(MODEL, server.url, sandbox=sandbox).run("x")
    assert status(repo) == {"M sums.py"}
    git(repo, "commit", "-q", "-a", "-m", "mended")
    with serve(by_turn(completion("", patch("a + b", "b + a")), DONE)) as server:
        assert "+    return b + a" in Agent(MODEL, server.url, sandbox=sandbox).run("y")
    assert len(list((repo / ".nano-codex").glob("2*/diff.patch"))) == 2


def _other(kind: str) -> Made:
    def make(repo: Path) -> Path:
        folder = repo.parent / "other"
        folder.mkdir()
        if kind == "bare":
            git(folder, "clone", "-q", "--bare", str(repo), str(folder))
        if kind == "new":
            git(folder, "init", "-q")
        return folder

    return make


def _with(*names: str, add: bool = False) -> Made:
    def make(repo: Path) -> Path:
        for name in names:
            (repo / name).write_text("mine")
        if add:
            git(repo, "add", "-A")
        return repo

    return make


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda repo: repo / "pkg", "pkg is a folder inside the repository .*repo; give the repository's root"),
        (lambda repo: repo / "none", "there is no folder .*none"),
        (lambda repo: repo / "sums.py", r"there is no folder .*sums\.py"),
        (_other("bare"), "other is a bare repository; there is no checkout to change"),
        (_other("folder"), "other is not a git repository"),
        (_other("new"), "other has no commit yet"),
        (_with("sums.py"), r"repo is dirty: 1 uncommitted change\(s\) \(sums\.py\)"),
        (_with("sums.py", add=True), r"repo is dirty: 1 uncommitted change\(s\) \(sums\.py\)"),
        (_with("new.py"), r"repo is dirty: 1 uncommitted change\(s\) \(new\.py\)"),
        (_with("new.py", "sums.py"), r"repo is dirty: 2 uncommitted change\(s\)"),
    ],
    ids=["folder", "missing", "file", "bare", "no git", "no commit", "modified", "staged", "untracked", "two"],
)
def test_what_is_no_clean_checkout_is_refused_before_a_model_is_asked(
    repo: Path, solve: Solve, tmp_path: Path, make: Made, words: str
) -> None:
    agent, server, error = solve(by_turn(DONE), make(repo))
    assert isinstance(error, WorkspaceError)
    with pytest.raises(WorkspaceError, match=words):
        raise error
    assert (server.requests, agent.messages, agent.stop) == ([], [], None)
    assert not (tmp_path / "log").exists()


# until the end


def test_a_checkout_is_untouched_until_the_model_is_done(repo: Path, solve: Solve) -> None:
    seen: list[set[str]] = []
    solve(at(2, lambda: seen.append(status(repo)), completion("", FIX), completion("", patch("+", "-  -")), DONE))
    assert seen == [set()]
    assert status(repo) == {"M sums.py"}


@pytest.fixture
def _ctrl_c_interrupts() -> Iterator[None]:
    """As in a terminal: a job in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _interrupt() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


@pytest.mark.usefixtures("_ctrl_c_interrupts")
@pytest.mark.parametrize(
    ("action", "answer", "error"),
    [
        (lambda: None, fault(400, "no such model"), PolicyError),
        (lambda: None, Raw(reset=True), PolicyError),
        (lambda: None, {"choices": []}, PolicyError),
        (_interrupt, Raw(delay=60), KeyboardInterrupt),
    ],
    ids=["refused", "reset", "no message", "Ctrl-C"],
)
def test_a_run_that_breaks_off_leaves_the_checkout_and_a_log(
    repo: Path, solve: Solve, action: Callable[[], None], answer: Answer, error: type[BaseException]
) -> None:
    agent, _, raised = solve(at(1, action, completion("", FIX), answer), max_retries=0)
    assert type(raised) is error
    assert status(repo) == set()
    assert agent.folder
    logged = Trajectory.load(agent.folder)
    assert logged.messages == agent.messages
    assert [message["role"] for message in logged.messages] == ["system", "user", "assistant", "tool"]
    assert "+    return a + b\n" in logged.diff
    assert logged.metadata["void"].startswith(error.__name__)
    assert logged.metadata["stop"] is agent.stop is None


def test_a_run_that_is_killed_leaves_the_checkout_and_a_log_that_plays_again(
    repo: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    running: list[subprocess.Popen[bytes]] = []
    started = threading.Event()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def kill() -> None:
        started.wait(60)
        running[0].send_signal(signal.SIGKILL)
        running[0].wait()

    with serve(at(1, kill, completion("", FIX), Raw(reset=True))) as server:
        code = (
            f"from nano_codex_env import Agent; Agent({MODEL!r}, {server.url!r}, log_dir='log').run('x', {str(repo)!r})"
        )
        running.append(subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=env))
        started.set()
        assert running[0].wait(300) == -signal.SIGKILL
    remove_dead_sessions(cache_dir())
    assert status(repo) == set()
    [folder] = (tmp_path / "log").glob("2*")
    logged = Trajectory.load(folder)
    assert [message["role"] for message in logged.messages] == ["system", "user", "assistant", "tool"]
    assert (logged.torn, logged.diff, logged.metadata["stop"]) == (False, "", None)
    assert replay(folder, sandbox=sandbox).identical


def test_a_log_that_was_removed_meanwhile_is_told_in_words(repo: Path, solve: Solve, tmp_path: Path) -> None:
    with pytest.raises(TrajectoryError, match="log"):
        solve(at(1, lambda: shutil.rmtree(tmp_path / "log"), completion("", FIX), DONE))
    assert status(repo) == set()


# what is a user's


def _commit(repo: Path) -> None:
    commit(repo, {"sums.py": "mine\n"})


def _edit(repo: Path) -> None:
    (repo / "sums.py").write_text("mine\n")


def _add(repo: Path) -> None:
    (repo / "new.py").write_text("mine\n")


def _switch(repo: Path) -> None:
    git(repo, "checkout", "-q", "-b", "other")
    git(repo, "commit", "-q", "--allow-empty", "-m", "elsewhere")


@pytest.mark.parametrize("change", [_commit, _edit, _add, _switch], ids=["committed", "edited", "added", "switched"])
def test_a_checkout_that_its_user_changed_meanwhile_is_left_alone(
    repo: Path, solve: Solve, change: Callable[[Path], None]
) -> None:
    was: list[object] = []

    def act() -> None:
        change(repo)
        was.append((status(repo), git(repo, "rev-parse", "HEAD"), (repo / "sums.py").read_text()))

    agent, _, error = solve(at(1, act, completion("", FIX, patch("", "x\n", "new.py")), DONE))
    assert isinstance(error, WorkspaceError)
    assert was == [(status(repo), git(repo, "rev-parse", "HEAD"), (repo / "sums.py").read_text())]
    assert agent.folder
    assert "+    return a + b\n" in Trajectory.load(agent.folder).diff
    assert str(agent.folder / "diff.patch") in str(error)


def _hide(option: str) -> Callable[[Path], None]:
    def make(repo: Path) -> None:
        git(repo, "update-index", option, "sums.py")
        (repo / "sums.py").write_text("a - b  # mine\n")

    return make


def _ignored(repo: Path) -> None:
    commit(repo, {".gitignore": "/out\n"})
    (repo / "out").mkdir()
    (repo / "out" / "x").write_text("mine")


def _not_shown(repo: Path) -> None:
    git(repo, "config", "status.showUntrackedFiles", "no")
    (repo / "new.py").write_text("mine")


def _submodule(repo: Path) -> None:
    git(repo.parent, "clone", "-q", str(repo), "inner")
    git(repo, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(repo.parent / "inner"), "inner")
    git(repo, "commit", "-q", "-m", "a submodule")


@pytest.mark.parametrize(
    ("prepare", "call", "file"),
    [
        (_ignored, patch("", "x\n", "out/x"), "out/x"),
        (_hide("--assume-unchanged"), FIX, "sums.py"),
        (_hide("--skip-worktree"), FIX, "sums.py"),
        (_not_shown, patch("", "x\n", "new.py"), "new.py"),
        (_submodule, patch("", "x\n", "inner/sums.py"), "inner/sums.py"),
    ],
    ids=["ignored", "assume-unchanged", "skip-worktree", "untracked files not shown", "submodule"],
)
def test_what_git_does_not_tell_of_is_not_overwritten(
    repo: Path, solve: Solve, prepare: Callable[[Path], None], call: dict[str, Any], file: str
) -> None:
    prepare(repo)
    was = (repo / file).read_bytes()
    _, _, error = solve(by_turn(completion("", call), DONE))
    assert (repo / file).read_bytes() == was
    assert isinstance(error, WorkspaceError)


@pytest.mark.parametrize("in_the_way", ["folder", "link", "file"])
def test_a_checkout_is_changed_wholly_or_not_at_all(repo: Path, solve: Solve, in_the_way: str) -> None:
    commit(repo, {".gitignore": "/out\n"})
    made = {"folder": "out", "link": "out/x", "file": "out/x"}[in_the_way]
    if in_the_way == "folder":
        (repo / "out").mkdir()
    elif in_the_way == "file":
        (repo / "out").write_text("mine")
    else:
        (repo / "out").symlink_to(repo / "pkg")
    agent, _, error = solve(by_turn(completion("", patch("# sums", "# Sums", "README.md"), patch("", "x", made)), DONE))
    assert isinstance(error, WorkspaceError)
    assert agent.folder
    assert str(agent.folder / "diff.patch") in str(error)
    assert status(repo) == set()


def test_what_stands_outside_is_out_of_reach(repo: Path, solve: Solve, tmp_path: Path) -> None:
    evil = tmp_path / "repo-evil"
    evil.mkdir()
    (evil / "x.py").write_text("a - b\n")
    files = ["../repo-evil/x.py", "/testbed/../repo-evil/x.py", str(evil / "x.py"), "pkg/../../repo-evil/x.py"]
    config = (repo / ".git" / "config").read_text()
    inside = [patch("[core]", "[core]\n\tfsmonitor = touch /tmp/x", name) for name in (".git/config", ".GIT/config")]
    made = [patch("", "x", name) for name in ("../repo-evil/new.py", ".git/hooks/pre-commit")]
    calls = [*(patch("a - b", "a + b", name) for name in files), *inside, *made]
    agent, _, diff = solve(by_turn(completion("", *calls), DONE), tool_limit=len(calls))
    answers = [message["content"] for message in agent.messages if message["role"] == "tool"]
    assert len(answers) == len(calls)
    assert all("is outside the repository" in answer or "git's own folder" in answer for answer in answers)
    assert (diff, status(repo), (evil / "x.py").read_text()) == ("", set(), "a - b\n")
    assert (repo / ".git" / "config").read_text() == config
