"""Tasks and where they are loaded from."""

from nano_codex_env.tasks.datasets import to_task
from nano_codex_env.tasks.load import Skipped, load_tasks, save_tasks
from nano_codex_env.tasks.rows import Rows, check_source

__all__ = ["Rows", "Skipped", "check_source", "load_tasks", "save_tasks", "to_task"]
