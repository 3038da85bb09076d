"""The boxes of one run: started with our scripts alone, and given the patch and the hidden tests when it is time.

The runner imports pytest first and then waits for its input, so boxes can be started ahead of a run (`Ready`). Each
serves one run and goes with it: nothing of one run is left for the next. Until then a box holds the base tree, the
task's environment and our scripts; no line of a policy's has been near it.
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from nano_codex_env.cache import Scratch, disk_errors
from nano_codex_env.sandbox import Limits, Peer, Program, Sandbox, View
from nano_codex_env.scoring.hidden import Files
from nano_codex_env.worlds import World

SCRIPTS = Path(__file__).with_name("inside")
_INSIDE = "/opt/scoring"
_LIMITS = Limits(processes=512, memory=16 << 30, cpu=3600, file_size=1 << 30, tmp=1 << 30, output=64 << 20)
_ENV = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONHASHSEED": "0"}


@dataclass(frozen=True)
class Setting:
    """What boxes are made for; those of equal settings can stand in for one another."""

    base: Path
    """The tree that is at /testbed; writes go to memory."""
    world: World
    apart: bool
    """Whether the code under test has a box of its own."""
    files: tuple[tuple[int, int], ...] = ()
    """(device, inode) of what is mounted: a tree that was removed and made anew is another."""

    def settled(self) -> Setting:
        """With the files as they are now."""
        stats = [os.stat(path) for path in (self.base, *(path for path, _ in self.world.mounts))]
        return replace(self, files=tuple((stat.st_dev, stat.st_ino) for stat in stats))


class Boxes:
    """One box with the tests, and with `apart` a second one with the code under test; for one run."""

    def __init__(self, sandbox: Sandbox, cache: Path, setting: Setting) -> None:
        """Start them.

        Raises:
            SandboxError, WorkspaceError: they could not be started.
        """
        self.setting = setting
        with ExitStack() as stack:
            self._tests = _Materials(cache, stack)
            self._code = _Materials(cache, stack) if setting.apart else None
            world, bare, peer = setting.world, setting.world.without_tests(), None
            if self._code:
                command = [bare.python, "-P", "-s", f"{_INSIDE}/candidate.py", *bare.pythonpath]
                peer = Peer(_view(setting.base, bare, self._code), command)
            command = [world.python, "-P", "-s", f"{_INSIDE}/runner.py", *world.site]
            self.program: Program = sandbox.start(_view(setting.base, world, self._tests), command, peer=peer)
            stack.callback(self.program.close)
            self._stack = stack.pop_all()

    def fill(self, patch: str, hidden: Files) -> None:
        """Put in what this run is about: the code's box gets the patch, the other the rest, or all."""
        if self._code:
            self._code.fill(patch, {})
        self._tests.fill("" if self._code else patch, hidden)

    def close(self) -> None:
        """End and remove all of it; a second call does nothing."""
        self._stack.close()


class _Materials:
    """A folder that a box shows, with our scripts in it."""

    def __init__(self, cache: Path, stack: ExitStack) -> None:
        scratch = Scratch(cache)
        stack.callback(scratch.close)
        self.path = scratch.path
        with disk_errors(f"writing in {self.path}"):
            for script in SCRIPTS.iterdir():
                own = script.stem in ("runner", "candidate", "apply")
                if script.suffix in (".py", ".sh"):
                    self._write(("" if own else "nano_codex_env/scoring/inside/") + script.name, script.read_bytes())

    def fill(self, patch: str, hidden: Files) -> None:
        """Write a patch and hidden tests for `apply.sh`."""
        with disk_errors(f"writing patches in {self.path}"):
            (self.path / "tests").mkdir()
            for path, file in hidden.items():
                if file:
                    self._write(f"tests/{path}", *file)
            removed = [path for path, file in hidden.items() if file is None]
            self._write("removed", b"".join(os.fsencode(path) + b"\0" for path in removed))
            self._write("source.diff", patch.encode("utf-8", "surrogateescape"))
            (self.path / "tests").chmod(0o755)

    def _write(self, name: str, data: bytes, executable: bool = False) -> None:
        """A file that the box's user may read, whatever our umask is."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if executable else 0o644)
        for folder in path.relative_to(self.path).parents:
            (self.path / folder).chmod(0o755)


def _view(base: Path, world: World, materials: _Materials) -> View:
    return View((base,), True, (*world.mounts, (materials.path, _INSIDE)), _ENV, _LIMITS)


class Ready:
    """Boxes that wait for a run: at most so many, for the settings that were asked for last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting: deque[Boxes] = deque()
        weakref.finalize(self, _close_all, self._waiting)

    def __reduce__(self) -> tuple[type[Ready], tuple[int]]:
        """Another process has boxes of its own."""
        return Ready, (self._size,)

    def take(self, setting: Setting, start: Callable[[Setting], Boxes]) -> Boxes | None:
        """Boxes that wait, if there are any; others like them are started for the next run."""
        found = next(filter(None, (self._taken(boxes, setting) for boxes in list(self._waiting))), None)
        try:
            self._waiting.extend([start(setting)] if self._size else [])
        except BaseException:
            if found:
                found.close()
            raise
        while len(self._waiting) > self._size:
            self._waiting.popleft().close()
        return found

    def _taken(self, boxes: Boxes, setting: Setting) -> Boxes | None:
        alive = boxes.program.alive
        if alive and boxes.setting != setting:
            return None
        try:
            self._waiting.remove(boxes)
        except ValueError:  # another thread has it
            return None
        if not alive:
            boxes.close()
        return boxes if alive else None

    def close(self) -> None:
        """End those that wait."""
        _close_all(self._waiting)


def _close_all(waiting: deque[Boxes]) -> None:
    while waiting:
        waiting.popleft().close()
