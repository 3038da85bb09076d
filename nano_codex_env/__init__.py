"""A Gymnasium environment for repository repair: reinforcement learning on bugs in git repositories.

Importing registers `NanoCodex-v0` with Gymnasium and does nothing else; public names are imported at first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import gymnasium as _gym
from gymnasium.envs.registration import WrapperSpec as _WrapperSpec

if TYPE_CHECKING:
    from nano_codex_env.agent import Agent
    from nano_codex_env.env import NanoCodexEnv
    from nano_codex_env.policies.base import Policy, Reply
    from nano_codex_env.policies.chat import ChatPolicy
    from nano_codex_env.policies.scripted import Idle, Oracle, Random, Scripted
    from nano_codex_env.records.trajectory import Trajectory
    from nano_codex_env.rewards import DiffSimilarity, Resolved, Reward, Score, from_function, weighted
    from nano_codex_env.runs.rollouts import rollouts
    from nano_codex_env.runs.vectors import make_vec
    from nano_codex_env.tasks import load_tasks, save_tasks
    from nano_codex_env.tasks.task import Task

_NAMES = {
    "agent": ["Agent"],
    "env": ["NanoCodexEnv"],
    "policies.base": ["Policy", "Reply"],
    "policies.chat": ["ChatPolicy"],
    "policies.scripted": ["Idle", "Oracle", "Random", "Scripted"],
    "records.trajectory": ["Trajectory"],
    "rewards": ["DiffSimilarity", "Resolved", "Reward", "Score", "from_function", "weighted"],
    "runs.rollouts": ["rollouts"],
    "runs.vectors": ["make_vec"],
    "tasks": ["load_tasks", "save_tasks"],
    "tasks.task": ["Task"],
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "Agent",
    "ChatPolicy",
    "DiffSimilarity",
    "Idle",
    "NanoCodexEnv",
    "Oracle",
    "Policy",
    "Random",
    "Reply",
    "Resolved",
    "Reward",
    "Score",
    "Scripted",
    "Task",
    "Trajectory",
    "from_function",
    "load_tasks",
    "make_vec",
    "rollouts",
    "save_tasks",
    "weighted",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module at first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__


_gym.register(
    "NanoCodex-v0",
    entry_point="nano_codex_env.env:NanoCodexEnv",
    additional_wrappers=(_WrapperSpec("TaskReset", "nano_codex_env.options:TaskReset", {}),),
)
