"""The old name of `nano_codex_env.chat_templates`, kept for scripts that import it."""

from nano_codex_env import chat_templates as _new
from nano_codex_env.chat_templates import *  # noqa: F403 (the same public names)

__all__ = _new.__all__
