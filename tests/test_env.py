"""The environment: how an episode starts, goes on and ends, and what its caller may rely on."""

from __future__ import annotations

import copy
import json
import pickle
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from nano_codex_env import (
    Idle,
    NanoCodexEnv,
    Resolved,
    Score,
    Task,
    Trajectory,
    from_function,
    load_tasks,
    make_vec,
    rollouts,
)
from nano_codex_env.adapters.trl import TrlSpec
from nano_codex_env.errors import (
    ActionError,
    BrokenRewardError,
    BrokenToolError,
    ConfigError,
    RewardError,
    SandboxError,
    TaskError,
    TrajectoryError,
    WorkspaceError,
)
from nano_codex_env.messages import Message, ToolCall, assistant, tool_call
from nano_codex_env.runs.rescore import rescore
from nano_codex_env.sandbox import Sandbox
from nano_codex_env.tokens import join_turns
from nano_codex_env.tools import State, Tool, ToolResult, apply_patch, default_tools, shell
from nano_codex_env.tools.prompt import REMINDER
from nano_codex_env.untrusted import for_terminal
from tests.conftest import git, mostly_slow

LOOK = tool_call("shell", cmd="cat sums.py")
FIX = tool_call("apply_patch", search="return a - b", replace="return a + b", file="sums.py")
SPOIL = tool_call("apply_patch", search="return a - b", replace="return a * b", file="sums.py")
DONE = assistant("done")
NOT_RUN = "not run: limit reached"

Make = Callable[..., NanoCodexEnv]


def one(task: Task, transcript: Sequence[Message], diff: str) -> float:
    """A reward for those tests that need none."""
    return 1.0


ONE = from_function(one)
HALF = from_function(lambda *_: 0.5)
"""What no test expects that is about its reward; None is the default: the tests that are hidden."""


@pytest.fixture
def make(task: Task, sandbox: Sandbox) -> Iterator[Make]:
    """Makes environments over the task that log nowhere; closes them."""
    made: list[NanoCodexEnv] = []

    def make_env(tasks: Any = None, **arguments: Any) -> NanoCodexEnv:
        given = {"sandbox": sandbox, "log_dir": None, "reward": HALF, **arguments}
        env = NanoCodexEnv([task] if tasks is None else tasks, **given)
        made.append(env)
        return env

    yield make_env
    for env in made:
        env.close()


def play(env: gym.Env[Any, Any], *actions: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
    """What the last action gives."""
    result: Any = None
    for action in actions:
        result = env.step(action)
    outcome: tuple[Any, float, bool, bool, dict[str, Any]] = result
    return outcome


def log_of(env: NanoCodexEnv) -> Path:
    log = env.episode.log
    assert log
    return log.folder


# How an episode starts.


def test_without_arguments_it_serves_the_bundled_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    env = gym.make("NanoCodex-v0")
    obs, info = env.reset(seed=7)
    assert info["instance_id"] in {task.instance_id for task in load_tasks("bundled")}
    assert [message["role"] for message in obs] == ["system", "user"]
    assert (tmp_path / ".nano-codex").is_dir()
    env.close()


def test_the_first_info_has_the_task_the_tools_and_the_limits(env: NanoCodexEnv) -> None:
    obs, info = env.reset(seed=0)
    assert info == {
        "instance_id": "sums-1",
        "tools": [tool.schema for tool in default_tools()],
        "limits": {"max_steps": 50, "time_limit": 1800.0, "token_limit": None},
    }
    assert obs == [
        {"role": "system", "content": obs[0]["content"]},
        {"role": "user", "content": "add(2, 3) gives -1"},
    ]
    assert "apply_patch" in obs[0]["content"]


def test_a_seed_names_an_episode() -> None:
    with NanoCodexEnv(log_dir=None) as first, NanoCodexEnv("bundled", log_dir=None) as second:
        names = set()
        for seed in range(6):
            ours, theirs = first.reset(seed=seed), second.reset(seed=seed)
            assert ours == theirs
            assert first.reset() == second.reset()  # and so does what is drawn next
            names.add(ours[1]["instance_id"])
    assert len(names) > 1


def test_check_env_passes_raw(make: Make) -> None:
    for mode in (None, "ansi", "human"):  # without a spec it cannot try the modes itself
        env = make(render_mode=mode)
        check_env(env, skip_render_check=True)
        env.reset()
        assert isinstance(env.render(), str if mode == "ansi" else type(None))


def test_check_env_passes_through_gym_make(task: Task) -> None:
    check_env(gym.make("NanoCodex-v0", tasks=[task], log_dir=None).unwrapped)


def test_check_env_passes_with_the_wrappers_of_gym_make(task: Task) -> None:
    env = gym.make("NanoCodex-v0", tasks=[task], log_dir=None)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version")  # that is what is tried
        check_env(env)


def test_an_environment_can_be_made_again_from_its_spec(task: Task) -> None:
    own: dict[str, Any] = {"reward": Resolved(timeout=300), "tools": [shell(timeout=60), apply_patch()]}
    env = gym.make("NanoCodex-v0", tasks=[task], max_steps=7, log_dir=None, **own)
    assert env.spec is not None
    again = gym.make(env.spec)
    assert again.reset(seed=1) == env.reset(seed=1)
    again.close()
    env.close()


def test_the_spaces_hold_what_the_environment_gives_and_takes(env: NanoCodexEnv) -> None:
    obs, _ = env.reset()
    assert obs in env.observation_space
    for action in (LOOK, DONE, assistant("", LOOK, FIX)):
        assert action in env.action_space
    assert "ls" not in env.action_space
    assert [{"role": "nobody"}] not in env.observation_space
    for _ in range(5):
        action = env.action_space.sample()
        assert action in env.action_space
        obs, _, terminated, truncated, _ = env.step(action)
        assert obs in env.observation_space
        assert not terminated
        assert not truncated
    assert env.observation_space.sample() in env.observation_space


def test_an_issue_and_a_repository_can_be_given_by_name_or_as_options(repo: Path, sandbox: Sandbox) -> None:
    wrapped = gym.make("NanoCodex-v0", reward=ONE, log_dir=None)
    commit = git(repo, "rev-parse", "HEAD")
    given = {"issue": "add is wrong", "repo": str(repo), "commit": commit}
    by_name = wrapped.reset(**given)  # type: ignore[arg-type]
    assert by_name == wrapped.reset(options=given)
    assert by_name[1]["instance_id"] == f"repo-{commit[:12]}"
    assert by_name[0][1] == {"role": "user", "content": "add is wrong"}
    assert play(wrapped, LOOK)[0][-1]["content"] == (repo / "sums.py").read_text()
    assert wrapped.reset(issue="add is wrong", repo=repo)[1]["instance_id"] == "repo"  # type: ignore[call-arg]
    wrapped.close()
    with NanoCodexEnv([], reward=ONE, sandbox=sandbox, log_dir=None) as raw:
        assert raw.reset(issue="add is wrong", repo=repo, commit=commit) == by_name


def test_the_commit_that_is_named_is_the_one_that_is_served(repo: Path, make: Make) -> None:
    old = git(repo, "rev-parse", "HEAD")
    (repo / "sums.py").write_text("new = True\n")
    git(repo, "commit", "-qam", "second")
    env = make(reward=ONE)
    env.reset(issue="x", repo=repo)
    assert play(env, LOOK)[0][-1]["content"] == "new = True\n"
    for name in (old, old[:10], "HEAD~1"):
        env.reset(issue="x", repo=repo, commit=name)
        assert "return a - b" in play(env, LOOK)[0][-1]["content"]
        assert play(env, tool_call("shell", cmd="git log --all --format=%s"))[0][-1]["content"] == "base\n"


def test_a_task_can_be_given_whole_or_as_a_row_or_by_its_name(task: Task, make: Make) -> None:
    other = task.with_(instance_id="sums-2", problem_statement="twice is wrong too")
    env = make([task, other])
    for options in ({"task": other}, {"task": other.to_row()}, {"instance_id": "sums-2"}):
        obs, info = env.reset(options=options)
        assert (info["instance_id"], obs[1]["content"]) == ("sums-2", "twice is wrong too")
    stranger = task.with_(instance_id="sums-3")
    assert env.reset(options={"task": stranger})[1]["instance_id"] == "sums-3"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"tsk": 1}, ConfigError, "unknown option 'tsk'; there are: task, instance_id, issue, repo, commit, snapshot"),
        (
            {"instance_id": "sums-1", "issue": "x"},
            ConfigError,
            "give one of task, instance_id, snapshot, or issue with repo",
        ),
        ({"issue": "x"}, ConfigError, "give both issue .* and repo"),
        ({"repo": "x"}, ConfigError, "give both issue .* and repo"),
        ({"commit": "abc"}, ConfigError, "give both issue .* and repo"),
        ({"issue": 1, "repo": "x"}, ConfigError, "give both issue .* and repo"),
        ({"issue": "x", "repo": "r", "commit": 5}, ConfigError, "commit must be a commit's id; got 5"),
        ({"instance_id": "nobody"}, TaskError, "no task is called 'nobody'; there are sums-1"),
        ({"task": {"repo": "r"}}, TaskError, "no column instance_id, problem_statement"),
        ({"task": "sums-1"}, TaskError, "a row must be an object; got str"),
    ],
)
def test_options_that_do_not_fit_are_refused(make: Make, options: Any, error: Any, words: str) -> None:
    env = make()
    with pytest.raises(error, match=words):
        env.reset(options=options)
    with pytest.raises(ResetNeeded):
        env.step(LOOK)
    env.reset()


def test_reset_takes_no_other_names(make: Make) -> None:
    env = gym.make("NanoCodex-v0", log_dir=None)
    with pytest.raises(TypeError, match="unexpected keyword argument 'branch'"):
        env.reset(branch="main")  # type: ignore[call-arg]
    env.close()


def test_a_dirty_repository_serves_a_commit_that_is_named_in_full(repo: Path, make: Make) -> None:
    (repo / "sums.py").write_text("dirty\n")
    env = make(reward=ONE)
    env.reset(issue="x", repo=repo, commit=git(repo, "rev-parse", "HEAD"))
    assert "dirty" not in play(env, LOOK)[0][-1]["content"]


def test_what_cannot_be_opened_is_refused_with_its_mend(tmp_path: Path, repo: Path, make: Make) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "empty").mkdir()
    git(tmp_path / "empty", "init", "-q")
    env = make(reward=ONE)
    for given, words in [
        ({"repo": tmp_path / "plain"}, "is not a git repository; run `git init` and commit, or give another path"),
        ({"repo": tmp_path / "nothing"}, "there is no folder .*; give a git repository's path, a URL or owner/name"),
        ({"repo": tmp_path / "empty"}, "has no commit yet; commit something first"),
        ({"repo": repo / "pkg"}, "is a folder inside the repository .*; give the repository's root"),
        ({"repo": repo, "commit": "f" * 40}, f"has no commit {'f' * 40}; check the id, or fetch it first"),
        ({"repo": repo, "commit": "--help"}, "'--help' is no commit; give a full commit id"),
        (
            {"repo": f"file://{tmp_path}/nothing.git"},
            "cannot clone file://.*[Cc]heck the name and the network, or give the path of a clone",
        ),
        ({"repo": "not a repository"}, "is no repository: .* neither owner/name nor a URL"),
    ]:
        with pytest.raises(WorkspaceError, match=f"(?s){words}"):
            env.reset(issue="x", **given)  # type: ignore[arg-type]
        with pytest.raises(ResetNeeded):
            env.step(LOOK)
    env.reset(issue="x", repo=repo)


def test_a_url_is_cloned(repo: Path, make: Make) -> None:
    env = make(reward=ONE)
    _, info = env.reset(issue="x", repo=f"file://{repo}")
    assert info["instance_id"] == "repo"
    assert "return a - b" in play(env, LOOK)[0][-1]["content"]


def test_a_task_without_tests_needs_a_reward(task: Task, make: Make) -> None:
    bare = task.with_(FAIL_TO_PASS=())
    with pytest.raises(TaskError, match="no tests, so nothing can judge a patch: sums-1; give another reward="):
        make([bare], reward=None).reset()
    env = make([bare], reward=ONE)
    env.reset()
    assert play(env, DONE)[1:4] == (1.0, True, False)


def test_no_tasks_is_an_error_at_reset(make: Make) -> None:
    with pytest.raises(TaskError, match="holds no tasks"):
        make([]).reset()


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ("nothing.jsonl", "there is no file nothing.jsonl"),
        (Path("nothing") / "t.parquet", "there is no file nothing/t.parquet"),
        ("bundeld", "there is no file bundeld, and it is no dataset's name; give bundled, a file, or owner/name"),
        ("/no/such/folder", "there is no file /no/such/folder, and it is no dataset's name"),
        ("~/nothing-here", "there is no file ~/nothing-here, and it is no dataset's name"),
        (".", "holds no .jsonl, .json, .parquet files"),
        (__file__, "tasks are read from .jsonl, .json, .parquet files"),
        (3, 'tasks are "bundled", a file, a folder, a dataset\'s name, or rows; got 3'),
        ([3], "rows must be objects; got 3"),
        ({"instance_id": "one"}, "got one row: put it in a list"),
    ],
    ids=repr,
)
def test_tasks_that_there_cannot_be_are_refused_at_once(
    tasks: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was an error of the first reset."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TaskError, match=re.escape(words)):
        NanoCodexEnv(tasks)


def test_tasks_are_read_when_they_are_needed(tmp_path: Path) -> None:
    """A dataset may be large; whether the hub has one of a name is not known without the network."""
    (tmp_path / "tasks.jsonl").write_text("not read yet\n")
    env = NanoCodexEnv(tmp_path / "tasks.jsonl")
    NanoCodexEnv("nobody/no-such-tasks")
    NanoCodexEnv(iter(()))
    with pytest.raises(TaskError, match="line 1 is not JSON"):
        env.reset()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_steps": 0}, "max_steps must be a positive whole number; got 0"),
        ({"max_steps": None}, "max_steps must be a positive whole number; got None"),
        ({"max_steps": 1.5}, "max_steps must be a positive whole number; got 1.5"),
        ({"max_steps": True}, "max_steps must be a positive whole number; got True"),
        ({"time_limit": -1}, "time_limit must be a positive number; got -1"),
        ({"time_limit": float("nan")}, "time_limit must be a positive number; got nan"),
        ({"token_limit": "many"}, "token_limit must be a positive whole number; got 'many'"),
        ({"on_inaction": "shout"}, "on_inaction is 'submit' or 'remind'; got 'shout'"),
        ({"render_mode": "rgb_array"}, "render_mode is None, 'ansi' or 'human'; got 'rgb_array'"),
        ({"sandbox": "none"}, "no sandbox is called 'none'; there are: bubblewrap"),
        ({"tools": []}, "tools is empty: give at least one, or None for shell and apply_patch"),
        ({"tools": [shell(), shell()]}, "tools must have names of their own"),
        ({"tools": ["shell"]}, "tools is a list of tools, such as [shell(), apply_patch()]; 'shell' is none"),
        ({"tools": "shell"}, "tools is a list of tools, such as [shell(), apply_patch()]; got 'shell'"),
        ({"tools": shell()}, "tools is a list of tools, such as [shell(), apply_patch()]; got Tool("),
        ({"tools": [shell]}, "is none: call it to make the tool"),
        ({"tools": [print]}, "is none: Tool.from_function makes one of a function"),
        (
            {"sandbox": object()},
            "sandbox is 'bubblewrap' or an object with methods open and run (see Sandbox); got <object",
        ),
        ({"sandbox": None}, "sandbox is 'bubblewrap' or an object with methods open and run (see Sandbox); got None"),
        ({"notices": [1]}, "notices is a list of functions (State) -> str or None, such as [budget]; got [1]"),
        (
            {"notices": "budget"},
            "notices is a list of functions (State) -> str or None, such as [budget]; got 'budg",
        ),
        ({"notices": print}, "notices is a list of functions (State) -> str or None, such as [budget]; got <built-in"),
        (
            {"reward": "x"},
            "a reward is called with (task, transcript, diff), such as Resolved() or a function of yours; got",
        ),
        ({"log_dir": 3}, "log_dir must be the path of a folder, or None; got 3"),
        ({"log_dir": b"logs"}, "log_dir must be the path of a folder, or None; got b'logs'"),
        ({"cache_dir": 3}, "cache_dir must be the path of a folder, or None; got 3"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_at_once(arguments: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        NanoCodexEnv(**arguments)


# How it goes on.


@pytest.mark.parametrize("arguments", ['{"cmd": "echo hi"}', {"cmd": "echo hi"}], ids=["text", "object"])
def test_a_tool_call_is_an_action(env: NanoCodexEnv, arguments: Any) -> None:
    env.reset()
    action = {"id": "abc", "type": "function", "function": {"name": "shell", "arguments": arguments}}
    given = copy.deepcopy(action)
    obs, reward, terminated, truncated, info = env.step(action)
    assert action == given  # the caller's object is left alone
    function = {"name": "shell", "arguments": '{"cmd": "echo hi"}'}
    call = {"id": "abc", "type": "function", "function": function}
    assert obs[2:] == [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "abc", "content": "hi\n"},
    ]
    assert (reward, terminated, truncated, info) == (0.0, False, False, {"ok": [True]})


def test_a_call_without_an_id_gets_one_of_nine_alphanumerics(env: NanoCodexEnv) -> None:
    env.reset()
    play(env, LOOK, assistant("", tool_call("shell", "mine", cmd="ls"), LOOK), {**LOOK, "id": None})
    obs = play(env, {**LOOK, "id": ""})[0]
    ids = [call["id"] for message in obs for call in message.get("tool_calls", [])]
    assert ids == ["call00001", "mine", "call00003", "call00004", "call00005"]
    assert [message["tool_call_id"] for message in obs if message["role"] == "tool"] == ids
    assert all(re.fullmatch("[A-Za-z0-9]{9}", name) for name in ids if name != "mine")


def test_the_calls_of_a_message_run_in_order_and_each_is_answered(env: NanoCodexEnv) -> None:
    env.reset()
    grep = tool_call("shell", cmd="grep return sums.py | head -n 1")
    obs, reward, terminated, truncated, info = env.step(assistant("so", grep, FIX, FIX, grep))
    assert [message["role"] for message in obs[2:]] == ["assistant", "tool", "tool", "tool", "tool"]
    assert [message["content"] for message in obs[3:]] == [
        "    return a - b\n",
        "patched sums.py at line 5",
        obs[5]["content"],
        "    return a + b\n",
    ]
    assert obs[5]["content"].startswith("error: search text not found in sums.py")
    assert (reward, terminated, truncated, info) == (0.0, False, False, {"ok": [True, True, False, True]})
    assert env.episode.steps == 4


def test_a_message_is_kept_as_it_came(env: NanoCodexEnv) -> None:
    message = {
        "reasoning_content": "  hm \u2028 …\n",
        "role": "assistant",
        "tool_calls": [
            {"index": 0, "id": "a", "function": {"arguments": '{ "cmd":"ls" ', "name": "shell"}, "type": "function"}
        ],
        "refusal": None,
        "content": None,
        "provider_specific": {"b": [1, 2.5, True], "a": {}},
    }
    env.reset()
    obs = play(env, message)[0]
    assert json.dumps(obs[2]) == json.dumps(message)  # key order too
    assert (log_of(env) / "messages.jsonl").read_text().splitlines()[2] == json.dumps(message)


@pytest.mark.parametrize(
    "message",
    [
        assistant("I am done"),
        {"role": "assistant", "content": None},
        {"role": "assistant"},
        {"role": "assistant", "content": "", "tool_calls": []},
        {"role": "assistant", "content": [{"type": "text", "text": "done"}], "tool_calls": None},
    ],
)
def test_a_message_without_calls_submits(make: Make, message: Message) -> None:
    env = make(reward=ONE)
    env.reset()
    obs, reward, terminated, truncated, info = env.step(message)
    assert obs[2:] == [message]
    assert (reward, terminated, truncated, info["ok"], info["stop"]) == (1.0, True, False, [], "submitted")


@pytest.mark.parametrize(
    "action",
    [
        None,
        "ls",
        7,
        ["ls"],
        [LOOK],
        {},
        {"cmd": "ls"},
        {"role": "user", "content": "hi"},
        {"role": "tool", "content": "hi", "tool_call_id": "call00001"},
        {"role": "assistant", "tool_calls": "ls"},
        {"role": "assistant", "tool_calls": [1]},
        {"role": "assistant", "tool_calls": {"function": {}}},
        {"role": "assistant", "content": 5},
        {"role": "assistant", "content": "x", "extra": {1, 2}},
        {"role": "assistant", "content": b"bytes"},
        {"role": "assistant", "content": "x", "extra": np.zeros(2)},
    ],
    ids=repr,
)
def test_what_is_no_action_is_refused_and_changes_nothing(make: Make, action: Any) -> None:
    env = make(reward=ONE)
    env.reset()
    play(env, FIX)
    before = env.episode.lines[:]
    with pytest.raises(ActionError):
        env.step(action)
    assert env.episode.lines == before
    assert play(env, DONE)[1] == 1.0  # the episode is not void


def test_a_step_before_reset_or_after_the_end_raises(make: Make, task: Task) -> None:
    env = make(reward=ONE)
    for method in (lambda: env.step(LOOK), env.snapshot, lambda: env.report_tokens(1), lambda: env.fork(1)):
        with pytest.raises(ResetNeeded):
            method()
    env.reset()
    play(env, DONE)
    with pytest.raises(ResetNeeded, match=r"the episode is over; call reset\(\) first"):
        env.step(LOOK)
    env.reset()
    play(env, LOOK)
    wrapped = gym.make("NanoCodex-v0", tasks=[task], log_dir=None)
    with pytest.raises(ResetNeeded):
        wrapped.step(LOOK)
    wrapped.close()


# How it ends.


def test_a_fix_that_is_submitted_is_worth_one(tested: NanoCodexEnv) -> None:
    tested.reset()
    play(tested, LOOK, FIX)
    obs, reward, terminated, truncated, info = tested.step(DONE)
    shares = {"resolved": 1.0, "fail_to_pass": 1.0, "pass_to_pass": 1.0}
    parts = shares | {"dropped": [], "failed": [], "reason": "", "integrity": [], "unprotected": []}
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert type(reward) is float
    assert info == {
        "ok": [],
        "stop": "submitted",
        "diff": info["diff"],
        "parts": parts,
        "metrics": {
            "steps": 2.0,
            "reward": 1.0,
            "shell.calls": 1.0,
            "shell.ok": 1.0,
            "apply_patch.calls": 1.0,
            "apply_patch.ok": 1.0,
            "commands.cat": 1.0,
            "parts.resolved": 1.0,
            "parts.fail_to_pass": 1.0,
            "parts.pass_to_pass": 1.0,
        },
    }
    assert "-    return a - b\n+    return a + b\n" in info["diff"]
    assert obs[-1] == DONE


def test_nothing_that_is_submitted_is_worth_nothing(tested: NanoCodexEnv) -> None:
    tested.reset()
    _, reward, terminated, truncated, info = tested.step(DONE)
    assert (reward, terminated, truncated, info["diff"]) == (0.0, True, False, "")
    assert info["parts"]["failed"] == ["tests/test_sums.py::test_add"]


def test_an_episode_is_cut_at_max_steps_and_scored_all_the_same(make: Make) -> None:
    env = make(reward=None, max_steps=2)
    env.reset()
    assert play(env, FIX)[2:4] == (False, False)
    _, reward, terminated, truncated, info = env.step(LOOK)
    assert (reward, terminated, truncated, info["stop"], info["ok"]) == (1.0, False, True, "max_steps", [True])
    with pytest.raises(ResetNeeded):
        env.step(LOOK)


def test_calls_beyond_the_limit_are_answered_but_not_run(make: Make) -> None:
    env = make(reward=None, max_steps=2)
    env.reset()
    obs, reward, terminated, truncated, info = env.step(assistant("", LOOK, LOOK, FIX, LOOK))
    assert [message["content"] for message in obs[-2:]] == [NOT_RUN, NOT_RUN]
    assert [message["tool_call_id"] for message in obs[-4:]] == [f"call0000{n}" for n in (1, 2, 3, 4)]
    assert (reward, terminated, truncated, info["diff"]) == (0.0, False, True, "")
    assert info["ok"] == [True, True, False, False]
    assert info["metrics"]["steps"] == info["metrics"]["shell.calls"] == 2.0
    assert "apply_patch.calls" not in info["metrics"]


def test_a_message_that_submits_at_the_last_moment_is_a_submission(make: Make) -> None:
    env = make(reward=None, max_steps=2)
    env.reset()
    play(env, FIX)
    assert play(env, DONE)[1:4] == (1.0, True, False)


def test_an_episode_is_cut_at_its_time_limit_and_scored_all_the_same(make: Make) -> None:
    env = make(time_limit=0.5, reward=ONE)
    env.reset()
    nap = tool_call("shell", cmd="sleep 0.6")
    obs, reward, terminated, truncated, info = env.step(assistant("", nap, LOOK))
    assert obs[-1]["content"] == NOT_RUN
    assert (reward, terminated, truncated, info["stop"]) == (1.0, False, True, "time_limit")
    assert info["ok"][-1] is False


def test_an_episode_is_cut_at_its_token_limit_as_the_caller_reports_tokens(make: Make) -> None:
    env = make(token_limit=100, reward=ONE)
    _, info = env.reset()
    assert info["limits"]["token_limit"] == 100
    assert play(env, LOOK)[3] is False  # nothing reported yet
    env.report_tokens(99)
    assert play(env, LOOK)[3] is False
    env.report_tokens(100)
    obs, reward, terminated, truncated, info = env.step(LOOK)
    assert obs[-1]["content"] == NOT_RUN
    assert (reward, terminated, truncated, info["stop"]) == (1.0, False, True, "token_limit")
    env.reset()
    assert play(env, LOOK)[3] is False  # a new episode counts anew


@pytest.mark.parametrize(
    "total",
    [10**400, 10**5000, -1, True, "x", None, 1.5, (1 << 53) + 1],
    ids=["400 digits", "5000 digits", "negative", "true", "text", "none", "a half", "inexact"],
)
def test_tokens_that_are_no_count_are_refused_when_they_are_told(make: Make, total: Any) -> None:
    """They were an error when the episode was scored."""
    env = make()
    env.reset()
    with pytest.raises(ConfigError, match=r"report_tokens takes a whole number from 0 to 2\*\*53; got"):
        env.report_tokens(total)
    count: Any = np.int64(3)
    env.report_tokens(count)
    assert env.step(DONE)[4]["metrics"]["tokens"] == 3.0


def test_a_part_that_no_float_holds_is_no_metric(make: Make) -> None:
    env = make(reward=lambda *_: Score(1.0, {"n": 10**400, "m": 2}))
    env.reset()
    _, reward, _, _, info = env.step(DONE)
    assert (reward, info["parts"], "parts.n" in info["metrics"]) == (1.0, {"n": None, "m": 2}, False)


def test_a_message_without_calls_submits_even_beyond_a_limit(make: Make) -> None:
    env = make(token_limit=100, reward=ONE)
    env.reset()
    env.report_tokens(1000)
    assert play(env, DONE)[2:4] == (True, False)


def test_a_reward_is_given_the_task_the_transcript_and_the_diff(make: Make, task: Task) -> None:
    given: list[Any] = []

    def look(*arguments: Any) -> Score:
        given.extend(arguments)
        return Score(0.25, {"why": "so", "half": 0.5})

    env = make(reward=look)
    env.reset()
    play(env, FIX)
    obs, reward, _, _, info = env.step(DONE)
    assert given == [task, obs, info["diff"]]
    assert reward == 0.25
    assert info["parts"] == {"why": "so", "half": 0.5}
    assert info["metrics"]["parts.half"] == 0.5
    assert "parts.why" not in info["metrics"]


# What the environment may add.


def test_a_notice_joins_the_answer_that_is_returned_and_logged(make: Make, tmp_path: Path) -> None:
    seen: list[State] = []

    def notice(state: State) -> str | None:
        seen.append(state)
        return f"[{state.steps} of {state.max_steps}]" if state.steps != 2 else None

    env = make(notices=(notice,), max_steps=9, token_limit=50, log_dir=tmp_path / "log", reward=ONE)
    env.reset()
    env.report_tokens(7)
    echo = tool_call("shell", cmd="echo hi")
    bare = tool_call("shell", cmd="printf hi")
    obs = play(env, assistant("", echo, echo, bare, FIX, tool_call("shell", cmd="true"), tool_call("nope")))[0]
    answers = [message["content"] for message in obs[3:]]
    assert answers[:3] == ["hi\n[1 of 9]", "hi\n", "hi\n[3 of 9]"]
    assert answers[3:5] == ["patched sums.py at line 5\n[4 of 9]", "[5 of 9]"]
    assert answers[5].startswith("error: no tool is called 'nope'")
    assert answers[5].endswith("\n[6 of 9]")
    assert [state.changed for state in seen] == [False, False, False, True, True, True]
    assert {(state.tokens, state.token_limit) for state in seen} == {(7, 50)}
    assert Trajectory.load(log_of(env)).messages == obs


def test_inaction_is_reminded_of_while_nothing_is_changed(make: Make) -> None:
    env = make(reward=None, on_inaction="remind", max_steps=4)
    env.reset()
    obs, reward, terminated, truncated, info = env.step(DONE)
    assert obs[-2:] == [DONE, {"role": "user", "content": REMINDER}]
    assert (reward, terminated, truncated, info) == (0.0, False, False, {"ok": []})
    assert env.episode.steps == 1
    assert play(env, FIX, DONE)[1:4] == (1.0, True, False)


def test_a_change_that_was_undone_is_no_change_to_the_reminder(make: Make) -> None:
    env = make(on_inaction="remind")
    env.reset()
    back = tool_call("apply_patch", search="return a + b", replace="return a - b", file="sums.py")
    assert play(env, FIX, back, DONE)[0][-1]["content"] == REMINDER


def test_reminders_cost_steps_and_end(make: Make) -> None:
    env = make(on_inaction="remind", max_steps=2, reward=ONE)
    env.reset()
    _, reward, terminated, truncated, info = play(env, DONE, DONE)
    assert (reward, terminated, truncated, info["stop"]) == (1.0, False, True, "max_steps")


def test_tools_of_ones_own(make: Make) -> None:
    def greet(episode: Any, whom: str) -> ToolResult:
        return ToolResult(f"hello {whom}, {len(episode.workspace.touched)} files are touched")

    env = make(tools=[Tool("greet", "Greet.", {"whom": "a name"}, greet)], reward=ONE)
    _, info = env.reset()
    assert [schema["function"]["name"] for schema in info["tools"]] == ["greet"]
    assert play(env, tool_call("greet", whom="you"))[0][-1]["content"] == "hello you, 0 files are touched"
    assert play(env, LOOK)[0][-1]["content"] == "error: no tool is called 'shell'; there are: greet"


# What the caller does to what it was given.


def spoil(value: Any) -> None:
    """Change every list and dict below `value`."""
    for inner in list(value.values()) if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            spoil(inner)
    if isinstance(value, dict):
        for key in list(value):
            value[key] = "spoiled"
    else:
        value.append("spoiled")


def test_who_edits_an_observation_changes_neither_log_nor_reward(make: Make, tmp_path: Path) -> None:
    transcripts: list[Any] = []

    def keep(task: Task, transcript: Sequence[Message], diff: str) -> Score:
        transcripts.append(copy.deepcopy(transcript))
        return Resolved(sandbox=env._sandbox)(task, transcript, diff)

    env = make(reward=keep, log_dir=tmp_path / "log")
    for meddle in (False, True):
        obs, info = env.reset()
        for action in (LOOK, assistant("thinking", LOOK, FIX, reasoning_content="hm"), LOOK):
            if meddle:
                spoil(obs)
                spoil(info)
            obs, _, _, _, info = env.step(copy.deepcopy(action))
        if meddle:
            spoil(obs)
        assert play(env, copy.deepcopy(DONE))[1] == 1.0
    honest, meddled = sorted(
        (tmp_path / "log").glob("2*"), key=lambda path: (path / "metadata.json").stat().st_mtime_ns
    )
    for name in ("messages.jsonl", "tools.json", "diff.patch"):
        assert (meddled / name).read_bytes() == (honest / name).read_bytes()
    assert transcripts[0] == transcripts[1]


def test_who_edits_an_action_later_changes_nothing(env: NanoCodexEnv) -> None:
    env.reset()
    action = assistant("", copy.deepcopy(LOOK))
    before = play(env, action)[0]
    kept = copy.deepcopy(before)
    spoil(action)
    assert before == kept
    assert env.episode.transcript() == kept


def test_a_reward_that_edits_its_transcript_changes_no_log(make: Make, tmp_path: Path) -> None:
    def meddle(task: Task, transcript: Sequence[Message], diff: str) -> float:
        spoil(transcript)
        return 1.0

    env = make(reward=from_function(meddle), log_dir=tmp_path / "log")
    env.reset()
    obs = play(env, DONE)[0]
    assert Trajectory.load(log_of(env)).messages == obs == env.episode.transcript()


# Failures of ours.


def test_a_sandbox_that_fails_voids_the_episode(env: NanoCodexEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    env.reset()
    play(env, LOOK, FIX)

    def fail(view: object) -> None:
        raise SandboxError("the kernel said no")

    with monkeypatch.context() as patch:
        patch.setattr(env._sandbox, "open", fail)
        with pytest.raises(SandboxError, match="the kernel said no"):
            env.step(LOOK)
    logged = Trajectory.load(log_of(env))
    assert logged.metadata["void"] == "SandboxError: the kernel said no"
    assert logged.metadata["stop"] is None
    assert "reward" not in logged.metadata
    assert logged.metadata["steps"] == 3
    assert "return a + b" in logged.diff
    with pytest.raises(ResetNeeded):
        env.step(LOOK)
    env.reset()
    assert play(env, LOOK)[4] == {"ok": [True]}


BROKEN = "BrokenRewardError: the reward fail raised"


@pytest.mark.parametrize(
    ("error", "raised", "recorded"),
    [
        (RewardError("the judge is ill"), RewardError, "RewardError: the judge is ill"),
        (ZeroDivisionError("a bug"), BrokenRewardError, f"{BROKEN} ZeroDivisionError: a bug"),
        (SystemExit(0), BrokenRewardError, f"{BROKEN} SystemExit: 0"),
        (KeyboardInterrupt(), KeyboardInterrupt, "KeyboardInterrupt: "),
    ],
)
def test_a_reward_that_fails_voids_the_episode(
    make: Make, tmp_path: Path, error: BaseException, raised: type[BaseException], recorded: str
) -> None:
    """A user's reward was not named, and one that calls `sys.exit` ended a training with status 0."""

    def fail(task: Task, transcript: Sequence[Message], diff: str) -> Score:
        raise error

    env = make(reward=fail, log_dir=tmp_path / "log")
    env.reset()
    play(env, FIX)
    with pytest.raises(raised):
        env.step(DONE)
    logged = Trajectory.load(log_of(env))
    assert logged.metadata["void"] == recorded
    assert "reward" not in logged.metadata
    assert logged.messages[-1] == DONE
    assert "return a + b" in logged.diff
    with pytest.raises(ResetNeeded):
        env.step(DONE)
    env.reset()


@pytest.mark.parametrize("value", [np.array([0.5]), True])
def test_a_plain_number_is_a_reward_wherever_one_is_taken(task: Task, make: Make, tmp_path: Path, value: Any) -> None:
    """It was a void episode, and in a table of scores an AttributeError."""

    def mine(task: Task, transcript: Sequence[Message], diff: str) -> Any:
        return value

    expected = 0.5 if value == 0.5 else 1.0
    env = make(reward=mine)
    env.reset()
    _, reward, *_, info = env.step(DONE)
    assert (type(reward), reward, info["parts"], info["metrics"]["parts.mine"]) == (
        float,
        expected,
        {"mine": reward},
        reward,
    )
    [result] = rollouts([task], Idle(), reward=mine, out=tmp_path, progress=False)
    assert (result.reward, result.parts) == (expected, {"mine": expected})
    [row] = rescore([result.folder or ""], mine)
    assert (row["reward"], row["parts"]) == (expected, {"mine": expected})
    trl: Any = TrlSpec(task, mine).environment_factory()
    trl.reset(task=0)
    assert trl._score([DONE]) == expected


@pytest.mark.parametrize("value", [float("nan"), None, (1.0, {}), "1.0"])
def test_a_reward_that_gives_no_score_voids_the_episode(make: Make, value: Any) -> None:
    env = make(reward=lambda task, transcript, diff: value)
    env.reset()
    with pytest.raises(RewardError, match=r"a score is a finite number; got .*: return a number, or Score\("):
        env.step(DONE)
    with pytest.raises(ResetNeeded):
        env.step(DONE)


def test_a_tool_that_breaks_voids_the_episode_and_is_not_shown_to_the_policy(make: Make) -> None:
    def broken(episode: Any) -> ToolResult:
        raise TypeError("a typo of ours")

    env = make(tools=[Tool("broken", "Break.", {}, broken)], reward=ONE)
    env.reset()
    with pytest.raises(BrokenToolError, match="tool 'broken' failed: TypeError: a typo of ours"):
        env.step(tool_call("broken"))
    with pytest.raises(ResetNeeded):
        env.step(tool_call("broken"))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (ZeroDivisionError, r"notice '.*late' failed: ZeroDivisionError: ill"),
        (SystemExit, r"notice '.*late' failed: SystemExit: ill"),
        (7, r"notice '.*late' returned 7; a notice"),
    ],
    ids=["raises", "exits", "a number"],
)
def test_a_notice_that_breaks_voids_the_episode_and_is_named(make: Make, said: Any, words: str) -> None:
    def late(state: State) -> Any:
        if isinstance(said, type):
            raise said("ill")
        return said

    env = make(notices=[late])
    env.reset()
    with pytest.raises(BrokenToolError, match=words):
        env.step(LOOK)


def test_a_log_that_can_no_longer_be_written_voids_the_episode(
    env: NanoCodexEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    env.reset()

    def full(handle: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("nano_codex_env.records.trajectory.os.write", full)
        with pytest.raises(TrajectoryError, match="No space left on device"):
            env.step(DONE)
    with pytest.raises(ResetNeeded):
        env.step(DONE)
    env.reset()


def test_a_void_episode_cannot_be_gone_on_with(make: Make) -> None:
    """Its files are gone: what would be scored is not what the policy did."""
    env = make()
    env.reset()
    play(env, FIX)
    env.void("the machine is on fire")
    for branch in (env.snapshot, lambda: env.fork(1), lambda: env.step(DONE)):
        with pytest.raises(ResetNeeded):
            branch()


def test_voiding_is_said_once_and_only_of_a_running_episode(env: NanoCodexEnv) -> None:
    env.void("nothing to void")
    env.reset()
    env.void("first")
    env.void("second")
    assert Trajectory.load(log_of(env)).metadata["void"] == "first"
    env.reset()
    play(env, DONE)
    env.void("too late")
    assert "void" not in Trajectory.load(log_of(env)).metadata


# Rendering and closing.


def test_the_transcript_can_be_rendered_as_text(make: Make) -> None:
    env = make(render_mode="ansi", reward=ONE)
    env.reset()
    play(env, assistant("I look.", LOOK, reasoning_content="where is add?"), FIX)
    text = env.render()
    assert isinstance(text, str)
    for words in (
        "── user ──\nadd(2, 3) gives -1\n",
        "── assistant ──\n[thinking]\nwhere is add?\nI look.\n→ shell: cat sums.py\n",
        '── tool (call00001) ──\n"""Sums."""\n',
        "→ apply_patch\n  search: return a - b\n  replace: return a + b\n  file: sums.py\n",
        "── tool (call00002) ──\npatched sums.py at line 5\n",
    ):
        assert words in text


def test_a_transcript_with_nonsense_in_it_can_be_rendered(make: Make) -> None:
    env = make(render_mode="ansi", reward=ONE)
    env.reset()
    for function in ({"name": "shell", "arguments": "{"}, {"name": None, "arguments": "[1]"}, "shell", None):
        play(env, {"type": "function", "function": function})
    play(env, {"role": "assistant", "content": [{"type": "text", "text": "parts"}], "tool_calls": [{}]})
    text = env.render()
    assert text
    assert "→ shell {" in text
    assert '[{"type": "text", "text": "parts"}]' in text


def test_messages_are_printed_as_they_come(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    env = make(render_mode="human", reward=ONE)
    env.reset()
    assert "add(2, 3) gives -1" in capsys.readouterr().out
    play(env, assistant("", tool_call("shell", cmd="echo '[bold]not markup[/bold] :smile:'")))
    printed = capsys.readouterr().out
    assert printed.count("[bold]not markup[/bold] :smile:") == 2  # in the call and in the answer
    assert "call00001" in printed
    assert env.render() is None
    assert capsys.readouterr().out == ""
    play(env, DONE)
    assert "done" in capsys.readouterr().out


def test_nothing_is_printed_or_rendered_otherwise(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    env = make(reward=ONE)
    env.reset()
    play(env, LOOK, DONE)
    assert env.render() is None
    assert capsys.readouterr() == ("", "")


def test_closing_twice_is_fine_and_so_is_closing_what_never_ran(make: Make) -> None:
    unused = make()
    unused.close()
    env = make()
    env.reset()
    play(env, LOOK)
    env.close()
    env.close()
    with pytest.raises(ResetNeeded):
        env.step(LOOK)
    env.reset()
    play(env, LOOK)


def test_an_episode_that_was_closed_or_reset_halfway_keeps_its_log(env: NanoCodexEnv) -> None:
    env.reset()
    first = log_of(env)
    obs = play(env, LOOK)[0]
    env.reset()
    second = log_of(env)
    env.close()
    assert Trajectory.load(first).messages == obs
    assert Trajectory.load(second).messages == obs[:2]
    assert Trajectory.load(first).metadata["stop"] is None


# Branching.


def shown(env: NanoCodexEnv) -> str:
    """The tool's answer to a look at the file."""
    content: str = env.step(LOOK)[0][-1]["content"]
    return content


def test_branches_are_independent(make: Make) -> None:
    env = make(reward=None, max_steps=20)
    env.reset(seed=3)
    play(env, LOOK)
    env.report_tokens(5)
    left, right = env.fork(2)
    with left, right:
        assert left.episode.messages == right.episode.messages == env.episode.messages
        assert left.episode.tokens == 5
        play(left, FIX)
        play(right, SPOIL, LOOK)
        assert "return a + b" in shown(left)
        assert "return a * b" in shown(right)
        assert "return a - b" in shown(env)
        assert [len(branch.episode.messages) for branch in (env, left, right)] == [6, 8, 10]
        assert [branch.episode.steps for branch in (env, left, right)] == [2, 3, 4]
        assert left.episode.counts == {"shell": (2, 2), "apply_patch": (1, 1)}
        assert env.episode.counts == {"shell": (2, 2)}
        assert play(left, DONE)[1] == 1.0
        assert play(right, DONE)[1] == 0.0
        assert play(env, DONE)[4]["diff"] == ""


def test_a_branch_goes_on_with_the_same_generator(make: Make) -> None:
    env = make()
    env.reset(seed=3)
    env.np_random.random()
    snapshot = env.snapshot()
    [branch] = env.fork(1)
    expected = env.np_random.random(4).tolist()
    assert branch.np_random.random(4).tolist() == expected
    branch.close()
    assert env.np_random.random(4).tolist() != expected
    env.restore(snapshot)
    assert env.np_random.random(4).tolist() == expected


def test_a_branch_may_be_gone_back_to_again_and_again(make: Make) -> None:
    env = make(reward=None)
    env.reset()
    play(env, FIX)
    snapshot = env.snapshot()
    transcript = env.episode.transcript()
    for spoiling in (True, False):
        obs, info = env.restore(snapshot)
        assert obs == transcript
        assert info["instance_id"] == "sums-1"
        assert "return a + b" in shown(env)
        if spoiling:
            worse = tool_call("apply_patch", search="return a + b", replace="return 0", file="sums.py")
            assert play(env, worse, DONE)[1] == 0.0
        else:
            assert play(env, DONE)[1] == 1.0


def test_a_snapshot_can_be_taken_up_by_another_environment(make: Make) -> None:
    first, second = make(reward=None), make(reward=None)
    first.reset()
    play(first, tool_call("apply_patch", search="", replace="x = 1\n", file="new.py"), FIX)
    obs, _ = second.restore(first.snapshot())
    first.close()
    assert obs == second.episode.transcript()
    assert play(second, tool_call("shell", cmd="cat new.py"))[0][-1]["content"] == "x = 1\n"
    assert play(second, DONE)[1] == 1.0


def test_the_log_of_a_branch_is_whole_and_names_where_it_comes_from(make: Make, tmp_path: Path) -> None:
    """It trains as an episode that was never branched; the one that it left keeps its own."""
    turns = [{"prompt": [1, 2], "sampled": [3]}, {"prompt": [1, 2, 3, 4], "sampled": [5, 6]}]
    env = make(reward=ONE, log_dir=tmp_path / "log")
    env.reset()
    play(env, LOOK)
    assert env.episode.log
    env.episode.log.tokens(turns[0], 1)
    branches = env.fork(2)
    for branch in branches:
        with branch:
            play(branch, FIX)
            assert branch.episode.log
            branch.episode.log.tokens(turns[1], 2)
            obs, reward, _, _, info = play(branch, DONE)
            logged = Trajectory.load(log_of(branch))
        assert (logged.messages, logged.diff) == (obs, info["diff"])
        assert (logged.metadata["reward"], logged.metadata["steps"]) == (reward, 2)
        assert join_turns(logged.tokens, 2).input_ids == [1, 2, 3, 4, 5, 6]
        assert "prompt_delta" in logged.tokens[1]
        assert logged.metadata["branched"] == {"from": log_of(env).name, "messages": 4}
    assert len(Trajectory.load(log_of(env)).tokens) == 1
    assert Trajectory.load(log_of(env)).messages == obs[:4]
    assert "branched" not in Trajectory.load(log_of(env)).metadata


def test_branches_that_cannot_all_be_made_leave_nothing(env: NanoCodexEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    env.reset()
    play(env, FIX)
    made = []

    def fail_at_the_third(self: NanoCodexEnv, snapshot: Any) -> Any:
        made.append(self)
        if len(made) == 3:
            raise WorkspaceError("the disk is full")
        return restore(self, snapshot)

    restore = NanoCodexEnv.restore
    monkeypatch.setattr(NanoCodexEnv, "restore", fail_at_the_third)
    with pytest.raises(WorkspaceError, match="the disk is full"):
        env.fork(4)
    for branch in made:
        with pytest.raises(ResetNeeded):
            _ = branch.episode


def test_a_branch_whose_log_cannot_be_written_leaves_nothing(make: Make, tmp_path: Path) -> None:
    """The leak detector looks for the folder of its files."""
    env = make()
    env.reset()
    play(env, FIX)
    (tmp_path / "file").touch()
    with pytest.raises(TrajectoryError, match="cannot write a log in"):
        make(log_dir=tmp_path / "file" / "log").restore(env.snapshot())


def test_an_episode_that_is_over_cannot_be_branched(make: Make) -> None:
    """Its files are gone; a snapshot that was taken before its end still serves."""
    env = make(reward=None)
    env.reset()
    play(env, FIX)
    before = env.snapshot()
    play(env, SPOIL, DONE)
    for branch in (env.snapshot, lambda: env.fork(1)):
        with pytest.raises(ResetNeeded, match="the episode is over"):
            branch()
    env.restore(before)
    assert play(env, DONE)[1] == 1.0


def test_limits_hold_across_branches(make: Make) -> None:
    env = make(max_steps=2, reward=ONE)
    env.reset()
    play(env, LOOK)
    env.restore(env.snapshot())
    assert play(env, LOOK)[4]["stop"] == "max_steps"


class Passing(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper of a user's."""


def wrapped(task: Task, **arguments: Any) -> gym.Env[Any, Any]:
    """An environment of `gym.make` that logs nowhere."""
    return gym.make("NanoCodex-v0", tasks=[task], reward=HALF, log_dir=None, **arguments)


def test_a_time_limit_of_gymnasiums_is_warned_of(task: Task, make: Make) -> None:
    """It cuts an episode before it is scored: the reward was 0.0, and nothing said why; then each reset said it."""
    limits: list[Callable[[], gym.Env[Any, Any]]] = [
        lambda: wrapped(task, max_episode_steps=2),
        lambda: gym.wrappers.TimeLimit(wrapped(task), 2),
        lambda: Passing(gym.wrappers.TimeLimit(Passing(make()), 2)),
    ]
    words = r"TimeLimit cuts an episode after 2 calls of step without a score: its reward is 0\.0.* max_steps"
    for limit in limits:
        env = limit()
        with pytest.warns(UserWarning, match=words):
            env.reset()
        env.step(FIX)
        assert env.step(LOOK)[1:4] == (0.0, False, True)
        env.reset()  # a second warning would be an error here
        env.close()
    free = wrapped(task, max_episode_steps=-1)
    free.reset()  # without a warning, as wherever this suite abandons an episode
    free.close()


def test_a_time_limit_of_another_environment_is_none_of_ours(make: Make) -> None:
    inner = make()

    class Other(gym.Env[Any, Any]):
        def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
            return inner.reset()

    gym.wrappers.TimeLimit(Other(), 2).reset()


@pytest.mark.parametrize("way", mostly_slow(["unwrapped", "wrapper", "options"], 1))
def test_a_snapshot_is_restored_into_a_new_environment_of_gym_make(task: Task, make: Make, way: str) -> None:
    """Gymnasium refused the step: "Cannot call env.step() before calling env.reset()"."""
    first = make()
    first.reset(seed=1)
    first.step(FIX)
    snapshot, expected = first.snapshot(), first.episode.transcript()
    env = wrapped(task, max_steps=3, render_mode="ansi")
    inner: Any = env.unwrapped
    restore: dict[str, Callable[[], Any]] = {
        "unwrapped": lambda: inner.restore(snapshot),
        "wrapper": lambda: env.get_wrapper_attr("restore")(snapshot),
        "options": lambda: env.reset(options={"snapshot": snapshot}),
    }
    for _ in range(2):
        obs, info = restore[way]()
        assert (obs, info["instance_id"], list(info)) == (expected, "sums-1", ["instance_id", "tools", "limits"])
        episode = inner.episode
        assert "add(2, 3) gives -1" in str(env.render())
        obs, *_ = env.step(LOOK)
        assert "return a + b" in obs[-1]["content"]
        assert inner.episode is episode  # it was restored once
        assert inner.np_random.bit_generator.state == snapshot.rng
    inner.report_tokens(7)
    inner.end("token_limit")
    assert restore[way]()[0] == expected  # from the same snapshot once more
    assert inner.episode.tokens is None
    env.step(LOOK)
    again = env.get_wrapper_attr("snapshot")()
    assert (again.steps, again.lines[:4]) == (2, snapshot.lines)
    assert play(env, LOOK)[4]["stop"] == "max_steps"
    with pytest.raises(ResetNeeded):
        env.step(LOOK)
    env.close()


def test_every_wrapper_sees_a_reset_by_options(task: Task, make: Make) -> None:
    first = make()
    first.reset()
    first.step(FIX)
    snapshot = first.snapshot()
    env = gym.wrappers.RecordEpisodeStatistics(Passing(wrapped(task)))
    env.reset(options={"snapshot": snapshot})
    assert env.step(DONE)[4]["episode"]["l"] == 1
    env.reset(options={"snapshot": snapshot})
    env.step(LOOK)
    assert env.step(DONE)[4]["episode"]["l"] == 2
    env.close()


def test_with_a_seed_a_restored_episode_has_the_seeds_generator(make: Make) -> None:
    env, other = make(), make()
    env.reset(seed=1)
    snapshot = env.snapshot()
    other.reset(seed=7)
    env.reset(seed=7, options={"snapshot": snapshot})
    drawn = env.np_random.random()
    assert drawn == np.random.default_rng(7).random()
    env.restore(snapshot)
    assert env.np_random.random() != drawn


def test_what_is_no_snapshot_is_refused(make: Make) -> None:
    env = make()
    for restore in (env.restore, lambda it: env.reset(options={"snapshot": it})):
        with pytest.raises(ConfigError, match=r"restore takes what snapshot\(\) returned; got 'yes"):
            restore("yesterday")  # type: ignore[arg-type]
    env.reset()
    with pytest.raises(ConfigError, match="give one of task, instance_id, snapshot, or issue with repo"):
        env.reset(options={"snapshot": env.snapshot(), "instance_id": "sums-1"})


def test_a_running_environment_is_not_copied(task: Task, make: Make) -> None:
    """The copy shared the original's files and processes, or the error spoke of a thread's lock."""
    raw, outer = make(), Passing(wrapped(task))
    for env in (raw, outer):
        env.reset()
        for copied in (copy.deepcopy, copy.copy, pickle.dumps):
            if env is outer and copied is copy.copy:
                continue  # of the wrapper alone
            with pytest.raises(TypeError, match=r"cannot be pickled or copied: use fork\(n\), or send snapshot\(\)"):
                copied(env)
        env.step(DONE)
    outer.close()


def test_an_environment_without_a_running_episode_is_copied(task: Task, sandbox: Sandbox) -> None:
    """Its default tools could not be pickled."""
    env = gym.make("NanoCodex-v0", tasks=[task], log_dir=None, max_steps=7)
    for _ in range(2):
        for other in (pickle.loads(pickle.dumps(env)), copy.deepcopy(env)):
            with pytest.raises(ResetNeeded):
                other.unwrapped.step(LOOK)
            assert other.reset(seed=3) == env.reset(seed=3)
            assert other.spec == env.spec
            other.close()
            env.close()
        env.reset()
        env.unwrapped.void("to end it")  # type: ignore[attr-defined]
    own = NanoCodexEnv(task, HALF, sandbox=sandbox, tools=[shell(timeout=7)], log_dir=None)
    assert "after 7 seconds" in str(copy.deepcopy(own).reset()[1]["tools"])


# The same again.


def test_the_same_actions_give_the_same_bytes(tested: NanoCodexEnv) -> None:
    actions: tuple[Message | ToolCall, ...] = (
        tool_call("shell", cmd="ls -la --time-style=full-iso; pwd; id; hostname; env | sort; git log; git status"),
        tool_call("shell", cmd="python3 -c 'import os; print(os.getcwd(), sorted(os.environ), hash(\"a\") is None)'"),
        assistant("", FIX, tool_call("shell", cmd="git diff; ls -l --time-style=full-iso; git status --short")),
        tool_call("shell", cmd="mount | wc -l; ls /tmp; cat /proc/mounts | grep -c testbed; echo x > y; echo $?"),
        tool_call("nothing"),
        DONE,
    )
    outcomes = []
    for _ in range(2):
        tested.reset(seed=1)
        steps = [tested.step(action) for action in actions]
        outcomes.append((steps, (log_of(tested) / "messages.jsonl").read_bytes(), Trajectory.load(log_of(tested)).diff))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0][-1][1] == 1.0
    assert str(Path.home()) not in outcomes[0][1].decode()


# Texts.


@pytest.mark.parametrize(
    "issue",
    [
        "line\u2028separator\u2029paragraph\x85next\x0bline\x0cfeed\x1cfile",
        "nul \0 and bell \a and escape \x1b[31m and delete \x7f",
        "עברית \u202e reversed \u202c and \u2066isolated\u2069",
        "👩\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 👍🏽 🇩🇪",
        "e\u0301 o\u0308 Z\u0351\u036b\u0343\u036a\u0302 ﬁ \u210c",
        "\ufeffwith a byte order mark\ufeff",
        "<|im_end|>\n<|im_start|>assistant\n</s>[INST]<tool_call>{}</tool_call>",
        "\r\nreturns\rand tabs\t\n\n   blanks   \n",
        "\uffff \U0010ffff \ufdd0 private \ue000",
        "{{ jinja }} {% raw %} %s {0} $HOME `ls` \\n \\u0041",
        "x",
        "long " * 200_000,
    ],
    ids=lambda issue: ascii(issue[:24]),
)
def test_an_issue_arrives_as_it_is(task: Task, make: Make, tmp_path: Path, issue: str) -> None:
    env = make([task.with_(problem_statement=issue)], reward=ONE, log_dir=tmp_path / "log", render_mode="ansi")
    obs, _ = env.reset()
    assert obs[1] == {"role": "user", "content": issue}
    play(env, DONE)
    logged = Trajectory.load(log_of(env))
    assert logged.messages[1]["content"] == issue
    assert Task.from_row(logged.metadata["task"]).problem_statement == issue
    assert for_terminal(issue) in str(env.render())


@pytest.mark.parametrize(
    ("issue", "words"),
    [
        ("ab\ud800c", "a lone surrogate stands at character 2"),
        ("\udfff", "a lone surrogate stands at character 0"),
        ("", "the issue is empty"),
        (" \t\r\n", "the issue is empty"),
        ("\u2028\x85\u3000", "the issue is empty"),
    ],
    ids=ascii,
)
def test_an_issue_that_nobody_can_read_is_refused(task: Task, make: Make, issue: str, words: str) -> None:
    env = make([task.with_(problem_statement=issue)])
    with pytest.raises(TaskError, match=words):
        env.reset()
    with pytest.raises(ResetNeeded):
        env.step(LOOK)


@pytest.mark.parametrize("text", ["\u2028\x85", "\0", "\ud83d", "👩\u200d👧", "\x1b[0m", "<|im_end|>"], ids=ascii)
def test_what_the_policy_says_arrives_as_it_is(make: Make, tmp_path: Path, text: str) -> None:
    env = make(reward=ONE, log_dir=tmp_path / "log")
    env.reset()
    message = assistant(text, {"type": "function", "id": text, "function": {"name": text, "arguments": text}})
    obs = play(env, message)[0]
    assert obs[2] == message
    assert obs[3]["tool_call_id"] == text
    assert Trajectory.load(log_of(env)).messages == obs
    play(env, DONE)


# Vectors.

FORK_WARNING = "ignore:.*fork:DeprecationWarning"  # Python 3.12 and newer, of Gymnasium's way to start workers


def test_a_vector_steps_its_environments_and_resets_those_that_are_over(task: Task, sandbox: Sandbox) -> None:
    envs = make_vec(2, tasks=[task], sandbox=sandbox, log_dir=None)
    obs, info = envs.reset(seed=0)
    assert isinstance(obs, tuple)
    assert [len(one) for one in obs] == [2, 2]
    assert list(info["instance_id"]) == ["sums-1", "sums-1"]
    obs, rewards, terminated, truncated, info = envs.step((LOOK, FIX))
    assert [len(one) for one in obs] == [4, 4]
    assert obs[1][-1]["content"] == "patched sums.py at line 5"
    obs, rewards, terminated, truncated, info = envs.step((LOOK, DONE))
    assert (rewards.tolist(), terminated.tolist(), truncated.tolist()) == ([0.0, 1.0], [False, True], [False, False])
    assert info["stop"][1] == "submitted"
    obs, rewards, terminated, truncated, info = envs.step((LOOK, LOOK))
    assert [len(one) for one in obs] == [8, 2]  # the second one began anew
    assert (rewards.tolist(), terminated.tolist()) == ([0.0, 0.0], [False, False])
    obs, *_ = envs.step((LOOK, LOOK))
    assert [len(one) for one in obs] == [10, 4]
    envs.close()


@pytest.mark.filterwarnings(FORK_WARNING)
def test_a_vector_may_run_in_processes_of_its_own(task: Task) -> None:
    other = task.with_(instance_id="sums-2", problem_statement="twice is wrong")
    envs = make_vec(
        2,
        vectorization_mode="async",
        log_dir=None,
        max_steps=2,
        per_env=[{"tasks": [task]}, {"tasks": [other], "max_steps": 5}],
    )
    obs, info = envs.reset(seed=1)
    assert list(info["instance_id"]) == ["sums-1", "sums-2"]
    assert [limits for limits in info["limits"]["max_steps"]] == [2, 5]
    assert [one[1]["content"] for one in obs] == ["add(2, 3) gives -1", "twice is wrong"]
    envs.step((FIX, LOOK))
    obs, rewards, terminated, truncated, _ = envs.step((LOOK, FIX))
    assert (rewards.tolist(), terminated.tolist(), truncated.tolist()) == ([1.0, 0.0], [False, False], [True, False])
    assert "return a + b" in obs[0][-1]["content"]
    envs.close()


@pytest.mark.filterwarnings(FORK_WARNING)
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_processes_of_their_own_send_what_is_new_and_show_the_whole(task: Task, tmp_path: Path, mode: str) -> None:
    """Each observation is a whole transcript, a list of the caller's own, as in one process."""
    found = []
    for kind in ("sync", "async"):
        envs = make_vec(
            2,
            vectorization_mode=kind,
            tasks=[task],
            reward=_nothing,
            log_dir=None,
            vector_kwargs={"autoreset_mode": gym.vector.AutoresetMode(mode)},
        )
        obs, _ = envs.reset(seed=3)
        seen = [[list(one) for one in obs]]
        for actions in [(LOOK, FIX), (DONE, LOOK), (LOOK, LOOK), (LOOK, DONE), (DONE, DONE), (LOOK, LOOK)]:
            obs, *_, info = envs.step(actions)
            seen.append([list(one) for one in obs])
            seen += [[list(one) for one in info["final_obs"] if one is not None]] if "final_obs" in info else []
            for one in obs:
                one.clear()
        envs.close()
        found.append(seen)
    assert found[0] == found[1]
    assert max(len(one) for step in found[0] for one in step) > 4


def _nothing(task: object, transcript: object, diff: str) -> Score:
    return Score(0.0, {})


def test_processes_of_their_own_take_rewards_and_tools_of_ours(task: Task) -> None:
    """Where workers are not forked (Python 3.14's default) the arguments travel by pickle."""
    envs = make_vec(
        1,
        vectorization_mode="async",
        vector_kwargs={"context": "spawn"},
        tasks=[task],
        reward=Resolved(timeout=300),
        tools=[shell(timeout=60)],
        log_dir=None,
    )
    envs.reset()
    _, rewards, *_ = envs.step((DONE,))
    assert rewards.tolist() == [0.0]
    envs.close()


def test_a_vector_made_by_gymnasium_itself(task: Task) -> None:
    envs = gym.make_vec("NanoCodex-v0", 2, vectorization_mode="sync", tasks=[task], log_dir=None)
    envs.reset(seed=0)
    obs, *_ = envs.step((LOOK, LOOK))
    assert [one[-1]["role"] for one in obs] == ["tool", "tool"]
    envs.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"vectorization_mode": "threads"}, "vectorization_mode is 'sync' or 'async'; got 'threads'"),
        ({"per_env": [{}]}, "per_env has 1 entries for 2 environments; give one each"),
    ],
)
def test_a_vector_that_cannot_be_made_is_refused(arguments: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_vec(2, log_dir=None, **arguments)
