"""Patches in git's format: `git apply` accepts those that we write, and we parse those that git writes."""

from __future__ import annotations

import doctest
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from nano_codex_env import diff
from nano_codex_env.diff import File, file_diff, quote, split, unquote
from tests.conftest import GIT_ENV, git
from tests.strategies import Change, file_names, quick, texts, trees


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """An empty git repository."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    return folder


def lay(folder: Path, files: Mapping[str, File | None]) -> None:
    """Make the work tree hold these files and no others, and the index with it."""
    for path in folder.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name, file in files.items():
        if file is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.data)
            path.chmod(0o755 if file.executable else 0o644)
    git(folder, "add", "-A", "--force")


def found(folder: Path) -> dict[str, File]:
    """The files that the work tree holds."""
    paths = [Path(top, name) for top, _, names in os.walk(folder) for name in names if ".git" not in Path(top).parts]
    return {str(path.relative_to(folder)): File(path.read_bytes(), os.access(path, os.X_OK)) for path in paths}


def apply(folder: Path, patch: str, *options: str) -> None:
    """Let git apply the patch to the work tree and the index, strictly."""
    command = ["git", "apply", "--index", "--whitespace=nowarn", *options, "-"]
    raw = patch.encode("utf-8", "surrogateescape")
    done = subprocess.run(command, cwd=folder, env=GIT_ENV, input=raw, capture_output=True, check=False)
    assert done.returncode == 0, (done.stderr, raw)


def written(edits: list[Change]) -> str:
    """One patch of all edits."""
    return "".join(file_diff(edit.path, edit.old, edit.new) for edit in edits)


@quick(35)
@given(edits=trees())
def test_git_applies_our_patches_and_undoes_them(checkout: Path, edits: list[Change]) -> None:
    """Bytes and modes: new, emptied, removed, made executable; whatever their names and line endings."""
    lay(checkout, {edit.path: edit.old for edit in edits})
    patch = written(edits)
    if patch:
        apply(checkout, patch)
    assert found(checkout) == {edit.path: edit.new for edit in edits if edit.new is not None}
    assert git(checkout, "diff", "--name-only") == ""
    if patch:
        apply(checkout, patch, "--reverse")
    assert found(checkout) == {edit.path: edit.old for edit in edits if edit.old is not None}


def test_a_patch_reads_like_gits(checkout: Path) -> None:
    """The header is git's own to the letter, blob ids and modes included."""
    old = File(b"".join(b"line %d\n" % n for n in range(20)))
    new = File(old.data.replace(b"line 3\n", b"line three\n").replace(b"line 17\n", b""))
    edits = {
        "pkg/sums.py": (old, new),
        "made é.py": (None, File(b"x", True)),
        "gone": (old, None),
        "run": (old, File(old.data, True)),
    }
    lay(checkout, {path: before for path, (before, _) in edits.items()})
    git(checkout, "commit", "-q", "-m", "old")
    lay(checkout, {path: after for path, (_, after) in edits.items()})
    ours = "".join(file_diff(path, *sides) for path, sides in sorted(edits.items()))
    theirs = git(checkout, "diff", "--cached", "--full-index", "--no-renames")
    hunks = [line for line in theirs.splitlines() if line.startswith("@@")]
    for line in hunks:  # git names the function after the numbers, we do not
        theirs = theirs.replace(line, line[: line.index("@@", 2) + 2])
    assert ours.strip() == theirs


def test_files_without_a_line_in_common_are_replaced_whole(checkout: Path) -> None:
    """Too many lines to compare: one block out, one block in, and still exact."""
    old = File(b"first\n" + b"".join(b"old %d\n" % n for n in range(2500)) + b"last")
    new = File(b"first\n" + b"".join(b"new %d\r\n" % n for n in range(2500)) + b"last")
    lay(checkout, {"big": old})
    apply(checkout, file_diff("big", old, new))
    assert found(checkout) == {"big": new}


def test_nothing_changed_is_no_patch() -> None:
    file = File(b"a\n")
    assert file_diff("a", file, File(b"a\n")) == ""
    assert file_diff("a", None, None) == ""


@quick(35)
@given(names=st.lists(file_names(), min_size=1, max_size=8, unique=True))
@example(names=["a b", 'q"', "b\\s", "t\tb", "n\nl", "é", os.fsdecode(b"\xff\x80"), "\x01\x7f", "\u2028"])
def test_names_are_quoted_as_git_quotes_them(checkout: Path, names: list[str]) -> None:
    assume(not any(name.startswith(other + "/") for name in names for other in names))
    git(checkout, "read-tree", "--empty")
    empty = git(checkout, "hash-object", "-w", "--stdin")
    table = b"".join(b"100644 %s\t%s\0" % (empty.encode(), os.fsencode(name)) for name in names)
    command = ["git", "update-index", "-z", "--index-info"]
    subprocess.run(command, cwd=checkout, env=GIT_ENV, input=table, check=True)
    said = subprocess.run(["git", "ls-files"], cwd=checkout, env=GIT_ENV, capture_output=True, check=True).stdout
    assert sorted(said.decode().split("\n")[:-1]) == sorted(quote(name) for name in names)
    assert [unquote(quote(name)) for name in names] == names


@quick(50)
@given(edits=trees(), before=st.sampled_from(["", "From 1234 Mon Sep 17\nSubject: [PATCH] it\n\n---\n a | 2 +-\n\n"]))
def test_a_patch_is_split_into_its_files(edits: list[Change], before: str) -> None:
    """Paths and texts exactly; lines inside that look like headers begin no file."""
    parts = [(edit, text) for edit in edits if (text := file_diff(edit.path, edit.old, edit.new))]
    pieces = split(before + "".join(text for _, text in parts))
    assert [piece.paths for piece in pieces] == [(edit.path,) for edit, _ in parts]
    assert [piece.text for piece in pieces] == [text for _, text in parts]
    assert [piece.is_new for piece in pieces] == [edit.old is None for edit, _ in parts]


@quick(35)
@given(
    edits=trees(), options=st.sampled_from([["--binary"], ["-U0"], ["--full-index", "-U10"], ["--find-copies-harder"]])
)
def test_what_git_writes_is_split_as_git_names_it(checkout: Path, edits: list[Change], options: list[str]) -> None:
    """Renames and copies have two paths, the old one first; binary and removed files are there too."""
    lay(checkout, {edit.path: edit.old for edit in edits})
    tree = git(checkout, "write-tree")
    lay(checkout, {edit.path: edit.new for edit in edits})
    arguments = ["git", "diff", "--cached", "-M", *options, tree]
    patch = subprocess.run(arguments, cwd=checkout, env=GIT_ENV, capture_output=True, check=True).stdout
    names = [*arguments[:3], "--name-status", "-z", *arguments[3:]]
    fields = subprocess.run(names, cwd=checkout, env=GIT_ENV, capture_output=True, check=True).stdout.split(b"\0")
    expected, rest = [], iter(fields[:-1])
    for status in rest:
        expected.append(tuple(os.fsdecode(next(rest)) for _ in range(2 if status[:1] in b"RC" else 1)))
    pieces = split(patch.decode("utf-8", "surrogateescape"))
    assert [piece.paths for piece in pieces] == expected
    assert "".join(piece.text for piece in pieces).encode("utf-8", "surrogateescape") == patch


def test_renames_removals_and_binary_files_are_told_apart(checkout: Path) -> None:
    text, noise = File(b"".join(b"line %d\n" % n for n in range(30))), bytes(range(256))
    before = {
        "old name.py": text,
        "gone.py": File(b"1\n"),
        "b.bin": File(noise),
        "same.bin": File(noise * 2),
        "run": File(b"#!\n"),
    }
    after = {"new name.py": File(text.data + b"more\n"), "b.bin": File(noise[::-1]), "same.bin": File(noise * 2, True)}
    lay(checkout, before)
    git(checkout, "commit", "-q", "-m", "old")
    lay(checkout, {**after, "made.bin": File(noise * 3), "empty": File(b""), "run": File(b"#!\n", True)})
    for options in (["--binary"], []):
        patch = git(checkout, "diff", "--cached", "-M", *options) + "\n"
        pieces = {piece.paths: piece.is_new for piece in split(patch)}
        assert pieces == {
            ("b.bin",): False,
            ("empty",): True,
            ("gone.py",): False,
            ("made.bin",): True,
            ("old name.py", "new name.py"): False,
            ("run",): False,
            ("same.bin",): False,
        }
        assert "".join(piece.text for piece in split(patch)) == patch


def plain(patch: str) -> str:
    """The patch as `diff -u` writes it: from `---` on."""
    return patch[patch.index("\n--- ") + 1 :]


@quick(50)
@given(edits=trees())
def test_a_plain_unified_diff_is_split_too(edits: list[Change]) -> None:
    """Without `diff --git`; lines inside that look like `---` and `+++` begin no file."""
    made = [(edit, file_diff(edit.path, edit.old, edit.new)) for edit in edits]
    parts = [(edit, plain(text)) for edit, text in made if "\n--- " in text.partition("\n@@ ")[0]]
    pieces = split("".join(text for _, text in parts))
    assert [piece.paths for piece in pieces] == [(edit.path,) for edit, _ in parts]
    assert [piece.text for piece in pieces] == [text for _, text in parts]
    assert [piece.is_new for piece in pieces] == [edit.old is None for edit, _ in parts]


def test_hunks_that_look_like_headers_begin_no_file() -> None:
    """`-- x` removed and `++ y` added read `--- x`, `+++ y`, and the next hunk follows at once where no context is."""
    patch = "--- a/one.sql\n+++ b/one.sql\n@@ -1 +1 @@\n--- x\n+++ y\n@@ -9 +9 @@\n--- z\n+++ z\n"
    other = "--- a/two.sql\t2024-01-01 00:00:00\n+++ b/two.sql\t2024-01-02 00:00:00\n@@ -1 +1 @@\n-a\n+b\n"
    pieces = split("an introduction\n" + patch + other)
    assert [(piece.paths, piece.text) for piece in pieces] == [(("one.sql",), patch), (("two.sql",), other)]


@pytest.mark.parametrize("end", ["", "\n", "\n-- \n2.39.5\n"], ids=["cut off", "whole", "signed"])
def test_the_end_of_a_patch_belongs_to_its_last_file(end: str) -> None:
    patch = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-1\n+2" + end
    assert [piece.text for piece in split(patch)] == [patch]


@quick(50)
@given(
    text=st.one_of(
        texts(),
        st.lists(
            st.sampled_from(
                [
                    "diff --git a/x b/x",
                    'diff --git "a/\\9" "b',
                    "--- a/x",
                    '+++ "b/\\777"',
                    '+++ "b/\\1',
                    "@@ -1 +1 @@",
                    "rename to x",
                    "Binary files a/x and b/x differ",
                    "-1",
                    "+2",
                    "diff --git ",
                    "--- /dev/null",
                    '+++ "b/\\7zz"',
                    "",
                ]
            )
        ).map("\n".join),
    )
)
def test_what_is_no_patch_is_split_without_a_fuss(text: str) -> None:
    """A row of a dataset may hold anything; whether it applies is for git to say."""
    assert text.endswith("".join(piece.text for piece in split(text)))


def test_the_examples_in_the_docstrings_are_true() -> None:
    assert doctest.testmod(diff).failed == 0
