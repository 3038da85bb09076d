"""Rewards: what a patch is worth."""

from nano_codex_env.rewards.base import Reward, Score, from_function, needs_tests, weighted
from nano_codex_env.rewards.check import check_reward
from nano_codex_env.rewards.hacks import generic_hacks
from nano_codex_env.rewards.resolved import Resolved
from nano_codex_env.rewards.similarity import DiffSimilarity

__all__ = [
    "DiffSimilarity",
    "Resolved",
    "Reward",
    "Score",
    "check_reward",
    "from_function",
    "generic_hacks",
    "needs_tests",
    "weighted",
]
