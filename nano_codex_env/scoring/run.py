"""Run a task's tests over its base tree and a patch, in a fresh box, and read what the runner reports."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nano_codex_env.cache import Scratch, disk_errors
from nano_codex_env.errors import RewardError
from nano_codex_env.sandbox import TESTBED, ExecResult, Limits, Peer, Sandbox, View
from nano_codex_env.scoring.canary import make_canaries
from nano_codex_env.scoring.edits import is_test
from nano_codex_env.scoring.hidden import Files, hidden_files
from nano_codex_env.scoring.verdict import FLOODED, TIMED_OUT, Run, read_run
from nano_codex_env.task import Task
from nano_codex_env.workspace.tree import base_tree
from nano_codex_env.worlds import World, world_of

INSIDE = Path(__file__).with_name("inside")
_INSIDE = "/opt/scoring"
# Each step says on the report pipe that it is done, before anything of the policy's has run.
_SCRIPT = """
if [ -s {inside}/source.diff ]; then
  git apply --whitespace=nowarn {inside}/source.diff 2>&1 || exit 1
fi
echo source >&2
while IFS= read -r -d "" name; do
  rm -f -- "./$name" 2>&1 || exit 1
done <{inside}/removed
cp -rT --remove-destination {inside}/tests . 2>&1 || exit 1
echo tests >&2
exec "$@"
"""
_READY = b"source\ntests\n"
_LIMITS = Limits(processes=512, memory=16 << 30, cpu=3600, file_size=1 << 30, tmp=1 << 30, output=64 << 20)
_ARGS = ["-p", "no:cacheprovider", "-o", "addopts=", "-o", "filterwarnings=", "-q", "--color=no"]
_ENV = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONHASHSEED": "0"}


@dataclass(frozen=True)
class Scorer:
    """Where and for how long tests run."""

    sandbox: Sandbox
    cache: Path
    timeout: float
    """Seconds that one run may take."""

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
        with contextlib.ExitStack() as stack:
            tests = stack.enter_context(self._materials("" if bridge else patch, hidden))
            own = stack.enter_context(self._materials(patch, {})) if bridge else None
            peer = Peer(*self._candidate(base, world, own)) if own else None
            command = [world.python, "-P", "-s", f"{_INSIDE}/runner.py"]
            view, argv = self._view(base, world, tests), _script(command)
            stdin = json.dumps(config).encode()
            result = self.sandbox.run(view, argv, stdin=stdin, timeout=self.timeout, keep=16384, peer=peer)
        if patch and (reason := _in_the_way(result)):  # is it the patch? without it this raises or not
            self.run(task, "", ids, files=files, seed=seed)
            return Run({}, reason, applied=False, output=result.output.text())
        if patch and bridge and result.reports == _READY:  # the code's box did not come up: look why
            beside = self.run(task, patch, ids, files=files, seed=seed)
            if not beside.applied:
                return beside
        run = _read(task, result, key)
        return canaries.judge(run) if canaries else run

    def _candidate(self, base: Path, world: World, materials: Path) -> tuple[View, list[str]]:
        """The other box: the patched code, no test and nothing that runs tests."""
        bare = world.without_tests()
        command = [bare.python, "-P", "-s", f"{_INSIDE}/candidate.py", *bare.pythonpath]
        return self._view(base, bare, materials), _script(command)

    def _view(self, base: Path, world: World, materials: Path) -> View:
        return View((base,), True, (*world.mounts, (materials, _INSIDE)), _ENV, _LIMITS)

    @contextlib.contextmanager
    def _materials(self, patch: str, hidden: Files) -> Iterator[Path]:
        """A folder with our scripts, the patch and the hidden tests, as a box shows it."""
        scratch = Scratch(self.cache)
        try:
            with disk_errors(f"writing patches in {scratch.path}"):
                (scratch.path / "source.diff").write_bytes(patch.encode("utf-8", "surrogateescape"))
                removed = [path for path, file in hidden.items() if file is None]
                (scratch.path / "removed").write_bytes(b"".join(os.fsencode(path) + b"\0" for path in removed))
                (scratch.path / "tests").mkdir()
                for path, file in hidden.items():
                    if file:
                        _write(scratch.path / "tests" / path, *file)
                for script in INSIDE.glob("*.py"):
                    where = "" if script.stem in ("runner", "candidate") else "nano_codex_env/scoring/inside/"
                    _write(scratch.path / where / script.name, script.read_bytes(), False)
                for made in (scratch.path, *scratch.path.rglob("*")):
                    made.chmod(0o755 if made.is_dir() or made.stat().st_mode & 0o100 else 0o644)
            yield scratch.path
        finally:
            scratch.close()


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


def _write(path: Path, data: bytes, executable: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if executable:
        path.chmod(0o755)


def _config(world: World, files: Sequence[str], ids: Sequence[str] | None, seed: int | None) -> dict[str, Any]:
    """What the runner is told of the tests."""
    chosen = {"ids": None if ids is None else list(ids), "files": list(files), "seed": seed}
    return chosen | {"site": list(world.site), "pythonpath": list(world.pythonpath)}


def _script(command: Sequence[str]) -> list[str]:
    return ["bash", "-c", _SCRIPT.format(inside=_INSIDE), "bash", *command]


def _arguments(world: World, *, shown: bool) -> list[str]:
    plugins = [argument for name in world.plugins for argument in ("-p", name)]
    return [*_ARGS, *(() if shown else ("--tb=no",)), f"--rootdir={TESTBED}", f"--confcutdir={TESTBED}", *plugins]


def _in_the_way(result: ExecResult) -> str:
    """What a patch may be to blame for, if the run came no further than this."""
    if result.reports == b"source\n":
        return "the hidden tests do not apply over the patch"
    return "" if result.reports or not (result.timed_out or result.flooded) else "the patch does not apply in time"


def _read(task: Task, result: ExecResult, key: str) -> Run:
    """Part our own failures from what the tests did.

    The two words on the report pipe come before any code of the policy's runs, so their absence is not its doing.
    """
    output = result.output.text()
    if not result.reports.startswith(b"source\n"):
        if result.exit_code == 1:
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
