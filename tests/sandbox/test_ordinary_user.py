"""All that holds for root holds for an ordinary user: the same tests, run by one.

Where pytest itself is run by an ordinary user there is nothing to do here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import nano_codex_env

ROOT = Path(nano_codex_env.__file__).parent.parent
TESTS = Path(__file__).parent.parent
UID = 1234
# `env` comes between: setpriv itself starts its program with root's right to pass a closed folder.
DROP = ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups", "--inh-caps=-all", "env"]
FILES = ["sandbox/test_seccomp.py"]
LONG = ["sandbox/test_contract.py", "sandbox/test_bubblewrap.py", "test_cache.py", "cli/test_doctor.py"]
LONG += ["sandbox/test_budget.py", "sandbox/test_memory.py", "test_shortages.py"]
LONG += ["redteam/boxes/test_probes.py", "redteam/boxes/test_server.py"]


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of the user's, outside pytest's own, which only root may enter."""
    with tempfile.TemporaryDirectory(prefix="nano-codex-user-") as name:
        os.chown(name, UID, UID)
        yield Path(name)


def environment(home: Path) -> dict[str, str]:
    packages = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sorted(packages)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def find_python(home: Path) -> str:
    """A Python that the user can run with what is installed for ours, which may lie in root's own folder."""
    complaints = []
    for python in dict.fromkeys((sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")):
        command = [*DROP, python, "-c", "import pytest, nano_codex_env.env"]
        done = subprocess.run(command, cwd=ROOT, env=environment(home), capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return python
        complaints.append(f"{python}: {done.stderr.strip().splitlines()[-1]}")
    pytest.skip(f"no Python here that uid {UID} can run with our packages ({'; '.join(complaints)})")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
@pytest.mark.parametrize("file", [*FILES, *(pytest.param(file, marks=pytest.mark.slow) for file in LONG)])
def test_it_holds_for_an_ordinary_user(home: Path, file: str) -> None:
    options = ["-q", "-rs", "-p", "no:cacheprovider", f"--basetemp={home / 'pytest'}", f"--rootdir={TESTS.parent}"]
    options += ["-m", "slow or not slow" if file in LONG else "not slow"]
    command = [*DROP, find_python(home), "-m", "pytest", "-c", str(TESTS.parent / "pyproject.toml"), *options]
    done = subprocess.run(
        [*command, str(TESTS / file)], cwd=ROOT, env=environment(home), stdout=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED") and "needs root" not in line]
    assert not skipped
