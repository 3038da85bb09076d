"""`nano-codex agent`: solve an issue in your own checkout."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nano_codex_env.agent import Agent
from nano_codex_env.cli.arguments import add_command
from nano_codex_env.policies.chat import PROVIDERS, ChatPolicy
from nano_codex_env.records.log_format import LOG_DIR
from nano_codex_env.tools import budget
from nano_codex_env.untrusted import for_terminal


def _number_or_none(text: str) -> int | None:
    return None if text == "none" else int(text)


_number_or_none.__name__ = "number"  # argparse shows it in an error


def _json_object(text: str) -> dict[str, Any]:
    """The object that a JSON text holds."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"it is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'it must be a JSON object, such as {{"seed": 1}}; got {text}')
    return value


_OPTIONS: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "temperature": (float, "N", "sampling temperature"),
    "top_p": (float, "N", "nucleus sampling"),
    "min_p": (float, "N", "smallest probability of a token, relative to the likeliest one"),
    "top_k": (int, "N", "sample from the K likeliest tokens"),
    "token_limit": (_number_or_none, "N", "tokens of the whole conversation, as the server counts them, or none"),
    "tool_limit": (int, "N", "tool calls; a message without one that is answered by a reminder counts too"),
    "time_limit": (float, "SECONDS", "time for the whole run, checked before each tool call"),
    "response_limit": (int, "N", "tokens of one answer of the model; at most half of what --token-limit leaves"),
    "system_prompt": (str, "TEXT", "the first message; the default one lists the tools"),
    "timeout": (float, "SECONDS", "time for one attempt at an answer of the model"),
    "max_retries": (int, "N", "further attempts if the server fails"),
    "extra_body": (_json_object, "JSON", "further fields of each request, such as '{\"seed\": 1}'"),
    "cache_dir": (Path, "DIR", "for clones and checked-out trees; default: see `nano-codex cache ls`"),
}
"""Arguments of `Agent` and `ChatPolicy` that are options of the command: their types, placeholders and help."""

_WITHOUT = {
    **dict.fromkeys(("min_p", "top_k"), "default: the server's"),
    "time_limit": "default: no limit",
}
"""What an option without a default means."""


def add_commands(commands: Any) -> None:
    """Add `agent`."""
    parser = add_command(commands, "agent", _agent)
    parser.add_argument("issue", help="text of the issue; - reads it from stdin")
    parser.add_argument("--path", type=Path, default=Path(), metavar="DIR", help="the checkout (default: here)")
    keys = ", ".join(f"${variable}" for _, variable in PROVIDERS.values())
    text = f"e.g. hosted_vllm/qwen3-8b, openai/gpt-4.1, openrouter/...; its key comes from {keys}"
    parser.add_argument("--model", required=True, help=text)
    text = "the server of the model, e.g. http://localhost:8000/v1 (default: the provider's)"
    parser.add_argument("--api-base", "--api_base", metavar="URL", help=text)
    arguments = {**inspect.signature(ChatPolicy).parameters, **inspect.signature(Agent).parameters}
    for name, (kind, metavar, words) in _OPTIONS.items():
        flags = dict.fromkeys((f"--{name.replace('_', '-')}", f"--{name}"))
        default = arguments[name].default
        note = _WITHOUT.get(name, "") if default is None else f"default: {default}"
        words += f" ({note})" if note else ""
        parser.add_argument(*flags, type=kind, dest=name, metavar=metavar, default=argparse.SUPPRESS, help=words)
    thinking = parser.add_mutually_exclusive_group()
    text = "let the model reason before it answers (default: it is asked not to)"
    thinking.add_argument("--thinking", action="store_true", help=text)
    text = "leave that to the model: send no option about it"
    thinking.add_argument("--thinking-unset", dest="thinking", action="store_const", const=None, help=text)
    parser.add_argument("--warnings", action="store_true", help="warn the model when its budget runs low")
    parser.add_argument("--verbose", action="store_true", help="print each message as it comes")
    parser.add_argument("--log-dir", type=Path, default=LOG_DIR, metavar="DIR", help=f"for logs (default: {LOG_DIR})")
    parser.add_argument("--no-log", dest="log", action="store_false", help="write no log")


def _agent(arguments: argparse.Namespace) -> int:
    """Solve an issue in your own checkout with a model behind an endpoint.

    The checkout must be clean. At the end it is changed by exactly the diff that is printed.

    Example: nano-codex agent "sort() ignores case" --model openai/gpt-4.1-mini --path ~/src/project
    """
    given = {name: value for name, value in vars(arguments).items() if name in _OPTIONS}
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
