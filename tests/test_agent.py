"""`Agent`: a checkout goes in, it is changed by exactly the diff that comes out, and by nothing else."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import Agent, Trajectory
from nano_codex_env.cache import cache_dir, remove_dead_sessions
from nano_codex_env.cli import main
from nano_codex_env.episode import NOT_RUN
from nano_codex_env.errors import ConfigError, PolicyError, TaskError, WorkspaceError
from nano_codex_env.replay import replay
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.tools import Tool, budget, default_tools
from nano_codex_env.tools.notices import REMINDER
from tests.conftest import BUG, GIT_ENV, git
from tests.server import Answer, Raw, Script, Server, by_turn, call, completion, fault, serve, turn_of

MODEL = "hosted_vllm/qwen3-8b"
KEY = "sk-not-to-be-written"
NOWHERE = "http://127.0.0.1:9/v1"
DONE = completion("done")


def patch(search: str, replace: str, file: str = "sums.py") -> dict[str, Any]:
    return call("apply_patch", {"search": search, "replace": replace, "file": file})


def look(cmd: str = "ls") -> dict[str, Any]:
    return call("shell", {"cmd": cmd})


FIX = patch("a - b", "a + b")
MENDS = by_turn(completion("", look("cat sums.py")), completion("", FIX), DONE)


def counted(total: int, *calls: Mapping[str, Any]) -> dict[str, Any]:
    return completion("", *calls, usage={"prompt_tokens": total - 1, "completion_tokens": 1, "total_tokens": total})


def after(action: Callable[[], object], *answers: Answer) -> Script:
    """`answers` by turn; `action` happens before the last of them is given."""

    def play(request: dict[str, Any], number: int) -> Answer:
        if turn_of(request) == len(answers) - 1:
            action()
        return by_turn(*answers)(request, number)

    return play


@pytest.fixture
def solve(repo: Path, sandbox: Sandbox, tmp_path: Path) -> Callable[..., tuple[Agent, Server, Any]]:
    """Runs an agent against a script; gives the agent, the endpoint, and the diff or the error."""

    def run(script: Script, where: Path = repo, **options: Any) -> tuple[Agent, Server, Any]:
        with serve(script) as server:
            given = {"log_dir": tmp_path / "log", "sandbox": sandbox, "api_key": KEY, **options}
            agent = Agent(MODEL, server.url, **given)
            try:
                return agent, server, agent.run("add(2, 3) gives -1", where)
            except (PolicyError, WorkspaceError, KeyboardInterrupt) as error:
                return agent, server, error

    return run


Solve = Callable[..., tuple[Agent, Server, Any]]


def state(checkout: Path) -> list[str]:
    """What `git add -A` would commit: modes, blobs and names."""
    git(checkout, "add", "-A")
    return git(checkout, "ls-files", "-s", "-z").split("\0")


def assert_changed_by_exactly(diff: str, checkout: Path, commit: str, folder: Path) -> None:
    """A fresh clone of what was there becomes what is there by `git apply`."""
    raw = folder / "returned.patch"
    raw.write_bytes(diff.encode("utf-8", "surrogateescape"))
    clone = folder / "fresh"
    settings = [f"-c{line}" for line in git(checkout, "config", "--local", "--list").split("\n") if "autocrlf" in line]
    git(folder, *settings, "clone", "-q", *settings, str(checkout), str(clone))
    git(clone, "checkout", "-q", commit)
    git(clone, "apply", "--check", str(raw))
    git(clone, "apply", "--whitespace=nowarn", str(raw))
    assert state(checkout) == state(clone)


def clean(checkout: Path) -> bool:
    return not git(checkout, "status", "--porcelain")


# what it is called with


def test_the_quick_start(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with serve(MENDS) as server:
        agent = Agent(model="hosted_vllm/qwen3-8b", api_base=server.url, thinking=True)
        diff = agent.run("add(2, 3) gives -1", repo_root=repo)
    assert diff == git(repo, "diff", "--full-index") + "\n"
    assert "+    return a + b\n" in diff
    assert [request["chat_template_kwargs"] for request in server.requests] == [{"enable_thinking": True}] * 3
    assert {request["model"] for request in server.requests} == {"qwen3-8b"}
    assert (agent.stop, agent.tool_usage, agent.remaining_tool_calls) == ("submitted", 2, 28)
    assert agent.folder
    assert agent.folder.parent == Path(".nano-codex")


def test_arguments_stand_in_the_originals_order(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with serve([DONE]) as server:
        agent = Agent(MODEL, server.url, 5000, 1, 60, 99, True, 0.25, 0.75, 0.125, 20, True, False)
        agent.run("x", repo)
    sent = {key: value for key, value in server.requests[0].items() if key not in ("messages", "tools", "model")}
    sampling = {"temperature": 0.25, "top_p": 0.75, "min_p": 0.125, "top_k": 20}
    assert sent == {"max_tokens": 99, "chat_template_kwargs": {"enable_thinking": True}, **sampling}
    limits = (agent.token_limit, agent.tool_limit, agent.time_limit, agent.response_limit)
    assert limits == (5000, 1, 60, 99)
    header, names = capsys.readouterr().out.splitlines()[:2]
    assert f"qwen3-8b at {server.url}" in header
    assert names.startswith("tools: shell, apply_patch; ")
    assert all(value in names for value in ("1", "60", "5000"))
    assert list(tmp_path.iterdir()) == [repo]
    defaults = {name: item.default for name, item in inspect.signature(Agent).parameters.items()}
    assert (defaults["token_limit"], defaults["tool_limit"], defaults["response_limit"]) == (8192, 30, 4096)


@pytest.mark.parametrize(("thinking", "sent"), [(True, True), (False, False), (None, None)], ids=str)
def test_thinking_goes_out_as_the_templates_switch(solve: Solve, thinking: bool | None, sent: bool | None) -> None:
    _, server, _ = solve(by_turn(DONE), thinking=thinking, tool_limit=1)
    assert server.requests[0].get("chat_template_kwargs", {}).get("enable_thinking") is sent


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": ""}, "a model has a name; got ''"),
        ({"api_base": None}, f"no endpoint follows from '{MODEL}'"),
        ({"api_base": "localhost:8000"}, "api_base must be a URL .*; got 'localhost:8000'"),
        ({"tool_limit": 0}, "tool_limit must be a positive whole number; got 0"),
        ({"tool_limit": "30"}, "tool_limit must be a positive whole number; got '30'"),
        ({"token_limit": True}, "token_limit must be a positive whole number; got True"),
        ({"token_limit": -1}, "token_limit must be a positive whole number; got -1"),
        ({"response_limit": None}, "response_limit must be a positive whole number; got None"),
        ({"response_limit": 1.5}, r"response_limit must be a positive whole number; got 1\.5"),
        ({"time_limit": 0}, "time_limit must be a positive number of seconds; got 0"),
        ({"time_limit": float("nan")}, "time_limit must be a positive number of seconds; got nan"),
        ({"timeout": 0}, "timeout must be a positive number; got 0"),
        ({"tools": []}, r"tools must have names of their own; got \[\]"),
        ({"sandbox": "docker"}, "no sandbox is called 'docker'"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_an_argument_that_cannot_be_used_is_named_with_what_was_found(
    given: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOSTED_VLLM_API_BASE", raising=False)
    with pytest.raises(ConfigError, match=words):
        Agent(**{"model": MODEL, "api_base": NOWHERE, **given})


@pytest.mark.parametrize(
    ("issue", "error"),
    [(None, ConfigError), (5, ConfigError), ("", TaskError), (" \n", TaskError), ("\ud800", TaskError)],
    ids=repr,
)
def test_an_issue_that_is_no_text_is_refused(repo: Path, issue: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Agent(MODEL, NOWHERE, log=False).run(issue, repo)


# what the checkout becomes


@pytest.mark.parametrize(
    ("name", "content", "mode", "edit"),
    [
        ("crlf.bat", b"@echo off\r\nset a=1\r\n", 0o644, ("set a=1\n", "set a=2\nset b=3\n")),
        ("mixed.txt", b"one\r\ntwo\nthree\r\n", 0o644, ("two\n", "2\n")),
        ("no-end.txt", b"one\ntwo", 0o644, ("two", "three")),
        ("end.txt", b"one\ntwo\n", 0o644, ("two\n", "two")),
        ("latin.py", b"name = 'caf\xe9'\nx = 1\n", 0o644, ("x = 1", "x = 2")),
        ("bytes.txt", b"\xff\xfe1\nb\n", 0o644, ("\xff\xfe1", "\xfe2")),
        ("bom.cs", b"\xef\xbb\xbfusing A;\r\n", 0o644, ("using A", "using B")),
        ("run.sh", b"#!/bin/sh\necho 1\n", 0o755, ("echo 1", "echo 2")),
        ("empty.py", b"", 0o644, ("", "x = 1\n")),
        ("gone.txt", b"x", 0o644, ("x", "")),
        ("a folder/two words.txt", b"one\n", 0o644, ("one", "two")),
        ("übung/naïve \u65e5.txt", b"one\n", 0o644, ("one", "two")),
        ('quo"te\\back.txt', b"one\n", 0o644, ("one", "two")),
        ("-rf", b"one\n", 0o644, ("one", "two")),
        ("new/folder/new file é.py", None, 0o644, ("", "x = 1\n")),
        ("new-no-end.py", None, 0o644, ("", "x = 1")),
        ("new-crlf.bat", None, 0o644, ("", "a\r\nb\r\n")),
        ("new-empty/__init__.py", None, 0o644, ("", "")),
    ],
    ids=lambda value: ascii(value) if isinstance(value, str) else "",
)
def test_a_file_of_any_shape_is_changed_as_the_diff_says(
    repo: Path, solve: Solve, tmp_path: Path, name: str, content: bytes | None, mode: int, edit: tuple[str, str]
) -> None:
    if content is not None:
        (repo / name).parent.mkdir(exist_ok=True)
        (repo / name).write_bytes(content)
        (repo / name).chmod(mode)
        git(repo, "add", "-A")
        git(repo, "commit", "-q", "-m", "another")
    commit = git(repo, "rev-parse", "HEAD")
    agent, _, diff = solve(by_turn(completion("", patch(*edit, name)), DONE))
    assert agent.stop == "submitted"
    assert (repo / name).stat().st_mode & 0o777 == mode
    assert_changed_by_exactly(diff, repo, commit, tmp_path)
    assert git(repo, "diff", "--cached", "--name-only", "-z") == f"{name}\0"


def test_many_files_and_several_edits_of_one_are_one_diff(repo: Path, solve: Solve, tmp_path: Path) -> None:
    edits = [FIX, patch("# sums", "# Sums", "README.md"), patch("", "new\n", "pkg/new.py"), patch("a + b", "b + a")]
    undone = [patch("one", "1", "pkg/data.txt"), patch("1", "one", "pkg/data.txt")]
    _, _, diff = solve(by_turn(completion("", *edits), completion("", *undone), DONE))
    assert sorted(git(repo, "status", "--porcelain").split("\n")) == ["?? pkg/new.py", "M README.md", " M sums.py"]
    assert_changed_by_exactly(diff, repo, "HEAD", tmp_path)


def _plain(repo: Path) -> Path:
    return repo


def _worktree(repo: Path) -> Path:
    git(repo, "worktree", "add", "-q", str(repo.parent / "tree"))
    return repo.parent / "tree"


def _clone(*options: str, name: str = "clone") -> Callable[[Path], Path]:
    def make(repo: Path) -> Path:
        git(repo.parent, "clone", "-q", *options, f"file://{repo}", name)
        return repo.parent / name

    return make


def _attributes(text: str) -> Callable[[Path], Path]:
    def make(repo: Path) -> Path:
        (repo / ".gitattributes").write_text(text)
        git(repo, "add", "-A")
        git(repo, "commit", "-q", "-m", "attributes")
        return _clone()(repo)

    return make


def _link(repo: Path) -> Path:
    (repo.parent / "link").symlink_to(repo)
    return repo.parent / "link"


CHECKOUTS: dict[str, Callable[[Path], Path]] = {
    "plain": _plain,
    "worktree": _worktree,
    "shallow": _clone("--depth=1"),
    "shared": _clone("--reference=repo"),
    "detached": lambda repo: git(repo, "checkout", "-q", "--detach") and repo or repo,
    "autocrlf": _clone("--config=core.autocrlf=true"),
    "no file modes": _clone("--config=core.fileMode=false"),
    "eol=crlf": _attributes("*.py text eol=crlf\n"),
    "ident and export-ignore": _attributes("*.py ident export-ignore\n"),
    "odd name": _clone(name="c:lone \u00e9"),
    "symbolic link": _link,
}


@pytest.mark.parametrize("make", CHECKOUTS.values(), ids=CHECKOUTS.keys())
def test_a_checkout_of_any_kind_is_changed(
    repo: Path, solve: Solve, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    checkout = make(repo)
    assert clean(checkout)
    _, _, diff = solve(by_turn(completion("", FIX, patch("", "x\n", "new.py")), DONE), checkout)
    assert isinstance(diff, str), diff
    assert git(checkout, "status", "--porcelain").split("\n") == ["M sums.py", "?? new.py"]
    assert_changed_by_exactly(diff, checkout, "HEAD", tmp_path)


def test_a_log_inside_a_checkout_does_not_make_it_dirty(
    repo: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo)
    with serve(MENDS) as server:
        agent = Agent(MODEL, server.url, sandbox=sandbox)
        agent.run("x")
        assert git(repo, "status", "--porcelain") == "M sums.py"
        git(repo, "commit", "-q", "-a", "-m", "mended")
    with serve(by_turn(completion("", patch("a + b", "b + a")), DONE)) as server:
        assert "+    return b + a" in Agent(MODEL, server.url, sandbox=sandbox).run("y")
    assert len(list((repo / ".nano-codex").glob("2*/diff.patch"))) == 2


def _other(name: str) -> Callable[[Path], Path]:
    def make(repo: Path) -> Path:
        folder = repo.parent / "other"
        folder.mkdir()
        if name == "bare":
            git(folder, "clone", "-q", "--bare", str(repo), str(folder))
        if name == "new":
            git(folder, "init", "-q")
        return folder

    return make


def _with(**changes: str) -> Callable[[Path], Path]:
    def make(repo: Path) -> Path:
        for name, text in changes.items():
            (repo / name).write_text(text)
        return repo

    return make


def _staged(repo: Path) -> Path:
    (repo / "sums.py").write_text("")
    git(repo, "add", "-A")
    return repo


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda repo: repo / "pkg", "pkg is a folder inside the repository .*repo; give the repository's root"),
        (lambda repo: repo / "none", "there is no folder .*none"),
        (lambda repo: repo / "sums.py", "there is no folder .*sums.py"),
        (_other("bare"), "other is a bare repository; there is no checkout to change"),
        (_other("folder"), "other is not a git repository"),
        (_other("new"), "other has no commit yet"),
        (_with(README="x"), r"repo is dirty: 1 uncommitted change\(s\) \(README\)"),
        (_with(LICENSE="x", README="x"), r"repo is dirty: 2 uncommitted"),
        (_staged, r"repo is dirty: 1 uncommitted change\(s\) \(sums.py\)"),
    ],
    ids=["subfolder", "missing", "file", "bare", "no repository", "no commit", "untracked", "two", "staged"],
)
def test_what_is_no_clean_checkout_is_refused_before_a_model_is_asked(
    repo: Path, solve: Solve, tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    agent, server, error = solve(MENDS, make(repo))
    assert isinstance(error, WorkspaceError)
    with pytest.raises(WorkspaceError, match=words):
        raise error
    assert (server.requests, agent.messages, agent.stop) == ([], [], None)
    assert not (tmp_path / "log").exists()
