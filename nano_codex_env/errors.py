"""All exceptions that the package raises on purpose, and who each is for.

The policy only ever sees `ToolError`. All others are raised: a failure of ours never becomes an observation or a
reward, it makes the episode void.
"""

from __future__ import annotations

import os


class NanoCodexError(Exception):
    """Base class of all exceptions that this package raises on purpose."""


class ToolError(NanoCodexError):
    """A mistake of the policy: the message is the tool's answer, says what to do instead, and the episode goes on."""


class ActionError(NanoCodexError, ValueError):
    """The object passed to `step` is neither a tool call nor an assistant message."""


class ConfigError(NanoCodexError, ValueError):
    """An argument, option or setting cannot be used."""


class TaskError(NanoCodexError, ValueError):
    """A task, or the row or file it comes from, cannot be used."""


class WorkspaceError(NanoCodexError):
    """A repository, the cache or the disk failed: the episode is void."""


class SandboxError(NanoCodexError):
    """The sandbox cannot be built, does not isolate, or broke: the episode is void."""


class BrokenToolError(NanoCodexError):
    """A tool or a notice of the user's raised something unforeseen, or gave no answer: the episode is void."""


class RewardError(NanoCodexError):
    """The score could not be computed: the episode is void."""


class BrokenTaskError(RewardError):
    """No patch can solve the task here: its tests fail with the reference patch too."""


class RewardCheckError(NanoCodexError, AssertionError):
    """A reward failed `check_reward`; the message has a line for each finding."""


class TrajectoryError(NanoCodexError):
    """A log folder cannot be written, or holds no trajectory."""


class PolicyError(NanoCodexError):
    """A policy could not answer: the episode is void."""


class ContextOverflow(PolicyError):
    """The transcript no longer fits the model: the episode ends as `token_limit`."""


def describe(error: BaseException) -> str:
    """The type and message of any exception, as recorded for a void episode."""
    try:
        message = str(error)
    except Exception as failure:  # noqa: BLE001 (__str__ of a class that is not ours)
        message = f"(its message cannot be read: {type(failure).__name__})"
    return f"{type(error).__name__}: {message}"


def is_ours(part: object) -> bool:
    """Whether a function, or an object's class, is defined in this package: an unforeseen exception is our bug."""
    return f"{getattr(part, '__module__', '')}.".startswith("nano_codex_env.")


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


def check_folder(name: str, value: object) -> None:
    """Accept None and the path of a folder, whether it exists or not.

    Raises:
        ConfigError: `value` is something else.
    """
    if value is None:
        return
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise ConfigError(f"{name} must be the path of a folder, or None; got {value!r:.200}")
