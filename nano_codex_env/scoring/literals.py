"""Natural edits of one literal: the token's own text with one character changed."""

from __future__ import annotations

import ast
import io
import itertools
import random
import re
import tokenize
from collections.abc import Iterator, Sequence
from typing import Any

from nano_codex_env.scoring.mutants import Edit

_ALIKE = ("aeiou", "bcdfghjklmnpqrstvwxyz")
"""A letter is replaced by another of its group."""


class SourceText:
    """A file's bytes, with the byte offsets of nodes and tokens.

    Raises:
        ValueError, SyntaxError, tokenize.TokenError: the file is not Python in UTF-8.
    """

    def __init__(self, source: bytes) -> None:
        self.source, text = source, source.decode()
        lines = [*text.split("\n"), ""]
        self._starts = [0, *itertools.accumulate(len(line.encode()) + 1 for line in lines)]

        def offset(row: int, column: int) -> int:
            return self._starts[row - 1] + len(lines[row - 1][:column].encode())

        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        self._tokens = [(offset(*token.start), offset(*token.end), token) for token in tokens]

    def span(self, node: ast.AST) -> tuple[int, int]:
        """The offsets of a node's first byte and of the byte after its last."""
        at: Any = node
        return self._starts[at.lineno - 1] + at.col_offset, self._starts[at.end_lineno - 1] + at.end_col_offset

    def tokens(self, start: int, end: int) -> Iterator[tuple[int, int, tokenize.TokenInfo]]:
        """The tokens between two offsets, each with its own."""
        return (found for found in self._tokens if start <= found[0] and found[1] <= end)


def constant_edits(node: ast.Constant, text: SourceText, chance: random.Random) -> Iterator[tuple[str, Edit]]:
    """Natural edits of one literal, each with its kind."""
    start, end = text.span(node)
    if isinstance(node.value, bool):
        yield "boolean", Edit(start, end, str(not node.value))
    elif isinstance(node.value, int | float):
        for new in _numbers(text.source[start:end].decode(), chance):
            yield ("integer" if isinstance(node.value, int) else "float"), Edit(start, end, new)
    elif isinstance(node.value, str | bytes):
        for at, _, token in text.tokens(start, end):
            if token.type == tokenize.STRING and "f" not in _prefix(token.string):
                for kind, place, new in _characters(token.string, chance):
                    first = at + len(token.string[:place].encode())
                    yield kind, Edit(first, first + len(token.string[place].encode()), new)


def _numbers(written: str, chance: random.Random) -> Iterator[str]:
    """A number's text with one digit changed by one, up or down, so that format and magnitude stay."""
    if not written.isascii() or written[:2].lower() in ("0x", "0o", "0b"):
        return
    mantissa = written.lower().partition("e")[0]
    whole, _, fraction = mantissa.partition(".")
    places = [n for n, char in enumerate(mantissa) if char.isdigit()]
    if fraction.strip("0_") == "":  # 2.0 becomes 3.0, never 2.1
        places = [n for n in places if n < len(whole)]
    for place in reversed(places[-2:]):
        digits = [digit for digit in (int(written[place]) - 1, int(written[place]) + 1) if 0 <= digit <= 9]
        for digit in chance.sample(digits, len(digits)):
            new = f"{written[:place]}{digit}{written[place + 1 :]}"
            adds_leading_zero = place == 0 and len(whole) > 1 and digit == 0
            if not adds_leading_zero and ast.literal_eval(new) != ast.literal_eval(written):
                yield new


def _characters(token: str, chance: random.Random) -> Iterator[tuple[str, int, str]]:
    """(kind, index in the token, new character) for a few characters of a string outside of escape sequences."""
    prefix = _prefix(token)
    quotes = 3 if token[len(prefix) : len(prefix) + 3] in ('"""', "'''") else 1
    start, end = len(prefix) + quotes, len(token) - quotes
    escape = r"\\." if "r" in prefix else r"\\[xuUN0-7].*|\\."  # after an escape of several characters none is edited
    places = [found.start() for found in re.compile(f"(?s){escape}|(.)").finditer(token, start, end) if found[1]]
    digits = [n for n in places if token[n] in "0123456789" and not token[n + 1].isdigit()]  # the last of each number
    letters = [n for n in places if token[n].lower() in "".join(_ALIKE)]
    for place in chance.sample(digits, min(2, len(digits))):
        for step in chance.sample((-1, 1), 2):
            if 0 <= int(token[place]) + step <= 9:
                yield "digit", place, str(int(token[place]) + step)
    for place in chance.sample(letters, min(2, len(letters))):
        char = token[place]
        alike = next(group for group in _ALIKE if char.lower() in group).replace(char.lower(), "")
        for new in chance.sample(alike, 2):
            yield "letter", place, new.upper() if char.isupper() else new


def _prefix(token: str) -> str:
    return token[: token.index(token[-1])].lower()


def swaps(items: Sequence[ast.expr], text: SourceText, chance: random.Random) -> Iterator[Edit]:
    """Swaps of two neighbours in a list that is not sorted: a swap in a sorted one would be recognised."""
    try:
        values = [ast.literal_eval(item) for item in items]
        if len(values) < 2 or any(values == sorted(values, reverse=way) for way in (False, True)):
            return
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return
    places = [n for n in range(len(values) - 1) if values[n] != values[n + 1]]
    for n in chance.sample(places, min(2, len(places))):
        (a, b), (c, d) = text.span(items[n]), text.span(items[n + 1])
        yield Edit(a, d, (text.source[c:d] + text.source[b:c] + text.source[a:b]).decode())
