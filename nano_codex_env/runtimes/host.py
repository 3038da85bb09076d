"""The host runtime: the interpreter that runs us, with pytest and what pytest needs, and nothing else of ours."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from nano_codex_env.errors import RewardError
from nano_codex_env.runtimes.base import Runtime, interpreter_mounts

SITE = "/opt/site"


def host_runtime(pythonpath: tuple[str, ...], empty: Path) -> Runtime:
    """The runtime of tasks that need the standard library and pytest only; `empty` is an empty folder.

    Raises:
        RewardError: pytest is not installed beside us.
    """
    prefix = Path(sys.base_prefix).resolve()
    python = prefix / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    mounts = (*interpreter_mounts(prefix, empty), *_pytest_mounts())
    return Runtime(str(python), mounts, (SITE,), pythonpath)


@cache
def _pytest_mounts() -> tuple[tuple[Path, str], ...]:
    """One mount for each module of pytest and of the distributions that it requires."""
    found: dict[str, Path] = {}
    for name in _requirements("pytest", set()):
        for file in metadata.distribution(name).files or ():
            top = file.parts[0]
            if top.endswith((".dist-info", ".egg-info")) or top in ("..", "__pycache__", "bin"):
                continue
            found[top] = Path(str(metadata.distribution(name).locate_file(top)))
    return tuple((path.resolve(), f"{SITE}/{top}") for top, path in sorted(found.items()) if path.exists())


def _requirements(name: str, seen: set[str]) -> Iterator[str]:
    try:
        requires = metadata.requires(name) or []
    except metadata.PackageNotFoundError as error:
        if not seen:
            raise RewardError("pytest is not installed here; `pip install pytest`") from error
        return  # a requirement for another platform or Python
    seen.add(name)
    yield name
    for requirement in requires:
        wanted, _, marker = requirement.partition(";")
        plain = "".join(char if char.isalnum() or char in "-_." else " " for char in wanted).split()[0]
        if "extra" not in marker and plain not in seen:
            yield from _requirements(plain, seen)
