"""`nano-codex agent`: solve an issue in your own checkout."""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path
from typing import Any

from nano_codex_env.agent import Agent
from nano_codex_env.cli.arguments import add_command
from nano_codex_env.records.log_format import LOG_DIR
from nano_codex_env.tools import budget
from nano_codex_env.untrusted import for_terminal

_OPTIONS: dict[str, tuple[type, str]] = {
    "temperature": (float, "sampling temperature"),
    "top_p": (float, "nucleus sampling"),
    "min_p": (float, "smallest probability of a token, relative to the likeliest one"),
    "top_k": (int, "sample from the K likeliest tokens"),
    "token_limit": (int, "tokens of the whole conversation"),
    "tool_limit": (int, "tool calls"),
    "time_limit": (float, "seconds"),
    "response_limit": (int, "tokens of one answer of the model"),
    "system_prompt": (str, "the first message, in place of the default one"),
}
"""Arguments of `Agent` that are options of the command: their types and help."""


def add_commands(commands: Any) -> None:
    """Add `agent`."""
    parser = add_command(commands, "agent", _agent)
    parser.add_argument("issue", help="text of the issue; - reads it from stdin")
    parser.add_argument("--path", type=Path, default=Path(), metavar="DIR", help="the checkout (default: here)")
    parser.add_argument("--model", required=True, help="e.g. hosted_vllm/qwen3-8b, openai/gpt-4.1, openrouter/...")
    parser.add_argument("--api-base", "--api_base", metavar="URL", help="e.g. http://localhost:8000/v1")
    for name, (kind, words) in _OPTIONS.items():
        flags = dict.fromkeys((f"--{name.replace('_', '-')}", f"--{name}"))
        default = inspect.signature(Agent).parameters[name].default
        words += "" if default is None else f" (default: {default})"
        parser.add_argument(*flags, type=kind, dest=name, metavar="TEXT" if kind is str else "N", help=words)
    parser.add_argument("--thinking", action="store_true", help="let the model reason before it answers")
    parser.add_argument("--warnings", action="store_true", help="warn the model when its budget runs low")
    parser.add_argument("--verbose", action="store_true", help="print each message as it comes")
    parser.add_argument("--log-dir", type=Path, default=LOG_DIR, metavar="DIR", help=f"for logs (default: {LOG_DIR})")
    parser.add_argument("--no-log", dest="log", action="store_false", help="write no log")


def _agent(arguments: argparse.Namespace) -> int:
    """Solve an issue in your own checkout with a model behind an endpoint.

    Example: nano-codex agent "sort() ignores case" --model openai/gpt-4.1-mini --path ~/src/project
    """
    given = {name: value for name in _OPTIONS if (value := getattr(arguments, name)) is not None}
    agent = Agent(
        arguments.model,
        arguments.api_base,
        thinking=arguments.thinking,
        verbose=arguments.verbose,
        log=arguments.log,
        log_dir=arguments.log_dir,
        notices=(budget,) if arguments.warnings else (),
        **given,
    )
    text = arguments.issue
    issue = sys.stdin.buffer.read().decode("utf-8", "surrogateescape") if text == "-" else text
    diff = agent.run(issue, arguments.path)
    if sys.stdout.isatty():
        sys.stdout.write(for_terminal(diff))
    else:
        sys.stdout.buffer.write(diff.encode("utf-8", "surrogateescape"))
    where = f"; log in {agent.folder}" if agent.folder else ""
    tokens = "unknown" if agent.token_usage is None else str(agent.token_usage)
    print(f"{agent.stop}: {agent.tool_usage} tool calls, tokens {tokens}{where}", file=sys.stderr)
    return 0
