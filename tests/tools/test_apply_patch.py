"""`apply_patch` replaces a text exactly; every mistake is answered by what helps to fix it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import assume, example, given

from nano_codex_env import Task
from nano_codex_env.diff import File
from nano_codex_env.episode import Episode, Rules
from nano_codex_env.messages import tool_call
from nano_codex_env.repo import MAX_FILE
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.tools import Toolbox, ToolResult, apply_patch
from tests.conftest import BUG, git
from tests.strategies import Edit, decoded, edits, quick, texts

LATIN = b"# -*- coding: latin-1 -*-\nname = 'caf\xe9'\nplace = 'x'\n"
FILES: dict[str, str | bytes] = {
    "sums.py": BUG,
    "pkg/data.txt": "one\ntwo\n",
    "twice.py": "x = 1\ny = 2\nx = 1\n",
    "overlap.txt": "aaa\n",
    "many.txt": "same\n" * 40,
    "empty.py": "",
    "crlf.bat": b"@echo off\r\nset a=1\r\nset b=2\r\n",
    "mixed.txt": b"one\r\ntwo\nthree\r\n",
    "mac.txt": b"one\rtwo\rthree",
    "bom.cs": b"\xef\xbb\xbfusing System;\r\nclass A {}\r\n",
    "latin.py": LATIN,
    "no-end.txt": "one\ntwo",
    "run.sh": "#!/bin/sh\necho one\n",
    "breaks.txt": "a\u2028b\x0cc\x85d\n",
    "binary.bin": b"a\0b\n",
    "large.txt": b"x" * (MAX_FILE - 10) + b"\nend",
    "larger.txt": b"y" * (MAX_FILE + 1),
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a file of each kind, and links."""
    repo = tmp_path_factory.mktemp("library") / "repo"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    for name, data in FILES.items():
        (repo / name).parent.mkdir(exist_ok=True)
        (repo / name).write_bytes(data.encode() if isinstance(data, str) else data)
    (repo / "run.sh").chmod(0o755)
    outside = repo.parent / "outside"
    outside.mkdir()
    links = {"link.py": "sums.py", "folder": "pkg", "out": str(outside), "passwd": "/etc/passwd", "repository": ".git"}
    for name, target in {**links, "dangling": "../outside/new.txt"}.items():
        (repo / name).symlink_to(target)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "first")
    return repo


@pytest.fixture
def episode(library: Path, sandbox: Sandbox) -> Iterator[Episode]:
    """An episode over it."""
    task = Task("library", str(library), "", "mend it")
    made = Episode(task, Toolbox([apply_patch()]), sandbox, Rules(), cache=None, log_dir=None)
    yield made
    made.close()


Patch = Callable[[str, str, str], ToolResult]


@pytest.fixture
def patch(episode: Episode) -> Patch:
    """Calls the tool as a policy does."""

    def call(search: str, replace: str, file: str) -> ToolResult:
        made = tool_call("apply_patch", search=search, replace=replace, file=file)
        return Toolbox([apply_patch()]).call(episode.context, made)

    return call


def held(episode: Episode, file: str) -> bytes:
    """What the file holds now."""
    found = episode.workspace.read(file)
    assert found is not None
    return found.data


# What it does.

DONE = [
    ("a line", ("    return a - b\n", "    return a + b\n", "sums.py"), 5, BUG.replace("a - b", "a + b")),
    ("a part of a line", ("a - b", "a + b", "sums.py"), 5, BUG.replace("a - b", "a + b")),
    ("across lines", ("y = 2\nx", "z", "twice.py"), 2, "x = 1\nz = 1\n"),
    ("to nothing", ("two\n", "", "pkg/data.txt"), 2, "one\n"),
    ("all of it", ("one\ntwo\n", "", "pkg/data.txt"), 1, ""),
    ("by /testbed", ("two", "2", "/testbed/pkg/data.txt"), 2, "one\n2\n"),
    ("by ./", ("two", "2", "./pkg//data.txt"), 2, "one\n2\n"),
    ("no regular expression", ("a - b", r"\g<0>\1&$1", "sums.py"), 5, BUG.replace("a - b", r"\g<0>\1&$1")),
    ("an empty file", ("", "x = 1\n", "empty.py"), 1, "x = 1\n"),
    ("no newline at the end", ("two", "2", "no-end.txt"), 2, "one\n2"),
    ("one newline more", ("two", "two\n", "no-end.txt"), 2, "one\ntwo\n"),
    ("a new file", ("", "x = 1\n", "new/deep/mod.py"), 0, "x = 1\n"),
    ("an empty new file", ("", "", "new/__init__.py"), 0, ""),
    ("a new file, not ASCII", ("", "caf\u00e9 \U0001f600\r\n", "n\u00e9w.txt"), 0, "caf\u00e9 \U0001f600\r\n"),
    ("like an option", ("", "x", "-rf"), 0, "x"),
    ("CR LF by LF", ("a=1\nset b", "a=3\n\nset c", "crlf.bat"), 2, b"@echo off\r\nset a=3\r\n\r\nset c=2\r\n"),
    ("CR LF by itself", ("a=1\r\nset", "a=3\r\nlet", "crlf.bat"), 2, b"@echo off\r\nset a=3\r\nlet b=2\r\n"),
    ("CR LF at the end", ("b=2\n", "b=2\nend\n", "crlf.bat"), 3, b"@echo off\r\nset a=1\r\nset b=2\r\nend\r\n"),
    ("in mixed endings", ("two\n", "2\n", "mixed.txt"), 2, b"one\r\n2\nthree\r\n"),
    ("mixed, exactly", ("one\r\ntwo", "1\n2", "mixed.txt"), 1, b"1\n2\nthree\r\n"),
    ("old Mac endings", ("two\r", "2\r", "mac.txt"), 1, b"one\r2\rthree"),
    ("a BOM is kept", ("using System;\n", "using X;\n", "bom.cs"), 1, b"\xef\xbb\xbfusing X;\r\nclass A {}\r\n"),
    ("a BOM is text", ("\ufeffusing", "using", "bom.cs"), 1, b"using System;\r\nclass A {}\r\n"),
    ("Latin-1 is kept", ("place = 'x'", "place = '\u00fc'", "latin.py"), 3, LATIN.replace(b"'x'", b"'\xfc'")),
    ("Latin-1 is found", ("caf\u00e9", "tea", "latin.py"), 2, LATIN.replace(b"caf\xe9", b"tea")),
    ("odd line breaks", ("b\x0cc", "B", "breaks.txt"), 1, "a\u2028B\x85d\n"),
    ("in a large file", ("end", "END", "large.txt"), 2, b"x" * (MAX_FILE - 10) + b"\nEND"),
]


@pytest.mark.parametrize(("arguments", "line", "data"), [case[1:] for case in DONE], ids=[case[0] for case in DONE])
def test_a_text_is_replaced_exactly(
    episode: Episode, patch: Patch, arguments: tuple[str, str, str], line: int, data: str | bytes
) -> None:
    """The bytes around it stay as they are: encoding, line endings, byte order mark, the missing last newline."""
    file = arguments[2]
    assert patch(*arguments) == ToolResult(f"patched {file} at line {line}" if line else f"created {file}")
    assert held(episode, file) == (data.encode() if isinstance(data, str) else data)
    assert len(episode.workspace.touched) == 1


def test_the_mode_is_kept_and_a_new_file_is_not_executable(episode: Episode, patch: Patch) -> None:
    assert patch("one", "two", "run.sh").ok
    assert patch("", "#!/bin/sh\n", "new.sh").ok
    assert episode.workspace.read("run.sh") == File(b"#!/bin/sh\necho two\n", executable=True)
    assert episode.workspace.read("new.sh") == File(b"#!/bin/sh\n")
    assert "new mode" not in episode.workspace.diff().replace("new file mode 100644", "")


def test_a_file_is_patched_again_and_again(episode: Episode, patch: Patch) -> None:
    """Each patch sees what the one before made; what was put back is no change."""
    assert patch("", "one\n", "new.py").ok
    assert patch("one", "two", "new.py").ok
    assert patch("one", "three", "new.py") == ToolResult(NOT_FOUND.format("new.py"), ok=False)
    assert patch("", "more", "new.py") == ToolResult(EXISTS.format("new.py"), ok=False)
    assert patch("two\n", "", "new.py").ok
    assert patch("", "again\n", "new.py") == ToolResult("patched new.py at line 1")
    assert patch("a - b", "a + b", "sums.py").ok
    assert patch("a + b", "a - b", "sums.py").ok
    assert [line for line in episode.workspace.diff().split("\n") if line.startswith("diff")] == [
        "diff --git a/new.py b/new.py"
    ]


# What it refuses.

NOT_FOUND = "error: search text not found in {}; look at it with shell (`grep -n`, `sed -n`) and copy the text exactly"
EXISTS = "error: {} exists already; an empty search is for a new file, so give the text to be replaced"
SAME = "error: search and replace are the same; nothing would change"
NO_FILE = "error: there is no file {}; look for it with shell, or give an empty search to create it"
TIMES = "error: search occurs {} times in {} (at lines {}); add neighbouring lines until it is unique"
LINK = "error: {} is a symbolic link to {}; links are not followed, patch what it points to"
GIT = "error: {} lies in git's own folder, which cannot be patched"
REFUSED = [
    ("not there", ("a * b", "a + b", "sums.py"), NOT_FOUND.format("sums.py")),
    ("other indentation", ("\treturn a - b", "x", "sums.py"), NOT_FOUND.format("sums.py")),
    ("a pattern", ("a . b", "x", "sums.py"), NOT_FOUND.format("sums.py")),
    ("a blank more at the end", ("return a - b ", "x", "sums.py"), NOT_FOUND.format("sums.py")),
    ("LF in mixed endings", ("one\ntwo", "x", "mixed.txt"), NOT_FOUND.format("mixed.txt")),
    ("beyond Latin-1, in Latin-1", ("\u65e5", "x", "latin.py"), NOT_FOUND.format("latin.py")),
    ("twice", ("x = 1", "x = 3", "twice.py"), TIMES.format(2, "twice.py", "1, 3")),
    ("overlapping", ("aa", "b", "overlap.txt"), TIMES.format(2, "overlap.txt", "1, 1")),
    ("often", ("same", "x", "many.txt"), TIMES.format(40, "many.txt", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ...")),
    ("no file", ("x", "y", "nothing.py"), NO_FILE.format("nothing.py")),
    ("exists", ("", "x", "sums.py"), EXISTS.format("sums.py")),
    ("the same", ("a - b", "a - b", "sums.py"), SAME),
    ("nothing for nothing", ("", "", "empty.py"), SAME),
    ("the same in CR LF", ("set a=1\n", "set a=1\r\n", "crlf.bat"), SAME),
    ("the same in CR LF, back", ("a=1\r\n", "a=1\n", "crlf.bat"), SAME),
    ("binary", ("a", "b", "binary.bin"), "error: binary.bin is a binary file; only text can be patched"),
    ("NUL for a text", ("one", "a\0b", "no-end.txt"), "error: replace holds a NUL character; only text can be written"),
    ("NUL in a new file", ("", "a\0b", "new.bin"), "error: replace holds a NUL character; only text files can be made"),
    ("NUL in search", ("a\0b", "x", "sums.py"), NOT_FOUND.format("sums.py")),
    (
        "beyond Latin-1",
        ("place", "\u65e5", "latin.py"),
        "error: latin.py is not UTF-8 and replace holds characters beyond Latin-1; use only those it can hold",
    ),
    (
        "too large",
        ("y", "x", "larger.txt"),
        f"error: larger.txt is too large to patch ({MAX_FILE + 1} bytes; the limit is {MAX_FILE})",
    ),
    (
        "would be too large",
        ("end", "e" * 100, "large.txt"),
        f"error: large.txt would be too large ({MAX_FILE + 91} bytes; the limit is {MAX_FILE})",
    ),
    (
        "a long search",
        ("x" * 200_001, "y", "sums.py"),
        "error: search is too long (200001 characters; the limit is 200000)",
    ),
    ("a folder", ("x", "y", "pkg"), "error: pkg is a folder; only regular files can be patched"),
    ("below a file", ("", "y", "sums.py/x.py"), "error: sums.py is a file, not a folder"),
    ("a link", ("a - b", "a + b", "link.py"), LINK.format("link.py", "sums.py")),
    (
        "up and down",
        ("a", "b", "pkg/../sums.py"),
        "error: pkg/../sums.py is outside the repository or leads through `..`; give a path without `..`",
    ),
    (
        "absolute",
        ("root", "x", "/etc/passwd"),
        "error: /etc/passwd is outside the repository; give a path relative to its root",
    ),
    (
        "nearly /testbed",
        ("", "x", "/testbed2/x"),
        "error: /testbed2/x is outside the repository; give a path relative to its root",
    ),
    ("no name", ("", "x", ""), "error:  names a folder; give a file's path"),
    ("the root", ("", "x", "."), "error: . names a folder; give a file's path"),
    ("git's folder", ("x", "y", ".git/config"), GIT.format(".git/config")),
    (
        "git's folder, hidden",
        ("", "x", ".g\u200cit/x"),
        "error: .g\\u200cit/x holds control or invisible characters (U+200C); leave them out",
    ),
    ("long", ("", "x", "n" * 300), "error: the file name is too long (300 characters; 1024 bytes, 255 a component)"),
]


@pytest.mark.parametrize(("arguments", "said"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_mistake_is_answered_in_words_and_changes_nothing(
    library: Path, episode: Episode, patch: Patch, arguments: tuple[str, str, str], said: str
) -> None:
    assert patch(*arguments) == ToolResult(said, ok=False)
    assert (episode.workspace.touched, episode.workspace.version) == ((), 0)
    assert episode.workspace.layers == (episode.workspace.base,)
    assert list((library.parent / "outside").iterdir()) == []


def test_what_the_policy_made_itself_stands_in_its_way_too(episode: Episode, patch: Patch) -> None:
    """A file below a file, or in the place of a folder: its mistake, not ours."""
    assert patch("", "x", "made/mod.py").ok
    assert patch("", "x", "made") == ToolResult("error: made is a folder; only regular files can be patched", ok=False)
    assert patch("y", "x", "made") == ToolResult("error: made is a folder; only regular files can be patched", ok=False)
    assert patch("", "x", "made/mod.py/x") == ToolResult("error: made/mod.py is a file, not a folder", ok=False)
    assert episode.workspace.touched == ("made/mod.py",)


def test_a_deep_and_a_long_name_are_fine(episode: Episode, patch: Patch) -> None:
    for name in ("/".join(["d"] * 64), "n" * 255, "/".join(["n" * 200] * 5)):
        assert patch("", "x\n", name) == ToolResult(f"created {name}")
    assert len(episode.workspace.touched) == 3


def test_the_largest_texts_are_taken(episode: Episode, patch: Patch) -> None:
    assert patch("", "x" * 200_000, "new.txt").ok
    arguments = {"search": "x" * 200_000, "replace": "\U0001f600" * 200_000, "file": "new.txt"}
    raw = json.dumps(arguments, ensure_ascii=False)
    call = {"id": "call00001", "type": "function", "function": {"name": "apply_patch", "arguments": raw}}
    assert Toolbox([apply_patch()]).call(episode.context, call) == ToolResult("patched new.txt at line 1")
    assert held(episode, "new.txt") == ("\U0001f600" * 200_000).encode()


# Properties.


@quick(100)
@given(edit=edits())
@example(edit=Edit(b"a\r\nb\r\n", "a\r\nb", "\n"))
@example(edit=Edit(b"caf\xe9\r\n\xff", "\r\n", "x\ny"))
@example(edit=Edit(b"\xef\xbb\xbfa", "\ufeff", "b"))
def test_a_patch_and_its_reverse_give_back_the_bytes(episode: Episode, patch: Patch, edit: Edit) -> None:
    """For any file and any text that is unique in it, as long as the file stays of one encoding and line ending."""
    episode.workspace.write("any.txt", File(edit.data))
    crlf = b"\r\n" in edit.data and b"\n" not in edit.data.replace(b"\r\n", b"")
    replace = edit.replace.replace("\r\n", "\n").replace("\n", "\r\n") if crlf else edit.replace
    before = decoded(edit.data)
    after = before.replace(edit.search, replace)
    unique = sum(before.startswith(edit.search, n) for n in range(len(before))) == 1
    back = sum(after.startswith(replace, n) for n in range(len(after))) == 1 if replace else False
    assume(unique and back and replace != edit.search and "\0" not in replace)
    first = patch(edit.search, edit.replace, "any.txt")
    assume(first.ok or "beyond Latin-1" not in first.content)
    assert first.ok, first
    new = held(episode, "any.txt")
    still = b"\r\n" in new and b"\n" not in new.replace(b"\r\n", b"")
    assume(still == crlf and _is_utf8(new) == _is_utf8(edit.data))  # else the file is read in another way now
    second = patch(replace, edit.search, "any.txt")
    assert second.ok, second
    assert held(episode, "any.txt") == edit.data


def _is_utf8(data: bytes) -> bool:
    return decoded(data).encode() == data


@quick(100)
@given(search=texts(max_size=60), replace=texts(max_size=60), name=texts(max_size=60))
def test_no_arguments_at_all_break_an_episode(
    episode: Episode, patch: Patch, search: str, replace: str, name: str
) -> None:
    """Whatever a policy writes is done or answered; the answer is short and has no odd characters of its own."""
    for file in (name, "sums.py", "any.txt"):
        result = patch(search, replace, file)
        assert result.ok != result.content.startswith("error: ")
        assert len(result.content) < 400
        assert result.content.isprintable()
