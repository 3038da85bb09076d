"""`nano-codex run`: play tasks with a policy."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from nano_codex_env.cli.report import report
from nano_codex_env.config import POLICIES, env_arguments, make_policy, make_reward, only_from_its_user, read_config
from nano_codex_env.errors import ConfigError
from nano_codex_env.policies.chat import ChatPolicy
from nano_codex_env.records.log_format import LOG_DIR, check_log_dir, read_log_file
from nano_codex_env.runs.rollouts import Interrupted, rollouts
from nano_codex_env.tasks import load_tasks
from nano_codex_env.tasks.task import Task
from nano_codex_env.untrusted import on_one_line, parse_json

_MAY_CHANGE = ("tasks", "only", "n", "concurrency", "api_base", "timeout", "max_retries")
"""What may be another when a run is resumed; all else would mix two experiments in one folder."""

_OPTIONS = {"policy": "--policy", "reward": "--reward", "api_base": "--api-base", "tasks": "--tasks"}


def add_commands(commands: Any) -> None:
    """Add `run`."""
    run = commands.add_parser("run", help="play tasks with a policy and score them")
    run.add_argument("--config", type=Path, metavar="FILE", help="a TOML file such as configs/bundled.toml")
    run.add_argument(
        "--set", action="append", default=[], dest="settings", metavar="KEY=VALUE", help="e.g. model.temperature=0.7"
    )
    run.add_argument("--tasks", nargs="+", metavar="SOURCE", help="bundled (the default), files, or a dataset")
    run.add_argument("--only", nargs="+", metavar="ID", help="play only the tasks of these names")
    run.add_argument(
        "--policy", help=f"who plays: {', '.join(POLICIES)}, a model such as hosted_vllm/NAME, or a module:name"
    )
    run.add_argument("--api-base", metavar="URL", help="where the model is served, e.g. http://localhost:8000/v1")
    run.add_argument("--reward", metavar="NAME", help="resolved (the default), similarity, or a module:name")
    run.add_argument("-n", type=int, metavar="N", help="attempts at each task (default: 1)")
    run.add_argument("--concurrency", type=int, metavar="N", help="episodes played at once (default: 8)")
    run.add_argument("--deadline", type=float, metavar="SECONDS", help="what is not finished then is void")
    run.add_argument("--out", type=Path, metavar="DIR", help="logs and results.jsonl (default: .nano-codex/run-...)")
    run.add_argument("--resume", action="store_true", help="go on with --out DIR, or else with the newest run")
    run.add_argument("--json", action="store_true", help="print the results as JSON, and nothing else on stdout")
    run.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> int:
    out = arguments.out or (_newest() if arguments.resume else _new())
    config = _config(arguments, out)
    tasks = load_all(config["tasks"], config["only"])
    policy = make_policy(config, tasks)
    with ExitStack() as stack:
        if isinstance(policy, ChatPolicy):
            stack.enter_context(policy)
        options = {key: config[key] for key in ("n", "concurrency")}
        interrupted = False
        try:
            results = rollouts(
                tasks, policy, reward=make_reward(config["reward"]), out=out, resume=arguments.resume,
                deadline=arguments.deadline, progress=True, config=config, **options, **env_arguments(config),
            )  # fmt: skip
        except Interrupted as broken:
            results, interrupted = broken.results, True
    if arguments.json:
        print(json.dumps({"out": str(out), "results": [result.row() for result in results]}))
    else:
        report(results, out)
    if interrupted:
        words = on_one_line(shlex.join(["--out", str(out), "--resume"])) + _repeated(only_from_its_user(config))
        print(f"nano-codex: interrupted; go on with: {words}", file=sys.stderr)
        return 130
    return 1 if any(result.void for result in results) else 0


def log_dir() -> Path:
    """The folder of logs below the current one.

    Raises:
        ConfigError: it is a link.
    """
    try:
        check_log_dir(LOG_DIR)
    except OSError as error:
        raise ConfigError(f"cannot use {LOG_DIR}: {error} (--out)") from error
    return LOG_DIR


def _new() -> Path:
    return log_dir() / f"run-{time.strftime('%Y%m%d-%H%M%S')}"


def _newest() -> Path:
    runs = sorted(path.parent for path in log_dir().glob("run-*/config.json"))
    if not runs:
        raise ConfigError("there is no run to resume in .nano-codex; name one with --out")
    if runs[-1].is_symlink():
        raise ConfigError(f"the newest run, {runs[-1]}, is a link; name the run with --out")
    print(f"nano-codex: resuming {on_one_line(str(runs[-1]))}", file=sys.stderr)
    return runs[-1]


def _config(arguments: argparse.Namespace, out: Path) -> dict[str, Any]:
    """The config of this run; one that is resumed goes by what it was begun with."""
    names = ("tasks", "only", "policy", "reward", "n", "concurrency")
    given = {key: value for key in names if (value := getattr(arguments, key)) is not None}
    if arguments.api_base:
        given["model"] = {"api_base": arguments.api_base}
    begun, shown = _saved(out) if arguments.resume else None, on_one_line(str(out))
    if arguments.resume and begun is None and not (arguments.policy or arguments.config):
        raise ConfigError(
            f"there is nothing to resume in {shown}; check the folder's name, or name a policy to begin with"
        )
    config = read_config(arguments.config, arguments.settings, given, begun=begun)
    differing = [key for key in _differences(begun, config) if key.rpartition(".")[2] not in _MAY_CHANGE]
    if differing:
        raise ConfigError(
            f"{shown} was begun with another {on_one_line(', '.join(differing))}; leave that out to go on with it, or "
            "give a new --out"
        )
    own = read_config(arguments.config, arguments.settings, given)
    named = {**own, **own["model"]}
    untold = {key: value for key, value in only_from_its_user(config).items() if named.get(key) != value}
    if untold:
        raise ConfigError(
            f"to resume {shown}, repeat what it was begun with:{_repeated(untold)}; its config.json may be anybody's: "
            "which code runs here and which servers are asked is not taken from there"
        )
    return config


def _repeated(named: Mapping[str, Any]) -> str:
    """Options that say it once more, with a space before each."""
    words = [(_OPTIONS[key], *([value] if isinstance(value, str) else value)) for key, value in named.items()]
    return "".join(f" {on_one_line(shlex.join(option))}" for option in words)


def _saved(out: Path) -> dict[str, Any] | None:
    try:
        saved = parse_json(read_log_file(out / "config.json"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {out / 'config.json'}: {error}") from error
    if not isinstance(saved, dict):
        raise ConfigError(f"{out / 'config.json'} is no run's config: it holds a {type(saved).__name__}")
    return saved


def _differences(begun: Mapping[str, Any] | None, config: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    if begun is None:
        return found
    for key in dict.fromkeys([*begun, *config]):
        old, new = begun.get(key), config.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key}")
    return found


def load_all(sources: Sequence[str], only: Sequence[str] = ()) -> list[Task]:
    """The tasks of all sources together, or those that `only` names.

    Raises:
        ConfigError: two have one name, or none has one of `only`.
    """
    tasks = [task for source in sources for task in load_tasks(source)]
    names = [task.instance_id for task in tasks]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConfigError(f"{min(twice)} is in more than one of {', '.join(sources)}; give each task once")
    unknown = [name for name in only if name not in names]
    if unknown:
        raise ConfigError(f"no task is called {unknown[0]!r}; there are: {', '.join(names[:20])}")
    return [task for task in tasks if not only or task.instance_id in only]
