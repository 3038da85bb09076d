"""The old name of `nano_codex_env.chat_templates`, which stays for scripts that import it."""

from nano_codex_env.chat_templates import (
    Form,
    Row,
    Template,
    Turn,
    check_prefix,
    check_template,
    form_of,
    load_templates,
    to_template_messages,
)

__all__ = [
    "Form",
    "Row",
    "Template",
    "Turn",
    "check_prefix",
    "check_template",
    "form_of",
    "load_templates",
    "to_template_messages",
]
