"""The box where a patch is scored, when the patch is hand-made: `git apply` writes in /testbed, and runs nothing.

Each patch is applied over the base as for a score, the hidden tests over it; in the place of the tests a look around
the box is run, which must see what it sees without a patch. That the patches are what they seem is shown by a git that
is told not to look, in a folder of its own.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import shutil
import subprocess
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from nano_codex_env import Resolved, Task
from nano_codex_env.diff import File, file_diff
from nano_codex_env.errors import RewardError
from nano_codex_env.runtimes import Runtime
from nano_codex_env.sandbox import ExecResult, Sandbox, Shell, View
from nano_codex_env.scoring import Scorer, keep_source
from tests.conftest import BUG, FIX, GIT_ENV, HIDDEN, git, mostly_slow
from tests.tools.test_patch_attacks import state

PROBE = """#!/bin/bash
cat > /dev/null; echo up >&2; bash /opt/scoring/apply.sh /opt/scoring || exit
git status --porcelain > /dev/null; git diff > /dev/null; git stash list > /dev/null  # if git can be made to run
cd / && find /tmp /etc /opt /dev/shm /root /home -maxdepth 2 -path /etc/alternatives -prune -o \\
  -path '/opt/scoring/source*' -prune -o -printf '%p %y %m %s %l\\n' 2> /dev/null | sort
sha256sum /opt/scoring/removed /opt/scoring/runner.py /etc/passwd /etc/gitconfig
cd /testbed && find .git -type f -exec sha256sum {} + | sort | sha256sum
find .git -printf '%p %y %m %l\\n' | sort
echo ---- && find . -path ./.git -prune -o -printf '%p %y %m %l\\n' | sort
"""
EVIL = "touch {tmp}/ran; cat"
CONFIG = f'[core]\n\tfsmonitor = "{EVIL}"\n\thooksPath = hooks\n[filter "x"]\n\tsmudge = "{EVIL}"\n\tclean = "{EVIL}"\n'


def made(path: str, text: str = "evil\n", mode: str = "100644") -> str:
    """A new file, as git writes it."""
    lines = text.splitlines()
    return (
        f"diff --git a/{path} b/{path}\nnew file mode {mode}\n--- /dev/null\n+++ b/{path}\n"
        f"@@ -0,0 +1,{len(lines)} @@\n" + "".join(f"+{line}\n" for line in lines)
    )


def link_to(path: str, target: str, mode: str = "120000") -> str:
    head = made(path, target, mode)
    return head + "\\ No newline at end of file\n"


def _plain(path: str) -> str:
    return f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+evil\n"


def _octal(path: str) -> str:
    name = "".join(f"\\{byte:03o}" for byte in path.encode())
    return (
        f'diff --git "a/{name}" "b/{name}"\nnew file mode 100644\n--- /dev/null\n+++ "b/{name}"\n@@ -0,0 +1 @@\n+evil\n'
    )


def _empty(path: str) -> str:
    return f"diff --git a/{path} b/{path}\nnew file mode 100755\nindex 0000000..e69de29\n"


def _binary(path: str) -> str:
    data = zlib.compress(b"evil\0\n")
    line = chr(ord("A") + len(data) - 1) + base64.b85encode(data, pad=True).decode()
    blob = hashlib.sha1(b"blob 6\0evil\0\n", usedforsecurity=False).hexdigest()
    head = f"diff --git a/{path} b/{path}\nnew file mode 100644\nindex {'0' * 40}..{blob}\n"
    return f"{head}GIT binary patch\nliteral 6\n{line}\n\nliteral 0\nHcmV?d00001\n\n"


def _moved(word: str) -> Callable[[str], str]:
    def text(path: str) -> str:
        names = f"{word} from pkg/data.txt\n{word} to {path}\n"
        return f"diff --git a/pkg/data.txt b/{path}\nsimilarity index 100%\n{names}"

    return text


NOTATIONS: dict[str, Callable[[str], str]] = {
    "new": made,
    "plain": _plain,
    "octal": _octal,
    "empty": _empty,
    "binary": _binary,
    "rename": _moved("rename"),
    "copy": _moved("copy"),
    "link": lambda path: link_to(path, "pkg"),
}
TARGETS = {
    "up": "../tmp/evil",
    "down and up": "pkg/../../tmp/evil",
    "absolute": "{tmp}/evil",
    "home": "../tmp/.gitconfig",
    "git": ".git/hooks/post-checkout",
    "git, deep": "pkg/../.git/evil",
}
NAMES = [f"{how}: {where}" for how in NOTATIONS for where in TARGETS]


def written(name: str, tmp: str = "/tmp") -> str:
    """The patch of that name; `tmp` is the folder outside that it is after."""
    if name in HANDMADE:
        return HANDMADE[name].replace("{tmp}", tmp)
    how, where = name.split(": ")
    return NOTATIONS[how](TARGETS[where].format(tmp=tmp))


DATA = "--- a/{0}\n+++ b/{0}\n@@ -1,2 +1 @@\n-one\n-two\n+evil\n"
HANDMADE = {
    "a link, and a file behind it": link_to("way", "../tmp") + made("way/evil"),
    "a file behind a link, and the link": made("way/evil") + link_to("way", "../tmp"),
    "a folder becomes a link": "diff --git a/pkg/data.txt b/pkg/data.txt\ndeleted file mode 100644\n"
    "--- a/pkg/data.txt\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-one\n-two\n" + link_to("pkg", "../tmp") + made("pkg/evil"),
    "a link is renamed, and a file behind it": "diff --git a/here b/way\nsimilarity index 100%\nrename from here\n"
    "rename to way\n" + made("way/evil"),
    "behind a link of the base": made("here/evil"),
    "removed behind a link of the base": "diff --git a/etc/passwd b/etc/passwd\ndeleted file mode 100644\n",
    "changed behind a link of the base": DATA.format("here/data.txt"),
    "a link of the base as a file": DATA.format("here"),
    "renamed from behind a link": _moved("rename")("evil").replace("pkg/data.txt", "etc/passwd"),
    "copied from outside": _moved("copy")("evil").replace("pkg/data.txt", "../etc/passwd"),
    "copied from git": _moved("copy")("evil").replace("pkg/data.txt", ".git/config"),
    "renamed from git": _moved("rename")("evil").replace("pkg/data.txt", ".git/HEAD"),
    "git removed": "diff --git a/.git/HEAD b/.git/HEAD\ndeleted file mode 100644\n",
    "git executable": "diff --git a/.git/config b/.git/config\nold mode 100644\nnew mode 100755\n",
    "git a file": made(".git", "gitdir: evil"),
    "git a link": link_to(".git", "../tmp"),
    "git a submodule": link_to(".git", f"Subproject commit {'1' * 40}", "160000"),
    "a submodule outside": link_to("../tmp/evil", f"Subproject commit {'1' * 40}", "160000"),
    "a submodule": link_to("inner", f"Subproject commit {'1' * 40}", "160000") + made(".gitmodules", "[submodule]"),
    "two names": made("good").replace("+++ b/good", "+++ b/../tmp/evil"),
    "a name with NUL": made("x").replace("b/x", '"b/x\\000/../../tmp/evil"'),
    "a name with a newline": made("x").replace("b/x", '"b/x\\n+++ b/../tmp/evil"'),
    "set-user-id": made("evil", mode="104755"),
    "a folder's mode": made("evil", mode="040000"),
    "a device's mode": made("evil", mode="020666"),
    "links out": link_to("one", "/etc/passwd") + link_to("two", "/opt/scoring/runner.py"),
    "filters": made(".gitattributes", "* filter=x diff=x merge=x ident working-tree-encoding=UTF-16"),
    "a configuration elsewhere": made(".gitattributes", "* filter=x") + made(".gitconfig", CONFIG),
    "a repository that is bare": made("HEAD", "ref: refs/heads/main")
    + made("config", CONFIG)
    + made("objects/x")
    + made("refs/x"),
    "submodules that run": made(".gitmodules", f'[submodule "x"]\n\tpath = x\n\tupdate = !{EVIL}'),
}


INSIDE = {
    "copied from outside": {"./evil f 644"},  # from the box's own: code under test may read it as well
    "copied from git": {"./evil f 644"},
    "a submodule": {"./inner d 755", "./.gitmodules f 644"},
    "a name with NUL": {"./x f 644"},
    "set-user-id": {"./evil f 755"},
    "a folder's mode": {"./evil f 644"},
    "a device's mode": {"./evil f 644"},
    "filters": {"./.gitattributes f 644"},
    "a configuration elsewhere": {"./.gitattributes f 644", "./.gitconfig f 644"},
    "a repository that is bare": {"./HEAD f 644", "./config f 644", "./objects d 755", "./objects/x f 644"}
    | {"./refs d 755", "./refs/x f 644"},
    "submodules that run": {"./.gitmodules f 644"},
    "links out": {"./one l 777 /etc/passwd", "./two l 777 /opt/scoring/runner.py"},
}
"""What is there of those that are taken; all others are refused."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with links to outside."""
    folder = tmp_path_factory.mktemp("library") / "testbed"
    (folder / "pkg").mkdir(parents=True)
    (folder / "sums.py").write_text(BUG)
    (folder / "pkg" / "data.txt").write_text("one\ntwo\n")
    (folder / "here").symlink_to("../tmp")
    (folder / "etc").symlink_to("/etc")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


@dataclass
class Probed(Sandbox):
    """The real sandbox, with a look around in the place of Python; what came of it is kept."""

    real: Sandbox
    probe: Path
    results: list[ExecResult] = field(default_factory=list)

    def open(self, view: View) -> Shell:
        return self.real.open(view)

    def run(
        self, view: View, argv: Sequence[str], *, stdin: bytes = b"", timeout: float, keep: int = 8192
    ) -> ExecResult:
        python = next(word for word in argv if Path(word).name.startswith("python"))
        view = replace(view, mounts=(*view.mounts, (self.probe, python)))
        self.results.append(self.real.run(view, argv, stdin=stdin, timeout=timeout, keep=keep))
        return self.results[-1]


@pytest.fixture(scope="module")
def task(library: Path) -> Task:
    return Task(
        "sums-1",
        str(library),
        git(library, "rev-parse", "HEAD"),
        "add(2, 3) gives -1",
        patch=FIX,
        test_patch=HIDDEN,
        FAIL_TO_PASS=("tests/test_sums.py::test_add",),
    )


Score = Callable[[str], ExecResult]


@pytest.fixture(scope="module")
def scored(library: Path, sandbox: Sandbox, task: Task) -> Score:
    """Applies a patch and the hidden tests as for a score, and looks around."""
    probe = library.parent / "probe"
    probe.write_text(PROBE)
    probe.chmod(0o755)
    probed = Probed(sandbox, probe)
    scorer = Scorer(probed, library.parent / "cache", 60)

    def score(text: str) -> ExecResult:
        probed.results.clear()
        with contextlib.suppress(RewardError):  # no test reports anything
            scorer.run_tests(task, text, None, files=["tests/test_sums.py"])
        return probed.results[0]

    return score


@pytest.fixture(scope="module")
def untouched(scored: Score) -> tuple[str, set[str]]:
    """What is seen after no patch: outside, and in the tree."""
    outside, _, tree = scored("").output.text().partition("----\n")
    assert ("/opt/scoring/runner.py" in outside, "./tests/test_sums.py" in tree) == (True, True)
    return outside, {line.strip() for line in tree.splitlines()}


@pytest.mark.parametrize("name", [*mostly_slow(NAMES, len(TARGETS)), *mostly_slow(HANDMADE, 4)])
def test_a_patch_changes_nothing_but_the_tree_and_makes_git_run_nothing(
    scored: Score, untouched: tuple[str, set[str]], library: Path, name: str
) -> None:
    """It is refused as a whole, or lies within /testbed; the rest of the box, git's folder and the host are as ever."""
    trees = [
        path for path in (library.parent / "cache" / "trees").iterdir() if path.is_dir()
    ]  # a lock tells of its use
    before = state(library, *trees)
    result = scored(written(name))
    assert state(library, *trees) == before
    if name not in INSIDE:
        assert (result.reports, result.exit_code) == (b"up\n", 1)
        return
    assert result.reports == b"up\nsource\ntests\n"
    outside, _, tree = result.output.text().partition("----\n")
    assert outside == untouched[0]
    assert {line.strip() for line in tree.splitlines()} == INSIDE[name] | untouched[1]


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("link")])
def test_the_patch_reaches_outside_where_git_does_not_look(library: Path, tmp_path: Path, name: str) -> None:
    """The control: `git apply --unsafe-paths`, in a folder of its own."""
    tree, tmp = tmp_path / "testbed", tmp_path / "tmp"
    shutil.copytree(library, tree, symlinks=True)
    tmp.mkdir()
    before = {*tmp.iterdir(), *(tree / ".git").rglob("*")}
    command = ["git", "apply", "--unsafe-paths"]
    text = written(name, str(tmp)).encode()
    done = subprocess.run(command, cwd=tree, env=GIT_ENV, input=text, capture_output=True, check=False)
    assert {*tmp.iterdir(), *(tree / ".git").rglob("*")} > before, done.stderr


def test_git_can_be_made_to_run_what_a_configuration_says_and_a_patch_cannot_make_one(
    scored: Score, untouched: tuple[str, set[str]], library: Path, tmp_path: Path
) -> None:
    """The control: where git does not look at names, its next `apply` runs a filter, and `status` a monitor."""
    base = next((library.parent / "cache" / "trees").glob("[0-9a-f]*-2"))
    tree, ran = tmp_path / "testbed", tmp_path / "ran"
    shutil.copytree(base, tree, symlinks=True)

    def apply(text: str, *options: str) -> int:
        command = ["git", "-c", "safe.directory=*", "apply", *options]
        return subprocess.run(command, cwd=tree, env=GIT_ENV, input=text.encode(), check=False).returncode

    def patch(tmp: str) -> str:
        text = CONFIG.replace("{tmp}", tmp).encode()
        config = file_diff(".git/config", File((base / ".git" / "config").read_bytes()), File(text))
        attributes = file_diff(".git/info/attributes", File((base / ".git/info/attributes").read_bytes()), File(b""))
        return made(".gitattributes", "* filter=x") + attributes + config

    assert apply(patch(str(tmp_path))) == 128
    assert apply(patch(str(tmp_path)), "--unsafe-paths") == 0
    assert not ran.exists()
    assert apply(HIDDEN) == 0
    assert ran.exists()
    ran.unlink()
    git(tree, "-c", "safe.directory=*", "status")
    assert ran.exists()
    result = scored(patch("/tmp"))
    assert (result.reports, result.exit_code) == (b"up\n", 1)
    assert "invalid path '.git/" in result.output.text()


# What the judge says of such patches.


@pytest.mark.parametrize(
    "name", mostly_slow(["new: up", "binary: git", "a link, and a file behind it", "git a file"], 1)
)
def test_a_patch_that_reaches_out_is_worth_nothing_whatever_else_it_mends(
    library: Path, sandbox: Sandbox, task: Task, name: str
) -> None:
    """And it is no failure of ours: a policy could else void what would be 0.0."""
    resolved = Resolved(sandbox=sandbox, cache=library.parent / "cache", timeout=120, integrity="fast")
    score = resolved(task, [], FIX + written(name))
    assert (score.value, score.parts["reason"]) == (0.0, "the patch does not apply")


@pytest.mark.parametrize("end", ["", "\n", "junk\n"])
def test_a_file_cannot_hide_behind_another_ones_hunks(tmp_path: Path, end: str) -> None:
    """Git goes on with a plain header where the hunks of a file are over; so must who drops what steers the verdict."""
    hidden = FIX + end + _plain("conftest.py")
    (tmp_path / "sums.py").write_text(BUG)
    task = Task("sums-1", ".", "", "x", test_patch=HIDDEN)
    kept, dropped = keep_source(hidden, task, tmp_path, Runtime("python3", (), (), ("/testbed",)))
    git(tmp_path, "init", "-q")
    subprocess.run(["git", "apply"], cwd=tmp_path, env=GIT_ENV, input=kept.encode(), check=True)
    assert not (tmp_path / "conftest.py").exists()
    assert dropped == ["conftest.py"]
