"""`shell`: what a policy reads after each command that models type, to the byte."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import NanoCodexEnv, Task, from_function
from nano_codex_env.errors import ConfigError
from nano_codex_env.messages import tool_call
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.tools import apply_patch, shell
from tests.conftest import BUG, git

EVERY_BYTE = bytes(range(256))


ENOUGH = 2.0
"""Seconds for a line to be printed, however busy the machine is, before a command that hangs is stopped."""


def said(env: NanoCodexEnv, cmd: str, tool: str = "shell") -> str:
    """What the policy reads after a command."""
    obs, *_ = env.step(tool_call(tool, cmd=cmd))
    content: str = obs[-1]["content"]
    return content


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository to look around in."""
    repo = tmp_path_factory.mktemp("library") / "repo"
    (repo / "pkg").mkdir(parents=True)
    git(repo, "init", "-q", "-b", "main")
    (repo / "sums.py").write_text(BUG)
    (repo / "README.md").write_text("# sums\n")
    (repo / "pkg" / "__init__.py").write_text("")
    (repo / "pkg" / "data.txt").write_text("one 1\ntwo 2\none 3\n")
    (repo / "pkg" / "no-end.txt").write_text("  indented, and no newline")
    (repo / "bytes").write_bytes(EVERY_BYTE)
    (repo / "run.sh").write_text("#!/bin/sh\necho ran $1\n")
    (repo / "run.sh").chmod(0o755)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "first")
    return repo


Make = Callable[..., NanoCodexEnv]


def made(library: Path, sandbox: Sandbox, **limits: float) -> NanoCodexEnv:
    """An environment over the library, reset, its box open; `hasty` is a shell for what is to be stopped."""
    env = NanoCodexEnv(
        Task("library", str(library), "", "look around"),
        from_function(lambda task, transcript, diff: 0.0),
        tools=[shell(**limits), replace(shell(timeout=ENOUGH), name="hasty"), apply_patch()],  # type: ignore[arg-type]
        sandbox=sandbox,
        max_steps=10_000,
        log_dir=None,
    )
    env.reset()
    return env


@pytest.fixture(scope="module")
def looking(library: Path, sandbox: Sandbox) -> Iterator[NanoCodexEnv]:
    """One episode in which nothing is changed, for all commands that change nothing."""
    with made(library, sandbox) as env:
        said(env, "true")
        yield env


@pytest.fixture
def make(library: Path, sandbox: Sandbox) -> Iterator[Make]:
    """Makes an episode for one test."""
    opened: list[NanoCodexEnv] = []

    def build(**arguments: object) -> NanoCodexEnv:
        opened.append(made(library, sandbox, **arguments))  # type: ignore[arg-type]
        return opened[-1]

    yield build
    for env in opened:
        env.close()


LOG = """commit {}
Author: nano-codex <nano-codex@localhost>
Date:   Sat Jan 1 00:00:00 2000 +0000

    base
"""
GOLDEN: list[tuple[str, str]] = [
    ("ls", "README.md\nbytes\npkg\nrun.sh\nsums.py\n"),
    ("ls -l sums.py", "-rw-r--r-- 1 codex codex 83 Jan  1  2000 sums.py\n"),
    (
        "ls -la | awk 'NR > 1 && NR < 5 {print $1, $3, $4, $6, $7, $8, $9}'",
        "drwxr-xr-x codex codex Jan 1 2000 .\n"
        "drwxr-xr-x codex codex Jan 1 2000 ..\ndrwxr-xr-x codex codex Jan 1 2000 .git\n",
    ),
    ("ls nothing", "ls: cannot access 'nothing': No such file or directory\n[exit 2]"),
    ("ls nothing 2>/dev/null", "[exit 2]"),
    ("ls nothing sums.py", "ls: cannot access 'nothing': No such file or directory\nsums.py\n[exit 2]"),
    ("pwd", "/testbed\n"),
    ("cat sums.py", BUG),
    ("cat pkg/no-end.txt; exit 3", "  indented, and no newline\n[exit 3]"),
    ("cat nothing.py", "cat: nothing.py: No such file or directory\n[exit 1]"),
    ("cat pkg", "cat: pkg: Is a directory\n[exit 1]"),
    ("head -2 sums.py", '"""Sums."""\n\n'),
    ("head -n 1 sums.py README.md", '==> sums.py <==\n"""Sums."""\n\n==> README.md <==\n# sums\n'),
    ("sed -n '4,5p' sums.py", "def add(a, b):\n    return a - b\n"),
    ("awk '{s += $2} END {print s}' pkg/data.txt", "6\n"),
    ("grep -rn 'return' --include='*.py' .", "./sums.py:5:    return a - b\n./sums.py:9:    return add(a, a)\n"),
    ("grep nothing sums.py", "[exit 1]"),
    ("find . -name '*.py' -not -path './.git/*' | sort", "./pkg/__init__.py\n./sums.py\n"),
    ("find pkg -type f -exec wc -l {} + | sort -n | tail -1", " 3 total\n"),
    ("cut -d' ' -f1 pkg/data.txt | sort | uniq -c", "      2 one\n      1 two\n"),
    ("diff -u README.md pkg/__init__.py | tail -n +3", "@@ -1 +0,0 @@\n-# sums\n"),
    ("file run.sh", "run.sh: POSIX shell script, ASCII text executable\n"),
    (
        "stat -c '%n %s %a %U:%G %Y %F' sums.py run.sh pkg/__init__.py",
        "sums.py 83 644 codex:codex 946684800 regular file\nrun.sh 22 755 codex:codex 946684800 regular file\n"
        "pkg/__init__.py 0 644 codex:codex 946684800 regular empty file\n",
    ),
    ("git log --format='%an %ad %s'", "nano-codex Sat Jan 1 00:00:00 2000 +0000 base\n"),
    ("git log | tail -n +2", LOG.partition("\n")[2]),
    ("git status", "On branch main\nnothing to commit, working tree clean\n"),
    ("git status --short", ""),
    (
        "git diff HEAD~1",
        "fatal: ambiguous argument 'HEAD~1': unknown revision or path not in the working tree.\n"
        "Use '--' to separate paths from revisions, like this:\n"
        "'git <command> [<revision>...] -- [<file>...]'\n[exit 128]",
    ),
    ("git show HEAD:README.md", "# sums\n"),
    ("git ls-files", "README.md\nbytes\npkg/__init__.py\npkg/data.txt\npkg/no-end.txt\nrun.sh\nsums.py\n"),
    ("git branch -a; git remote -v; git stash list; git tag", "* main\n"),
    ("git reflog", ""),
    ("python3 -c 'import sums; print(sums.add(2, 3))'", "-1\n"),
    ("python3 -c 'raise ValueError(3)' 2>&1 | tail -1", "ValueError: 3\n"),
    ("python3 -c 'import sys; sys.exit(7)'", "[exit 7]"),
    ("python3 - <<'EOF'\nfrom sums import add\nprint(add(1, 1))\nEOF", "0\n"),
    ("python3 -c 'import pytest' 2>&1 | tail -1", "ModuleNotFoundError: No module named 'pytest'\n"),
    ("cd pkg && ls", "__init__.py\ndata.txt\nno-end.txt\n"),
    ("cd pkg; pwd; cd ..; pwd", "/testbed/pkg\n/testbed\n"),
    ("cd nowhere && ls", "bash: line 1: cd: nowhere: No such file or directory\n[exit 1]"),
    ("cat <<EOF\none $((1 + 1))\n$(head -1 README.md)\nEOF", "one 2\n# sums\n"),
    ("cat << 'EOF' | grep -v x | tr a-z A-Z\nax\nb\nEOF", "B\n"),
    ('for f in *.py; do echo "$f: $(wc -l < $f)"; done', "sums.py: 9\n"),
    ("while read -r a b; do echo $b; done < pkg/data.txt", "1\n2\n3\n"),
    ("ls | xargs -n2 echo", "README.md bytes\npkg run.sh\nsums.py\n"),
    ("./run.sh now", "ran now\n"),
    ("echo one; echo two >&2; echo three", "one\ntwo\nthree\n"),
    ("echo one && false || echo two", "one\ntwo\n"),
    ("false", "[exit 1]"),
    ("true", ""),
    ("exit 255", "[exit 255]"),
    ("set -o pipefail; false | true", "[exit 1]"),
    ("set -e; false; echo never", "[exit 1]"),
    ("nosuch --flag", "bash: line 1: nosuch: command not found\n[exit 127]"),
    ("pkg/data.txt", "bash: line 1: pkg/data.txt: Permission denied\n[exit 126]"),
    ("echo 'open", "bash: eval: line 1: unexpected EOF while looking for matching `''\n[exit 2]"),
    ("echo -n no newline", "no newline"),
    ("printf '\\n\\n  x\\n\\n'", "\n\n  x\n\n"),
    ('echo "$HOME $USER $PWD $SHELL $LANG $TZ $0"', "/tmp codex /testbed /bin/bash C.UTF-8 UTC bash\n"),
    ("whoami; hostname; id -u", "codex\ntestbed\n1000\n"),
    ("echo x > new.py", "bash: line 1: new.py: Read-only file system\n[exit 1]"),
    (
        "echo x >> sums.py; touch sums.py",
        "bash: line 1: sums.py: Read-only file system\ntouch: cannot touch 'sums.py': Read-only file system\n[exit 1]",
    ),
    ("mkdir build", "mkdir: cannot create directory \u2018build\u2019: Read-only file system\n[exit 1]"),
    ("git commit --allow-empty -qm x 2>&1 | tail -1 | cut -c1-5", "fatal\n"),
    ("sort pkg/data.txt > /tmp/sorted; head -1 /tmp/sorted", "one 1\n"),
    ("diff <(echo 1) <(echo 2)", "1c1\n< 1\n---\n> 2\n[exit 1]"),
    ("cat", ""),
    ('read line; echo "[$line]"', "[]\n"),
    ("python3 -c 'input()' 2>&1 | tail -1", "EOFError: EOF when reading a line\n"),
    ("kill -TERM $BASHPID", "[exit 143]"),
    ("timeout 0.1 sleep 5", "[exit 124]"),
]
OPTIONAL = ("file", "python3")
"""Programs that a host may lack."""


@pytest.mark.parametrize(("cmd", "output"), GOLDEN, ids=[cmd.replace("\n", "; ")[:40] for cmd, _ in GOLDEN])
def test_a_command_that_models_type_gives_its_output_as_it_is(looking: NanoCodexEnv, cmd: str, output: str) -> None:
    """Not stripped; stdout and stderr as a terminal shows them; an exit status that is not 0 on a line of its own."""
    program = cmd.split()[0]
    if program in OPTIONAL and shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    obs, *_, info = looking.step(tool_call("shell", cmd=cmd))
    assert obs[-1]["content"] == output
    assert info == {"ok": ["[exit " not in output]}


def test_any_byte_can_be_read(looking: NanoCodexEnv) -> None:
    """Bytes that are not text appear as escapes of their number, so that nothing is lost and any reader takes it."""
    shown = said(looking, "cat bytes")
    assert shown == "".join(chr(n) if 32 <= n < 127 or n in b"\t\n\v\f\r" else f"\\x{n:02x}" for n in range(256))
    assert json.loads(json.dumps(shown)) == shown.encode().decode()


@pytest.mark.parametrize(
    ("cmd", "output"),
    [
        ("printf 'caf\\xc3\\xa9 \\xe6\\x97\\xa5 \\xf0\\x9f\\x98\\x80'", "caf\u00e9 \u65e5 \U0001f600"),
        ("printf 'caf\\xe9 \\xc3'", "caf\\xe9 \\xc3"),
        ("printf '\\x1b[31mred\\x1b[0m'", "\\x1b[31mred\\x1b[0m"),
        ("printf 'a\\0b'", "a\\x00b"),
        ("printf 'a\\r\\nb\\tc\\fd'", "a\r\nb\tc\x0cd"),
        ("printf '\\xed\\xa0\\x80'", "\\xed\\xa0\\x80"),
        ("printf '\\xe2\\x80\\xa8\\xc2\\x85'", "\u2028\\x85"),
        ("printf '\\xef\\xbb\\xbfx'", "\ufeffx"),
        ("echo '\u00e9 \u65e5 \U0001f600 \u2028'", "\u00e9 \u65e5 \U0001f600 \u2028\n"),
        ("python3 -c \"print(len('\U0001f600\u00e9'))\"", "2\n"),
        ("grep --color=always -o sums README.md | head -c 4", "\\x1b[01"),
    ],
)
def test_text_and_bytes_are_told_apart(looking: NanoCodexEnv, cmd: str, output: str) -> None:
    assert said(looking, cmd) == output


# What is too long, and what takes too long.


def test_of_a_long_output_head_and_tail_are_kept_and_the_rest_is_counted(looking: NanoCodexEnv) -> None:
    """Tests fail at the end; the head alone would not show it."""
    whole = "".join(f"{n}\n" for n in range(1, 100_001))
    shown = said(looking, "seq 100000")
    assert shown == f"{whole[:8000]}\n[... {len(whole) - 16_000} bytes left out ...]\n{whole[-8000:]}"
    assert said(looking, "seq 100000; exit 3") == shown + "[exit 3]"


@pytest.mark.parametrize(
    ("cmd", "output"),
    [
        ("printf 0123456789", "0123456789"),
        ("printf 0123456789a", "01234\n[... 1 bytes left out ...]\n6789a"),
        ("printf '0123\\n56789\\n1234\\n'", "0123\n[... 6 bytes left out ...]\n1234\n"),
        ("printf '\\xc3\\xa9%.0s' {1..20}", "\u00e9\u00e9\n[... 32 bytes left out ...]\n\u00e9\u00e9"),
        ("printf '\\xf0\\x9f\\x98\\x80%.0s' {1..20}", "\U0001f600\n[... 72 bytes left out ...]\n\U0001f600"),
        ("printf '\\xff%.0s' {1..20}", "\\xff" * 4 + "\n[... 11 bytes left out ...]\n" + "\\xff" * 5),
        ("seq 100; false", "1\n2\n3\n[... 282 bytes left out ...]\n\n100\n[exit 1]"),
    ],
)
def test_a_cut_parts_no_character(make: Make, cmd: str, output: str) -> None:
    assert said(make(max_output=10), cmd) == output


def test_a_flood_is_stopped_and_the_next_command_runs(make: Make) -> None:
    env = make()
    shown = said(env, "yes")
    assert shown.startswith("y\ny\n")
    assert shown.endswith("y\n[stopped: the output was too long; narrow the command down]")
    assert len(shown) < 17_000
    assert said(env, "echo on") == "on\n"


@pytest.mark.parametrize(
    ("cmd", "output"),
    [
        ("echo begun; sleep 1000; echo never", "begun\n"),
        pytest.param("echo -n begun; sleep 1000", "begun\n", marks=pytest.mark.slow),
        pytest.param("sleep 1000", "", marks=pytest.mark.slow),
        pytest.param("while :; do :; done", "", marks=pytest.mark.slow),
        pytest.param("trap '' TERM INT; echo deaf; sleep 1000", "deaf\n", marks=pytest.mark.slow),
        pytest.param("(trap '' TERM; sleep 1000) & wait", "", marks=pytest.mark.slow),
        pytest.param("cat /dev/zero > /dev/null", "", marks=pytest.mark.slow),
        pytest.param("cat < /dev/stdin > /tmp/x; mkfifo /tmp/p; cat /tmp/p", "", marks=pytest.mark.slow),
    ],
)
def test_what_takes_too_long_is_stopped_with_what_it_had_said(make: Make, cmd: str, output: str) -> None:
    """The episode goes on in a fresh box."""
    env = make()
    assert said(env, cmd, "hasty") == f"{output}[stopped after {ENOUGH:g} seconds]"
    assert said(env, "echo on; ls /tmp") == "on\n"
    assert env.episode.steps == 2


def test_a_large_time_limit_is_said_in_plain_words() -> None:
    assert "stopped after 600 seconds; of an output over 100 bytes" in shell(timeout=600, max_output=100).description


# Nothing persists, and what is fixed stays so.

LEFT_BEHIND = [
    ("cd pkg", "pwd", "/testbed\n"),
    ("x=1; export Y=2", 'echo "[$x$Y]"', "[]\n"),
    ("f() { echo f; }; export -f f", "f", "bash: line 1: f: command not found\n[exit 127]"),
    ("shopt -s expand_aliases; alias ls='echo alias'", "ls pkg/data.txt", "pkg/data.txt\n"),
    ("echo note > /tmp/note", "ls -A /tmp; cat /tmp/note", "cat: /tmp/note: No such file or directory\n[exit 1]"),
    ("echo note > /dev/shm/note", "cat /dev/shm/note", "cat: /dev/shm/note: No such file or directory\n[exit 1]"),
    (
        "echo x > ~/.bashrc; echo x > $HOME/.gitconfig",
        "ls -A ~; git config --global -l",
        "fatal: unable to read config file '/tmp/.gitconfig': No such file or directory\n[exit 128]",
    ),
    ("set -eu; set -o noglob", "echo $nothing pkg/d*", "pkg/data.txt\n"),
    ("ulimit -n 10; ulimit -t 1", "ulimit -n", "1024\n"),
    ("trap 'echo trapped' EXIT", "true", ""),
    ("exec >/dev/null 2>&1", "echo heard", "heard\n"),
    (
        "sleep 1000 & setsid sleep 1000 & nohup sleep 1000 &",
        "cat /proc/[0-9]*/comm | sort | uniq -c | grep -c sleep",
        "0\n[exit 1]",
    ),
    ("(while :; do echo noise; done) & true", "sleep 0.1; echo quiet", "quiet\n"),
    ("history -s secret; hash -p /bin/false ls", "ls pkg/data.txt", "pkg/data.txt\n"),
    ("kill -9 1; kill -STOP 1; kill -9 $$", "echo alive", "alive\n"),
]


@pytest.mark.parametrize(("first", "then", "output"), LEFT_BEHIND, ids=[first[:30] for first, _, _ in LEFT_BEHIND])
def test_nothing_outlives_a_call(looking: NanoCodexEnv, first: str, then: str, output: str) -> None:
    """Each call starts fresh at the root; a policy takes no notes outside its transcript."""
    said(looking, first)
    assert said(looking, then) == output


@pytest.mark.parametrize(
    ("cmd", "output"),
    [
        ("PATH=/tmp", "bash: line 1: PATH: readonly variable\n[exit 1]"),
        ("export PATH=/tmp:$PATH; echo $PATH", "bash: line 1: PATH: readonly variable\n/usr/local/bin:/usr/bin:/bin\n"),
        ("declare +r PATH", "bash: line 1: declare: PATH: readonly variable\n[exit 1]"),
        ("PATH=/tmp ls pkg/data.txt", "bash: line 1: PATH: readonly variable\npkg/data.txt\n"),
        *((f"{name}=x", f"bash: line 1: {name}: readonly variable\n[exit 1]") for name in ("SHELL", "ENV", "BASH_ENV")),
    ],
)
def test_the_path_cannot_be_changed(looking: NanoCodexEnv, cmd: str, output: str) -> None:
    assert said(looking, cmd) == output


# With the other tool.


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"timeout": -1}, "timeout must be a positive number of seconds; got -1"),
        ({"timeout": "5"}, "timeout must be a positive number of seconds; got '5'"),
        ({"max_output": 0}, "max_output must be a positive whole number; got 0"),
    ],
    ids=str,
)
def test_a_limit_that_cannot_be_used_is_refused_when_it_is_given(limits: Any, words: str) -> None:
    """-1 was accepted, and each command "stopped after -1 seconds"."""
    with pytest.raises(ConfigError, match=words):
        shell(**limits)


def test_a_patch_shows_at_once_in_every_way_of_looking(make: Make) -> None:
    env = make()
    assert said(env, "git status --short; ls") == "README.md\nbytes\npkg\nrun.sh\nsums.py\n"
    env.step(tool_call("apply_patch", search="a - b", replace="a + b", file="sums.py"))
    env.step(tool_call("apply_patch", search="", replace="x = 1\n", file="new/mod.py"))
    assert said(env, "git status --short; ls; sed -n 5p sums.py; cat new/mod.py") == (
        " M sums.py\n?? new/\nREADME.md\nbytes\nnew\npkg\nrun.sh\nsums.py\n    return a + b\nx = 1\n"
    )
    assert said(env, "git diff --no-color | tail -n +5") == (
        "@@ -2,7 +2,7 @@\n \n \n def add(a, b):\n-    return a - b\n+    return a + b\n \n \n def twice(a):\n"
    )
    assert said(env, "stat -c '%n %a %U %Y' sums.py new new/mod.py README.md") == (
        "sums.py 644 codex 946771200\nnew 755 codex 946771200\nnew/mod.py 644 codex 946771200\n"
        "README.md 644 codex 946684800\n"
    )
    assert said(env, "python3 -c 'import sums; print(sums.add(2, 3))'") == "5\n"
    env.step(tool_call("apply_patch", search="a + b", replace="a - b", file="sums.py"))
    assert said(env, "git status --short; sed -n 5p sums.py") == "?? new/\n    return a - b\n"
