"""verl: an agent loop that plays our episodes, and a score for patches that were written as text.

    - name: nano_codex
      _target_: nano_codex_env.adapters.verl.NanoCodexAgentLoop
      max_steps: 50

is an entry of the file that `actor_rollout_ref.rollout.agent.agent_loop_config_path` names
(`configs/verl_agent_loop.yaml`), and `nano-codex export verl-parquet` makes the dataset. The loop scores its own
episodes; `compute_score` is for rollouts without tools, in which the model answers with a patch.
"""

from __future__ import annotations

from typing import Any

from nano_codex_env.adapters.verl_reward import compute_score
from nano_codex_env.errors import ConfigError

__all__ = ["NanoCodexAgentLoop", "compute_score"]  # noqa: F822 (made by __getattr__)


def __getattr__(name: str) -> Any:
    """Import `NanoCodexAgentLoop`, a subclass of a class of verl.

    Raises:
        ConfigError: verl is not installed.
    """
    if name != "NanoCodexAgentLoop":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from nano_codex_env.adapters.verl_loop import NanoCodexAgentLoop
    except ModuleNotFoundError as error:
        raise ConfigError(f"verl 0.9.1 or newer is needed: pip install 'nano-codex-env[verl]' ({error})") from error
    return NanoCodexAgentLoop
