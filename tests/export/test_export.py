"""Exports: what is kept, what is left out and why, and that each file is read by those it is for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import Oracle, Score, Task, Trajectory, from_function, rollouts, save_tasks
from nano_codex_env.cli import main
from nano_codex_env.diff import File, file_diff
from nano_codex_env.errors import TaskError
from nano_codex_env.export.harbor import write_task
from nano_codex_env.messages import Message, ToolCall, tool_call, without_surrogates
from nano_codex_env.policies.base import Policy, Reply
from nano_codex_env.policies.scripted import Idle, Scripted
from nano_codex_env.tools.prompt import first_messages
from tests.conftest import git

Say = Callable[..., str]
FIX = tool_call("apply_patch", search="return a - b", replace="return a + b", file="sums.py")
LOOK = tool_call("shell", cmd="cat sums.py")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports go to a folder of their own, and `datasets` keeps what it reads there, too."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def export(capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs `nano-codex export`; what it says on stdout, or in one line on stderr where it could not be done."""

    def run(*arguments: object, code: int = 0) -> str:
        capsys.readouterr()
        assert main(["export", *map(str, arguments)]) == code
        said = capsys.readouterr()
        assert bool(said.err) == (code == 2)
        return (said.err.removeprefix("nano-codex: ") if said.err else said.out).rstrip("\n")

    return run


class Turns:
    """Plays another list of actions in each episode."""

    def __init__(self, *episodes: Sequence[Message | ToolCall]) -> None:
        self.about = {"model": "tiny"}
        self._policies = [Scripted(actions) for actions in episodes]
        self._current: Scripted | None = None

    def __call__(self, messages: Sequence[Message], tools: Any) -> Reply:
        if messages[-1]["role"] == "user":
            self._current = self._policies.pop(0)
        assert self._current
        return self._current(messages, tools)


def play(task: Task | list[Task], policy: Policy, out: str = "run", **more: Any) -> Path:
    """A run whose reward is 1.0 for the fix, 0.5 for another change, 0.0 for none."""
    judge = from_function(lambda task, transcript, diff: 1.0 if "+    return a + b" in diff else 0.5 if diff else 0.0)
    rollouts(task, policy, out=out, reward=more.pop("reward", judge), concurrency=1, **more)
    return Path(out)


def load(path: str = "sft.jsonl", kind: str = "json") -> Any:
    """A file, as `datasets` reads it."""
    import datasets

    return datasets.load_dataset(kind, data_files=path, split="train", cache_dir="datasets")


def other(number: int = 0) -> ToolCall:
    """A change that is not the fix."""
    return tool_call("apply_patch", search="return a - b", replace=f"return {number}", file="sums.py")


# Supervised training.


@pytest.mark.slow
def test_a_solved_task_is_a_row_as_datasets_read_it(task: Task, tmp_path: Path, export: Say) -> None:
    save_tasks([task], tmp_path / "tasks.jsonl")
    for policy in ("oracle", "idle"):
        assert main(["run", "--tasks", str(tmp_path / "tasks.jsonl"), "--policy", policy, "--out", policy]) == 0
    said = export("sft", "oracle", "idle")
    assert said == "1 transcripts in sft.jsonl; left out: 1 with a reward below 1"
    [row] = load()
    [folder] = Path("oracle").glob("2*")
    logged = Trajectory.load(folder)
    calls = [call["function"] for message in row["messages"] for call in message.get("tool_calls", ())]
    assert [call["name"] for call in calls] == ["shell", "apply_patch"]
    assert list(calls[0]["arguments"]) == ["cmd"]
    assert list(calls[1]["arguments"]) == ["search", "replace", "file"]  # no key of another tool's, and no null
    for message in row["messages"]:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
    assert row["messages"] == logged.messages
    assert row["tools"] == json.dumps(logged.tools)  # their order is a part of the prompt
    del row["messages"], row["tools"]
    about = {"reward": 1.0, "stop": "submitted", "steps": 2, "attempt": 0, "episode": folder.name}
    assert row == {"instance_id": "sums-1", **about}


def test_the_best_of_a_task_are_chosen_by_reward_then_by_fewer_steps(task: Task, export: Say) -> None:
    out = play(task, Turns([LOOK, FIX], [], [FIX], [other()], [LOOK, LOOK, FIX]), n=5)
    assert export("sft", out, "--best", 2).endswith(
        "2 transcripts in sft.jsonl; left out: 2 with a reward below 1, 1 beyond the best 2 of a task"
    )
    assert [(row["reward"], row["steps"], row["attempt"]) for row in load()] == [(1.0, 1, 2), (1.0, 2, 0)]
    export("sft", out, "--min-reward", 0.5, "--out", "all.jsonl")
    assert [row["attempt"] for row in load("all.jsonl")] == [2, 0, 4, 3]


def test_a_transcript_is_exported_once_whatever_its_calls_are_called(task: Task, export: Say) -> None:
    out = play(task, Turns([{**FIX, "id": "chatcmpl-1"}], [{**FIX, "id": "chatcmpl-2"}]), n=2)
    assert export("sft", out) == "1 transcripts in sft.jsonl; left out: 1 duplicates"


def test_the_order_does_not_depend_on_how_folders_are_named_or_how_often(task: Task, export: Say) -> None:
    twin = task.with_(instance_id="sums-0", problem_statement="add is wrong")
    first, second = play(task, Scripted([FIX]), "first"), play(twin, Scripted([LOOK, FIX]), "second")
    export("sft", first, second, "--out", "one.jsonl")
    export("sft", second, *first.glob("2*"), first, "--out", "other.jsonl")
    assert Path("one.jsonl").read_bytes() == Path("other.jsonl").read_bytes()
    assert [row["instance_id"] for row in load("one.jsonl")] == ["sums-0", "sums-1"]


def test_void_and_unfinished_episodes_are_never_exported(task: Task, export: Say) -> None:
    def broken(*_: object) -> Score:
        raise OSError("the disk is full")

    gone = task.with_(instance_id="gone-1", repo="/nowhere")
    void = play([task, gone], Scripted([FIX]), "void", reward=broken)
    good = play(task, Scripted([FIX]), "good")
    [killed] = good.glob("2*")
    shutil.copytree(killed, "good/29990101-killed")
    about = json.loads((killed / "metadata.json").read_text())
    Path("good/29990101-killed/metadata.json").write_text(json.dumps({**about, "stop": None, "reward": None}))
    said = export("sft", void, good, "good/29990101-killed", "--min-reward", -9)
    assert said == "1 transcripts in sft.jsonl; left out: 2 void or unfinished"


@pytest.mark.parametrize(
    "call",
    [
        {"type": "function", "function": {"name": "shell", "arguments": '{"cmd": "ls'}},
        {"type": "function", "function": {"name": "shell", "arguments": "[1]"}},
        {"type": "function", "function": {"name": "shell", "arguments": '{"cmd": NaN}'}},
        {"type": "function", "function": {"name": "shell", "arguments": '{"cmd": 123456789012345678901234567890}'}},
        {"type": "function", "function": {"name": "shell", "arguments": '{"cmd": "\\ud83d"}'}},
        {"type": "function", "function": {"name": None, "arguments": "{}"}},
        {"type": "function", "function": {"name": "shell"}},
        {"type": "function", "function": "shell"},
        {"type": "function"},
    ],
    ids=["cut", "list", "nan", "large", "surrogate", "no-name", "no-arguments", "no-object", "no-function"],
)
def test_what_no_template_could_render_as_it_was_is_left_out(task: Task, export: Say, call: Any) -> None:
    """A row that held something else than the model wrote would teach that."""
    out = play(task, Turns([call, FIX], [FIX]), n=2)
    assert export("sft", out) == "1 transcripts in sft.jsonl; left out: 1 with calls that are not JSON objects"
    assert len(load()) == 1


def test_reasoning_is_kept_and_nothing_is_null(task: Task, export: Say) -> None:
    said = {"role": "assistant", "content": None, "reasoning": "a minus?", "refusal": None, "tool_calls": [FIX]}
    export("sft", play(task, Scripted([said])))
    [row] = load()
    answer = row["messages"][2]
    assert answer == {
        "role": "assistant",
        "content": "",
        "reasoning_content": "a minus?",
        "tool_calls": [{**answer["tool_calls"][0]}],
    }
    assert "null" not in Path("sft.jsonl").read_text()


# Preferences.


def test_pairs_are_of_one_task_and_the_better_is_chosen(task: Task, export: Say) -> None:
    twin = task.with_(instance_id="sums-2", problem_statement="add is wrong")
    out = play([task, twin], Turns([FIX], [], [], [other()]), n=2)
    assert export("dpo", out) == "2 pairs in dpo.jsonl"
    first, second = load("dpo.jsonl")
    assert first["prompt"] == first_messages(task)
    assert (first["chosen_reward"], first["rejected_reward"]) == (1.0, 0.0)
    assert first["chosen"][0]["tool_calls"][0]["function"]["arguments"]["replace"] == "return a + b"
    assert [message["role"] for message in first["rejected"]] == ["assistant"]
    assert (second["instance_id"], second["chosen_reward"], second["rejected_reward"]) == ("sums-2", 0.5, 0.0)
    assert [tool["function"]["name"] for tool in json.loads(first["tools"])] == ["shell", "apply_patch"]


def test_all_attempts_are_used_before_one_is_used_again(task: Task, export: Say) -> None:
    out = play(task, Turns([FIX], [LOOK, FIX], [], [LOOK], [other()]), n=5)

    def pairs(*arguments: object) -> list[tuple[float, float]]:
        export("dpo", out, "--force", *arguments)
        rows = [json.loads(line) for line in Path("dpo.jsonl").read_text().splitlines()]
        episodes.append([row[f"{side}_episode"] for row in rows for side in ("chosen", "rejected")])
        return [(row["chosen_reward"], row["rejected_reward"]) for row in rows]

    episodes: list[list[str]] = []
    assert pairs("--pairs", 2) == [(1.0, 0.0), (1.0, 0.0)]
    assert len(set(episodes[-1])) == 4
    assert len(pairs("--pairs", 99)) == 8
    assert len(pairs("--pairs", 99, "--margin", 0.6)) == 4
    assert len(set(episodes[-1])) == 4


def test_attempts_that_began_otherwise_make_no_pair(task: Task, export: Say) -> None:
    first, second = play(task, Scripted([FIX]), "first"), play(task, Idle(), "second")
    [log] = second.glob("2*/messages.jsonl")
    log.write_text(log.read_text().replace("You repair", "You mend"))
    assert export("dpo", first, second, code=1) == (
        "0 pairs to export: nothing was written; left out: 2 without a pair"
    )
    assert not Path("dpo.jsonl").exists()


# Predictions.


def test_predictions_are_patches_that_apply(task: Task, repo: Path, export: Say) -> None:
    twin = task.with_(instance_id="sums-2")
    out = play([task, twin], Turns([FIX], [], [], [other()]), n=2)
    assert export("preds", out) == "2 predictions in preds.jsonl; left out: 2 not attempt 0"
    first, second = load("preds.jsonl")
    [log] = [folder for folder in out.glob("2*") if "a + b" in (folder / "diff.patch").read_text()]
    assert first == {
        "instance_id": "sums-1",
        "model_name_or_path": "tiny",
        "model_patch": (log / "diff.patch").read_bytes().decode(),
    }
    assert second["model_patch"] == ""
    (repo / "fix.patch").write_text(first["model_patch"])
    git(repo, "apply", "fix.patch")
    assert "a + b" in (repo / "sums.py").read_text()
    export("preds", out, "--attempt", 1, "--model", "mine", "--force")
    assert [(row["model_name_or_path"], bool(row["model_patch"])) for row in load("preds.jsonl")] == [
        ("mine", False),
        ("mine", True),
    ]


def test_no_other_attempt_stands_in_for_a_void_one(task: Task, export: Say) -> None:
    def late(task: Task, transcript: Any, diff: str) -> float:
        if "a + b" not in diff:
            raise OSError("the disk is full")
        return 1.0

    out = play(task, Turns([], [FIX]), n=2, reward=from_function(late))
    assert export("preds", out, code=1).endswith("left out: 1 void or unfinished, 1 not attempt 0")


def test_a_patch_that_json_cannot_hold_and_a_second_run_are_told(task: Task, export: Say) -> None:
    runs = [play(task, Scripted([FIX]), name) for name in ("first", "second", "third")]
    [log] = runs[0].glob("2*")
    (log / "diff.patch").write_bytes(b"+\xff\n")
    said = export("preds", *runs)
    assert said.startswith("1 predictions in preds.jsonl; left out: 1 with a patch that is not UTF-8")
    assert said.endswith("1 of a task that an earlier run has")


# verl.


def test_verls_rows_hold_all_that_an_episode_needs(task: Task, tmp_path: Path, export: Say) -> None:
    assert export("verl-parquet", "--only", "pocket-tint", "--out", "one.parquet") == "1 prompts in one.parquet"
    odd = task.with_(instance_id="sums-2", patch="+\udcff\n", metadata={"difficulty": "easy"})
    save_tasks([task, odd], tmp_path / "tasks.jsonl")
    assert export("verl-parquet", tmp_path / "tasks.jsonl", "--split", "val") == "2 prompts in tasks.parquet"
    assert [Task.from_row(json.loads(row["extra_info"]["task"])) for row in load("tasks.parquet", "parquet")] == [
        task,
        odd,
    ]


# Harbor.


def container(folder: Path, place: Path) -> tuple[Path, Callable[[str], int]]:
    """What a container of a Harbor task would hold, in a folder, and a way to run a script in it."""
    for name, target in (("environment/testbed", "testbed"), ("tests", "tests"), ("solution", "solution")):
        shutil.copytree(folder / name, place / target, symlinks=True)
    git(place / "testbed", "init", "-q")

    def run(script: str) -> int:
        text = (place / script).read_text()
        for path in ("/testbed", "/tests", "/solution", "/logs"):
            text = text.replace(f" {path}", f" {place}{path}")
        assert " python -I " in text or script != "tests/test.sh"
        text = text.replace(" python ", f" {sys.executable} ")
        env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        return subprocess.run(["bash", "-c", text], env=env, capture_output=True, check=False).returncode

    return place / "testbed", run


def reward(place: Path) -> str | None:
    path = place / "logs" / "verifier" / "reward.txt"
    return path.read_text() if path.exists() else None


@pytest.fixture
def harbor(task: Task, tmp_path: Path, export: Say) -> Path:
    """The folder of the one task."""
    bare = task.with_(instance_id="bare-1", FAIL_TO_PASS=())
    save_tasks([task.with_(instance_id="sums/1 a"), bare], tmp_path / "tasks.jsonl")
    Path("harbor").mkdir()  # an empty folder takes an export
    assert export("harbor", tmp_path / "tasks.jsonl") == "1 tasks in harbor; left out: 1 without tests"
    return Path("harbor/sums_1_a").absolute()


def test_a_harbor_task_has_its_id_its_scripts_and_no_hidden_test_in_its_environment(harbor: Path, task: Task) -> None:
    config = tomllib.loads((harbor / "task.toml").read_text())
    assert config["metadata"] == {"instance_id": "sums/1 a", "base_commit": task.base_commit}
    assert all(os.access(harbor / path, os.X_OK) for path in ("tests/test.sh", "solution/solve.sh"))
    assert not any("test_add" in path.read_text() for path in (harbor / "environment").rglob("*") if path.is_file())


def test_any_word_of_a_row_is_a_string_of_toml(task: Task, tmp_path: Path) -> None:
    odd = '\U0001f600 \x7f \x1b \ud800 " \\\n'
    (tmp_path / "base").mkdir()
    write_task(tmp_path / "made", task.with_(metadata={"difficulty": odd}), tmp_path / "base", {})
    config = tomllib.loads((tmp_path / "made" / "task.toml").read_text(encoding="utf-8"))
    assert config["metadata"]["difficulty"] == without_surrogates(odd)


@pytest.mark.parametrize(
    "change", [{"pythonpath": 5}, {"kind": "venv", "packages": [1]}, {"pythonpath": "src"}], ids=str
)
def test_an_environment_of_another_kind_is_refused(task: Task, tmp_path: Path, change: dict[str, Any]) -> None:
    (tmp_path / "base").mkdir()
    with pytest.raises(TaskError, match="must be a list of "):
        write_task(tmp_path / "made", task.with_(environment=change), tmp_path / "base", {})


def test_its_tests_give_0_before_the_fix_and_1_after_it(harbor: Path, tmp_path: Path) -> None:
    place = tmp_path / "container"
    _, run = container(harbor, place)
    assert run("tests/test.sh") == 0
    assert reward(place) == "0\n"
    assert run("solution/solve.sh") == 0
    assert run("tests/test.sh") == 0
    assert reward(place) == "1\n"


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos._exit(0)\n",
        "import pytest\npytest.exit('fine', 0)\n",
        *(
            pytest.param(source, marks=pytest.mark.slow)
            for source in (
                "raise SystemExit(0)\n",
                "import pytest\npytest.skip('fine', allow_module_level=True)\n",
                "add = twice = lambda *_: 0\n",
                "syntax error\n",
            )
        ),
    ],
)
def test_code_that_ends_or_skips_the_tests_gives_0(harbor: Path, tmp_path: Path, source: str) -> None:
    place = tmp_path / "container"
    testbed, run = container(harbor, place)
    (testbed / "sums.py").write_text(source)
    run("tests/test.sh")
    assert reward(place) == "0\n"


def test_the_hidden_tests_replace_whatever_stands_in_their_way(harbor: Path, tmp_path: Path) -> None:
    place = tmp_path / "container"
    testbed, run = container(harbor, place)
    (tmp_path / "elsewhere").mkdir()
    (testbed / "tests").symlink_to(tmp_path / "elsewhere")
    run("solution/solve.sh")
    run("tests/test.sh")
    assert reward(place) == "1\n"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_verifier_that_fails_itself_gives_no_reward_at_all(harbor: Path, tmp_path: Path) -> None:
    place = tmp_path / "container"
    _, run = container(harbor, place)
    (place / "tests" / "tests.json").unlink()
    assert run("tests/test.sh") != 0
    assert reward(place) is None


def test_a_test_that_the_hidden_tests_remove_is_removed(task: Task, repo: Path, tmp_path: Path, export: Say) -> None:
    (repo / "old_test.py").write_text("old\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "second")
    removal = file_diff("old_test.py", File(b"old\n"), None)
    later = task.with_(base_commit=git(repo, "rev-parse", "HEAD"), test_patch=task.test_patch + removal)
    save_tasks([later], tmp_path / "tasks.jsonl")
    export("harbor", tmp_path / "tasks.jsonl")
    testbed, run = container(Path("harbor/sums-1").absolute(), tmp_path / "container")
    assert (testbed / "old_test.py").exists()
    run("tests/test.sh")
    assert not (testbed / "old_test.py").exists()


def test_packages_stand_in_the_dockerfile_and_other_worlds_are_refused(task: Task, tmp_path: Path, export: Say) -> None:
    venv = task.with_(environment={"kind": "venv", "packages": ["six>=1", "pytest<9"], "python": "3.12"})
    save_tasks([venv], tmp_path / "tasks.jsonl")
    export("harbor", tmp_path / "tasks.jsonl")
    dockerfile = Path("harbor/sums-1/environment/Dockerfile").read_text()
    assert dockerfile.startswith("FROM python:3.12-slim\n")
    assert 'RUN ["pip", "install", "--no-cache-dir", "six>=1", "pytest<9"]\n' in dockerfile
    save_tasks([task.with_(environment={"kind": "moon"})], tmp_path / "tasks.jsonl")
    said = export("harbor", tmp_path / "tasks.jsonl", "--force", code=2)
    assert said == "sums-1: its environment is of kind 'moon'; Harbor tasks are made of host and venv"
    assert Path("harbor/sums-1/environment/Dockerfile").read_text() == dockerfile  # what was there is still there
    assert [path.name for path in Path().iterdir()] == ["harbor"]


@pytest.mark.slow
def test_every_bundled_task_holds_as_a_harbor_task(tmp_path: Path, export: Say) -> None:
    export("harbor")
    for folder in sorted(Path("harbor").iterdir()):
        place = tmp_path / folder.name
        _, run = container(folder.absolute(), place)
        run("tests/test.sh")
        assert reward(place) == "0\n", folder
        run("solution/solve.sh")
        run("tests/test.sh")
        assert reward(place) == "1\n", folder


# Where it goes.


def test_nothing_is_overwritten_unless_it_is_forced(task: Task, tmp_path: Path, export: Say) -> None:
    out = play(task, Scripted([FIX]))
    export("sft", out)
    before = Path("sft.jsonl").read_bytes()
    for arguments in (["sft", out], ["sft", "nothing"]):  # told before anything is read
        words = "sft.jsonl already exists; replace it with --force, or give another --out"
        assert export(*arguments, code=2) == words
    assert export("sft", out, "--force", "--min-reward", 2, code=1).startswith("0 transcripts to export")
    assert "best must be a positive number" in export("sft", out, "--force", "--best", 0, code=2)
    assert Path("sft.jsonl").read_bytes() == before
    assert export("sft", out, "--force") == "1 transcripts in sft.jsonl"
    save_tasks([task], tmp_path / "tasks.jsonl")
    export("harbor", tmp_path / "tasks.jsonl")
    assert "harbor already exists" in export("harbor", tmp_path / "tasks.jsonl", code=2)
    Path("harbor/sums-1/notes.txt").touch()
    export("harbor", tmp_path / "tasks.jsonl", "--force")
    assert not Path("harbor/sums-1/notes.txt").exists()
    assert sorted(path.name for path in Path().iterdir()) == ["harbor", "run", "sft.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sft", "run", "--out", "rows.json"], "--out must be a .jsonl file; got rows.json"),
        (["verl-parquet", "--out", "rows"], "--out must be a .parquet file; got rows"),
        (["sft", "run", "--out", "d.jsonl"], "d.jsonl is a folder; give another --out"),
        (["harbor", "--out", "full"], "full holds something else than exported tasks; give another --out"),
        (["harbor", "--out", "full", "--force"], "full holds something else than exported tasks; give another --out"),
        (["harbor", "--out", "full/file"], "full/file is a file; give another --out"),
        (["preds", "run", "--out", "full/file/x.jsonl"], "cannot write full/file/x.jsonl: "),
        (["sft", "nothing"], "there is no folder nothing"),
        (["sft", "."], ". holds no messages.jsonl; give the folder of an episode, or of a run"),
        (["dpo", "run", "--pairs", "0"], "pairs and margin must be positive; got 0 and 0.1"),
        (["dpo", "run", "--margin", "0"], "pairs and margin must be positive; got 4 and 0"),
        (["harbor", "nothing.jsonl"], "there is no file nothing.jsonl"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_said(task: Task, export: Say, arguments: list[str], words: str) -> None:
    play(task, Oracle([task]))
    Path("d.jsonl").mkdir()
    Path("full").mkdir()
    Path("full/file").touch()
    assert export(*arguments, code=2).startswith(words)
    assert sorted(path.name for path in Path().iterdir()) == ["d.jsonl", "full", "run"]
