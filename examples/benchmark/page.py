"""Write the figures of a benchmark into a Markdown page, between two comments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PLACE = re.compile(r"(<!-- generated: figures -->\n).*?(<!-- end -->)", re.DOTALL)


def insert(page: Path, rows: Sequence[Mapping[str, Any]], machine: Mapping[str, Any], *, quick: bool) -> None:
    """Replace the figures of `page` by `rows`; the rest of the page stays.

    Raises:
        ValueError: the page has no place for figures.
    """
    text, count = _PLACE.subn(
        lambda match: f"{match[1]}{_table(rows, machine, quick)}{match[2]}", page.read_text(encoding="utf-8")
    )
    if not count:
        raise ValueError(f"{page} has no lines `<!-- generated: figures -->` and `<!-- end -->`")
    page.write_text(text, encoding="utf-8")


def _table(rows: Sequence[Mapping[str, Any]], machine: Mapping[str, Any], quick: bool) -> str:
    lines = [
        f"Measured by `python -m examples.benchmark{' --quick' if quick else ''}`: Python {machine['python']}, "
        f"Linux {machine['kernel'].partition('-')[0]}, {machine['processors']} processors, "
        f"load {machine['load'][0]:.1f}, {'as root' if machine['root'] else 'as an ordinary user'}.",
        "",
        "| section | what | ours (p10) | against | its p10 | ratio of p10s |",
        "|---|---|---:|---|---:|---:|",
    ]
    for row in rows:
        base = row["base"]
        ours = [row["section"], row["what"], _figure(row["ours"], row["unit"])]
        theirs = [base["name"], _figure(base, row["unit"]), f"{row['ratio']:.2g}"] if base else ["", "", ""]
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in ours + theirs) + " |")
    return "\n".join(lines) + "\n"


def _figure(summary: Mapping[str, Any], unit: str) -> str:
    value = summary["p10"]
    return f"{value:{'.0f' if value >= 100 else '.2g'}} {unit}".strip()
