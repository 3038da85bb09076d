"""Run a simple command in place of the subshell that was forked for it, as `bash -c` does with its last command.

The resident bash forks a subshell for each command, and the subshell would fork again for a program, which costs as
much as starting it. bash omits that fork for `bash -c`, but not for `eval`. So a command that is one program with plain
arguments, which bash neither expands nor redirects, is run with `exec`. Output, exit status and the message for a
missing program are the same; only the variable `_` is not set.
"""

from __future__ import annotations

import re

PROGRAMS = [
    "basename", "cat", "cksum", "cmp", "column", "comm", "cut", "date", "df", "diff", "dirname", "du", "egrep",
    "fgrep", "file", "find", "fold", "grep", "head", "id", "join", "ls", "md5sum", "nl", "od", "paste", "readlink",
    "realpath", "rg", "sed", "sha1sum", "sha256sum", "shuf", "sort", "stat", "strings", "tac", "tail", "tr",
    "tree", "uname", "uniq", "wc", "which", "xxd",
]  # fmt: skip
"""Programs that are not builtins or keywords of bash."""

_ARGUMENT = r"""(?:[\w./=,:+@%^-]|'[^'\0\n]*'|"[^"$`\\!\0\n]*")+"""
_SIMPLE = re.compile(rf"[ \t]*({'|'.join(PROGRAMS)})((?:[ \t]+{_ARGUMENT})*)[ \t]*\n?", re.ASCII)


def direct(command: str) -> str:
    """`command`, rewritten to `exec` if it is simple and at most 1,000 characters long (it is sent twice).

    >>> direct("ls -la src")
    'hash ls 2>/dev/null && exec ls -la src; ls -la src'
    >>> direct("ls | head")
    'ls | head'
    """
    found = _SIMPLE.fullmatch(command) if len(command) <= 1000 else None
    if not found:
        return command
    plain = f"{found[1]}{found[2]}"
    return f"hash {found[1]} 2>/dev/null && exec {plain}; {plain}"
