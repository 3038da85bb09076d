"""Run a task's tests over its base tree and a patch, in a fresh box, and read what the runner reports."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nano_codex_env.cache import Scratch, disk_errors
from nano_codex_env.errors import RewardError
from nano_codex_env.sandbox import TESTBED, ExecResult, Limits, Sandbox, View
from nano_codex_env.scoring.canary import make_canaries
from nano_codex_env.scoring.verdict import FLOODED, TIMED_OUT, Run, read_run
from nano_codex_env.task import Task
from nano_codex_env.workspace.tree import base_tree
from nano_codex_env.worlds import World, world_of

RUNNER = Path(__file__).with_name("runner.py")
_INSIDE = "/opt/scoring"
# Each step says on the report pipe that it is done, before anything of the policy's has run.
_SCRIPT = """
for name in source tests; do
  if [ -s {inside}/$name.diff ]; then
    git apply --whitespace=nowarn {inside}/$name.diff 2>&1 || exit 1
  fi
  echo $name >&2
done
exec "$@"
"""
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
        self, task: Task, patch: str, ids: Sequence[str] | None, *, files: Sequence[str] = (), seed: int | None
    ) -> Run:
        """Run the tests `ids` (None: all in `files`) over the base, `patch` and the task's hidden tests.

        Raises:
            RewardError: the hidden tests do not apply, or the runner did not come up.
            WorkspaceError, SandboxError: the repository, the world or the box failed.
        """
        base, _ = base_tree(task.repo, task.base_commit, self.cache)
        world, key = world_of(task, self.cache), secrets.token_hex(32)
        chosen = list(files) or list(dict.fromkeys(test.split("::")[0] for test in ids or ()))
        canaries = make_canaries(base, chosen[0]) if ids else None
        config: dict[str, Any] = {"key": key, "ids": None if ids is None else list(ids), "files": chosen, "seed": seed}
        config["canaries"] = {"path": canaries.path, "text": canaries.text} if canaries else None
        config |= {"site": list(world.site), "pythonpath": list(world.pythonpath), "args": _arguments(world)}
        result = self._execute(base, world, patch, task.test_patch, json.dumps(config).encode())
        if result.reports == b"source\n" and patch:  # is it the patch that is in the way? without it this raises or not
            self.run(task, "", ids, files=files, seed=seed)
            return Run({}, "the hidden tests do not apply over the patch", output=result.output.text())
        run = _read(task, result, key)
        return canaries.judge(run) if canaries else run

    def _execute(self, base: Path, world: World, patch: str, test_patch: str, config: bytes) -> ExecResult:
        scratch = Scratch(self.cache)
        try:
            with disk_errors(f"writing patches in {scratch.path}"):
                for name, text in (("source.diff", patch), ("tests.diff", test_patch)):
                    (scratch.path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
                (scratch.path / "runner.py").write_bytes(RUNNER.read_bytes())
                for path in scratch.path.iterdir():
                    path.chmod(0o644)
            view = View((base,), True, (*world.mounts, (scratch.path, _INSIDE)), _ENV, _LIMITS)
            command = [world.python, "-P", "-s", f"{_INSIDE}/runner.py"]
            script = _SCRIPT.format(inside=_INSIDE)
            return self.sandbox.run(
                view, ["bash", "-c", script, "bash", *command], stdin=config, timeout=self.timeout, keep=16384
            )
        finally:
            scratch.close()


def _arguments(world: World) -> list[str]:
    plugins = [argument for name in world.plugins for argument in ("-p", name)]
    return [*_ARGS, f"--rootdir={TESTBED}", f"--confcutdir={TESTBED}", *plugins]


def _read(task: Task, result: ExecResult, key: str) -> Run:
    """Part our own failures from what the tests did.

    The two words on the report pipe come before any code of the policy's runs, so their absence is not its doing.
    """
    output = result.output.text()
    if not result.reports.startswith(b"source\n"):
        if result.exit_code == 1:
            return Run({}, "the patch does not apply", output=output)
        raise RewardError(f"{task.instance_id}: the scoring box failed: {_said(result)}")
    if not result.reports.startswith(b"source\ntests\n"):
        raise RewardError(f"{task.instance_id}: the hidden tests do not apply to the base: {output.strip()}")
    stopped = TIMED_OUT if result.timed_out else FLOODED if result.flooded else ""
    reports = result.reports.removeprefix(b"source\ntests\n")
    run = read_run(reports, key, result.exit_code, stopped, output)
    if not run.started:
        raise RewardError(f"{task.instance_id}: the test runner did not start: {_said(result)}")
    return run


def _said(result: ExecResult) -> str:
    words = result.output.text() + result.reports.decode("utf-8", "backslashreplace")
    return f"exit status {result.exit_code}: {words.strip()[-2000:] or 'no message'}"
