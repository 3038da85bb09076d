"""Every error of the package, and who reads it.

    NanoCodexError
    ├── ToolError           the policy's mistake: becomes the tool's answer, the episode goes on
    ├── ActionError         the caller's: what was given to step() is no action
    ├── ConfigError         the caller's: an argument or option that cannot be used
    ├── TaskError           a task or dataset row that cannot be used
    ├── WorkspaceError      repository, cache or disk: the episode is void
    ├── SandboxError        the walls do not stand, or the box broke: the episode is void
    ├── RewardError         the score could not be computed: the episode is void
    │   └── BrokenTaskError     no patch can solve the task here: its tests fail with the reference patch too
    ├── RewardCheckError    what `check_reward` found wrong with a reward
    ├── TrajectoryError     a log that cannot be written or read
    └── PolicyError         a policy could not answer: the episode is void
        └── ContextOverflow     the transcript no longer fits the model: the episode ends as `token_limit`

Only `ToolError` is ever shown to the policy. All others are raised: a failure of ours never becomes
an observation or a reward.
"""


class NanoCodexError(Exception):
    """Anything this package raises on purpose."""


class ToolError(NanoCodexError):
    """A mistake of the policy's, worded so that it can mend it."""


class ActionError(NanoCodexError, ValueError):
    """The object given to `step` is neither a tool call nor an assistant message."""


class ConfigError(NanoCodexError, ValueError):
    """An argument, option or setting that cannot be used."""


class TaskError(NanoCodexError, ValueError):
    """A task, or a row or file it was to be read from, that cannot be used."""


class WorkspaceError(NanoCodexError):
    """A repository, the cache or the disk failed us."""


class SandboxError(NanoCodexError):
    """The sandbox cannot be built, does not hold, or broke."""


class RewardError(NanoCodexError):
    """A reward could not be computed; there is no number to give."""


class BrokenTaskError(RewardError):
    """A task's tests do not pass with its reference patch: no score of it would tell anything."""


class RewardCheckError(NanoCodexError, AssertionError):
    """A reward does not hold what is asked of it; a finding a line."""


class TrajectoryError(NanoCodexError):
    """A log folder cannot be written, or does not hold a trajectory."""


class PolicyError(NanoCodexError):
    """A policy could not answer."""


class ContextOverflow(PolicyError):
    """The transcript is longer than the model's context."""


def describe(error: BaseException) -> str:
    """An exception's kind and words, whatever it is: what a log says of a void episode."""
    try:
        words = str(error)
    except Exception as silent:  # noqa: BLE001 (somebody else's class; its name is told at least)
        words = f"(its words cannot be had: {type(silent).__name__})"
    return f"{type(error).__name__}: {words}"


def check_positive(
    name: str, value: object, noun: str = "whole number", *, fractions: bool = False, optional: bool = False
) -> None:
    """Accept a positive whole number, with `fractions` any positive number, and with `optional` None.

    Raises:
        ConfigError: `value` is something else.
    """
    if value is None and optional:
        return
    kinds = int | float if fractions else int
    if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0:
        raise ConfigError(f"{name} must be a positive {noun}; got {value!r}")
