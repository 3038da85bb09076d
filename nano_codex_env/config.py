"""From a TOML file and `--set` to the arguments of a run; the only place where a string becomes a class."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nano_codex_env.errors import ConfigError
from nano_codex_env.policy import Idle, Oracle, Policy, Random
from nano_codex_env.rewards import DiffSimilarity, Resolved, Reward
from nano_codex_env.task import Task

POLICIES: dict[str, Callable[[Sequence[Task]], Policy]] = {
    "idle": lambda tasks: Idle(),
    "oracle": Oracle,
    "random": lambda tasks: Random(),
}
REWARDS: dict[str, Callable[[], Reward]] = {"resolved": Resolved, "similarity": DiffSimilarity}

DEFAULTS: dict[str, Any] = {
    "tasks": ["bundled"],
    "policy": "oracle",
    "reward": "resolved",
    "env": {"max_steps": 50, "time_limit": 1800.0, "on_inaction": "submit"},
}
"""Every key that a config may have; those of `env` are arguments of `NanoCodexEnv`."""


def read_config(
    path: Path | None, settings: Sequence[str] = (), given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The defaults, changed by a file, then by `key=value` settings, then by what was `given`.

    Raises:
        ConfigError: a key that there is not, or a value of the wrong kind.
    """
    config: dict[str, Any] = {**DEFAULTS, "env": dict(DEFAULTS["env"])}
    if path:
        try:
            _merge(config, tomllib.loads(path.read_text(encoding="utf-8")), str(path))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"cannot read {path}: {error}") from error
    for setting in settings:
        _merge(config, _setting(setting), f"--set {setting}")
    _merge(config, given or {}, "the command line")
    if not config["tasks"] or not all(isinstance(source, str) for source in config["tasks"]):
        raise ConfigError(f"tasks must be a list of sources, such as ['bundled']; got {config['tasks']!r}")
    for key, known in (("policy", POLICIES), ("reward", REWARDS)):
        if config[key] not in known:
            raise ConfigError(f"no {key} is called {config[key]!r}; there are: {', '.join(known)}")
    return config


def _setting(setting: str) -> dict[str, Any]:
    """`env.max_steps=30` as a table; a value that is no TOML is a string."""
    key, equals, value = setting.partition("=")
    if not equals:
        raise ConfigError(f"--set takes key=value; got {setting!r}")
    for text in (value, f'"{value}"'):
        try:
            return tomllib.loads(f"{key} = {text}")
        except tomllib.TOMLDecodeError:
            continue
    raise ConfigError(f"--set {setting!r} is no TOML")


def _merge(config: dict[str, Any], changes: Mapping[str, Any], where: str) -> None:
    for key, value in changes.items():
        if key not in config:
            raise ConfigError(f"{where}: unknown key {key!r}; there are: {', '.join(config)}")
        old = config[key]
        if isinstance(old, dict) and isinstance(value, dict):
            _merge(old, value, where)
        elif isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
            config[key] = float(value)
        elif type(value) is not type(old):
            raise ConfigError(f"{where}: {key} must be a {type(old).__name__}; got {value!r}")
        else:
            config[key] = value
