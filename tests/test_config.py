"""Configs: the defaults, a file over them, settings over that; a mistake is named."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest

from nano_codex_env.config import DEFAULTS, POLICIES, REWARDS, read_config
from nano_codex_env.errors import ConfigError

BUNDLED = Path(__file__).parents[1] / "configs" / "bundled.toml"


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "a.toml"
    path.write_text('policy = "idle"\n[env]\nmax_steps = 3\n')
    return path


def test_nothing_given_is_the_defaults() -> None:
    assert read_config(None) == DEFAULTS


def test_the_bundled_config_is_the_defaults_written_out() -> None:
    assert read_config(BUNDLED) == DEFAULTS
    for key in ("tasks =", "policy =", "reward =", "[env]", *(f"{name} =" for name in DEFAULTS["env"])):
        assert f"\n{key}" in BUNDLED.read_text()


def test_later_words_stand_over_earlier_ones(toml: Path) -> None:
    assert read_config(toml) == {**DEFAULTS, "policy": "idle", "env": {**DEFAULTS["env"], "max_steps": 3}}
    config = read_config(toml, ["env.max_steps=4", "env.max_steps=5", "policy=random"], {"policy": "oracle"})
    assert config == {**DEFAULTS, "env": {**DEFAULTS["env"], "max_steps": 5}}


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
    ],
)
def test_a_setting_is_toml_or_else_a_string(setting: str, key: str, value: object) -> None:
    found = read_config(None, [setting])["env"][key]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("nope=1", "--set nope=1: unknown key 'nope'; there are: tasks, policy, reward, env"),
        ("env.steps=1", "--set env.steps=1: unknown key 'steps'; there are: max_steps, time_limit, on_inaction"),
        ("env.max_steps=many", "max_steps must be a int; got 'many'"),
        ("env.max_steps=1.5", "max_steps must be a int; got 1.5"),
        ("env.max_steps=true", "max_steps must be a int; got True"),
        ("env.time_limit=true", "time_limit must be a float; got True"),
        ("env=1", "env must be a dict; got 1"),
        ("tasks=bundled", "tasks must be a list; got 'bundled'"),
        ("policy=best", "no policy is called 'best'; there are: idle, oracle, random"),
        ("reward=best", "no reward is called 'best'; there are: resolved, similarity"),
        ("policy", "--set takes key=value; got 'policy'"),
        ('policy="a', "--set 'policy=\"a' is no TOML"),
    ],
)
def test_a_mistake_is_named(setting: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(None, [setting])
    assert words in str(caught.value)


@pytest.mark.parametrize("content", [None, b"policy = ", b"\xff"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"cannot read .*a\.toml: "):
        read_config(tmp_path / "a.toml")


def test_a_mistake_in_a_file_names_the_file(toml: Path) -> None:
    toml.write_text("[env]\nsteps = 1\n")
    with pytest.raises(ConfigError, match=r"a\.toml: unknown key 'steps'"):
        read_config(toml)


def test_every_name_makes_something_that_can_be_called() -> None:
    assert all(callable(make([])) for make in POLICIES.values())
    assert all(callable(make()) for make in REWARDS.values())
