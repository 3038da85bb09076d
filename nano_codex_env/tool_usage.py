"""Statistics of tool calls, as flat numbers for a training log."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from nano_codex_env.messages import Message
from nano_codex_env.score import Score

COMMANDS = (
    "awk", "cat", "cd", "cut", "diff", "du", "echo", "egrep", "file", "find", "git", "grep", "head", "less", "ls", "nl",
    "pwd", "python", "rg", "sed", "sort", "tail", "tree", "uniq", "wc", "which", "xargs",
)  # fmt: skip
"""The commands that are counted one by one."""

_READ = 1 << 16
"""Characters of a command line that are parsed."""
_PUNCTUATION = "();<>|&\n"
_QUOTED = re.compile(r"""(['"]).*?(?:\1|\Z)""", re.DOTALL)
_WRAPPERS = {"sudo", "time", "xargs", "env", "command", "exec", "!", "then", "do", "else", "if", "while"}
"""Words that are followed by a command."""


def tool_stats(counts: Mapping[str, tuple[int, int]], messages: Iterable[Message]) -> dict[str, float]:
    """Calls and success rate per tool, and the number of uses of each of `COMMANDS` in shell calls.

    `counts` is an episode's: tool -> (calls, successful calls).
    """
    stats: dict[str, float] = {}
    for name, (calls, good) in {"shell": (0, 0), "apply_patch": (0, 0), **counts}.items():
        stats |= {f"tool_calls_{name}": calls, f"tool_success_rate_{name}": good / calls if calls else 0.0}
    used = command_counts(messages)
    return stats | {f"shell_cmd_{name}": used.get(name, 0) for name in COMMANDS}


def episode_metrics(
    score: Score,
    counts: Mapping[str, tuple[int, int]],
    messages: Iterable[Message],
    steps: int,
    tokens: int | None,
    finish_reasons: Sequence[str],
) -> dict[str, float]:
    """An episode's metrics, a superset of the above; a tool or command that was not called is absent: 0 calls.

    `answers_cut` counts answers that a token limit ended; it is there if the policy reports `finish_reasons`.
    """
    metrics = {"steps": float(steps), "reward": score.value} | ({} if tokens is None else {"tokens": float(tokens)})
    for name, (calls, successes) in counts.items():
        metrics |= {f"{name}.calls": float(calls), f"{name}.ok": successes / calls}
    metrics |= {f"commands.{name}": float(count) for name, count in command_counts(messages).items()}
    metrics |= {f"parts.{key}": float(value) for key, value in score.parts.items() if isinstance(value, int | float)}
    return metrics | ({"answers_cut": float(finish_reasons.count("length"))} if finish_reasons else {})


def command_counts(messages: Iterable[Message]) -> dict[str, int]:
    """The number of uses of each of `COMMANDS` in the shell calls of a transcript, without zeros."""
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

    Only the first 64 KiB are parsed, because the time that `shlex` takes for a word is quadratic in its length.

    >>> commands("cd src && /bin/grep -rn 'a | b' . | head -n 3; python3 -V")
    ['cd', 'grep', 'head', 'python']
    """
    line = line[:_READ]
    masked = _QUOTED.sub(lambda quoted: re.sub(f"[{_PUNCTUATION}]", "_", quoted[0]), line)
    lexer = shlex.shlex(masked, posix=True, punctuation_chars=_PUNCTUATION)
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    try:
        words = list(lexer)
    except ValueError:  # an unclosed quote, which bash would refuse as well
        words = line.split()
    found, expected = [], True
    for word in words:
        if set(word) <= set(_PUNCTUATION):
            redirects = set(word) & set("<>") and "(" not in word  # a command follows `<(`, but not `2>&1`
            expected = expected or not (redirects or set(word) == {")"})
        elif expected and "=" not in word and not word.startswith("-"):
            name = word.rpartition("/")[2].rstrip("0123456789.") or word
            expected = word in _WRAPPERS
            if name in COMMANDS or not expected:
                found.append(name)
    return found
