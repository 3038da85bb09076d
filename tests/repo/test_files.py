"""Read and write one file below a folder, and nothing outside it, whatever its name is and whoever swaps folders."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nano_codex_env.diff import File
from nano_codex_env.errors import ToolError
from nano_codex_env.repo import MAX_FILE, files
from tests.conftest import GIT_ENV, git
from tests.strategies import files as any_file
from tests.strategies import quick, texts

SECRET = b"not for the policy"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder next to the root, with a file that must be neither read nor written."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "x.py").write_bytes(SECRET)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a file, a script and a folder."""
    folder = tmp_path / "root"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "sub" / "x.py").write_bytes(b"inside\n")
    (folder / "run.sh").write_bytes(b"#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    return folder


def state(folder: Path) -> dict[str, bytes]:
    """What lies below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def descriptors() -> int:
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))


# Names.


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("sums.py", ("sums.py",)),
        ("pkg/mod/x.py", ("pkg", "mod", "x.py")),
        ("./pkg//./x.py", ("pkg", "x.py")),
        ("/testbed/pkg/x.py", ("pkg", "x.py")),
        ("testbed/x.py", ("testbed", "x.py")),
        ("-rf", ("-rf",)),
        ("...", ("...",)),
        ("..x/x..", ("..x", "x..")),
        (".gitignore", (".gitignore",)),
        (".gitattributes", (".gitattributes",)),
        (".github/workflows/ci.yml", (".github", "workflows", "ci.yml")),
        ("git", ("git",)),
        ("a.git", ("a.git",)),
        (".git-blame-ignore-revs", (".git-blame-ignore-revs",)),
        ("docs/my caf\u00e9 \u65e5\u672c\U0001f600.md", ("docs", "my caf\u00e9 \u65e5\u672c\U0001f600.md")),
        ("x" * 255, ("x" * 255,)),
        ("/".join(["d"] * 64), ("d",) * 64),
        ("a b/c  d", ("a b", "c  d")),
        ('quo"te\\back', ('quo"te\\back',)),
        ("~/x", ("~", "x")),
        ("$HOME", ("$HOME",)),
    ],
)
def test_a_sensible_name_is_taken_apart(name: str, parts: tuple[str, ...]) -> None:
    assert files.parts_of(name) == parts


OUT = r"is outside the repository; give a path relative to its root"
UP = r"is outside the repository or leads through `\.\.`; give a path without `\.\.`"
FOLDER = r"names a folder; give a file's path"
ODD = r"holds control or invisible characters \({}\); leave them out"
LONG = r"the file name is too long \(\d+ characters; 1024 bytes, 255 a component\)"
GIT = r"lies in git's own folder, which cannot be patched"
BLANK = r"a component of .* begins or ends with a blank; leave it out"
REFUSED = [
    ("../x.py", UP),
    ("..", UP),
    ("sub/../../x.py", UP),
    ("sub/../x.py", UP),
    ("sub/..", UP),
    ("/testbed/../etc/passwd", UP),
    ("../repo-secret/a.txt", UP),
    ("/etc/passwd", OUT),
    ("/testbedx/a", OUT),
    ("/testbed/../../x", UP),
    ("//etc/passwd", OUT),
    ("/testbed//etc/passwd", OUT),
    ("/testbed//testbed/x", OUT),
    ("/tmp/x", OUT),
    ("", FOLDER),
    (".", FOLDER),
    ("./", FOLDER),
    ("/testbed/", FOLDER),
    ("sub/", FOLDER),
    ("new/", FOLDER),
    ("./.", FOLDER),
    ("a\0b", ODD.format(r"U\+0000")),
    ("a\nb", ODD.format(r"U\+000A")),
    ("a\tb\x7f", ODD.format(r"U\+0009, U\+007F")),
    ("x\u202eyp.exe", ODD.format(r"U\+202E")),
    ("x\u2066y", ODD.format(r"U\+2066")),
    ("a\u200bb", ODD.format(r"U\+200B")),
    ("a\ufeffb", ODD.format(r"U\+FEFF")),
    ("a\u00adb", ODD.format(r"U\+00AD")),
    ("a\udcffb", ODD.format(r"U\+DCFF")),
    ("a\x85b", ODD.format(r"U\+0085")),
    ("a\u2028b", ODD.format(r"U\+2028")),
    ("a\u2029b", ODD.format(r"U\+2029")),
    ("x" * 256, LONG),
    ("\u65e5" * 86, LONG),
    ("/".join(["d"] * 513), LONG),
    ("/".join(["x" * 200] * 6), LONG),
    ("/".join(["d"] * 65), r"is too deep \(65 components; the limit is 64\)"),
    ("/".join(["d"] * 500), r"is too deep \(500 components; the limit is 64\)"),
    (" ", BLANK),
    (" a", BLANK),
    ("sub /a", BLANK),
    ("sub/a\u3000", BLANK),
    ("x" * 100_000, LONG),
]
GITS = [
    ".git",
    ".git/config",
    ".git/hooks/post-checkout",
    "./.git/config",
    "/testbed/.git/config",
    "vendor/.git/config",
    "a/b/.git",
    ".GIT/config",
    ".Git/x",
    ".gIT",
    ".git./config",
    ".git.../config",
    ".git /config",
    ".git . ./config",
    ".git\\config",
    ".git.\\config",
    ".git \\config",
    ".git\\\\config",
    "sub/.git\\config",
    ".git::$INDEX_ALLOCATION/config",
    ".git:stream",
    ".git.:x",
    ".git :x",
    "git~1/config",
    "GIT~1",
    "git~1./x",
    "git~1 /x",
    "git~1\\x",
    "git~1:x",
    "\uff0egit/config",
]
INVISIBLE = [".g\u200cit/config", ".gi\u200dt/x", "\u200e.git/x", ".git\ufeff/x", ".\u202agit/x", ".g\u206ait/x"]
GITS += [f".g{fillers}it/x" for fillers in ("\u034f", "\u115f", "\u17b4", "\u180b", "\u3164", "\ufe0f", "\uffa0")]
GITS += [".g\U000e0100it/x"]


@pytest.mark.parametrize(("name", "words"), REFUSED)
def test_a_name_that_leads_elsewhere_is_refused_in_words(name: str, words: str) -> None:
    with pytest.raises(ToolError, match=words) as caught:
        files.parts_of(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", GITS + INVISIBLE)
def test_gits_own_folder_is_refused_in_every_spelling(name: str) -> None:
    """CVE-2014-9390 and its relatives: case, dots, blanks, streams, short names, code points that some ignore."""
    with pytest.raises(ToolError, match=GIT if name in GITS else "holds control or invisible characters"):
        files.parts_of(name)


def test_whatever_name_git_refuses_is_refused(tmp_path: Path) -> None:
    """With the protection for every file system on: a tree with such a name could not be checked out there."""
    git(tmp_path, "init", "-q")
    blob = git(tmp_path, "hash-object", "-w", "/dev/null")
    ignored = ["", "\u200c", "\u200d", "\u200e", "\u202a", "\u206a", "\ufeff"]
    spellings = {
        f"{before}.g{hidden}it{after}"
        for hidden in ignored
        for before in ("", "a/")
        for after in ("", "/x", " ", ".", ":x")
    }
    spellings |= {"git~1", "GIT~1/x", "a/git~1", ".git . .", ".GIT", "..", "a/../b", ".", ".git::$INDEX_ALLOCATION/x"}
    spellings |= {".git\\x"}
    protection = ["-c", "core.protectHFS=true", "-c", "core.protectNTFS=true"]
    refused = []
    for name in sorted(spellings):
        command = ["git", *protection, "update-index", "--add", "--cacheinfo", f"100644,{blob},{name}"]
        done = subprocess.run(command, cwd=tmp_path, env=GIT_ENV, capture_output=True, check=False)
        if done.returncode:
            refused.append(name)
            with pytest.raises(ToolError):
                files.parts_of(name)
    assert len(refused) > 30


@quick(150)
@given(
    name=st.one_of(
        texts(),
        st.lists(
            st.sampled_from(["..", ".", "", "/", "a", ".git", "sub", "~", "\\", "\0", "/testbed", "x" * 250]),
            max_size=8,
        ).map("/".join),
    )
)
def test_no_name_at_all_leads_outside(root: Path, outside: Path, name: str) -> None:
    """A name is refused, or its file lies below the root and is one that git can hold."""
    try:
        parts = files.parts_of(name)
    except ToolError:
        return
    assert parts
    assert not {"", ".", "..", ".git"} & set(parts)
    assert not any("/" in part or "\0" in part for part in parts)
    path = root.joinpath(*parts).resolve()
    assert path.is_relative_to(root)
    assert path != root


# Reading and writing.


@quick(60)
@given(file=any_file(), name=st.sampled_from(["a", "sub/x.py", "run.sh", "new/deep/file", "-rf"]))
def test_what_was_written_is_read_back(root: Path, file: File, name: str) -> None:
    parts = files.parts_of(name)
    files.write(root, parts, file)
    assert files.read(root, parts) == file
    assert stat.S_IMODE((root / name).stat().st_mode) == (0o755 if file.executable else 0o644)


def test_the_umask_has_no_say(root: Path) -> None:
    before = os.umask(0o077)
    try:
        files.write(root, ("made", "deep", "x"), File(b"", executable=True))
    finally:
        os.umask(before)
    modes = [
        stat.S_IMODE(root.joinpath(*parts).stat().st_mode)
        for parts in (["made"], ["made", "deep"], ["made", "deep", "x"])
    ]
    assert modes == [0o755, 0o755, 0o755]


def test_what_is_not_there_is_none(root: Path) -> None:
    for parts in (("no",), ("no", "such", "file"), ("sub", "deep", "no")):
        assert files.read(root, parts) is None
    assert not (root / "no").exists()


def test_a_file_of_the_largest_size_is_read_and_one_byte_more_is_too_large(root: Path) -> None:
    (root / "most").write_bytes(bytes(MAX_FILE))
    (root / "more").write_bytes(bytes(MAX_FILE + 1))
    found = files.read(root, ("most",))
    assert found is not None
    assert len(found.data) == MAX_FILE
    with pytest.raises(
        ToolError, match=rf"^more is too large to patch \({MAX_FILE + 1} bytes; the limit is {MAX_FILE}\)$"
    ):
        files.read(root, ("more",))


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


def _device(path: Path) -> None:
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("making a device file needs root")


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (Path.mkdir, "odd is a folder; only regular files can be patched"),
    "a fifo": (_fifo, "odd is no regular file; only regular files can be patched"),
    "a socket": (_socket, "odd is no regular file; only regular files can be patched"),
    "a device": (_device, "odd is no regular file; only regular files can be patched"),
    "a link": (
        lambda path: path.symlink_to("sub/x.py"),
        "odd is a symbolic link to sub/x.py; links are not followed, ",
    ),
    "a link to outside": (
        lambda path: path.symlink_to("../outside/x.py"),
        r"odd is a symbolic link to \.\./outside/x\.py; ",
    ),
    "a link to a folder outside": (
        lambda path: path.symlink_to("../outside"),
        r"odd is a symbolic link to \.\./outside; ",
    ),
    "a dangling link": (lambda path: path.symlink_to("/no/where"), "odd is a symbolic link to /no/where; "),
    "a link to itself": (lambda path: path.symlink_to("odd"), "odd is a symbolic link to odd; "),
    "a link with odd characters": (
        lambda path: path.symlink_to("a\n\u202eb" + "x" * 200),
        "odd is a symbolic link to .*; ",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_is_refused_at_once(root: Path, outside: Path, kind: str) -> None:
    """No waiting for a writer of a fifo, no endless device, no descriptor left open."""
    make, words = KINDS[kind]
    make(root / "odd")
    before = descriptors()
    with pytest.raises(ToolError, match=words) as caught:
        files.read(root, ("odd",))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
    assert descriptors() == before


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "a folder"])
def test_what_is_no_folder_is_refused_on_the_way(root: Path, outside: Path, kind: str) -> None:
    KINDS[kind][0](root / "odd")
    before, open_files = (state(root), state(outside)), descriptors()
    words = "odd is a symbolic link" if "link" in kind else "odd is a file, not a folder"
    for parts in (("odd", "x.py"), ("odd", "new", "deep", "x.py")):
        with pytest.raises(ToolError, match=words):
            files.read(root, parts)
        with pytest.raises(ToolError, match=words):
            files.write(root, parts, File(b"written"))
        with pytest.raises(ToolError, match=words):
            files.check_folder(root, parts[:-1])
    assert (state(root), state(outside)) == before
    assert descriptors() == open_files


def test_writing_over_a_link_or_a_hard_link_replaces_it_and_leaves_the_other_end_alone(
    root: Path, outside: Path
) -> None:
    """A rename puts the new file there; nothing is written through."""
    os.link(outside / "x.py", root / "hard")
    (root / "soft").symlink_to(outside / "x.py")
    for name in ("hard", "soft"):
        files.write(root, (name,), File(b"written"))
        assert (root / name).read_bytes() == b"written"
        assert not (root / name).is_symlink()
    assert state(outside) == {"x.py": SECRET}


def test_a_write_that_fails_leaves_the_old_file_and_no_other(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, open_files = state(root), descriptors()

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("rename", "fchmod"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(OSError, match="No space left"):
                files.write(root, ("sub", "x.py"), File(b"written"))
        assert state(root) == before
    assert descriptors() == open_files


def test_a_write_over_a_folder_leaves_it(root: Path) -> None:
    with pytest.raises((ToolError, IsADirectoryError)):
        files.write(root, ("sub",), File(b"written"))
    assert (root / "sub" / "x.py").read_bytes() == b"inside\n"
    assert {path.name for path in root.iterdir()} == {"sub", "run.sh"}


def test_a_reader_never_sees_half_a_file(root: Path) -> None:
    """The new file is there whole, or the old one is."""
    one, two = File(b"1" * 300_000), File(b"2" * 300_000, executable=True)
    files.write(root, ("x",), one)
    over = threading.Event()

    def write() -> None:
        for _ in range(60):
            files.write(root, ("x",), two)
            files.write(root, ("x",), one)
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    while not over.is_set():
        seen.append(files.read(root, ("x",)))
    writer.join()
    assert all(file in (one, two) for file in seen)


# A race.


@pytest.fixture
def swapping(root: Path, outside: Path) -> Iterator[None]:
    """Another thread makes `sub` a link to outside, and a folder again, as fast as it can."""
    over = threading.Event()
    (root / "sub" / "deep" / "x.py").write_bytes(b"inside\n")
    (outside / "deep").mkdir()
    (outside / "deep" / "x.py").write_bytes(SECRET)

    def swap() -> None:
        while not over.is_set():
            for old, link in ((root / "sub", outside), (root / "sub" / "deep", outside / "deep")):
                kept = old.with_name(old.name + "-kept")
                try:
                    old.rename(kept)
                    old.symlink_to(link)
                    old.unlink()
                    kept.rename(old)
                except OSError:  # `write` has made a folder meanwhile
                    if old.is_symlink():
                        old.unlink()

    swapper = threading.Thread(target=swap)
    swapper.start()
    yield
    over.set()
    swapper.join()


@pytest.mark.usefixtures("swapping")
def test_a_folder_that_is_swapped_for_a_link_leads_nobody_outside(root: Path, outside: Path) -> None:
    """Nothing outside is ever written or read, whatever the moment."""
    seen = set()
    for number in range(250):
        for parts in (("sub", "x.py"), ("sub", "deep", "x.py"), ("sub", f"{number % 7}", "new.py")):
            try:
                files.write(root, parts, File(b"written"))
                found = files.read(root, parts)
                seen.add(found.data if found else b"")
            except (ToolError, OSError):
                continue
    assert seen <= {b"written", b"inside\n", b""}
    assert b"written" in seen
    assert state(outside) == {"x.py": SECRET, "deep/x.py": SECRET}
    assert not re.search("tmp", " ".join(path.name for path in outside.rglob("*")))
