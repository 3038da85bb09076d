"""Where repositories that rows name as `owner/name` are on this machine, so that their tasks need no network."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from nano_codex_env.errors import ConfigError, TaskError
from nano_codex_env.tasks.task import Task

_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


class Mirrors:
    """A folder of clones, or a TOML file that maps names to paths or URLs."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read the map, if `path` is a file.

        Raises:
            ConfigError: there is neither a folder nor a TOML file of names and paths.
        """
        self._path = Path(os.path.expanduser(path)).absolute()
        self._map: Mapping[str, str] | None = None
        if self._path.is_dir():
            return
        try:
            self._map = tomllib.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f'repos must be a folder of clones, or a TOML file with lines such as "owner/name" = "path"; '
                f"{self._path}: {error}"
            ) from error
        for name, value in self._map.items():
            if not isinstance(value, str):
                raise ConfigError(f"{self._path}: {name} must be a path, in quotes; got {value!r:.120}")

    def locate(self, task: Task) -> Task:
        """The task with the path of its repository, and the name that it had in `metadata["repo"]`.

        A task whose `repo` is a path or a URL stays as it is.

        Raises:
            TaskError: there is no clone of its repository; the message has the paths that were tried.
        """
        name = task.repo
        if not _NAME.fullmatch(name) or set(name.split("/")) & {".", ".."}:
            return task
        return task.with_(repo=self._find(name), metadata={**task.metadata, "repo": name})

    def _find(self, name: str) -> str:
        if self._map is not None:
            given = self._map.get(name)
            if given is None:
                known = ", ".join(sorted(self._map)[:10])
                raise TaskError(f"{self._path} has no line for {name!r}; it has: {known}")
            if "://" in given:
                return given
            tried = [self._path.parent / os.path.expanduser(given)]
        else:
            tried = [self._path / f"{path}{end}" for path in (name, name.replace("/", "__")) for end in ("", ".git")]
        found = next((path for path in tried if path.is_dir()), None)
        if found is None:
            raise TaskError(f"there is no clone of {name}; tried: {', '.join(map(str, tried))}")
        return str(found)
