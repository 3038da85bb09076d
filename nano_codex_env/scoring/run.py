"""Run a task's tests over its base tree and a patch, in a fresh box, and return the facts."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nano_codex_env.cache import Scratch, disk_errors
from nano_codex_env.diff import File, split
from nano_codex_env.errors import RewardError, TaskError, closed_after
from nano_codex_env.repo.base_tree import base_tree
from nano_codex_env.repo.source import repository_folders
from nano_codex_env.runtimes import Runtime, runtime_of
from nano_codex_env.sandbox import TESTBED, ExecResult, Limits, Sandbox, View
from nano_codex_env.scoring.canary import make_canaries
from nano_codex_env.scoring.facts import FLOODED, NOT_APPLIED, TIMED_OUT, TestRun
from nano_codex_env.scoring.hidden_tests import Files, hidden_files, outside
from nano_codex_env.scoring.mutants import Mutant, apply_mutants
from nano_codex_env.scoring.patch_filter import keep_source
from nano_codex_env.scoring.reports import read_reports
from nano_codex_env.tasks.task import Task
from nano_codex_env.tasks.trees import file_at, put_file

SCRIPTS = Path(__file__).with_name("inside")
_INSIDE = "/opt/scoring"
_LIMITS = Limits(processes=512, memory=16 << 30, cpu=3600, file_size=1 << 30, tmp=1 << 30, output=64 << 20)
_ENV = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONHASHSEED": "0"}
_ARGS = ["-q", "--color=no", "--continue-on-collection-errors", "-o", "cache_dir=/tmp/pytest-cache"]
_ARGS += ["-o", "filterwarnings="]  # a repository's name packages that need not be here, and fail with newer ones
_ARGS += [f"--rootdir={TESTBED}", f"--confcutdir={TESTBED}"]
_READY = b"up\nsource\ntests\n"
_CONFIGURATIONS = {
    "pytest.ini": b"",
    ".pytest.ini": b"",
    "pyproject.toml": b"[tool.pytest",
    "tox.ini": b"[pytest]",
    "setup.cfg": b"[tool:pytest]",
}
"""Files that may configure pytest, in pytest's order -> the section that does."""


@dataclass(frozen=True)
class Scorer:
    """Runs tests: where, and for how long."""

    sandbox: Sandbox
    cache: Path
    timeout: float
    """Seconds that one run may take."""
    allow_builds: bool = False
    """Whether a package without a wheel may be built on this machine, see `runtimes.venv.build_venv`."""

    def runtime(self, task: Task) -> Runtime:
        """The runtime of the task's tests, built if it is not in the cache.

        Raises:
            TaskError: its environment asks for something that does not exist.
            WorkspaceError: it could not be built.
        """
        return runtime_of(task, self.cache, allow_builds=self.allow_builds)

    def source(self, task: Task, patch: str) -> tuple[str, list[str]]:
        """The part of a patch that reaches the tests, and the paths that do not; see `keep_source`."""
        base, _ = base_tree(task.repo, task.base_commit, self.cache)
        return keep_source(patch, task, base, self.runtime(task))

    def run_tests(
        self,
        task: Task,
        patch: str,
        tests: Sequence[str] | None,
        *,
        files: Sequence[str] = (),
        functions: Sequence[str] = (),
        mutants: Sequence[Mutant] = (),
        timeout: float | None = None,
    ) -> TestRun:
        """Run `tests` over the base, `patch` and the task's hidden tests, of which `mutants` edit some.

        Args:
            task: whose base, hidden tests and environment are used.
            patch: in git's format; the part that may reach the tests (`keep_source`).
            tests: test ids; None: all in `files`.
            files: test files to collect; default: those of `tests` and `functions`.
            functions: test ids without parameters, of which all rows run.
            mutants: at most one for a function. The box does not hold the original text of what they edit.
            timeout: seconds; default: this scorer's.

        Raises:
            TaskError: a test id names a file outside of the repository.
            RewardError: the hidden tests do not apply, or the runner did not come up.
            WorkspaceError, SandboxError: the repository, the runtime or the box failed.
        """
        base, _ = base_tree(task.repo, task.base_commit, self.cache)
        runtime, key = self.runtime(task), secrets.token_hex(32)
        hidden, masks, removed = _mutated(base, runtime, hidden_files(task, base), mutants)
        asked = {old: new for mutant in mutants for new, old in mutant.renamed}
        ids = None if tests is None else [asked.get(test, test) for test in tests]
        chosen = list(files) or _files_of(task, (*(tests or ()), *functions))
        canaries = make_canaries(base, chosen[0]) if chosen and tests is not None else None
        own = _own_configuration(base, hidden, patch, chosen)
        config = {
            "key": key,
            "ids": ids,
            "files": chosen,
            "functions": list(functions),
            "site": runtime.site,
            "pythonpath": runtime.pythonpath,
            "args": [
                *_ARGS,
                *(argument for path in own for argument in ("-c", f"{TESTBED}/{path}")),
                *(argument for name in runtime.plugins for argument in ("-p", name)),
                *task.environment.pytest_args,
            ],
            "canaries": {"path": canaries.path, "text": canaries.text} if canaries else None,
        }
        started = time.monotonic()
        with _materials(self.cache, patch, {**hidden, **own}, removed) as folder:
            mounts = (*runtime.mounts, *masks, (folder, _INSIDE))
            view = View((base,), True, mounts, _ENV, _LIMITS, repository_folders(task.repo))
            data = json.dumps(config).encode()
            command = [runtime.python, "-s", f"{_INSIDE}/runner.py"]
            result = self.sandbox.run(
                view, command, stdin=b"%d\n" % len(data) + data, timeout=timeout or self.timeout, keep=16384
            )
        run = replace(_read(task, result, key), seconds=time.monotonic() - started - result.waited)
        run = run.renamed({new: old for mutant in mutants for new, old in mutant.renamed})
        return canaries.judge(run) if canaries else run


def _files_of(task: Task, tests: Sequence[str]) -> list[str]:
    """The test files that test ids name."""
    files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
    if found := outside(files):
        raise TaskError(f"{task.instance_id}: test ids must lie in the repository; got {found[0]!r:.200}")
    return files


def sources_of(base: Path, hidden: Files, files: Iterable[str]) -> dict[str, bytes]:
    """The test files as the tests run them: the hidden ones, else the base's; files in neither are left out.

    Links are left out too: the target would stay in the box, unedited.
    """
    entries = {file: hidden[file] if file in hidden else file_at(base, file) for file in files}
    return {file: entry.data for file, entry in entries.items() if entry and not entry.is_link}


def _mutated(
    base: Path, runtime: Runtime, hidden: Files, mutants: Sequence[Mutant]
) -> tuple[Files, tuple[tuple[Path, str], ...], list[str]]:
    """The hidden files with `mutants` in them; mounts and removed paths that hide the original text.

    Installed copies are mounted over; git's objects and compiled files in the base tree are removed.
    """
    if not mutants:
        return hidden, (), []
    files = list(dict.fromkeys(mutant.file for mutant in mutants))
    edited = apply_mutants(sources_of(base, hidden, files), mutants)
    modes = {file: bool(entry and entry.executable) for file, entry in hidden.items()}
    mixed = {**hidden, **{file: File(text, modes.get(file, False)) for file, text in edited.items()}}
    removed = [".git/objects", ".git/packed-refs"]
    for path in map(Path, files):
        compiled = (base / path.parent).glob(f"__pycache__/{path.stem}.*")
        removed += [str(file.relative_to(base)) for file in compiled]
    return mixed, runtime.masks({os.path.basename(file) for file in files}), removed


def _own_configuration(base: Path, hidden: Files, patch: str, files: Sequence[str]) -> Files:
    """A copy of pytest's configuration without the patch's edits, for `-c`; nothing if the patch edits none.

    It is in the folder of the original, since paths in it are relative to that.
    """
    touched = {path for part in split(patch) for path in part.paths if path.rpartition("/")[2] in _CONFIGURATIONS}
    if not touched:
        return {}
    nearest = Path(os.path.commonpath([os.path.dirname(file) for file in files]) if files else "")
    for folder in (nearest, *nearest.parents):
        for name, section in _CONFIGURATIONS.items():
            path = str(folder / name)
            text = sources_of(base, hidden, [path]).get(path)
            if text and section in text:
                return {str(folder / f".without-patch-{name.lstrip('.')}"): File(text)}
    return {".without-patch-pytest.ini": File(b"[pytest]\n")}


@contextlib.contextmanager
def _materials(cache: Path, patch: str, hidden: Files, removed: Sequence[str]) -> Iterator[Path]:
    """A temporary folder to mount in a box, with our scripts, the patch and the hidden tests."""
    scratch = Scratch(cache)
    with closed_after(scratch.close):
        with disk_errors(f"writing tests and patch in {scratch.path}"):
            scratch.path.joinpath("tests").mkdir()
            scratch.path.joinpath("tests").chmod(0o755)
            for script in SCRIPTS.iterdir():
                if script.suffix in (".py", ".sh"):
                    _write(scratch.path, script.name, File(script.read_bytes()))
            for path, file in hidden.items():
                if file:
                    _write(scratch.path, f"tests/{path}", file)
            gone = [*(path for path, file in hidden.items() if file is None), *removed]
            _write(scratch.path, "removed", File(b"".join(os.fsencode(path) + b"\0" for path in gone)))
            _write(scratch.path, "source.diff", File(patch.encode("utf-8", "surrogateescape")))
        yield scratch.path


def _write(root: Path, name: str, file: File) -> None:
    """Write a file that the box's user may read, whatever our umask is."""
    put_file(root / name, file)
    for folder in Path(name).parents:
        (root / folder).chmod(0o755)


def _read(task: Task, result: ExecResult, key: str) -> TestRun:
    """The facts of a run; a failure of ours is raised.

    The reports up to `_READY` are sent before any code of the policy runs, so if they are missing the policy is not to
    blame. Only after the runner has reported that it is up may the patch be to blame.
    """
    output = result.output.text()
    stopped = TIMED_OUT if result.timed_out else FLOODED if result.flooded else ""
    if result.reports.startswith(_READY):
        run = read_reports(result.reports, key, result.exit_code, stopped, output, start=len(_READY))
        if run.started or stopped:
            return _with_memory(run, result)
        raise RewardError(f"{task.instance_id}: the test runner did not start: {_printed(result)}")
    if result.reports == b"up\n" and stopped:
        return TestRun({}, "the patch does not apply in time", output=output)
    if result.reports == b"up\n" and result.exit_code == 1:
        return TestRun({}, NOT_APPLIED, output=output)
    if result.reports == b"up\nsource\n":
        return TestRun({}, "the hidden tests do not apply over the patch", output=output)
    raise RewardError(f"{task.instance_id}: the scoring box failed: {_printed(result)}")


def _with_memory(run: TestRun, result: ExecResult) -> TestRun:
    """The run, with the limit of memory that was reached; one that was broken off for that is the patch's failure."""
    if result.out_of_memory:
        limit = f"all processes of the tests together may use {_LIMITS.total_memory >> 30} GiB"
        broken = f"the tests ran out of memory with the patch: {limit}" if run.reason else ""
        return replace(run, reason=broken, memory="" if broken else f"out of memory: {limit}")
    if run.memory:
        return replace(run, memory=f"out of memory: one process may use {_LIMITS.memory >> 30} GiB ({run.memory})")
    return run


def _printed(result: ExecResult) -> str:
    printed = result.output.text() + result.reports.decode("utf-8", "backslashreplace")
    state = "timed out" if result.timed_out else f"exit status {result.exit_code}"
    return f"{state}: {printed.strip()[-2000:] or 'no message'}"
