"""Prepare tasks ahead, validate them, and make new ones."""

from nano_codex_env.curation.prepare import Check, prepare, validate
from nano_codex_env.curation.release_pairs import release_pair

__all__ = ["Check", "prepare", "release_pair", "validate"]
