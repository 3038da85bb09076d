"""Rows of public datasets: what each becomes, which are left out, and how they are chosen and found on this machine."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nano_codex_env import NanoCodexEnv, Oracle, Resolved, Task, load_tasks, rollouts, save_tasks
from nano_codex_env.cli import main
from nano_codex_env.curation import prepare
from nano_codex_env.diff import File, file_diff
from nano_codex_env.errors import ConfigError, TaskError, WorkspaceError
from nano_codex_env.repo import resolve_range
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.scoring import Scorer
from nano_codex_env.scoring.preconditions import why_unscorable
from nano_codex_env.tasks import Skipped
from nano_codex_env.tasks.datasets import OWN, dataset_of
from nano_codex_env.tasks.datasets.reverse import reverse
from tests.conftest import BUG, FIX, HIDDEN, git, mostly_slow
from tests.strategies import quick
from tests.tasks import hub_rows
from tests.tasks.hub_rows import BASE, FAIL, IMAGES, PASS, SCHEMAS, TESTS, row, write

LIKE_SWE_BENCH = [name for name in SCHEMAS if name not in ("SWE-smith", "R2E-Gym")]
HOST = {"kind": "host"}


# What a row becomes.


@pytest.mark.parametrize("dataset", SCHEMAS)
def test_a_row_is_recognised_by_its_columns_and_names_its_image(tmp_path: Path, dataset: str) -> None:
    assert dataset_of(row(dataset)).name == dataset
    [task] = load_tasks(write(dataset, [row(dataset)], tmp_path / "t.parquet"))
    assert task.environment.get("image") == IMAGES[dataset]
    assert task.environment.kind == ("image" if IMAGES[dataset] else "unknown")
    assert task.problem_statement == "x is wrong"
    save_tasks([task], tmp_path / "own.jsonl")
    assert load_tasks(tmp_path / "own.jsonl") == [task]  # a row of ours now, which stays as it is
    assert dataset_of(task.to_row()) is OWN


@pytest.mark.parametrize("dataset", LIKE_SWE_BENCH)
def test_a_row_like_those_of_swe_bench_keeps_its_patches_and_tests(tmp_path: Path, dataset: str) -> None:
    [task] = load_tasks(write(dataset, [row(dataset)], tmp_path / "t.parquet"))
    assert (task.repo, task.base_commit, task.patch, task.test_patch) == ("owner/sums", BASE, hub_rows.FIX, TESTS)
    assert [list(task.FAIL_TO_PASS), list(task.PASS_TO_PASS)] == [FAIL, PASS]


@pytest.mark.slow
@pytest.mark.parametrize("dataset", SCHEMAS)
def test_rows_are_the_same_from_every_reader(tmp_path: Path, dataset: str) -> None:
    import datasets

    rows = [
        row(dataset),
        row(dataset, **({"commit_hash": "e" * 40} if dataset == "R2E-Gym" else {"instance_id": "b-2"})),
    ]
    path = write(dataset, rows, tmp_path / "t.parquet")
    tasks = load_tasks(path)
    loaded = datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    loaded.save_to_disk(str(tmp_path / "saved"))
    assert len(tasks) == 2
    assert load_tasks(loaded) == load_tasks(tmp_path / "saved") == tasks
    assert load_tasks(loaded.to_pandas().to_dict("records")) == tasks


def test_what_only_one_dataset_has_goes_to_its_one_place() -> None:
    [five, extra, rebench, second] = load_tasks(
        [
            row("SWE-bench from release 5", instance_id="a__a-1"),
            row("SWE-bench-extra", instance_id="a__a-2"),
            row("SWE-rebench", instance_id="a__a-3"),
            row("SWE-rebench-V2", instance_id="a__a-4"),
        ]
    )
    assert {key: five.environment[key] for key in ("log_parser", "eval_type")} == {
        "log_parser": "parse_log_pytest",
        "eval_type": "pass_and_fail",
    }
    assert "Start Test Output" in five.environment["eval_script"]
    assert five.metadata == {}
    assert (extra.version, extra.created_at, extra.metadata["license"]) == ("0", "2023-05-01 12:00:00", "MIT")
    assert rebench.environment["install"] == {"python": "3.9", "test_cmd": "pytest -rA", "pip_packages": ["six"]}
    assert rebench.metadata["environment"].startswith("name: sums")  # the text of a conda environment, none of ours
    assert rebench.metadata["meta"]["llm_score"]["test_score"] == 2
    assert (second.environment["testbed"], second.environment["install"]["log_parser"]) == ("/sums", "pytest")


def test_an_image_that_no_column_names_follows_from_the_id() -> None:
    tasks = load_tasks([row("SWE-rebench", docker_image=None, image_name=name) for name in (None,)])
    assert tasks[0].environment["image"] == "swerebench/sweb.eval.x86_64.owner_1776_sums-7:latest"
    [second] = load_tasks([row("SWE-rebench-V2", image_name=None)])
    assert "its row names no container image; give an environment" in second.environment.unsupported


def test_the_patch_of_swe_smith_is_the_bug_and_its_reverse_is_the_reference() -> None:
    [task] = load_tasks([row("SWE-smith")])
    assert task.patch == hub_rows.FIX.replace("-x = 1\n+x = 2", "-x = 2\n+x = 1")
    assert task.base_commit == f"{task.instance_id}..{task.instance_id}~1"
    assert task.test_patch == ""
    few = {key: value for key, value in row("SWE-smith").items() if key not in ("image_name", "created_at")}
    assert load_tasks([few])[0].patch == task.patch


def test_a_task_of_r2e_gym_has_the_tree_of_its_image_and_expected_statuses(tmp_path: Path) -> None:
    [task] = load_tasks([row("R2E-Gym")])
    assert task.instance_id == f"sums__{BASE}"
    assert task.environment["expected"] == {"\x1b[1mtest_x\x1b[0m": "PASSED", "TestY.test_z": "FAILED"}
    assert task.patch == file_diff("sums.py", File(b"x = 1\n"), File(b"x = 2\n")) + file_diff(
        "more.py", None, File(b"y = 1\n")
    )
    assert "prompt" not in task.metadata
    with (
        NanoCodexEnv([task], reward=lambda *_: 0.0, log_dir=None, cache_dir=tmp_path) as env,
        pytest.raises(
            WorkspaceError, match=r"its tree is in the container image namanjain12/sums_final:.* images cannot"
        ),
    ):
        env.reset()


def test_an_environment_in_a_row_replaces_that_of_its_dataset(tmp_path: Path) -> None:
    for dataset in SCHEMAS:
        [task] = load_tasks([{**row(dataset), "environment": {"kind": "host", "pythonpath": ["src"]}}])
        assert (task.environment.kind, task.environment.pythonpath) == ("host", ("src",)), dataset
        assert task.patch == load_tasks([row(dataset)])[0].patch
    [task] = load_tasks([{**row("SWE-smith"), "environment": '{"kind": "venv", "packages": ["six"]}'}])
    assert task.environment.packages == ("six",)


def test_a_row_with_other_types_is_understood_or_left_out() -> None:
    assert load_tasks([row("SWE-bench-extra", version=None)])[0].version == ""
    for dataset in ("SWE-Gym", "SWE-bench before release 5"):
        for ids in (FAIL, '["tests/test_sums.py::test_x"]', np.array(FAIL)):
            [task] = load_tasks([row(dataset, FAIL_TO_PASS=ids)])
            assert list(task.FAIL_TO_PASS) == FAIL
        assert load_tasks([row(dataset, FAIL_TO_PASS="", PASS_TO_PASS=None)])[0].FAIL_TO_PASS == ()
    assert load_tasks([row("SWE-rebench", install_config='{"python": "3.9", "packages": null}')])[0].environment[
        "install"
    ] == {"python": "3.9"}


# Rows that cannot be used, and columns that are not known.


@pytest.mark.parametrize(
    ("dataset", "changes", "reason"),
    [
        ("SWE-Gym", {"problem_statement": " \n"}, "the issue is empty"),
        ("SWE-Gym", {"problem_statement": None}, "the issue is empty"),
        ("SWE-Gym", {"instance_id": "a b/c"}, "instance_id must be like owner__name-123; got 'a b/c'"),
        ("SWE-Gym", {"instance_id": None}, "instance_id must be like owner__name-123; got None"),
        ("SWE-Gym", {"base_commit": "abc123"}, "base_commit must be the full id of a commit; got 'abc123'"),
        ("SWE-Gym", {"repo": None}, "repo is empty"),
        ("SWE-Gym", {"problem_statement": float("nan")}, "problem_statement must be text; got nan"),
        ("SWE-Gym", {"patch": float("nan")}, "patch must be text; got nan"),
        ("SWE-bench before release 5", {"FAIL_TO_PASS": "test_x"}, "FAIL_TO_PASS is neither a list nor a JSON list"),
        ("SWE-bench from release 5", {"eval_type": "maybe"}, "eval_type is one of pass_and_fail, fail_only"),
        ("SWE-bench from release 5", {"image": 5}, "image must be text; got 5"),
        ("SWE-bench-extra", {"problem_statement": ""}, "the issue is empty"),
        ("SWE-rebench", {"install_config": "{"}, "install_config is no JSON"),
        ("SWE-rebench-V2", {"install_config": [1]}, "install_config must be a JSON object"),
        ("SWE-smith", {"problem_statement": ""}, "the issue is empty"),
        ("SWE-smith", {"patch": ""}, "patch is empty, so there is no bug"),
        ("SWE-smith", {"patch": "no diff"}, "the bug's patch cannot be reversed: it changes no file"),
        ("SWE-smith", {"FAIL_TO_PASS": ["sums.py::x"]}, "the bug lies in sums.py, which holds its tests"),
        ("R2E-Gym", {"expected_output_json": "{}"}, "expected_output_json must map names of tests to statuses"),
        ("R2E-Gym", {"docker_image": None}, "docker_image is empty"),
        ("R2E-Gym", {"commit_hash": "HEAD"}, "commit_hash must be the full id of a commit; got 'HEAD'"),
    ],
)
def test_a_row_that_cannot_be_used_is_left_out_and_named(dataset: str, changes: dict[str, Any], reason: str) -> None:
    good = row(dataset, **({"commit_hash": "f" * 40} if dataset == "R2E-Gym" else {"instance_id": "good-1"}))
    found: list[Skipped] = []
    tasks = load_tasks([row(dataset, **changes), good], skipped=found.append)
    assert [task.instance_id for task in tasks] == [load_tasks([good])[0].instance_id]
    [skipped] = found
    assert skipped.reason.startswith(reason)
    names = {"R2E-Gym": "sums", "SWE-smith": "Owner__sums.0"}
    assert skipped.instance_id.startswith(changes.get("instance_id", names.get(dataset, "Owner__sums-7")) or "row 1")
    with pytest.raises(TaskError, match="holds no tasks that can be used: left out 1 row that cannot be used: "):
        load_tasks([row(dataset, **changes)])


def test_left_out_rows_are_one_warning_with_their_number(caplog: pytest.LogCaptureFixture) -> None:
    bad = [row("SWE-Gym", instance_id=f"bad-{number}", problem_statement="") for number in range(5)]
    with caplog.at_level(logging.WARNING):
        tasks = load_tasks([*bad, row("SWE-Gym"), row("SWE-Gym")])
    assert len(tasks) == 1
    [record] = caplog.records
    said = record.getMessage()
    assert "left out 6 rows that cannot be used: bad-0 (the issue is empty; there is nothing to solve); bad-1 (" in said
    assert said.endswith(" ...")
    own = {"instance_id": "own-1", "repo": "o/n", "problem_statement": "\n"}
    assert [task.instance_id for task in load_tasks([own, row("SWE-Gym")])] == ["Owner__sums-7"]
    with pytest.raises(TaskError, match="no column problem_statement"):  # a row of ours is the caller's to correct
        load_tasks([row("SWE-Gym"), {"instance_id": "own-1", "repo": "o/n", "problem_statement": None}])


def test_columns_of_an_unknown_dataset_are_refused_with_what_was_found_and_what_is_known() -> None:
    known = "R2E-Gym, SWE-smith, SWE-rebench-V2, SWE-rebench, SWE-bench from release 5, SWE-bench-extra, SWE-bench "
    multi = {"org": "o", "repo": "n", "number": 1, "fix_patch": "p", "f2p_tests": {}}
    with pytest.raises(
        TaskError, match=f"no column instance_id, problem_statement; it has .*fix_patch.* Known: {known}"
    ):
        load_tasks([multi])
    own = {"instance_id": "x-1", "repo": "o/n", "problem_statement": "x", "base_commit": BASE}
    for column in ("fail_to_pass", "docker_image", "image_name", "dockerhub_tag"):
        with pytest.raises(TaskError, match=f"x-1: its columns are of no dataset .*Found: .*{column}.*Known: {known}"):
            load_tasks([{**own, column: "x"}])
    assert load_tasks([{**own, "stars": 5}])[0].metadata == {"stars": 5}


# Reverse patches.

KINDS = """diff --git a/new.py b/new.py
new file mode 100755
index 0000000..407de30
--- /dev/null
+++ b/new.py
@@ -0,0 +1 @@
+x = 2
diff --git a/gone.py b/gone.py
deleted file mode 100644
index 7d4290a..0000000
--- a/gone.py
+++ /dev/null
@@ -1 +0,0 @@
-x = 1
diff --git a/old name.py b/better.py
similarity index 66%
rename from old name.py
rename to better.py
index de98044..1a2b3c4 100644
--- a/old name.py\t
+++ b/better.py
@@ -1,3 +1,3 @@
 a
-b
+B
 c
diff --git a/mode.py b/mode.py
old mode 100644
new mode 100755
diff --git a/ends.py b/ends.py
index 1..2 100644
--- a/ends.py
+++ b/ends.py
@@ -1,4 +1,3 @@ def f():
 a
-b
-c
+d
 e
\\ No newline at end of file
@@ -10 +9 @@
-x
\\ No newline at end of file
+y
"""


def test_a_reversed_patch_undoes_it(make_repo: Callable[..., Path]) -> None:
    nine = "".join(f"{number}\n" for number in range(5, 10))
    files = {"gone.py": "x = 1\n", "old name.py": "a\nb\nc\n", "mode.py": "m\n", "ends.py": f"a\nb\nc\ne\n{nine}x"}
    patch = KINDS.replace(" e\n\\ No newline at end of file\n", " e\n")
    repo = make_repo(files)
    for text in (patch, reverse(patch)):
        subprocess.run(["git", "apply", "-"], cwd=repo, input=text.encode(), check=True)
        assert (repo / "new.py").exists() == (text == patch)
    assert git(repo, "status", "--porcelain") == ""
    assert "rename from better.py\nrename to old name.py\n" in reverse(patch)
    assert "old mode 100755\nnew mode 100644\n" in reverse(patch)


contents = st.one_of(st.none(), st.text("ab\n", max_size=12).map(str.encode).map(File))


@given(old=contents, new=contents)
@quick(50)
def test_the_reverse_of_a_reverse_is_the_patch(old: File | None, new: File | None) -> None:
    patch = file_diff("a b/ü.py", old, new)
    if patch:
        assert reverse(patch) == file_diff("a b/ü.py", new, old) or reverse(reverse(patch)) == patch
        assert reverse(reverse(patch)) == patch


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ("", "it changes no file"),
        ("diff --git a/x b/x\nBinary files a/x and b/x differ\n", "'x' is binary or a copy"),
        (KINDS + "@@ -30,3 +30,3 @@\n a\n", r"the hunk '@@ -30,3 \+30,3 @@' is cut short"),
        ("--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\n?b\n", "a hunk holds the line '\\?b'"),
    ],
)
def test_what_cannot_be_reversed_says_why(patch: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        reverse(patch)


# Some of the tasks.


def gym(count: int) -> list[dict[str, Any]]:
    return [row("SWE-Gym", instance_id=f"owner__lib-{number}") for number in range(count)]


def ids(**choice: Any) -> list[str]:
    return [task.instance_id.removeprefix("owner__lib-") for task in load_tasks(gym(20), **choice)]


def test_tasks_are_selected_shuffled_and_limited() -> None:
    every = [str(number) for number in range(20)]
    assert ids() == every
    assert ids(limit=3) == ["0", "1", "2"]
    assert ids(select="owner__lib-1?") == [str(number) for number in range(10, 20)]
    assert ids(select=["owner__lib-7", "owner__lib-?"], limit=9) == every[:9]
    assert ids(select=lambda task: task.instance_id.endswith("5")) == ["5", "15"]
    assert ids(seed=1) == ids(seed=1) != every
    assert sorted(ids(seed=1)) == sorted(every)
    assert ids(seed=1, limit=4) == ids(seed=1)[:4] != ids(seed=2, limit=4)
    assert len(load_tasks("bundled", select="pocket-*", limit=2)) == 2


def test_a_share_is_held_out_by_the_md5_of_the_id_alone() -> None:
    inside, outside = ids(holdout=0.3), ids(holdout=0.3, held_out=True)
    assert sorted(inside + outside, key=int) == ids()
    for number in outside:
        assert int(hashlib.md5(f"owner__lib-{number}".encode()).hexdigest(), 16) / 2**128 < 0.3
    assert 0 < len(outside) < 12
    assert ids(holdout=0.3, held_out=True, select=[f"owner__lib-{outside[0]}"]) == outside[:1]
    assert set(outside) <= set(ids(holdout=0.5, held_out=True))


@pytest.mark.parametrize(
    ("choice", "error", "words"),
    [
        ({"limit": 0}, ConfigError, "limit must be a positive whole number; got 0"),
        ({"seed": "1"}, ConfigError, "seed must be a whole number; got '1'"),
        ({"holdout": 1.0}, ConfigError, r"holdout must be a share between 0 and 1; got 1.0"),
        ({"held_out": True}, ConfigError, "held_out needs holdout"),
        ({"select": [1]}, ConfigError, "select takes ids, patterns, or a function"),
        ({"select": "nope-*"}, TaskError, r"no task is called 'nope-\*'; there are: owner__lib-0, "),
        ({"select": lambda task: False}, TaskError, "no task is left"),
        ({"repos": "/nowhere"}, ConfigError, "repos must be a folder of clones, or a TOML file"),
    ],
)
def test_a_choice_that_cannot_be_made_says_why(choice: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        load_tasks(gym(3), **choice)


def test_a_folder_of_parquet_files_has_the_splits_that_their_names_say(tmp_path: Path) -> None:
    rows = gym(3)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_infos.json").write_text("{}")
    for name, part in (("train-00000-of-00002", 0), ("train-00001-of-00002", 1), ("dev-00000-of-00001", 2)):
        write("SWE-Gym", [rows[part]], tmp_path / "data" / f"{name}.parquet")
    for folder in (tmp_path, tmp_path / "data"):
        assert [task.instance_id for task in load_tasks(folder)] == ["owner__lib-0", "owner__lib-1"]
        assert [task.instance_id for task in load_tasks(folder, split="dev")] == ["owner__lib-2"]
        with pytest.raises(TaskError, match="has no split 'test'; it has dev, train"):
            load_tasks(folder, split="test")


OFFLINE = """
import os, shutil, sys
from pathlib import Path
import datasets
from nano_codex_env import load_tasks

cache = Path(datasets.config.HF_DATASETS_CACHE)
datasets.load_dataset(sys.argv[1])
[made] = [path for path in cache.iterdir() if path.is_dir()]
folder = cache / "owner___lib"
made.rename(folder)
for path in folder.rglob("*.arrow"):
    path.rename(path.with_name("lib-" + path.name.rpartition("-")[2]))
for path in folder.rglob("dataset_info.json"):
    path.write_text(path.read_text().replace(f'"dataset_name": "{made.name}"', '"dataset_name": "lib"'))
os.chdir(cache)
for split in (None, "train", "test"):
    print([task.instance_id for task in load_tasks("owner/lib", split=split)])
try:
    load_tasks("owner/lib", split="dev")
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_a_dataset_of_the_hub_is_loaded_by_its_name(tmp_path: Path) -> None:
    """Without a network: it is in the cache of `datasets`, as after a first load."""
    (tmp_path / "made").mkdir()
    write("SWE-rebench", [row("SWE-rebench", instance_id="lib-1")], tmp_path / "made" / "train-00000-of-00001.parquet")
    write("SWE-rebench", [row("SWE-rebench", instance_id="lib-2")], tmp_path / "made" / "test-00000-of-00001.parquet")
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", OFFLINE, str(tmp_path / "made")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[:3] == ["['lib-2']", "['lib-1']", "['lib-2']"]
    assert lines[3].startswith("TaskError cannot load 'owner/lib'")


# Clones on this machine.


@pytest.mark.parametrize(
    "place", mostly_slow(["owner__sums.git", "owner/sums", "owner/sums.git", "owner__sums", "map.toml"], keep=1)
)
def test_a_clone_serves_rows_that_name_its_repository(
    make_repo: Callable[..., Path], tmp_path: Path, place: str
) -> None:
    made = make_repo({"sums.py": BUG}, name="made")
    is_map = place == "map.toml"
    clone = tmp_path / "clones" / ("elsewhere" if is_map else place)
    clone.parent.mkdir(parents=True)
    git(made, "clone", "-q", "--mirror" if place.endswith(".git") else "--no-hardlinks", str(made), str(clone))
    repos = clone.parent / "map.toml" if is_map else tmp_path / "clones"
    if is_map:
        repos.write_text('"owner/sums" = "elsewhere"\n')
    commit = git(made, "rev-parse", "HEAD").strip()
    [task] = load_tasks([row("SWE-Gym", base_commit=commit)], repos=repos)
    assert (task.repo, task.metadata["repo"]) == (str(clone), "owner/sums")
    with NanoCodexEnv([task], reward=lambda *_: 0.0, log_dir=None, cache_dir=tmp_path / "cache") as env:
        env.reset()
        assert (env.episode.workspace.base / "sums.py").read_text() == BUG
    again = task.with_(repo="owner/sums")  # the tree is cached by its commit, so it needs no clone any more
    with NanoCodexEnv([again], reward=lambda *_: 0.0, log_dir=None, cache_dir=tmp_path / "cache") as env:
        env.reset()


def test_a_missing_clone_is_named_with_the_paths_that_were_tried(tmp_path: Path) -> None:
    (tmp_path / "owner" / "other").mkdir(parents=True)
    found: list[Skipped] = []
    rows = [row("SWE-Gym"), row("SWE-Gym", instance_id="other-1", repo="owner/other")]
    [task] = load_tasks(rows, repos=tmp_path, skipped=found.append)
    assert task.repo == str(tmp_path / "owner" / "other")
    names = ("owner/sums", "owner/sums.git", "owner__sums", "owner__sums.git")
    tried = ", ".join(str(tmp_path / name) for name in names)
    assert found == [Skipped("Owner__sums-7", f"there is no clone of owner/sums; tried: {tried}")]
    with pytest.raises(
        TaskError, match=r"no task is left; left out 1 row that cannot be used: .*no clone of owner/sums; tried"
    ):
        load_tasks([row("SWE-Gym")], repos=tmp_path)
    (tmp_path / "map.toml").write_text('"owner/sums" = "https://git.example/sums"\n')
    assert load_tasks([row("SWE-Gym")], repos=tmp_path / "map.toml")[0].repo == "https://git.example/sums"
    (tmp_path / "map.toml").write_text('"owner/other" = "owner/other"\n')
    with pytest.raises(TaskError, match="has no line for 'owner/sums'; it has: owner/other"):
        load_tasks([row("SWE-Gym")], repos=tmp_path / "map.toml")
    for text in ("x = 5", "x = ["):
        (tmp_path / "map.toml").write_text(text)
        with pytest.raises(ConfigError, match=r"map\.toml"):
            load_tasks([row("SWE-Gym")], repos=tmp_path / "map.toml")
    for name in ("../owner/other", "/nowhere", "https://example.invalid/owner/sums", "owner/.."):
        [task] = load_tasks([row("SWE-Gym", repo=name)], repos=tmp_path)  # not a name: as it is
        assert task.repo == name


# SWE-smith's branches.

SMITH = "owner__sums.01234567.lm_rewrite__abc"


@pytest.fixture
def smith(make_repo: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder of clones with a mirror of SWE-smith's kind: correct, then the bug, then without the hidden tests."""
    tests = HIDDEN.partition("@@ -0,0 +1,9 @@\n")[2].replace("\n+", "\n").removeprefix("+")
    repo = make_repo({"sums.py": BUG.replace("a - b", "a + b"), "tests/test_sums.py": tests}, name="upstream")
    git(repo, "checkout", "-q", "-b", SMITH)
    (repo / "sums.py").write_text(BUG)
    git(repo, "commit", "-qam", "Bug Patch")
    git(repo, "branch", f"{SMITH}-kept")
    git(repo, "rm", "-q", "tests/test_sums.py")
    git(repo, "commit", "-qm", "Remove F2P Tests")
    git(repo, "clone", "-q", "--mirror", str(repo), str(tmp_path / "clones" / "swesmith" / "owner__sums.01234567.git"))
    return tmp_path / "clones"


def smith_row(**changes: Any) -> dict[str, Any]:
    about = {"instance_id": SMITH, "repo": "swesmith/owner__sums.01234567", "patch": reverse(FIX), "environment": HOST}
    tests = {"FAIL_TO_PASS": ["tests/test_sums.py::test_add"], "PASS_TO_PASS": ["tests/test_sums.py::test_zero"]}
    return {**row("SWE-smith"), **about, **tests, **changes}


def test_a_task_of_swe_smith_starts_from_its_branch_and_its_tests_return(smith: Path, tmp_path: Path) -> None:
    [task] = load_tasks([smith_row()], repos=smith)
    resolved = resolve_range(task, tmp_path / "cache")
    mirror = smith / "swesmith" / "owner__sums.01234567.git"
    assert resolved.base_commit == git(mirror, "rev-parse", SMITH).strip()
    assert resolved.test_patch.startswith(
        "diff --git a/tests/test_sums.py b/tests/test_sums.py\nnew file mode 100644\n"
    )
    assert resolve_range(resolved, tmp_path / "cache") is resolved
    checkout = tmp_path / "owner__sums"
    git(tmp_path, "clone", "-q", str(mirror), str(checkout))  # branches are those of `origin` here
    again = resolve_range(task.with_(repo=str(checkout)), tmp_path / "cache")
    assert (again.base_commit, again.test_patch) == (resolved.base_commit, resolved.test_patch)
    [kept] = load_tasks([smith_row(instance_id=f"{SMITH}-kept")], repos=smith)
    kept = resolve_range(
        kept, tmp_path / "cache"
    )  # its last commit is the bug: nothing of the fix may be a hidden test
    assert (kept.base_commit, kept.test_patch) == (git(mirror, "rev-parse", f"{SMITH}-kept").strip(), "")
    [missing] = load_tasks([smith_row(instance_id="owner__sums.01234567.gone")], repos=smith)
    with pytest.raises(
        WorkspaceError, match=r"has no commit owner__sums.01234567.gone; check the id, or fetch it first"
    ):
        resolve_range(missing, tmp_path / "cache")


@pytest.mark.slow
def test_a_task_of_swe_smith_is_scored(smith: Path, tmp_path: Path, sandbox: Sandbox) -> None:
    for name in (SMITH, f"{SMITH}-kept"):
        [task] = load_tasks([smith_row(instance_id=name)], repos=smith)
        reward = Resolved(integrity="fast", sandbox=sandbox, cache=tmp_path / "cache")
        assert reward(task, [], task.patch).value == 1.0
        assert reward(task, [], "").value == 0.0
        [result] = rollouts(
            task, Oracle([task]), reward=reward, sandbox=sandbox, cache_dir=tmp_path / "cache", log_dir=None
        )
        assert (result.reward, result.void) == (1.0, None)


# What can be scored.


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {},
            "its tests need the container image xingyaoww/sweb.eval.x86_64.owner_s_sums-7:latest, and images cannot be",
        ),
        ({"environment": {"kind": "unknown"}}, "its row does not say what its tests need; give an environment with"),
        ({"environment": {"kind": "image"}}, "its row names no container image; give an environment with"),
        ({"environment": HOST, "FAIL_TO_PASS": []}, "it has no FAIL_TO_PASS tests, so tests cannot judge a patch"),
        (
            {"environment": HOST, "FAIL_TO_PASS": ["test_x (auth.tests.Forms)"]},
            r"no runner here knows 1 of its 3 test ids, such as 'test_x \(auth.tests.Forms\)': tests are run by pytest",
        ),
        (
            {"environment": HOST, "PASS_TO_PASS": ["test_Add"]},
            "no runner here knows 1 of its 2 test ids, such as 'test_Add'",
        ),
        (
            {"environment": HOST, "PASS_TO_PASS": ["tests/test_sums.py::test_y[a"]},
            r"1 of its 2 test ids are cut off, such as 'tests/test_sums.py::test_y\[a'",
        ),
    ],
)
def test_what_cannot_be_scored_is_told_with_the_way_out(changes: dict[str, Any], words: str) -> None:
    [task] = load_tasks([{**row("SWE-Gym"), **changes}])
    assert re.match(words, why_unscorable(task))


def test_what_cannot_be_scored_is_never_called_ready(repo: Path, tmp_path: Path, sandbox: Sandbox) -> None:
    known = {"base_commit": git(repo, "rev-parse", "HEAD").strip(), "repo": str(repo)}
    missing = {"environment": HOST, "FAIL_TO_PASS": ["tests/test_other.py::test_x"]}
    rows = [row("SWE-Gym", **known), {**row("SWE-Gym", **known), **missing, "instance_id": "other-1"}]
    image, lost = prepare(load_tasks(rows), Scorer(sandbox, tmp_path / "cache", 60))
    assert image.problem.startswith("cannot be scored: its tests need the container image ")
    assert lost.problem == (
        "cannot be scored: the test file 'tests/test_other.py' is neither in the base nor in the test patch "
        "(its base tree is built: it can be played)"
    )


def test_a_task_that_the_reward_cannot_score_is_refused_before_it_is_played(
    repo: Path, tmp_path: Path, sandbox: Sandbox
) -> None:
    [task] = load_tasks([row("SWE-Gym", base_commit=git(repo, "rev-parse", "HEAD").strip(), repo=str(repo))])
    reward = Resolved(sandbox=sandbox, cache=tmp_path / "cache")
    with pytest.raises(TaskError, match=r"Owner__sums-7: its tests need the container image xingyaoww/.*, and images"):
        reward(task, [], "")
    with (
        NanoCodexEnv([task], reward, sandbox=sandbox, log_dir=None, cache_dir=tmp_path / "cache") as env,
        pytest.raises(TaskError, match=r"Owner__sums-7 cannot be scored: its tests need .*; or give another reward="),
    ):
        env.reset()


def test_the_command_line_chooses_and_says_what_was_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make_repo: Callable[..., Path]
) -> None:
    make_repo({"sums.py": BUG}, name="owner__sums")
    rows = [*gym(4), row("SWE-Gym", instance_id="empty-1", problem_statement=""), row("SWE-Gym", repo="no/clone")]
    path = write("SWE-Gym", rows, tmp_path / "t.parquet")
    options = ["--select", "owner__lib-*", "--seed", "1", "--limit", "2", "--repos", str(tmp_path)]
    assert main(["tasks", "list", str(path), *options]) == 0
    printed = capsys.readouterr()
    expected = [task.instance_id for task in load_tasks(path, select="owner__lib-*", seed=1, limit=2)]
    assert [name for name in expected if name in printed.out] == expected
    assert "2 of 2 cannot be scored here, the first of them" in printed.out
    assert "nano-codex: left out empty-1: the issue is empty; there is nothing to solve\n" in printed.err
    assert main(["tasks", "list", str(path), "--repos", str(tmp_path)]) == 0
    assert "left out Owner__sums-7: there is no clone of no/clone; tried: " in capsys.readouterr().err
    assert main(["tasks", "list", str(path), "--holdout", "0.5", "--held-out", "--split", "train"]) == 0
    said = capsys.readouterr().out
    held_out = {task.instance_id for task in load_tasks(path, holdout=0.5, held_out=True)}
    assert held_out == {task.instance_id for task in load_tasks(path) if task.instance_id in said}


def test_a_hub_row_is_played_as_it_is(repo: Path, tmp_path: Path) -> None:
    commit = git(repo, "rev-parse", "HEAD").strip()
    one = row("SWE-rebench", base_commit=commit, repo=str(repo))
    with NanoCodexEnv("bundled", reward=lambda *_: 0.0, log_dir=None, cache_dir=tmp_path) as env:
        env.reset(options={"task": one})
        assert env.episode.task == load_tasks([one])[0]
        assert isinstance(env.episode.task, Task)
