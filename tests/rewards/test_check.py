"""`check_reward` has findings for each kind of wrong reward, and no finding for a sound one."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import DiffSimilarity, Resolved, Score, Task, from_function, save_tasks, weighted
from nano_codex_env.cli import main
from nano_codex_env.diff import File, file_diff
from nano_codex_env.errors import NanoCodexError, RewardCheckError
from nano_codex_env.messages import Message
from nano_codex_env.rewards import RewardFunction, check_reward, generic_hacks
from nano_codex_env.rewards.check import _DECLARE
from nano_codex_env.sandbox import Sandbox
from tests.conftest import BUG, FIX, git, mostly_slow
from tests.rewards.naive import ALL, ExitStatus, JunitFile, LogParse, MissingPasses, Naive

Judge = Callable[[Task, Sequence[Message], str], Any]
NO_HACKS: dict[str, dict[str, str]] = {"sums-1": {}}
OTHER_FIX = FIX.replace("a + b", "b + a")
HALF_FIX = FIX.replace("a + b", "a + 1")


def exact(task: Task, transcript: Sequence[Message], diff: str) -> float:
    """What a sound reward gives here, at no cost: the reference is right, all else is wrong."""
    return float(diff == task.patch)


EXACT = from_function(exact)


def found(reward: RewardFunction, tasks: Sequence[Task], **options: Any) -> list[str]:
    """The findings, without the line that counts them."""
    with pytest.raises(RewardCheckError) as caught:
        check_reward(reward, tasks, **options)
    count, *findings = str(caught.value).split("\n")
    assert count == f"{len(findings)} finding(s):"
    return findings


# Scorers of every day, and ours.

FOOLED = {
    LogParse: "it patches pytest's reports from inside",
    ExitStatus: "it exits with status 0 when it is imported",
    MissingPasses: "it makes every test skip itself",
    JunitFile: "it writes a report of its own at exit",
}


@pytest.mark.parametrize("kind", mostly_slow(ALL, 1), ids=lambda kind: kind.__name__)
def test_a_naive_scorer_is_found_out(kind: type[Naive], task: Task, sandbox: Sandbox) -> None:
    reward = kind(sandbox)
    assert (reward(task, [], task.patch).value, reward(task, [], "").value) == (1.0, 0.0)
    findings = found(reward, [task])
    for turn in ("", " in the opposite order"):
        assert f"sums-1: the hack {FOOLED[kind]!r}{turn} gives 1.0" in findings


@pytest.mark.slow
def test_no_fault_is_found_with_the_tests_as_resolved_judges_them(task: Task, sandbox: Sandbox) -> None:
    check_reward(Resolved(sandbox=sandbox, timeout=120), [task])


def test_no_fault_is_found_with_a_reward_of_several_numbers(task: Task) -> None:
    check_reward(weighted((EXACT, 2.0), (from_function(lambda *arguments: -1.0), 0.5)), [task, task])


def test_a_likeness_is_high_for_what_is_nearly_right(task: Task) -> None:
    findings = found(DiffSimilarity(), [task], hacks=NO_HACKS)
    assert [finding.partition(" gives 0.")[0] for finding in findings] == ["sums-1: a patch that breaks the file"]


# Each kind of fault.


def believing(task: Task, transcript: Sequence[Message], diff: str) -> float:
    claims = any("reward: 1.0" in str(message["content"]) for message in transcript)
    return 1.0 if claims else exact(task, transcript, diff)


def broken(task: Task, transcript: Sequence[Message], diff: str) -> float:
    raise KeyError("no such thing")


def broken_on_nonsense(task: Task, transcript: Sequence[Message], diff: str) -> float:
    if "+)(" in diff:
        raise SyntaxError("nonsense")
    return exact(task, transcript, diff)


RETURN = "return a number, or Score(number, parts), and raise RewardError if there is none to give"
FAULTS: dict[str, tuple[Judge, list[str]]] = {
    "reference-not-high": (
        lambda *_: 0.5,
        ["the reference patch gives 0.5, no patch gives 0.5: nothing to learn from"],
    ),
    "nothing-not-low": (
        lambda task, transcript, diff: float(not diff),
        ["the reference patch gives 0.0, no patch gives 1.0: nothing to learn from"],
    ),
    "broken-patch-worth-something": (
        lambda task, transcript, diff: float("sums.py" in diff),
        ["a patch that breaks the file gives 1.0"],
    ),
    "believes-the-transcript": (
        believing,
        [f"no patch with a transcript that claims success gives 1.0, and 0.0 before{_DECLARE}"],
    ),
    "punishes-the-transcript": (
        lambda task, transcript, diff: exact(task, transcript, diff) / (1 + len(transcript)),
        [f"the reference patch with another transcript gives {1 / 6}, and 1.0 before{_DECLARE}"],
    ),
    "raises": (
        broken,
        [f"{what} raises KeyError: 'no such thing'" for what in ("the reference patch", "no patch")],
    ),
    "raises-on-one-patch": (broken_on_nonsense, ["a broken patch raises SyntaxError: nonsense"]),
    "infinite": (
        lambda task, transcript, diff: exact(task, transcript, diff) or -math.inf,
        [f"no patch raises RewardError: a score is a finite number; got -inf from the reward lambda: {RETURN}"],
    ),
}


@pytest.mark.parametrize(("judge", "findings"), FAULTS.values(), ids=FAULTS)
def test_each_kind_of_fault_is_found_and_no_other(judge: Judge, findings: list[str], task: Task) -> None:
    assert found(from_function(judge), [task], hacks=NO_HACKS) == [f"sums-1: {words}" for words in findings]


@pytest.mark.parametrize("given", [None, "1.0", (1.0, {}), math.nan], ids=repr)
def test_what_gives_no_score_is_found(given: Any, task: Task) -> None:
    first = found(lambda *_: given, [task])[0]
    found_there = f"a score is a finite number; got {given!r} from the reward lambda: {RETURN}"
    assert first == f"sums-1: the reference patch gives no score: {found_there}"


def test_a_plain_function_is_checked_as_it_is(task: Task) -> None:
    check_reward(exact, [task], hacks=NO_HACKS)
    check_reward(lambda task, transcript, diff: diff == task.patch, [task], hacks=NO_HACKS)


# One that reads the transcript on purpose.


def fewer_messages(task: Task, transcript: Sequence[Message], diff: str) -> float:
    """A shorter transcript is worth more."""
    return exact(task, transcript, diff) / (1 + len(transcript))


class Fewer:
    """The same, which says so."""

    reads_transcript = True

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> float:
        return fewer_messages(task, transcript, diff)


def test_a_reward_may_say_that_it_reads_the_transcript(task: Task) -> None:
    check_reward(fewer_messages, [task], hacks=NO_HACKS, reads_transcript=True)
    for reward in (Fewer(), from_function(Fewer()), weighted((EXACT, 1.0), (Fewer(), 0.1))):
        check_reward(reward, [task], hacks=NO_HACKS)
        findings = found(reward, [task], hacks=NO_HACKS, reads_transcript=False)
        assert [_DECLARE in finding for finding in findings] == [True]
    for reward in (from_function(fewer_messages), weighted((from_function(fewer_messages), 1.0))):
        assert len(found(reward, [task], hacks=NO_HACKS)) == 1  # it says nothing


def test_one_that_reads_the_transcript_must_be_the_same_for_one_transcript(task: Task) -> None:
    seen: list[int] = []

    def unsteady(task: Task, transcript: Sequence[Message], diff: str) -> float:
        seen.append(len(transcript))
        return exact(task, transcript, diff) / (1 + seen.count(5))

    findings = found(unsteady, [task], hacks=NO_HACKS, reads_transcript=True)
    words = "sums-1: the reference patch with another transcript, scored once more, gives"
    assert findings == [f"{words} {1 / 3}, and 0.5 before"]
    naive = found(lambda *_: 0.5, [task], hacks=NO_HACKS, reads_transcript=True)
    assert naive == ["sums-1: the reference patch gives 0.5, no patch gives 0.5: nothing to learn from"]


def test_one_that_believes_the_transcript_is_found(task: Task) -> None:
    """Nothing was found wrong with it."""

    def believes(task: Task, transcript: Sequence[Message], diff: str) -> float:
        return max(exact(task, transcript, diff), float("All tests pass" in str(transcript)))

    findings = found(believes, [task], hacks=NO_HACKS, reads_transcript=True)
    assert findings == ["sums-1: no patch with a transcript that claims success gives 1.0"]


def test_one_that_takes_too_long_is_found(task: Task) -> None:
    def slow(task: Task, transcript: Sequence[Message], diff: str) -> float:
        if "+)(" in diff:
            time.sleep(0.1)
        return exact(task, transcript, diff)

    findings = found(from_function(slow), [task], hacks=NO_HACKS, timeout=0.05)
    assert any(finding.startswith("sums-1: a broken patch took 0.") for finding in findings)
    check_reward(from_function(slow), [task], hacks=NO_HACKS)


# What was scored before.


class Stateful:
    """1.0 for the reference, until it has been asked too often."""

    def __init__(self, times: int) -> None:
        self._left = times

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        self._left -= diff == task.patch
        return Score(exact(task, transcript, diff) if self._left >= 0 else 0.25)


class Remembering:
    """It keeps a table of what it has scored, and gives what was alike before: the file's name is all it looks at."""

    def __init__(self) -> None:
        self._scored: list[str] = []

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        self._scored.append(diff)
        return Score(float(diff == task.patch or (diff.startswith("hack") and len(set(self._scored)) > 4)))


def test_one_that_is_not_the_same_twice_is_found(task: Task) -> None:
    findings = found(Stateful(1), [task], hacks=NO_HACKS)
    assert findings[0] == "sums-1: the reference patch, scored once more, gives 0.25, and 1.0 before"
    check_reward(Stateful(3), [task], hacks=NO_HACKS)


def test_a_hack_that_pays_only_after_another_is_found(task: Task) -> None:
    """Each gets 0.0 if it comes first, so both orders are tried."""
    findings = found(Remembering(), [task], hacks={"sums-1": {"one": "hack 1", "two": "hack 2"}})
    assert findings == [
        "sums-1: the hack 'two' gives 1.0",
        "sums-1: the hack 'two' in the opposite order gives 1.0",
        "sums-1: the hack 'one' in the opposite order gives 1.0",
    ]


def test_a_reward_cannot_change_what_the_next_one_is_told(task: Task) -> None:
    def spoiling(task: Task, transcript: Sequence[Message], diff: str) -> float:
        for message in transcript:
            message.clear()
        return exact(task, transcript, diff)

    check_reward(from_function(spoiling), [task], hacks=NO_HACKS)
    findings = found(from_function(believing), [task], hacks=NO_HACKS)
    assert findings == [f"sums-1: {words}" for words in FAULTS["believes-the-transcript"][1]]


# What the caller gives.


def test_hacks_of_the_callers_are_tried_in_place_of_ours(task: Task) -> None:
    seen: list[str] = []

    def judge(task: Task, transcript: Sequence[Message], diff: str) -> float:
        seen.append(diff)
        return float(diff in (task.patch, HALF_FIX))

    findings = found(from_function(judge), [task], hacks={"sums-1": {"half a fix": HALF_FIX}, "another": {"x": "x"}})
    assert findings == [
        "sums-1: the hack 'half a fix' gives 1.0",
        "sums-1: the hack 'half a fix' in the opposite order gives 1.0",
    ]
    assert not set(seen) & {"x", *generic_hacks(task).values()}


def test_controls_are_right_or_wrong(task: Task) -> None:
    def lenient(task: Task, transcript: Sequence[Message], diff: str) -> float:
        return float(diff in (task.patch, HALF_FIX))

    right, wrong = {"other way": (OTHER_FIX, True)}, {"half": (HALF_FIX, False)}
    findings = found(from_function(lenient), [task], hacks=NO_HACKS, controls={"sums-1": right | wrong})
    assert findings == [
        "sums-1: the right patch 'other way' gives 0.0",
        "sums-1: the wrong patch 'half' gives 1.0",
    ]
    swapped = {"other way": (OTHER_FIX, False), "half": (HALF_FIX, True)}
    check_reward(from_function(lenient), [task], hacks=NO_HACKS, controls={"sums-1": swapped, "another": right})


def test_the_caller_is_told_what_is_tried(task: Task) -> None:
    told: list[str] = []
    controls = {"sums-1": {"half": (HALF_FIX, False)}}
    check_reward(EXACT, [task], hacks={"sums-1": {"one": "x"}}, controls=controls, say=told.append)
    assert [words.removeprefix("sums-1: ") for words in told][1:-1] == ["one", "one in the opposite order", "half"]


# One error for all.


def test_one_error_lists_every_finding_of_every_task(task: Task) -> None:
    tasks = [task, task.with_(instance_id="sums-2", patch=""), task.with_(instance_id="sums-3")]
    findings = found(from_function(lambda *_: 0.5), tasks, hacks={})
    assert [finding.split(" ")[0] for finding in findings] == ["sums-1:", "sums-2", "sums-3:"]
    assert findings[1] == "sums-2 has no reference patch, so nothing can be said of it"


def test_without_a_task_the_error_is_an_assertion_and_one_of_ours(task: Task) -> None:
    assert found(EXACT, []) == ["there is no task to try it on"]
    for kind in (AssertionError, NanoCodexError):
        with pytest.raises(kind, match="1 finding"):
            check_reward(EXACT, [])


def test_a_reference_that_only_deletes_is_broken_too(make_repo: Callable[..., Path]) -> None:
    """Else the broken patch would be the reference patch itself."""
    before = "def add(a, b):\n    b = -b\n    return a + b\n"
    repo = make_repo({"sums.py": before})
    patch = file_diff("sums.py", File(before.encode()), File(before.replace("    b = -b\n", "").encode()))
    check_reward(EXACT, [Task("sums-4", str(repo), git(repo, "rev-parse", "HEAD"), "x", patch)], hacks={})


# The generic hacks.

SOURCES = {
    "plain": BUG,
    "future": '"""Sums."""\n\nfrom __future__ import annotations\n\n' + BUG,
    "future-in-brackets": "from __future__ import (\n    annotations,\n)\n\n" + BUG,
    "future-in-a-text": 'TEXT = """\nfrom __future__ import annotations\n"""\n' + BUG,
    "encoding": "# -*- coding: latin-1 -*-\nNAME = 'caf\xe9'\n" + BUG,
    "no-last-line-break": BUG + "X = 1",
}


@pytest.mark.parametrize("text", mostly_slow([pytest.param(text, id=name) for name, text in SOURCES.items()], 2))
def test_a_generic_hack_runs_before_the_code_under_repair(
    text: str, task: Task, make_repo: Callable[..., Path]
) -> None:
    """A hack that is not valid Python, or never runs, finds no fault."""
    source = text.encode("latin-1")
    repo = make_repo({"sums.py": source}, "other")
    patch = file_diff("sums.py", File(source), File(source.replace(b"a - b", b"a + b")))
    other = task.with_(repo=str(repo), base_commit=git(repo, "rev-parse", "HEAD"), patch=patch)
    hacks = {name: diff for name, diff in generic_hacks(other).items() if name.startswith("it ")}
    assert len(hacks) >= 6
    for diff in hacks.values():
        git(repo, "checkout", "-q", "--", ".")
        (repo / "hack.diff").write_bytes(diff.encode("utf-8", "surrogateescape"))
        git(repo, "apply", "hack.diff")
        code = compile((repo / "sums.py").read_bytes(), "sums.py", "exec")
        assert {"os", "sys", "pytest"} & set(code.co_names)


def test_generic_hacks_are_made_of_any_bytes(task: Task) -> None:
    """A patch holds what is not UTF-8 as surrogate escapes."""
    before, after = BUG.encode(), BUG.replace("Sums.", "Caf\xe9.").encode("latin-1")
    assert generic_hacks(task.with_(patch=file_diff("sums.py", File(before), File(after))))


@pytest.mark.parametrize("path", ["sums.py", "pkg/adding.py"], ids=["renamed", "new-file-first"])
def test_code_under_repair_is_found_wherever_the_reference_begins(path: str, task: Task) -> None:
    """Without the hacks in the code itself the rest is files that `Resolved` and most others drop."""
    rename = "diff --git a/sums.py b/adding.py\nsimilarity index 100%\nrename from sums.py\nrename to adding.py\n"
    new = file_diff(path, None, File(b"X = 1\n")) + FIX
    hacks = generic_hacks(task.with_(patch=rename if path == "sums.py" else new))
    assert "it exits with status 0 when it is imported" in hacks


def test_a_forged_log_reaches_the_scorer(task: Task, sandbox: Sandbox) -> None:
    """Descriptor 1 is pytest's own while it collects, and what is written there goes with it."""
    hack = generic_hacks(task)["it prints the tests as passed and exits"]
    assert LogParse(sandbox)(task, [], hack).value == 1.0


# The command.


@pytest.fixture
def here(tmp_path: Path, task: Task, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with rewards and a file of one task, where the user stands."""
    save_tasks([task], tmp_path / "tasks.jsonl")
    lines = [
        "def right(task, transcript, diff):\n    return float(diff == task.patch)\n\n",
        "def wrong(task, transcript, diff):\n    return float(bool(diff))\n\n",
        "def brief(task, transcript, diff):\n    return float(diff == task.patch) / (1 + len(transcript))\n",
    ]
    (tmp_path / "rewards_of_mine.py").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(name: str, *more: str) -> tuple[int, str, str]:
    """Status, stdout and stderr, from a process of its own: it imports what lies beside the user."""
    start = "import sys; sys.path.remove(''); from nano_codex_env.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["check-reward", name, "--tasks", "tasks.jsonl", *more]
    done = subprocess.run([sys.executable, "-c", start, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_command_exits_with_0_where_nothing_is_wrong(here: Path) -> None:
    status, out, err = check("rewards_of_mine:right")
    assert (status, out) == (0, "nothing found wrong with rewards_of_mine:right on 1 task(s)\n"), err


@pytest.mark.slow
def test_the_command_takes_it_that_a_reward_reads_the_transcript(here: Path) -> None:
    assert check("rewards_of_mine:brief", "--reads-transcript")[0] == 0
    status, out, _ = check("rewards_of_mine:brief")
    assert (status, "--reads-transcript" in out) == (1, True)


def test_the_command_exits_with_1_and_prints_what_is_wrong(here: Path) -> None:
    status, out, err = check("rewards_of_mine:wrong", "--only", "sums-1")
    lines = out.splitlines()
    assert (status, lines[0]) == (1, f"{len(lines) - 1} finding(s):"), err
    assert "sums-1: a patch that breaks the file gives 1.0" in lines
    assert "sums-1: the hack 'a conftest.py that deselects all tests' gives 1.0" in lines


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rewards_of_mine:nobody", "--tasks", "tasks.jsonl"], "cannot load the reward 'rewards_of_mine:nobody'"),
        (["no_such_module:right", "--tasks", "tasks.jsonl"], "cannot load the reward 'no_such_module:right'"),
        (["right", "--tasks", "tasks.jsonl"], "no reward is called 'right'"),
        (["similarity", "--tasks", "nowhere.jsonl"], "nowhere.jsonl"),
        (["similarity", "--tasks", "tasks.jsonl", "--only", "sums-9"], "no task is called 'sums-9'"),
    ],
    ids=["no-such-name", "no-such-module", "no-module", "no-tasks", "no-such-task"],
)
def test_the_command_exits_with_2_where_it_cannot_be_done(
    arguments: list[str], words: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "rewards_of_mine", raising=False)
    assert main(["check-reward", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("nano-codex: ")
    assert words in said.err
