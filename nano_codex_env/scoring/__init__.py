"""Scoring: run the tests in a box and judge the reports from outside."""

from nano_codex_env.scoring.canary import TAMPERED
from nano_codex_env.scoring.edits import is_test, keep_source
from nano_codex_env.scoring.run import Scorer
from nano_codex_env.scoring.verdict import FAILED, MISSING, PASSED, SKIPPED, STOPPED, Run

__all__ = [
    "FAILED",
    "MISSING",
    "PASSED",
    "SKIPPED",
    "STOPPED",
    "TAMPERED",
    "Run",
    "Scorer",
    "is_test",
    "keep_source",
]
