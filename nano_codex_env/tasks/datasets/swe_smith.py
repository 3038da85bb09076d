"""SWE-smith: repositories with an injected bug; `patch` is the bug, so the reference patch is its reverse.

From its documentation and its code that makes the rows: there is no test patch. The mirror on GitHub,
`swesmith/<owner>__<name>.<commit>`, has a branch for each instance with the commits "Bug Patch" and "Remove F2P Tests";
the policy sees the branch, and the tests return with the commit before its last. So `base_commit` is a range:
`<branch>..<branch>~1` starts from the branch, and the difference to the commit before are the hidden tests
(`repo.commit_range` reads it from a clone of the mirror).
Some branches have no commit that removes tests; then the tests are in the base.

A row whose bug lies in a file of its FAIL_TO_PASS tests cannot be used: scoring restores that file with the bug in it.
Unverified: whether the rows have `base_commit`, `created_at` and `version`; they are not used. Some rows have an empty
issue; they cannot be used.
"""

from __future__ import annotations

from nano_codex_env.diff import split
from nano_codex_env.errors import TaskError
from nano_codex_env.tasks.datasets.columns import Dataset, Row, instance_id, make_task
from nano_codex_env.tasks.datasets.reverse import reverse
from nano_codex_env.tasks.task import Task

_COLUMNS = frozenset({"instance_id", "repo", "patch", "FAIL_TO_PASS", "PASS_TO_PASS", "image_name"})


def to_task(row: Row) -> Task:
    """A row of SWE-smith as a task."""
    name, image, bug = instance_id(row), row.get("image_name"), row.get("patch")
    if not isinstance(bug, str) or not bug.strip():
        raise TaskError(f"{name}: patch is empty, so there is no bug")
    if image is not None and not isinstance(image, str):
        raise TaskError(f"{name}: image_name must be text; got {image!r:.120}")
    try:
        fix = reverse(bug)
    except ValueError as error:
        raise TaskError(f"{name}: the bug's patch cannot be reversed: {error}") from error
    environment = {"kind": "image", **({"image": image} if image else {})}
    task = make_task(row, environment, moved=("image_name",), patch=fix, test_patch="", base_commit=f"{name}..{name}~1")
    tests = {test.partition("::")[0] for test in task.FAIL_TO_PASS}
    if both := [path for part in split(fix) for path in part.paths if path in tests]:
        raise TaskError(f"{name}: the bug lies in {both[0]}, which holds its tests; no patch can solve it")
    return task


SWE_SMITH = Dataset("SWE-smith", _COLUMNS, to_task, without=frozenset({"test_patch"}))
