"""Tasks and where they are loaded from."""

from nano_codex_env.tasks.load import Rows, load_tasks, save_tasks

__all__ = ["Rows", "load_tasks", "save_tasks"]
