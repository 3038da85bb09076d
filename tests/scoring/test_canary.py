"""Canaries reveal code that makes every test pass, and never fail a right patch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from nano_codex_env import Resolved, Score, Task
from nano_codex_env.errors import RewardError
from nano_codex_env.rewards import generic_hacks
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.scoring import TAMPERED, TestRun
from nano_codex_env.scoring.canary import make_canaries
from tests.conftest import BUG, git, mostly_slow
from tests.rewards.patches import FIXED, Files, patch

BASIC = """from sums import add


def test_add():
    assert add(2, 3) == 5


def test_zero():
    assert add(0, 0) == 0
"""
TESTS = "tests/test_sums.py"

MakeTask = Callable[..., Task]


@pytest.fixture
def make_task(make_repo: Callable[..., Path]) -> MakeTask:
    """A task over a repository with these files beside the library, and these hidden tests."""

    def make(
        base: Files,
        hidden: Files | None = None,
        *,
        fail: Iterable[str] = ("::test_add",),
        keep: Iterable[str] = ("::test_zero",),
        source: str = "sums.py",
        **fields: object,
    ) -> Task:
        hidden = hidden or {TESTS: BASIC}
        first = next(iter(hidden))
        repo = make_repo({source: BUG, **base})
        values = {
            "patch": patch({source: BUG}, {source: FIXED}),
            "test_patch": patch(base, hidden),
            "FAIL_TO_PASS": tuple(f"{first}{test}" if test.startswith("::") else test for test in fail),
            "PASS_TO_PASS": tuple(f"{first}{test}" if test.startswith("::") else test for test in keep),
        }
        return Task("sums-1", str(repo), git(repo, "rev-parse", "HEAD"), "x").with_(**{**values, **fields})

    return make


def once(sandbox: Sandbox, task: Task, diff: str) -> Score:
    """The score by one run of the tests, with nothing kept of what was scored before."""
    return Resolved(sandbox=sandbox, timeout=120, integrity="fast")(task, [], diff)


# What makes every test pass.

FORGERS = {
    "one-of-the-generic-hacks": "it patches pytest's reports from inside",
    "runs-no-test": "import sys\nsys.modules['_pytest.python'].Function.runtest = lambda self: None\n",
    "forgets-exceptions": (
        "import sys\n_C = sys.modules['_pytest.runner'].CallInfo\n_init = _C.__init__\n"
        "def _new(self, result, excinfo, *a, **k):\n    _init(self, result or [], None, *a, **k)\n_C.__init__ = _new\n"
    ),
    "a-plugin-of-its-own": (
        "import gc, pytest\nclass _P:\n    @pytest.hookimpl(hookwrapper=True)\n"
        "    def pytest_runtest_makereport(self, item, call):\n        out = yield\n"
        "        out.get_result().outcome = 'passed'\n"
        "for _o in gc.get_objects():\n    if type(_o).__name__ == 'PytestPluginManager':\n        _o.register(_P())\n"
    ),
    "everything-is-equal": (
        "import sys\ndef _call(self):\n    try:\n        _run(self)\n    except AssertionError:\n        pass\n"
        "_F = sys.modules['_pytest.python'].Function\n_run = _F.runtest\n_F.runtest = _call\n"
    ),
}


@pytest.mark.parametrize("code", mostly_slow([pytest.param(code, id=name) for name, code in FORGERS.items()], 3))
def test_what_makes_every_test_pass_is_worth_nothing_and_told(code: str, make_task: MakeTask, sandbox: Sandbox) -> None:
    task = make_task({})
    forged = generic_hacks(task)[code] if code.startswith("it ") else patch({"sums.py": BUG}, {"sums.py": code + BUG})
    score = once(sandbox, task, forged)
    assert (score.value, score.parts["reason"], score.parts["fail_to_pass"]) == (0.0, TAMPERED, 0.0)
    assert score.parts["failed"] == [f"{TESTS}::test_add", f"{TESTS}::test_zero"]


def test_a_fix_does_not_pay_for_a_forgery(make_task: MakeTask, sandbox: Sandbox) -> None:
    forging = patch({"sums.py": BUG}, {"sums.py": FORGERS["runs-no-test"] + FIXED})
    score = once(sandbox, make_task({}), forging)
    assert (score.value, score.parts["reason"]) == (0.0, TAMPERED)


@pytest.mark.parametrize(
    "text",
    [BUG, "def add(a, b:\n", "raise RuntimeError\n", "import os\nos._exit(0)\n", "import pytest\npytest.skip('x')\n"],
    ids=["bug", "syntax-error", "raises", "exits", "skips"],
)
def test_what_does_not_mend_is_no_forgery(text: str, make_task: MakeTask, sandbox: Sandbox) -> None:
    """A missing canary is no sign of tampering."""
    score = once(sandbox, make_task({}), patch({"sums.py": BUG}, {"sums.py": text + "\n"}))
    assert score.value == 0.0
    assert score.parts["reason"] not in ("", TAMPERED)


# Names.


def test_canaries_stand_beside_the_tests_under_names_that_vary(tmp_path: Path) -> None:
    made = [make_canaries(tmp_path, "tests/unit/test_sums.py") for _ in range(40)]
    assert {canaries.path.rpartition("/")[0] for canaries in made} == {"tests/unit"}
    assert all(canaries.path.rpartition("/")[2].startswith("test_") for canaries in made)
    assert len({canaries.path for canaries in made}) > 10
    assert len({canaries.failing for canaries in made}) > 10
    assert len({canaries.text for canaries in made}) > 10
    assert {canaries.text.index(canaries.failing.rpartition(":")[2]) < 9 for canaries in made} == {True, False}
    assert "/" not in make_canaries(tmp_path, "test_sums.py").path


def test_no_name_gives_a_canary_away() -> None:
    words = " ".join(f"{made.path} {made.text}" for made in (make_canaries(Path(), "t/test_x.py") for _ in range(40)))
    assert not [word for word in ("canary", "fail", "pass", "nano", "hidden", "score") if word in words.lower()]


def test_one_of_the_two_passes_and_the_other_fails(tmp_path: Path) -> None:
    for _ in range(20):
        canaries = make_canaries(tmp_path, "test_x.py")
        found: dict[str, Callable[[], None]] = {}
        exec(compile(canaries.text, canaries.path, "exec"), found)
        found[canaries.passing.partition("::")[2]]()
        with pytest.raises(AssertionError):
            found[canaries.failing.partition("::")[2]]()


def test_a_canary_takes_no_name_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    for _ in range(60):  # of some hundred names, so that a second draw of one is all but certain
        path = tmp_path / make_canaries(tmp_path, "tests/test_x.py").path
        assert not path.exists()
        path.touch()
    again = make_canaries(Path(), "tests/test_x.py").path
    assert all(make_canaries(Path(), again).path != again for _ in range(300))


def test_canaries_judge_by_the_one_that_must_fail(tmp_path: Path) -> None:
    canaries = make_canaries(tmp_path, "test_x.py")
    for status in ("failed", "skipped", "missing", "xfailed"):
        run = TestRun({canaries.passing: "passed", canaries.failing: status})
        assert canaries.judge(run) is run
    forged = canaries.judge(TestRun({canaries.failing: "passed", "t.py::test_x": "passed"}, output="words"))
    assert (forged.reason, forged.status("t.py::test_x"), forged.output) == (TAMPERED, "missing", "words")
    assert canaries.judge(TestRun({canaries.failing: "passed"}, "the tests timed out")).reason == "the tests timed out"


# Layouts in which a right patch is right.

FIXTURE = "import pytest\n\n\n@pytest.fixture(autouse=True{scope})\ndef thing(request):\n    {body}\n"
DATA = "DATA = 1\n" + BASIC
HOOK = "import pytest\n\n\ndef {name}({arguments}):\n    {body}\n"
MARKED = "import pytest\n\npytestmark = pytest.mark.unit\n" + BASIC
UNIT = (
    "import unittest\n\nfrom sums import add\n\n\nclass Sums(unittest.TestCase):\n    def test_add(self):\n"
    "        self.assertEqual(add(2, 3), 5)\n\n    def test_zero(self):\n        self.assertEqual(add(0, 0), 0)\n"
)
ASYNC_UNIT = UNIT.replace("TestCase", "IsolatedAsyncioTestCase").replace("    def test", "    async def test")
COROUTINE = "import asyncio\n\n    async def zero():\n        return add(0, 0)\n\n    assert asyncio.run(zero()) == 0"
READ_FIVE = "int(__import__('pathlib').Path(__file__).with_name('data').joinpath('five.txt').read_text())"
WRITE_FIVE = (
    "(tmp_path / 'five').write_text('5')\n    assert int((tmp_path / 'five').read_text()) == 5\n    assert add(2"
)
FAILING = "if report.failed:\n        pytest.exit('the first failure')"
STRANGER = "file_path.parent.name == 'tests' and file_path.name != 'test_sums.py'"

IMPORTS_ALL = (
    "import importlib, pkgutil\nfor m in pkgutil.iter_modules(__path__):\n"
    "    assert importlib.import_module(f'tests.{m.name}').DATA\n"
)


def hook(name: str, arguments: str, body: str) -> dict[str, str]:
    return {"conftest.py": HOOK.format(name=name, arguments=arguments, body=body)}


def fixture(body: str, scope: str = "function") -> dict[str, str]:
    return {"conftest.py": FIXTURE.format(scope=f", scope='{scope}'", body=body)}


LAYOUTS: dict[str, tuple[Files, Files | None]] = {
    "tests-at-root": ({}, {"test_sums.py": BASIC}),
    "tests-folder-with-init": ({"tests/__init__.py": ""}, None),
    "root-is-a-package": ({"__init__.py": ""}, None),
    "tests-in-the-package": ({"pkg/__init__.py": "", "pkg/tests/__init__.py": ""}, {"pkg/tests/test_sums.py": BASIC}),
    "two-folders": ({}, {"tests/a/test_sums.py": BASIC, "tests/b/test_more.py": BASIC}),
    "python-files": ({"pytest.ini": "[pytest]\npython_files = check_*.py\n"}, {"tests/check_sums.py": BASIC}),
    "importlib": ({"pyproject.toml": "[tool.pytest.ini_options]\naddopts = ['--import-mode=importlib']\n"}, None),
    "xdist": ({"pyproject.toml": "[tool.pytest.ini_options]\naddopts = ['-n', 'auto', '--dist', 'loadfile']\n"}, None),
    "coroutine": ({}, {TESTS: BASIC.replace("assert add(0, 0) == 0", COROUTINE)}),
    "data-file": ({"tests/data/five.txt": "5\n"}, {TESTS: BASIC.replace("== 5", f"== {READ_FIVE}")}),
    "temporary-folder": (
        {},
        {TESTS: BASIC.replace("test_add():", "test_add(tmp_path):").replace("assert add(2", WRITE_FIVE)},
    ),
    "strict": ({"pytest.ini": "[pytest]\naddopts = -x --strict-markers --strict-config\nxfail_strict = true\n"}, None),
    "fixture-reads-the-module": (fixture("assert request.module.DATA == 1"), {TESTS: DATA}),
    "fixture-of-modules": (fixture("assert request.module.DATA == 1", "module"), {TESTS: DATA}),
    "fixture-reads-a-mark": (fixture("assert request.node.get_closest_marker('unit').args == ()"), {TESTS: MARKED}),
    "hook-deselects": (
        hook("pytest_collection_modifyitems", "items", "items[:] = [i for i in items if i.get_closest_marker('unit')]"),
        {TESTS: MARKED},
    ),
    "hook-wants-a-mark": (
        hook("pytest_collection_modifyitems", "items", "assert all(i.get_closest_marker('unit') for i in items)"),
        {TESTS: MARKED},
    ),
    "hook-wants-a-docstring": (
        hook("pytest_itemcollected", "item", "assert item.obj.__doc__, item"),
        {TESTS: BASIC.replace("():\n", "():\n    '''What it does.'''\n")},
    ),
    "hook-wants-cases": (hook("pytest_generate_tests", "metafunc", "assert metafunc.module.DATA"), {TESTS: DATA}),
    "hook-refuses-files": (hook("pytest_collect_file", "file_path", f"assert not ({STRANGER}), file_path"), None),
    "hook-ignores-files": ({"tests/conftest.py": "collect_ignore_glob = ['test_*_*.py']\n"}, None),
    "stops-at-a-failure": (hook("pytest_configure", "config", "config.option.maxfail = 1"), None),
    "exits-at-a-failure": (hook("pytest_runtest_logreport", "report", FAILING), None),
    "counts-tests": (
        fixture("import sums; sums.made = getattr(sums, 'made', 0) + 1"),
        {TESTS: BASIC.replace("assert add(2, 3) == 5", "import sums; assert (add(2, 3), sums.made) == (5, 1)")},
    ),
    "looks-back-at-the-end": (fixture("yield; assert not request.session.testsfailed", "session"), None),
    "looks-at-all-tests": (
        fixture("assert all(i.module.DATA for i in request.session.items)", "session"),
        {TESTS: DATA},
    ),
    "reads-its-folder": (
        {},
        {
            TESTS: BASIC.replace(
                "assert add(0", "import os; assert os.listdir('tests') == ['test_sums.py']; assert add(0"
            )
        },
    ),
    "wants-a-licence": (
        {},
        {
            TESTS: "# Licence\nfrom pathlib import Path\n"
            + BASIC.replace(
                "assert add(0",
                "assert all(p.read_text().startswith('# Licence') for p in Path('tests').glob('*.py')); assert add(0",
            )
        },
    ),
    "imports-all-of-its-folder": ({"tests/__init__.py": IMPORTS_ALL}, {TESTS: DATA}),
    "runs-pytest-itself": (
        {},
        {
            TESTS: BASIC.replace(
                "assert add(0",
                "import pytest; assert pytest.main(['-q', 'tests', '-k', 'add or not zero']) == 0; assert add(0",
            )
        },
    ),
}


@pytest.mark.parametrize(
    ("base", "hidden"), mostly_slow([pytest.param(*files, id=name) for name, files in LAYOUTS.items()], 6)
)
def test_the_reference_is_worth_one(base: Files, hidden: Files | None, make_task: MakeTask, sandbox: Sandbox) -> None:
    task = make_task(base, hidden)
    score = once(sandbox, task, task.patch)
    assert (score.value, score.parts["reason"]) == (1.0, "")


EVERY = {"conftest.py": "import pytest\n\n\n@pytest.fixture(autouse=True, params='ab')\ndef kind(): pass\n"}
IN_CLASS: dict[str, object] = {"base": {}, "fail": ["::Sums::test_add"], "keep": ["::Sums::test_zero"]}
TASKS: dict[str, dict[str, object]] = {
    "unittest": {**IN_CLASS, "hidden": {TESTS: UNIT}},
    "async-unittest": {**IN_CLASS, "hidden": {TESTS: ASYNC_UNIT}},
    "sources-in-a-folder": {"base": {}, "source": "src/sums.py", "environment": {"pythonpath": ["src"]}},
    "parameters": {"base": EVERY, "fail": ["::test_add[a]", "::test_add[b]"], "keep": ["::test_zero[a]"]},
}


@pytest.mark.parametrize("fields", TASKS.values(), ids=TASKS)
def test_the_reference_of_other_tasks_is_worth_one(
    fields: dict[str, object], make_task: MakeTask, sandbox: Sandbox
) -> None:
    task = make_task(**fields)
    assert once(sandbox, task, task.patch).value == 1.0


def test_a_folder_that_is_a_link_is_worth_one(make_task: MakeTask, sandbox: Sandbox, tmp_path: Path) -> None:
    """The tests are named by the link; git writes nothing beyond one."""
    task = make_task({"pkg/tests/data.txt": "x\n"}, {"pkg/tests/test_sums.py": BASIC})
    repo = Path(task.repo)
    (repo / "tests").symlink_to("pkg/tests")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "link")
    linked = task.with_(
        base_commit=git(repo, "rev-parse", "HEAD"),
        FAIL_TO_PASS=(f"{TESTS}::test_add",),
        PASS_TO_PASS=(f"{TESTS}::test_zero",),
    )
    assert once(sandbox, linked, linked.patch).value == 1.0


def drawn() -> list[str]:
    """Nearly all the names that a canary may have."""
    return sorted({make_canaries(Path(), "test_x.py").path for _ in range(600)})


def test_hidden_files_of_such_names_are_worth_one(make_task: MakeTask, sandbox: Sandbox) -> None:
    task = make_task({}, {TESTS: BASIC, **{f"tests/{name}": "X = 1\n" for name in drawn()}})
    assert once(sandbox, task, task.patch).value == 1.0


def test_files_of_such_names_elsewhere_are_worth_one(make_task: MakeTask, sandbox: Sandbox) -> None:
    """Without packages pytest takes each name once."""
    others = {f"other/{name}": BASIC for name in drawn()}
    task = make_task(others, keep=[f"{name}::test_zero" for name in others])
    assert once(sandbox, task, task.patch).value == 1.0


@pytest.mark.slow
def test_each_score_meets_the_same_order(make_task: MakeTask, sandbox: Sandbox) -> None:
    """A suite that depends on its order is run in the same order each time."""
    lines = ["from sums import add", "seen = set()"]
    for n in range(8):
        lines += [f"def test_{n}():", f"    seen.add({n})", f"    assert add({n}, 1) == {n + 1}"]
        lines += [f"    assert {n - 1} in seen"] if n % 2 else []
    task = make_task({}, {TESTS: "\n".join(lines) + "\n"}, fail=[f"::test_{n}" for n in range(8)], keep=[])
    for _ in range(4):
        assert Resolved(sandbox=sandbox, timeout=120)(task, [], task.patch).value == 1.0


def test_a_suite_that_makes_every_test_pass_is_no_fault_of_the_patch(make_task: MakeTask, sandbox: Sandbox) -> None:
    """With its own hooks the reference would be a forgery too: a failure of ours, if anything."""
    body = "if not hasattr(item.module, 'DATA'): item.runtest = lambda: None"
    task = make_task(hook("pytest_runtest_setup", "item", body), {TESTS: DATA})
    try:
        value = once(sandbox, task, task.patch).value
    except RewardError:
        return
    assert value == 1.0


def test_the_words_of_an_error_name_no_file_that_is_not_there(make_task: MakeTask, sandbox: Sandbox) -> None:
    task = make_task({}, {TESTS: "def test_add():\n    assert False\n"}, keep=[])
    with pytest.raises(RewardError, match="cannot be solved here") as caught:
        once(sandbox, task, task.patch)
    assert set(re.findall(r"[\w/]*test_\w+\.py", str(caught.value))) == {TESTS}
