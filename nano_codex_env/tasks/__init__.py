"""Tasks: where they come from."""

from nano_codex_env.tasks.load import load_tasks, save_tasks

__all__ = ["load_tasks", "save_tasks"]
