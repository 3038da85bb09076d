"""Where tasks come from: rows of every kind, and the bundled libraries."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nano_codex_env import Resolved, Task, load_tasks, save_tasks
from nano_codex_env.curation import validate
from nano_codex_env.diff import split
from nano_codex_env.errors import TaskError
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.scoring import is_test
from nano_codex_env.tasks.environment import Environment
from nano_codex_env.tasks.libraries import ROOT, bundled_tasks
from nano_codex_env.untrusted import for_terminal
from tests.conftest import git
from tests.strategies import quick, texts

ROW: dict[str, Any] = {
    "instance_id": "lib-1",
    "repo": "owner/lib",
    "base_commit": "a" * 40,
    "problem_statement": "it is broken",
    "patch": "p",
    "test_patch": "t",
    "FAIL_TO_PASS": ["t.py::a", "t.py::b[x y]"],
    "PASS_TO_PASS": [],
}
TASK = Task("lib-1", "owner/lib", "a" * 40, "it is broken", "p", "t", ("t.py::a", "t.py::b[x y]"))
SECOND = {**ROW, "instance_id": "lib-2"}

Write = Callable[[Path, list[dict[str, Any]]], None]


def jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def json_list(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(rows, indent=1))


def parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def saved(path: Path, rows: list[dict[str, Any]]) -> None:
    import datasets

    datasets.Dataset.from_list(rows).save_to_disk(str(path))


# Sources.


@pytest.mark.parametrize(
    ("name", "write"),
    [("t.jsonl", jsonl), ("t.json", json_list), ("t.parquet", parquet), ("dataset", saved)],
    ids=["jsonl", "json", "parquet", "dataset"],
)
def test_rows_are_read_from_files_of_every_kind(tmp_path: Path, name: str, write: Write) -> None:
    write(tmp_path / name, [ROW, {**SECOND, "FAIL_TO_PASS": ["t.py::c"], "PASS_TO_PASS": ["t.py::d"]}])
    expected = [TASK, TASK.with_(instance_id="lib-2", FAIL_TO_PASS=("t.py::c",), PASS_TO_PASS=("t.py::d",))]
    assert load_tasks(tmp_path / name) == expected
    assert load_tasks(str(tmp_path / name)) == expected


@pytest.mark.parametrize(
    "document",
    [[ROW], {"tasks": [ROW], "version": 1}, ROW, {"lib-1": ROW}],
    ids=["list", "under-a-key", "one-row", "by-name"],
)
def test_json_may_hold_its_rows_in_several_ways(tmp_path: Path, document: Any) -> None:
    (tmp_path / "t.json").write_text(json.dumps(document))
    assert load_tasks(tmp_path / "t.json") == [TASK]
    (tmp_path / "t.json").write_text(json.dumps(document), encoding="utf-8-sig")  # with a byte order mark
    assert load_tasks(tmp_path / "t.json") == [TASK]


def test_rows_in_memory_are_accepted() -> None:
    import datasets

    expected = [TASK, TASK.with_(instance_id="lib-2")]
    assert load_tasks([ROW, SECOND]) == expected
    assert load_tasks([TASK, SECOND]) == expected
    assert load_tasks(row for row in (ROW, SECOND)) == expected
    assert load_tasks(datasets.Dataset.from_list([ROW, SECOND])) == expected


def test_a_split_is_chosen(tmp_path: Path) -> None:
    import datasets

    both = datasets.DatasetDict(train=datasets.Dataset.from_list([ROW]), test=datasets.Dataset.from_list([SECOND]))
    only = datasets.DatasetDict(train=datasets.Dataset.from_list([ROW]))
    both.save_to_disk(str(tmp_path / "both"))
    for source in (both, tmp_path / "both"):
        assert [task.instance_id for task in load_tasks(source)] == ["lib-2"]
        assert [task.instance_id for task in load_tasks(source, split="train")] == ["lib-1"]
        with pytest.raises(TaskError, match="has no split 'dev'; it has train, test"):
            load_tasks(source, split="dev")
    assert [task.instance_id for task in load_tasks(only)] == ["lib-1"]


def test_a_folder_of_files_is_read_in_order_of_their_names(tmp_path: Path) -> None:
    jsonl(tmp_path / "b.jsonl", [ROW])
    json_list(tmp_path / "a.json", [SECOND])
    (tmp_path / "notes.txt").write_text("no rows")
    assert [task.instance_id for task in load_tasks(tmp_path)] == ["lib-2", "lib-1"]


@pytest.mark.parametrize("name", ["t.jsonl", "t.json"])
def test_a_relative_repository_is_looked_for_in_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "data" / "repos" / "lib.git").mkdir(parents=True)
    rows = [{**ROW, "repo": "repos/lib.git"}, {**SECOND, "repo": "owner/name"}]
    (jsonl if name == "t.jsonl" else json_list)(tmp_path / "data" / name, rows)
    monkeypatch.chdir(tmp_path)
    tasks = load_tasks(Path("data") / name)
    assert [task.repo for task in tasks] == [str(tmp_path / "data/repos/lib.git"), "owner/name"]


def test_a_line_ends_at_a_line_feed_only(tmp_path: Path) -> None:
    issue = "one\u2028two\u2029three\x85four\x0bfive\x0csix\x1cseven\rnine"
    text = json.dumps({**ROW, "problem_statement": issue}, ensure_ascii=False)
    assert "\u2028" in text
    for start in (b"\n\r\n", b"\xef\xbb\xbf"):  # empty lines, a byte order mark
        (tmp_path / "t.jsonl").write_bytes(start + text.encode() + b"\r\n\n" + json.dumps(SECOND).encode())
        tasks = load_tasks(tmp_path / "t.jsonl")
        assert [task.problem_statement for task in tasks] == [issue, "it is broken"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.jsonl", None, "there is no file .*t.jsonl"),
        ("t.jsonl", b"", "t.jsonl holds no tasks"),
        ("t.jsonl", b"{}\n", "a row: no column instance_id, repo, problem_statement; it has \\[\\]"),
        ("t.jsonl", b'{"instance_id": "x"}\nnonsense\n', "t.jsonl, line 2 is not JSON: "),
        ("t.jsonl", b'{"instance_id": "x"}\n\xff\xfe\n', "t.jsonl, line 2 is not JSON: "),
        ("t.jsonl", b'{"instance_id": "x"}\n[1]\n', "t.jsonl, line 2 is not an object; got list"),
        ("t.json", b"[1, 2", "t.json is not JSON: "),
        ("t.json", b"5", "t.json must hold a list of rows"),
        ("t.json", b"[5]", "t.json must hold a list of rows"),
        ("t.json", b"[]", "t.json holds no tasks"),
        ("t.parquet", b"PAR0", "t.parquet cannot be read as Parquet: "),
        ("t.jsonl", (json.dumps(ROW) + "\n").encode() * 2, "'lib-1' occurs more than once; ids must be unique"),
        ("t.csv", b"instance_id\n", "t.csv: tasks are read from .jsonl, .json, .parquet files"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TaskError, match=words):
        load_tasks(tmp_path / name)


def test_an_unusable_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"the folder .* holds no \.jsonl, \.json, \.parquet files"):
        load_tasks(tmp_path)
    for name in ("no such/place/at-all", "two words"):
        with pytest.raises(TaskError, match=r"there is no file .*, and it is no dataset's name; give bundled, a file"):
            load_tasks(name)
    for rows in ([5], ["lib-1"], [None]):
        with pytest.raises(TaskError, match="rows must be objects; got"):
            load_tasks(rows)  # type: ignore[arg-type]


def test_a_dataset_that_cannot_be_reached_is_an_error_of_one_line(tmp_path: Path) -> None:
    code = (
        "from nano_codex_env import load_tasks\n"
        "from nano_codex_env.errors import TaskError\n"
        "try: load_tasks('nobody/no-such-tasks')\n"
        "except TaskError as error: print(error)\n"
    )
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(
        "cannot load 'nobody/no-such-tasks': there is no such file, and it cannot be loaded from the hub: "
    )
    assert done.stdout.count("\n") == 1


# Rows.


@pytest.mark.parametrize(
    "value",
    [["a", "b"], ("a", "b"), '["a", "b"]', np.array(["a", "b"])],
    ids=["list", "tuple", "text", "array"],
)
def test_test_ids_are_a_list_or_the_text_of_one(value: Any) -> None:
    task = Task.from_row({**ROW, "FAIL_TO_PASS": value, "PASS_TO_PASS": value})
    assert task.FAIL_TO_PASS == task.PASS_TO_PASS == ("a", "b")


@pytest.mark.parametrize("key", ["FAIL_TO_PASS", "PASS_TO_PASS"])
@pytest.mark.parametrize("value", ["t.py::a", "5", 5, [1], {"a": 1}, '"a"', [["a"]]])
def test_test_ids_of_another_kind_are_refused(key: str, value: Any) -> None:
    with pytest.raises(TaskError, match=f"lib-1: {key} (must be a list of test ids|is neither a list nor a JSON list)"):
        Task.from_row({**ROW, key: value})


def test_unknown_columns_are_kept_as_metadata() -> None:
    task = Task.from_row({**ROW, "difficulty": "hard", "stars": 5, "metadata": {"kind": "parsing", "stars": 6}})
    assert task.metadata == {"difficulty": "hard", "stars": 6, "kind": "parsing"}
    assert task == TASK.with_(metadata=task.metadata)


def test_columns_that_are_empty_or_not_text_become_what_they_should_be() -> None:
    row = {**ROW, "version": 1.5, "hints_text": None, "created_at": datetime.date(2024, 1, 2), "base_commit": None}
    task = Task.from_row({**row, "instance_id": 7, "environment": None, "PASS_TO_PASS": None})
    assert task == TASK.with_(instance_id="7", version="1.5", created_at="2024-01-02", base_commit="")


def test_an_environment_with_an_unknown_key_is_refused_when_it_is_used_and_the_known_keys_are_listed() -> None:
    task = Task.from_row({**ROW, "environment": {"kind": "host", "python_path": ["src"]}})
    assert task.to_row()["environment"] == {"kind": "host", "python_path": ["src"]}
    with pytest.raises(TaskError, match=r"no key 'python_path'; there are: kind, python, packages, pythonpath, pytest"):
        _ = task.environment.kind
    ignored = Environment({"kind": "host", "packages": "six", "python": 3.11})  # of a venv: nobody asks a host for them
    assert (ignored.kind, ignored.pythonpath, ignored.pytest_args, ignored.allowed_edits) == ("host", (".",), (), ())


def test_an_environment_may_be_an_object_or_the_text_of_one() -> None:
    environment = {"kind": "venv", "packages": ["x"], "python": None}
    for value in (environment, json.dumps(environment)):
        assert Task.from_row({**ROW, "environment": value}).environment == {"kind": "venv", "packages": ["x"]}
    assert Task.from_row({**ROW, "environment": ""}).environment == {}
    for wrong in ("{", "[1]", 5):
        with pytest.raises(TaskError, match=r"lib-1: environment (must be an object|is no JSON object)"):
            Task.from_row({**ROW, "environment": wrong})


@pytest.mark.parametrize("column", ["instance_id", "repo", "problem_statement"])
def test_a_row_without_a_needed_column_says_which_and_what_there_is(column: str) -> None:
    row = {key: value for key, value in ROW.items() if key != column}
    for changed in (row, {**row, column: None}):
        with pytest.raises(TaskError, match=f"no column {column}; it has "):
            Task.from_row(changed)


names = st.lists(texts(max_size=40), max_size=3).map(tuple)
plain = st.dictionaries(texts(max_size=20), st.one_of(texts(max_size=20), st.integers(), st.booleans()), max_size=3)
task_names = texts(max_size=60).map(lambda text: for_terminal(text).translate({9: "", 10: ""})).filter(str.strip)
no_nul = texts(max_size=60).map(lambda text: text.replace("\0", ""))
tasks = st.builds(
    Task,
    task_names,
    *[no_nul] * 2,
    *[texts(max_size=60)] * 3,
    FAIL_TO_PASS=names,
    PASS_TO_PASS=names,
    hints_text=texts(max_size=40),
    version=texts(max_size=40),
    created_at=texts(max_size=40),
    environment_setup_commit=no_nul,
    environment=plain,
    metadata=plain,
)


@given(task=tasks)
@quick(100)
def test_a_task_survives_its_row(task: Task) -> None:
    assert Task.from_row(task.to_row()) == task
    assert Task.from_row(json.loads(json.dumps(task.to_row()))) == task


solvable = tasks.filter(lambda task: bool(task.problem_statement.strip()))


@given(rows=st.lists(solvable, min_size=1, max_size=3, unique_by=lambda task: task.instance_id))
@quick(50)
def test_tasks_that_are_saved_are_loaded_again(tmp_path_factory: pytest.TempPathFactory, rows: list[Task]) -> None:
    path = tmp_path_factory.mktemp("saved") / "t.jsonl"
    save_tasks(rows, path)
    assert load_tasks(path) == rows
    assert [file.name for file in path.parent.iterdir()] == ["t.jsonl"]


def test_saving_replaces_a_file_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    save_tasks([TASK, TASK.with_(instance_id="lib-2")], path)
    with pytest.raises(TypeError):
        save_tasks([TASK, TASK.with_(metadata={"x": object()})], path)
    assert len(load_tasks(path)) == 2
    save_tasks([TASK], path)
    assert load_tasks(path) == [TASK]


def test_columns_that_json_has_no_type_for_can_be_saved(tmp_path: Path) -> None:
    """Parquet has dates, bytes and decimals; a task that holds one must still be logged and saved."""
    row = {**ROW, "merged_at": datetime.datetime(2024, 1, 2, 3, 4, 5), "day": datetime.date(2024, 1, 2), "raw": b"\xff"}
    parquet(tmp_path / "t.parquet", [row])
    loaded = load_tasks(tmp_path / "t.parquet")
    save_tasks(loaded, tmp_path / "t.jsonl")
    assert load_tasks(tmp_path / "t.jsonl")[0].with_(metadata={}) == TASK


# The bundled ones.


def test_an_easy_bundled_task_is_one_line_that_the_issue_leads_to() -> None:
    easy = [task for task in load_tasks("bundled") if task.metadata["difficulty"] == "easy"]
    assert len(easy) >= 4
    for task in easy:
        [part] = split(task.patch)
        changed = [line for line in part.text.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
        assert len(changed) == 2, task.instance_id
        assert part.paths[0] in task.problem_statement, task.instance_id
        assert len(task.problem_statement) < 600, task.instance_id


def test_bundled_tasks_are_the_same_in_every_cache(tmp_path: Path) -> None:
    ours, theirs = load_tasks("bundled"), bundled_tasks(tmp_path)
    assert [task.with_(repo="") for task in ours] == [task.with_(repo="") for task in theirs]
    assert all(task.repo.startswith(str(tmp_path)) for task in theirs)


@pytest.mark.parametrize("name", sorted(path.parent.name for path in ROOT.glob("*/*/task.toml")))
def test_a_bundled_task_hides_its_solution(name: str) -> None:
    [task] = [task for task in load_tasks("bundled") if task.instance_id == name]
    base = git(Path(task.repo), "ls-tree", "-r", "--name-only", task.base_commit).splitlines()
    hidden = [part.paths[0] for part in split(task.test_patch)]
    assert task.problem_statement.strip()
    assert not any(is_test(path) for part in split(task.patch) for path in part.paths)
    assert all(is_test(path) for path in hidden)
    assert {test.split("::")[0] for test in task.FAIL_TO_PASS} <= set(hidden)
    assert {test.split("::")[0] for test in task.PASS_TO_PASS} <= {*hidden, *base}
    assert not [test for test in task.FAIL_TO_PASS if test.split("::")[-1] in task.problem_statement]
    assert set(task.FAIL_TO_PASS).isdisjoint(task.PASS_TO_PASS)


@pytest.mark.slow
def test_every_bundled_task_is_solved_by_its_reference_patch_and_unsolved_without(sandbox: Sandbox) -> None:
    checks = list(validate(load_tasks("bundled"), Resolved(sandbox=sandbox)))
    assert [(check.instance_id, check.problem) for check in checks] == [
        (task.instance_id, "") for task in load_tasks("bundled")
    ]


def test_validation_says_what_is_wrong_with_a_task(task: Task, sandbox: Sandbox) -> None:
    wrong = [
        task.with_(instance_id="bad-patch", patch=task.patch.replace("a + b", "a * b")),
        task.with_(instance_id="solved", patch="", FAIL_TO_PASS=("tests/test_sums.py::test_zero",), PASS_TO_PASS=()),
        task.with_(instance_id="no-tests", FAIL_TO_PASS=()),
        task.with_(instance_id="gone", repo="/nowhere"),
    ]
    problems = {check.instance_id: check.problem for check in validate(wrong, Resolved(sandbox=sandbox))}
    words = "bad-patch cannot be solved here: 1 of its tests does not pass with the reference patch: "
    assert problems.pop("bad-patch").startswith(f"{words}tests/test_sums.py::test_add (failed)")
    assert problems.pop("solved") == "no patch gives 1.0: the tests do not need the reference patch"
    assert problems.pop("no-tests").startswith("cannot be scored: it has no FAIL_TO_PASS tests")
    assert problems.pop("gone").startswith("there is no folder /nowhere")
    assert problems == {}
