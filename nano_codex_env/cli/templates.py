"""`nano-codex templates`: how chat templates render our transcripts."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from nano_codex_env.chat_templates import check_template, load_templates
from nano_codex_env.errors import ConfigError
from nano_codex_env.untrusted import for_terminal

COLUMNS = (
    "template",
    "tools",
    "calls",
    "changes",
    "reasoning",
    "past kept",
    "without reasoning",
    "after a user message",
)


def add_commands(commands: Any) -> None:
    """Add `templates`."""
    parser = commands.add_parser("templates", help="what chat templates make of our transcripts, a row each")
    parser.add_argument(
        "sources", nargs="+", type=Path, metavar="FOLDER_OR_FILE",
        help="a .jinja file, a tokenizer's folder, or a folder of such",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, and nothing else on stdout")
    parser.set_defaults(command=_templates)


def _templates(arguments: argparse.Namespace) -> int:
    from nano_codex_env.cli.tables import progress, table

    missing = [str(path) for path in arguments.sources if not path.exists()]
    if missing:
        raise ConfigError(f"there is no {', '.join(missing)}")
    loaded = [each for path in arguments.sources for each in load_templates(path)]
    rows = [check_template(*each) for each in progress(loaded, "templates", len(loaded))]
    failed = [row for row in rows if row.for_tools and row.refusal]
    if arguments.json:
        print(json.dumps([{**vars(row), "form": row.form and vars(row.form), "calls": row.calls} for row in rows]))
        return 1 if failed else 0
    cells = []
    for row in rows:
        tools, kept = "yes" if row.declares else "-", (row.with_reasoning, row.without, row.across)
        cells.append((row.name, tools, row.calls, row.changes, row.reasoning, *kept))
    table("", COLUMNS, cells)
    for row in rows:
        if row.refusal:
            print(for_terminal(f"{row.name}: {row.refusal}"))
    count = sum(row.for_tools for row in rows)
    print(f"{len(rows)} templates, {count} for tools, {count - len(failed)} of these render our transcripts")
    return 1 if failed else 0
