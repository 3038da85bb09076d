"""Simple commands run in the place of the subshell that was forked for them, as `bash -c` runs its last command.

The resident bash forks a subshell for each command; a program in it would be forked once more, which costs as much as
starting it. Bash itself leaves that out for `bash -c`, not for `eval`. So a command that is one program with plain
arguments (nothing that bash expands, combines or redirects) is run with `exec`. What it prints and its exit status
are the same; one that is not installed is told of by bash in the same words. (The variable `_` is not set for it.)
"""

from __future__ import annotations

import re

PROGRAMS = [
    "basename", "cat", "cksum", "cmp", "column", "comm", "cut", "date", "df", "diff", "dirname", "du", "egrep",
    "fgrep", "file", "find", "fold", "grep", "head", "id", "join", "ls", "md5sum", "nl", "od", "paste", "readlink",
    "realpath", "rg", "sed", "sha1sum", "sha256sum", "shuf", "sort", "stat", "strings", "tac", "tail", "tr",
    "tree", "uname", "uniq", "wc", "which", "xxd",
]  # fmt: skip
"""Programs that are no builtins of bash; a fixed list, so that no word is taken for what it is not."""

_LONGEST = 1000
"""Characters; it is sent twice."""

_WORD = r"""(?:[\w./=,:+@%^-]|'[^'\0\n]*'|"[^"$`\\!\0\n]*")+"""
_SIMPLE = re.compile(rf"[ \t]*({'|'.join(PROGRAMS)})((?:[ \t]+{_WORD})*)[ \t]*\n?", re.ASCII)


def direct(command: str) -> str:
    """`command`, so that bash need not fork for it where it is simple; else as it is.

    >>> direct("ls -la src")
    'hash ls 2>/dev/null && exec ls -la src; ls -la src'
    >>> direct("ls | head")
    'ls | head'
    """
    found = _SIMPLE.fullmatch(command) if len(command) <= _LONGEST else None
    if not found:
        return command
    words = f"{found[1]}{found[2]}"
    return f"hash {found[1]} 2>/dev/null && exec {words}; {words}"
