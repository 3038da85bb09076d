"""A simple command is run in the place of its subshell, and nobody can see it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nano_codex_env.sandbox import Sandbox, Shell, View
from nano_codex_env.sandbox.simple import PROGRAMS, direct

SIMPLE = [
    "ls",
    "ls -la sub",
    "  cat  one.txt ",
    "cat one.txt nowhere.txt",
    "cat",
    "grep -rn 'o n e' .",
    'grep -c "two words" one.txt',
    "grep nothing one.txt",
    "sed -n '1,2p' one.txt",
    "sed -n 1,2p one.txt\n",
    "find . -name '*.txt'",
    "find one.txt -exec printenv SHLVL PWD PATH ';'",
    "tail -n 1 one.txt",
    "rg no-such-program",
    "which ls",
    "readlink /proc/self/fd/0",
    "ls --no-such-option",
]
OTHERS = [
    "ls | head -n 1",
    "ls; ls",
    "ls && pwd",
    "ls $HOME",
    "ls ~",
    "ls *.txt",
    "ls {one,two}.txt",
    "cat < one.txt",
    "ls # a comment",
    "ls 'sub\nls'",
    "ls\nls",
    'grep "$(pwd)" one.txt',
    'grep "`pwd`" one.txt',
    'grep "!!" one.txt',
    "ls \\one.txt",
    "echo one",
    "cd sub",
    "test -e one.txt",
    "exec ls",
    "! ls",
    "time ls",
    "A=1 ls",
    "(ls)",
    "ls &",
    "lsx",
    "./ls",
    "ls 'open",
    "",
]


@pytest.fixture
def plain(sandbox: Sandbox, tmp_path: Path) -> Iterator[Shell]:
    tmp_path.chmod(0o755)
    (tmp_path / "sub").mkdir()
    (tmp_path / "one.txt").write_text("o n e\ntwo words\nthree\n")
    box = sandbox.open(View((tmp_path,)))
    yield box
    box.close()


@pytest.mark.parametrize("command", SIMPLE)
def test_a_simple_command_answers_as_it_does_after_a_fork(command: str, plain: Shell) -> None:
    assert direct(command).strip() != command.strip()
    at_once = plain.run(command, timeout=60, keep=4096)
    forked = plain.run(f"{command.strip()}; exit $?", timeout=60, keep=4096)
    assert (at_once.output.text(), at_once.exit_code) == (forked.output.text(), forked.exit_code)


@pytest.mark.parametrize("command", OTHERS)
def test_what_bash_must_work_on_is_left_as_it_is(command: str) -> None:
    assert direct(command) == command


def test_a_long_command_is_not_sent_twice() -> None:
    command = "ls " + "x" * 1000
    assert direct(command) == command


@given(st.text(alphabet="ls ca'\"$`\\;&|<>(){}*?[]~#!\n\t-", max_size=30))
def test_whatever_is_rewritten_holds_nothing_that_bash_works_on(text: str) -> None:
    command = f"ls {text}"
    if direct(command) != command:
        outside = re.sub(r"""'[^']*'|"[^"$`\\!]*\"""", "", command)
        assert not set(outside) & set("$`\\;&|<>(){}*?[]~#!"), command
        assert command.strip().count("\n") <= sum(map(command.count, "'\"")), command


def test_every_program_of_the_list_is_none_of_bashs_own(plain: Shell) -> None:
    said = plain.run(f"type -t {' '.join(PROGRAMS)}", timeout=60, keep=8192).output.text().split()
    assert set(said) == {"file"}
