"""A run's folder or a checkout of anybody's: what is done there runs, asks and overwrites nothing of its choosing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import Agent, NanoCodexEnv, Scripted, Task, Trajectory, from_function, rollouts, save_tasks
from nano_codex_env.atomic import write_locked, write_new, write_whole
from nano_codex_env.cli import main
from nano_codex_env.config import make_policy, read_config, untrusted_settings
from nano_codex_env.errors import ConfigError, TrajectoryError
from nano_codex_env.messages import dumps
from nano_codex_env.records.rows import RowFile, read_rows
from nano_codex_env.records.trajectory import LogWriter
from nano_codex_env.untrusted import MAX_LINES, for_terminal
from tests.server import completion, serve

ESCAPE = "\x1b]0;owned\x07"
HALF = from_function(lambda task, transcript, diff: 0.5)
MINE = """
from pathlib import Path
Path("imported").touch()
from nano_codex_env import Reply
from nano_codex_env.messages import assistant


def policy(messages, tools):
    return Reply(assistant("done"))


def reward(task, transcript, diff):
    return 0.25
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a stranger's."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return folder


Begun = Callable[..., Path]


@pytest.fixture
def begun(here: Path, task: Task) -> Begun:
    """Makes the folder of a run that somebody began, with one task."""

    def make(name: str = "run-1", **config: Any) -> Path:
        out = here / ".nano-codex" / name
        out.mkdir(parents=True)
        save_tasks([task], here / "tasks.jsonl")
        config = {"tasks": ["tasks.jsonl"], "policy": "idle", "reward": "similarity", **config}
        (out / "config.json").write_text(json.dumps(read_config(None, begun=config)))
        return out

    return make


def said(capsys: pytest.CaptureFixture[str], code: int, *argv: str) -> str:
    """What a command says on stderr."""
    capsys.readouterr()
    assert main(list(argv)) == code
    return capsys.readouterr().err


# What is run, and who is asked.


def test_code_that_only_the_config_of_a_run_names_is_not_run(
    here: Path, begun: Begun, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(policy="stranger_a:policy", reward="stranger_a:reward")
    (here / "stranger_a.py").write_text(MINE)
    words = said(capsys, 2, "run", "--resume")
    assert words.endswith(
        "to resume .nano-codex/run-1, repeat what it was begun with: --policy stranger_a:policy --reward "
        "stranger_a:reward; its config.json may be anybody's: which code runs here and which servers are asked is not "
        "taken from there\n"
    )
    assert "begun with: --reward stranger_a:reward;" in said(
        capsys, 2, "run", "--resume", "--policy", "stranger_a:policy"
    )
    assert "was begun with another policy" in said(capsys, 2, "run", "--resume", "--policy", "stranger_a:reward")
    assert not (here / "imported").exists()
    (here / "mine.toml").write_text('policy = "stranger_a:policy"')
    assert main(["run", "--resume", "--config", "mine.toml", "--set", "reward=stranger_a:reward"]) == 0
    assert [row["reward"] for row in read_rows(here / ".nano-codex/run-1/results.jsonl")] == [0.25]


def test_a_key_is_sent_to_no_server_that_only_the_config_of_a_run_names(
    begun: Begun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-private")
    with serve([completion("done")]) as server:
        out = begun(policy="openai/gpt-4.1", model={"api_base": server.url})
        words = said(capsys, 2, "run", "--resume")
        assert f"repeat what it was begun with: --api-base {server.url}; " in words
        assert not server.requests
        assert main(["run", "--resume", "--api-base", server.url]) == 0
        assert len(server.requests) == 1
    with serve([completion("done")]) as other:
        assert main(["run", "--resume", "-n", "2", "--out", str(out), "--api-base", other.url]) == 0
        assert len(other.requests) == 1


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({}, {}),
        ({"policy": "random", "reward": "similarity"}, {}),
        ({"policy": "openai/gpt-4.1"}, {}),
        ({"policy": "hosted_vllm/a:b"}, {}),
        ({"policy": "openrouter/x/y", "model": {"api_base": "https://openrouter.ai/api/v1"}}, {}),
        ({"policy": "idle", "model": {"api_base": "http://a/v1"}}, {}),
        ({"policy": "mine:policy"}, {"policy": "mine:policy"}),
        ({"reward": "mine:reward"}, {"reward": "mine:reward"}),
        ({"policy": "mine:policy", "model": {"api_base": "http://a/v1"}}, {"api_base": "http://a/v1"}),
        (
            {"policy": "openai/x", "model": {"api_base": "https://openrouter.ai/api/v1"}},
            {"api_base": "https://openrouter.ai/api/v1"},
        ),
        ({"tasks": ["bundled", "gone.jsonl", "/"]}, {}),
        ({"tasks": ["bundled", "somebody/data"]}, {"tasks": ["bundled", "somebody/data"]}),
    ],
)
def test_what_a_config_of_anybodys_may_bring_along_is_no_code_and_no_server(
    config: dict[str, Any], found: dict[str, Any]
) -> None:
    assert untrusted_settings(read_config(None, begun=config)) == found


def test_a_dataset_of_the_hub_is_repeated_as_it_stands(begun: Begun, capsys: pytest.CaptureFixture[str]) -> None:
    begun(tasks=["two words", "bundled"])
    assert "begun with: --tasks 'two words' bundled; " in said(capsys, 2, "run", "--resume")
    assert "it is no dataset's name" in said(capsys, 2, "run", "--resume", "--tasks", "two words", "bundled")


def test_a_policy_that_is_installed_brings_no_module_of_the_current_folder_along(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is imported later and is not installed would be looked for there."""
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "stranger_b.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path / "installed")
    make_policy(read_config(None, ["policy=stranger_b:policy"]), [])
    assert str(here) not in sys.path
    (here / "stranger_c.py").write_text(MINE)
    make_policy(read_config(None, ["policy=stranger_c:policy"]), [])
    assert sys.path[-1] == str(here)


# What is overwritten.


def test_no_file_of_a_run_is_written_through_a_link(here: Path, begun: Begun, tmp_path: Path) -> None:
    out, victim = begun(), tmp_path / "victim"
    victim.write_text("mine")
    for name in (".results.jsonl.tmp", ".config.json.tmp"):
        (out / name).symlink_to(victim)
    assert main(["run", "--resume"]) == 0
    assert victim.read_text() == "mine"
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == [
        ".gitignore",
        "config.json",
        "results.jsonl",
    ]
    assert not any(path.is_symlink() for path in out.iterdir())


def test_no_file_of_an_episode_is_written_through_a_link(tmp_path: Path) -> None:
    victim, log = tmp_path / "victim", LogWriter(tmp_path / "log", [], {})
    victim.write_text("mine")
    for name in ("metadata.json", "diff.patch", "stats.json"):
        (log.folder / f".{name}.tmp").symlink_to(victim)
    log.add("stats.json", {})
    log.finish("", {"stop": "submitted"})
    assert victim.read_text() == "mine"
    assert Trajectory.load(log.folder).metadata["stop"] == "submitted"


def test_a_file_is_replaced_or_left_and_a_link_is_not_followed(tmp_path: Path) -> None:
    path, victim = tmp_path / "file", tmp_path / "victim"
    victim.write_text("mine")
    path.symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_new(path, b"x")
    write_whole(path, b"a")
    handle = write_locked(path, b"b")
    try:
        os.write(handle, b"c")
    finally:
        os.close(handle)
    with pytest.raises(FileExistsError):
        write_new(path, b"x")
    assert (path.read_bytes(), victim.read_text(), path.is_symlink()) == (b"bc", "mine", False)
    (tmp_path / ".file.tmp").mkdir()
    with pytest.raises(OSError, match=r"\.file\.tmp"):
        write_whole(path, b"d")
    assert path.read_bytes() == b"bc"


@pytest.mark.parametrize("there", [True, False])
def test_results_behind_a_link_are_neither_added_to_nor_read(tmp_path: Path, there: bool) -> None:
    (tmp_path / "run").mkdir()
    path, victim = tmp_path / "run" / "results.jsonl", tmp_path / "victim"
    if there:
        victim.write_text('{"name": "a"}\n')
    path.symlink_to(victim)
    for resume in (True, False):
        with pytest.raises(ConfigError, match=f"cannot write .*: it is a link to {victim}; give another folder"):
            RowFile(path, str, resume=resume)
    with pytest.raises(TrajectoryError, match=r"it is a link to .*victim, outside of the log"):
        read_rows(path)
    assert victim.exists() == there


def test_a_config_behind_a_link_is_not_read(begun: Begun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = begun() / "config.json"
    config.rename(tmp_path / "private")
    config.symlink_to(tmp_path / "private")
    assert "config.json: it is a link to " in said(capsys, 2, "run", "--resume")


# Where it is written.


def test_a_gitignore_that_is_a_link_to_nowhere_stays_so(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / ".gitignore").symlink_to(tmp_path / "autostart")
    LogWriter(tmp_path / "log", [], {}).close()
    assert not (tmp_path / "autostart").exists()
    assert (tmp_path / "log" / ".gitignore").is_symlink()


def test_a_folder_of_logs_that_is_a_link_in_the_current_one_is_not_followed(
    here: Path, begun: Begun, repo: Path, task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun()
    elsewhere = tmp_path / "elsewhere"
    Path(".nano-codex").rename(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    Path(".nano-codex").symlink_to(elsewhere)
    told = f"it is a link to {elsewhere}, which a checkout may bring along; if it is yours, name {elsewhere} itself"
    for argv in (["run"], ["run", "--resume"], ["score", str(tmp_path), "--reward", "similarity"]):
        assert said(capsys, 2, *argv) == f"nano-codex: cannot use .nano-codex: {told} (--out)\n"
    with serve([completion("done")]) as server:
        agent = ["agent", "mend", "--path", str(repo), "--model", "hosted_vllm/m", "--api-base", server.url]
        assert told in said(capsys, 2, *agent)
        assert not server.requests
        with pytest.raises(TrajectoryError, match="it is a link"):
            Agent("hosted_vllm/m", server.url, log_dir="./.nano-codex").run("mend", repo)
    with NanoCodexEnv([task], HALF) as env, pytest.raises(TrajectoryError, match="it is a link"):
        env.reset()
    assert sorted(elsewhere.rglob("*")) == before
    with serve([completion("done")]) as server:
        assert main([*agent[:-1], server.url, "--log-dir", str(elsewhere)]) == 0
    assert len(list(elsewhere.glob("*/messages.jsonl"))) == 1


def test_the_newest_run_is_not_a_link(begun: Begun, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun().rename(here / "other")
    (here / ".nano-codex" / "run-1").symlink_to(here / "other")
    assert "the newest run, .nano-codex/run-1, is a link; name the run with --out" in said(capsys, 2, "run", "--resume")
    assert main(["run", "--resume", "--out", ".nano-codex/run-1"]) == 0


# What is read and printed.


@pytest.mark.parametrize("name", ["messages.jsonl", "tokens.jsonl", "results.jsonl"])
def test_a_file_of_more_lines_than_any_log_has_is_refused(tmp_path: Path, name: str) -> None:
    line = b'{"role":""}\n' if name == "messages.jsonl" else b"{}\n"
    log = LogWriter(tmp_path, [], {})
    log.close()
    (log.folder / name).write_bytes(line * (MAX_LINES + 1))
    if name == "results.jsonl":
        with pytest.raises(TrajectoryError, match=r"cannot read .*results.jsonl: it holds more than 1000000 lines"):
            read_rows(log.folder / name)
        return
    with pytest.raises(TrajectoryError, match=rf"cannot read .*{name}: it holds 1000001 lines, an episode's at most"):
        Trajectory.load(log.folder)


def test_the_name_of_a_run_is_printed_as_a_terminal_can_bear_it(
    begun: Begun, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(f"run-{ESCAPE}\nfake")
    assert said(capsys, 0, "run", "--resume") == "nano-codex: resuming .nano-codex/run-\\x1b]0;owned\\x07\\x0afake\n"


class Fails(Scripted):
    """Fails in words of somebody else's."""

    def __call__(self, messages: Any, tools: Any) -> Any:
        raise ZeroDivisionError(ESCAPE)


def test_warnings_of_the_library_are_safe_without_our_command(
    task: Task, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = task.with_(instance_id=f"odd{ESCAPE}")
    tasks = [task, odd]
    rollouts(tasks, Scripted([]), out=tmp_path, reward=HALF)
    rows = {row["instance_id"]: row for row in read_rows(tmp_path / "results.jsonl")}
    rows[odd.instance_id]["parts"] = ESCAPE
    (tmp_path / "results.jsonl").write_text("".join(dumps(row) + "\n" for row in rows.values()))
    caplog.clear()
    [_, result] = rollouts(tasks, Fails([]), out=tmp_path, reward=HALF, resume=True)
    assert result.void == f"ZeroDivisionError: {ESCAPE}"
    assert "odd\\x1b]0;owned\\x07 (attempt 0) is played again" in caplog.text
    assert "ZeroDivisionError: \\x1b]0;owned" in caplog.text
    assert for_terminal(caplog.text) == caplog.text


@pytest.mark.parametrize("encoding", ["latin1", "ascii"])
def test_a_terminal_that_lacks_a_character_is_sent_its_number(task: Task, tmp_path: Path, encoding: str) -> None:
    save_tasks([task.with_(problem_statement="snow \u2603, 中")], tmp_path / "tasks.jsonl")
    command = [sys.executable, "-c", "from nano_codex_env.cli import main; raise SystemExit(main())", "tasks", "list"]
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([*command, "tasks.jsonl"], cwd=tmp_path, env=env, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"snow \\u2603, \\u4e2d" in done.stdout


def test_a_message_is_shown_on_a_terminal_that_lacks_a_character(tmp_path: Path) -> None:
    """The arrow before a call is one of ours: any verbose agent would end there."""
    code = (
        "from nano_codex_env.messages import assistant, tool_call\n"
        "from nano_codex_env.render import print_message\n"
        "print_message(assistant('\u4e2d', tool_call('shell', cmd='ls')))"
    )
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.endswith(b"\\u4e2d\n\\u2192 shell: ls\n")
