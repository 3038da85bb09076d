"""Patches of the library whose `add` subtracts."""

from __future__ import annotations

from collections.abc import Mapping

from nano_codex_env.diff import File, file_diff
from tests.conftest import BUG

FIXED = BUG.replace("a - b", "a + b")
Files = Mapping[str, str]


def patch(before: Files, after: Mapping[str, str | None]) -> str:
    """The patch that gives the files in `after` these texts; None removes a file, and all others stay."""

    def file(text: str | None) -> File | None:
        return None if text is None else File(text.encode())

    return "".join(file_diff(path, file(before.get(path)), file(text)) for path, text in sorted(after.items()))
