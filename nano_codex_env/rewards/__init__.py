"""Rewards: what a patch is worth."""

from nano_codex_env.rewards.base import Reward, Score, from_function, needs_tests, weighted
from nano_codex_env.rewards.resolved import Resolved
from nano_codex_env.rewards.similarity import DiffSimilarity

__all__ = ["DiffSimilarity", "Resolved", "Reward", "Score", "from_function", "needs_tests", "weighted"]
