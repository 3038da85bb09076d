"""The policy's tools: by default `shell` and `apply_patch`."""

from nano_codex_env.tools.apply_patch import apply_patch
from nano_codex_env.tools.base import Tool, Toolbox, ToolContext, ToolResult
from nano_codex_env.tools.notices import Notice, State, budget
from nano_codex_env.tools.shell import shell

__all__ = [
    "Notice",
    "State",
    "Tool",
    "ToolContext",
    "ToolResult",
    "Toolbox",
    "apply_patch",
    "budget",
    "default_tools",
    "shell",
]


def default_tools() -> list[Tool]:
    """The tools of an environment that is given none."""
    return [shell(), apply_patch()]
