"""No probe has an effect outside the box, and each has one without a box."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import NanoCodexEnv, Task, from_function
from nano_codex_env.diff import File, file_diff
from nano_codex_env.messages import tool_call
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.tools import apply_patch, shell
from tests.conftest import BUG, git
from tests.redteam.boxes.outside import Outside, planted
from tests.redteam.boxes.probes import PROBES, Probe

KINDS = tuple(dict.fromkeys(probe.kind for probe in PROBES))
FIRST = {next(probe.id for probe in PROBES if probe.kind == kind) for kind in KINDS} - {"bomb-bash"} | {"bomb-python"}
"""One of each kind for every day; of the fork bombs the one that does not try for long."""
PATIENCE = 300.0
"""Seconds for a call: none of these is to be stopped for its time."""


def groups() -> Iterator[object]:
    """The first probe of each kind alone, and the others of the kind, which are slow."""
    for kind in KINDS:
        of_kind = [probe for probe in PROBES if probe.kind == kind]
        yield pytest.param([probe for probe in of_kind if probe.id in FIRST], id=kind)
        others = [probe for probe in of_kind if probe.id not in FIRST]
        yield pytest.param(others, id=f"{kind}: the others", marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """The planted area, for all probes."""
    with planted(tmp_path_factory.mktemp("outside")) as made:
        yield made


@pytest.fixture
def inside(outside: Outside, sandbox: Sandbox, tmp_path: Path) -> Iterator[NanoCodexEnv]:
    """An episode on a task whose row, history and neighbour hold the secret, as the harness's own environment does."""
    first = git(outside.repo, "rev-list", "--max-parents=0", "main")
    hidden = file_diff("test_x.py", None, File(f"# {outside.secret}\n".encode()))
    task = Task(
        "sums-1",
        str(outside.repo),
        first,
        "add(2, 3) gives -1",
        patch=hidden,
        test_patch=hidden,
        FAIL_TO_PASS=("test_x.py::x",),
    )
    tools = [shell(timeout=PATIENCE), apply_patch()]
    common: dict[str, Any] = {"sandbox": sandbox, "tools": tools, "reward": from_function(lambda *_: 0.0)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("API_KEY", outside.secret)
        with (
            NanoCodexEnv([task], log_dir=tmp_path / "one", max_steps=10_000, **common) as env,
            NanoCodexEnv([task], log_dir=tmp_path / "two", **common) as other,
        ):
            for made in (env, other):
                made.reset()
            other.step(tool_call("apply_patch", search="", replace=outside.secret, file="other.py"))
            outside.watched[:] = [Path(os.environ["NANO_CODEX_CACHE"]) / "trees"]
            assert answer(env, "cat sums.py") == BUG  # the box is up before the first look
            yield env


def answer(env: NanoCodexEnv, cmd: str) -> str:
    """The observation."""
    obs, *_ = env.step(tool_call("shell", cmd=cmd))
    return str(obs[-1]["content"])


def unwalled(outside: Outside, script: str) -> str:
    """The output without a box, from a plain shell in the repository; processes that it leaves are not waited for."""
    with tempfile.TemporaryFile() as output:
        subprocess.run(
            ["bash", "-c", script],
            cwd=outside.repo,
            env=outside.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=PATIENCE,
            check=False,
        )
        output.seek(0)
        return output.read().decode("utf-8", "replace")


@pytest.mark.parametrize("probes", list(groups()))
def test_no_probe_has_an_effect_outside(probes: list[Probe], outside: Outside, inside: NanoCodexEnv) -> None:
    """After each, files, metadata, processes, listeners, mounts, kernel objects and the answer are checked."""
    descriptors = len(os.listdir("/proc/self/fd"))
    found = {}
    for probe in probes:
        before = outside.state()
        output = "\n".join(answer(inside, outside.script(call)) for call in probe.calls)
        if effects := outside.effects(before, output):
            found[probe.id] = (effects, output[-500:])
    assert found == {}
    assert answer(inside, "cat sums.py") == BUG  # a flood takes its box down: here is the next one
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.parametrize(
    "probe", [pytest.param(probe, id=probe.id, marks=() if probe.id in FIRST else pytest.mark.slow) for probe in PROBES]
)
def test_each_probe_works_without_a_box(probe: Probe, tmp_path: Path) -> None:
    """The control: the same scripts, run by a plain shell with targets of their own."""
    if probe.needs_root and os.geteuid() != 0:
        pytest.skip("needs root: nobody else can do this, wall or not")
    with planted(tmp_path / "area") as outside:
        before = outside.state()
        output = "\n".join(unwalled(outside, outside.script(call)) for call in probe.calls)
        try:
            assert probe.effect in outside.effects(before, output), output[-2000:]
        finally:
            outside.sweep()
