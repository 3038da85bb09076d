"""Episodes played by a policy: one (`rollout`), or many at once (`rollouts`)."""

from nano_codex_env.rollout.many import Interrupted, rollouts
from nano_codex_env.rollout.one import Result, rollout
from nano_codex_env.rollout.records import Records

__all__ = ["Interrupted", "Records", "Result", "rollout", "rollouts"]
