"""What a run came to, as a table: an episode a row, or a task a row where there were several attempts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from statistics import mean

from nano_codex_env.records.result import EpisodeResult
from nano_codex_env.untrusted import for_terminal, on_one_line


def report(results: Sequence[EpisodeResult], out: Path) -> None:
    """Print the table, and a line that sums it up."""
    if any(result.attempt for result in results):
        _by_task(results)
    else:
        _by_episode(results)
    rewards = [result.reward for result in results if result.reward is not None]
    average = f"{mean(rewards):.3f}" if rewards else "none"
    if any(result.attempt for result in results):
        for reason, count in Counter(result.void for result in results if result.void).most_common(3):
            print(for_terminal(f"void {count}x: {reason:.4000}"))
    void = len(results) - len(rewards)
    print(on_one_line(f"{len(results)} episodes, mean reward {average}, {void} void; logs in {out}"))


def _reason(result: EpisodeResult) -> str:
    reason = str(result.parts.get("reason", ""))
    return f"{reason}; nothing was changed" if reason and not result.diff else reason


def _by_episode(results: Sequence[EpisodeResult]) -> None:
    from nano_codex_env.cli.tables import table

    rows = [
        (
            result.instance_id,
            "void" if result.reward is None else f"{result.reward:.2f}",
            result.stop or "-",
            str(result.steps),
            f"{result.seconds:.1f}",
            result.void or _reason(result),
        )
        for result in results
    ]
    table("", ("task", "reward", "stop", "steps", "seconds", "note"), rows, right=("reward", "steps", "seconds"))


def _by_task(results: Sequence[EpisodeResult]) -> None:
    from nano_codex_env.cli.tables import table

    rows = [_row(name, list(group)) for name, group in groupby(results, key=lambda result: result.instance_id)]
    columns = ("task", "attempts", "mean reward", "best", "void", "steps", "stop")
    table("", columns, rows, right=columns[1:-1])


def _row(name: str, group: Sequence[EpisodeResult]) -> tuple[str, ...]:
    rewards = [result.reward for result in group if result.reward is not None]
    stops = Counter(result.stop or "void" for result in group)
    return (
        name,
        str(len(group)),
        f"{mean(rewards):.2f}" if rewards else "-",
        f"{max(rewards):.2f}" if rewards else "-",
        str(len(group) - len(rewards)),
        f"{mean(result.steps for result in group):.1f}",
        ", ".join(f"{count} {stop}" for stop, count in stops.most_common()),
    )
