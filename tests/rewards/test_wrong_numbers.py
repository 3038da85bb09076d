"""Cases that once gave a right patch 0.0, a wrong one 1.0, or a score where the failure was ours."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import Resolved, Task
from nano_codex_env.adapters.verl_reward import patch_in
from nano_codex_env.cache import cache_dir
from nano_codex_env.curation import prepare
from nano_codex_env.diff import File, file_diff
from nano_codex_env.errors import BrokenTaskError, RewardError, TaskError
from nano_codex_env.repo.base_tree import base_tree
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.scoring import Scorer
from nano_codex_env.scoring.hidden_tests import hidden_files
from tests.conftest import BUG, git
from tests.rewards.patches import FIXED, Files, patch

HIDDEN = "from sums import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n"
SHOWN = 'from sums import add\n\n\ndef plus(a, b):\n    """\n    >>> plus(2, 3)\n    5\n    """\n    return add(a, b)\n'
SLOW_OPTION = (
    "from sums import add\n\n\ndef test_add(request):\n    assert request.config.getoption('slow') and add(2, 3) == 5\n"
)
MakeTask = Callable[..., Task]


@pytest.fixture(scope="module")
def fast(sandbox: Sandbox) -> Resolved:
    return Resolved(sandbox=sandbox, timeout=120, integrity="fast")


@pytest.fixture
def make_task(make_repo: Callable[..., Path]) -> MakeTask:
    """A task over a repository with these files beside the library, and one hidden test file."""

    def make(
        hidden: str = HIDDEN,
        base: Files | None = None,
        fail: tuple[str, ...] = ("tests/test_hidden.py::test_add",),
        file: str = "tests/test_hidden.py",
        fix: Files | None = None,
        **fields: Any,
    ) -> Task:
        files = {"sums.py": BUG, **(base or {})}
        repo = make_repo(files)
        values = {"patch": patch(files, fix or {"sums.py": FIXED}), "test_patch": patch({}, {file: hidden})}
        commit = git(repo, "rev-parse", "HEAD")
        task = Task("sums-1", str(repo), commit, "add(2, 3) gives -1", FAIL_TO_PASS=fail)
        return task.with_(**{**values, **fields})

    return make


def both(judge: Resolved, task: Task) -> tuple[float, float]:
    """The values of the reference patch and of no patch."""
    return judge(task, [], task.patch).value, judge(task, [], "").value


# Git, and what surrounds it.


def test_a_temporary_folder_inside_a_work_tree(
    fast: Resolved, make_task: MakeTask, make_repo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git found the repository above and skipped every hidden file: no patch 1.0, the right one 0.0."""
    old = {"tests/test_hidden.py": "def test_old():\n    pass\n"}
    task = make_task(base=old, test_patch=patch(old, {"tests/test_hidden.py": HIDDEN}))
    elsewhere = make_repo({"x.txt": "x\n"}, "elsewhere")
    monkeypatch.setenv("TMPDIR", str(elsewhere))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert both(fast, task) == (1.0, 0.0)


def test_a_test_patch_that_changes_nothing_is_ours(fast: Resolved, make_task: MakeTask) -> None:
    head = "diff --git a/sums.py b/sums.py\n--- a/sums.py\n+++ b/sums.py\n@@ -1,2 +1,2 @@\n"
    same = head + '-"""Sums."""\n+"""Sums."""\n \n'
    task = make_task(test_patch=same)
    with pytest.raises(RewardError, match=r"the hidden tests do not apply to the base: git left sums\.py unchanged"):
        fast(task, [], task.patch)


@pytest.mark.parametrize(
    "change", [lambda text: text.rstrip("\n"), lambda text: text.replace("\n", "\r\n")], ids=["no-last-newline", "crlf"]
)
def test_one_reading_of_patches(fast: Resolved, make_task: MakeTask, change: Callable[[str], str]) -> None:
    """Data sets and models strip; verl's reading took such a patch, ours gave 0.0, or raised for hidden tests."""
    task = make_task()
    assert fast(task, [], change(task.patch)).value == 1.0
    damaged = task.with_(test_patch=change(task.test_patch), patch=change(task.patch))
    assert both(fast, damaged) == (1.0, 0.0)
    assert patch_in(f"```diff\n{change(task.patch).strip()}\n```") == task.patch


def test_line_ends_that_are_the_files_own_stay(fast: Resolved, make_task: MakeTask) -> None:
    before, after = ({"sums.py": text.replace("\n", "\r\n")} for text in (BUG, FIXED))
    assert both(fast, make_task(base=before, fix=after)) == (1.0, 0.0)


def test_a_fork_while_boxes_come_up(fast: Resolved, make_task: MakeTask) -> None:
    """The child held the pipes' ends: the runner waited for an end of its input, and the patch "did not apply"."""
    task = make_task()
    done, children = threading.Event(), []

    def fork() -> None:
        while not done.wait(0.01):
            child = os.fork()
            if child == 0:
                os.closerange(0, 3)
                threading.Event().wait(30)
                os._exit(0)
            children.append(child)

    thread = threading.Thread(target=fork)
    thread.start()
    try:
        assert fast(task, [], task.patch).value == 1.0
    finally:
        done.set()
        thread.join()
        for child in children:
            os.kill(child, 9)
            os.waitpid(child, 0)


# What breaks for everybody.


def test_a_run_that_breaks_off_with_the_reference_patch_too_is_ours(fast: Resolved, make_task: MakeTask) -> None:
    """It was 0.0 and the flag of a forger."""
    task = make_task(base={"conftest.py": "def pytest_sessionfinish():\n    import os\n    os._exit(3)\n"})
    with pytest.raises(RewardError, match=r"the run ended early .*; with the reference patch too"):
        fast(task, [], task.patch)


def test_a_module_that_cannot_be_imported_costs_its_own_tests_only(fast: Resolved, make_task: MakeTask) -> None:
    """One such module stopped the session, so all tests of all files were missing."""
    task = make_task(
        base={"tests/test_other.py": "from sums import twice\n\n\ndef test_other():\n    assert twice(0) == 0\n"},
        hidden="from sums import thrice\n\n\ndef test_add():\n    assert thrice(2) == 6\n",
        fix={"sums.py": FIXED + "\n\ndef thrice(a):\n    return 3 * a\n"},
        PASS_TO_PASS=("tests/test_other.py::test_other",),
    )
    assert both(fast, task) == (1.0, 0.0)
    assert fast(task, [], patch({"sums.py": BUG}, {"sums.py": FIXED})).parts["pass_to_pass"] == 1.0


# Tests that pass under plain pytest.


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_multiprocessing(fast: Resolved, make_task: MakeTask, method: str) -> None:
    """The runner had no main guard: the children ran it again, and the pool started others for ever."""
    hidden = f"""import multiprocessing

from sums import add, twice


def test_add():
    with multiprocessing.get_context("{method}").Pool(2) as pool:
        assert pool.map(twice, [1, 2, 3]) == [2, 4, 6]
    assert add(2, 3) == 5
"""
    assert both(fast, make_task(hidden)) == (1.0, 0.0)


def test_main_is_pytests(fast: Resolved, make_task: MakeTask) -> None:
    hidden = """import inspect
import pickle
import runpy
import subprocess
import sys

import __main__
from sums import add


def test_add(tmp_path):
    assert __main__.__spec__.name == "pytest.__main__"
    assert not hasattr(__main__, "Reports")
    assert pickle.loads(pickle.dumps(add)) is add
    assert inspect.getmodule(add).__name__ == "sums"
    (tmp_path / "script.py").write_text("answer = __name__")
    assert runpy.run_path(str(tmp_path / "script.py"), run_name="__main__")["answer"] == "__main__"
    said = subprocess.run([sys.executable, "-c", "import sums; print(sums.add(2, 3))"], cwd=tmp_path, stdout=-1)
    assert said.stdout == b"5\\n"
"""
    assert both(fast, make_task(hidden)) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("config", "hidden", "fail"),
    [
        ("--import-mode=importlib -n 4 --cov=sums -x --reruns 2 -k nothing", None, None),
        ("-p naming", "from sums import add\n\n\ndef test_add(named):\n    assert add(2, 3) == named\n", None),
        ("--slow", SLOW_OPTION, None),
        ("--doctest-modules", "def test_nothing():\n    pass\n", ("shown.py::shown.plus",)),
    ],
    ids=["import-mode", "plugin", "own-option", "doctest"],
)
def test_the_repositorys_own_options(
    fast: Resolved, make_task: MakeTask, config: str, hidden: str | None, fail: tuple[str, ...] | None
) -> None:
    """Only those are dropped that select, stop, repeat, distribute or measure."""
    base = {
        "pytest.ini": f"[pytest]\naddopts = {config}\n",
        "conftest.py": "def pytest_addoption(parser):\n    parser.addoption('--slow', action='store_true')\n",
        "naming.py": "import pytest\n\n\n@pytest.fixture\ndef named():\n    return 5\n",
        "shown.py": SHOWN,
    }
    more: dict[str, Any] = {"fail": fail} if fail else {}
    task = make_task(hidden, base, **more) if hidden else make_task(base=base, **more)
    assert both(fast, task) == (1.0, 0.0)


def test_a_task_may_give_pytest_more_arguments(fast: Resolved, make_task: MakeTask) -> None:
    task = make_task(base={"shown.py": SHOWN}, fail=("shown.py::shown.plus",))
    with pytest.raises(BrokenTaskError, match=r"shown\.py::shown\.plus"):
        fast(task, [], task.patch)
    assert both(fast, task.with_(environment={"pytest_args": ["--doctest-modules"]})) == (1.0, 0.0)
    with pytest.raises(TaskError, match=r"environment\.pytest_args must be a list of strings; got '-x'"):
        fast(task.with_(environment={"pytest_args": "-x"}), [], task.patch)


def test_the_cache_fixture_and_plugins_inside_of_tests(fast: Resolved, make_task: MakeTask) -> None:
    hidden = """import os

from sums import add


def test_add(cache):
    cache.set("sums/answer", 5)
    assert "PYTEST_DISABLE_PLUGIN_AUTOLOAD" not in os.environ
    assert add(2, 3) == cache.get("sums/answer", None)
"""
    assert both(fast, make_task(hidden)) == (1.0, 0.0)


def test_a_repository_of_what_the_runner_itself_has_imported(fast: Resolved, make_task: MakeTask) -> None:
    """An installed copy was tested in its place, silently: with and without the fix the same."""
    package = "def parse(text):\n    return text.{}()\n"
    base = {"iniconfig/__init__.py": package.format("lower")}
    hidden = "import iniconfig\n\n\ndef test_add():\n    assert iniconfig.parse('x') == 'X'\n"
    task = make_task(hidden, base, fix={"iniconfig/__init__.py": package.format("upper")})
    assert both(fast, task) == (1.0, 0.0)


def test_a_task_on_pytest_itself_is_refused_when_it_is_prepared(
    sandbox: Sandbox, make_task: MakeTask, tmp_path: Path
) -> None:
    task = make_task(base={"src/_pytest/__init__.py": ""}, environment={"pythonpath": ["src"]})
    [check] = prepare([task], Scorer(sandbox, tmp_path / "cache", 60))
    assert "its repository is _pytest itself, which runs the tests" in check.problem


# Which edits are source.


def test_what_the_reference_patch_changes_is_source_whatever_it_is_called(fast: Resolved, make_task: MakeTask) -> None:
    """`django/test/client.py`, `numpy/testing`, `setup.cfg`: edits to them were dropped, so the right patch got 0.0."""
    base = {
        "kit/__init__.py": "",
        "kit/test/__init__.py": "",
        "kit/test/client.py": "def get():\n    return 1\n",
        "kit/test/signals.py": "VALUE = 1\n",
        "setup.cfg": "[metadata]\nname = old\n\n[tool:pytest]\naddopts = -q\n",
    }
    hidden = (
        "from kit.test.client import get\n\n\ndef test_add():\n    assert get() == 2\n"
        "    assert 'name = new' in open('setup.cfg').read()\n"
    )
    fix = {"kit/test/client.py": "def get():\n    return 2\n", "setup.cfg": base["setup.cfg"].replace("old", "new")}
    task = make_task(hidden, base, fix=fix)
    assert both(fast, task) == (1.0, 0.0)
    other = {**fix, "kit/test/client.py": "from kit.test.signals import VALUE\n\n\ndef get():\n    return VALUE\n"}
    other |= {
        "kit/test/signals.py": "VALUE = 2\n",
        "kit/test/test_more.py": "x = 1\n",
        "kit/test/conftest.py": "x = 1\n",
    }
    score = fast(task, [], patch(base, other))
    assert (score.value, sorted(score.parts["dropped"])) == (1.0, ["kit/test/conftest.py", "kit/test/test_more.py"])


@pytest.mark.parametrize("section", ["", "\n[tool:pytest]\naddopts = -q\n"], ids=["none", "some"])
def test_pytests_own_sections_come_from_the_base(fast: Resolved, make_task: MakeTask, section: str) -> None:
    """Also in a file that is source, and where the base has no such section."""
    trick = "\n[tool:pytest]\naddopts = -p trick\n"
    plugin = "import pytest\n\n\n@pytest.hookimpl(wrapper=True)\ndef pytest_runtest_makereport():\n"
    plugin += "    report = yield\n    report.outcome = 'passed'\n    return report\n"
    base = {"setup.cfg": "[metadata]\nname = old\n" + section}
    task = make_task(base=base, fix={"sums.py": FIXED, "setup.cfg": base["setup.cfg"].replace("old", "new")})
    meddled = patch({"sums.py": BUG, **base}, {"setup.cfg": "[metadata]\nname = new\n" + trick, "trick.py": plugin})
    assert fast(task, [], task.patch).value == 1.0
    assert fast(task, [], meddled).value == 0.0


# What a row's patches and ids point to on this machine.


def link(path: str, target: str) -> str:
    """A patch that makes a symbolic link."""
    return file_diff(path, None, File(target.encode(), is_link=True))


@pytest.mark.parametrize("target", ["{secret}", "/proc/kmsg", "../../../../../../../../../../{secret}", "{fifo}"])
def test_a_link_among_the_hidden_tests_is_a_link_and_is_not_followed_here(
    fast: Resolved, make_task: MakeTask, tmp_path: Path, target: str
) -> None:
    """Its target's text came into the box, and reading /proc/kmsg hung the trainer."""
    (tmp_path / "secret").write_text("of the host")
    os.mkfifo(tmp_path / "fifo")
    target = target.format(secret=tmp_path / "secret", fifo=tmp_path / "fifo")
    hidden = (
        "import os\nfrom sums import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n"
        f"    assert os.readlink('tests/data') == {target!r} and not os.path.exists('{tmp_path}')\n"
    )
    task = make_task(test_patch=patch({}, {"tests/test_hidden.py": hidden}) + link("tests/data", target))
    assert hidden_files(task, base_tree(task.repo, task.base_commit, cache_dir())[0])["tests/data"] == File(
        target.encode(), is_link=True
    )
    assert both(fast, task) == (1.0, 0.0)


def test_links_of_the_base_are_changed_and_removed_as_links(fast: Resolved, make_task: MakeTask) -> None:
    hidden = f"import os\n{HIDDEN}    assert open('tests/kept').read() == '2' and not os.path.lexists('tests/gone')\n"
    task = make_task(hidden, {"tests/one.txt": "1", "tests/two.txt": "2"})
    repo = Path(task.repo)
    for name in ("kept", "gone"):
        (repo / "tests" / name).symlink_to("one.txt")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "links")
    one, two = (File(name, is_link=True) for name in (b"one.txt", b"two.txt"))
    changes = file_diff("tests/kept", one, two) + file_diff("tests/gone", one, None)
    linked = task.with_(base_commit=git(repo, "rev-parse", "HEAD"), test_patch=task.test_patch + changes)
    assert both(fast, linked) == (1.0, 0.0)


def test_a_test_file_that_is_a_link_is_scored_without_mutants(
    sandbox: Sandbox, make_task: MakeTask, tmp_path: Path
) -> None:
    """Its original text would stay in the box at the link's target, so a mutant could be recognised."""
    changes = patch({}, {"shared/cases.py": HIDDEN}) + link("tests/test_hidden.py", "../shared/cases.py")
    task = make_task(test_patch=changes)
    strict = Resolved(sandbox=sandbox, timeout=120)
    score = strict(task, [], task.patch)
    assert (score.value, score.parts["unprotected"]) == (1.0, list(task.FAIL_TO_PASS))


@pytest.mark.parametrize("path", ["/proc/kmsg", "../outside.py", "tests/../../x.py"])
def test_hidden_tests_lie_in_the_repository(fast: Resolved, make_task: MakeTask, path: str) -> None:
    task = make_task()
    outside = task.test_patch + file_diff(path, None, File(b"x\n"))
    with pytest.raises(RewardError, match="the hidden tests name a path outside of the repository"):
        fast(task.with_(test_patch=outside), [], task.patch)


@pytest.mark.parametrize("test", ["/etc/passwd::test", "../x.py::test", "/proc/kmsg"])
def test_test_ids_lie_in_the_repository(fast: Resolved, make_task: MakeTask, test: str) -> None:
    task = make_task()
    with pytest.raises(TaskError, match="sums-1: test ids must lie in the repository"):
        fast(task.with_(PASS_TO_PASS=(test,)), [], task.patch)


def test_allowed_edits_are_a_list_of_paths(fast: Resolved, make_task: MakeTask) -> None:
    task = make_task()
    for given in (5, "setup.cfg", [1], {"a": 1}):
        with pytest.raises(TaskError, match=r"environment\.allowed_edits must be a list of paths"):
            fast(task.with_(environment={"allowed_edits": given}), [], task.patch)


@pytest.mark.parametrize(
    "change",
    [
        {"FAIL_TO_PASS": ("a" * 300 + "/x.py::test",)},
        {"PASS_TO_PASS": ("tests/" + "a" * 300 + "/x.py::test",)},
        {"environment": {"pythonpath": ["a" * 300]}},
    ],
    ids=["fail", "pass", "pythonpath"],
)
def test_a_row_that_cannot_be_used_gives_no_number(fast: Resolved, make_task: MakeTask, change: dict[str, Any]) -> None:
    """A right patch got 0.0 for it, as if git could not have written the patch."""
    task = make_task()
    with pytest.raises((TaskError, RewardError)):
        fast(task.with_(**change), [], task.patch)


def test_hidden_tests_apply_where_the_repository_says_how_lines_end(fast: Resolved, make_task: MakeTask) -> None:
    """The checkout has CRLF, the row's patch LF, as git prints it."""
    file, old = "tests/test_hidden.py", HIDDEN.replace("== 5", "== -1")
    base_files = {".gitattributes": "*.py text eol=crlf\n", file: old}
    task = make_task(base=base_files, test_patch=patch({file: old}, {file: HIDDEN}))
    base, _ = base_tree(task.repo, task.base_commit, cache_dir())
    assert (base / file).read_bytes() == old.replace("\n", "\r\n").encode()
    assert hidden_files(task, base)[file] == File(HIDDEN.replace("\n", "\r\n").encode())
    assert both(fast, task) == (1.0, 0.0)


def test_a_submodule_that_the_hidden_tests_move_is_left_where_it_is(fast: Resolved, make_task: MakeTask) -> None:
    """Its files are in no base tree."""
    task = make_task()
    bump = "diff --git a/vendor b/vendor\nindex {}..{} 160000\n--- a/vendor\n+++ b/vendor\n@@ -1 +1 @@\n".format(
        "1" * 40, "2" * 40
    )
    bump += "-Subproject commit {}\n+Subproject commit {}\n".format("1" * 40, "2" * 40)
    assert both(fast, task.with_(test_patch=bump + task.test_patch)) == (1.0, 0.0)


def binary(content: bytes) -> str:
    """What follows the first line of a patch that makes a binary file."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    sides = []
    for side in (content, b""):
        packed = zlib.compress(side)
        line = chr(ord("A") + len(packed) - 1) + base64.b85encode(packed, pad=True).decode()
        sides.append(f"literal {len(side)}\n{line}\n\n")
    return f"new file mode 100644\nindex {'0' * 40}..{blob}\nGIT binary patch\n{''.join(sides)}"


BINARY = binary(b"x = 1\n")
SAME = "similarity index 100%\n"
HUNK = "@@ -1,2 +1,2 @@\n-x\n+y\n \n"
ODD_HEADERS = {
    "one side quoted": 'diff --git a/conftest.py "b/conftest.py"\n' + BINARY,
    "an escape": 'diff --git a/conftest.py "b/conf\\164est.py"\n' + BINARY,
    "other prefixes": "diff --git aaaa/conftest.py b/conftest.py\n" + BINARY,
    "a folder for a prefix": "diff --git x.y/conftest.py b/conftest.py\n" + BINARY,
    "old words": f"diff --git a/sums.py b/o.py\n{SAME}rename old sums.py\nrename new conftest.py\n",
    "mixed words": f"diff --git a/sums.py b/o.py\n{SAME}rename from sums.py\nrename new conftest.py\n",
    "a copy of two names": f"diff --git a/sums.py b/o.py\n{SAME}copy from sums.py\ncopy to o.py\n"
    f"--- a/sums.py\n+++ b/conftest.py\n{HUNK}",
}


@pytest.mark.parametrize("kind", ODD_HEADERS)
def test_no_header_hides_what_a_patch_changes(make_task: MakeTask, sandbox: Sandbox, kind: str) -> None:
    """Git read another name than we did: a new `conftest.py` reached the tests and was worth 1.0."""
    task = make_task()
    scorer = Scorer(sandbox, cache_dir(), 60)
    try:
        kept, _ = scorer.source(task, ODD_HEADERS[kind])
    except ValueError:
        return
    assert kept == ""


@pytest.mark.parametrize(
    "extra",
    [
        'diff --git "a/d\\303\\244ta.bin" "b/d\\303\\244ta.bin"\n' + BINARY,
        "diff --git a/data.bin b/data.bin\n" + BINARY,
        f"diff --git a/README.md b/docs/READ ME.md\n{SAME}rename from README.md\nrename to docs/READ ME.md\n",
        f"diff --git a/README.md b/READ ME.md\n{SAME}copy from README.md\ncopy to READ ME.md\n",
        "diff --git a/README.md b/README.md\nold mode 100644\nnew mode 100755\n",
        "--- a/docs/a.md\t2020-01-01\n+++ b/docs/a.md\t2020-01-01\n@@ -1 +1 @@\n-read\n+me\n",
    ],
    ids=["quoted", "binary", "rename", "copy", "mode", "plain"],
)
def test_a_header_that_agrees_with_itself_is_no_trick(fast: Resolved, make_task: MakeTask, extra: str) -> None:
    """As git writes them, and as `diff -u` does."""
    task = make_task(base={"README.md": "read\n", "docs/a.md": "read\n"})
    score = fast(task, [], extra + task.patch)
    assert (score.value, score.parts["reason"], score.parts["dropped"]) == (1.0, "", [])


def test_a_patch_without_prefixes_is_read_as_git_does(fast: Resolved, make_task: MakeTask) -> None:
    """As `diff -u` writes one of a file at the root."""
    task = make_task()
    score = fast(task, [], "--- sums.py\n+++ sums.py\n" + task.patch[task.patch.index("@@ ") :])
    assert (score.value, score.parts["reason"]) == (1.0, "")
