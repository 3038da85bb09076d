"""What a task's environment may say; it comes from anybody, so it is names and versions, never a path or an option."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from nano_codex_env.errors import TaskError


def requirements_of(environment: Mapping[str, Any]) -> list[str]:
    """`environment["packages"]`: names with extras, versions and markers, as PEP 508 writes them.

    Raises:
        TaskError: one is an option, a path, a URL, or nothing of the kind.
    """
    packages = environment.get("packages")
    if not isinstance(packages, list | tuple) or not all(isinstance(name, str) for name in packages):
        raise TaskError(f"environment.packages must be a list of requirements; got {packages!r:.200}")
    for name in packages:
        try:
            url = Requirement(name).url
        except InvalidRequirement as error:
            raise TaskError(
                f"environment.packages must hold names and versions, such as 'six>=1.16'; got {name!r:.200}"
            ) from error
        if url:
            raise TaskError(f"environment.packages must name packages of the index, no URL; got {name!r:.200}")
    return list(packages)


def python_of(environment: Mapping[str, Any]) -> str | None:
    """`environment["python"]`: a version of Python; None: the one that runs us.

    Raises:
        TaskError: it is something else.
    """
    python = environment.get("python")
    if python is None:
        return None
    if not isinstance(python, str) or not re.fullmatch(r"3\.\d{1,2}(\.\d{1,2})?", python, re.ASCII):
        raise TaskError(f"environment.python must be a version such as '3.11' or '3.11.9'; got {python!r:.200}")
    return python


def allowed_edits_of(environment: Mapping[str, Any]) -> frozenset[str]:
    """`environment["allowed_edits"]`: paths that a patch may change whatever they are called.

    Raises:
        TaskError: it is not a list of strings.
    """
    given = environment.get("allowed_edits") or []
    if not isinstance(given, list | tuple) or not all(isinstance(path, str) for path in given):
        raise TaskError(f"environment.allowed_edits must be a list of paths; got {given!r:.200}")
    return frozenset(given)
