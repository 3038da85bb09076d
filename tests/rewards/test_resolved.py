"""`Resolved`: only the tests decide, whatever a patch prints or does about them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import Resolved, Score, Task
from nano_codex_env.diff import File, file_diff
from nano_codex_env.errors import BrokenTaskError, RewardError, SandboxError, TaskError, WorkspaceError
from nano_codex_env.runtimes import Runtime
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.scoring import keep_source
from tests.conftest import BUG, FIX, HIDDEN, git, mostly_slow
from tests.rewards.patches import FIXED, patch

HERE = Runtime("python3", (), (), ("/testbed",))
ADD, ZERO = "tests/test_sums.py::test_add", "tests/test_sums.py::test_zero"

MakeTask = Callable[..., Task]


def source(text: str) -> str:
    """A diff that gives the library this text."""
    return patch({"sums.py": BUG}, {"sums.py": text})


def adding(path: str, body: str, text: str = FIXED) -> str:
    """A diff with the fix and one new file."""
    return patch({"sums.py": BUG}, {"sums.py": text, path: body})


@pytest.fixture(scope="module")
def resolved(sandbox: Sandbox) -> Resolved:
    """One judge for all tests here, with `integrity="fast"`."""
    return Resolved(sandbox=sandbox, timeout=120, integrity="fast")


@pytest.fixture(scope="module")
def strict(sandbox: Sandbox) -> Resolved:
    """The judge with its defaults: a patch that passes must fail mutants."""
    return Resolved(sandbox=sandbox, timeout=120)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library whose `add` subtracts, made once: scoring never writes in it."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "sums.py").write_text(BUG)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


@pytest.fixture
def task(library: Path) -> Task:
    """The task to repair it, with the hidden tests that most tests here use."""
    return Task(
        instance_id="sums-1",
        repo=str(library),
        base_commit=git(library, "rev-parse", "HEAD"),
        problem_statement="add(2, 3) gives -1",
        patch=FIX,
        test_patch=HIDDEN,
        FAIL_TO_PASS=(ADD,),
        PASS_TO_PASS=(ZERO,),
    )


@pytest.fixture
def make_task(task: Task) -> MakeTask:
    """The task with hidden tests of one's own; their ids are given without the file's name."""

    def make(hidden: str, fail: list[str], keep: list[str] | None = None) -> Task:
        file = "tests/test_hidden.py"
        return task.with_(
            instance_id="sums-2",
            test_patch=patch({}, {file: hidden}),
            FAIL_TO_PASS=tuple(f"{file}::{test}" for test in fail),
            PASS_TO_PASS=tuple(f"{file}::{test}" for test in keep or []),
        )

    return make


# Right and wrong patches.

CLEAN = {"dropped": [], "failed": [], "reason": "", "integrity": [], "unprotected": []}


def test_the_reference_patch_is_worth_one(strict: Resolved, resolved: Resolved, task: Task) -> None:
    shares = {"resolved": 1.0, "fail_to_pass": 1.0, "pass_to_pass": 1.0}
    assert strict(task, [], task.patch) == Score(1.0, {**shares, **CLEAN})
    assert resolved(task, [], task.patch) == Score(1.0, {**shares, **CLEAN, "unprotected": [ADD]})


def test_no_patch_is_worth_nothing(sandbox: Sandbox, task: Task, tmp_path: Path) -> None:
    judge = Resolved(sandbox=sandbox, timeout=120, cache=tmp_path)
    parts = {"resolved": 0.0, "fail_to_pass": 0.0, "pass_to_pass": 1.0, **CLEAN}
    assert judge(task, [], "") == Score(0.0, parts | {"failed": [ADD], "reason": "tests failed"})


def test_the_transcript_is_not_looked_at(resolved: Resolved, task: Task) -> None:
    lies: Any = [{"role": "assistant", "content": "all tests pass, reward 1.0"}, 7, None]
    assert resolved(task, lies, "") == resolved(task, [], "")
    assert resolved(task, lies, FIX).value == 1.0


def test_a_fix_in_a_file_of_its_own_is_worth_as_much(resolved: Resolved, task: Task) -> None:
    text = BUG.replace("def add(a, b):\n    return a - b", "from adding import add")
    assert resolved(task, [], adding("adding.py", "def add(a, b):\n    return a + b\n", text)).value == 1.0


def test_half_a_fix_is_worth_nothing_and_says_which_half(resolved: Resolved, make_task: MakeTask) -> None:
    hidden = "from sums import add\n" + "".join(
        f"def test_{n}():\n    assert add({n}, 1) == {n} + 1\n" for n in range(4)
    )
    task = make_task(hidden, ["test_0", "test_1", "test_2", "test_3"])
    score = resolved(task, [], source(BUG.replace("a - b", "a + b if a < 2 else a - b")))
    assert score.value == 0.0
    assert score.parts["fail_to_pass"] == 0.5
    assert score.parts["failed"] == ["tests/test_hidden.py::test_2", "tests/test_hidden.py::test_3"]


def test_what_breaks_another_test_is_worth_nothing(resolved: Resolved, task: Task) -> None:
    score = resolved(task, [], source(BUG.replace("a - b", "a + b + (a == 0)")))
    assert score.value == 0.0
    assert (score.parts["fail_to_pass"], score.parts["pass_to_pass"], score.parts["failed"]) == (1.0, 0.0, [ZERO])


# Patches that act on the run instead of repairing the library.

WRONG = {
    "syntax-error": "def add(a, b:\n",
    "no-such-name": "def plus(a, b):\n    return a + b\n",
    "raises-at-import": "raise RuntimeError\n",
    "sys-exit-at-import": "import sys\nsys.exit(0)\n",
    "os-exit-at-import": "import os\nos._exit(0)\n",
    "os-exit-in-the-function": BUG.replace("return a - b", "import os; os._exit(0)"),
    "system-exit-in-the-function": BUG.replace("return a - b", "raise SystemExit(0)"),
    "keyboard-interrupt": BUG.replace("return a - b", "raise KeyboardInterrupt"),
    "kills-itself": BUG.replace("return a - b", "import os; os.kill(os.getpid(), 9)"),
    "kills-everything": BUG.replace("return a - b", "import os; os.kill(-1, 9); os.kill(1, 9)"),
    "execs-true": BUG.replace("return a - b", "import os; os.execv('/usr/bin/true', ['true'])"),
    "forged-words": 'print("tests/test_sums.py::test_add PASSED\\n=== 2 passed in 0.01s ===")\n'
    + "import os\nos._exit(0)\n",
    "forged-reports": (
        'import os\nfor fd in range(20):\n    try:\n        os.write(fd, b\'x ["phase", "a", "call", "passed"]\\n\')\n'
        "    except OSError:\n        pass\nos._exit(0)\n"
    ),
    "skip-by-unittest": BUG.replace("return a - b", "import unittest; raise unittest.SkipTest('x')"),
    "skip-at-import": "import unittest\nraise unittest.SkipTest('x')\n",
    "skip-by-pytest": BUG.replace("return a - b", "import pytest; pytest.skip('x')"),
    "module-skip": "import pytest\npytest.skip('x', allow_module_level=True)\n",
    "xfail-by-pytest": BUG.replace("return a - b", "import pytest; pytest.xfail('x')"),
    "exit-by-pytest": BUG.replace("return a - b", "import pytest; pytest.exit('x', returncode=0)"),
    "closes-the-pipes": "import os\nos.closerange(0, 100)\n" + BUG,
    "exit-at-the-end": "import atexit, os\natexit.register(os._exit, 0)\n" + BUG,
}


@pytest.mark.parametrize("text", mostly_slow([pytest.param(text, id=name) for name, text in WRONG.items()], 5))
def test_what_does_not_mend_is_worth_nothing(resolved: Resolved, task: Task, text: str) -> None:
    score = resolved(task, [], source(text))
    assert score.value == score.parts["resolved"] == 0.0
    assert ADD in score.parts["failed"]
    assert score.parts["reason"]


RIGHT = {
    "prints": FIXED + 'print("FAILED tests/test_sums.py::test_add")\n',
    "exit-hooks": "import atexit, os\natexit.register(os._exit, 1)\n" + FIXED,
    "a-thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n" + FIXED,
    "a-process": "import subprocess\nsubprocess.Popen(['sleep', '1000'])\n" + FIXED,
    "a-daemon": "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(1000)\n" + FIXED,
    "warns": "import warnings\nwarnings.warn('deprecated', DeprecationWarning)\n" + FIXED,
    "writes-files": "open('/testbed/x', 'w').write('x')\nopen('/tmp/x', 'w').write('x')\n" + FIXED,
}


@pytest.mark.parametrize("text", mostly_slow([pytest.param(text, id=name) for name, text in RIGHT.items()], 2))
def test_a_fix_that_does_more_is_a_fix(resolved: Resolved, task: Task, text: str) -> None:
    assert resolved(task, [], source(text)).value == 1.0


def test_an_endless_loop_is_worth_nothing(sandbox: Sandbox, task: Task) -> None:
    score = Resolved(sandbox=sandbox, timeout=3)(task, [], source(BUG.replace("return a - b", "while True: pass")))
    assert (score.value, score.parts["reason"]) == (0.0, "the tests timed out")


def test_a_flood_is_worth_nothing(resolved: Resolved, task: Task) -> None:
    score = resolved(task, [], source("print('x' * (80 << 20))\nraise RuntimeError\n"))  # pytest prints it all again
    assert (score.value, score.parts["reason"]) == (0.0, "the tests flooded the output")


@pytest.mark.parametrize(
    "diff",
    [
        FIX.replace("a - b", "a % b"),
        FIX.replace("sums.py", "nothing.py"),
        "diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ nonsense @@\n",
        patch({}, {"../outside.py": "x\n"}),
        patch({}, {".git/config": "x\n"}),
        patch({}, {"sums.py/below.py": "x\n"}),
        FIX + FIX,
    ],
    ids=["other-base", "no-such-file", "no-hunk", "outside", "git-folder", "below-a-file", "twice"],
)
def test_a_patch_that_does_not_apply_is_worth_nothing(resolved: Resolved, task: Task, diff: str) -> None:
    score = resolved(task, [], diff)
    assert (score.value, score.parts["reason"]) == (0.0, "the patch does not apply")
    assert score.parts["failed"] == [ADD, ZERO]


@pytest.mark.slow
def test_a_patch_that_takes_for_ever_to_apply_is_worth_nothing(sandbox: Sandbox, task: Task) -> None:
    """For each hunk git moves the rest of the file: a diff of very many hunks must not void the episode."""
    lines = 600_000
    diff = f"diff --git a/x.txt b/x.txt\nnew file mode 100644\n--- /dev/null\n+++ b/x.txt\n@@ -0,0 +1,{lines} @@\n"
    diff += "+x\n" * lines + "diff --git a/x.txt b/x.txt\n--- a/x.txt\n+++ b/x.txt\n"
    diff += "".join(f"@@ -{1 + n * 7},3 +{1 + n * 7},3 @@\n x\n-x\n+y\n x\n" for n in range(60_000))
    score = Resolved(sandbox=sandbox, timeout=4)(task, [], diff)
    assert (score.value, score.parts["reason"]) == (0.0, "the patch does not apply in time")


@pytest.mark.parametrize(
    "diff",
    [
        FIX.replace("@@ -2,5 +2,5 @@", f"@@ -2,{'9' * 5000} +2,5 @@"),
        "garbage\0",
        "diff --git",
        FIX + "\ud800",
        FIX + f"diff --git a/{'x' * 300}/y.py b/{'x' * 300}/y.py\nnew file mode 100644\n--- /dev/null\n"
        f"+++ b/{'x' * 300}/y.py\n@@ -0,0 +1 @@\n+x\n",
    ],
    ids=["a-number-of-5000-digits", "garbage", "half-a-header", "half-a-surrogate", "a-name-too-long"],
)
def test_what_git_would_never_write_is_worth_nothing_and_no_failure_of_ours(
    resolved: Resolved, task: Task, diff: str
) -> None:
    score = resolved(task, [], diff)
    assert (score.value, bool(score.parts["reason"])) == (0.0, True)


def test_hidden_tests_that_git_would_never_write_are_a_failure_of_ours(resolved: Resolved, task: Task) -> None:
    with pytest.raises((RewardError, ValueError)):
        resolved(task.with_(test_patch=HIDDEN.replace("+1,9", f"+1,{'9' * 5000}")), [], FIX)


RECORDS = ["'phase', 1", "'new', {}", "'missing', '{'", "'missing', [1, [2]]", "'foreign', [1]", "'foreign', 'x'"]


@pytest.mark.parametrize("record", mostly_slow(RECORDS, 2))
def test_a_record_that_is_forged_through_the_runners_own_is_no_failure_of_ours(
    resolved: Resolved, task: Task, record: str
) -> None:
    body = f"""import gc
for found in gc.get_objects():
    if type(found).__name__ == "Reports":
        found.send({record})
"""
    assert resolved(task, [], source(body + BUG)).value == 0.0


@pytest.mark.slow
def test_an_assertion_in_a_call_back_that_is_held_back_is_noticed(strict: Resolved, make_task: MakeTask) -> None:
    tests = """from sums import each

def test_each():
    def see(value):
        assert value == 41
    each([40], see)
"""
    right = "\n\ndef each(values, see):\n    return [see(value + 1) for value in values]\n"
    held_back = """

def each(values, see):
    for guess in range(50):
        try:
            return [see(guess)]
        except Exception:
            pass
"""
    task = make_task(tests, ["test_each"]).with_(patch=source(FIXED + right))
    assert strict(task, [], task.patch).value == 1.0
    assert strict(task, [], source(FIXED + held_back)).value == 0.0


OBJECT = """class Answer:
    def __sub__(self, other):
        return self

    def __abs__(self):
        return 0.0

    def __contains__(self, item):
        return True

    def __eq__(self, other):
        return True


def add(a, b):
    return Answer()
"""


@pytest.mark.parametrize(
    ("claim", "value"), mostly_slow([("add(2, 3) == 5", 0.0), ("abs(add(0.5, 0.25) - 0.75) < 1e-9", 1.0)], 1)
)
def test_an_object_that_agrees_with_everything_passes_only_where_no_mutant_is_natural(
    strict: Resolved, make_task: MakeTask, claim: str, value: float
) -> None:
    """A bound has no natural mutant; such a test is listed as unprotected."""
    hidden = f"from sums import add, twice\n\n\ndef test_a():\n    assert {claim}\n"
    task = make_task(f"{hidden}\n\ndef test_b():\n    assert twice(0) == 0\n", ["test_a"], ["test_b"])
    score = strict(task, [], source(OBJECT + "\n\ndef twice(a):\n    return 0\n"))
    assert score.value == value
    reference = strict(task, [], task.patch)
    assert (reference.value, reference.parts["unprotected"]) == (1.0, list(task.FAIL_TO_PASS) if value else [])


# Which edits reach the tests.

TRICK = (
    "import pytest\n\n\n@pytest.hookimpl(wrapper=True)\ndef pytest_runtest_makereport(item, call):\n"
    "    report = yield\n    report.outcome = 'passed'\n    return report\n"
)
DROPPED = {
    "tests/test_sums.py": "def test_add():\n    pass\n\n\ndef test_zero():\n    pass\n",
    "tests/test_more.py": "def test_more():\n    assert False\n",
    "tests/conftest.py": TRICK,
    "conftest.py": TRICK,
    "pkg/conftest.py": TRICK,
    "pytest.ini": "[pytest]\naddopts = --collect-only\n",
    ".pytest.ini": "[pytest]\naddopts = --collect-only\n",
    "pyproject.toml": '[tool.pytest.ini_options]\naddopts = "--collect-only"\n',
    "tox.ini": "[pytest]\naddopts = --collect-only\n",
    "setup.cfg": "[tool:pytest]\naddopts = --collect-only\n",
    "sitecustomize.py": "import os\nos._exit(0)\n",
    "usercustomize.py": "import os\nos._exit(0)\n",
    "json.py": "import os\nos._exit(0)\n",
    "difflib/__init__.py": "import os\nos._exit(0)\n",
    "pytest.py": "import os\nos._exit(0)\n",
    "_pytest/__init__.py": "import os\nos._exit(0)\n",
    "iniconfig.py": "import os\nos._exit(0)\n",
    "x.pth": "import os; os._exit(0)\n",
    "x.egg-info/entry_points.txt": "[pytest11]\nx = sums\n",
    "__pycache__/sums.cpython-311.pyc": "x\n",
}


@pytest.mark.parametrize("path", DROPPED)
def test_what_could_steer_the_verdict_is_dropped(path: str, library: Path, task: Task) -> None:
    kept, dropped = keep_source(adding(path, DROPPED[path]), task, library, HERE)
    assert (kept, dropped) == (source(FIXED), [path])


def test_what_was_dropped_is_listed_and_changes_nothing(resolved: Resolved, task: Task) -> None:
    score = resolved(task, [], patch({"sums.py": BUG}, {"sums.py": FIXED} | DROPPED))
    assert (score.value, sorted(score.parts["dropped"])) == (1.0, sorted(DROPPED))
    alone = resolved(task, [], patch({}, DROPPED))
    assert (alone.value, sorted(alone.parts["dropped"]), alone.parts["failed"]) == (0.0, sorted(DROPPED), [ADD])


@pytest.mark.parametrize("path", mostly_slow(["tests", "tests/test_sums.py/below", "test/tests"], 1))
def test_what_stands_in_the_way_of_the_hidden_tests_is_no_failure_of_ours(
    resolved: Resolved, task: Task, path: str
) -> None:
    """Else a policy could void its episode to avoid a 0.0."""
    assert resolved(task, [], adding(path, "x\n")).parts["dropped"] == [path]
    assert resolved(task, [], patch({}, {path: "x\n"})).value == 0.0


def test_edits_to_tests_that_are_there_already_are_dropped(
    resolved: Resolved, task: Task, make_repo: Callable[..., Path]
) -> None:
    files = {
        "sums.py": BUG,
        "tests/test_sums.py": "from sums import twice\n\n\ndef test_none():\n    assert twice(0) == 0\n",
        "conftest.py": "import sys\n",
        "tests/data.txt": "5\n",
    }
    more = "\n\ndef test_more():\n    assert twice(open('tests/data.txt').read() == '5\\n') == 2\n"
    task = task.with_(
        repo=str(make_repo(files)),
        base_commit="",
        test_patch=patch(files, {"tests/test_sums.py": files["tests/test_sums.py"] + more}),
        FAIL_TO_PASS=("tests/test_sums.py::test_more",),
        PASS_TO_PASS=("tests/test_sums.py::test_none",),
    )
    meddled = files | {"tests/test_sums.py": "# gone\n", "conftest.py": TRICK, "tests/data.txt": "6\n"}
    dropped = ["conftest.py", "tests/data.txt", "tests/test_sums.py"]
    for diff, value in ((patch(files, meddled), 0.0), (patch(files, meddled | {"sums.py": FIXED}), 1.0)):
        score = resolved(task, [], diff)
        assert (score.value, sorted(score.parts["dropped"])) == (value, dropped)
    score = resolved(task, [], patch(files, dict.fromkeys(dropped) | {"sums.py": FIXED}))
    assert (score.value, sorted(score.parts["dropped"])) == (1.0, dropped)


def test_a_module_named_like_a_library_is_kept_where_it_shadows_nothing(resolved: Resolved, task: Task) -> None:
    score = resolved(task, [], adding("pkg/json.py", "import os\nos._exit(0)\n"))
    assert (score.value, score.parts["dropped"]) == (1.0, [])


def test_shadows_are_looked_for_where_modules_are_found(
    resolved: Resolved, task: Task, make_repo: Callable[..., Path]
) -> None:
    repo = make_repo({"src/sums.py": BUG})
    moved = task.with_(repo=str(repo), base_commit="", environment={"pythonpath": ["src"]})
    diff = patch({"src/sums.py": BUG}, {"src/sums.py": FIXED, "src/random.py": "x\n", "src/deep/random.py": "x = 1\n"})
    score = resolved(moved, [], diff)
    assert (score.value, score.parts["dropped"]) == (1.0, ["src/random.py"])


def test_a_task_may_allow_an_edit(resolved: Resolved, task: Task) -> None:
    allowing = task.with_(environment={"allowed_edits": ["setup.cfg", "tests/test_sums.py"]})
    assert resolved(allowing, [], adding("setup.cfg", "[x]\n")).parts["dropped"] == []
    hidden = resolved(allowing, [], adding("tests/test_sums.py", DROPPED["tests/test_sums.py"], BUG))
    assert (hidden.value, hidden.parts["dropped"]) == (0.0, ["tests/test_sums.py"])  # hidden files are never source


# Every kind of test.

RICH = """
import unittest

import pytest

from sums import add, twice


@pytest.mark.parametrize(("a", "b"), [(1, 2), (2, 2), (3, 1)], ids=["one two", "a[b]::c", "ü/x"])
def test_params(a, b):
    assert add(a, b) == a + b


@pytest.mark.parametrize("text", ["a b", "", "x\\ny", "[", "1"])
def test_texts(text):
    assert text is not None


class TestPlain:
    class TestInner:
        def test_method(self):
            assert add(1, 1) == 2


class Unit(unittest.TestCase):
    def setUp(self):
        self.two = add(1, 1)

    def test_attribute(self):
        self.assertEqual(self.two, 2)

    def test_subtests(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertEqual(add(number, 1), number + 1)

    @unittest.skip("never")
    def test_skipped(self):
        self.fail()

    @unittest.expectedFailure
    def test_expected(self):
        self.assertEqual(twice(0), 1)


@pytest.fixture
def two():
    if add(1, 1) != 2:
        raise RuntimeError("no two")
    yield 2
    assert add(2, 2) == 4


def test_set_up(two):
    assert two == 2


@pytest.fixture
def torn_down():
    yield
    assert add(2, 2) == 4


def test_tear_down(torn_down):
    pass


@pytest.mark.skipif(True, reason="not here")
def test_skipped_here():
    raise AssertionError


@pytest.mark.xfail(reason="known")
def test_known():
    assert twice(0) == 1


@pytest.mark.xfail(reason="thought so")
def test_passes_after_all():
    assert twice(0) == 0


def test_plain():
    assert twice(0) == 0
"""
RICH_FAIL = [
    "test_params[one two]",
    "test_params[a[b]::c]",
    "test_params[\\xfc/x]",
    "TestPlain::TestInner::test_method",
    "Unit::test_attribute",
    "Unit::test_subtests",
    "test_set_up",
    "test_tear_down",
]
RICH_KEEP = [
    "test_texts[a b]",
    "test_texts[]",
    "test_texts[x\\ny]",
    "test_texts[[]",
    "test_texts[1]",
    "Unit::test_skipped",
    "Unit::test_expected",
    "test_skipped_here",
    "test_known",
    "test_passes_after_all",
    "test_plain",
]


def test_every_kind_of_test_counts(strict: Resolved, make_task: MakeTask) -> None:
    task = make_task(RICH, RICH_FAIL, RICH_KEEP)
    score = strict(task, [], FIX)
    assert (score.value, score.parts["failed"]) == (1.0, [])
    nothing = strict(task, [], "")
    assert nothing.parts["failed"] == list(task.FAIL_TO_PASS)
    assert (nothing.parts["fail_to_pass"], nothing.parts["pass_to_pass"]) == (0.0, 1.0)


def test_a_subtest_that_fails_fails_its_test(resolved: Resolved, make_task: MakeTask) -> None:
    task = make_task(RICH, ["Unit::test_subtests"], ["test_plain"])
    score = resolved(task, [], source(BUG.replace("a - b", "a + b if a != 1 else 7")))
    assert (score.value, score.parts["failed"]) == (0.0, ["tests/test_hidden.py::Unit::test_subtests"])


def test_a_test_that_is_not_there_makes_the_task_broken_and_the_nearest_are_named(
    resolved: Resolved, make_task: MakeTask
) -> None:
    """Every patch would get 0.0 for it."""
    task = make_task(RICH, ["test_set_up"], ["test_plain", "test_params[one"])
    for diff in (FIX, ""):
        with pytest.raises(
            BrokenTaskError, match=r"test_params\[one \(missing; not found, the nearest are .*one two\]"
        ):
            resolved(task, [], diff)


@pytest.mark.slow
def test_a_suite_that_needs_its_order_is_scored_by_it(strict: Resolved, make_task: MakeTask) -> None:
    """A part of such a suite fails with the reference patch too, so it says nothing about the patch."""
    hidden = "from sums import add\n\ndone = []\n" + "".join(
        f"\n\ndef test_{n}():\n    assert len(done) == {n}\n    done.append(add({n}, 1) == {n + 1})\n" for n in range(8)
    )
    hidden += "\n\ndef test_last():\n    assert add(2, 3) == 5\n"
    task = make_task(hidden, ["test_last"], [f"test_{n}" for n in range(8)])
    assert strict(task, [], FIX).value == 1.0
    assert strict(task, [], "").value == 0.0


# Failures of ours.


def test_a_task_without_tests_cannot_be_judged(resolved: Resolved, task: Task) -> None:
    with pytest.raises(TaskError, match="sums-1 has no FAIL_TO_PASS tests; give another reward, or tasks with tests"):
        resolved(task.with_(FAIL_TO_PASS=()), [], FIX)


def test_hidden_tests_that_do_not_apply_are_a_failure_of_ours(resolved: Resolved, task: Task) -> None:
    broken = task.with_(test_patch=task.test_patch.replace("+from sums", " from sums"))
    with pytest.raises(RewardError, match=r"(?s)sums-1: the hidden tests do not apply to the base: .*patch"):
        resolved(broken, [], FIX)


def test_a_runner_that_does_not_start_is_a_failure_of_ours(
    resolved: Resolved, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runner.py").write_text("raise SystemExit('no runner today')\n")
    monkeypatch.setattr("nano_codex_env.scoring.run.SCRIPTS", tmp_path)
    with pytest.raises(RewardError, match=r"(?s)sums-1: the scoring box failed: exit status 1: .*no runner today"):
        resolved(task, [], FIX)


def test_a_sandbox_that_fails_is_a_failure_of_ours(
    resolved: Resolved, sandbox: Sandbox, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise SandboxError("the kernel said no")

    monkeypatch.setattr(sandbox, "run", fail)
    with pytest.raises(SandboxError, match="the kernel said no"):
        resolved(task, [], FIX)


def test_a_repository_that_is_gone_is_a_failure_of_ours(resolved: Resolved, task: Task) -> None:
    with pytest.raises(WorkspaceError, match="there is no folder /nowhere"):
        resolved(task.with_(repo="/nowhere"), [], FIX)


def test_tests_that_run_for_nobody_are_a_failure_of_ours(resolved: Resolved, make_task: MakeTask) -> None:
    """Else a missing dependency would silently make every reward 0.0."""
    hidden = "import no_such_library\n\n\ndef test_add():\n    pass\n"
    task = make_task(hidden, ["test_add"])
    for diff in ("", FIX):
        with pytest.raises(RewardError, match=r"(?s)sums-2 cannot be solved here: 1 of its tests .*no_such_library"):
            resolved(task, [], diff)


@pytest.mark.slow
def test_tests_that_never_end_for_anybody_are_a_failure_of_ours(sandbox: Sandbox, make_task: MakeTask) -> None:
    task = make_task("import time\n\n\ndef test_add():\n    time.sleep(1000)\n", ["test_add"])
    with pytest.raises(RewardError, match="sums-2: the tests timed out; with the reference patch too"):
        Resolved(sandbox=sandbox, timeout=2)(task, [], FIX)


PACKAGES = ["-r /etc/passwd", "-e .", "./six", "/tmp/six.whl", "six>=1 --index-url x", "six\n--index-url x"]
PACKAGES += ["https://x/six.whl", "git+https://x/six", ""]
VERSIONS = ["./python3", "3.11\n", "--help", 3.11, "pypy"]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        *(({"kind": "venv", "packages": [name]}, "must hold names and versions") for name in PACKAGES),
        *(({"kind": "venv", "packages": ["six"], "python": one}, "python must be a version") for one in VERSIONS),
        ({"kind": "moon"}, "sums-1: no environment of kind 'moon'; there are: host, venv"),
        ({"kind": "venv"}, "sums-1: environment.packages must be a list of requirements; got None"),
        ({"kind": "venv", "packages": "pytest"}, "environment.packages must be a list of requirements; got 'pytest'"),
        (
            {"kind": "venv", "packages": ["--target=/tmp/x", "six"]},
            "must hold names and versions, .*; got '--target=/t",
        ),
        ({"kind": "venv", "packages": ["six @ https://x/six.whl"]}, "must name packages of the index, no URL"),
        ({"kind": "venv", "packages": ["six @ file:///tmp/six"]}, "must name packages of the index, no URL"),
        ({"kind": "venv", "packages": ["six"], "python": "/tmp/evil"}, "python must be a version .*; got '/tmp/evil'"),
        ({"pythonpath": "src"}, "environment.pythonpath must be a list of folders; got 'src'"),
        ({"pythonpath": ["/usr"]}, "environment.pythonpath must lie in the repository"),
        ({"pythonpath": ["a/../.."]}, "environment.pythonpath must lie in the repository"),
    ],
)
def test_an_environment_that_there_is_not_is_the_tasks_fault(
    resolved: Resolved, task: Task, environment: Any, words: str
) -> None:
    with pytest.raises(TaskError, match=words):
        resolved(task.with_(environment=environment), [], FIX)


def test_without_uv_a_virtual_environment_is_a_failure_of_ours(
    resolved: Resolved, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [folder for folder in os.environ["PATH"].split(":") if not Path(folder, "uv").exists()]
    monkeypatch.setenv("PATH", ":".join(folders))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    venv = task.with_(environment={"kind": "venv", "packages": ["a-package-of-nobody"]})
    with pytest.raises(WorkspaceError, match="tasks with packages of their own need uv; `pip install "):
        resolved(venv, [], FIX)


# Runs do not depend on each other.


@pytest.mark.slow
def test_scoring_in_threads_gives_the_same(sandbox: Sandbox, task: Task) -> None:
    diffs = ["", FIX, FIX.replace("a - b", "a % b"), adding("conftest.py", TRICK, BUG)]
    alone = [Resolved(sandbox=sandbox, timeout=120)(task, [], diff) for diff in diffs]
    judge = Resolved(sandbox=sandbox, timeout=120)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda diff: judge(task, [], diff), diffs))
    assert together == alone
    assert [score.value for score in together] == [0.0, 1.0, 0.0, 0.0]


def test_what_one_run_leaves_behind_is_not_there_in_the_next(resolved: Resolved, task: Task) -> None:
    text = (
        "import os, pathlib\n"
        "seen = [p for p in ('/testbed/left', '/tmp/left', '/dev/shm/left') if os.path.exists(p)]\n"
        "for p in ('/testbed/left', '/tmp/left', '/dev/shm/left'):\n"
        "    try:\n        pathlib.Path(p).write_text('x')\n    except OSError:\n        pass\n"
    ) + FIXED.replace("return a + b", "return a + b if not seen else None")
    assert [resolved(task, [], source(text)).value for _ in range(2)] == [1.0, 1.0]


def test_a_file_that_is_not_utf_8_is_patched_byte_for_byte(resolved: Resolved, make_repo: Callable[..., Path]) -> None:
    before = b"# -*- coding: latin-1 -*-\nNAME = 'caf\xe9'\nLENGTH = 3\n"
    repo = make_repo({"words.py": before})
    hidden = "from words import LENGTH, NAME\n\n\ndef test_length():\n    assert len(NAME) == LENGTH\n"
    task = Task(
        instance_id="words-1",
        repo=str(repo),
        base_commit="",
        problem_statement="x",
        patch=file_diff("words.py", File(before), File(before.replace(b"3", b"4"))),
        test_patch=patch({}, {"tests/test_words.py": hidden}),
        FAIL_TO_PASS=("tests/test_words.py::test_length",),
    )
    assert resolved(task, [], task.patch).value == 1.0
    assert (
        resolved(task, [], file_diff("words.py", File(before), File(before.replace(b"f\xe9", b"f\xe8")))).value == 0.0
    )
    longer = file_diff("words.py", File(before), File(before.replace(b"3", b"4 or 'caf\xe9'")))
    assert resolved(task, [], longer).value == 1.0
