"""The name of `TaskReset`'s former module, which saved `EnvSpec`s may hold."""

from nano_codex_env.env import TaskReset

__all__ = ["TaskReset"]
