"""The code blocks and the generated parts of README.md and docs/.

    python -m tests.docs --write      # insert help texts and the README's transcript anew
    python -m tests.docs PAGE         # run the code blocks of one page, in the current folder
    python -m tests.docs PAGE --fast  # leave out those marked slow

A comment directly above a block says what the block needs or what it is:

    <!-- not run: needs a GPU -->     only checked: it compiles, its names, options and keys exist
    <!-- slow: runs tests -->         checked in the fast suite, run in the slow one
    <!-- file: my_reward.py -->       written to this file, for the blocks that follow
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import inspect
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

from nano_codex_env import NanoCodexEnv, Scripted, from_function, load_tasks
from nano_codex_env.cli import main as nano_codex
from nano_codex_env.config import read_config
from nano_codex_env.diff import split
from nano_codex_env.messages import assistant, tool_call

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LANGUAGES = ("bash", "python", "toml", "yaml", "text", "diff", "json")
"""What a block may be; the last three are output and are not run."""
OPTIONAL = ("trl", "verl", "peft", "transformers", "torch", "wandb")
"""Packages that the checks look into only where they are installed."""

_BLOCK = re.compile(r"(?:<!-- (not run|slow|file): (.+?) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_GENERATED = re.compile(r"(<!-- generated: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced code block of a page."""

    page: Path
    line: int
    """The line of its first line of code."""
    language: str
    text: str
    reason: str = ""
    """Why it is not run; empty: it is."""
    slow: str = ""
    """Why only the slow suite runs it; empty: every suite does."""
    file: str = ""
    """The file that it is written to."""

    @property
    def runs(self) -> bool:
        """Whether some suite runs it."""
        return not self.reason and self.language in ("bash", "python", "toml")

    @property
    def where(self) -> str:
        """Page and line, for messages."""
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The code blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        kind, about, language, code = match.groups()
        line = text.count("\n", 0, match.start(4)) + 1
        notes = {{"not run": "reason"}.get(kind, kind): about} if kind else {}
        found.append(Block(page, line, language, code, **notes))
    return found


def run(page: Path, fast: bool = False) -> None:
    """Run a page's blocks in order in the current folder; Python blocks share their names."""
    names: dict[str, Any] = {"__name__": "__main__"}
    sys.path.insert(0, os.getcwd())
    for block in blocks(page):
        if block.file:
            Path(block.file).write_text(block.text, encoding="utf-8")
        if block.reason or (fast and block.slow) or (block.file and block.language != "toml"):
            continue
        if block.language == "python":
            code = "\n" * (block.line - 1) + block.text
            exec(compile(code, str(block.page), "exec"), names)
        elif block.language == "bash":
            subprocess.run(["bash", "-euo", "pipefail", "-c", block.text], check=True)
        elif block.language == "toml":
            path = Path(block.file or "config.toml")
            path.write_text(block.text, encoding="utf-8")
            read_config(path)


def check(block: Block) -> None:
    """What can be said of a block without running it: syntax, names, keyword arguments, options, keys."""
    if block.language == "python":
        _check_python(block)
    elif block.language == "bash":
        for arguments in _command_lines(block.text):
            parse(arguments)
    elif block.language == "toml":
        tomllib.loads(block.text)
    elif block.language == "yaml":
        _check_yaml(block)


def _check_python(block: Block) -> None:
    tree = ast.parse(block.text, block.where)
    known: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                _import(alias.name)
        elif isinstance(node, ast.ImportFrom) and (module := _import(node.module or "")):
            for alias in node.names:
                if not hasattr(module, alias.name):
                    raise AssertionError(f"{block.where}: {node.module} has no {alias.name}")
                known[alias.asname or alias.name] = getattr(module, alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in known:
            parameters = inspect.signature(known[node.func.id]).parameters
            if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
                continue
            unknown = {keyword.arg for keyword in node.keywords if keyword.arg} - set(parameters)
            if unknown:
                raise AssertionError(f"{block.where}: {node.func.id} takes no {', '.join(sorted(unknown))}")


def _import(name: str) -> Any:
    """The module, or None where it belongs to an optional package that is not installed."""
    if name.partition(".")[0] in OPTIONAL and find_spec(name.partition(".")[0]) is None:
        return None
    return importlib.import_module(name)


def _check_yaml(block: Block) -> None:
    """An agent loop for verl may have the keys that the shipped one has; other YAML must be readable."""
    yaml: Any = importlib.import_module("yaml")  # a dependency of datasets
    value = yaml.safe_load(block.text)
    if isinstance(value, list) and "_target_" in value[0]:
        shipped = yaml.safe_load((ROOT / "configs" / "verl_agent_loop.yaml").read_text(encoding="utf-8"))
        unknown = value[0].keys() - shipped[0].keys()
        if unknown:
            raise AssertionError(f"{block.where}: the agent loop has no {', '.join(sorted(unknown))}")


def _command_lines(script: str) -> Iterator[list[str]]:
    """The arguments of every call of `nano-codex` in a script."""
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            stop = next((n for n, word in enumerate(words) if word in ("&&", "||", "|", ";", ">")), len(words))
            command, words = words[:stop], words[stop + 1 :]
            if command and os.path.basename(command[0]) == "nano-codex":
                yield command[1:]


class _Parsed(Exception):
    """The command line is understood."""


def parse(arguments: Sequence[str]) -> None:
    """Let the real parser read a command line, and run nothing.

    Raises:
        SystemExit: it is refused; the parser has printed why.
    """
    original = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, *given: Any) -> None:
        original(parser, *given)
        raise _Parsed

    with patch.object(argparse.ArgumentParser, "parse_args", stop), contextlib.suppress(_Parsed):
        nano_codex(list(arguments))


def help_text(*command: str) -> str:
    """What `nano-codex COMMAND --help` prints, in lines of at most 100 characters."""
    out = io.StringIO()
    with (
        patch.dict(os.environ, COLUMNS="102", NO_COLOR="1"),
        contextlib.redirect_stdout(out),
        contextlib.suppress(SystemExit),
    ):
        nano_codex([*command, "--help"])
    return out.getvalue()


def _commands(*command: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every command below `command`, with its help."""
    text = help_text(*command)
    if command:
        yield command, text
    if " COMMAND ..." in text:
        for name in re.findall(r"^    ([a-z][a-z-]*)", text, re.MULTILINE):
            yield from _commands(*command, name)


def _all_help() -> str:
    return "".join(f"### nano-codex {' '.join(names)}\n\n```text\n{text}```\n\n" for names, text in _commands())


def _transcript() -> str:
    """The five messages of a short episode, as JSON lines with long texts cut."""
    task = next(task for task in load_tasks("bundled") if task.instance_id == "pocket-distance")
    [part] = split(task.patch)
    before, after = (
        next(line[1:].strip() for line in part.text.split("\n") if re.match(rf"\{sign} ", line)) for sign in "-+"
    )
    call = tool_call("apply_patch", search=before, replace=after, file=part.paths[0])
    policy = Scripted([call, assistant("The sign of dy was wrong.")])
    with contextlib.closing(NanoCodexEnv(task, from_function(lambda *_: 0.0), log_dir=None)) as env:
        messages, info = env.reset()
        over = False
        while not over:
            messages, _, over, _, _ = env.step(policy(messages, info["tools"]).message)
    lines = [json.dumps(_cut(message), ensure_ascii=False) for message in messages]
    return "```json\n" + "\n".join(lines) + "\n```\n"


def _cut(message: dict[str, Any]) -> dict[str, Any]:
    content = message["content"]
    return message | {"content": content if len(content) < 100 else f"{content[:80]} [...]"}


SECTIONS = {"help": _all_help, "transcript": _transcript}
"""Generated parts by name; `figures`, which the benchmark writes, are left as they are."""


def generated(page: Path) -> str:
    """The page with its generated parts made anew."""
    return _GENERATED.sub(
        lambda match: match[1] + (SECTIONS[match[2]]() if match[2] in SECTIONS else match[3]) + match[4],
        page.read_text(encoding="utf-8"),
    )


def plain(text: str) -> str:
    """A help text as all versions of Python print it: they differ in line breaks and in repeated metavars."""
    return re.sub(r"(--?[\w-]+) [A-Z_]+(?=, --)", r"\1", " ".join(text.split()))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs")
    parser.add_argument("page", nargs="?", type=Path, help="run the code blocks of this page")
    parser.add_argument("--write", action="store_true", help="insert what is generated")
    parser.add_argument("--fast", action="store_true", help="leave out the blocks marked slow")
    arguments = parser.parse_args()
    if arguments.page:
        run(arguments.page, arguments.fast)
    for page in PAGES if arguments.write else ():
        page.write_text(generated(page), encoding="utf-8")


if __name__ == "__main__":
    main()
