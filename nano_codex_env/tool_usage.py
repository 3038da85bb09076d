"""What a policy did with its tools, as flat numbers for a training log."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from nano_codex_env.messages import Message

COMMANDS = (
    "awk", "cat", "cd", "cut", "diff", "du", "echo", "egrep", "file", "find", "git", "grep", "head", "less", "ls", "nl",
    "pwd", "python", "rg", "sed", "sort", "tail", "tree", "uniq", "wc", "which", "xargs",
)  # fmt: skip
"""The commands that are counted one by one."""

_READ = 1 << 16
"""Characters of a command line that are looked at."""
_PUNCTUATION = set("();<>|&\n")
_WRAPPERS = {"sudo", "time", "xargs", "env", "command", "exec", "!", "then", "do", "else", "if", "while"}


def tool_stats(counts: Mapping[str, tuple[int, int]], messages: Iterable[Message]) -> dict[str, float]:
    """Calls and success rate per tool, and how often each of `COMMANDS` stands in a shell call.

    `counts` is an episode's: tool -> (calls, calls that did what they were for).
    """
    stats: dict[str, float] = {}
    for name, (calls, good) in {"shell": (0, 0), "apply_patch": (0, 0), **counts}.items():
        stats |= {f"tool_calls_{name}": calls, f"tool_success_rate_{name}": good / calls if calls else 0.0}
    used = command_counts(messages)
    return stats | {f"shell_cmd_{name}": used.get(name, 0) for name in COMMANDS}


def tool_metrics(counts: Mapping[str, tuple[int, int]], messages: Iterable[Message]) -> dict[str, float]:
    """The same for an episode's metrics; a tool or command that was not called is absent, which means 0 calls."""
    metrics: dict[str, float] = {}
    for name, (calls, successes) in counts.items():
        metrics |= {f"{name}.calls": float(calls), f"{name}.ok": successes / calls}
    return metrics | {f"commands.{name}": float(count) for name, count in command_counts(messages).items()}


def command_counts(messages: Iterable[Message]) -> dict[str, int]:
    """How often each of `COMMANDS` stands in the shell calls of a transcript; those that do not are left out."""
    used = Counter(name for line in _shell_lines(messages) for name in commands(line))
    return {name: used[name] for name in COMMANDS if used[name]}


def _shell_lines(messages: Iterable[Message]) -> Iterator[str]:
    for message in messages:
        for call in message.get("tool_calls") or ():
            function = call.get("function") or {}
            if isinstance(function, dict) and function.get("name") == "shell":
                try:
                    arguments = json.loads(function["arguments"])
                except (KeyError, TypeError, ValueError, RecursionError):
                    continue
                if isinstance(arguments, dict) and isinstance(arguments.get("cmd"), str):
                    yield arguments["cmd"]


def commands(line: str) -> list[str]:
    """The commands of a shell line: the first word of each simple command, without its folder.

    Of a line longer than 64 KiB (a file written by a here-document) only the beginning is looked at: the time that
    `shlex` takes for one word grows with the square of its length.

    >>> commands("cd src && /bin/grep -rn 'a | b' . | head -n 3; python3 -V")
    ['cd', 'grep', 'head', 'python']
    """
    found, expected = [], True
    for word in _words(line[:_READ]):
        if set(word) <= _PUNCTUATION:
            redirects = set(word) & set("<>") and "(" not in word  # `2>&1` begins no command, `<(ls)` does
            expected = expected or not (redirects or set(word) == {")"})
        elif expected and "=" not in word and not word.startswith("-"):
            name = word.rpartition("/")[2].rstrip("0123456789.") or word
            expected = word in _WRAPPERS
            if name in COMMANDS or not expected:
                found.append(name)
    return found


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(_masked(line), posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    try:
        return list(lexer)
    except ValueError:  # a quote that is not closed: bash would refuse it as well
        return line.split()


def _masked(line: str) -> str:
    """The line with every operator inside quotes replaced, so that it is none any more."""
    masked, quote = [], ""
    for char in line:
        masked.append("_" if quote and char in _PUNCTUATION else char)
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
    return "".join(masked)
