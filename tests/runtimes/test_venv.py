"""Virtual environments of tasks: what a row names is installed, and nothing of it runs on the host."""

from __future__ import annotations

import contextlib
import io
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from nano_codex_env.errors import WorkspaceError
from nano_codex_env.runtimes.venv import build_venv, find_uv, venv_runtime
from nano_codex_env.tasks.environment import Environment


def wheel(folder: Path, name: str, files: dict[str, str]) -> None:
    """A wheel of version 1.0."""
    info = f"{name}-1.0.dist-info"
    texts = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*texts, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as packed:
        for path, text in {**texts, f"{info}/RECORD": record}.items():
            packed.writestr(path, text)


def sdist(folder: Path, name: str, setup: str) -> None:
    """A source distribution of version 1.0 with a build backend of its own."""
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": setup,
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
    }
    with tarfile.open(folder / f"{name}-1.0.tar.gz", "w:gz") as packed:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{name}-1.0/{path}")
            member.size = len(text.encode())
            packed.addfile(member, io.BytesIO(text.encode()))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the package index, with a pytest in it."""
    folder = tmp_path / "index"
    folder.mkdir()
    wheel(folder, "pytest", {"pytest.py": "x = 1\n"})
    monkeypatch.setenv("UV_DEFAULT_INDEX", (tmp_path / "no index").as_uri())
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return folder


def test_a_wheel_is_installed_and_compiled_and_runs_nothing(index: Path, tmp_path: Path) -> None:
    """A `.pth` file runs whenever an interpreter starts with it: on the host none does."""
    touch = f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
    wheel(index, "evil_of_nobody", {"evil.py": touch, "evil.pth": touch, "sitecustomize.py": touch})
    folder = build_venv(Environment({"packages": ["evil_of_nobody==1.0"]}), tmp_path / "cache")
    [site] = folder.glob("lib/python3*/site-packages")
    assert (site / "evil.pth").exists()
    assert list((site / "__pycache__").glob("evil.*.pyc"))
    assert not (tmp_path / "ran").exists()


def test_a_wheel_cannot_put_a_program_in_the_interpreters_place(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to 0.9 uv let a wheel's scripts replace `bin/python`, which was run to compile what is installed."""
    old = tmp_path / "old-uv"
    swap = (
        f'touch=$(echo "#!/bin/sh\ntouch {tmp_path}/ran"); rm "$python"; echo "$touch" >"$python"; chmod +x "$python"'
    )
    old.write_text(
        f'#!/bin/sh\n{find_uv()} "$@" || exit\ncase "$*" in *"pip install"*) python=$2/bin/python; {swap};; esac\n'
    )
    old.chmod(0o755)
    monkeypatch.setattr("nano_codex_env.runtimes.venv.find_uv", lambda: str(old))
    with pytest.raises(WorkspaceError, match="one of pytest replaces the environment's interpreter; it is not used"):
        build_venv(Environment({"packages": []}), tmp_path / "cache")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("text", ["[pytest11\nnonsense", "\ufffd = \x00", "[pytest11]\nx"])
def test_metadata_that_cannot_be_read_is_an_error_of_ours(index: Path, tmp_path: Path, text: str) -> None:
    wheel(index, "odd_of_nobody", {"odd.py": "", "odd_of_nobody-1.0.dist-info/entry_points.txt": text})
    with contextlib.suppress(WorkspaceError):
        venv_runtime(Environment({"packages": ["odd_of_nobody"]}), tmp_path / "cache", tmp_path)


def test_a_package_without_a_wheel_is_built_only_where_the_user_allows_it(index: Path, tmp_path: Path) -> None:
    sdist(
        index,
        "package_of_nobody",
        f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\nraise SystemExit(3)\n",
    )
    advice = re.escape("`nano-codex tasks prepare --allow-builds`, or Resolved(allow_builds=True)")
    with pytest.raises(
        WorkspaceError, match=f"(?s)package-of-nobody.*Packages are installed from wheels only.*{advice}"
    ):
        build_venv(Environment({"packages": ["package-of-nobody"]}), tmp_path / "cache")
    assert not (tmp_path / "ran").exists()
    with pytest.raises(WorkspaceError):  # its build fails, but it was begun
        build_venv(Environment({"packages": ["package-of-nobody"]}), tmp_path / "cache", allow_builds=True)
    assert (tmp_path / "ran").exists()
    assert [path for path in (tmp_path / "cache" / "venvs").iterdir() if path.is_dir()] == []


def test_a_checkout_that_we_run_in_has_no_say(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its settings for uv nor an interpreter that it brings."""
    checkout = tmp_path / "checkout"
    python = checkout / ".venv" / "bin" / "python3"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    python.chmod(0o755)
    (checkout / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (checkout / "uv.toml").write_text('no-such-setting = "x"\n')
    monkeypatch.chdir(checkout)
    build_venv(Environment({"packages": []}), tmp_path / "cache")
    assert not (tmp_path / "ran").exists()


def test_what_takes_too_long_is_stopped(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nano_codex_env.runtimes.venv._LIMIT", 0.001)
    with pytest.raises(WorkspaceError, match=r"uv failed: it took more than 0\.001 seconds"):
        build_venv(Environment({"packages": []}), tmp_path / "cache")


@pytest.mark.parametrize("name", ["six", "six>=1.16,<2", "requests[socks]==2.*", "tomli; python_version < '3.11'"])
def test_names_versions_extras_and_markers_are_requirements(name: str) -> None:
    assert Environment({"packages": [name]}).packages == (name,)
