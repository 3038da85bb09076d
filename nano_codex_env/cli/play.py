"""`nano-codex run`: play tasks with a policy; `nano-codex replay`: play a log again and compare."""

from __future__ import annotations

import argparse
import difflib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nano_codex_env.config import POLICIES, REWARDS, read_config
from nano_codex_env.env import NanoCodexEnv
from nano_codex_env.errors import ConfigError
from nano_codex_env.policy import Policy
from nano_codex_env.replay import Difference, replay
from nano_codex_env.rollout import Result, rollout
from nano_codex_env.task import Task
from nano_codex_env.tasks import load_tasks

_SHOWN = 40


def add_commands(commands: Any) -> None:
    """Add `run` and `replay`."""
    run = commands.add_parser("run", help="play tasks with a policy and score them")
    run.add_argument("--config", type=Path, metavar="FILE", help="a TOML file such as configs/bundled.toml")
    run.add_argument(
        "--set", action="append", default=[], dest="settings", metavar="KEY=VALUE", help="e.g. env.max_steps=30"
    )
    run.add_argument("--tasks", nargs="+", metavar="SOURCE", help="bundled (the default), files, or a dataset")
    run.add_argument("--policy", choices=sorted(POLICIES), help="who plays (default: oracle)")
    run.add_argument("--out", type=Path, metavar="DIR", help="logs and results.jsonl (default: .nano-codex/run-...)")
    run.add_argument("--json", action="store_true", help="print the results as JSON, and nothing else on stdout")
    run.set_defaults(command=_run)
    again = commands.add_parser("replay", help="re-execute a logged episode and compare byte for byte")
    again.add_argument("folder", nargs="+", type=Path, help="an episode's folder, or a run's")
    again.set_defaults(command=_replay)


def _run(arguments: argparse.Namespace) -> int:
    from nano_codex_env.cli.show import progress

    given = {key: value for key in ("tasks", "policy") if (value := getattr(arguments, key)) is not None}
    config = read_config(arguments.config, arguments.settings, given)
    tasks = load_all(config["tasks"])
    out = arguments.out or Path(".nano-codex") / f"run-{time.strftime('%Y%m%d-%H%M%S')}"
    policy = POLICIES[config["policy"]](tasks)
    with NanoCodexEnv(tasks, REWARDS[config["reward"]](), log_dir=out, **config["env"]) as env:
        results = list(progress(_play(env, policy, tasks, out, config), f"{config['policy']} plays", len(tasks)))
    if arguments.json:
        print(json.dumps({"out": str(out), "results": [result.row() for result in results]}))
    else:
        _report(results, out)
    return 1 if any(result.void for result in results) else 0


def load_all(sources: Sequence[str]) -> list[Task]:
    """The tasks of all sources together.

    Raises:
        ConfigError: two have one name.
    """
    tasks = [task for source in sources for task in load_tasks(source)]
    names = [task.instance_id for task in tasks]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError(f"{min(twice)} is in more than one of {', '.join(sources)}; give each task once")
    return tasks


def _play(
    env: NanoCodexEnv, policy: Policy, tasks: Sequence[Task], out: Path, config: Mapping[str, Any]
) -> Iterator[Result]:
    """Play each task; a finished episode is on disk before the next begins."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="ascii")
    except OSError as error:
        raise ConfigError(f"cannot write in {out}: {error}; give another --out") from error
    with (out / "results.jsonl").open("a", encoding="ascii") as file:
        for task in tasks:
            result = rollout(env, policy, task=task)
            file.write(json.dumps(result.row()) + "\n")
            file.flush()
            yield result


def _report(results: Sequence[Result], out: Path) -> None:
    from nano_codex_env.cli.show import table

    rows = [
        (
            result.instance_id,
            "void" if result.reward is None else f"{result.reward:.2f}",
            result.stop or "-",
            str(result.steps),
            f"{result.seconds:.1f}",
            result.void or str(result.parts.get("reason", "")),
        )
        for result in results
    ]
    table("", ("task", "reward", "stop", "steps", "seconds", "note"), rows, right=("reward", "steps", "seconds"))
    rewards = [result.reward for result in results if result.reward is not None]
    mean = f"{sum(rewards) / len(rewards):.3f}" if rewards else "none"
    print(f"{len(results)} episodes, mean reward {mean}, {len(results) - len(rewards)} void; logs in {out}")


def _replay(arguments: argparse.Namespace) -> int:
    different = False
    for folder in _episodes(arguments.folder):
        found = replay(folder)
        different |= not found.identical
        print(f"{folder}: {found.messages} messages, " + ("identical" if found.identical else "DIFFERENT"))
        for difference in found.differences:
            _show(difference)
    return int(different)


def _episodes(folders: Sequence[Path]) -> Iterator[Path]:
    """Each folder, or the episodes in it where it is a run's."""
    for folder in folders:
        below = sorted(path.parent for path in folder.glob("*/messages.jsonl"))
        yield from below if below and not (folder / "messages.jsonl").exists() else [folder]


def _show(difference: Difference) -> None:
    pair = (difference.logged.splitlines(), difference.replayed.splitlines())
    lines = list(difflib.unified_diff(*pair, "logged", "replayed", lineterm=""))
    print(f"  {difference.where}:")
    for line in lines[:_SHOWN]:
        print(f"    {line}")
    if len(lines) > _SHOWN:
        print(f"    ... {len(lines) - _SHOWN} more lines")
