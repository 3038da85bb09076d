"""Every example runs as it stands, in a process of its own, without a network; what it needs, its docstring says."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted(Path(__file__).parent.parent.joinpath("examples").glob("*.py"))


NEEDS = {"tiny": ("transformers",), "reinforce": ("transformers",), "trl_grpo": ("trl", "matplotlib")}
"""Packages beyond our own, by example; torch comes with them."""


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in NEEDS else []) for path in EXAMPLES],
)
def test_an_example_runs_as_it_stands(path: Path, tmp_path: Path) -> None:
    missing = [name for name in NEEDS.get(path.stem, ()) if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed (pip install '.[trl]')")
    command = [sys.executable, "-W", "error::ResourceWarning", str(path)]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert done.stdout
