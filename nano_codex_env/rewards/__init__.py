"""Rewards: they judge a patch and give it a score."""

from nano_codex_env.rewards.base import (
    Reward,
    call_reward,
    checked_score,
    from_function,
    needs_tests,
    once_per_diff,
    require_tests,
    version_of,
    weighted,
)
from nano_codex_env.rewards.check import check_reward
from nano_codex_env.rewards.hacks import generic_hacks
from nano_codex_env.rewards.resolved import Resolved
from nano_codex_env.rewards.similarity import DiffSimilarity
from nano_codex_env.score import Score

__all__ = [
    "DiffSimilarity",
    "Resolved",
    "Reward",
    "Score",
    "call_reward",
    "check_reward",
    "checked_score",
    "from_function",
    "generic_hacks",
    "needs_tests",
    "once_per_diff",
    "require_tests",
    "version_of",
    "weighted",
]
