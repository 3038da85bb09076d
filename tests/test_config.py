"""Configs: the defaults, a file over them, settings over that; a mistake is named."""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from nano_codex_env import ChatPolicy, NanoCodexEnv, Reply, Score, Task
from nano_codex_env.config import (
    DEFAULTS,
    NOTICES,
    POLICIES,
    REWARDS,
    env_arguments,
    make_policy,
    make_reward,
    read_config,
)
from nano_codex_env.errors import ConfigError
from nano_codex_env.rewards import needs_tests

CONFIGS = Path(__file__).parents[1] / "configs"
PLAIN: dict[str, Any] = {
    key: {name: part for name, part in value.items() if not isinstance(part, type)}
    if isinstance(value, dict)
    else value
    for key, value in DEFAULTS.items()
}
"""The defaults without what has none."""

MINE = """
from nano_codex_env import Reply
from nano_codex_env.messages import assistant

five = 5


class Quiet:
    def __call__(self, messages, tools):
        return Reply(assistant("quiet"))


quiet = Quiet()


def loud(messages, tools):
    return Reply(assistant("loud"))


class Needy:
    def __init__(self, what):
        self.what = what


class Leaves:
    def __init__(self):
        raise SystemExit(0)


def half(task, transcript, diff):
    return 0.5


class Third:
    needs_tests = True

    def __call__(self, task, transcript, diff):
        return 1 / 3
"""


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "a.toml"
    path.write_text('policy = "idle"\n[env]\nmax_steps = 3\n')
    return path


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with policies and rewards."""
    (tmp_path / "mine_of_config.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine_of_config", raising=False)
    return "mine_of_config"


def test_the_bundled_config_is_the_defaults_written_out() -> None:
    bundled = CONFIGS / "bundled.toml"
    assert read_config(bundled) == read_config(None) == PLAIN
    names = [*(name for name in DEFAULTS if name != "model"), *PLAIN["env"]]
    for key in (f"[{name}]" if name in ("env", "load") else f"{name} =" for name in names):
        assert f"\n{key}" in bundled.read_text()


def test_the_config_for_an_endpoint_makes_its_policy() -> None:
    config = read_config(CONFIGS / "endpoint.toml", ["env.notices=['budget']", "env.token_limit=9"])
    policy = make_policy(config, [])
    assert isinstance(policy, ChatPolicy)
    assert policy.about["model"] == "Qwen/Qwen3-8B"
    assert policy.about["api_base"] == config["model"]["api_base"]
    policy.close()
    arguments = env_arguments(config)
    assert (arguments["notices"], arguments["token_limit"]) == ([NOTICES["budget"]], 9)
    NanoCodexEnv(**arguments, log_dir=None).close()
    assert [env_arguments(read_config(None, [f"env.log={log}"]))["log"] for log in ("none", "shard")] == [None, "shard"]


def test_later_settings_replace_earlier_ones(toml: Path) -> None:
    assert read_config(toml) == {**PLAIN, "policy": "idle", "env": {**PLAIN["env"], "max_steps": 3}}
    config = read_config(toml, ["env.max_steps=4", "env.max_steps=5", "policy=random"], {"policy": "oracle"})
    assert config == {**PLAIN, "env": {**PLAIN["env"], "max_steps": 5}}


def test_the_defaults_stay_what_they_are(toml: Path) -> None:
    before = deepcopy(DEFAULTS)
    read_config(toml, ["env.max_steps=9", 'tasks=["a"]'])["env"]["max_steps"] = 99
    assert before == DEFAULTS


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("env.time_limit=60", "time_limit", 60.0),
        ("env.time_limit=1.5", "time_limit", 1.5),
        ("env.max_steps=1_000", "max_steps", 1000),
        ("env.on_inaction=remind", "on_inaction", "remind"),
        ("env.on_inaction='remind'", "on_inaction", "remind"),
        ("env.token_limit=4096", "token_limit", 4096),
        ("env.notices=['budget']", "notices", ["budget"]),
        ("model.temperature=1", "temperature", 1.0),
        ("model.thinking=false", "thinking", False),
        ("model.api_base=http://localhost:8000/v1", "api_base", "http://localhost:8000/v1"),
        ("model.extra_body={seed=1, a={b='c'}}", "extra_body", {"seed": 1, "a": {"b": "c"}}),
        ("model.extra_body.seed=7", "extra_body", {"seed": 7}),
    ],
)
def test_a_setting_is_toml_or_else_a_string(setting: str, key: str, value: object) -> None:
    found = read_config(None, [setting])[setting.partition(".")[0]][key]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("nope=1", "--set nope=1: unknown key 'nope'; there are: tasks, only, policy, reward, n, concurrency, env, mo"),
        ("env.steps=1", "unknown key 'steps'; there are: max_steps, time_limit, token_limit, on_inaction, notices"),
        ("env.max_steps=many", "max_steps must be a int; got 'many'"),
        ("env.max_steps=1.5", "max_steps must be a int; got 1.5"),
        ("env.max_steps=true", "max_steps must be a int; got True"),
        ("env.time_limit=true", "time_limit must be a float; got True"),
        (f"env.time_limit={10**400}", "time_limit must be a float; got 1000"),
        ("env=1", "env must be a dict; got 1"),
        ("tasks=bundled", "tasks must be a list; got 'bundled'"),
        ("policy=5", "policy must be a str; got 5"),
        ("n=2.0", "n must be a int; got 2.0"),
        ("env.token_limit=lots", "token_limit must be a int; got 'lots'"),
        ("env.notices=['weather']", "no notice is called 'weather'; there are: budget"),
        ("env.notices=budget", "notices must be a list; got 'budget'"),
        ("model.api_key=secret", "unknown key 'api_key'"),
        ("model.thinking=1", "thinking must be a bool; got 1"),
        ("model.extra_body=[]", "extra_body must be a dict; got []"),
        ("tasks=[]", "tasks must be a list of sources, such as ['bundled']; got []"),
        ("tasks=[5]", "tasks must be a list of sources, such as ['bundled']; got [5]"),
        ("policy", "--set takes key=value; got 'policy'"),
        ("a b=5", "--set 'a b=5' is not valid TOML"),
        ('policy="a', "--set 'policy=\"a' is not valid TOML"),
    ],
)
def test_a_mistake_is_named(setting: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(None, [setting])
    assert words in str(caught.value)


@pytest.mark.parametrize("content", [None, b"policy = ", b"\xff", b"[env]\nsteps = 1\n"])
def test_a_file_that_cannot_be_read_or_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"cannot read .*a\.toml: |a\.toml: unknown key 'steps'"):
        read_config(tmp_path / "a.toml")


def test_file_and_settings_replace_the_config_of_a_begun_run_whose_keys_must_be_known(toml: Path) -> None:
    begun = {"n": 4, "policy": "random", "env": {"max_steps": 9, "token_limit": 7}, "model": {"min_p": 0.5}}
    config = read_config(toml, ["n=5"], {"concurrency": 2}, begun=begun)
    assert (config["n"], config["policy"], config["concurrency"]) == (5, "idle", 2)
    assert (config["env"]["max_steps"], config["env"]["token_limit"], config["model"]["min_p"]) == (3, 7, 0.5)
    with pytest.raises(ConfigError, match=r"config\.json of the run: unknown key 'seed'"):
        read_config(None, begun={"seed": 1})


def test_every_name_makes_something_that_can_be_called() -> None:
    assert all(callable(make([])) for make in POLICIES.values())
    assert all(callable(make()) for make in REWARDS.values())
    assert all(callable(notice) for notice in NOTICES.values())
    for name in POLICIES:
        assert type(make_policy({**PLAIN, "policy": name}, [])) is type(POLICIES[name]([]))
    for name in REWARDS:
        assert type(make_reward(name)) is REWARDS[name]


@pytest.mark.parametrize(
    ("name", "said"), [("Quiet", "quiet"), ("quiet", "quiet"), ("loud", "loud")], ids=["class", "object", "function"]
)
def test_a_policy_of_ones_own_is_a_class_an_object_or_a_function(mine: str, name: str, said: str) -> None:
    reply = make_policy({**PLAIN, "policy": f"{mine}:{name}"}, [])([], [])
    assert isinstance(reply, Reply)
    assert reply.message["content"] == said


def test_a_reward_of_ones_own_is_a_function_or_a_class_and_may_need_tests(mine: str, task: Task) -> None:
    half, third = make_reward(f"{mine}:half"), make_reward(f"{mine}:Third")
    assert half(task, [], "") == Score(0.5, {"half": 0.5})
    assert third(task, [], "").value == 1 / 3
    assert (needs_tests(half), needs_tests(third)) == (False, True)


def test_a_name_with_a_provider_or_an_api_base_is_a_model() -> None:
    for name, settings in (("hosted_vllm/a:b", []), ("a:b", ["model.api_base=http://localhost:1/v1"])):
        config = read_config(None, [f"policy={name}", "model.api_base=http://localhost:9/v1", *settings])
        policy = make_policy(config, [])
        assert isinstance(policy, ChatPolicy)
        assert policy.about["model"] == "a:b"
        policy.close()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("best", "no {what} is called 'best'; there are: "),
        (
            "nowhere_at_all:x",
            "cannot load the {what} 'nowhere_at_all:x': ModuleNotFoundError: No module named 'nowhere_at_all'",
        ),
        ("{mine}:nothing", "cannot load the {what} '{mine}:nothing': "),
        ("{mine}:", "cannot load the {what} '{mine}:': "),
        (":loud", "cannot load the {what} ':loud': "),
        (".{mine}:loud", "cannot load the {what} '.{mine}:loud': "),
        ("{mine}:Needy", "cannot load the {what} '{mine}:Needy': TypeError: "),
        ("{mine}:Leaves", "cannot load the {what} '{mine}:Leaves': SystemExit: 0; give module:name"),
        ("{mine}:five", "the {what} '{mine}:five' cannot be called; got a int"),
    ],
    ids=[
        "no-name",
        "no-module",
        "no-attribute",
        "empty-attribute",
        "empty-module",
        "relative",
        "arguments",
        "exits",
        "no-function",
    ],
)
@pytest.mark.parametrize("what", ["policy", "reward"])
def test_an_unknown_name_is_reported(mine: str, what: str, name: str, words: str) -> None:
    name = name.replace("{mine}", mine)
    with pytest.raises(ConfigError) as caught:
        make_policy({**PLAIN, "policy": name}, []) if what == "policy" else make_reward(name)
    assert words.replace("{mine}", mine).replace("{what}", what) in str(caught.value)
