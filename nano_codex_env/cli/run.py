"""`nano-codex run`: play tasks with a policy and score them."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import Any

from nano_codex_env.cli.arguments import (
    REWARD,
    SOURCES,
    add_choice,
    add_command,
    add_json,
    load_all,
    load_arguments,
    log_dir,
    new_path,
)
from nano_codex_env.cli.terminal import number, print_totals, table
from nano_codex_env.config import POLICIES, env_arguments, make_policy, make_reward, read_config, untrusted_settings
from nano_codex_env.errors import ConfigError
from nano_codex_env.policies.chat import ChatPolicy
from nano_codex_env.records.log_format import read_log_file
from nano_codex_env.records.result import EpisodeResult
from nano_codex_env.runs.rollouts import Interrupted, TooManyVoids, rollouts
from nano_codex_env.untrusted import for_terminal, on_one_line, parse_json

_MAY_CHANGE = ("tasks", "only", "n", "concurrency", "model.api_base", "model.timeout", "model.max_retries", "env.log")
"""Settings that, like those of `load`, may differ when a run is resumed; a change of any other would mix two
experiments in one folder."""

_OPTIONS = {"policy": "--policy", "reward": "--reward", "api_base": "--api-base", "tasks": "--tasks"}


def add_commands(commands: Any) -> None:
    """Add `run`."""
    parser = add_command(commands, "run", _run)
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="a TOML file of settings, such as configs/bundled.toml")
    text = "one setting of such a file, e.g. model.temperature=0.7; may be repeated"
    add("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE", help=text)
    add("--tasks", nargs="+", metavar="SOURCE", help=SOURCES)
    add("--only", nargs="+", metavar="ID", help="only the tasks with these ids")
    names = ", ".join(f"'{name}'" for name in POLICIES)
    add("--policy", metavar="NAME", help=f"{names}, a model such as hosted_vllm/NAME, or your own as module:name")
    add("--api-base", metavar="URL", help="the server of the model, e.g. http://localhost:8000/v1")
    add("--reward", metavar="NAME", help=f"{REWARD} (default: resolved)")
    add("-n", type=int, metavar="N", help="attempts at each task (default: 1)")
    add("--concurrency", type=int, metavar="N", help="episodes at a time (default: 8)")
    text = "end once N episodes in a row are void, as with a dead endpoint; those that run are finished first"
    add("--stop-after-voids", type=int, metavar="N", help=text)
    text = "a message without a tool call: submit ends the episode (the default), remind asks for one while no file is"
    add("--on-inaction", choices=("submit", "remind"), help=f"{text} changed")
    add("--deadline", type=float, metavar="SECONDS", help="time for the whole run; unfinished episodes become void")
    add("--out", type=Path, metavar="DIR", help="folder of the logs and results.jsonl (default: .nano-codex/run-...)")
    add("--resume", action="store_true", help="continue the run in --out DIR, or else the newest one in .nano-codex")
    add_json(parser, "results")
    add_choice(parser)


def _run(arguments: argparse.Namespace) -> int:
    """Play tasks with a policy and score them.

    By default the oracle policy, which applies the reference patches, plays the bundled tasks.

    Example: nano-codex run --policy hosted_vllm/Qwen/Qwen3-8B --api-base http://localhost:8000/v1
    """
    out = arguments.out or (_newest_run() if arguments.resume else new_path("run"))
    config = _config(arguments, out)
    tasks = load_all(config["tasks"], config["only"], **config["load"])
    policy = make_policy(config, tasks)
    stopped: Interrupted | TooManyVoids | None = None
    with policy if isinstance(policy, ChatPolicy) else nullcontext():
        try:
            results = rollouts(
                tasks,
                policy,
                reward=make_reward(config["reward"]),
                n=config["n"],
                concurrency=config["concurrency"],
                out=out,
                resume=arguments.resume,
                deadline=arguments.deadline,
                stop_after_voids=arguments.stop_after_voids,
                progress=True,
                config=config,
                **env_arguments(config),
            )
        except (Interrupted, TooManyVoids) as error:
            results, stopped = error.results, error
    if arguments.json:
        print(json.dumps({"out": str(out), "results": [result.row() for result in results]}))
    else:
        _print_results(results, out)
    if stopped:
        options = on_one_line(shlex.join(["--out", str(out), "--resume"])) + _as_options(untrusted_settings(config))
        reason = "interrupted" if isinstance(stopped, Interrupted) else on_one_line(str(stopped))
        print(f"nano-codex: {reason}; go on with: {options}", file=sys.stderr)
        return 130 if isinstance(stopped, Interrupted) else 2
    return int(any(result.void for result in results))


def _newest_run() -> Path:
    runs = sorted(path.parent for path in log_dir().glob("run-*/config.json"))
    if not runs:
        raise ConfigError("there is no run to resume in .nano-codex; name one with --out")
    if runs[-1].is_symlink():
        raise ConfigError(f"the newest run, {runs[-1]}, is a link; name the run with --out")
    print(f"nano-codex: resuming {on_one_line(str(runs[-1]))}", file=sys.stderr)
    return runs[-1]


def _config(arguments: argparse.Namespace, out: Path) -> dict[str, Any]:
    """The config of the run; a run that is resumed keeps what it was begun with.

    The folder of a run may come from a stranger, so code and servers that only its config.json names are refused.
    """
    names = ("tasks", "only", "policy", "reward", "n", "concurrency")
    given = {key: value for key in names if (value := getattr(arguments, key)) is not None}
    if load := load_arguments(arguments):
        given["load"] = load
    if arguments.api_base:
        given["model"] = {"api_base": arguments.api_base}
    if arguments.on_inaction:
        given["env"] = {"on_inaction": arguments.on_inaction}
    own = read_config(arguments.config, arguments.settings, given)
    if not arguments.resume:
        return own
    begun, shown = _saved_config(out), on_one_line(str(out))
    if begun is None and not (arguments.policy or arguments.config):
        raise ConfigError(
            f"there is nothing to resume in {shown}; check the folder's name, or name a policy to begin with"
        )
    config = read_config(arguments.config, arguments.settings, given, begun=begun)
    changed = (
        []
        if begun is None
        else [key for key in _differences(begun, config) if key not in _MAY_CHANGE and not key.startswith("load")]
    )
    if changed:
        raise ConfigError(
            f"{shown} was begun with another {on_one_line(', '.join(changed))}; leave that out to go on with it, or "
            "give a new --out"
        )
    named = {**own, **own["model"]}
    foreign = {key: value for key, value in untrusted_settings(config).items() if named.get(key) != value}
    if foreign:
        raise ConfigError(
            f"to resume {shown}, repeat what it was begun with:{_as_options(foreign)}; its config.json may be "
            "anybody's: which code runs here and which servers are asked is not taken from there"
        )
    return config


def _as_options(settings: Mapping[str, Any]) -> str:
    """Settings as options of the command line, each after a space."""
    options = [(_OPTIONS[key], *([value] if isinstance(value, str) else value)) for key, value in settings.items()]
    return "".join(f" {on_one_line(shlex.join(option))}" for option in options)


def _saved_config(out: Path) -> dict[str, Any] | None:
    path = out / "config.json"
    try:
        saved = parse_json(read_log_file(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    if not isinstance(saved, dict):
        raise ConfigError(f"{path} must hold the config of a run (an object); got {type(saved).__name__}")
    return saved


def _differences(begun: Mapping[str, Any], config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys whose values differ."""
    for key in dict.fromkeys([*begun, *config]):
        old, new = begun.get(key), config.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}"


def _print_results(results: Sequence[EpisodeResult], out: Path) -> None:
    """Print a row for each episode, or for each task if there were several attempts."""
    if any(result.attempt for result in results):
        groups = groupby(results, key=lambda result: result.instance_id)
        numbers = ("attempts", "mean reward", "best", "void", "steps")
        table(("task", *numbers, "stop"), [_task_row(name, list(group)) for name, group in groups], right=numbers)
        for reason, count in Counter(result.void for result in results if result.void).most_common(3):
            print(for_terminal(f"void {count}x: {reason:.4000}"))
    else:
        names = ("task", "reward", "stop", "steps", "seconds", "note")
        table(names, map(_episode_row, results), right=("reward", "steps", "seconds"))
    print_totals([result.reward for result in results], "logs", out)


def _episode_row(result: EpisodeResult) -> tuple[str, ...]:
    note = result.void or str(result.parts.get("reason", ""))
    if note and not result.void and not result.diff:
        note += "; nothing was changed"
    seconds = f"{result.seconds:.1f}"
    return (result.instance_id, number(result.reward, "void"), result.stop or "-", str(result.steps), seconds, note)


def _task_row(name: str, group: Sequence[EpisodeResult]) -> tuple[str, ...]:
    rewards = [result.reward for result in group if result.reward is not None]
    stops = Counter(result.stop or "void" for result in group)
    return (
        name,
        str(len(group)),
        number(mean(rewards) if rewards else None),
        number(max(rewards, default=None)),
        str(len(group) - len(rewards)),
        f"{mean(result.steps for result in group):.1f}",
        ", ".join(f"{count} {stop}" for stop, count in stops.most_common()),
    )
