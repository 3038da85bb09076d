"""Tasks as Harbor's task folders, which TRL, verifiers and openenv read.

    <instance_id>/instruction.md    the issue, and where the repository is
                  task.toml         time limits, metadata
                  environment/      Dockerfile, and the base tree that it copies to /testbed
                  tests/            test.sh, which writes 1 or 0 to /logs/verifier/reward.txt; the hidden tests
                  solution/         solve.sh, which applies the reference patch

Harbor runs the tests in the container that the agent worked in, as it left it: what guards `Resolved` against forgers
(see `scoring`) is not there.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from nano_codex_env.diff import File
from nano_codex_env.errors import TaskError
from nano_codex_env.export.atomic_output import copy_tree
from nano_codex_env.messages import without_surrogates
from nano_codex_env.tasks.task import Task
from nano_codex_env.tasks.trees import put_file

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


def write_task(folder: Path, task: Task, base: Path, hidden: Mapping[str, File | None]) -> None:
    """Write one task; `base` is its tree, `hidden` what the hidden tests make of it (None: they remove the file).

    Raises:
        TaskError: its tests run in no runtime that a Dockerfile can be written for.
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
    copy_tree(base, folder / "environment" / "testbed")
    _script(folder / "tests" / "test.sh", _TEST)
    shutil.copyfile(_VERIFY, folder / "tests" / "verify.py")
    (folder / "tests" / "tests.json").write_text(json.dumps(tests, indent=2) + "\n", encoding="ascii")
    for path, file in hidden.items():
        if file:
            put_file(folder / "tests" / "hidden" / path, file)
    if task.patch:
        _script(folder / "solution" / "solve.sh", _SOLVE)
        (folder / "solution" / "fix.patch").write_bytes(task.patch.encode("utf-8", "surrogateescape"))


def folder_name(task: Task) -> str:
    """The task's id, as a folder and a container can be called."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", task.instance_id).lstrip(".") or "task"


def _script(path: Path, text: str) -> None:
    path.write_text(text, encoding="ascii")
    path.chmod(0o755)


def _tests(task: Task, hidden: Mapping[str, Any]) -> dict[str, Any]:
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


def _quoted(value: str) -> str:
    """A string of TOML, which knows no surrogates, neither pairs nor single ones, and no raw DEL."""
    return json.dumps(without_surrogates(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml(task: Task) -> str:
    about = {"instance_id": task.instance_id, "base_commit": task.base_commit}
    about |= {key: str(task.metadata[key]) for key in ("difficulty", "kind") if task.metadata.get(key)}
    if "difficulty" in about:
        about["difficulty_level"] = about["difficulty"]  # the name that TRL's reader has for it
    lines = [f"{key} = {_quoted(value)}" for key, value in about.items()]
    return "\n".join(
        [
            'version = "1.0"\n\n[metadata]',
            *lines,
            "\n[verifier]\ntimeout_sec = 660.0",
            "\n[agent]\ntimeout_sec = 1800.0",
            "\n[environment]\nbuild_timeout_sec = 1200.0\n",
        ]
    )
