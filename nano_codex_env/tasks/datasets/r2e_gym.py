"""R2E-Gym: commits of repositories, each in a container image that holds the base tree and the hidden tests.

From its dataset card and its code: `commit_hash` is the commit of the fix; the tests are `/r2e_tests` in the image, run
by `/testbed/run_tests.sh`; a patch is right if the statuses are exactly those of `expected_output_json`; the tree in
`/testbed` differs from every commit on purpose, and must not be reset or cleaned. So `repo` is the image
(`docker://...`), and `base_commit` and FAIL_TO_PASS are empty; the map of statuses is `environment["expected"]`, its
names as they are, since how they are compared (colours, suffixes) belongs to scoring.

The reference patch is made of the contents of `parsed_commit_content`: Python files that are not tests, as the code of
R2E-Gym takes them. Unverified: that every row has these contents; without them there is no reference patch.
"""

from __future__ import annotations

from typing import Any

from nano_codex_env.diff import File, file_diff
from nano_codex_env.errors import TaskError
from nano_codex_env.tasks.datasets.columns import Dataset, Row, check_commit, json_object, make_task
from nano_codex_env.tasks.task import Task

_COLUMNS = frozenset({"repo_name", "docker_image", "commit_hash", "problem_statement", "expected_output_json"})
_MOVED = ("docker_image", "expected_output_json", "parsed_commit_content", "execution_result_content", "prompt")
"""Columns that are not copied to `metadata`: used here, or long and of no use for a task (the last two)."""


def to_task(row: Row) -> Task:
    """A row of R2E-Gym as a task."""
    name = f"{row.get('repo_name')}__{check_commit(row, 'commit_hash')}"
    image = row.get("docker_image")
    if not isinstance(image, str) or not image.strip():
        raise TaskError(f"{name}: docker_image is empty, and only the image holds the tree and the tests")
    try:
        expected = json_object(row, "expected_output_json")
        if not expected or not all(isinstance(status, str) for status in expected.values()):
            raise TaskError(f"expected_output_json must map names of tests to statuses; got {expected!r:.120}")
        fix = _reference(json_object(row, "parsed_commit_content")) if row.get("parsed_commit_content") else ""
    except TaskError as error:
        raise TaskError(f"{name}: {error}") from error
    environment = {"kind": "image", "image": image, "expected": expected}
    return make_task(
        row, environment, moved=_MOVED, instance_id=name, repo=f"docker://{image}", base_commit="", patch=fix
    )


def _reference(commit: dict[str, Any]) -> str:
    """The changes of a commit to Python files that are not tests; empty if a content is missing."""
    patches = []
    for each in commit.get("file_diffs") or []:
        try:
            path = each["header"]["file"]["path"]
            if not path.endswith(".py") or _is_test(path):
                continue
            old, new = each["old_file_content"], each["new_file_content"]
            # an empty file and none have the same content; what becomes of each is told by the header's line
            line = (each["header"].get("misc_line") or "").strip()
            before = None if line.startswith("new file mode") else File(old.encode("utf-8", "surrogateescape"))
            after = None if line.startswith("deleted file mode") else File(new.encode("utf-8", "surrogateescape"))
        except (KeyError, TypeError, AttributeError):
            return ""
        patches.append(file_diff(path, before, after))
    return "".join(patches)


def _is_test(path: str) -> bool:
    """Whether R2E-Gym's own code counts a file as a test."""
    *folders, file = path.split("/")
    return file.startswith("test_") or file.endswith("_test.py") or any(name.lower() in _TESTS for name in folders)


_TESTS = ("test", "tests")

R2E_GYM = Dataset("R2E-Gym", _COLUMNS, to_task)
