"""A base tree is what a clean checkout holds, with one commit, and nothing of the past, the future or the host."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nano_codex_env.cache import cache_dir
from nano_codex_env.repo import Workspace
from nano_codex_env.sandbox import Sandbox, View
from tests.conftest import BUG, GIT_ENV, git, mostly_slow

SECRET = "the-fix-is-forty-two"
PACKAGE = Path(__file__).parents[2]


def base_of(repo: Path | str, commit: str = "", *, cache: Path | None = None) -> Path:
    """The base tree's folder."""
    with contextlib.closing(Workspace(str(repo), commit, cache=cache)) as workspace:
        return workspace.base


def walk(root: Path) -> dict[str, tuple[str, object]]:
    """Name -> kind and content of all that a work tree holds, git's own folders left out."""
    found: dict[str, tuple[str, object]] = {}
    for top, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name != ".git"]
        for name in [*folders, *files]:
            path = Path(top, name)
            if path.is_symlink():
                found[str(path.relative_to(root))] = ("link", os.readlink(path))
            elif path.is_dir():
                found[str(path.relative_to(root))] = ("folder", None)
            elif name != ".git":
                found[str(path.relative_to(root))] = ("run" if os.access(path, os.X_OK) else "file", path.read_bytes())
    return found


def listing(root: Path) -> dict[str, tuple[int, int, float]]:
    """Name -> mode, size and time of all there is, `.git` included; a folder's size is the file system's affair."""
    found = {}
    for top, folders, files in os.walk(root):
        for name in [".", *folders, *files]:
            path = Path(top, name)
            status = path.lstat()
            size = 0 if path.is_dir() else status.st_size
            found[str(path.relative_to(root))] = (status.st_mode, size, status.st_mtime)
    return found


def host_git(base: Path, *arguments: str) -> bytes:
    """What git prints in a base tree, which belongs to another user and shall not be written."""
    env = {**GIT_ENV, "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "-c", "safe.directory=*", *arguments]
    return subprocess.run(command, cwd=base, env=env, capture_output=True, check=True).stdout


def clone(repo: Path, target: Path, *options: str) -> Path:
    """A clone by git's own transport, as a stranger's would be."""
    git(repo.parent, "clone", "-q", *options, f"file://{repo}", str(target))
    return target


AWKWARD: dict[str, bytes] = {
    "README.md": b"# awkward\n",
    "readme.md": b"another one\n",
    "crlf.txt": b"one\r\ntwo\r\n",
    "mixed.txt": b"one\r\ntwo\nthree",
    "dos.bat": b"echo one\necho two\n",
    ".gitattributes": b"secret.txt export-ignore\nhidden export-ignore\n*.bat text eol=crlf\n*.subst export-subst\n",
    ".gitignore": b"*.log\nbuild/\n",
    "kept.log": b"tracked though ignored\n",
    "secret.txt": b"export-ignore, and still there\n",
    "hidden/deep/x": b"export-ignore, too\n",
    "v.subst": b"$Format:%H$\n",
    "bin/run": b"#!/bin/sh\necho ran\n",
    "empty": b"",
    "huge": random.Random(0).randbytes(5 << 20),
    "zeros": bytes(5 << 20),
    "-rf": b"named like an option\n",
    "--help": b"so is this\n",
    "HEAD": b"named like a reference\n",
    "main/x": b"and like a branch\n",
    "/".join(["deep"] * 60) + "/leaf": b"down here\n",
    "a b/c  d .txt": b"blanks\n",
    'quo"te\\back': b"quotes\n",
    "tab\tnew\nline": b"controls\n",
    "n\u0303/\u00f1": b"composed and not\n",
    os.fsdecode(b"caf\xe9.txt"): b"a name in latin-1\n",
    os.fsdecode(b"\xff\xfe/\x80"): b"a name in nothing\n",
    "latin.txt": b"caf\xe9\n",
    "lines.txt": "a\u2028b\x85c\x0cd\r".encode(),
}
LINKS = {
    "to-file": "README.md",
    "to-folder": "hidden/deep",
    "up-and-back": "../repo/README.md",
    "dangling": "nowhere",
    "outside": "/etc/passwd",
    "outside-folder": "/etc",
    "itself": "itself",
    "hidden/up": "../../..",
    "to-git": ".git/config",
}


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with links, a submodule, attributes, names in any bytes, and large files."""
    folder = tmp_path_factory.mktemp("awkward")
    library = folder / "library"
    library.mkdir()
    git(library, "init", "-q", "-b", "main")
    (library / "lib.py").write_text("x = 1\n")
    git(library, "add", "-A")
    git(library, "commit", "-q", "-m", "library")
    repo = folder / "repo"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    for name, data in AWKWARD.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_bytes(data)
    (repo / "bin" / "run").chmod(0o755)
    for name, target in LINKS.items():
        (repo / name).symlink_to(target)
    git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "vendor/a library")
    git(repo, "add", "-A", "--force")
    git(repo, "commit", "-q", "-m", "all of it")
    git(repo, "rm", "-q", "--cached", "dos.bat")  # its work tree shall be as a fresh checkout has it
    git(repo, "reset", "-q", "--hard")
    return repo


@pytest.fixture(scope="module")
def base(awkward: Path) -> Path:
    """Its base tree."""
    return base_of(awkward)


def test_a_base_tree_is_what_a_clean_checkout_holds(awkward: Path, base: Path, tmp_path: Path) -> None:
    """Every name, link, mode and byte; export-ignore drops nothing, eol= and nothing else changes line endings."""
    tree = walk(base)
    assert tree == walk(clone(awkward, tmp_path / "clone"))
    assert {name for name, (kind, _) in tree.items() if kind == "link"} == set(LINKS)
    assert {name for name, (kind, _) in tree.items() if kind == "run"} == {"bin/run"}
    assert {name: tree[name][1] for name in AWKWARD if name != "dos.bat"} == {
        name: data for name, data in AWKWARD.items() if name != "dos.bat"
    }
    assert tree["dos.bat"][1] == b"echo one\r\necho two\r\n"
    assert tree["vendor/a library"] == ("folder", None)
    assert not [name for name in tree if name.startswith("vendor/a library/")]


def test_git_finds_an_awkward_tree_clean_and_finds_it_again(base: Path, sandbox: Sandbox) -> None:
    """In the box, as the policy sees it, before and after every file has been read."""
    with contextlib.closing(sandbox.open(View((base,)))) as shell:
        status = "git status --porcelain --ignored; git diff --stat HEAD --; git fsck --strict 2>&1; git stash list"
        for command in (status, "grep -r nothing . >/dev/null 2>&1; cat -- -rf >/dev/null", status):
            result = shell.run(command, timeout=60, keep=4000)
            assert (result.output.text(), result.timed_out) == ("", False)
        last = shell.run("git status", timeout=60, keep=4000)
    assert last.output.text() == "On branch main\nnothing to commit, working tree clean\n"


def test_a_base_tree_has_one_time_and_two_modes(base: Path) -> None:
    """No wall time, no umask: `ls -l` is the same everywhere."""
    everything = listing(base)
    times = {time for name, (_, _, time) in everything.items() if name != ".git/index"}
    assert times == {946684800.0}
    modes = {mode & 0o7777 for name, (mode, _, _) in everything.items() if not (base / name).is_symlink()}
    assert modes == {0o644, 0o755}
    assert all(not mode & 0o111 for name, (mode, _, _) in everything.items() if name.startswith(".git/objects/pack/"))


def test_a_base_tree_is_one_commit_and_the_objects_of_its_tree(awkward: Path, base: Path) -> None:
    """No history, no other references, no reflog, no remote, no hook, no object more than it takes."""
    tree = git(awkward, "rev-parse", "HEAD^{tree}")
    assert host_git(base, "log", "--all", "--format=%T %P %an %ae %at %s").decode() == (
        f"{tree}  nano-codex nano-codex@localhost 946684800 base\n"
    )
    assert host_git(base, "for-each-ref", "--format=%(refname)") == b"refs/heads/main\n"
    objects = host_git(base, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").decode().split()
    reachable = host_git(base, "rev-list", "--objects", "--no-object-names", "HEAD", "--").decode().split()
    assert sorted(objects) == sorted(reachable)
    allowed = {"HEAD", "config", "index", "objects", "refs", "logs", "info", "packed-refs"}
    assert {path.name for path in (base / ".git").iterdir()} <= allowed
    assert not [path for path in (base / ".git").rglob("*") if path.is_file() and "logs" in path.parts]
    assert b"remote" not in (base / ".git" / "config").read_bytes()


def test_no_path_of_the_host_is_in_a_base_tree(awkward: Path, base: Path) -> None:
    """The paths of the repository and the cache are not visible in the box."""
    paths = [os.fsencode(awkward.parent), os.fsencode(cache_dir())]
    for path in (base / ".git").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not [leaked for leaked in paths if leaked in data], path


@pytest.fixture
def storied(make_repo: Callable[..., Path]) -> tuple[Path, str]:
    """A repository whose history goes on after the base commit, with the fix on every kind of thing that git keeps."""
    repo = make_repo({"sums.py": BUG, "past.txt": "the past\n"})
    (repo / "past.txt").unlink()
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "the base")
    base = git(repo, "rev-parse", "HEAD")
    (repo / "sums.py").write_text(BUG.replace("a - b", "a + b") + f"# {SECRET}\n")
    git(repo, "commit", "-q", "-a", "-m", f"fix: {SECRET}")
    git(repo, "tag", "-a", "v2", "-m", SECRET)
    git(repo, "branch", f"fix/{SECRET}")
    git(repo, "notes", "add", "-m", SECRET)
    git(repo, "update-ref", "refs/pull/7/head", "HEAD")
    (repo / "sums.py").write_text(f"# {SECRET} in a stash\n")
    git(repo, "stash", "-q")
    (repo / "sums.py").write_text(f"# {SECRET} amended away\n")
    git(repo, "commit", "-q", "-a", "--amend", "-m", SECRET)
    git(repo, "config", "remote.origin.url", f"https://{SECRET}@example.invalid/x")
    git(repo, "config", "user.name", SECRET)
    (repo / ".git" / "info" / "exclude").write_text(SECRET)
    (repo / ".git" / "description").write_text(SECRET)
    return repo, base


@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
@pytest.mark.parametrize("way", ["path", "mirror"])
def test_nothing_of_the_future_is_in_a_base_tree(
    storied: tuple[Path, str], tmp_path: Path, packed: bool, way: str
) -> None:
    """Neither as an object, nor as a reference, nor as bytes of any file: policies read fixes out of git."""
    repo, commit = storied
    if packed:
        git(repo, "gc", "-q")
    base = base_of(repo if way == "path" else f"file://{repo}", commit, cache=tmp_path / "cache")
    theirs = git(repo, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split()
    here = host_git(base, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").decode().split()
    mine = git(repo, "rev-list", "--objects", "--no-object-names", f"{commit}^{{tree}}").split()
    future = set(theirs) - set(mine)
    assert len(future) >= 9
    assert set(here) & future == set()
    assert SECRET.encode() not in host_git(base, "cat-file", "--batch-all-objects", "--batch")
    for path in base.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert SECRET.encode() not in data, path
            assert not [name for name in future if name.encode() in data or bytes.fromhex(name) in data], path
        assert SECRET not in str(path.relative_to(base))


def _bare(repo: Path, tmp: Path) -> Path:
    made = clone(repo, tmp / "bare.git", "--bare")
    git(made, "gc", "-q", "--aggressive")
    return made


def _worktree(repo: Path, tmp: Path) -> Path:
    git(repo, "worktree", "add", "-q", "--detach", str(tmp / "other"))
    return tmp / "other"


def _shared(repo: Path, tmp: Path) -> Path:
    git(tmp, "clone", "-q", "--shared", str(repo), str(tmp / "shared"))
    return tmp / "shared"


def _configured(repo: Path, tmp: Path) -> Path:
    made = clone(repo, tmp / "configured")
    for setting in (
        "core.compression 0",
        "pack.compression 1",
        "core.autocrlf true",
        "core.eol crlf",
        "pack.indexVersion 1",
    ):
        git(made, "config", *setting.split())
    return made


CLONES: dict[str, Callable[[Path, Path], Path]] = {
    "bare and packed": _bare,
    "shallow": lambda repo, tmp: clone(repo, tmp / "shallow", "--depth=1"),
    "with borrowed objects": _shared,
    "a second work tree": _worktree,
    "configured otherwise": _configured,
    "in a folder with an odd name": lambda repo, tmp: clone(repo, tmp / "odd \u2028\x0c'name"),
}


@pytest.fixture
def similar(make_repo: Callable[..., Path]) -> Path:
    """A repository whose files are alike, so that git packs one as the difference of another."""
    body = "".join(f"line {n} {n * n % 7919}\n" for n in range(2000))
    return make_repo({"one.txt": body, "two.txt": body + "more\n", "three.txt": body.replace("line 7", "line seven")})


@pytest.mark.parametrize("name", mostly_slow(CLONES, 4))
def test_every_clone_gives_the_same_base_tree(similar: Path, tmp_path: Path, name: str) -> None:
    """The commit, and each name, size, mode and time below `.git` too: an observation is the same everywhere."""
    commit = git(similar, "rev-parse", "HEAD")
    first = base_of(similar, commit, cache=tmp_path / "first")
    second = base_of(CLONES[name](similar, tmp_path), commit, cache=tmp_path / "second")
    assert host_git(first, "rev-parse", "HEAD") == host_git(second, "rev-parse", "HEAD")
    assert walk(first) == walk(second)
    assert listing(first) == listing(second)


def test_two_commits_of_one_tree_have_the_same_synthetic_commit(make_repo: Callable[..., Path]) -> None:
    repo = make_repo({"a": "1\n"})
    git(repo, "commit", "-q", "--allow-empty", "-m", "nothing")
    first, second = base_of(repo, git(repo, "rev-parse", "HEAD~1")), base_of(repo)
    assert first != second
    assert host_git(first, "rev-parse", "HEAD") == host_git(second, "rev-parse", "HEAD")


def test_a_sha256_repository_has_a_base_tree(tmp_path: Path, sandbox: Sandbox) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    if subprocess.run(["git", "init", "-q", "--object-format=sha256"], cwd=repo, env=GIT_ENV, check=False).returncode:
        pytest.skip("this git has no SHA-256 repositories")
    (repo / "a.txt").write_text("one\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "first")
    with contextlib.closing(Workspace(str(repo))) as workspace:
        assert len(workspace.commit) == 64
        with contextlib.closing(sandbox.open(View((workspace.base,)))) as shell:
            said = shell.run("git status --porcelain; git fsck; git log --format=%s; cat a.txt", timeout=60, keep=4000)
    assert said.output.text() == "base\none\n"


def test_an_empty_commit_has_an_empty_base_tree(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "nothing at all")
    base = base_of(tmp_path)
    assert [path.name for path in base.iterdir()] == [".git"]
    assert host_git(base, "status", "--porcelain") == b""


# Configuration and variables of the user have no effect.


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A folder with a program that leaves a file there when it runs, and copies its input."""
    folder = tmp_path / "marks"
    folder.mkdir()
    program = folder / "program"
    program.write_text(f'#!/bin/sh\ntouch "{folder}/ran-$(basename "$0")"\ncat\n')
    program.chmod(0o755)
    hooks = folder / "hooks"
    hooks.mkdir()
    for name in (
        "reference-transaction",
        "post-index-change",
        "post-checkout",
        "post-commit",
        "pre-auto-gc",
        "post-merge",
    ):
        shutil.copy(program, hooks / name)
    return folder


def ran(marker: Path) -> list[str]:
    """The programs that ran."""
    return sorted(path.name for path in marker.glob("ran-*"))


@pytest.fixture
def plain(make_repo: Callable[..., Path]) -> tuple[Path, dict[str, tuple[int, int, float]]]:
    """A small repository, and its base tree where nothing is configured."""
    repo = make_repo(
        {"a.txt": "one\ntwo\n", "b.sh": "#!/bin/sh\n", "sub/c.py": "x = 1\n", ".gitattributes": "*.dat filter=odd\n"}
    )
    (repo / "b.sh").chmod(0o755)
    (repo / "link").symlink_to("a.txt")
    (repo / "d.dat").write_text("data\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "second")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
            patch.setenv(name, "/dev/null")
        expected = listing(base_of(repo, cache=repo.parent / "expected"))
    return repo, expected


@pytest.mark.parametrize("way", ["path", "full id", "mirror"])
def test_the_users_configuration_has_no_effect(
    plain: tuple[Path, dict[str, tuple[int, int, float]]],
    marker: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    """Line endings, modes, attributes and signatures stay as committed; hooks, monitors and filters never run."""
    repo, expected = plain
    config = tmp_path / "xdg" / "git"
    config.mkdir(parents=True)
    (config / "attributes").write_text("*.txt text eol=crlf\n*.py ident working-tree-encoding=UTF-16\n* filter=odd\n")
    (config / "ignore").write_text("*\n")
    (config / "config").write_text(
        f"[core]\n\tautocrlf = true\n\thooksPath = {marker}/hooks\n\tfsmonitor = {marker}/program\n\tfileMode = false\n"
        "\tsymlinks = false\n\tsharedRepository = group\n"
        f'[filter "odd"]\n\tclean = {marker}/program\n\tsmudge = {marker}/program\n\trequired = true\n'
        f"[init]\n\ttemplateDir = {marker}\n\tdefaultBranch = trunk\n[commit]\n\tgpgSign = true\n"
        "[transfer]\n\tfsckObjects = true\n[user]\n\tuseConfigOnly = true\n[extensions]\n\tobjectFormat = sha256\n"
        "[index]\n\tversion = 4\n[feature]\n\tmanyFiles = true\n[core]\n\tuntrackedCache = true\n\tsplitIndex = true\n"
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    commit = git(repo, "rev-parse", "HEAD")
    name, wanted = {"path": (str(repo), ""), "full id": (str(repo), commit), "mirror": (f"file://{repo}", "")}[way]
    before = os.umask(0o077)
    try:
        base = base_of(name, wanted, cache=tmp_path / "cache")
    finally:
        os.umask(before)
    assert listing(base) == expected
    assert (base / "a.txt").read_bytes() == b"one\ntwo\n"
    assert ran(marker) == []


@pytest.mark.parametrize("dirty", [False, True], ids=["clean", "dirty"])
def test_the_repositorys_own_configuration_runs_nothing(
    make_repo: Callable[..., Path], marker: Path, dirty: bool
) -> None:
    """`core.fsmonitor` in `.git/config` is a program; a repository that came from somewhere may name any."""
    repo = make_repo({"a.txt": "one\n"})
    for name in ("core.fsmonitor", "core.pager", "core.editor", "core.sshCommand", "core.askPass", "diff.external"):
        git(repo, "config", name, f"{marker}/program")
    git(repo, "config", "core.hooksPath", f"{marker}/hooks")
    git(repo, "config", "core.alternateRefsCommand", f"{marker}/program")
    git(repo, "config", "uploadpack.packObjectsHook", f"{marker}/program")
    commit = (repo / ".git" / "refs" / "heads" / "main").read_text().strip()
    if dirty:
        (repo / "a.txt").write_text("two\n")
    else:
        assert (base_of(repo) / "a.txt").read_text() == "one\n"
    assert (base_of(repo, commit) / "a.txt").read_text() == "one\n"
    with contextlib.suppress(Exception):
        Workspace(str(repo))
    assert (base_of(f"file://{repo}", commit) / "a.txt").read_text() == "one\n"
    assert ran(marker) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GIT_DIR", "{other}/.git"),
        ("GIT_WORK_TREE", "{other}"),
        ("GIT_INDEX_FILE", "{other}/.git/index"),
        ("GIT_OBJECT_DIRECTORY", "{other}/.git/objects"),
        ("GIT_COMMON_DIR", "{other}/.git"),
        ("GIT_NAMESPACE", "other"),
        ("GIT_DEFAULT_HASH", "sha256"),
        ("GIT_TEMPLATE_DIR", "{other}"),
        ("GIT_CONFIG_PARAMETERS", "'core.autocrlf'='true'"),
        ("GIT_INDEX_VERSION", "4"),
        ("GIT_LITERAL_PATHSPECS", "1"),
        ("GIT_TRACE", "1"),
    ],
)
@pytest.mark.parametrize("full", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["HEAD", "full id"])
def test_the_variables_of_a_surrounding_git_have_no_effect(
    plain: tuple[Path, dict[str, tuple[int, int, float]]],
    make_repo: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    full: bool,
) -> None:
    """Git sets these for its hooks: a test suite that runs in one neither reads nor writes the user's repository."""
    repo, expected = plain
    other = make_repo({"mine.txt": "mine\n"}, name="other")
    before = {path: path.read_bytes() for path in other.rglob("*") if path.is_file()}
    commit = git(repo, "rev-parse", "HEAD") if full else ""
    monkeypatch.setenv(name, value.format(other=other))
    base = base_of(repo, commit, cache=tmp_path / "cache")
    monkeypatch.delenv(name)
    assert {path: path.read_bytes() for path in other.rglob("*") if path.is_file()} == before
    assert listing(base) == expected
    assert host_git(base, "status", "--porcelain") == b""
