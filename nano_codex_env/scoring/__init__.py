"""Scoring: run the tests in a box, and judge the facts outside of it."""

from nano_codex_env.scoring.facts import FAILED, PASSED, TAMPERED, TestRun
from nano_codex_env.scoring.patch_filter import is_test, keep_source
from nano_codex_env.scoring.protection import protection_of
from nano_codex_env.scoring.run import Scorer

__all__ = [
    "FAILED",
    "PASSED",
    "TAMPERED",
    "Scorer",
    "TestRun",
    "is_test",
    "keep_source",
    "protection_of",
]
