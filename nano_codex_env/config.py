"""Read the config of a run and make the objects that it names; the only place where a string becomes a class."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nano_codex_env.errors import ConfigError, describe
from nano_codex_env.policies.base import Policy
from nano_codex_env.policies.chat import PROVIDERS, ChatPolicy
from nano_codex_env.policies.scripted import Idle, Oracle, Random
from nano_codex_env.rewards import DiffSimilarity, Resolved, Reward, from_function
from nano_codex_env.tasks.task import Task
from nano_codex_env.tools import Notice, budget
from nano_codex_env.untrusted import on_one_line

POLICIES: dict[str, Callable[[Sequence[Task]], Policy]] = {
    "idle": lambda tasks: Idle(),
    "oracle": Oracle,
    "random": lambda tasks: Random(),
}
REWARDS: dict[str, Callable[[], Reward]] = {"resolved": Resolved, "similarity": DiffSimilarity}
NOTICES: dict[str, Notice] = {"budget": budget}

DEFAULTS: dict[str, Any] = {
    "tasks": ["bundled"],
    "only": [],
    "policy": "oracle",
    "reward": "resolved",
    "n": 1,
    "concurrency": 8,
    "env": {
        "max_steps": 50,
        "time_limit": 1800.0,
        "token_limit": int,
        "on_inaction": "submit",
        "notices": [],
        "system_prompt": str,
        "log": "folder",
    },
    "model": {
        "api_base": str,
        "temperature": float,
        "top_p": float,
        "top_k": int,
        "min_p": float,
        "max_tokens": int,
        "thinking": bool,
        "return_tokens": bool,
        "timeout": 600.0,
        "max_retries": 2,
        "extra_body": {},
    },
    "load": {
        "split": str,
        "select": list,
        "holdout": float,
        "held_out": bool,
        "seed": int,
        "limit": int,
        "repos": str,
    },
}
"""Every key of a config with its default, or with its type where there is no default.

Those of `env` are arguments of `NanoCodexEnv`, those of `model` of `ChatPolicy`, those of `load` of `load_tasks`. API
keys come from the environment.
"""


def read_config(
    path: Path | None,
    settings: Sequence[str] = (),
    given: Mapping[str, Any] | None = None,
    *,
    begun: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Merge the defaults, the config of a run that was `begun`, a TOML file, `key=value` settings and `given`.

    Later ones replace earlier ones.

    Raises:
        ConfigError: a key is unknown or a value has the wrong type.
    """
    config: dict[str, Any] = deepcopy(DEFAULTS)
    _merge(config, begun or {}, "config.json of the run")
    if path:
        try:
            _merge(config, tomllib.loads(path.read_text(encoding="utf-8")), str(path))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"cannot read {path}: {error}") from error
    for setting in settings:
        _merge(config, _setting(setting), f"--set {setting}")
    _merge(config, given or {}, "the command line")
    for section in ("env", "model", "load"):
        config[section] = {key: value for key, value in config[section].items() if not isinstance(value, type)}
    if not config["tasks"] or not all(isinstance(source, str) for source in config["tasks"]):
        raise ConfigError(f"tasks must be a list of sources, such as ['bundled']; got {config['tasks']!r}")
    unknown = [name for name in config["env"]["notices"] if not isinstance(name, str) or name not in NOTICES]
    if unknown:
        raise ConfigError(f"no notice is called {unknown[0]!r}; there are: {', '.join(NOTICES)}")
    return config


def make_policy(config: Mapping[str, Any], tasks: Sequence[Task]) -> Policy:
    """Make the policy of a config: one of `POLICIES`, a model, or the user's own as `module:name`.

    Raises:
        ConfigError: the name stands for none of these.
    """
    name: str = config["policy"]
    if name in POLICIES:
        return POLICIES[name](tasks)
    if _is_model(config):
        return ChatPolicy(name, **config["model"])
    if ":" in name:
        policy: Policy = _load(name, "policy")
        return policy
    raise ConfigError(
        f"no policy is called {name!r}; there are: {', '.join(POLICIES)}, a model such as hosted_vllm/NAME with an "
        "api base, or a module:name of your own"
    )


def make_reward(name: str) -> Reward:
    """Make the reward that a name stands for: one of `REWARDS`, or the user's own as `module:name`.

    Raises:
        ConfigError: the name stands for none of these.
    """
    if name in REWARDS:
        return REWARDS[name]()
    if ":" in name:
        return from_function(_load(name, "reward"))
    raise ConfigError(f"no reward is called {name!r}; there are: {', '.join(REWARDS)}, or a module:name of your own")


def _is_model(config: Mapping[str, Any]) -> bool:
    return config["policy"] not in POLICIES and ("/" in config["policy"] or "api_base" in config["model"])


def untrusted_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that must not be taken from a config that a stranger may have written: key -> value.

    They run code (`module:name`), send an API key to a server (an `api_base` other than the provider's) or download a
    dataset of the hub. All others are names in this package, numbers, text or data files.
    """
    policy, reward, tasks = config["policy"], config["reward"], config["tasks"]
    found: dict[str, Any] = {}
    if _is_model(config):
        base = config["model"].get("api_base")
        providers_own, _ = PROVIDERS.get(policy.partition("/")[0], (None, ""))
        found |= {"api_base": base} if base and base != providers_own else {}
    elif policy not in POLICIES and ":" in policy:
        found["policy"] = policy
    if reward not in REWARDS and ":" in reward:
        found["reward"] = reward
    if not all(source == "bundled" or _is_file(source) for source in tasks):
        found["tasks"] = tasks
    return found


def _is_file(source: str) -> bool:
    """Whether `load_tasks` looks for a source on this machine only."""
    return source.endswith((".jsonl", ".json", ".parquet")) or os.path.exists(os.path.expanduser(source))


def env_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `NanoCodexEnv` in a config; its log "none" is None, for which TOML has no word."""
    env = config["env"]
    log = {"log": None} if str(env.get("log")).lower() == "none" else {}
    return {**env, "notices": [NOTICES[name] for name in env["notices"]], **log}


def _load(name: str, what: str) -> Any:
    """Import the object `module:name`; if it is a class, make an instance without arguments."""
    module, _, attribute = name.partition(":")
    here = os.getcwd()
    try:
        if find_spec(module.partition(".")[0]) is None and here not in sys.path:
            sys.path.append(here)  # last, so that no file in the current folder replaces an installed module
        found = getattr(import_module(module), attribute)
        found = found() if isinstance(found, type) else found
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"cannot load the {what} {name!r}: {on_one_line(describe(error))}; give module:name, importable from here"
        ) from error
    if not callable(found):
        raise ConfigError(f"the {what} {name!r} cannot be called; got a {type(found).__name__}")
    return found


def _setting(setting: str) -> dict[str, Any]:
    """Parse `env.max_steps=30` as TOML; a value that is not TOML is a string."""
    key, equals, value = setting.partition("=")
    if not equals:
        raise ConfigError(f"--set takes key=value; got {setting!r}")
    for text in (value, f'"{value}"'):
        with suppress(tomllib.TOMLDecodeError):
            return tomllib.loads(f"{key} = {text}")
    raise ConfigError(f"--set {setting!r} is not valid TOML")


def _merge(config: dict[str, Any], changes: Mapping[str, Any], where: str) -> None:
    """Set the keys of `changes` in `config`; a value must have the type of the one that it replaces."""
    for key in changes:
        value: Any = changes[key]
        if key not in config:
            raise ConfigError(f"{where}: unknown key {key!r:.200}; there are: {', '.join(config)}")
        old = config[key]
        kind = old if isinstance(old, type) else type(old)
        if kind is float and type(value) is int:
            with suppress(OverflowError):
                value = float(value)
        if type(value) is not kind:
            raise ConfigError(f"{where}: {key} must be a {kind.__name__}; got {value!r:.200}")
        if kind is dict and key != "extra_body":  # its keys are the server's
            _merge(old, changes[key], where)
        else:
            config[key] = value
