"""The contract of every sandbox, and what our boxes promise beyond it, tested from inside."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from nano_codex_env.diff import File
from nano_codex_env.errors import SandboxError
from nano_codex_env.repo import Workspace
from nano_codex_env.sandbox import Bubblewrap, ExecResult, Limits, Sandbox, Shell, View
from nano_codex_env.sandbox.box import Box
from nano_codex_env.sandbox.rootfs import MTIME, normalize_mode_and_time
from nano_codex_env.testing import check_sandbox
from nano_codex_env.testing.sandbox import processes_with, unique_seconds
from tests.sandbox.test_bubblewrap import until

ENOUGH = 2.0
"""Seconds for a line to be printed, however busy the machine is, before the program that hangs is stopped."""

SANDBOXES: dict[str, Callable[[], Sandbox]] = {"bubblewrap": Bubblewrap}


@pytest.fixture(scope="module", params=SANDBOXES)
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    """Each sandbox that this machine has."""
    return SANDBOXES[request.param]()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few files, for boxes that show nothing else."""
    return lay(tmp_path_factory.mktemp("tree"), {"README.md": "# sums\n", "pkg/data.txt": "one\ntwo\n"})


@pytest.fixture
def box(sandbox: Sandbox, tree: Path) -> Iterator[Shell]:
    """An open box over the tree."""
    shell = sandbox.open(View((tree,)))
    yield shell
    shell.close()


def lay(folder: Path, files: dict[str, str]) -> Path:
    """Write `{path: content}` below `folder`, with the modes and owners of a base tree."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for path in [folder, *folder.rglob("*")]:
        normalize_mode_and_time(path, MTIME)
    return folder


def run(box: Shell, command: str, *, timeout: float = 60, keep: int = 100_000) -> ExecResult:
    return box.run(command, timeout=timeout, keep=keep)


def said(box: Shell, command: str) -> str:
    """What a command prints that does not fail."""
    result = run(box, command)
    assert (result.exit_code, result.timed_out, result.flooded) == (0, False, False), result.output.text()
    return result.output.text()


@contextlib.contextmanager
def several(sandbox: Sandbox, *views: View) -> Iterator[list[Shell]]:
    """A box for each view."""
    with contextlib.ExitStack() as stack:
        boxes = []
        for view in views:
            boxes.append(sandbox.open(view))
            stack.callback(boxes[-1].close)
        yield boxes


def test_the_published_contract_is_kept(sandbox: Sandbox) -> None:
    """Output, limits, time-outs, floods, views, isolation, closing and `run`: the tests below do not repeat these."""
    check_sandbox(sandbox)


# Output and exit status.


@pytest.mark.parametrize(
    ("command", "output", "exit_code"),
    [
        ("set -e; false; echo unseen", "", 1),
        ("printf 'no newline'", "no newline", 0),
        ("pwd; cd pkg && ls", "/testbed\ndata.txt\n", 0),
        ("ls nothing 2>/dev/null", "", 2),
        ("cat <<'EOF'\n  $HOME\nEOF", "  $HOME\n", 0),
        ("cat <<< word", "word\n", 0),
        ("cat pkg/data.txt | sort -r | head -n 1", "two\n", 0),
        ("yes | head -n 2", "y\ny\n", 0),
        ("diff <(echo a) <(echo a)", "", 0),
        ("awk '{print NR, $1}' pkg/data.txt", "1 one\n2 two\n", 0),
        ("echo 'echo ran' >/tmp/script; bash /tmp/script", "ran\n", 0),
        ("python3 -c 'print(sum(range(5)))'", "10\n", 0),
        ("sleep 0.1 & wait; echo done", "done\n", 0),
        ("nonsense", "bash: line 1: nonsense: command not found\n", 127),
        ("if", "bash: eval: line 2: syntax error: unexpected end of file\n", 2),
        ("", "", 0),
    ],
)
def test_a_command_prints_and_ends_as_in_any_shell(box: Shell, command: str, output: str, exit_code: int) -> None:
    result = run(box, command)
    assert (result.output.text(), result.exit_code) == (output, exit_code)
    assert not result.timed_out
    assert not result.flooded
    assert box.alive


@pytest.mark.parametrize(
    "command",
    [
        "echo 1; echo 2 >&2; echo 3; ls nothing; echo 4",
        "python3 -c \"import os; print(1); os.write(2, b'2\\n'); print(3); os.system('ls nothing'); print(4)\"",
    ],
)
def test_stdout_and_stderr_come_as_one_in_the_order_of_a_terminal(box: Shell, command: str) -> None:
    complaint = "ls: cannot access 'nothing': No such file or directory\n"
    assert run(box, command).output.text() == f"1\n2\n3\n{complaint}4\n"


def test_output_can_be_opened_by_its_name(box: Shell) -> None:
    """Scripts write to /dev/stderr; it must work alike for root and for a user."""
    command = "echo 1 >/dev/stdout; echo 2 >/dev/stderr; echo 3 | tee /dev/stderr; echo 4 >/dev/fd/2"
    assert run(box, command).output.text() == "1\n2\n3\n3\n4\n"


def test_bytes_that_are_no_text_are_shown_safely(box: Shell) -> None:
    text = said(box, r"printf '\xff\x00\x1b[31m\x7f\xc2\x85 \xc3\xa9\xe2\x82\xac \xed\xa0\x80\tx\r\n'")
    assert text == "\\xff\\x00\\x1b[31m\\x7f\\x85 é€ \\xed\\xa0\\x80\tx\r\n"
    assert json.loads(json.dumps(text).encode()) == text


@pytest.mark.parametrize("length", [0, 1, 199, 200, 201, 1000, 300_000])
def test_a_long_output_keeps_head_and_tail_and_counts_the_rest_exactly(box: Shell, length: int) -> None:
    whole = "".join(f"{number}\n" for number in range(length // 2))[:length].ljust(length, ".").encode()
    command = f"seq 0 {length // 2} | head -c {length}" if length > 1 else f"printf '%.*s' {length} ."
    output = run(box, command, keep=100).output
    assert len(output.head) + output.left_out + len(output.tail) == length
    assert output.left_out == max(0, length - 200)
    assert output.head == whole[:100]
    assert output.tail == (whole[100:] if length <= 200 else whole[-100:])
    assert (f"\n[... {length - 200} bytes left out ...]\n" in output.text()) == (length > 200)


@pytest.mark.parametrize("keep", range(100, 104))
def test_a_character_is_never_cut_and_the_count_stays_exact(box: Shell, keep: int) -> None:
    text = run(box, "printf '€%.0s' {1..1000}", keep=keep).output.text()
    head, middle, tail = text.splitlines()
    assert set(head + tail) == {"€"}
    assert int(middle.split()[1]) + len((head + tail).encode()) == 3000


# A call leaves nothing behind.


def test_each_call_starts_fresh(box: Shell) -> None:
    state = "pwd; set +o; shopt; umask; trap; alias; declare -F; export -p; ulimit -a; ls -la --time-style=+ /tmp; nice"
    before = said(box, f"{state}; echo $?")
    mess = (
        "cd pkg; set -fux; shopt -s nullglob; umask 0; trap 'echo leaked' EXIT; shopt -s expand_aliases; alias ls=pwd"
    )
    run(box, f"{mess}; f() {{ :; }}; export -f f; export HOME=/ LEAK=1; ulimit -n 10; exec 5>/tmp/5; renice 5 $BASHPID")
    assert said(box, f"{state}; echo $?") == before


def test_a_command_sees_no_variable_of_the_shell_that_runs_it(box: Shell) -> None:
    """Otherwise a call could read from them how the last one ended."""
    run(box, "exit 3")
    assert said(box, 'echo "${_n-}${_r-}${_f-}"') == "\n"


@pytest.mark.parametrize(
    "mess",
    [
        "mkdir -p /tmp/a/.b; touch /tmp/.hidden /tmp/-rf '/tmp/with space' $'/tmp/with\\nnewline'",
        "mkdir -p /tmp/$(printf 'a/%.0s' {1..500})",
        "mkfifo /tmp/pipe; ln -s /usr /tmp/link; ln -s /nowhere /tmp/dangling",
        "head -c 100000000 /dev/zero >/tmp/full",
        "echo note >/tmp/note; chmod 0 /tmp",
        "python3 -c \"import os; os.setxattr('/tmp', 'user.note', b'note')\"",
    ],
    ids=["names", "deep", "special", "full", "closed", "attribute"],
)
def test_nothing_in_tmp_outlives_a_call(box: Shell, mess: str) -> None:
    run(box, mess)
    if box.alive:  # else /tmp went with it
        assert said(box, "chmod 1777 /tmp; ls -A /tmp") == ""
        assert said(box, "python3 -c \"import os; print(os.listxattr('/tmp'))\"") == "[]\n"


def test_what_cannot_be_removed_from_tmp_goes_with_the_box(box: Shell) -> None:
    result = run(box, "echo said; mkdir -p /tmp/a/b; chmod 0 /tmp/a")
    assert result.output.text() == "said\n"
    assert (result.exit_code == 0) == box.alive
    if box.alive:
        assert said(box, "ls -A /tmp") == ""


# Isolation.


@pytest.mark.parametrize(
    "command",
    [
        "touch README.md",
        "ln -s README.md link",
        "sed -i s/sums/x/ README.md",
        "python3 -c \"open('/testbed/new', 'w')\"",
        ": >/new",
        "mkdir /new",
        ": >/etc/passwd",
        ": >/etc/new",
        ": >/dev/new",
        ": >/dev/shm/new",
        ": >/proc/1/new",
        "mount -o remount,rw /testbed",
        "unshare -Ur true",
    ],
)
def test_nothing_can_be_changed(box: Shell, tree: Path, command: str) -> None:
    result = run(box, command)
    assert result.exit_code != 0
    assert sorted(path.name for path in tree.rglob("*")) == ["README.md", "data.txt", "pkg"]
    assert (tree / "README.md").read_text() == "# sums\n"


def test_a_command_has_no_rights(box: Shell) -> None:
    assert said(box, "id -un; id -u; id -G") == "codex\n1000\n1000\n"
    status = dict(line.split(":\t") for line in said(box, "cat /proc/self/status").splitlines() if ":\t" in line)
    assert {status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_a_command_sees_the_system_and_the_tree_and_nothing_else(box: Shell, tree: Path) -> None:
    links = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"}
    assert set(said(box, "ls -A /").split()) - links == {"dev", "etc", "proc", "testbed", "tmp", "usr"}
    ours = {"alternatives", "empty", "gitconfig", "group", "hostname", "hosts", "nsswitch.conf", "passwd"}
    assert set(said(box, "ls -A /etc").split()) == {*ours, "ld.so.cache"}
    assert (
        said(box, f"for path in {tree} /root /home /var /work /sys /run; do [ -e $path ] && echo $path; done; :") == ""
    )
    assert said(box, "ls -A /proc/1") == ""


def test_owners_are_the_same_whoever_runs_the_box(sandbox: Sandbox, repo: Path) -> None:
    """Observations do not depend on whether the trainer is root."""
    with contextlib.closing(Workspace(str(repo))) as workspace:
        workspace.write("pkg/new.py", File(b""))
        with several(sandbox, View(workspace.layers)) as (box,):
            paths = "/testbed /testbed/sums.py /testbed/pkg /testbed/pkg/new.py /testbed/.git /etc /etc/passwd /tmp"
            assert set(said(box, f"stat -c %U:%G {paths}").split()) == {"codex:codex"}


def test_no_installed_python_package_is_seen(box: Shell) -> None:
    found = said(
        box, "python3 -c \"import sys, os; print([p for p in sys.path[1:] if 'packages' in p and os.listdir(p)])\""
    )
    assert found == "[]\n"
    assert run(box, "python3 -c 'import pytest'").exit_code == 1


def test_the_environment_and_the_umask_are_fixed(sandbox: Sandbox, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "tlh")
    before = os.umask(0o077)
    try:
        with several(sandbox, View((tree,), env={"TZ": "UTC+3"})) as (box,):
            found = said(box, "echo $HOME $USER $LANG $TZ $PATH; umask")
    finally:
        os.umask(before)
    assert found == "/tmp codex C.UTF-8 UTC+3 /usr/local/bin:/usr/bin:/bin\n0022\n"


@pytest.mark.parametrize("command", ["PATH=/tmp", "unset PATH", "export BASH_ENV=/tmp/x", "SHELL=/bin/sh"])
def test_what_restricted_bash_fixes_is_fixed(box: Shell, command: str) -> None:
    result = run(box, command)
    assert "readonly" in result.output.text()
    assert result.exit_code != 0


# Resources.


def test_a_command_that_never_stops_printing_times_out(sandbox: Sandbox, tree: Path) -> None:
    with several(sandbox, View((tree,), limits=Limits(output=1 << 40))) as (box,):
        result = run(box, "for i in 1 2 3; do while :; do echo; done & done; wait", timeout=0.5, keep=10)
    assert (result.timed_out, result.flooded) == (True, False)


@pytest.mark.parametrize(("length", "flooded"), [(99_999, False), (100_000, False), (100_001, True)])
def test_a_flood_is_more_than_the_limit(sandbox: Sandbox, tree: Path, length: int, flooded: bool) -> None:
    with several(sandbox, View((tree,), limits=Limits(output=100_000))) as (box,):
        result = run(box, f"head -c {length} /dev/zero", keep=10)
    assert result.flooded == flooded
    assert result.exit_code == (None if flooded else 0)
    assert result.output.left_out == min(length, 100_000) - 20


def test_processes_are_counted_per_box(sandbox: Sandbox, tree: Path) -> None:
    program = (
        "import os, time\ncount = 0\ntry:\n  while count < 500:\n"
        "    if not os.fork(): time.sleep(1000)\n    count += 1\nexcept OSError: pass\nprint(count)"
    )
    with several(sandbox, *[View((tree,), limits=Limits(processes=40))] * 2) as (first, second):
        counts = [int(said(box, f'python3 -c "{program}"')) for box in (first, second, first)]
    assert len(set(counts)) == 1
    assert 30 < counts[0] < 40


def test_a_fork_bomb_harms_neither_another_box_nor_the_next_call(sandbox: Sandbox, tree: Path) -> None:
    with several(sandbox, View((tree,)), View((tree,))) as (bombed, other):
        thread = threading.Thread(target=run, args=(bombed, ":(){ :|:& };:; sleep 1000"), kwargs={"timeout": 0.3})
        thread.start()
        assert said(other, "echo well | cat") == "well\n"
        thread.join()
        assert said(other, "echo well | cat") == "well\n"
    with several(sandbox, View((tree,))) as (again,):
        run(again, "f() { f | f & }; f")
        assert said(again, "echo well | cat") == "well\n"


# Attacks on the resident shell.


@pytest.mark.parametrize(
    "attack",
    [
        "for signal in $(seq 64); do kill -$signal 1; done",
        "kill -9 $$",
        "kill -9 $BASHPID",
        "exec 3>&1; printf 'ready\\0' >&3",
        "python3 -c 'import fcntl, os; fcntl.fcntl(1, fcntl.F_SETFL, os.O_DIRECT)'",
        "ulimit -n 3 -f 0 -t 1 -u 1",
        "kill() { :; }; printf() { :; }; eval() { :; }; read() { :; }; enable -n kill printf read",
        "exec true",
        "shopt -s extdebug; trap 'false' DEBUG; trap 'kill -STOP 1' EXIT",
        "prlimit --pid 1 --nproc=1:1",
        "prlimit --pid 1 --fsize=0:0",
        "(sleep 0.01; kill -9 $$) & exit",
        "cat >/dev/null; read line; exec </dev/zero",
        "trap '' TERM INT HUP; setsid sleep 100 &",
    ],
)
def test_no_command_harms_the_next(box: Shell, attack: str) -> None:
    """More attacks are in redteam/boxes/test_server.py."""
    run(box, attack)
    assert box.alive
    assert said(box, "echo well; echo well >&2 | cat") == "well\nwell\n"
    assert said(box, "head -c 1000000 /dev/zero | tr '\\0' x | fold -w 99 | wc -lc").split() == ["10101", "1010101"]
    assert run(box, "python3 -c \"print('x' * 1_000_000)\"", keep=5).output.left_out == 1_000_001 - 10


@pytest.mark.parametrize("attack", ["renice 5 -p 1", "taskset -p 1 1", "ionice -c 3 -p 1", "chrt --idle -p 0 1"])
def test_no_command_slows_the_next(box: Shell, attack: str) -> None:
    look = "nice; taskset -p $BASHPID | cut -d: -f2; ionice -p $BASHPID; chrt -p $BASHPID | cut -d: -f2"
    before = said(box, look)
    run(box, attack)
    assert said(box, look) == before


# Views.


def test_a_writable_view_forgets_what_was_written(sandbox: Sandbox, tree: Path) -> None:
    view = View((tree,), writable=True)
    with several(sandbox, view, view) as (first, second):
        assert said(first, "echo new >new; rm README.md; echo more >>pkg/data.txt; ls; cat pkg/data.txt") == (
            "new\npkg\none\ntwo\nmore\n"
        )
        assert said(first, "cat new") == "new\n"
        assert said(second, "ls; cat pkg/data.txt") == "README.md\npkg\none\ntwo\n"
    with several(sandbox, view) as (third,):
        assert said(third, "ls") == "README.md\npkg\n"
    for _ in range(2):
        result = sandbox.run(view, ["bash", "-c", "ls; touch new; ls new"], timeout=60)
        assert result.output.text() == "README.md\npkg\nnew\n"
    assert sorted(path.name for path in tree.rglob("*")) == ["README.md", "data.txt", "pkg"]
    assert (tree / "pkg/data.txt").read_text() == "one\ntwo\n"


# The life of a box.


def test_a_box_survives_the_thread_that_opened_it(sandbox: Sandbox, tree: Path) -> None:
    boxes: list[Shell] = []
    thread = threading.Thread(target=lambda: boxes.append(sandbox.open(View((tree,)))))
    thread.start()
    thread.join()
    with contextlib.closing(boxes[0]) as box:
        assert said(box, "sleep 0.1; echo well") == "well\n"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_disturb_its_parents_box_and_opens_its_own(sandbox: Sandbox, tree: Path) -> None:
    with several(sandbox, View((tree,))) as (box,):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with pytest.raises(SandboxError, match="closed"):
                    run(box, "echo hi")
                assert not box.alive
                box.close()
                with several(sandbox, View((tree,))) as (own,):
                    assert said(own, "echo well") == "well\n"
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert said(box, "echo well") == "well\n"


def test_sixteen_boxes_work_at_the_same_time(sandbox: Sandbox, tree: Path) -> None:
    gate = threading.Barrier(16)

    def work(number: int) -> str:
        with several(sandbox, View((tree,), env={"NUMBER": str(number)})) as (box,):
            gate.wait()
            outputs = [said(box, f"echo $NUMBER.{turn} >/tmp/f; sleep 0.0$NUMBER; cat /tmp/f") for turn in range(3)]
        return "".join(outputs)

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(work, range(16)))
    assert found == [f"{number}.0\n{number}.1\n{number}.2\n" for number in range(16)]


# One program in a box of its own.


def test_run_carries_long_input_output_and_reports_at_once(sandbox: Sandbox, tree: Path) -> None:
    program = "import os, sys\nfor line in sys.stdin.buffer:\n  os.write(1, line)\n  os.write(2, line)"
    result = sandbox.run(View((tree,)), ["python3", "-c", program], stdin=b"line\n" * 100_000, timeout=60, keep=4)
    assert (result.output.left_out, result.reports) == (500_000 - 8, b"line\n" * 100_000)


def test_run_stops_at_its_time_though_the_program_closed_its_output(sandbox: Sandbox, tree: Path) -> None:
    script = "echo before; echo reported >&2; exec >&- 2>&-; sleep 1000"
    result = sandbox.run(View((tree,)), ["bash", "-c", script], timeout=ENOUGH)
    assert (result.output.text(), result.reports) == ("before\n", b"reported\n")
    assert (result.exit_code, result.timed_out) == (None, True)


def test_run_has_the_same_walls(sandbox: Sandbox, tree: Path) -> None:
    script = "id -u; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status | cut -f2; ulimit -u; : >/testbed/new"
    result = sandbox.run(View((tree,)), ["bash", "-c", script], timeout=60)
    assert result.output.text().split() == ["1000", "0" * 16, "1", "2", str(Limits().processes)]
    assert b"Read-only file system" in result.reports


# Starting and closing a program's box.


def start(sandbox: Sandbox, tree: Path, script: str) -> Box:
    """The box of one program that has not been given its input yet."""
    assert isinstance(sandbox, Bubblewrap)
    return Box(sandbox._launch(View((tree,)), ["bash", "-c", script], shell=False), max_output=1 << 20)


def sleeping(mark: str) -> bool:
    """Whether a `sleep` for so long runs on this machine."""
    return any(line.startswith("sleep ") for line in processes_with(mark))


def test_a_program_that_is_closed_leaves_no_process_and_a_second_close_does_nothing(
    sandbox: Sandbox, tree: Path
) -> None:
    mark = unique_seconds()
    program = start(sandbox, tree, f"sleep {mark} & sleep {mark}")
    until(lambda: sleeping(mark))
    program.close()
    until(lambda: not processes_with(mark))  # the killed take a moment
    program.close()


@pytest.mark.parametrize(
    "moments", [range(0, 80, 8), pytest.param(range(80), marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_a_program_that_is_closed_at_any_moment_of_its_start_leaves_no_process(
    sandbox: Sandbox, tree: Path, moments: range
) -> None:
    mark = unique_seconds()
    for moment in moments:
        program = start(sandbox, tree, f"sleep {mark} & sleep {mark}")
        time.sleep(0.0002 * moment)
        program.close()
    until(lambda: not processes_with(mark))  # the killed take a moment


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_concurrent_fork_keeps_no_box_from_starting_or_ending(sandbox: Sandbox, tree: Path) -> None:
    """A forked child holds copies of the pipes while it lives, so nothing may wait for their end."""
    done, children = threading.Event(), list[int]()

    def fork() -> None:
        while not done.wait(0.002) and len(children) < 200:
            child = os.fork()
            if child == 0:
                time.sleep(1000)
            children.append(child)

    thread = threading.Thread(target=fork)
    thread.start()
    try:
        for _ in range(5):
            result = sandbox.run(View((tree,)), ["bash", "-c", "read line; echo $line"], stdin=b"in\n", timeout=300)
            assert (result.output.text(), result.exit_code) == ("in\n", 0)
            with closing(sandbox.open(View((tree,)))) as shell:
                assert shell.run("echo up", timeout=300, keep=100).output.text() == "up\n"
    finally:
        done.set()
        thread.join()
        for child in children:
            os.kill(child, 9)
            os.waitpid(child, 0)


def test_times_of_devices_carry_nothing_from_one_program_to_the_next(sandbox: Sandbox, tree: Path) -> None:
    nodes = "/dev/null /dev/zero /dev/full /dev/random /dev/urandom"
    view = View((tree,))
    for _ in range(20):
        left = sandbox.run(view, ["bash", "-c", f"touch {nodes}; stat -c %y {nodes}"], timeout=60).output.text()
        if "2000" not in left:  # else another suite has reset them meanwhile: the nodes are the whole machine's
            break
    time.sleep(0.1)  # an ordinary user's reset is to the present, which is as coarse as the kernel's tick
    found = sandbox.run(view, ["bash", "-c", f"stat -c %y {nodes}"], timeout=60).output.text()
    assert len(left.splitlines()) == 5
    assert set(left.splitlines()).isdisjoint(found.splitlines())
