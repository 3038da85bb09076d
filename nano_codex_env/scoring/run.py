"""Run a task's tests over its base tree and a patch, in a fresh box, and read what the runner reports."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nano_codex_env.errors import RewardError
from nano_codex_env.sandbox import TESTBED, ExecResult, Sandbox
from nano_codex_env.scoring.boxes import Boxes, Ready, Setting
from nano_codex_env.scoring.canary import make_canaries
from nano_codex_env.scoring.edits import is_test
from nano_codex_env.scoring.hidden import Files, hidden_files
from nano_codex_env.scoring.verdict import FLOODED, TIMED_OUT, Run, read_run
from nano_codex_env.task import Task
from nano_codex_env.workspace.tree import base_tree
from nano_codex_env.worlds import World, world_of

_UP, _READY = b"up\n", b"up\nsource\ntests\n"
_ARGS = ["-p", "no:cacheprovider", "-o", "addopts=", "-o", "filterwarnings=", "-q", "--color=no"]


@dataclass(frozen=True)
class Scorer:
    """Where and for how long tests run."""

    sandbox: Sandbox
    cache: Path
    timeout: float
    """Seconds that one run may take."""
    ready: Ready = field(default_factory=lambda: Ready(0))
    """Boxes that are started ahead of a run."""

    def run(
        self,
        task: Task,
        patch: str,
        ids: Sequence[str] | None,
        *,
        files: Sequence[str] = (),
        seed: int | None,
        altered: Mapping[str, bytes] | None = None,
        bridge: Bridge | None = None,
    ) -> Run:
        """Run the tests `ids` (None: all in `files`) over the base, `patch` and the task's hidden tests.

        `altered`: other contents of some hidden tests. `bridge`: the patched code runs in a box of its own.

        Raises:
            RewardError: the hidden tests do not apply, or the runner did not come up.
            WorkspaceError, SandboxError: the repository, the world or the box failed.
        """
        base, _ = base_tree(task.repo, task.base_commit, self.cache)
        hidden = {**hidden_files(task, base), **{path: (text, False) for path, text in (altered or {}).items()}}
        world, key = world_of(task, self.cache), secrets.token_hex(32)
        chosen = list(files) or list(dict.fromkeys(test.split("::")[0] for test in ids or ()))
        canaries = make_canaries(base, chosen[0]) if ids and not bridge else None
        config = _config(world, chosen, ids, seed) | {
            "key": key,
            "bridge": bridge.config(base, world) if bridge else None,
        }
        config["args"] = _arguments(world, shown=not bridge)
        config["canaries"] = {"path": canaries.path, "text": canaries.text} if canaries else None
        setting = Setting(base, world, apart=bridge is not None).settled()
        waiting = self.ready.take(setting, self._start)
        result = self._finish(waiting, patch, hidden, config) if waiting else None
        if not result or not result.reports.startswith(_UP):  # none was waiting, or it has died of it
            result = self._finish(self._start(setting), patch, hidden, config)
        if patch and (reason := _in_the_way(result)):  # is it the patch? without it this raises or not
            self.run(task, "", ids, files=files, seed=seed)
            return Run({}, reason, applied=False, output=result.output.text())
        if patch and bridge and result.reports == _READY:  # the code's box did not come up: look why
            beside = self.run(task, patch, ids, files=files, seed=seed)
            if not beside.applied or result.timed_out:
                return replace(beside, reason=beside.reason or TIMED_OUT)
        run = _read(task, result, key)
        return canaries.judge(run) if canaries else run

    def _start(self, setting: Setting) -> Boxes:
        return Boxes(self.sandbox, self.cache, setting)

    def _finish(self, boxes: Boxes, patch: str, hidden: Files, config: dict[str, Any]) -> ExecResult:
        with contextlib.closing(boxes):
            boxes.fill(patch, hidden)
            return boxes.program.finish(json.dumps(config).encode(), timeout=self.timeout, keep=16384)


@dataclass(frozen=True)
class Bridge:
    """How tests reach code that is in another box."""

    keeps: bool = False
    """Whether each test's calls are reported."""
    known: Sequence[str] | None = None
    """What may be asked of it (`Plan.asked`); None: anything."""
    siblings: Sequence[Any] = ()
    """What the imports asked, then calls of no test's, to be answered as well."""

    def config(self, base: Path, world: World) -> dict[str, Any]:
        """What the runner is told."""
        names = sorted({name for path in world.pythonpath for name in _packages(base, path)})
        known = None if self.known is None else list(self.known)
        return {"packages": names, "trace": self.keeps, "known": known, "siblings": list(self.siblings)}


def _packages(base: Path, inside: str) -> Iterator[str]:
    """The modules and packages in a folder that is on `sys.path`, tests and what configures them left out."""
    folder = base / inside.removeprefix(TESTBED).lstrip("/")
    for path in folder.iterdir() if folder.is_dir() else ():
        name = path.name.removesuffix(".py")
        is_code = path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))
        if is_code and name.isidentifier() and not is_test(f"{name}/x.py") and not is_test(path.name):
            yield from {name} - {"conftest", "setup"}


def _config(world: World, files: Sequence[str], ids: Sequence[str] | None, seed: int | None) -> dict[str, Any]:
    """What the runner is told of the tests."""
    chosen = {"ids": None if ids is None else list(ids), "files": list(files), "seed": seed}
    return chosen | {"pythonpath": list(world.pythonpath)}


def _arguments(world: World, *, shown: bool) -> list[str]:
    plugins = [argument for name in world.plugins for argument in ("-p", name)]
    return [*_ARGS, *(() if shown else ("--tb=no",)), f"--rootdir={TESTBED}", f"--confcutdir={TESTBED}", *plugins]


def _in_the_way(result: ExecResult) -> str:
    """What a patch may be to blame for, if the run came no further than this."""
    if result.reports == _UP + b"source\n":
        return "the hidden tests do not apply over the patch"
    stopped = (result.timed_out or result.flooded) and not result.reports.removeprefix(_UP)
    return "the patch does not apply in time" if stopped else ""


def _read(task: Task, result: ExecResult, key: str) -> Run:
    """Part our own failures from what the tests did.

    The words on the report pipe come before any code of the policy's runs, so their absence is not its doing.
    """
    output = result.output.text()
    if not result.reports.startswith(_UP + b"source\n"):
        if result.reports == _UP and result.exit_code == 1:
            return Run({}, "the patch does not apply", applied=False, output=output)
        raise RewardError(f"{task.instance_id}: the scoring box failed: {_said(result)}")
    if not result.reports.startswith(_READY):
        raise RewardError(f"{task.instance_id}: the hidden tests do not apply to the base: {output.strip()}")
    stopped = TIMED_OUT if result.timed_out else FLOODED if result.flooded else ""
    reports = result.reports.removeprefix(_READY)
    run = read_run(reports, key, result.exit_code, stopped, output)
    if not run.started:
        raise RewardError(f"{task.instance_id}: the test runner did not start: {_said(result)}")
    return run


def _said(result: ExecResult) -> str:
    words = result.output.text() + result.reports.decode("utf-8", "backslashreplace")
    return f"exit status {result.exit_code}: {words.strip()[-2000:] or 'no message'}"
