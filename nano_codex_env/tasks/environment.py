"""`Task.environment`: what a task's tests need to run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from nano_codex_env.errors import TaskError

KINDS = ("host", "venv", "image", "unknown")
KEYS = ("kind", "python", "packages", "pythonpath", "pytest_args", "allowed_edits")
IMAGE_KEYS = {
    "image": "the name of the container image, as in a registry",
    "testbed": "the folder of the repository in it; default: /testbed",
    "eval_script": "SWE-bench: the shell script that runs the tests",
    "log_parser": "SWE-bench: the name of the parser of what it prints",
    "eval_type": "SWE-bench: pass_and_fail, or fail_only",
    "install": "SWE-rebench: its install_config, with test_cmd and log_parser",
    "expected": "R2E-Gym: the status that each test must have",
}
"""Keys of the kind `image` -> their meaning, and whose rows have them; they are kept, and nothing reads them yet."""

_WAY_OUT = (
    'give an environment with the packages that they need, such as task.with_(environment={"kind": "venv", "python": '
    '"3.11", "packages": ["six==1.17.0"]}), or the same as a column of the row'
)


@dataclass(frozen=True, eq=False)
class Environment(Mapping[str, Any]):
    """A row's `environment`: a mapping with the row's own values, and properties with checked ones.

    A property is checked when it is read, so a task that cannot be scored here can still be loaded and played. Each
    raises TaskError. Rows come from anywhere, so none of them is an option or a path outside of the repository.
    """

    row: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What the tests run in.

        `host`: this interpreter and pytest (the default). `venv`: a virtual environment with `packages`. `image`: a
        container image. `unknown`: the dataset does not say. The last two cannot be used yet, see `unsupported`.
        """
        kind = self.row.get("kind", "host")
        if kind not in KINDS:
            raise TaskError(f"no environment of kind {kind!r:.200}; there are: {', '.join(KINDS)}")
        keys = (*KEYS, *IMAGE_KEYS) if kind == "image" else KEYS
        if unknown := [key for key in self.row if key not in keys]:
            raise TaskError(f"environment has no key {unknown[0]!r:.200}; there are: {', '.join(keys)}")
        return str(kind)

    @property
    def unsupported(self) -> str:
        """Why no tests can run in this environment, and what to do; empty if they can."""
        if self.kind == "unknown":
            return f"its row does not say what its tests need; {_WAY_OUT}"
        if self.kind != "image":
            return ""
        image = self.row.get("image")
        if not isinstance(image, str) or not image.strip():
            return f"its row names no container image; {_WAY_OUT}"
        return f"its tests need the container image {image:.300}, and images cannot be used yet; {_WAY_OUT}"

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
