"""All exceptions that the package raises on purpose, and who each is for.

The policy only ever sees `ToolError`. All others are raised: a failure of ours never becomes an observation or a
reward, it makes the episode void.
"""

from __future__ import annotations

import errno
import inspect
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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


class BrokenRewardError(RewardError):
    """A reward of the user's raised something unforeseen: the episode is void."""


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
    """The type and message of any exception, as recorded for a void episode, and `advice_for` it."""
    try:
        message = str(error)
    except Exception as failure:  # noqa: BLE001 (__str__ of a class that is not ours)
        message = f"(its message cannot be read: {type(failure).__name__})"
    is_plain = isinstance(error, OSError) and error.errno != errno.EAGAIN  # that of a socket says nothing of processes
    return f"{type(error).__name__}: {message}{advice_for(error) if is_plain else ''}"


def is_unforeseen(error: BaseException) -> bool:
    """Whether only a traceback tells where an error comes from: from code of the user's, or a bug of ours."""
    return not isinstance(error, NanoCodexError) or isinstance(error, BrokenToolError | BrokenRewardError)


def is_ours(part: object) -> bool:
    """Whether a function, or an object's class, is defined in this package: an unforeseen exception is our bug."""
    return f"{getattr(part, '__module__', '')}.".startswith("nano_codex_env.")


def advice_for(error: BaseException) -> str:
    """What to do where the system is out of something: `; ...`, to follow the error's own text; empty for others."""
    number = error.errno if isinstance(error, OSError) else errno.EAGAIN if "new thread" in str(error) else None
    if number == errno.EMFILE:
        most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            used = len(os.listdir("/proc/self/fd")) - 1
        except OSError:  # listing takes a descriptor, and all are used
            used = most
        more = "" if hard in (most, resource.RLIM_INFINITY) else f", up to {hard} without an administrator"
        return (
            f"; this process has {used} of {most} files open: raise `ulimit -n`{more}, or have fewer episodes at once"
        )
    if number == errno.ENFILE:
        return "; the machine has no more files to open: ask its administrator to raise `sysctl fs.file-max`"
    if number == errno.EAGAIN:
        most = resource.getrlimit(resource.RLIMIT_NPROC)[0]
        limit = "no limit" if most == resource.RLIM_INFINITY else most
        return (
            f"; no more processes or threads can be started: raise `ulimit -u` (now {limit}) or the job's own limit "
            "(pids.max), or have fewer episodes at once"
        )
    if number == errno.ENOMEM:
        return "; the machine or this job is out of memory: have fewer episodes and scorers at once"
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "; the disk is full, or has no inodes or quota left: free some space"
    return ""


def advice_in(text: str) -> str:
    """As `advice_for`, of what another program wrote; of a full disk it says nothing."""
    kinds = (errno.ENFILE, errno.EMFILE, errno.EAGAIN, errno.ENOMEM)
    return next((advice_for(OSError(kind, "")) for kind in kinds if os.strerror(kind) in text), "")


_AND_THEN = "and then, cleaning up: "


def clean_up_after(error: BaseException, *actions: Callable[[], object]) -> None:
    """Call all `actions`; what they raise, even Ctrl-C, becomes a note of `error`, which the caller raises."""
    for action in actions:
        try:
            action()
        except BaseException as second:  # noqa: BLE001 (the first error is the one to see)
            error.add_note(f"{_AND_THEN}{describe(second)}")


def describe_all(error: BaseException) -> str:
    """As `describe`, with what `clean_up_after` noted."""
    notes = [note for note in getattr(error, "__notes__", ()) if str(note).startswith(_AND_THEN)]
    return "; ".join([describe(error), *notes])


@contextmanager
def closed_after(*closers: Callable[[], object]) -> Iterator[None]:
    """Call all `closers` at the end; after an error, what they raise is a note of it and does not hide it."""
    try:
        yield
    except BaseException as error:
        clean_up_after(error, *closers)
        raise
    close_all(*closers)


def close_all(*closers: Callable[[], object]) -> None:
    """Call all `closers`, then raise the first error."""
    for number, close in enumerate(closers, 1):
        try:
            close()
        except BaseException as error:
            clean_up_after(error, *closers[number:])
            raise


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


def check_callable(value: object, takes: str, count: int) -> None:
    """Accept what can be called with `count` arguments; `takes` says what they are.

    Raises:
        ConfigError: `value` cannot be called so, or is a class.
    """
    if isinstance(value, type):
        raise ConfigError(f"{takes}; {value.__name__} is a class: give an object of it, {value.__name__}(...)")
    if not callable(value):
        raise ConfigError(f"{takes}; got {value!r:.200}")
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # of a function in C
        return
    try:
        signature.bind(*[None] * count)
    except TypeError as error:
        name = getattr(value, "__name__", type(value).__name__).strip("<>")
        raise ConfigError(f"{takes}; {name}{signature} cannot be: {error}") from error


def check_folder(name: str, value: object) -> None:
    """Accept None and the path of a folder, whether it exists or not.

    Raises:
        ConfigError: `value` is something else.
    """
    if value is None:
        return
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise ConfigError(f"{name} must be the path of a folder, or None; got {value!r:.200}")
