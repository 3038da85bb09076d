"""Natural edits of one literal: the token's own text with one character changed."""

from __future__ import annotations

import ast
import io
import random
import tokenize
from collections.abc import Iterator, Sequence
from typing import Any

from nano_codex_env.scoring.mutants import Edit


class SourceText:
    """A file's bytes, with the places of nodes and tokens in them."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self._starts = [0]
        for line in source.split(b"\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)
        encoding = "utf-8"
        self._lines = source.decode(encoding).split("\n")
        self.tokens = [
            (self._byte(token.start), self._byte(token.end), token)
            for token in tokenize.generate_tokens(io.StringIO(source.decode(encoding)).readline)
        ]

    def _byte(self, place: tuple[int, int]) -> int:
        row, column = place
        line = self._lines[row - 1] if row <= len(self._lines) else ""
        return self._starts[row - 1] + len(line[:column].encode())

    def span(self, node: ast.AST) -> tuple[int, int]:
        """The bytes of a node."""
        at: Any = node
        return self._starts[at.lineno - 1] + at.col_offset, self._starts[at.end_lineno - 1] + at.end_col_offset

    def of(self, node: ast.AST) -> str:
        """The text of a node."""
        start, end = self.span(node)
        return self.source[start:end].decode()

    def inside(self, node: ast.AST) -> Iterator[tuple[int, int, tokenize.TokenInfo]]:
        """The tokens of a node."""
        start, end = self.span(node)
        return ((a, b, token) for a, b, token in self.tokens if start <= a and b <= end)


def constant_edits(node: ast.Constant, text: SourceText, chance: random.Random) -> Iterator[tuple[str, Edit]]:
    """Natural edits of one literal."""
    value = node.value
    if isinstance(value, bool):
        yield "boolean", Edit(*text.span(node), str(not value))
    elif isinstance(value, int | float):
        start, end = text.span(node)
        written = text.of(node)
        for new in _numbers(written, chance):
            yield ("integer" if isinstance(value, int) else "float"), Edit(start, end, new)
    elif isinstance(value, str | bytes):
        for start, _, token in text.inside(node):
            if token.type == tokenize.STRING and "f" not in token.string[:2].lower().split(token.string[-1])[0]:
                for kind, place, new in _characters(token.string, chance):
                    at = start + len(token.string[:place].encode())
                    yield kind, Edit(at, at + len(token.string[place].encode()), new)


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
        digit = int(written[place])
        steps = [step for step in (-1, 1) if 0 <= digit + step <= 9]
        for step in chance.sample(steps, len(steps)):
            new = written[:place] + str(digit + step) + written[place + 1 :]
            if not (place == 0 and len(whole) > 1 and digit + step == 0) and ast.literal_eval(new) != ast.literal_eval(
                written
            ):
                yield new


_ALIKE = ("aeiou", "bcdfghjklmnpqrstvwxyz")


def _characters(token: str, chance: random.Random) -> Iterator[tuple[str, int, str]]:
    """(kind, index in the token, new character) for a few characters of a string that are no part of an escape."""
    quote = token.index(token[-1])
    opening = 3 if token[quote : quote + 3] in ('"""', "'''") else 1
    raw = "r" in token[:quote].lower()
    places, n = [], quote + opening
    while n < len(token) - opening:
        if token[n] == "\\" and not raw:
            n += 2 if token[n + 1] not in "xuUN01234567" else len(token)
            continue
        if token[n] == "\\":
            n += 2
            continue
        places.append(n)
        n += 1
    digits = [n for n in places if token[n] in "0123456789" and not token[n + 1].isdigit()]  # the last of each number
    letters = [n for n in places if token[n].lower() in "".join(_ALIKE)]
    for place in chance.sample(digits, min(2, len(digits))):
        digit = int(token[place])
        for step in chance.sample((-1, 1), 2):
            if 0 <= digit + step <= 9:
                yield "digit", place, str(digit + step)
    for place in chance.sample(letters, min(2, len(letters))):
        char = token[place]
        alike = next(group for group in _ALIKE if char.lower() in group).replace(char.lower(), "")
        for new in chance.sample(alike, 2):
            yield "letter", place, new.upper() if char.isupper() else new


def swaps(items: Sequence[ast.expr], text: SourceText, chance: random.Random) -> Iterator[Edit]:
    """Two neighbours exchanged, unless that would unsort what is sorted."""
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
