"""Tasks from release pairs: what a source distribution, a changelog and a test's name are read as."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from nano_codex_env import Task, load_tasks
from nano_codex_env.cache import cache_dir
from nano_codex_env.cli import main
from nano_codex_env.curation import release_pair, release_pairs
from nano_codex_env.curation.sdist import sdist_tree
from nano_codex_env.diff import File, split
from nano_codex_env.errors import TaskError, WorkspaceError
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.scoring import Scorer
from tests.conftest import git

MARKDOWN = """# Changelog

## [1.4.0] - 2024-03-01
- newer things

## [1.3.1] - 2024-02-01

### Fixed
- Keep the space (#7)
  also here 1.2.0

## [1.3.0] - 2024-01-01
- old things
"""
REST = """History
=======

1.3.1 (2024-02-01)
++++++++++++++++++

* Keep the space.

1.3.0 (2024-01-01)
++++++++++++++++++

* old things
"""
BARE = "v1.3.1\n------\nKeep the space.\n\nv1.3.0\n------\nold things\n"
LAST = "CHANGELOG\n\n1.3.1\n-----\n\n* Keep the space.\n"


def archive(folder: Path, name: str, files: dict[str, str]) -> None:
    """A source distribution in the cache, as if it had been downloaded."""
    folder.mkdir(parents=True)
    if name.endswith(".zip"):
        with zipfile.ZipFile(folder / name, "w") as packed:
            for path, text in files.items():
                packed.writestr(path, text)
        return
    with tarfile.open(folder / name, "w:gz") as packed_tar:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(text.encode()), 0o755 if path.endswith(".sh") else 0o644
            packed_tar.addfile(member, io.BytesIO(text.encode()))
        link = tarfile.TarInfo("x-1.0/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed_tar.addfile(link)


# Changelogs.


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (MARKDOWN, "### Fixed\n- Keep the space (#7)\n  also here 1.2.0"),
        (REST, "++++++++++++++++++\n\n* Keep the space."),
        (BARE, "Keep the space."),
        (LAST, "* Keep the space."),
        ("1.3.10\n\n* other\n", ""),
        ("11.3.1\n\n* other\n", ""),
        ("1.3.1\n-----\n\n1.3.0\n-----\n* old\n", ""),
        ("", ""),
    ],
    ids=["markdown", "rest", "bare", "last", "longer-version", "other-version", "nothing-said", "empty"],
)
def test_the_entry_of_one_release_is_found_in_a_changelog(log: str, words: str) -> None:
    found = changelog({"CHANGES.md": log.encode()})
    assert [line for line in found.split("\n") if line.strip("+")] == [
        line for line in words.split("\n") if line.strip("+")
    ]


def changelog(files: dict[str, bytes]) -> str:
    return release_pairs._changelog({name: File(data) for name, data in files.items()}, "1.3.0", "1.3.1")


def test_a_changelog_is_found_by_its_name() -> None:
    for name in ("CHANGELOG.md", "CHANGES", "HISTORY.rst", "NEWS.txt", "docs/changelog.rst", "RELEASES"):
        assert changelog({name: BARE.encode()}) == "Keep the space.", name
    for name in ("changes.py", "README.md"):
        assert changelog({name: BARE.encode()}) == "", name
    assert changelog({"docs/CHANGES": b"1.3.1\nbelow\n", "CHANGES": b"1.3.1\nabove\n"}) == "above"
    assert changelog({"CHANGES": b"1.3.1\ncaf\xe9\n"}) == "caf\ufffd"
    assert changelog({"CHANGES": b"1.3.1\n" + b"* entry\n" * 100}).count("\n") == 39


# Names.


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ("tests/t.py::C::test_keep_space[a-b]", "keep space (a-b)"),
        ("tests/t.py::test_keep_space", "keep space"),
        ("tests/t.py::C::testKeepSpace", "KeepSpace"),
        ("tests/t.py::test_[x]", " (x)"),
        ("tests/t.py::test_args[test_args62-1 Bytes]", "args (test_args62-1 Bytes)"),
        ("tests/t.py::test_a[b[c]]", "a (b[c])"),
        ("tests/t.py::test_scope[a::b]", "scope (a::b)"),
        ("tests/t.py::C::test_scope[std::vector<int>]", "scope (std::vector<int>)"),
    ],
)
def test_the_name_of_a_test_says_what_should_work(test: str, words: str) -> None:
    assert release_pairs._readable(test) == words


def test_an_issue_has_the_words_of_the_changelog_or_else_of_the_tests() -> None:
    assert release_pairs._issue("lib", "1.3.0", "* Keep the space.", []) == (
        "lib 1.3.0 has a bug. The changelog of the release that mends it says:\n\n* Keep the space.\n"
    )
    fixed = ["t.py::test_keep_space", "t.py::C::test_keep_space", "t.py::test_x[1]"]
    assert release_pairs._issue("lib", "1.3.0", "", fixed) == (
        "In lib 1.3.0 the following does not work as it should:\n\n- keep space\n- x (1)\n"
    )
    many = release_pairs._issue("lib", "1.3.0", "", [f"t.py::test_{n}" for n in range(100)])
    assert many.count("\n- ") == 20


@pytest.mark.parametrize(
    ("path", "is_source"),
    [
        ("lib.py", True),
        ("src/lib/a.py", True),
        ("lib/types.pyi", True),
        ("docs.py", True),
        ("lib/docs/a.py", True),
        ("docs/conf.py", False),
        ("examples/a.py", False),
        ("setup.py", False),
        ("conftest.py", False),
        ("lib/data.txt", False),
        ("README.md", False),
    ],
)
def test_what_belongs_to_the_reference_patch_is_source(path: str, is_source: bool) -> None:
    assert release_pairs._is_source(path) is is_source


# Source distributions.


@pytest.mark.parametrize("name", ["x-1.0.tar.gz", "x-1.0.zip"])
def test_a_source_distribution_is_a_tree_without_what_the_packaging_added(tmp_path: Path, name: str) -> None:
    files = {
        "x-1.0/x.py": "a = 1\n",
        "x-1.0/run.sh": "#!/bin/sh\n",
        "x-1.0/tests/test_x.py": "",
        "x-1.0/PKG-INFO": "Name: x\n",
        "x-1.0/x.egg-info/SOURCES.txt": "",
        "x-1.0/sub/PKG-INFO": "kept\n",
        "x-1.0/../evil.py": "",
        "x-1.0/.git/config": "",
        "x-1.0//etc/passwd": "",
    }
    archive(tmp_path / "sdists" / "x-1.0", name, files)
    found = sdist_tree("x", "1.0", tmp_path)
    assert list(found) == ["run.sh", "sub/PKG-INFO", "tests/test_x.py", "x.py"]
    assert found["x.py"] == File(b"a = 1\n")
    assert found["run.sh"].executable == name.endswith(".gz")


def test_a_release_without_a_source_distribution_that_can_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sdists" / "x-1.0").mkdir(parents=True)
    with pytest.raises(TaskError, match=r"x 1\.0 has no source distribution"):
        sdist_tree("x", "1.0", tmp_path)
    for name in ("x-1.0.tar.gz", "x-1.0.zip"):
        (tmp_path / "sdists" / "x-1.0" / name).write_bytes(b"nonsense")
        with pytest.raises(TaskError, match=rf"{name} cannot be read"):
            sdist_tree("x", "1.0", tmp_path)
        (tmp_path / "sdists" / "x-1.0" / name).unlink()


def test_without_pip_nothing_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(WorkspaceError, match="needs pip; `python -m ensurepip` installs it"):
        sdist_tree("x", "1.0", tmp_path)
    assert not (tmp_path / "sdists" / "x-1.0").exists()


def test_a_download_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    with pytest.raises(WorkspaceError, match=r"cannot download no-such-package 1\.0: no index has a source"):
        sdist_tree("no-such-package", "1.0", tmp_path)
    assert not (tmp_path / "sdists" / "no-such-package-1.0").exists()


def test_releases_that_change_no_tests_make_no_task(tmp_path: Path, sandbox: Sandbox) -> None:
    for version in ("1.0", "1.1"):
        files = {f"x-{version}/x.py": version, f"x-{version}/tests/test_x.py": "def test_x():\n    pass\n"}
        archive(tmp_path / "sdists" / f"x-{version}", f"x-{version}.tar.gz", files)
    scorer = Scorer(sandbox, tmp_path, 60)
    with pytest.raises(TaskError, match=r"x 1\.1 changes no tests over 1\.0"):
        release_pair("x", "1.0", "1.1", packages=[], repos=tmp_path / "repos", scorer=scorer)


# A real pair; it needs the package index.

FIXED = [f"tests/test_xmltodict.py::XMLToDictTestCase::test_{name}_whitespace" for name in ("keep", "skip")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with the task that the command made."""
    file = tmp_path_factory.mktemp("pypi") / "tasks" / "tasks.jsonl"
    assert main(["tasks", "pypi", "xmltodict", "0.14.1", "0.14.2", "--out", str(file)]) == 0
    return file


@pytest.mark.slow
def test_a_release_pair_becomes_a_task(made: Path) -> None:
    [task] = load_tasks(made)
    assert (task.instance_id, task.version) == ("xmltodict-0.14.2", "0.14.1")
    assert sorted(task.FAIL_TO_PASS) == FIXED
    assert len(task.PASS_TO_PASS) == 32
    assert [part.paths for part in split(task.patch)] == [("xmltodict.py",)]
    assert {part.paths[0] for part in split(task.test_patch)} == {"tests/test_xmltodict.py"}
    assert task.problem_statement == (  # its source distribution has no changelog
        "In xmltodict 0.14.1 the following does not work as it should:\n\n- keep whitespace\n- skip whitespace\n"
    )
    assert task.metadata["issue_from"] == "tests"
    assert "pytest==8.4.2" in task.environment["packages"]
    assert git(Path(task.repo), "rev-list", "--count", "--all") == "1"


@pytest.mark.slow
def test_the_file_and_its_repositories_can_be_moved_together(made: Path, tmp_path: Path) -> None:
    row = json.loads(made.read_text())
    assert row["repo"] == "repos/xmltodict-0.14.1.git"
    made.parent.rename(tmp_path / "elsewhere")
    try:
        [task] = load_tasks(tmp_path / "elsewhere" / "tasks.jsonl")
        assert task.repo == str(tmp_path / "elsewhere" / row["repo"])
    finally:
        (tmp_path / "elsewhere").rename(made.parent)


@pytest.mark.slow
def test_making_a_task_again_replaces_it_and_keeps_the_others(made: Path, task: Task) -> None:
    before = load_tasks(made)
    made.write_text(made.read_text() + json.dumps(task.to_row()) + "\n")
    assert main(["tasks", "pypi", "xmltodict", "0.14.1", "0.14.2", "--out", str(made)]) == 0
    after = load_tasks(made)
    assert [item.instance_id for item in after] == ["sums-1", "xmltodict-0.14.2"]
    assert after == [task, *before]
    made.write_text(made.read_text().splitlines(keepends=True)[1])


@pytest.mark.slow
def test_a_made_task_is_valid_and_is_played(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["tasks", "prepare", str(made)]) == 0
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert main(["tasks", "validate", str(made)]) == 0
    for policy, reward in (("oracle", 1.0), ("idle", 0.0)):
        capsys.readouterr()
        out = tmp_path / policy
        assert main(["run", "--tasks", str(made), "--policy", policy, "--out", str(out), "--json"]) == 0
        [result] = json.loads(capsys.readouterr().out)["results"]
        assert (result["reward"], result["void"]) == (reward, None)
        assert main(["replay", result["folder"]]) == 0


@pytest.mark.slow
def test_releases_with_equal_test_results_make_no_task(tmp_path: Path, sandbox: Sandbox) -> None:
    base = {"x/x.py": "A = 1\n", "x/test_x.py": "from x import A\n\n\ndef test_x():\n    assert A\n"}
    for version, more in (("1.0", {}), ("1.1", {"x/test_more.py": "def test_more():\n    pass\n"})):
        files = {path.replace("x/", f"x-{version}/", 1): text for path, text in {**base, **more}.items()}
        archive(cache_dir() / "sdists" / f"x-{version}", f"x-{version}.tar.gz", files)
    with pytest.raises(TaskError, match=r"x-1\.1: no test fails on 1\.0 and passes on 1\.1"):
        release_pair("x", "1.0", "1.1", packages=[], repos=tmp_path, scorer=Scorer(sandbox, cache_dir(), 60))
