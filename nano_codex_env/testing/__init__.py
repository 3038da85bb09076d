"""Contracts for what others implement: each check runs against an object and says how it breaks its protocol."""

from nano_codex_env.testing.sandbox import check_sandbox

__all__ = ["check_sandbox"]
