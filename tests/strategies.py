"""Hypothesis strategies: texts, what files hold and are called, and edits of them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from nano_codex_env.diff import File


def quick(examples: int) -> settings:
    """So many examples, without a deadline; fixtures may be shared between examples."""
    relaxed = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much]
    return settings(max_examples=examples, deadline=None, suppress_health_check=relaxed)


BREAKS = ["\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029", "\ufeff", "\0"]
"""What some reader somewhere takes for the end of a line, or of the text."""

HEADERS = [
    b"--- a/x",
    b"+++ b/x",
    b"-- x",
    b"++ y",
    b"--- ",
    b"diff --git a/x b/x",
    b"@@ -1,2 +3,4 @@",
    b"index 1234567..89abcde 100644",
    b"\\ No newline at end of file",
    b"rename from x",
    b"new file mode 100644",
    b"GIT binary patch",
    b"Binary files a/x and b/x differ",
    b"-- ",
]
"""Lines that a careless reader of patches takes for its own."""


def texts(*, max_size: int = 200) -> st.SearchStrategy[str]:
    """Any text without lone surrogates: every line break there is, and characters of all planes."""
    whole = st.characters(exclude_categories=["Cs"])
    pieces = st.one_of(st.text(whole, max_size=20), st.sampled_from(BREAKS), st.sampled_from(["  ", "\t", "x = 1"]))
    return st.lists(pieces, max_size=max_size // 10).map("".join)


def lines() -> st.SearchStrategy[bytes]:
    """One line without its end: often one that occurs again, sometimes one like a patch's header, sometimes bytes."""
    odd = st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"").replace(b"\0", b""))
    usual = st.sampled_from([b"", b"a", b"b", b"    return x", b"}", b"\t", "é ü".encode(), b"\xe9", b"\x0c", b"\r"])
    return st.one_of(usual, usual, st.sampled_from(HEADERS), odd)


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """What a text file holds: LF, CR LF or mixed endings, with or without the last, UTF-8 or not, or nothing."""
    body = draw(st.lists(lines(), max_size=14))
    style = draw(st.sampled_from(["lf", "crlf", "mixed"]))
    ends = {"lf": st.just(b"\n"), "crlf": st.just(b"\r\n"), "mixed": st.sampled_from([b"\n", b"\r\n"])}[style]
    whole = b"".join(line + draw(ends) for line in body)
    return whole if draw(st.booleans()) else whole.removesuffix(b"\n").removesuffix(b"\r")


def files() -> st.SearchStrategy[File]:
    """A file as git sees it."""
    return st.builds(File, contents(), st.booleans())


def _name(raw: bytes) -> bool:
    plain = raw.decode("latin-1").lower().lstrip()
    return raw not in (b".", b"..") and not plain.startswith((".git", "git~"))


def file_names() -> st.SearchStrategy[str]:
    """What git lets a file be called: any bytes but NUL; as Python names it."""
    usual = st.sampled_from(
        [b"a", b"b.py", b"with space", b" ", b"-rf", b'quo"te', b"back\\slash", b"tab\t", b"new\nline"]
    )
    odd = st.binary(min_size=1, max_size=8).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"_"))
    words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=8)
    part = st.one_of(usual, odd, words.map(str.encode)).filter(_name)
    whole = st.lists(part, min_size=1, max_size=3).map(lambda parts: os.fsdecode(b"/".join(parts)))
    return whole.filter(lambda name: " /" not in name)  # git < 2.46 cannot read its own patch of an empty file there


@dataclass(frozen=True)
class Change:
    """One file before and after; None: it is not there."""

    path: str
    old: File | None
    new: File | None


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """An edit of one file: made, emptied, removed, its mode changed, a few lines changed, or written anew."""
    path, old = draw(file_names()), draw(files())
    kinds: dict[str, st.SearchStrategy[File | None]] = {
        "emptied": st.just(File(b"", old.executable)),
        "removed": st.none(),
        "mode": st.just(File(old.data, not old.executable)),
        "lines": _edited(old.data).map(lambda data: File(data, old.executable)),
        "other": files(),
        "same": st.just(old),
    }
    kind = draw(st.sampled_from(["new", *kinds, "lines", "lines"]))
    return Change(path, None, old) if kind == "new" else Change(path, old, draw(kinds[kind]))


@st.composite
def _edited(draw: st.DrawFn, data: bytes) -> bytes:
    body = data.split(b"\n")
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(body)))
        body[place : place + draw(st.integers(0, 2))] = draw(st.lists(lines(), max_size=2))
    return b"\n".join(body)


def trees(*, max_size: int = 4) -> st.SearchStrategy[list[Change]]:
    """Edits of several files of one tree: no name is another's folder."""
    return st.lists(changes(), min_size=1, max_size=max_size, unique_by=lambda change: change.path).filter(_is_tree)


def _is_tree(edits: list[Change]) -> bool:
    paths = {edit.path for edit in edits}
    return not any(path.startswith(other + "/") for path in paths for other in paths)


@dataclass(frozen=True)
class Edit:
    """A text that occurs in a file, and what to put in its place."""

    data: bytes
    search: str
    replace: str


def decoded(data: bytes) -> str:
    """A file's text as `apply_patch` reads it: UTF-8, else Latin-1."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


@st.composite
def edits(draw: st.DrawFn) -> Edit:
    """A file, a piece of its text, and another text that its encoding can hold; no CR LF is cut in two."""
    data = draw(contents().filter(bool))
    text = decoded(data)
    places = [n for n in range(len(text) + 1) if text[n - 1 : n + 1] != "\r\n" or n in (0, len(text))]
    start = draw(st.integers(0, len(places) - 2))
    stop = draw(st.integers(start + 1, len(places) - 1))
    ascii_only = st.text(st.sampled_from("ab (){}=\n\t"), max_size=20)
    return Edit(
        data, text[places[start] : places[stop]], draw(ascii_only if "\r" in text else st.one_of(ascii_only, texts()))
    )
