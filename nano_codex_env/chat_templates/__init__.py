"""Chat templates: converts transcripts to what a template accepts, and finds turns that a template rewrites later.

A tokenizer is any object with `chat_template` and `apply_chat_template`: a transformers tokenizer or processor, or a
`Template`, which needs only jinja2. What a template accepts is found by trying it, never by a model's name.
"""

from nano_codex_env.chat_templates.forms import Form, form_of, to_template_messages
from nano_codex_env.chat_templates.jinja import Template, load_templates
from nano_codex_env.chat_templates.prefix import Turn, check_prefix
from nano_codex_env.chat_templates.survey import Row, check_template

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
