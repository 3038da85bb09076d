"""Sandboxes: where the commands of a policy, and the tests that score its patch, run."""

from __future__ import annotations

import os

from nano_codex_env.errors import ConfigError
from nano_codex_env.sandbox.base import TESTBED, ExecResult, Limits, Output, Sandbox, Shell, View
from nano_codex_env.sandbox.bubblewrap import Bubblewrap

__all__ = ["TESTBED", "Bubblewrap", "ExecResult", "Limits", "Output", "Sandbox", "Shell", "View", "get_sandbox"]

_shared: dict[str | None, Bubblewrap] = {}


def get_sandbox(sandbox: Sandbox | str = "bubblewrap", *, cache: str | os.PathLike[str] | None = None) -> Sandbox:
    """The sandbox of that name, shared per cache; an object is returned unchanged.

    Raises:
        ConfigError: there is no sandbox of that name, or the object is none.
    """
    if not isinstance(sandbox, str):
        if isinstance(sandbox, type) or not all(callable(getattr(sandbox, name, None)) for name in ("open", "run")):
            raise ConfigError(
                f"sandbox is 'bubblewrap' or an object with methods open and run (see Sandbox); got {sandbox!r:.200}"
            )
        return sandbox
    if sandbox == "bubblewrap":
        return _shared.setdefault(os.fspath(cache) if cache else None, Bubblewrap(cache=cache))
    raise ConfigError(f"no sandbox is called {sandbox!r}; there are: bubblewrap")
