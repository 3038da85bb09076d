"""`apply_patch` in a real episode against hostile arguments: each is refused in words that teach, and changes nothing.

One environment is attacked by everything; after each attack all that lies below its folder (repository, base tree,
touched files, cache, and the files outside that it is after) is compared with what it was, to the time of the last
change. What would get out without the wall is shown to do so by a tool that has none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import socket
import stat
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import NanoCodexEnv, Task, from_function
from nano_codex_env.messages import ToolCall, assistant, tool_call
from nano_codex_env.repo import MAX_FILE
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.tools import Tool, default_tools
from tests.conftest import BUG, git, mostly_slow

SECRET = "not for the policy\n"
LIMIT = 200_000
FILES: dict[str, bytes] = {
    "sums.py": BUG.encode(),
    "pkg/data.txt": b"one\ntwo\n",
    "pkg/deep/x.txt": b"deep\n",
    "twice.txt": b"same\nother\nsame\n",
    "overlap.txt": b"abababa\n",
    "crlf.txt": b"one\r\ntwo\r\nthree\r\n",
    "bom.txt": b"\xef\xbb\xbfone\ntwo\n",
    "bytes.txt": b"\xff\xfe\x80one\ntwo\xc3\n",
    "binary.bin": b"one\0two\n",
    "late.bin": b"one\n" + b"x" * 70_000 + b"\0",
    "empty.txt": b"",
    "full.txt": b"one\n" + b"x" * (MAX_FILE - 4),
    "huge.txt": b"one\n" + b"x" * MAX_FILE,
}
LINKS = {
    "link.txt": "pkg/data.txt",
    "out.txt": "../outside/secret.txt",
    "dangling.txt": "../outside/new.txt",
    "inside": "pkg",
    "out": "../outside",
    "absolute": "{outside}",
    "up": "..",
    "pkg/back": "../..",
    "chain.txt": "chain-2.txt",
    "chain-2.txt": "out/secret.txt",
    "chain": "pkg/chain",
    "pkg/chain": "../out",
    "self": "self",
    "ping": "pong",
    "pong": "ping",
    "repository": ".git",
    "odd": "../outside/\u202e\u200b\n",
}


def state(*folders: Path) -> dict[str, tuple[object, ...]]:
    """All that lies below: kind, mode, owner, times and contents; only the time of the last reading is left out."""
    return {str(path): _one(path) for folder in folders for path in (folder, *sorted(folder.rglob("*")))}


def _one(path: Path) -> tuple[object, ...]:
    found = path.lstat()
    about = (found.st_mode, found.st_uid, found.st_gid, found.st_nlink, found.st_ino, found.st_size)
    times = (found.st_mtime_ns, found.st_ctime_ns)
    if stat.S_ISLNK(found.st_mode):
        return (*about, *times, os.readlink(path))
    large = found.st_size > 1 << 20  # its times tell
    return (*about, *times, path.read_bytes() if stat.S_ISREG(found.st_mode) and not large else b"")


def lay(ground: Path) -> Path:
    """A tree with a file and a link of each kind, and a folder beside it that nobody shall reach; the tree."""
    tree, outside = ground / "tree", ground / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "pkg" / "deep").mkdir(parents=True)
    for name in ("secret.txt", "data.txt", "deep/x.txt", "pkg/deep/x.txt"):
        (outside / name).write_text(SECRET)
    for name, data in FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
    for name, target in LINKS.items():
        (tree / name).symlink_to(target.format(outside=outside))
    git(tree, "init", "-q", "-b", "main")
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "first")
    return tree


def plant(tree: Path, outside: Path) -> list[str]:
    """Put into a tree what git never would: pipes, sockets, devices, hard links, repositories; what could not be."""
    (tree / "vendor" / ".git").mkdir(parents=True)
    (tree / "vendor" / ".git" / "config").write_text("[core]\n")
    (tree / "module").mkdir()
    (tree / "module" / ".git").write_text("gitdir: ../.git/modules/module\n")
    os.link(outside / "secret.txt", tree / "hard.txt")
    os.mkfifo(tree / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(tree, os.O_PATH)
        listener.bind(f"/proc/self/fd/{folder}/socket")  # a socket's path may have 107 bytes
        os.close(folder)
    try:
        os.mknod(tree / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
        os.close(os.open(tree / "device", os.O_RDONLY))
    except PermissionError:  # not root, or the disk has no devices
        return ["device"]
    return []


@dataclass
class Ground:
    """A folder with an environment at work in it."""

    folder: Path
    env: NanoCodexEnv
    missing: list[str]

    def step(self, *calls: ToolCall) -> list[str]:
        """The tools' answers to a message with these calls; the episode goes on."""
        obs, reward, terminated, truncated, info = self.env.step(assistant("", *calls))
        assert (reward, terminated, truncated) == (0.0, False, False)
        answers: list[str] = [message["content"] for message in obs[-len(calls) :]]
        assert info["ok"] == [not answer.startswith("error: ") for answer in answers]
        return answers

    @property
    def base(self) -> Path:
        return self.env.episode.workspace.base

    @property
    def diff(self) -> str:
        return self.env.episode.workspace.diff()

    def state(self) -> tuple[object, ...]:
        workspace = self.env.episode.workspace
        return state(self.folder), workspace.touched, workspace.version, workspace.diff()


@contextlib.contextmanager
def playing(folder: Path, sandbox: Sandbox, *tools: Tool) -> Iterator[Ground]:
    """An episode over such a tree, with a cache of its own; what git cannot hold is planted in its base."""
    tree = lay(folder)
    task = Task("attacked", str(tree), git(tree, "rev-parse", "HEAD"), "mend it")
    none = from_function(lambda task, transcript, diff: 0.0)
    options: dict[str, Any] = {"max_steps": 10_000, "time_limit": None, "cache_dir": folder / "cache", "log_dir": None}
    with NanoCodexEnv(task, none, tools=[*default_tools(), *tools], sandbox=sandbox, **options) as env:
        env.reset(seed=0)
        yield Ground(folder, env, plant(env.episode.workspace.base, folder / "outside"))


@pytest.fixture
def ground(tmp_path: Path, sandbox: Sandbox) -> Iterator[Ground]:
    with playing(tmp_path, sandbox) as made:
        yield made


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Iterator[tuple[Ground, object]]:
    """One episode for all attacks that fail, with two files that it has touched, its box open; and its state."""
    with playing(tmp_path_factory.mktemp("attacked"), sandbox) as made:
        made.step(patch("made/mod.py", "", "x = 1\n"), patch("pkg/deep/x.txt", "deep", "Deep"), LOOK)
        yield made, made.state()


def patch(file: str, search: str = "one", replace: str = "1") -> ToolCall:
    return tool_call("apply_patch", search=search, replace=replace, file=file)


LOOK = tool_call("shell", cmd="cat made/mod.py pkg/deep/x.txt; sed -n 5p sums.py")
SEEN = "x = 1\nDeep\n    return a - b\n"


# Refused.


@dataclass(frozen=True)
class Attack:
    """Arguments that must be refused: with words for what was found, and for what to do."""

    kind: str
    file: str
    found: str
    mend: str
    search: str = "one"
    replace: str = "1"
    gets_out: bool = False
    """Whether a tool without walls writes outside of the tree, or in its `.git`, by these arguments."""

    def __str__(self) -> str:
        return f"{self.kind}: {ascii(self.file)[1:-1][:40]}"


def _outside(file: str, *, create: bool = False) -> Attack:
    absolute = file.removeprefix("/testbed/").startswith(("/", "{"))
    kind = "absolute" if absolute else "traversal"
    found = "is outside the repository" if absolute else "is outside the repository or leads through `..`"
    mend = "give a path relative to its root" if absolute else "give a path without `..`"
    search = "" if create else SECRET.strip()
    return Attack(kind, file, found, mend, search, gets_out=True)


def _link(kind: str, file: str, link: str, *, create: bool = False, gets_out: bool = True) -> Attack:
    search = "" if create else "[core]" if "config" in file else SECRET.strip()
    target = LINKS[link].format(outside="").rstrip("\u202e\u200b\n")
    found, mend = f"{link} is a symbolic link to {target}", "links are not followed, patch what"
    return Attack(kind, file, found, mend, search, "x", gets_out)


def _git(kind: str, file: str, search: str = "", *, gets_out: bool = False) -> Attack:
    return Attack(kind, file, "lies in git's own folder", "which cannot be patched", search, "#!/bin/sh\n", gets_out)


def _odd(file: str, *points: str) -> Attack:
    found = f"holds control or invisible characters ({', '.join(points)})"
    return Attack("odd characters", file, found, "leave them out", "")


def _times(file: str, search: str, count: int, lines: str) -> Attack:
    mend = "add neighbouring lines until it is unique"
    return Attack("occurs", file, f"search occurs {count} times in {file} (at lines {lines})", mend, search)


def _absent(file: str, search: str, replace: str = "1") -> Attack:
    mend = "look at it with shell (`grep -n`, `sed -n`) and copy the text exactly"
    return Attack("absent", file, f"search text not found in {file}", mend, search, replace)


ONLY = "only regular files can be patched"
ATTACKS = [
    _outside("../outside/secret.txt"),
    _outside("pkg/../../outside/secret.txt"),
    _outside("./pkg/.././../outside/secret.txt"),
    _outside("..//outside///secret.txt"),
    _outside("pkg/deep/../../../outside/new.txt", create=True),
    _outside("/testbed/../outside/secret.txt"),
    _outside("/testbed/pkg/../../outside/secret.txt"),
    _outside("{outside}/secret.txt"),
    _outside("/{outside}/secret.txt"),
    _outside("/testbed/{outside}/secret.txt"),
    _outside("/proc/self/root{outside}/secret.txt"),
    _outside("{outside}/new.txt", create=True),
    _link("linked file", "link.txt", "link.txt", gets_out=False),
    _link("linked file", "out.txt", "out.txt"),
    _link("linked file", "dangling.txt", "dangling.txt", create=True),
    _link("linked file", "odd", "odd", gets_out=False),
    _link("linked folder", "inside/data.txt", "inside", gets_out=False),
    _link("linked folder", "inside/new.txt", "inside", create=True, gets_out=False),
    _link("linked folder", "out/secret.txt", "out"),
    _link("linked folder", "out/deep/x.txt", "out"),
    _link("linked folder", "out/new.txt", "out", create=True),
    _link("linked folder", "absolute/secret.txt", "absolute"),
    _link("linked folder", "absolute/new/x.txt", "absolute", create=True),
    _link("linked folder", "up/outside/secret.txt", "up"),
    _link("linked folder", "pkg/back/outside/secret.txt", "pkg/back"),
    _link("linked folder", "repository/config", "repository"),
    _link("linked folder", "repository/hooks/pre-commit", "repository", create=True),
    _link("chain of links", "chain.txt", "chain.txt"),
    _link("chain of links", "chain/secret.txt", "chain"),
    _link("chain of links", "inside/chain/deep/x.txt", "inside"),
    _link("chain of links", "self", "self", gets_out=False),
    _link("chain of links", "self/x", "self", create=True, gets_out=False),
    _link("chain of links", "ping", "ping", create=True, gets_out=False),
    Attack("no file", "fifo", "fifo is no regular file", ONLY),
    Attack("no file", "fifo", "fifo is no regular file", ONLY, ""),
    Attack("no file", "socket", "socket is no regular file", ONLY),
    Attack("no file", "device", "device is no regular file", ONLY, ""),
    Attack("no file", "pkg", "pkg is a folder", ONLY),
    Attack("no file", "made", "made is a folder", ONLY, ""),
    Attack("no file", "pkg/", "pkg/ names a folder", "give a file's path"),
    Attack("no folder", "sums.py/x", "sums.py is a file", "not a folder", ""),
    Attack("no folder", "made/mod.py/x/y", "made/mod.py is a file", "not a folder", ""),
    Attack("no folder", "fifo/x", "fifo is a file", "not a folder", ""),
    _git("git", ".git/config", "[core]", gets_out=True),
    _git("git", "./.git//hooks/pre-commit", gets_out=True),
    _git("git", "/testbed/.git/hooks/pre-commit", gets_out=True),
    _git("git", ".git/HEAD", "ref", gets_out=True),
    _git("git", ".git/info/attributes", gets_out=True),
    _git("nested git", "vendor/.git/config", "[core]", gets_out=True),
    _git("nested git", "module/.git", "gitdir", gets_out=True),
    _git("nested git", "pkg/new/.git", gets_out=True),
    *(
        _git("git by another name", f"{name}/hooks/pre-commit")
        for name in (".GIT", ".gIt", ".git.", ".git...", ".git ", ".git . .", "GIT~1", "git~1", "git~2", "Git~1.")
    ),
    *(_git("git by another name", name) for name in (".git\\config", "pkg\\.git\\config", ".git.\\x", "git~1\\x")),
    *(_git("git by a stream", name) for name in (".git::$INDEX_ALLOCATION/x", ".git:x", ".GIT:$I30:y/x", "git~1:x")),
    *(
        _git("git in other letters", f"{name}/config")
        for name in (
            "\uff0egit",
            ".\uff47\uff49\uff54",
            "\u2024git",
            ".\u24d6\u24d8\u24e3",
            ".\U0001d420it",
            ".git\xa0",
        )
    ),
    *(_odd(f".g{char}it/config", f"U+{ord(char):04X}") for char in "\u200b\u200c\u200d\u2060\u206a\ufeff\xad\u180e"),
    _odd("\u200e.git/config", "U+200E"),
    _odd("pkg/a\0b.txt", "U+0000"),
    _odd("sums.py\0.txt", "U+0000"),
    _odd("pkg/\u202etxt.yp", "U+202E"),
    _odd("\u2066x\u2069/y", "U+2066, U+2069"),
    _odd("a\n+++ b\tc\x1b[0m\x7f", "U+0009, U+000A, U+001B, U+007F"),
    _odd("a\x85b\u2028c\u2029d", "U+0085, U+2028, U+2029"),
    _odd("\U000e0041\U0010fffe\ue000", "U+10FFFE, U+E000, U+E0041"),
    Attack("name", "n" * 256, "name is too long (256 characters", "255 a component)", ""),
    Attack("name", "\u65e5" * 86, "name is too long (86 characters", "255 a component)", ""),
    Attack("name", "n" * 1_000_000, "name is too long (1000000 characters", "1024 bytes", ""),
    Attack("name", "/".join(["n" * 250] * 5), "name is too long (1254 characters; 1024 bytes", "255 a component)", ""),
    Attack("name", "d/" * 64 + "x", "is too deep (65 components", "the limit is 64)", ""),
    Attack("name", "d/" * 400 + "x", "is too deep (401 components", "the limit is 64)", ""),
    Attack("name", "pkg /x", "a component of pkg /x begins or ends with a blank", "leave it out", ""),
    Attack("name", "\u3000x", "begins or ends with a blank", "leave it out", ""),
    Attack("large", "huge.txt", f"({MAX_FILE + 4} bytes", f"the limit is {MAX_FILE})"),
    Attack("large", "full.txt", f"would be too large ({MAX_FILE + 1} bytes", f"limit is {MAX_FILE})", replace="four"),
    Attack("binary", "binary.bin", "binary.bin is a binary file", "only text can be patched"),
    Attack("binary", "late.bin", "late.bin is a binary file", "only text can be patched"),
    Attack("binary", "new.bin", "replace holds a NUL character", "only text files can be made", "", "a\0b"),
    Attack("binary", "sums.py", "replace holds a NUL character", "only text can be written", "a - b", "\0"),
    Attack("megabytes", "sums.py", "search is too long (1000000 characters", f"limit is {LIMIT})", "x" * 1_000_000),
    Attack("megabytes", "sums.py", "replace is too long (2900000 ", f"limit is {LIMIT})", "a - b", "x" * 2_900_000),
    Attack("megabytes", "new.txt", f"replace is too long ({LIMIT + 1} ", f"limit is {LIMIT})", "", "x" * (LIMIT + 1)),
    Attack("megabytes", "sums.py", "the arguments are too long (", "the limit is 3000000)", "x" * 3_000_000),
    Attack("surrogate", "a\udcffb", "file is not valid Unicode: a lone surrogate U+DCFF stands at character 1", "send"),
    Attack("surrogate", "sums.py", "search is not valid Unicode: a lone surrogate U+D800", "send whole", "\ud800"),
    Attack("surrogate", "new.txt", "replace is not valid Unicode: a lone surrogate U+DC00", "send", "", "xy\udc00"),
    Attack(
        "empty search", "sums.py", "sums.py exists already", "an empty search is for a new file, so give the text", ""
    ),
    Attack("empty search", "empty.txt", "search and replace are the same", "nothing would change", "", ""),
    Attack("no such file", "pkg/none.txt", "there is no file pkg/none.txt", "look for it with shell, or give an empty"),
    _times("twice.txt", "same", 2, "1, 3"),
    _times("overlap.txt", "aba", 3, "1, 1, 1"),
    _times("twice.txt", "\n", 3, "1, 2, 3"),
    _absent("twice.txt", "same\n\nother"),
    _absent("crlf.txt", "one\rtwo"),
    _absent("crlf.txt", "one\r\r\ntwo"),
    _absent("bom.txt", "one\r\ntwo"),
    _absent("bom.txt", "\xef\xbb\xbfone"),
    _absent("bytes.txt", "\ufffdone"),
    _absent("bytes.txt", "\u65e5"),
    Attack("other bytes", "bytes.txt", "bytes.txt is not UTF-8 and replace holds", "use only those", "one", "\u65e5"),
    Attack("other bytes", "crlf.txt", "search and replace are the same", "nothing would", "one\r\ntwo", "one\ntwo"),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_a_hostile_argument_is_refused_in_words_and_changes_nothing(
    attacked: tuple[Ground, object], attack: Attack
) -> None:
    """Neither a byte nor a time of change, in the tree, the cache or outside; and the next call is done as ever."""
    ground, before = attacked
    if attack.file in ground.missing:
        pytest.skip(f"no {attack.file} can be made here")
    file = attack.file.format(outside=ground.folder / "outside")
    answer, seen = ground.step(patch(file, attack.search, attack.replace), LOOK)
    assert answer.startswith("error: ")
    assert attack.found in answer
    assert attack.mend in answer.partition(attack.found)[2]
    assert answer.isprintable()
    assert len(answer) < 400
    assert SECRET.strip() not in answer
    assert seen == SEEN
    assert ground.state() == before


@pytest.mark.parametrize("attack", mostly_slow((attack for attack in ATTACKS if attack.gets_out), 4), ids=str)
def test_it_gets_out_where_there_is_no_wall(tmp_path: Path, attack: Attack) -> None:
    """The control: a tool that opens the path as it is given changes what it must not reach."""
    tree, outside = lay(tmp_path), tmp_path / "outside"
    plant(tree, outside)
    forbidden = [outside, *(path for path in tree.rglob(".git") if "pkg" not in path.parts)]
    before = state(*forbidden)
    file = attack.file.format(outside=outside).replace("/testbed/", "")
    path = tree / file
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.read_text() if path.exists() else ""
    path.write_text(old.replace(attack.search, attack.replace) if attack.search else attack.replace)
    assert state(*forbidden) != before or (tree / "pkg" / "new" / ".git").exists()


# What git's own folder is called where file systems are more generous than ours.

_IGNORED = {*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF}  # HFS+
_DEFAULT_IGNORED = {0xAD, 0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180E, 0x200B, 0x2060, 0x3164, 0xFE0F}
_DEFAULT_IGNORED |= {0xFFA0, 0xE0100, 0xE0041, *_IGNORED}
FOLDS: dict[str, Callable[[str], str]] = {
    "HFS+": lambda name: "".join(char for char in name if ord(char) not in _IGNORED),
    "NTFS": lambda name: name.partition(":")[0].rstrip(". "),
    "ext4": lambda name: "".join(c for c in unicodedata.normalize("NFD", name) if ord(c) not in _DEFAULT_IGNORED),
    "NFKC": lambda name: unicodedata.normalize("NFKC", name).rstrip(". "),
}
SPELLINGS = [attack for attack in ATTACKS if attack.kind.startswith("git ") or ".g" in attack.file[:3]]
MORE_IGNORED = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u3164\ufe0f\uffa0\U000e0100"


def is_git_somewhere(file: str) -> bool:
    """Whether a file system, or a program that normalises names, takes a component for git's folder."""
    parts = file.replace("\\", "/").split("/")
    return bool({fold(part).casefold() for fold in FOLDS.values() for part in parts} & {".git", "git~1", "git~2"})


@pytest.mark.parametrize("attack", SPELLINGS, ids=str)
def test_the_spellings_are_followed_somewhere(attack: Attack) -> None:
    """The control: each is git's folder to one of them."""
    assert is_git_somewhere(attack.file)


def test_git_is_refused_with_every_character_that_linux_ignores_in_a_folder_without_case(ground: Ground) -> None:
    """In a folder of ext4 or f2fs that folds case, the kernel drops all "default ignorable" code points."""
    files = [f".G{char}it/hooks/pre-commit" for char in MORE_IGNORED]
    assert all(is_git_somewhere(file) for file in files)
    answers = ground.step(*(patch(file, "", "#!/bin/sh\n") for file in files))
    assert [answer for answer in answers if not answer.startswith("error: ")] == []
    assert ground.env.episode.workspace.touched == ()


@pytest.mark.parametrize("name", [".gitignore", ".github/x.yml", "a.git", ".gi\u0301t", "x\ufe0f.md", "git.py", "..."])
def test_what_only_looks_a_little_like_git_is_a_file_like_any_other(ground: Ground, name: str) -> None:
    """The control the other way: the wall does not stand where it need not."""
    assert ground.step(patch(name, "", "x\n")) == [f"created {name}"]
    assert ground.env.episode.workspace.touched == (name,)


# Nothing is written through.


def test_a_write_to_a_hard_link_does_not_reach_its_other_end(ground: Ground) -> None:
    """It is a file of the tree; its other name, in the folder outside or in the base, keeps the bytes."""
    before = state(ground.base, ground.folder / "outside")
    answers = ground.step(patch("hard.txt", SECRET.strip(), "written"), tool_call("shell", cmd="cat hard.txt"))
    assert answers == ["patched hard.txt at line 1", "written\n"]
    assert state(ground.base, ground.folder / "outside") == before
    with (ground.base / "hard.txt").open("a") as file:  # the control: a write in place is seen at the other end
        file.write("written")
    assert (ground.folder / "outside" / "secret.txt").read_text() == SECRET + "written"


def test_nothing_goes_into_a_pipe_that_waits_for_it(ground: Ground) -> None:
    """Nor does the tool wait for a writer, or take what another has put there."""
    handle = os.open(ground.base / "fifo", os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(handle, b"from another")
        for search in ("", "from another"):
            assert ground.step(patch("fifo", search))[0].startswith("error: fifo is no regular file")
        assert os.read(handle, 100) == b"from another"
        (ground.base / "fifo").write_bytes(b"x")  # the control
        assert os.read(handle, 100) == b"x"
    finally:
        os.close(handle)


# What is taken, to the byte, from files that others would spoil.

TAKEN: list[tuple[str, str, str, bytes]] = [
    ("crlf.txt", "one\ntwo", "1\n2", b"1\r\n2\r\nthree\r\n"),
    ("bom.txt", "two\n", "\u65e5\r\n", b"\xef\xbb\xbfone\n\xe6\x97\xa5\r\n"),
    ("bytes.txt", "one\n", "1\xe9\n", b"\xff\xfe\x801\xe9\ntwo\xc3\n"),
    ("overlap.txt", "abababa", "\\g<0>%s{}", b"\\g<0>%s{}\n"),
    ("empty.txt", "", "\ufeff\r", b"\xef\xbb\xbf\r"),
    ("full.txt", "one\n", "", b"x" * (MAX_FILE - 4)),
    ("\\056\\056/x", "", "x\n", b"x\n"),
    ('"a b/x" b/y', "", "\\ No newline at end of file", b"\\ No newline at end of file"),
    ("dev/null", "", "--- a/x\n+++ b/../x\n@@ -0,0 +1 @@\n+x\n", b"--- a/x\n+++ b/../x\n@@ -0,0 +1 @@\n+x\n"),
    ("-p0 --unsafe-paths", "", "diff --git a/x b/.git/config\n", b"diff --git a/x b/.git/config\n"),
    ("*?[a]{b,c}$(x)`x`;&|<>", "", "x", b"x"),
    ("file:/C:\\x/%2e%2e/~/\uff0e\uff0e/y", "", "x", b"x"),
]


def test_what_is_taken_is_taken_to_the_byte_by_the_box_and_by_git(ground: Ground) -> None:
    """Whatever a name or a text looks like: in the box, and in a clone to which the diff is applied."""
    outside = state(ground.folder / "outside")
    answers = ground.step(*(patch(file, search, replace) for file, search, replace, _ in TAKEN))
    assert [answer.split(" at line")[0].partition(" ")[2] for answer in answers] == [file for file, *_ in TAKEN]
    (ground.folder / "diff").write_bytes(ground.diff.encode("utf-8", "surrogateescape"))
    git(ground.folder, "clone", "-q", "tree", "clone")
    git(ground.folder / "clone", "apply", "--whitespace=nowarn", "../diff")
    sums = [hashlib.sha256(data).hexdigest() + "  -\n" for *_, data in TAKEN]
    for file, _, _, data in TAKEN:
        assert (ground.folder / "clone" / file).read_bytes() == data
    shown = tool_call("shell", cmd="".join(f"sha256sum < {shlex.quote(file)}\n" for file, *_ in TAKEN))
    assert ground.step(shown) == ["".join(sums)]
    assert state(ground.folder / "outside") == outside
