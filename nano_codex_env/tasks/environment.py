"""`Task.environment`: what a task's tests need to run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from nano_codex_env.errors import TaskError

KINDS = ("host", "venv")
KEYS = ("kind", "python", "packages", "pythonpath", "pytest_args", "allowed_edits")


@dataclass(frozen=True, eq=False)
class Environment(Mapping[str, Any]):
    """A row's `environment`: a mapping with the row's own values, and properties with checked ones.

    A property is checked when it is read, so a task that cannot be scored here can still be loaded and played. Each
    raises TaskError. Rows come from anywhere, so none of them is an option or a path outside of the repository.
    """

    row: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """`host`: this interpreter and pytest (the default); `venv`: a virtual environment with `packages`."""
        kind = self.row.get("kind", "host")
        if kind not in KINDS:
            raise TaskError(f"no environment of kind {kind!r:.200}; there are: {', '.join(KINDS)}")
        if unknown := [key for key in self.row if key not in KEYS]:
            raise TaskError(f"environment has no key {unknown[0]!r:.200}; there are: {', '.join(KEYS)}")
        return str(kind)

    @property
    def python(self) -> str | None:
        """The version of Python, such as '3.11' or '3.11.9'; None: the one that runs this process."""
        python = self.row.get("python")
        if python is None:
            return None
        if not isinstance(python, str) or not re.fullmatch(r"3\.\d{1,2}(\.\d{1,2})?", python, re.ASCII):
            raise TaskError(f"environment.python must be a version such as '3.11' or '3.11.9'; got {python!r:.200}")
        return python

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages to install, as PEP 508 requirements: names with extras, versions and markers, and no URLs."""
        packages = self._strings("packages", "requirements", self.row.get("packages"))
        for name in packages:
            try:
                url = Requirement(name).url
            except InvalidRequirement as error:
                raise TaskError(
                    f"environment.packages must hold names and versions, such as 'six>=1.16'; got {name!r:.200}"
                ) from error
            if url:
                raise TaskError(f"environment.packages must name packages of the index, no URL; got {name!r:.200}")
        return packages

    @property
    def pythonpath(self) -> tuple[str, ...]:
        """Folders of the repository that go on `sys.path`; the default is its root."""
        paths = self._strings("pythonpath", "folders") or (".",)
        if any(path.startswith("/") or ".." in path.split("/") for path in paths):
            raise TaskError(f"environment.pythonpath must lie in the repository; got {list(paths)!r:.200}")
        return paths

    @property
    def pytest_args(self) -> tuple[str, ...]:
        """More arguments for pytest, such as `--doctest-modules`."""
        return self._strings("pytest_args", "strings")

    @property
    def allowed_edits(self) -> tuple[str, ...]:
        """Paths that a patch may change, even if they look like tests or configuration."""
        return self._strings("allowed_edits", "paths")

    def _strings(self, key: str, plural: str, default: object = ()) -> tuple[str, ...]:
        given = self.row.get(key) or default
        if not isinstance(given, list | tuple) or not all(isinstance(text, str) for text in given):
            raise TaskError(f"environment.{key} must be a list of {plural}; got {given!r:.200}")
        return tuple(given)

    def __getitem__(self, key: str) -> Any:
        return self.row[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.row)

    def __len__(self) -> int:
        return len(self.row)
