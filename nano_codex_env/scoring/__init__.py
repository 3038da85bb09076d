"""Scoring: run the tests in a box, and judge the facts outside of it."""

from nano_codex_env.scoring.facts import FAILED, MISSING, PASSED, SKIPPED, TAMPERED, Control, Round, TestRun
from nano_codex_env.scoring.patch_filter import is_test, keep_source
from nano_codex_env.scoring.protection import protection_of
from nano_codex_env.scoring.run import Scorer
from nano_codex_env.scoring.verdict import verdict

__all__ = [
    "FAILED",
    "MISSING",
    "PASSED",
    "SKIPPED",
    "TAMPERED",
    "Control",
    "Round",
    "Scorer",
    "TestRun",
    "is_test",
    "keep_source",
    "protection_of",
    "verdict",
]
