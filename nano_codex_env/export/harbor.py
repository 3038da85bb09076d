"""Tasks in Harbor's format, which TRL, verifiers and openenv read.

    <instance_id>/instruction.md    the issue, and where the repository is
                  task.toml         time limits, metadata
                  environment/      Dockerfile, and the base tree that it copies to /testbed
                  tests/            test.sh, which writes 1 or 0 to /logs/verifier/reward.txt; the hidden tests
                  solution/         solve.sh, which applies the reference patch

Harbor runs the tests in the container in which the agent worked: the protection of `Resolved` against reward hacks (see
`scoring`) does not apply.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from nano_codex_env.cache import cache_dir
from nano_codex_env.diff import File
from nano_codex_env.errors import ConfigError, TaskError
from nano_codex_env.messages import without_surrogates
from nano_codex_env.repo.base_tree import base_tree
from nano_codex_env.repo.commit_range import resolve_range
from nano_codex_env.scoring.hidden_tests import hidden_files
from nano_codex_env.tasks.task import Task
from nano_codex_env.tasks.trees import put_file
from nano_codex_env.tools.prompt import first_messages

_VERIFY = Path(__file__).with_name("verify.py")
_WHERE = """

The repository is in /testbed. Change its source code there so that the issue is solved; do not edit tests. Hidden tests
will decide whether it is solved.
"""
_DOCKERFILE = """\
FROM python:{python}-slim
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
RUN {install}
COPY testbed /testbed
WORKDIR /testbed
RUN git init -q && git add -A -f && git -c user.name=nano-codex -c user.email=nano-codex@localhost commit -q -m base
"""
_TOML = """\
version = "1.0"

[metadata]
{metadata}

[verifier]
timeout_sec = 660.0

[agent]
timeout_sec = 1800.0

[environment]
build_timeout_sec = 1200.0
"""
_TEST = """\
#!/bin/bash
# Lays the hidden tests over the repository and runs them; without a reward file the verifier itself has failed.
mkdir -p /logs/verifier
cd /testbed && timeout 600 python -I /tests/verify.py /logs/verifier/reward.txt
"""
_SOLVE = """\
#!/bin/bash
cd /testbed && git apply --whitespace=nowarn /solution/fix.patch
"""


def write_tasks(folder: Path, tasks: Iterable[Task], skipped: Counter[str]) -> int:
    """Write a folder for each task that has tests, and return how many there are; `skipped` counts the other tasks.

    Raises:
        ConfigError: two tasks would have one folder.
        TaskError: a task's issue cannot be a message, or no Dockerfile can be written for its environment.
    """
    made: set[str] = set()
    for task in tasks:
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", task.instance_id).lstrip(".") or "task"  # containers have it too
        if not task.has_tests:
            skipped["without tests"] += 1
            continue
        if name in made:
            raise ConfigError(
                f"{task.instance_id} and another task would both be called {name}; export them separately"
            )
        made.add(name)
        first_messages(task)  # raises if the issue cannot be a message
        task = resolve_range(task, None)
        base, _ = base_tree(task.repo, task.base_commit, cache_dir())
        write_task(folder / name, task, base, hidden_files(task, base))
    return len(made)


def write_task(folder: Path, task: Task, base: Path, hidden: Mapping[str, File | None]) -> None:
    """Write one task; `base` is its tree, `hidden` the files of the hidden tests (None: they remove the file).

    Raises:
        TaskError: no Dockerfile can be written for its environment.
    """
    try:
        dockerfile, tests = _dockerfile(task), _tests(task, hidden)
    except TaskError as error:
        raise TaskError(f"{task.instance_id}: {error}") from error
    for name in ("environment", "tests/hidden", "solution"):
        (folder / name).mkdir(parents=True)
    (folder / "instruction.md").write_text(task.problem_statement.rstrip() + _WHERE, encoding="utf-8")
    (folder / "task.toml").write_text(_toml(task), encoding="utf-8")
    (folder / "environment" / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    shutil.copytree(
        base,
        folder / "environment" / "testbed",
        symlinks=True,
        ignore=lambda below, names: {".git"} if below == str(base) else (),
    )
    _write_script(folder / "tests" / "test.sh", _TEST)
    shutil.copyfile(_VERIFY, folder / "tests" / "verify.py")
    (folder / "tests" / "tests.json").write_text(json.dumps(tests, indent=2) + "\n", encoding="ascii")
    for path, file in hidden.items():
        if file:
            put_file(folder / "tests" / "hidden" / path, file)
    if task.patch:
        _write_script(folder / "solution" / "solve.sh", _SOLVE)
        (folder / "solution" / "fix.patch").write_bytes(task.patch.encode("utf-8", "surrogateescape"))


def _write_script(path: Path, text: str) -> None:
    path.write_text(text, encoding="ascii")
    path.chmod(0o755)


def _tests(task: Task, hidden: Mapping[str, File | None]) -> dict[str, list[str]]:
    return {
        "fail_to_pass": list(task.FAIL_TO_PASS),
        "pass_to_pass": list(task.PASS_TO_PASS),
        "pythonpath": list(task.environment.pythonpath),
        "removed": [path for path, file in hidden.items() if file is None],
    }


def _dockerfile(task: Task) -> str:
    environment = task.environment
    kind = environment.get("kind", "host")
    if kind not in ("host", "venv"):
        raise TaskError(f"its environment is of kind {kind!r}; Harbor tasks are made of host and venv")
    python = environment.python or f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = list(environment.packages) if environment.kind == "venv" else []
    if not any(name.startswith("pytest") for name in packages):
        packages.append(f"pytest=={metadata.version('pytest')}")
    return _DOCKERFILE.format(python=python, install=json.dumps(["pip", "install", "--no-cache-dir", *packages]))


def _toml(task: Task) -> str:
    about = {"instance_id": task.instance_id, "base_commit": task.base_commit}
    about |= {key: str(task.metadata[key]) for key in ("difficulty", "kind") if task.metadata.get(key)}
    if "difficulty" in about:
        about["difficulty_level"] = about["difficulty"]  # the key that TRL's reader looks for
    return _TOML.format(metadata="\n".join(f"{key} = {_toml_string(value)}" for key, value in about.items()))


def _toml_string(value: str) -> str:
    """A JSON string is a TOML string, except for surrogates and a raw DEL."""
    return json.dumps(without_surrogates(value), ensure_ascii=False).replace("\x7f", "\\u007f")
