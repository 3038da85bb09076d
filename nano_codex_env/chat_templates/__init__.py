"""Chat templates: transcripts as each of them wants its messages, and where one rewrites what was said before.

A tokenizer is here whatever has `chat_template` and `apply_chat_template`: a transformers tokenizer or processor, or a
`Template`, which needs no more than jinja2. What a template needs is found by trying it, never by a model's name.
"""

from nano_codex_env.chat_templates.forms import Form
from nano_codex_env.chat_templates.jinja import Template, load_templates
from nano_codex_env.chat_templates.matrix import Row, check_template
from nano_codex_env.chat_templates.prefix import Turn, check_prefix
from nano_codex_env.chat_templates.probe import form_of, to_template_messages

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
