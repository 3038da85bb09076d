"""Chat templates without transformers: reads them from files and renders them as transformers does."""

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
"""Special tokens that templates use."""


class Template:
    """A chat template that renders text; it has the two names of a tokenizer that templates need."""

    def __init__(self, chat_template: str, special: Mapping[str, str] | None = None) -> None:
        """`special`: special tokens by name; a missing one is `<bos_token>` and so on."""
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
        """Return the conversation as text; other keywords are passed to the template.

        Raises:
            ConfigError: token ids are requested, or jinja2 is not installed.
        """
        if tokenize:
            raise ConfigError("a template alone has no vocabulary; give tokenize=False, or use a tokenizer")
        context = {**self._special, **kwargs, "add_generation_prompt": add_generation_prompt, "documents": None}
        text: str = _compiled(self.chat_template).render(messages=conversation, tools=tools, **context)
        return text


def load_templates(path: str | os.PathLike[str]) -> list[tuple[str, Template]]:
    """Load templates: a `.jinja` file, a tokenizer's folder or its `tokenizer_config.json`, or all below a folder.

    Raises:
        ConfigError: there is none.
    """
    given = Path(path)
    if given.is_file():
        found = [given]
    else:
        jinja = [file for file in given.rglob("*.jinja") if not (file.parent / "tokenizer_config.json").exists()]
        found = sorted([*given.rglob("tokenizer_config.json"), *jinja])
    loaded = []
    for file in found:
        try:
            template = _load(file)
        except (OSError, ValueError, AttributeError) as error:
            raise ConfigError(f"cannot read a chat template from {file}: {error}") from error
        if template is not None:
            loaded.append((_name(file, given), template))
    if not loaded:
        raise ConfigError(
            f"{given} holds no chat template; give a .jinja file, a tokenizer's folder, or a folder of these"
        )
    return loaded


def _name(file: Path, given: Path) -> str:
    """Return what distinguishes a template from the others: its path below the given folder, or its own name."""
    short = file.parent if file.name in ("tokenizer_config.json", "chat_template.jinja") else file.with_suffix("")
    inner = short.relative_to(given) if given.is_dir() else Path(short.name)
    parts = [part for part in inner.parts if part not in ("package", "models")]
    return "/".join(parts) or given.resolve().name


def _load(file: Path) -> Template | None:
    """Load a file's template; None: a tokenizer without one."""
    text = _text(file)
    if file.suffix != ".json":
        return Template(text) if text else None
    config = parse_json(text)
    chosen, own_file = config.get("chat_template"), file.with_name("chat_template.jinja")
    if chosen is None and own_file.exists():
        chosen = _text(own_file)
    if isinstance(chosen, list):  # several named templates: transformers takes `tool_use` if tools are given
        named = {str(each.get("name")): each.get("template") for each in chosen if isinstance(each, dict)}
        chosen = named.get("tool_use") or named.get("default")
    if chosen and not isinstance(chosen, str):
        raise ValueError(f"chat_template is a {type(chosen).__name__}")
    tokens = {name: config.get(name) for name in SPECIAL}
    special = {name: token.get("content") if isinstance(token, dict) else token for name, token in tokens.items()}
    usable = {name: token for name, token in special.items() if token and isinstance(token, str)}
    return Template(chosen, usable) if chosen else None


def _text(file: Path) -> str:
    """Read a template with universal newlines, as transformers does."""
    return read_file(file, LINE_LIMIT).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


@cache
def _compiled(text: str) -> Any:
    """Compile a template in transformers' dialect of Jinja, in a sandbox, since it is somebody else's program."""
    try:
        import jinja2.ext
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise ConfigError("chat templates need jinja2: pip install 'nano-codex-env[templates]'") from error

    class Generation(jinja2.ext.Extension):
        """`{% generation %}` marks what the assistant wrote; it is rendered unchanged."""

        tags = {"generation"}  # noqa: RUF012 (jinja2's own interface)

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.Scope(body, lineno=line)

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, **layout: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **layout)

    extensions = [Generation, jinja2.ext.loopcontrols]
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda layout: datetime.datetime.now().strftime(layout)
    return environment.from_string(text)
