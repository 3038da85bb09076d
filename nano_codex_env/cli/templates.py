"""`nano-codex templates`: how chat templates render our transcripts."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from nano_codex_env.chat_templates import check_template, load_templates
from nano_codex_env.cli.arguments import add_command, add_json
from nano_codex_env.cli.terminal import progress, table
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
    parser = add_command(commands, "templates", _templates)
    parser.add_argument(
        "sources",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="a .jinja file, a tokenizer's folder, or a folder of these",
    )
    add_json(parser, "rows")


def _templates(arguments: argparse.Namespace) -> int:
    """Check how chat templates render transcripts of episodes, and print a row for each template.

    Example: nano-codex templates ~/models/Qwen3-8B
    """
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
    table(COLUMNS, cells)
    for row in rows:
        if row.refusal:
            print(for_terminal(f"{row.name}: {row.refusal}"))
    count = sum(row.for_tools for row in rows)
    print(f"{len(rows)} templates, {count} for tools, {count - len(failed)} of these render our transcripts")
    return 1 if failed else 0
