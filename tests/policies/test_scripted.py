"""The policies that ship: each plays by real tool calls, and is a function of the transcript alone."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import Idle, NanoCodexEnv, Oracle, Random, Reply, Scripted, Task, from_function, load_tasks
from nano_codex_env.errors import ConfigError, PolicyError
from nano_codex_env.messages import Message, assistant, tool_call
from nano_codex_env.records.result import EpisodeResult
from nano_codex_env.runs.rollout import rollout
from nano_codex_env.sandbox import Sandbox
from tests.conftest import FIX, git, mostly_slow

Files = dict[str, str | bytes | None]
PlayAll = Callable[[Files, Files], tuple[EpisodeResult, Files]]

START: list[Message] = [{"role": "system", "content": "s"}, {"role": "user", "content": "add(2, 3) gives -1"}]
NUMBERS = "".join(f"line {n}\n" for n in range(1, 61))
ODD_NAMES = ["with space.py", "quo'te.py", 'dou"ble.py', "ü.py", "$HOME.py"]
MODE = "diff --git a/sums.py b/sums.py\nold mode 100644\nnew mode 100755\n"
BLOCK = "def f(x):\n    if x:\n        return 1\n    return 0\n\n\n"


def lay(folder: Path, files: Files) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture
def oracle_plays(make_repo: Callable[..., Path], sandbox: Sandbox, tmp_path: Path) -> PlayAll:
    """The oracle plays git's own patch between two trees; its result, and the files after its diff was applied."""

    def play(before: Files, after: Files) -> tuple[EpisodeResult, Files]:
        repo = make_repo(before)
        lay(repo, after)
        git(repo, "add", "-A")
        diff = ["git", "diff", "--cached", "--binary", "--find-renames"]
        patch = subprocess.check_output(diff, cwd=repo).decode("utf-8", "surrogateescape")
        git(repo, "reset", "-q", "--hard")
        task = Task("x-1", str(repo), git(repo, "rev-parse", "HEAD"), "mend it", patch)
        worthless = from_function(lambda task, transcript, diff: 1.0)
        with NanoCodexEnv([task], worthless, sandbox=sandbox, log_dir=None) as env:
            result = rollout(env, Oracle([task]), seed=0)
        if result.diff:
            (tmp_path / "ours.diff").write_bytes(result.diff.encode("utf-8", "surrogateescape"))
            git(repo, "apply", "--whitespace=nowarn", str(tmp_path / "ours.diff"))
        return result, {name: (repo / name).read_bytes() if (repo / name).exists() else None for name in after}

    return play


# Scripted, Idle, Random.


def test_a_script_is_played_turn_by_turn_and_then_submits() -> None:
    look, whole = tool_call("shell", cmd="ls"), assistant("both", tool_call("shell", cmd="a"), reasoning_content="hm")
    policy = Scripted([look, whole])
    messages = list(START)
    said = []
    for _ in range(4):
        reply = policy(messages, [])
        said.append(reply.message)
        messages += [reply.message, {"role": "tool", "tool_call_id": "x", "content": ""}]
    assert said == [assistant("", look), whole, assistant("done"), assistant("done")]
    assert policy(START, []) == Reply(assistant("", look))  # nothing is kept between calls
    assert Scripted([])(START, []).message == assistant("done")


def test_idle_submits_at_once(env: NanoCodexEnv) -> None:
    result = rollout(env, Idle())
    assert (result.reward, result.stop, result.steps, result.diff) == (0.0, "submitted", 0, "")
    assert "tool_calls" not in Idle()(START, []).message


def test_random_follows_its_seed_uses_both_tools_and_ends_within_its_turns(env: NanoCodexEnv) -> None:
    played = []
    for seed in (3, 3, *range(4, 11)):
        assert rollout(env, Random(seed, turns=5)).void is None
        played.append(env.episode.transcript())
    assert played[0] == played[1]
    assert all(other != played[0] for other in played[2:])
    calls = [[call["function"]["name"] for m in each for call in m.get("tool_calls", ())] for each in played]
    assert max(map(len, calls)) <= 5
    assert {name for names in calls for name in names} == {"shell", "apply_patch"}
    assert rollout(env, Random(1, turns=0)).steps == 0


def test_random_does_otherwise_on_another_issue() -> None:
    other: list[Message] = [START[0], {"role": "user", "content": "something else"}]
    turns = [(Random(seed)(START, []), Random(seed)(other, [])) for seed in range(20)]
    assert any(ours != theirs for ours, theirs in turns)


# Oracle.


def test_the_oracle_looks_patches_and_submits(env: NanoCodexEnv, task: Task) -> None:
    result = rollout(env, Oracle([task]))
    calls = [call["function"]["name"] for message in env.episode.messages for call in message.get("tool_calls", [])]
    assert calls == ["shell", "apply_patch"]
    assert (result.reward, result.stop) == (1.0, "submitted")


PATCHES: dict[str, tuple[Files, Files]] = {
    "one-line": ({"a.py": NUMBERS}, {"a.py": NUMBERS.replace("line 30\n", "LINE 30\n")}),
    "several-hunks": (
        {"a.py": NUMBERS},
        {"a.py": NUMBERS.replace("line 3\n", "3\n3.5\n").replace("line 30\n", "").replace("60", "61")},
    ),
    "several-files": ({"a.py": "x\n", "b/c.py": "y\n"}, {"a.py": "X\n", "b/c.py": "Y\n"}),
    "not-unique": ({"a.py": BLOCK * 6}, {"a.py": BLOCK * 3 + BLOCK.replace("1", "2") + BLOCK * 2}),
    "far-from-unique": ({"a.py": NUMBERS + BLOCK * 40}, {"a.py": NUMBERS + BLOCK * 20 + "x = 1\n" + BLOCK * 20}),
    "all-the-same": ({"a.py": "same\n" * 30}, {"a.py": "same\n" * 31}),
    "new-files": ({"a.py": "x\n"}, {"new.py": "a = 1\n\n\nb = 2\n", "deep/down/below.txt": "text"}),
    "new-empty-file": ({"a.py": "x\n"}, {"empty/__init__.py": ""}),
    "fills-an-empty-file": ({"a.py": ""}, {"a.py": "no longer empty\n"}),
    "empties-a-file": ({"a.py": "soon\nempty\n"}, {"a.py": ""}),
    "no-final-newline": ({"a.py": "a\nb\nc"}, {"a.py": "a\nB\nc"}),
    "adds-a-final-newline": ({"a.py": "a\nb\nc"}, {"a.py": "a\nb\nc\n"}),
    "drops-a-final-newline": ({"a.py": "a\nb\nc\n"}, {"a.py": "a\nb\nc"}),
    "changes-a-last-line-without-newline": ({"a.py": "a\nb\nc"}, {"a.py": "a\nb\nd"}),
    "crlf": ({"a.py": "a\r\nb\r\nc\r\n"}, {"a.py": "a\r\nB\r\nc\r\n"}),
    "both-ends": ({"a.py": "a\nb\n"}, {"a.py": "top\na\nb\nbottom\n"}),
    "empties-a-long-file": ({"a.py": NUMBERS}, {"a.py": ""}),
    "odd-characters": (
        {"a.py": "\x0cdef f():\n\treturn 'é \u2028 👩\u200d👧'  \n\n"},
        {"a.py": "\x0cdef g():\n\treturn 'è'\n\n"},
    ),
    "odd-names": (dict.fromkeys(ODD_NAMES, "x\n"), dict.fromkeys(ODD_NAMES, "y\n")),
    "lines-like-headers": (
        {"a.py": "--- a/x\n+++ b/x\n@@ -1 +1 @@\n"},
        {"a.py": "--- a/y\n+++ b/x\n@@ -1 +1 @@\n-\n+\n"},
    ),
    "long-lines": ({"a.py": "x = 1\n" + "y" * 3000 + "\nz\n"}, {"a.py": "x = 2\n" + "y" * 3000 + "\nz\n"}),
}


@pytest.mark.parametrize(("before", "after"), mostly_slow(PATCHES.values(), 10), ids=list(PATCHES))
def test_the_oracle_makes_exactly_the_reference(oracle_plays: PlayAll, before: Files, after: Files) -> None:
    result, files = oracle_plays(before, after)
    assert (result.void, result.reward, result.stop) == (None, 1.0, "submitted")
    assert files == {name: content.encode() for name, content in after.items() if isinstance(content, str)}
    assert result.metrics["apply_patch.calls"] >= 1.0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a.py": NUMBERS}, {"a.py": None, "b.py": NUMBERS}),
        ({"a.py": "x\n", "b.py": "y\n"}, {"a.py": None}),
        ({"a.bin": b"\0\1\2" * 50}, {"a.bin": b"\0\1\3" * 50}),
        ({"a.py": b"caf\xe9\n"}, {"a.py": b"caf\xe8\n"}),
    ],
    ids=["rename", "deletion", "binary", "not-utf-8"],
)
def test_a_patch_that_no_tool_can_play_is_a_void_result(oracle_plays: PlayAll, before: Files, after: Files) -> None:
    result, _ = oracle_plays(before, after)
    assert result.reward is None
    assert (result.void or "").startswith("PolicyError: ")


def test_a_patch_without_context_is_played_in_its_place(env: NanoCodexEnv, task: Task) -> None:
    """`git diff -U0`: a hunk that only adds stands after the line that it names."""
    patch = (
        "--- a/sums.py\n+++ b/sums.py\n@@ -5 +5 @@\n-    return a - b\n+    return a + b\n@@ -9,0 +10,2 @@\n+\n+# end\n"
    )
    result = rollout(env, Oracle([task.with_(patch=patch)]))
    assert (result.reward, result.void) == (1.0, None)
    assert "     return add(a, a)\n+\n+# end\n" in result.diff


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"patch": MODE}, "the reference patch changes only the mode of sums.py"),
        ({"patch": FIX.replace("a - b", "a % b")}, "the oracle cannot play the reference patch of sums.py"),
        ({"patch": ""}, "the oracle does not know this issue, or its task has no reference patch"),
        ({"problem_statement": "another"}, "the oracle does not know this issue"),
    ],
    ids=["mode", "another base", "no patch", "another issue"],
)
def test_a_task_that_the_oracle_cannot_play_is_void(
    env: NanoCodexEnv, task: Task, known: dict[str, str], expected: str
) -> None:
    result = rollout(env, Oracle([task.with_(**known)]))
    assert result.reward is None
    assert (result.void or "").startswith(f"PolicyError: {expected}")


def test_tasks_that_the_oracle_cannot_tell_apart_are_refused(task: Task) -> None:
    twin = task.with_(instance_id="sums-2")
    Oracle([task, twin])
    Oracle(task)
    with pytest.raises(PolicyError, match="sums-2 has the same issue as another task, but not the same patch"):
        Oracle([task, twin.with_(patch="other")])


@pytest.mark.parametrize("given", ["bundled", 5, [{"instance_id": "a"}]], ids=str)
def test_what_is_no_list_of_tasks_is_refused_by_the_oracle(given: Any) -> None:
    """It was an AttributeError: 'str' object has no attribute 'problem_statement'."""
    with pytest.raises(ConfigError, match="Oracle takes the tasks it plays, such as load_tasks"):
        Oracle(given)


def test_the_oracle_knows_every_bundled_task() -> None:
    tasks = load_tasks("bundled")
    policy = Oracle(tasks)
    for task in tasks:
        messages: list[Message] = [START[0], {"role": "user", "content": task.problem_statement}]
        assert policy(messages, []).message["tool_calls"]
