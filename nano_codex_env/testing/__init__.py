"""Contracts: functions that check an implementation of one of the package's protocols, in your test suite or ours."""

from nano_codex_env.testing.policy import check_policy
from nano_codex_env.testing.sandbox import check_sandbox

__all__ = ["check_policy", "check_sandbox"]
