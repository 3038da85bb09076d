"""What runs inside the box on a task's own interpreter: Python 3.6 and pytest 4.6 are the oldest."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import Task
from nano_codex_env.cache import cache_dir
from nano_codex_env.diff import File, file_diff
from nano_codex_env.runtimes import Runtime
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.scoring import FAILED, PASSED, Scorer
from nano_codex_env.scoring.inside.runner import without_harmful
from nano_codex_env.scoring.mutants import Edit, Mutant
from nano_codex_env.scoring.reports import read_reports
from nano_codex_env.scoring.run import SCRIPTS
from tests.conftest import BUG, FIX, git

VERSIONS = [("3.6", "4.6.11"), ("3.7", "5.4.3"), ("3.8", "6.2.4"), ("3.9", "7.4.4"), ("3.10", "8.3.5"), ("3.13", "9.*")]
TESTS = """import pytest

from sums import add


@pytest.mark.parametrize("a", [1, 2])
def test_add(a):
    assert add(a, 3) == a + 3


def test_wrong():
    assert add(2, 2) == 5
"""


def test_what_runs_inside_is_python_of_3_6() -> None:
    for script in sorted(SCRIPTS.glob("*.py")):
        ast.parse(script.read_text(encoding="utf-8"), feature_version=(3, 6))


def run(python: str, folder: Path, **more: Any) -> tuple[dict[str, str], str]:
    """The statuses that the runner reports over `folder` as the repository, and its output."""
    materials = folder.parent / "materials"
    materials.mkdir()
    (materials / "tests" / "tests").mkdir(parents=True)
    (materials / "tests" / "tests" / "test_sums.py").write_text(TESTS)
    (materials / "removed").write_text("")
    (materials / "source.diff").write_text(FIX)
    for script in SCRIPTS.iterdir():
        if script.is_file():
            shutil.copy(script, materials)
    config = {"key": "k", "ids": None, "functions": [], "files": ["tests/test_sums.py"], "canaries": None, "site": []}
    config |= {"pythonpath": [str(folder)], "args": ["-q", f"--rootdir={folder}", "-o", "cache_dir=/tmp/x"], **more}
    data = json.dumps(config).encode()
    done = subprocess.run(
        [python, "-s", str(materials / "runner.py")],
        cwd=folder, input=b"%d\n" % len(data) + data, capture_output=True, check=False, timeout=600,
    )  # fmt: skip
    _, _, reports = done.stderr.partition(b"tests\n")
    found = read_reports(reports, "k", done.returncode, "", done.stdout.decode())
    assert not found.reason, (found.reason, found.output, done.stderr)
    return dict(found.statuses), found.output


EXPECTED = {
    "tests/test_sums.py::test_add[1]": PASSED,
    "tests/test_sums.py::test_add[2]": PASSED,
    "tests/test_sums.py::test_wrong": FAILED,
}


def library(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "sums.py").write_text(BUG)
    git(folder, "init", "-q")
    return folder


def test_it_runs_on_this_interpreter(tmp_path: Path) -> None:
    assert run(sys.executable, library(tmp_path))[0] == EXPECTED


def interpreters(version: str) -> list[str]:
    """On PATH, or installed beside the one that runs us."""
    beside = [str(path) for path in Path(sys.base_prefix).parent.glob(f"*/bin/python{version}")]
    found = shutil.which(f"python{version}")
    return [*([found] if found else []), *beside]


def starts(python: str) -> bool:
    return subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(("version", "pytests"), VERSIONS, ids=[version for version, _ in VERSIONS])
def test_it_runs_on_every_interpreter_at_hand(version: str, pytests: str, tmp_path: Path) -> None:
    python = next((path for path in interpreters(version) if starts(path)), None)
    if python is None:
        pytest.skip(f"no python{version} here")
    subprocess.run([python, "-m", "venv", str(tmp_path / "venv")], check=True)
    pip = [str(tmp_path / "venv" / "bin" / "pip"), "install", "--quiet", f"pytest=={pytests}"]
    subprocess.run(pip, check=True, capture_output=True)
    canary = {"path": "tests/test_order.py", "text": "def test_order():\n    assert [1] == [1]\n"}
    statuses, output = run(str(tmp_path / "venv" / "bin" / "python"), library(tmp_path), canaries=canary)
    assert statuses == EXPECTED, output


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["-n", "4", "-n4", "--numprocesses=4", "-x", "--maxfail=1", "--maxfail", "1"], []),
        (["--cov=pkg", "--cov", "--cov-report", "html", "--no-cov-on-fail", "--reruns", "3"], []),
        (["-k", "not slow", "-m", "not slow", "-mslow", "--deselect", "x"], []),
        (["--import-mode=importlib", "-p", "plugin", "--asyncio-mode=auto", "--doctest-modules", "-q", "-ra"],) * 2,
        (["--slow", "-n", "2", "-W", "error"], ["--slow", "-W", "error"]),
    ],
)
def test_options_that_harm_are_left_out(options: list[str], kept: list[str]) -> None:
    assert without_harmful(options) == kept


LOOK = """import os
import subprocess

from sums import add


def test_look():
    found = [name for name in os.listdir(".git/objects")] if os.path.isdir(".git/objects") else []
    shown = subprocess.run(["git", "show", "HEAD:tests/test_old.py"], stdout=-1, stderr=-1).stdout
    cached = os.path.exists("tests/__pycache__/test_old.cpython-311.pyc")
    assert (add(2, 3), bool(found), b"== 5" in shown, cached) == (5, HERE, HERE, HERE)
"""


def test_no_original_lies_in_the_box_of_a_mutant_run(sandbox: Sandbox, make_repo: Callable[..., Path]) -> None:
    """Git's objects and compiled files of the base hold the text of its tests."""
    old = "from sums import add\n\n\ndef test_old():\n    assert add(2, 3) == 5\n"
    files = {"sums.py": BUG.replace("a - b", "a + b"), "tests/test_old.py": old}
    repo = make_repo({**files, "tests/__pycache__/test_old.cpython-311.pyc": "x"})
    mutant = Mutant("tests/test_old.py::test_old", "integer", (Edit(old.index("5"), old.index("5") + 1, "6"),))
    for mutants in ((), (mutant,)):
        hidden = file_diff("tests/test_look.py", None, File(LOOK.replace("HERE", str(not mutants)).encode()))
        task = Task("look-1", str(repo), "", "x", test_patch=hidden)
        tests = ["tests/test_look.py::test_look", "tests/test_old.py::test_old"]
        found = Scorer(sandbox, cache_dir(), 120).run_tests(task, "", tests, mutants=mutants)
        assert [found.status(test) for test in tests] == [PASSED, FAILED if mutants else PASSED], found.output


def test_installed_copies_of_mutated_tests_are_hidden(tmp_path: Path) -> None:
    for name in (
        "sums/tests/test_old.py",
        "sums/tests/__pycache__/test_old.cpython-311.pyc",
        "sums/test_new.py",
        "a.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    runtime = Runtime(
        "python3", (), (), ("/testbed",), packages=tmp_path, packages_inside="/opt/site", blank=tmp_path / "a.py"
    )
    hidden = {inside for _, inside in runtime.masks({"test_old.py"})}
    assert hidden == {"/opt/site/sums/tests/test_old.py", "/opt/site/sums/tests/__pycache__/test_old.cpython-311.pyc"}
    assert runtime.top_level == {"sums", "a"}
