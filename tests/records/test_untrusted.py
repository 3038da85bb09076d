"""Hostile logs, rows and texts: each is read correctly or refused with a message, and no command crashes on one."""

from __future__ import annotations

import copy
import json
import math
import os
import pty
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nano_codex_env import NanoCodexEnv, Scripted, Task, Trajectory, from_function, load_tasks, rollouts
from nano_codex_env.chat_templates import Template, check_prefix
from nano_codex_env.chat_templates.forms import Form, in_form
from nano_codex_env.cli import main
from nano_codex_env.errors import ActionError, ConfigError, TaskError, TrajectoryError, WorkspaceError
from nano_codex_env.export.rows import dpo_rows, pred_rows, sft_rows
from nano_codex_env.export.transcripts import Skipped, finished_episodes
from nano_codex_env.messages import Message, as_assistant, assistant, dumps, tool_call
from nano_codex_env.records.reader import episode_folders, read_runs
from nano_codex_env.records.result import EpisodeResult
from nano_codex_env.records.rows import RowFile, read_rows
from nano_codex_env.render import as_text
from nano_codex_env.runs.replay import actions_of, replay, rules_of
from nano_codex_env.runs.rescore import rescore
from nano_codex_env.tokens import digest, join_turns, pack_turn
from nano_codex_env.tool_usage import command_counts, commands
from nano_codex_env.untrusted import for_terminal, open_regular, parse_json, read_file, read_lines
from tests.conftest import git
from tests.records.logs import DIFF, FIX, LOOK, ROW, as_line, record
from tests.server import completion, serve
from tests.strategies import quick

EXAMPLES = int(os.environ.get("NANO_CODEX_FUZZ", "80"))
"""How many poisoned logs are made; thousands of them for a while, now and then."""

RESULT = EpisodeResult(
    "sums-1", 0, 1.0, "submitted", 2, 3.5, None, "run/x", DIFF, {"x": 1.0}, {"steps": 2.0}, "resolved 2"
)
HALF = from_function(lambda task, transcript, diff: 0.5)
FORMS = (
    Form(arguments_as_objects=True),
    Form(nine_character_ids=True, tool_names=True, one_call_per_message=True, wrap_malformed_arguments=True),
    Form(
        no_system_role=True,
        calls_as_text=True,
        answers_as_user=True,
        content_as_parts=True,
        reasoning_key=None,
        text_joins_reasoning=True,
    ),
)


TEMPLATE = Template(
    "{% for m in messages %}<{{ m.role }}>{{ m.reasoning_content }}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c | tojson }}{% endfor %}{{ m.tool_call_id }}\n{% endfor %}"
    "{{ tools | tojson }}"
)


# JSON and files.


def test_json_is_bounded_in_depth_and_a_key_is_there_once() -> None:
    assert parse_json("[" * 100 + "]" * 100)
    for text, words in (
        ("[" * 102 + "]" * 102, "nested more than 100 levels deep"),
        ("[" * 1_000_000, "nested more than 100 levels deep"),
        ('{"a":' * 200 + "1" + "}" * 200, "nested more than 100 levels deep"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' is there twice"),
        ("1" * 5000, "4300"),
        ('"' + "x" * (64 << 20) + '"', "longer than 64 MiB"),
    ):
        with pytest.raises(ValueError, match=words):
            parse_json(text)


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    """A named pipe would hold its reader up for ever, and a device gives without end."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_bytes(b"x" * 100)
    for name, words in (
        ("fifo", "it is a named pipe, not a regular file"),
        ("zero", "it is a device, not a regular file"),
        (".", "it is a folder, not a regular file"),
        ("loop", "symbolic links"),
        ("gone", "No such file"),
        ("a\0b", "null byte"),
    ):
        with pytest.raises(OSError, match=words):
            read_file(tmp_path / name)
    assert read_file(tmp_path / "file") == b"x" * 100
    with pytest.raises(OSError, match="it holds more than 0 MiB"):
        read_file(tmp_path / "file", 99)


def test_of_a_line_that_is_too_long_only_the_beginning_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nano_codex_env.untrusted.LINE_LIMIT", 4)
    (tmp_path / "file").write_bytes(b"ab\n" + b"c" * 11 + b"\nde\nfgh\n" + b"i" * 9)
    with open_regular(tmp_path / "file") as file:
        assert list(read_lines(file)) == [b"ab\n", b"cccc", b"de\n", b"fgh\n", b"iiii"]


# What a terminal is sent.

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31mred\rback\x08\x7f \u202etxt\u2066 \u2028 \ud800 \U000e0041"


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert for_terminal("é 中 👩\u200d👩 \ttab\nline") == "é 中 👩\u200d👩 \ttab\nline"
    shown = for_terminal(HOSTILE)
    assert shown == (
        "\\x1b]0;owned\\x07\\x1b[2J\\x9b31mred\\x0dback\\x08\\x7f \\u202etxt\\u2066 \\u2028 \\ud800 \\U000e0041"
    )
    assert shown.isprintable()


@given(st.text(st.characters(exclude_categories=[])))
@quick(100)
def test_no_text_holds_a_control_character_afterwards(text: str) -> None:
    shown = for_terminal(text)
    assert not any((ord(char) < 32 and char not in "\t\n") or 127 <= ord(char) < 160 for char in shown)
    shown.encode()
    assert for_terminal(shown) == shown


# Logs.


def anything() -> st.SearchStrategy[Any]:
    """Any JSON value, those that readers stumble over among them."""
    nasty: list[Any] = [
        None, True, -1, 0, 10**30, 10**400, 1e308, math.nan, math.inf, "", "\ud800", "a\0b", "\x1b[2J", [], {}, [None],
        {"": None}, "[" * 5000, [[[]]], {"role": "assistant"}, ["x", 1], "0", "nan",
    ]  # fmt: skip
    deep: Any = "x"
    for _ in range(150):
        deep = [deep]
    leaf = st.sampled_from([*nasty, deep])
    return leaf | st.recursive(
        leaf, lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below)
    )


@st.composite
def poisoned(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value, one place of which was replaced, deleted, renamed or doubled."""
    value = copy.deepcopy(value)
    here: Any = value
    while True:
        if not isinstance(here, dict | list) or not here:
            return draw(anything())
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = draw(st.sampled_from(keys))
        if isinstance(here[key], dict | list) and here[key] and draw(st.booleans()):
            here = here[key]
            continue
        match draw(st.sampled_from(["replace", "replace", "replace", "delete", "double"])):
            case "replace":
                here[key] = draw(anything())
            case "delete":
                del here[key]
            case "double" if isinstance(here, list):
                here.insert(key, copy.deepcopy(here[key]))
            case _ if isinstance(here, dict):
                here[draw(st.text(max_size=4))] = draw(anything())
        return value


@st.composite
def spliced(draw: st.DrawFn, raw: bytes) -> bytes:
    """Bytes with some cut out and others put in."""
    start = draw(st.integers(0, len(raw)))
    stop = draw(st.sampled_from([start, min(len(raw), start + draw(st.integers(0, 30))), len(raw)]))
    put = draw(
        st.sampled_from([b"", b"\0", b"\xff", b"\n", b"[" * 3000, b'"', b"1e999", b"9" * 5000]) | st.binary(max_size=9)
    )
    return raw[:start] + put + raw[stop:]


def written(values: Sequence[Any]) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode("ascii")


@st.composite
def attacks(draw: st.DrawFn, folder: Path) -> tuple[str, bytes]:
    """A file of a log, and what it holds now."""
    name = draw(st.sampled_from(["messages.jsonl", "metadata.json", "tools.json", "tokens.jsonl", "diff.patch"]))
    raw = (folder / name).read_bytes()
    if name == "diff.patch" or draw(st.integers(0, 3)) == 0:
        return name, draw(spliced(raw))
    if name.endswith(".json"):
        return name, json.dumps(draw(poisoned(json.loads(raw)))).encode("ascii")
    values = draw(poisoned([json.loads(line) for line in raw.splitlines()]))
    return name, written(values if isinstance(values, list) else [values])


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("good"))


def read(folder: Path) -> None:
    """Everything that reads a log, on this one; it works, or is refused with a `TrajectoryError`."""
    logged = Trajectory.load(folder)
    uses: list[Callable[[Trajectory], object]] = [
        Trajectory.to_training_example,
        lambda logged: logged.task,
        rules_of,
        actions_of,
        lambda logged: as_text(logged.messages).encode(),
        lambda logged: command_counts(logged.messages),
        lambda logged: check_prefix(logged.messages, logged.tools, TEMPLATE),
        lambda logged: [json.dumps(in_form(logged.messages, form), ensure_ascii=False).encode() for form in FORMS],
    ]
    for use in uses:
        with suppress(TrajectoryError):
            use(logged)


def holds(rows: Iterator[dict[str, Any]]) -> None:
    """A dataset can hold them."""
    for row in rows:
        json.dumps(row, ensure_ascii=False, allow_nan=False).encode()


def as_shard(*folders: Path) -> tuple[Path, Path]:
    """Move folders to a shard; the shard, and the path of the first episode in it."""
    shard = folders[0].with_name("episodes-0.jsonl")
    shard.write_bytes(b"".join(map(as_line, folders)))
    for folder in folders:
        shutil.rmtree(folder)
    return shard, shard / folders[0].name


@given(data=st.data())
@quick(EXAMPLES)
def test_a_poisoned_log_is_read_or_refused_by_all_that_read_logs(good: Path, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch, "run")
        fine, ill = record(run, 0, 0.0), record(run, 1)
        name, raw = data.draw(attacks(good))
        (ill / name).write_bytes(raw)
        place = ill / name
        if data.draw(st.booleans()):
            place, ill = as_shard(ill)
        read(fine)
        try:
            read(ill)
        except TrajectoryError as error:
            assert str(place) in str(error)  # noqa: PT017
        row, other = sorted(rescore([ill, fine], HALF, 1), key=lambda row: row["folder"] != str(ill))
        assert (other["reward"], other["void"]) == (0.5, None)
        assert row["void"] is None or row["void"].startswith("TrajectoryError: ")
        skipped: Skipped = Counter()
        found = finished_episodes([ill, fine], skipped)
        holds(sft_rows(found, min_reward=-math.inf, skipped=skipped))
        holds(dpo_rows(found, skipped=skipped))
        holds(pred_rows(found, skipped=skipped))
        assert any(episode.folder == Path(os.path.realpath(fine)) for episode in found)


@pytest.mark.slow
@given(data=st.data())
@quick(EXAMPLES)
def test_of_a_damaged_shard_the_whole_lines_are_read(good: Path, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch, "run")
        lines = [as_line(record(run, number)) for number in range(3)]
        names = [json.loads(line)["episode"] for line in lines]
        for name in names:
            shutil.rmtree(run / name)
        raw = data.draw(spliced(b"".join(lines)))
        (run / "episodes-0.jsonl").write_bytes(raw)
        whole = [name for name, line in zip(names, lines, strict=True) if line in raw.splitlines(keepends=True)]
        found = {path.name: path for path in episode_folders([run])}
        for path in found.values():
            try:
                read(path)
            except TrajectoryError as error:
                assert str(path.parent) in str(error)  # noqa: PT017
        with suppress(TrajectoryError):  # there is no episode in it
            episodes = {episode.name: episode for episode in read_runs([run])}
            assert all(episodes[name].reward == 1.0 for name in whole)
            whole = []
        assert not whole


@given(data=st.data())
@quick(EXAMPLES)
def test_a_poisoned_result_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    good = RESULT.row()
    ill = data.draw(poisoned(good))
    try:
        assert EpisodeResult.from_row(ill if isinstance(ill, dict) else {}).row()
    except TrajectoryError as error:
        assert "row of results" in str(error)  # noqa: PT017
    run = tmp_path_factory.mktemp("run")
    raw = (
        written([ill, good])
        if data.draw(st.booleans())
        else data.draw(spliced(written([good]))) + b"\n" + written([good])
    )
    (run / "results.jsonl").write_bytes(raw)
    assert read_rows(run / "results.jsonl")[-1] == good
    assert list(episode_folders([run])) == [run]
    with RowFile(
        run / "results.jsonl", lambda row: (row.get("instance_id"), row.get("attempt")), resume=True
    ) as records:
        assert records.rows["sums-1", 0] == good


@given(data=st.data())
@quick(EXAMPLES)
def test_a_poisoned_row_is_a_task_or_refused(data: st.DataObject) -> None:
    row = Task.from_row({**ROW, "FAIL_TO_PASS": '["t::a"]', "environment": {"kind": "host"}, "more": [1]}).to_row()
    ill = data.draw(poisoned(row))
    try:
        task = Task.from_row(ill)
    except TaskError as error:
        assert len(str(error)) < 1000  # noqa: PT017
    else:
        assert Task.from_row(json.loads(json.dumps(task.to_row()))).instance_id == task.instance_id
        assert for_terminal(task.instance_id) == task.instance_id


POISONS: dict[str, tuple[str, bytes, str]] = {
    "deep": ("metadata.json", b"[" * 100_000, "nested more than 10[02] levels"),
    "deep-message": (
        "messages.jsonl",
        b'{"role": "user", "x": ' + b"[" * 150 + b"]" * 150 + b"}\n",
        "line 1 is damaged",
    ),
    "digits": ("metadata.json", b'{"reward": ' + b"9" * 5000 + b"}", "4300 digits"),
    "reward-text": (
        "metadata.json",
        b'{"reward": "1.0", "stop": "submitted"}',
        "reward must be a finite number or null",
    ),
    "reward-true": ("metadata.json", b'{"reward": true, "stop": "submitted"}', "got True"),
    "reward-nan": ("metadata.json", b'{"reward": NaN, "stop": "submitted"}', "got nan"),
    "reward-huge": (
        "metadata.json",
        b'{"reward": 1' + b"0" * 400 + b', "stop": "x"}',
        "reward must be a finite number",
    ),
    "attempt": ("metadata.json", b'{"attempt": {"a": 1}}', "attempt must be a whole number"),
    "steps": ("metadata.json", b'{"steps": -1}', "steps must be a whole number"),
    "limits": (
        "metadata.json",
        b'{"limits": {"max_steps": "many"}}',
        "limits.max_steps must be a positive number",
    ),
    "commit": ("metadata.json", b'{"commit": 5}', "commit must be text"),
    "task": ("metadata.json", b'{"task": ["x"]}', "task must be an object"),
    "twice": ("metadata.json", b'{"reward": 1.0, "reward": 0.0}', "the key 'reward' is there twice"),
    "no-role": ("messages.jsonl", b'{"content": "x"}\n', "line 1 is damaged: it has no role"),
    "role": ("messages.jsonl", b'{"role": ["user"]}\n', "role must be text"),
    "content": (
        "messages.jsonl",
        b'{"role": "user", "content": {"a": 1}}\n',
        "content must be text or a list of parts",
    ),
    "calls": ("messages.jsonl", b'{"role": "assistant", "tool_calls": {"a": 1}}\n', "tool_calls must be a list"),
    "call": ("messages.jsonl", b'{"role": "assistant", "tool_calls": ["ls"]}\n', r"tool_calls\[0\] must be an object"),
    "call-id": ("messages.jsonl", b'{"role": "assistant", "tool_calls": [{"id": []}]}\n', "id must be text"),
    "answer-id": ("messages.jsonl", b'{"role": "tool", "tool_call_id": {}}\n', "tool_call_id must be text"),
    "nul": ("messages.jsonl", b"\0" * 64 + b"\n", "line 1 is damaged"),
    "tools": ("tools.json", b'[{"function": {}}]', "tool 0: function.name must be text"),
    "tools-nan": ("tools.json", b'[{"function": {"name": "a", "x": [NaN]}}]', "NaN"),
    "tokens": ("tokens.jsonl", b"[1]\n", "line 1 is damaged: it must be an object"),
}


def poison(folder: Path, name: str) -> str:
    """Put a poison in its file, or another thing in the file's place; what is said of it."""
    if name in POISONS:
        file, raw, words = POISONS[name]
        (folder / file).write_bytes(raw)
        return words
    file, _, kind = name.partition(" ")
    (folder / file).unlink()
    if kind == "fifo":
        os.mkfifo(folder / file)
    elif kind == "folder":
        (folder / file).mkdir()
    elif kind == "zero":
        (folder / file).symlink_to("/dev/zero")
    else:
        (folder / file).touch()
        os.truncate(folder / file, (1 << 30) + 1)  # it takes no room on disk
    return {"fifo": "a named pipe", "folder": "a folder", "zero": "a link to /dev/zero"}.get(kind, "more than 1024 MiB")


LOG_FILES = ("messages.jsonl", "metadata.json", "tools.json", "tokens.jsonl", "diff.patch")
PLACES = [f"{file} {kind}" for kind in ("fifo", "folder", "zero", "large") for file in LOG_FILES]


@pytest.mark.parametrize("name", [*POISONS, *PLACES])
def test_a_poison_is_refused_by_name(tmp_path: Path, name: str) -> None:
    folder = record(tmp_path)
    words = poison(folder, name)
    with pytest.raises(TrajectoryError, match=words) as caught:
        Trajectory.load(folder)
    assert str(folder / (POISONS[name][0] if name in POISONS else name.partition(" ")[0])) in str(caught.value)


@pytest.mark.parametrize("name", POISONS)
def test_a_poison_in_a_shard_is_refused_by_its_line_and_the_others_are_read(tmp_path: Path, name: str) -> None:
    folder, fine = record(tmp_path), record(tmp_path)
    good, words = Trajectory.load(fine), poison(folder, name)
    shard, ill = as_shard(folder, fine)
    with pytest.raises(TrajectoryError, match=words) as caught:
        Trajectory.load(ill)
    assert str(shard) in str(caught.value)
    assert f"{shard}, line 1 is damaged" in str(caught.value) or str(ill / POISONS[name][0]) in str(caught.value)
    assert vars(Trajectory.load(shard / fine.name)) == {**vars(good), "folder": shard / fine.name}


@pytest.mark.parametrize(
    "repo",
    ["~nobody-of-that-name/x", "y" * 5000, "/" + "z" * 300, "a\nb", "-rf", "/dev/zero", "ext::sh -c id", "\udc80"],
    ids=ascii,
)
def test_a_repository_that_cannot_be_is_refused_before_anything_runs(tmp_path: Path, repo: str) -> None:
    folder = record(tmp_path)
    about = json.loads((folder / "metadata.json").read_text())
    about["task"]["repo"] = repo
    (folder / "metadata.json").write_text(json.dumps(about))
    with pytest.raises((TrajectoryError, WorkspaceError)):
        replay(folder)


# Commands.


@pytest.fixture(params=["folder", "shard"])
def run(task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Path:
    """A run with a good episode of its own and a damaged one for each poison, which come first."""
    out, is_shard = tmp_path / "run", request.param == "shard"
    rollouts(task, Scripted([FIX]), out=out, reward=HALF, log=request.param)
    ill = []
    for name in POISONS if is_shard else [*POISONS, *PLACES[:-5]]:
        folder = record(out)
        poison(folder, name)
        ill.append(folder.rename(out / f"0-{name.replace(' ', '-')}"))
    if is_shard:
        as_shard(*ill)
    (out / "results.jsonl").unlink()
    capsys.readouterr()
    return out


def test_every_command_goes_on_with_the_good_episodes_of_a_poisoned_run(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ill = sorted(path.name for path in episode_folders([run]) if path.name.startswith("0-"))
    [fine] = [path for path in episode_folders([run]) if path.name.startswith("2")]
    assert main(["replay", str(run)]) == 1
    said = capsys.readouterr()
    assert said.out == f"{fine}: 5 messages, identical\n1 episodes replayed, {len(ill)} cannot be replayed\n"
    assert len(said.err.splitlines()) == len(ill)
    assert all(
        line.startswith("nano-codex: ") and name in line for name, line in zip(ill, said.err.splitlines(), strict=True)
    )
    assert main(["replay", *(str(path) for path in episode_folders([run]) if path.name in ill[:2])]) == 2
    assert main(["score", str(run), "--reward", "similarity", "--json", "--concurrency", "1"]) == 1
    scores = {Path(row["folder"]).name: row for row in json.loads(capsys.readouterr().out)["scores"]}
    assert [name for name, row in scores.items() if row["void"] is None] == [fine.name]
    assert all(scores[name]["void"].startswith("TrajectoryError: ") for name in ill)
    for kind, rows in (("sft", 1), ("preds", 1), ("dpo", 0)):
        arguments = ["--min-reward", "0"] if kind == "sft" else []
        assert main(["export", kind, str(run), *arguments]) == int(not rows)
        said = capsys.readouterr()
        assert (said.out.split()[0], said.err) == (str(rows), "")
        assert "damaged" in said.out or kind == "preds"


def test_a_damaged_result_is_played_again_and_stops_nothing(
    task: Task, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    played: list[str] = []

    class Player(Scripted):
        def __call__(self, messages: Sequence[Message], tools: Any) -> Any:
            played.append(str(messages[1]["content"]))
            return super().__call__(messages, tools)

    tasks = [task.with_(instance_id=name, problem_statement=name) for name in ("a", "b", "c")]
    rollouts(tasks, Player([]), out=tmp_path, reward=HALF)
    rows = {row["instance_id"]: row for row in read_rows(tmp_path / "results.jsonl")}
    rows["b"] |= {"parts": 5, "scorer": ["x"]}
    raw = (
        written([rows["a"], rows["b"], rows["c"], {"instance_id": ["x"], "attempt": {}, "reward": 1}]) + b"[" * 100_000
    )
    (tmp_path / "results.jsonl").write_bytes(raw + b"\n" + b'{"reward": ' + b"9" * 5000 + b"}\n")
    played.clear()
    results = rollouts(tasks, Player([]), out=tmp_path, reward=HALF, resume=True)
    assert ([result.reward for result in results], played) == ([0.5] * 3, ["b"])
    assert "b (attempt 0) is played again: a row of results is damaged: parts must be an object" in caplog.text


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b"9" * 5000, b'{"n": "\\ud800"}', b'{"env": [1]}', b'{"env": {"notices": [[1]]}}', b"\xff"],
)
def test_a_damaged_config_is_refused_in_words(
    task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "config.json").write_bytes(content)
    assert main(["run", "--out", str(tmp_path), "--resume"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("nano-codex: ")
    assert said.err.count("\n") == 1


def test_a_damaged_score_is_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(record(tmp_path / "run", number)) for number in range(3)]
    argv = ["score", *folders, "--reward", "similarity", "--out", str(tmp_path / "s.jsonl"), "--resume", "--json"]
    assert main(argv) == 0
    rows = read_rows(tmp_path / "s.jsonl")
    rows[0]["reward"], rows[1]["scorer"] = "much", {"a": 1}
    (tmp_path / "s.jsonl").write_bytes(written(rows) + b'{"folder": ["x"]}\n')
    capsys.readouterr()
    assert main(argv) == 0
    assert [row["reward"] for row in json.loads(capsys.readouterr().out)["scores"]] == [1.0] * 3
    (tmp_path / "s.jsonl").write_text('{"folder": "a", "reward": 1}\n')
    assert main(argv) == 2
    assert "holds no scores; give another --out" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["fifo", "zero"])
def test_a_file_of_results_that_is_none_holds_nobody_up(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "results.jsonl"
    os.mkfifo(path) if kind == "fifo" else path.symlink_to("/dev/zero")
    words = "not a regular file" if kind == "fifo" else "it is a link to /dev/zero"
    with pytest.raises(ConfigError, match=words):
        RowFile(path, str, resume=True)
    with pytest.raises(TrajectoryError, match=words):
        read_rows(path)


# Rows.

DEEP: Any = []
for _ in range(5000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ([], "a row must be an object; got list"),
        ({"instance_id": ""}, "instance_id must be a name"),
        ({"instance_id": "\x1b[2J"}, "instance_id must be a name"),
        ({"instance_id": "a\u202eb"}, "instance_id must be a name"),
        ({"instance_id": "\ud800"}, "instance_id cannot be written as text"),
        ({"instance_id": ["a"]}, "instance_id must be text; got list"),
        ({"instance_id": "x" * 501}, "instance_id must be a name"),
        ({"repo": {"a": 1}}, "repo must be text; got dict"),
        ({"repo": "a\0b"}, "repo holds a NUL character"),
        ({"patch": "\ud800"}, "patch cannot be written as text"),
        ({"version": 10**5000}, "version cannot be written as text"),
        ({"FAIL_TO_PASS": "[" * 100_000}, "neither a list nor a JSON list"),
        ({"FAIL_TO_PASS": DEEP}, "must be a list of test ids"),
        ({"FAIL_TO_PASS": [10**5000]}, "must be a list of test ids"),
        ({"FAIL_TO_PASS": ["\ud800"]}, "cannot be written as text"),
        ({"environment": "[" * 100_000}, "is no JSON object"),
        ({"environment": {"a": DEEP}}, "nested more than 50 levels"),
        ({"environment": 10**5000}, "environment must be an object"),
        ({"metadata": {"a": 10**5000}}, "holds an integer of 16610 bits"),
        ({"more": DEEP}, "nested more than 50 levels"),
        ({10**5000: 1}, "cannot be written as text"),
        ({("a",): 1}, "must be text; got tuple"),
    ],
    ids=lambda value: ascii(value)[:40] if isinstance(value, str) else "",
)
def test_a_poisoned_row_is_refused_in_words(change: Any, words: str) -> None:
    with pytest.raises(TaskError, match=words) as caught:
        Task.from_row({**ROW, **change} if isinstance(change, dict) else change)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet"])
def test_a_source_that_is_a_pipe_or_too_deep_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    os.mkfifo(path)
    with pytest.raises(TaskError, match="a named pipe"):
        load_tasks(path)
    if suffix != "parquet":
        path.unlink()
        path.write_bytes(b"[" * 100_000)
        with pytest.raises(TaskError, match="nested more than 100 levels"):
            load_tasks(path)


def test_an_action_that_no_log_could_be_read_back_with_is_refused() -> None:
    deep: Any = []
    for _ in range(150):
        deep = [deep]
    with pytest.raises(ActionError, match="nested more than 100 levels"):
        as_assistant(assistant("", x=deep), 0)
    call = {"type": "function", "function": {"name": "shell", "arguments": {"cmd": deep}}}
    assert as_assistant(call, 0)["tool_calls"][0]["function"]["arguments"].startswith('{"cmd": [[')


# What is printed.


def test_no_command_prints_what_a_terminal_obeys(
    task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rollouts(task, Scripted([LOOK]), out="run", reward=HALF)
    [folder] = episode_folders([Path("run")])
    lines = (folder / "messages.jsonl").read_bytes().splitlines(keepends=True)
    lines[3] = dumps({**json.loads(lines[3]), "content": f"{HOSTILE}\n[exit 0]"}).encode() + b"\n"
    (folder / "messages.jsonl").write_bytes(b"".join(lines))
    odd = {**ROW, "problem_statement": f"# {HOSTILE[:-12]}", "difficulty": HOSTILE, "kind": HOSTILE}
    Path("rows.jsonl").write_text(json.dumps(odd) + "\n")
    Path("ill.jsonl").write_text(json.dumps({HOSTILE: 1}) + "\n")
    Path("ill.jinja").write_text("{{ raise_exception('" + HOSTILE.replace("\ud800", "") + "') }}")
    Path("good.jsonl").write_text(json.dumps(task.to_row()) + "\n")
    Path("policy_of_untrusted.py").write_text(
        f"def policy(messages, tools):\n    raise ZeroDivisionError({HOSTILE!a})\n"
    )
    void = record(tmp_path / "log")
    about = json.loads((void / "metadata.json").read_text()) | {"void": HOSTILE, "stop": None}
    (void / "metadata.json").write_text(json.dumps(about))
    for code, argv in (
        (1, ["replay", str(folder)]),
        (1, ["score", str(void), "--reward", "similarity"]),
        (1, ["run", "--tasks", "good.jsonl", "--policy", "policy_of_untrusted:policy", "--out", "out"]),
        (0, ["tasks", "list", "rows.jsonl"]),
        (2, ["tasks", "list", "ill.jsonl"]),
        (0, ["templates", "ill.jinja"]),
    ):
        capsys.readouterr()
        assert main(argv) == code
        said = capsys.readouterr()
        shown = said.out + said.err
        assert "\\x1b]0;owned" in "".join(line.strip(" │┃") for line in shown.splitlines())
        assert for_terminal(shown) == shown


def test_a_rendered_transcript_is_safe_and_the_log_is_verbatim(
    task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = HOSTILE.replace("\ud800", "")
    with NanoCodexEnv([task], HALF, log_dir=tmp_path, render_mode="human") as env:
        env.reset(options={"task": task.with_(problem_statement=text)})
        env.step(assistant(text))
        printed, shown = capsys.readouterr().out, as_text(env.episode.messages)
        log = env.episode.log
        assert log
        assert Trajectory.load(log.folder).messages[1]["content"] == text
    for said in (printed, shown):
        assert said.count("\\x1b]0;owned\\x07") == 2
        assert for_terminal(said) == said


def test_a_name_fakes_no_line_and_a_cell_has_an_end(
    task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rollouts(task, Scripted([]), out="run", reward=HALF)
    [folder] = episode_folders([Path("run")])
    Path("a\nb: 3 messages, identical").mkdir()
    name = folder.rename("a\nb: 3 messages, identical/x")
    assert main(["replay", str(name)]) == 0
    assert capsys.readouterr().out.splitlines() == ["a\\x0ab: 3 messages, identical/x: 3 messages, identical"]
    (name / "tools.json").unlink()
    assert main(["replay", str(name)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    Path("rows.jsonl").write_text(json.dumps({**ROW, "problem_statement": "x" * 1_000_000}) + "\n")
    assert main(["tasks", "list", "rows.jsonl"]) == 0
    said = capsys.readouterr().out
    assert said.count("x") < 5000
    assert "996000 more characters" in "".join(line.strip("│ ") for line in said.splitlines()).replace("  ", " ")


def test_a_diff_is_safe_on_a_terminal_and_verbatim_in_a_pipe(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo)
    patch = tool_call("apply_patch", search="return a - b", replace="return '\x1b]0;owned\x07'", file="sums.py")
    command = [sys.executable, "-c", "from nano_codex_env.cli import main; main()", "agent", "mend", "--no-log"]
    said = {}
    for place in ("pipe", "terminal"):
        reader, writer = os.pipe() if place == "pipe" else pty.openpty()
        with serve([completion("", patch), completion("done")]) as server:
            argv = [*command, "--model", "hosted_vllm/m", "--api-base", server.url]
            subprocess.run(argv, stdout=writer, stderr=subprocess.DEVNULL, check=True, timeout=120)
        said[place] = os.read(reader, 1 << 16)
        os.close(reader)
        os.close(writer)
        git(repo, "checkout", "-q", ".")
    assert b"+    return '\x1b]0;owned\x07'\n" in said["pipe"]
    assert b"+    return '\\x1b]0;owned\\x07'" in said["terminal"]
    assert b"\x1b" not in said["terminal"]


# Sizes.


def test_many_calls_and_answers_take_time_in_proportion() -> None:
    """Each answer finds its call at once; if it were compared with all that wait, this would take minutes."""
    count = 30_000
    calls = [{"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in range(count)]
    said: list[Message] = [
        assistant("", *calls),
        *({"role": "tool", "tool_call_id": f"c{n}", "content": str(n)} for n in reversed(range(count))),
    ]
    made = in_form(said, Form(one_call_per_message=True))
    assert [message["content"] for message in made if message["role"] == "tool"] == [str(n) for n in range(count)][::-1]
    assert [one["tool_calls"][0]["id"] for one in made[::2]] == [f"c{n}" for n in range(count)][::-1]


def test_a_training_example_hashes_each_id_once() -> None:
    """A first prompt of many ids and many turns that add none would otherwise cost their product."""
    ids, turns = list(range(200_000)), 2000
    first = pack_turn({"prompt": ids, "sampled": [7], "logprobs": None}, 1, [])
    again = {"prompt_delta": [], "prompt_length": len(ids) + 1, "prompt_sha256": digest([*ids, 7]), "sampled": []}
    example = join_turns([first, *({**again, "turn": turn} for turn in range(2, turns + 1))], turns)
    assert (len(example.input_ids), sum(example.mask)) == (200_001, 1)


def test_of_a_long_command_the_beginning_is_counted() -> None:
    assert commands("cat > x <<E\n" + "a" * 10_000_000 + "\nE\nls")[:1] == ["cat"]


def test_a_difference_of_many_lines_is_shown_where_it_begins(
    task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rollouts(task, Scripted([LOOK]), out=tmp_path, reward=HALF)
    [folder] = episode_folders([tmp_path])
    lines = (folder / "messages.jsonl").read_bytes().splitlines(keepends=True)
    long = json.loads(lines[3])["content"].rstrip("\n") + "".join(f"\n{n % 7}{n % 11}" for n in range(200_000))
    lines[3] = dumps({**json.loads(lines[3]), "content": long + "\n" + "x" * 100_000}).encode() + b"\n"
    (folder / "messages.jsonl").write_bytes(b"".join(lines))
    assert main(["replay", str(folder)]) == 1
    said = capsys.readouterr().out
    assert "lines are not compared" in said
    assert len(said) < 10_000


@pytest.mark.parametrize("name", ["messages.jsonl", "tools.json", "metadata.json", "diff.patch", "tokens.jsonl"])
def test_a_link_out_of_a_log_is_not_followed(good: Path, tmp_path: Path, name: str) -> None:
    """An export would carry the file that it points to; the hub's cache keeps its files so, and is known."""
    episode = tmp_path / "hub" / "snapshots" / "main" / "run" / "episode"
    shutil.copytree(good, episode)
    blob = tmp_path / "hub" / "blobs" / "1"
    blob.parent.mkdir()
    if (episode / name).exists():
        (episode / name).rename(blob)
    else:
        blob.write_text("{}\n")
    (episode / name).symlink_to("../../../../blobs/1")
    assert Trajectory.load(episode).metadata["stop"] == "submitted"
    blob.rename(tmp_path / "private")
    (episode / name).unlink()
    (episode / name).symlink_to(tmp_path / "private")
    with pytest.raises(TrajectoryError, match=f"cannot read .*{name}: it is a link to .*private, outside of the log"):
        Trajectory.load(episode)
