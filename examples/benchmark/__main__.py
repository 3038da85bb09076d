"""Compare the cost of a step, a reset, a branch or 256 episodes with a baseline measured in the same run.

    python -m examples.benchmark                       # all sections except grpo and soak
    python -m examples.benchmark shell reset           # some sections
    python -m examples.benchmark --json ratios.json    # also write all figures to a file; --resume continues it
    python -m examples.benchmark --page docs/performance.md   # also write the table into a Markdown page
    python -m examples.benchmark grpo                  # a GRPO step of 32 x 8 episodes; ten minutes
    python -m examples.benchmark soak                  # a soak test: 2,000 episodes, and what they leave behind

Run it from the root of a clone. Other load on the machine disturbs medians more than p10s, and both more than their
ratios. Nothing fails because it is slow.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from examples.benchmark import episodes, page, scaling, scores, steps, trees
from examples.benchmark.measure import Row, Summary
from examples.benchmark.setting import Setting

SECTIONS: dict[str, Callable[[Setting], Iterator[Row]]] = {
    "shell": steps.shell,
    "trainer": steps.trainer,
    "grep": steps.grep,
    "patch": steps.patch,
    "many": episodes.many,
    "reset": trees.reset,
    "diff": trees.diff,
    "tests": scores.tests,
    "strict": scores.strict,
    "start": scores.start,
    "turn": steps.turn,
    "log": steps.log,
    "step": steps.step,
    "branch": trees.branch,
    "tree": trees.tree,
    "grpo": scaling.grpo,
    "soak": episodes.soak,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the sections, print the table and write the file."""
    parser = argparse.ArgumentParser(prog="python -m examples.benchmark", description=__doc__.partition("\n")[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"one of {', '.join(SECTIONS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE after each section")
    parser.add_argument("--resume", action="store_true", help="skip the sections that are in FILE")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the table into a Markdown page too")
    parser.add_argument("--quick", action="store_true", help="few rounds and small repositories, to see that it runs")
    parser.add_argument("--repo", type=Path, help="repository for shell, trainer, grep and tree")
    parser.add_argument(
        "--ballast",
        type=float,
        default=4.0,
        metavar="GIB",
        help="memory of the large parent process in the section trainer",
    )
    parser.add_argument("--episodes", type=int, default=2000, help="episodes of the section soak")
    parser.add_argument(
        "--at-once", type=int, nargs="+", default=[], metavar="N", help="numbers of episodes in the section many"
    )
    parser.add_argument(
        "--work",
        type=Path,
        help="folder that keeps the generated repositories and the cache (default: a temporary one)",
    )
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"no section is called {unknown[0]!r}; there are: {', '.join(SECTIONS)}")
    if arguments.resume and not arguments.json:
        parser.error("--resume goes on with a file; name it with --json")
    names = arguments.sections or [name for name in SECTIONS if name not in ("grpo", "soak")]
    with tempfile.TemporaryDirectory(prefix="nano-codex-benchmark-") as folder:
        work = (arguments.work or Path(folder)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        if not arguments.work:
            os.environ["NANO_CODEX_CACHE"] = str(work / "cache")
        setting = Setting(
            work,
            arguments.quick,
            arguments.repo.absolute() if arguments.repo else None,
            0.25 if arguments.quick else arguments.ballast,
            arguments.episodes,
            tuple(arguments.at_once),
        )
        machine = _machine()
        rows = _measure(names, setting, arguments.json, resume=arguments.resume)
        show(rows)
        if arguments.page:
            page.insert(arguments.page, rows, machine, quick=arguments.quick)
    return 0


def _measure(names: Sequence[str], setting: Setting, file: Path | None, *, resume: bool) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(file.read_text())["rows"] if resume and file and file.exists() else []
    done = {row["section"] for row in rows}
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[last]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=len(names), last="")
        for name in names:
            bar.update(task, description=name)
            new: list[dict[str, Any]] = []
            for row in () if name in done else SECTIONS[name](setting):
                new.append(row.as_json())
                bar.update(task, last=f"{row.what}: {_figures(new[-1])[2]}")
            rows += new
            if file:
                file.write_text(json.dumps({"machine": _machine(), "rows": rows}, indent=1) + "\n")
            bar.advance(task)
    return rows


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "processors": len(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
        "root": os.geteuid() == 0,
    }


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print the table."""
    console = Console()
    table = Table()
    for name, right in (("goal", 1), ("what", 0), ("ours: p10, median", 1), ("against", 0), ("its p10, median", 1)):
        table.add_column(name, justify="right" if right else "left")
    for name in ("ratio of p10s", "of medians", "spread", "wanted", ""):
        table.add_column(name, justify="right")
    for row in rows:
        ours, base, ratio, median, spread = _figures(row)
        against = row["base"]["name"] if row["base"] else row["note"]
        met = {True: "yes", False: "no", None: ""}[row["met"]]
        what = f"{row['section']}: {row['what']}"
        table.add_row(row["goal"], what, ours, against, base, ratio, median, spread, row["wanted"], met)
    (console if console.is_terminal else Console(width=200)).print(table)


def _figures(row: dict[str, Any]) -> tuple[str, str, str, str, str]:
    ours, base = _pair(row["ours"], row["unit"]), _pair(row["base"], row["unit"])
    if row["ratio"] is None:
        return ours, base, "", "", ""
    low, high = row["spread"]
    return ours, base, f"{row['ratio']:.3g}x", f"{row['ratio_median']:.3g}x", f"{low:.3g}-{high:.3g}"


def _pair(summary: dict[str, Any] | Summary | None, unit: str) -> str:
    if summary is None:
        return ""
    values = summary if isinstance(summary, dict) else vars(summary)
    return f"{values['p10']:.3g}, {values['median']:.3g} {unit}"


if __name__ == "__main__":
    sys.exit(main())
