"""Tasks and where they are loaded from."""

from nano_codex_env.tasks.load import Rows, check_source, load_tasks, save_tasks

__all__ = ["Rows", "check_source", "load_tasks", "save_tasks"]
