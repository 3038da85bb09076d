"""Repositories on disk: mirrors, base trees, and the files that an episode changes."""

from nano_codex_env.repo.checkout import apply_to_checkout
from nano_codex_env.repo.commit_range import resolve_range
from nano_codex_env.repo.files import MAX_FILE
from nano_codex_env.repo.workspace import Workspace

__all__ = ["MAX_FILE", "Workspace", "apply_to_checkout", "resolve_range"]
