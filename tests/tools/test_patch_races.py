"""Patches while somebody swaps folders and files for links to outside: nothing there is reached.

A swap is one system call (an exchange of two names). It is made to strike before each system call of a patch in turn,
by a tool of somebody else's between two calls of a message, and by a thread that never rests.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import pytest

from nano_codex_env.errors import NanoCodexError, WorkspaceError
from nano_codex_env.messages import ToolCall, assistant, tool_call
from nano_codex_env.repo import apply_to_checkout, files
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.tools import Tool, ToolResult
from tests.conftest import git
from tests.tools.test_patch_attacks import SECRET, Ground, patch, playing, state

_libc = ctypes.CDLL(None, use_errno=True)
if not hasattr(_libc, "renameat2"):
    pytest.skip("two names cannot be exchanged here", allow_module_level=True)


@dataclass
class Swap:
    """A folder or file, and a link to one outside, that change places in one system call."""

    place: Path
    link: Path
    swapped: bool = False

    def __call__(self) -> None:
        if _libc.renameat2(-100, bytes(self.place), -100, bytes(self.link), 2):
            raise OSError(ctypes.get_errno(), "cannot exchange", str(self.place))
        self.swapped = not self.swapped

    def back(self) -> None:
        if self.swapped and os.path.lexists(self.place):
            self()
        elif self.swapped:  # the episode is over and its folder gone, but for what was not there
            shutil.rmtree(self.link)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def temporaries(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob(".*.tmp")]


# Before each system call.

_NO_FILES = {"fspath", "getpid", "geteuid", "urandom"}


def struck(action: Callable[[], object], strike: Callable[[int], None], where: Callable[[FrameType], bool]) -> int:
    """Do `action`, calling `strike(number)` before each of its system calls on files; returns their number."""
    number = 0

    def watch(frame: FrameType, event: str, function: object) -> None:
        nonlocal number
        known = event == "c_call" and getattr(function, "__module__", "") == "posix"
        if known and getattr(function, "__name__", "") not in _NO_FILES and where(frame):
            strike(number)
            number += 1

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        action()
    finally:
        sys.setprofile(before)
    return number


EDIT, NEW = patch("pkg/deep/x.txt", "deep", "Deep"), patch("pkg/deep/new/x.txt", "", "x\n")
AGAIN = patch("pkg/deep/x.txt", "Deep", "deeper")
CALLS = {"an edit": EDIT, "a second edit": AGAIN, "a new file": NEW}
PLACES = {"": "", "pkg": "", "pkg/deep": "deep", "pkg/deep/x.txt": "deep/x.txt"}
"""Swapped path -> target of the link in its place, below the folder outside."""


QUICK = [("base", "pkg/deep/x.txt", "an edit"), ("touched", "pkg", "a second edit"), ("base", "", "a new file")]
"""A file, a folder and the root; the other cases are slow."""


class MetadataChanged(AssertionError):
    """A mode, an owner or a time outside is not what it was."""


def _cases() -> Iterator[object]:
    for layer in ("base", "touched"):
        for name in PLACES:
            for action in CALLS:
                if (layer, name) == ("touched", "pkg/deep/x.txt") and action != "a second edit":
                    continue  # it is not there yet
                marks = () if (layer, name, action) in QUICK else (pytest.mark.slow,)
                yield pytest.param(layer, name, action, id=f"{layer}-{name or 'root'}-{action}", marks=marks)


@pytest.fixture
def ground(tmp_path: Path, sandbox: Sandbox) -> Iterator[Ground]:
    with playing(tmp_path, sandbox) as made:
        yield made


def attempt(ground: Ground, swap: Swap, action: ToolCall, first: int, length: int) -> tuple[int, str]:
    """One patch with a swap before call `first`, and back `length` calls later; how many calls, and what is said."""
    said: list[str] = []

    def strike(number: int) -> None:
        if number == first or (length and number == first + length):
            swap()

    def act() -> None:
        try:
            said.extend(ground.step(action))
        except NanoCodexError as error:
            said.append(f"raised {error}")

    try:
        number = struck(act, strike, lambda frame: True)
    finally:
        swap.back()
    return number, said[0]


def prepared(ground: Ground, layer: str, name: str, action: str) -> Swap:
    """A fresh episode, in which what is to be swapped is there."""
    ground.env.reset(seed=0)
    if action == "a second edit":
        ground.step(EDIT)
    elif layer == "touched":
        ground.step(patch("pkg/deep/other.txt", "", "x"))
    link = ground.folder / "link"
    link.unlink(missing_ok=True)
    link.symlink_to(ground.folder / "outside" / PLACES[name])
    return Swap(ground.env.episode.workspace.layers[0 if layer == "base" else -1] / name, link)


@pytest.mark.parametrize(("layer", "name", "action"), list(_cases()))
def test_a_swap_at_any_moment_leads_nobody_outside(ground: Ground, layer: str, name: str, action: str) -> None:
    """Before each system call in turn, for good and for one call: nothing outside is read or changed in any way.

    Errors are of ours, and no temporary file is left.
    """
    outside = ground.folder / "outside"
    before, held = state(outside), contents(outside)
    heard, changed = set(), set()
    for length in (0, 1):
        first, number = 0, 1
        while first <= number:
            number, said = attempt(ground, prepared(ground, layer, name, action), CALLS[action], first, length)
            heard.add(said.split(" ")[0])
            assert SECRET.strip() not in said
            assert contents(outside) == held
            assert not temporaries(ground.folder)
            if state(outside) != before:
                before = state(outside)
                changed.add((first, length))
            first += 1
    assert heard & {"patched", "created"}
    if changed:
        raise MetadataChanged(sorted(changed))


def test_the_way_leads_outside_for_who_follows_it(ground: Ground) -> None:
    """The control: while it is swapped, a tool without walls reads and writes there."""
    swap = prepared(ground, "base", "pkg", "an edit")
    swap()
    path = ground.base / "pkg" / "deep" / "x.txt"
    assert path.read_text() == SECRET
    path.write_text("written")
    assert (ground.folder / "outside" / "deep" / "x.txt").read_text() == "written"
    assert ground.step(EDIT)[0].startswith("error: pkg is a symbolic link to ")
    swap()
    assert ground.step(EDIT) == ["patched pkg/deep/x.txt at line 1"]


# A thread that never rests.


class Swapper(threading.Thread):
    """Swaps one after the other, back and forth, until it is told to stop or what it swaps is gone."""

    def __init__(self, *swaps: Swap) -> None:
        super().__init__()
        self._swaps, self._over, self.at_work = swaps, threading.Event(), threading.Event()

    def run(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            while not self._over.is_set():
                for swap in self._swaps * 2:
                    swap()
                    self.at_work.set()

    def __enter__(self) -> Swapper:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
        for swap in reversed(self._swaps):
            swap.back()


@pytest.mark.parametrize("rounds", [2, pytest.param(15, marks=pytest.mark.slow)])
@pytest.mark.parametrize("layer", ["base", "touched"])
def test_patches_beside_a_thread_that_swaps_reach_nothing_outside(ground: Ground, layer: str, rounds: int) -> None:
    """Whatever the moment: done, or refused, or an error of ours."""
    outside, said = ground.folder / "outside", set()
    held = contents(outside)
    more = [patch(f"pkg/deep/{number}.txt", "", "x\n") for number in range(4)]
    for name in [name for name in PLACES if name] * rounds:
        swap = prepared(ground, layer, name, "a second edit")
        with Swapper(swap) as swapper:
            assert swapper.at_work.wait(120)
            try:
                said.update(ground.step(AGAIN, *more, patch("pkg/data.txt"), patch("pkg/deep/x.txt", "deeper", "deep")))
            except NanoCodexError as error:
                said.add(str(error))
        assert contents(outside) == held
        assert not temporaries(ground.folder)
    assert not [answer for answer in said if SECRET.strip() in answer]


# Several calls in one message.


def _swapper(ground: list[Ground]) -> Tool:
    """A tool of somebody else's that changes the host between two calls: `what` becomes a link to `target`."""

    def swap(_: object, what: str, target: str) -> ToolResult:
        folder = ground[0].folder
        layer = ground[0].env.episode.workspace.layers[-1 if what.startswith("touched/") else 0]
        path = layer / what.partition("/")[2]
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        path.symlink_to(folder / target)
        return ToolResult("swapped")

    return Tool("swap", "Swap.", {"what": "a path", "target": "a path"}, swap)


def swap(what: str, target: str) -> ToolCall:
    return tool_call("swap", what=what, target=target)


NO_FOLDER, A_FOLDER = "error: {} is a file, not a folder", "error: {} is a folder; only regular files can be patched"
LINK = "error: {} is a symbolic link to {}; links are not followed, patch what it points to"
new = patch("new", "", "x\n")
COMBINATIONS: dict[str, list[tuple[ToolCall, str]]] = {
    "a file where a folder is needed": [
        (new, "created new"),
        (patch("new/x", "", "x"), NO_FOLDER.format("new")),
        (patch("new/x/y", "x", "y"), NO_FOLDER.format("new")),
        (patch("new", "x", "y"), "patched new at line 1"),
    ],
    "a folder where a file is needed": [
        (patch("new/deep/x", "", "x"), "created new/deep/x"),
        (new, A_FOLDER.format("new")),
        (patch("new/deep", "x", "y"), A_FOLDER.format("new/deep")),
        (patch("new/deep/y", "", "y"), "created new/deep/y"),
    ],
    "a touched file and a folder of its name": [
        (patch("sums.py", "a - b", "a + b"), "patched sums.py at line 5"),
        (patch("sums.py/x", "", "x"), NO_FOLDER.format("sums.py")),
        (patch("pkg", "", "x"), A_FOLDER.format("pkg")),
        (patch("pkg/deep", "", "x"), A_FOLDER.format("pkg/deep")),
    ],
    "a link cannot be made of text": [
        (patch("made", "", "../outside"), "created made"),
        (patch("made/secret.txt", SECRET.strip(), "x"), NO_FOLDER.format("made")),
        (patch(".gitlink", "", "gitdir: ../outside\n"), "created .gitlink"),
    ],
    "a folder of the base is swapped": [
        (swap("base/pkg", "outside"), "swapped"),
        (patch("pkg/secret.txt", SECRET.strip()), LINK.format("pkg", "{outside}")),
        (patch("pkg/new.txt", "", "x"), LINK.format("pkg", "{outside}")),
    ],
    "a file of the base is swapped": [
        (swap("base/sums.py", "outside/secret.txt"), "swapped"),
        (patch("sums.py", SECRET.strip()), LINK.format("sums.py", "{outside}/secret.txt")),
        (patch("sums.py", "", "x"), LINK.format("sums.py", "{outside}/secret.txt")),
    ],
    "a touched folder is swapped": [
        (patch("pkg/deep/x.txt", "deep", "x"), "patched pkg/deep/x.txt at line 1"),
        (swap("touched/pkg", "outside"), "swapped"),
        (patch("pkg/deep/x.txt", "x", "y"), LINK.format("pkg", "{outside}")),
        (patch("pkg/deep/new.txt", "", "y"), LINK.format("pkg", "{outside}")),
        (patch("pkg/data.txt"), LINK.format("pkg", "{outside}")),
    ],
    "a touched file is swapped": [
        (new, "created new"),
        (swap("touched/new", "outside/secret.txt"), "swapped"),
        (patch("new", SECRET.strip(), "x"), "error: search text not found in new; look at it with shell"),
        (patch("new", "x", "y"), "patched new at line 1"),
    ],
}


@pytest.mark.parametrize("name", COMBINATIONS)
def test_calls_of_one_message_do_not_open_a_way_for_each_other(tmp_path: Path, sandbox: Sandbox, name: str) -> None:
    """Each is answered by itself; those that are refused change nothing, and what is outside is never touched."""
    made: list[Ground] = []
    with playing(tmp_path, sandbox, _swapper(made)) as ground:
        made.append(ground)
        before, outside = state(ground.base), tmp_path / "outside"
        kept = state(outside)
        calls = [call for call, _ in COMBINATIONS[name]]
        words = [said.replace("{outside}", str(outside)) for _, said in COMBINATIONS[name]]
        answers = ground.step(*calls)
        assert [answer[: len(said)] for answer, said in zip(answers, words, strict=True)] == words
        assert state(outside) == kept
        assert SECRET.strip() not in ground.diff
        if "of the base" not in name:
            assert state(ground.base) == before
        undone = ground.state()
        for call, said in zip(calls, words, strict=True):
            if said.startswith("error: "):
                assert ground.step(call)[0].startswith(said)
                assert ground.state() == undone


def test_a_base_that_is_swapped_under_a_touched_file_is_a_failure_of_ours(ground: Ground) -> None:
    """The policy cannot do it, so the episode is void; nothing outside gets into its diff."""
    ground.step(patch("pkg/data.txt"))
    shutil.rmtree(ground.base / "pkg")
    (ground.base / "pkg").symlink_to(ground.folder / "outside")
    assert ground.step(patch("pkg/data.txt", "1", "2"))[0].startswith("error: pkg is a symbolic link to ")
    with pytest.raises(WorkspaceError):
        ground.env.step(assistant("done"))


# A user's checkout, changed by the Agent when the model is done.


def _on_the_checkout(frame: FrameType) -> bool:
    return frame.f_code.co_filename == files.__file__


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("pkg/deep/x.txt", 7),
        *(
            pytest.param(name, 1, marks=pytest.mark.slow)
            for name in ("pkg", "pkg/deep", "pkg/deep/x.txt", "pkg/deep/x.txt/", "pkg/deep/new")
        ),
    ],
)
def test_a_swap_while_a_checkout_is_changed_leads_nobody_outside(ground: Ground, name: str, step: int) -> None:
    """Before each `step`-th system call on the checkout, for that one call: it is changed, or it says it cannot be.

    A name that ends in a slash changes places with a folder, into which no file can be renamed.
    """
    tree, outside, link = ground.folder / "tree", ground.folder / "outside", ground.folder / "link"
    ground.step(EDIT, NEW)
    before, held, heard, number, first = state(outside), contents(outside), set(), 1, 0
    changed = set()
    while first <= number:
        if name.endswith("/"):
            link.mkdir(exist_ok=True)
        else:
            link.unlink(missing_ok=True)
            link.symlink_to(outside / PLACES.get(name, "deep"))
        swap = Swap(tree / name, link)

        def write() -> None:
            try:
                apply_to_checkout(ground.env.episode.workspace, tree, ground.folder / "cache")
                heard.add("done")
            except WorkspaceError as error:
                heard.add(str(error).split(":")[0])

        def strike(number: int, swap: Swap = swap, first: int = first) -> None:
            if number == first or (swap.swapped and number == first + 1):
                with contextlib.suppress(FileNotFoundError):  # not made yet
                    swap()

        try:
            number = struck(write, strike, _on_the_checkout)
        finally:
            swap.back()
        assert contents(outside) == held
        assert not temporaries(tree, outside)
        if state(outside) != before:
            before = state(outside)
            changed.add(first)
        git(tree, "checkout", "-q", "-f", ".")
        git(tree, "clean", "-q", "-f", "-d")
        first += step
    assert heard == {"done", f"cannot change {tree}"}
    if changed:
        raise MetadataChanged(sorted(changed))


def test_a_write_to_a_hard_link_in_a_checkout_does_not_reach_its_other_end(ground: Ground) -> None:
    """The file of the checkout is replaced, and no longer the other's."""
    tree, other = ground.folder / "tree", ground.folder / "outside" / "other.txt"
    os.link(tree / "pkg" / "deep" / "x.txt", other)
    git(tree, "update-index", "-q", "--refresh")
    ground.step(EDIT)
    apply_to_checkout(ground.env.episode.workspace, tree, ground.folder / "cache")
    assert (tree / "pkg" / "deep" / "x.txt").read_text() == "Deep\n"
    assert other.read_text() == "deep\n"
