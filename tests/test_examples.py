"""Every example runs as it stands, in a process of its own, without a network; what it needs, its docstring says."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted(Path(__file__).parent.parent.joinpath("examples").glob("*.py"))


NEEDS = {"tiny": ("transformers",), "reinforce": ("transformers",), "trl_grpo": ("trl", "matplotlib")}
"""Packages beyond our own, by example; torch comes with them."""

QUICK = ("gym_loop", "tree_search")
"""What is run every day; the others are slow."""

STEPS = 12
"""How long the example with TRL trains here; by itself it trains longer."""


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[] if path.stem in QUICK else [pytest.mark.slow]) for path in EXAMPLES],
)
def test_an_example_runs_as_it_stands(path: Path, tmp_path: Path) -> None:
    missing = [name for name in NEEDS.get(path.stem, ()) if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed (pip install '.[trl]')")
    command = [sys.executable, "-W", "error::ResourceWarning", str(path)]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "STEPS": str(STEPS)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    if path.stem == "trl_grpo":
        it_learns(done.stdout, tmp_path / "curve.png")


def it_learns(said: str, curve: Path) -> None:
    """A model that cannot spell its calls earns 0 from first to last; one that learns earns more at the end."""
    rewards = json.loads(said[said.rindex("[") :])
    assert len(rewards) == STEPS
    third = STEPS // 3
    assert 0 < sum(rewards[:third]) < sum(rewards[-third:])
    assert curve.read_bytes()[:4] == b"\x89PNG"
