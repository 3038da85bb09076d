"""Chat templates without transformers: read from files, rendered as transformers renders them."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from nano_codex_env.errors import ConfigError
from nano_codex_env.messages import Message, ToolSchema
from nano_codex_env.untrusted import LINE_LIMIT, parse_json, read_file

SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")
"""Special tokens that templates name."""


class Template:
    """A chat template that renders text; it has a tokenizer's two names, so that it can stand in for one."""

    def __init__(self, chat_template: str, special: Mapping[str, str] | None = None) -> None:
        """`special`: the special tokens by name; those that are not given are `<bos_token>` and so on."""
        self.chat_template = chat_template
        self._special = {name: f"<{name}>" for name in SPECIAL} | dict(special or {})

    def apply_chat_template(
        self,
        conversation: Sequence[Message],
        tools: Sequence[ToolSchema] | None = None,
        *,
        add_generation_prompt: bool = False,
        tokenize: bool = False,
        **kwargs: Any,
    ) -> str:
        """The conversation as text; other keywords are the template's own.

        Raises:
            ConfigError: ids are asked for, or jinja2 is not installed.
        """
        if tokenize:
            raise ConfigError("a template alone has no vocabulary; give tokenize=False, or use a tokenizer")
        context = {**self._special, **kwargs, "add_generation_prompt": add_generation_prompt, "documents": None}
        text: str = _compiled(self.chat_template).render(messages=conversation, tools=tools, **context)
        return text


def load_templates(path: str | os.PathLike[str]) -> list[tuple[str, Template]]:
    """The templates of a `.jinja` file, a tokenizer's folder or its `tokenizer_config.json`, or all below a folder.

    Raises:
        ConfigError: there is none.
    """
    given = Path(path)
    if given.is_file():
        found = [given]
    else:
        jinja = [file for file in given.rglob("*.jinja") if not (file.parent / "tokenizer_config.json").exists()]
        found = sorted([*given.rglob("tokenizer_config.json"), *jinja])
    loaded = [(_name(file, given), template) for file in found if (template := _read(file)) is not None]
    if not loaded:
        raise ConfigError(
            f"{given} holds no chat template; give a .jinja file, a tokenizer's folder, or a folder of such"
        )
    return loaded


def _name(file: Path, given: Path) -> str:
    """What tells a template from the others: its path below the folder that was given, or its own."""
    short = file.parent if file.name in ("tokenizer_config.json", "chat_template.jinja") else file.with_suffix("")
    inner = short.relative_to(given) if given.is_dir() else Path(short.name)
    parts = [part for part in inner.parts if part not in ("package", "models")]
    return "/".join(parts) or given.resolve().name


def _read(file: Path) -> Template | None:
    """A file's template; None: a tokenizer that has none."""
    try:
        text = _text(file)
        config = parse_json(text) if file.suffix == ".json" else {}
        beside = file.with_name("chat_template.jinja")
        chosen = text if file.suffix != ".json" else config.get("chat_template")
        chosen = _text(beside) if chosen is None and beside.exists() else chosen
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"cannot read a chat template from {file}: {error}") from error
    if isinstance(chosen, list):  # several, each with a name; transformers takes this one where tools are given
        named = {str(each.get("name")): each.get("template") for each in chosen if isinstance(each, dict)}
        chosen = named.get("tool_use") or named.get("default")
    tokens = {name: config.get(name) for name in SPECIAL}
    special = {name: token.get("content") if isinstance(token, dict) else token for name, token in tokens.items()}
    if chosen and not isinstance(chosen, str):
        raise ConfigError(f"cannot read a chat template from {file}: chat_template is a {type(chosen).__name__}")
    usable = {name: token for name, token in special.items() if token and isinstance(token, str)}
    return Template(chosen, usable) if chosen else None


def _text(file: Path) -> str:
    """A template's file, read as text is: any line ending is a line feed."""
    return read_file(file, LINE_LIMIT).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


@cache
def _compiled(text: str) -> Any:
    """The template in transformers' dialect of Jinja, in a sandbox: it is somebody else's program."""
    try:
        import jinja2.ext
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise ConfigError("chat templates need jinja2: pip install 'nano-codex-env[templates]'") from error

    class Generation(jinja2.ext.Extension):
        """`{% generation %}` marks what an assistant wrote; here it only lets it through."""

        tags = {"generation"}  # noqa: RUF012 (jinja2's own interface)

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.Scope(body, lineno=line)

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, **layout: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **layout)

    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = refuse
    made.globals["strftime_now"] = lambda layout: datetime.datetime.now().strftime(layout)
    return made.from_string(text)
