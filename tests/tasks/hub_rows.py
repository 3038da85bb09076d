"""Rows as the datasets of the hub have them: the columns and the types of each, with contents of our own."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

BASE = "0123456789abcdef0123456789abcdef01234567"
FIX = "diff --git a/sums.py b/sums.py\n--- a/sums.py\n+++ b/sums.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n"
TESTS = (
    "diff --git a/tests/test_sums.py b/tests/test_sums.py\nnew file mode 100644\n--- /dev/null\n"
    "+++ b/tests/test_sums.py\n@@ -0,0 +1,2 @@\n+def test_x():\n+    assert 1\n"
)
FAIL, PASS = ["tests/test_sums.py::test_x"], ["tests/test_sums.py::test_y[a b]", "tests/test_sums.py::test_z"]

_TEXT, _TEXTS = pa.string(), pa.list_(pa.string())
_COMMON = {
    name: _TEXT
    for name in (
        *("instance_id", "repo", "base_commit", "patch", "test_patch", "problem_statement", "hints_text", "created_at"),
        "version",
    )
}
_META = pa.struct(
    {
        "commit_name": _TEXT,
        "failed_lite_validators": _TEXTS,
        "has_test_patch": pa.bool_(),
        "is_lite": pa.bool_(),
        "llm_score": pa.struct(dict.fromkeys(("difficulty_score", "issue_text_score", "test_score"), pa.int64())),
        "num_modified_files": pa.int64(),
    }
)
_INSTALL = pa.struct(
    {
        **dict.fromkeys(("env_vars", "env_yml_path", "install", "log_parser", "python", "test_cmd"), _TEXT),
        "no_use_env": pa.bool_(),
        "packages": _TEXT,
        "pip_packages": _TEXTS,
        "pre_install": _TEXTS,
        "reqs_path": _TEXTS,
    }
)
_LISTS = {"FAIL_TO_PASS": _TEXTS, "PASS_TO_PASS": _TEXTS}
_STRINGS = {"FAIL_TO_PASS": _TEXT, "PASS_TO_PASS": _TEXT, "environment_setup_commit": _TEXT}
_FIVE = dict.fromkeys(("image", "eval_script", "log_parser", "eval_type"), _TEXT)
_SWE_REBENCH = {
    **_COMMON,
    **_LISTS,
    **{"FAIL_TO_FAIL": _TEXTS, "PASS_TO_FAIL": _TEXTS, "meta": _META, "install_config": _INSTALL},
    **dict.fromkeys(("requirements", "environment", "license_name", "docker_image", "image_name"), _TEXT),
    "environment_setup_commit": _TEXT,
}
SCHEMAS: dict[str, dict[str, pa.DataType]] = {
    "SWE-Gym": {**_COMMON, **_LISTS},
    "SWE-bench before release 5": {**_COMMON, **_STRINGS, "difficulty": _TEXT},
    "SWE-bench from release 5": {**_COMMON, **_STRINGS, **_FIVE},
    "SWE-bench-extra": {
        **_COMMON,
        **_LISTS,
        **{"version": pa.int64(), "created_at": pa.timestamp("s"), "meta": _META, "license": _TEXT},
        "environment_setup_commit": _TEXT,
    },
    "SWE-rebench": _SWE_REBENCH,
    "SWE-rebench-V2": {
        **{name: kind for name, kind in _COMMON.items() if name not in ("version", "hints_text")},
        **_LISTS,
        **dict.fromkeys(("license", "image_name", "language"), _TEXT),
        "install_config": pa.struct({"install": _TEXTS, "test_cmd": _TEXTS, "log_parser": _TEXT}),
    },
    "SWE-smith": {
        **dict.fromkeys(("instance_id", "repo", "patch", "image_name", "problem_statement", "created_at"), _TEXT),
        **_LISTS,
    },
    "R2E-Gym": {
        **dict.fromkeys(("repo_name", "docker_image", "commit_hash", "problem_statement", "prompt"), _TEXT),
        **dict.fromkeys(("parsed_commit_content", "execution_result_content", "expected_output_json"), _TEXT),
        **dict.fromkeys(("modified_files", "modified_entity_summaries", "relevant_files"), _TEXTS),
        **dict.fromkeys(("num_non_test_files", "num_non_test_func_methods", "num_non_test_lines"), pa.int64()),
    },
}
"""Dataset -> column -> type."""

_SCORES = {"difficulty_score": 1, "issue_text_score": 0, "test_score": 2}
_CONTENTS: dict[str, Any] = {
    **{"repo": "owner/sums", "base_commit": BASE, "patch": FIX, "test_patch": TESTS, "hints_text": ""},
    **{"problem_statement": "x is wrong", "created_at": "2023-05-01T12:00:00Z", "version": "1.4"},
    **{"environment_setup_commit": BASE, "difficulty": "<15 min fix", "license": "MIT", "license_name": "MIT"},
    **{"FAIL_TO_FAIL": [], "PASS_TO_FAIL": [], "requirements": "six==1.17.0\n", "language": "python"},
    "environment": "name: sums\nchannels:\n  - defaults\ndependencies:\n  - python=3.9\n",
    "meta": {"commit_name": "head", "failed_lite_validators": ["x"], "llm_score": _SCORES, "num_modified_files": 1},
    "eval_script": "#!/bin/bash\n: '>>>>> Start Test Output'\npytest -rA tests/test_sums.py\n",
    **{"log_parser": "parse_log_pytest", "eval_type": "pass_and_fail"},
    **{"repo_name": "sums", "commit_hash": BASE, "prompt": "long", "execution_result_content": "{}"},
    **{"modified_files": ["sums.py"], "relevant_files": ["sums.py"], "modified_entity_summaries": []},
    **{"num_non_test_files": 1, "num_non_test_func_methods": 0, "num_non_test_lines": 2},
    "expected_output_json": json.dumps({"\x1b[1mtest_x\x1b[0m": "PASSED", "TestY.test_z": "FAILED"}),
    "parsed_commit_content": json.dumps(
        {
            "new_commit_hash": BASE,
            "old_commit_hash": f"{BASE}^",
            "file_diffs": [
                {
                    "header": {"file": {"path": path}, "misc_line": misc},
                    "old_file_content": old,
                    "new_file_content": new,
                }
                for path, misc, old, new in (
                    ("sums.py", None, "x = 1\n", "x = 2\n"),
                    ("more.py", "new file mode 100644", "", "y = 1\n"),
                    ("CHANGES.md", None, "", "x\n"),
                    ("Tests/helper.py", None, "", "x\n"),
                    ("test_sums.py", None, "", "x\n"),
                )
            ],
        }
    ),
}
IMAGES = {
    "SWE-Gym": "xingyaoww/sweb.eval.x86_64.owner_s_sums-7:latest",
    "SWE-bench before release 5": "swebench/sweb.eval.x86_64.owner_1776_sums-7:latest",
    "SWE-bench from release 5": "registry.example/five:1",
    "SWE-bench-extra": None,
    "SWE-rebench": "swerebench/own:1",
    "SWE-rebench-V2": "swerebench/two:1",
    "SWE-smith": "jyangballin/swesmith.x86_64.owner_1776_sums.01234567",
    "R2E-Gym": f"namanjain12/sums_final:{BASE}",
}
"""Dataset -> the image of its tasks."""


def row(dataset: str, **changes: Any) -> dict[str, Any]:
    """A row of a dataset, with each column of its schema."""
    image = IMAGES[dataset]
    images = {"image": image, "image_name": image, "docker_image": image}
    made: dict[str, Any] = {"instance_id": "Owner__sums-7", **_CONTENTS, **images}
    made["FAIL_TO_PASS"], made["PASS_TO_PASS"] = FAIL, PASS
    if dataset.startswith("SWE-bench") and "extra" not in dataset:
        made |= {key: json.dumps(made[key]) for key in ("FAIL_TO_PASS", "PASS_TO_PASS")}
    if dataset == "SWE-bench-extra":
        made |= {"version": 0, "created_at": datetime.datetime(2023, 5, 1, 12)}
    if dataset == "SWE-rebench":
        made["install_config"] = {"python": "3.9", "test_cmd": "pytest -rA", "pip_packages": ["six"], "packages": None}
    if dataset == "SWE-rebench-V2":
        made["install_config"] = {"install": ["pip install ."], "test_cmd": ["pytest -rA"], "log_parser": "pytest"}
    if dataset == "SWE-smith":
        made |= {"instance_id": "Owner__sums.01234567.lm_rewrite__abc", "repo": "swesmith/Owner__sums.01234567"}
    return {name: {**made, **changes}[name] for name in SCHEMAS[dataset]}


def write(dataset: str, rows: list[dict[str, Any]], path: Path) -> Path:
    """Write rows as Parquet with the dataset's own types."""
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows, pa.schema(SCHEMAS[dataset])), path)
    return path
