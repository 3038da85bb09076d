"""TRL: what the environment says as TRL calls it, and real GRPO steps of a tiny model in the real sandbox."""

from __future__ import annotations

import gc
import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from examples.tiny import easy_task, fix_of, make_model, make_tokenizer, render, teach, trl_template
from nano_codex_env import Score, Task, Trajectory, from_function
from nano_codex_env.adapters.trl import TrlSpec, _share_of_processors
from nano_codex_env.adapters.trl_environment import EPISODE_OVER, TrlEnvironment, VoidWindow
from nano_codex_env.cache import cache_dir
from nano_codex_env.env import NanoCodexEnv
from nano_codex_env.episode import NOT_RUN
from nano_codex_env.errors import ConfigError, RewardError, SandboxError, TaskError, WorkspaceError
from nano_codex_env.parallel import processors
from nano_codex_env.records.reader import read_runs
from nano_codex_env.runs.replay import replay
from nano_codex_env.tools import Tool, ToolResult, default_tools
from nano_codex_env.tools.prompt import first_messages
from tests.docs import ROOT, blocks, check

FIX = {"search": "return a - b", "replace": "return a + b", "file": "sums.py"}
DONE = {"role": "assistant", "content": "Done."}


def opened(task: Task, **more: Any) -> Any:
    """An environment of a spec with one task, reset; `Any`, since its tools are made."""
    env: Any = TrlSpec(task, reward=more.pop("reward", from_function(lambda *_: 0.5)), **more).environment_factory()
    env.reset(task=0, instance_id="sums-1", prompt=[])
    return env


# Without TRL: what it would call.


def test_tools_answer_as_in_any_episode(task: Task) -> None:
    env = opened(task)
    assert env.shell(cmd="ls pkg") == "__init__.py\ndata.txt\n"
    assert "sums.py" in env.apply_patch(**FIX)
    assert "a + b" in env.shell(cmd="cat sums.py")


def test_wrong_arguments_are_answered_in_the_words_of_the_toolbox(task: Task) -> None:
    env = opened(task)
    assert "shell takes exactly cmd (missing: cmd; unknown: command)" in env.shell(command="ls")
    assert "cmd must be a string" in env.shell(cmd=7)


@pytest.mark.parametrize("name", ["name", "call_id", "self", "arguments", "cmd "])
def test_an_argument_of_any_name_is_the_policys_mistake(task: Task, name: str) -> None:
    """`name` was taken for a bug of ours and ended the training, `call_id` was lost."""
    env = opened(task)
    assert f"(missing: cmd; unknown: {name})" in env.shell(**{name: "ls"})
    assert env.shell(cmd="echo up") == "up\n"


@pytest.mark.parametrize("value", [object(), {1, 2}, b"ls", 10**5000], ids=["object", "set", "bytes", "long"])
def test_an_argument_that_is_no_json_is_the_policys_mistake(task: Task, value: Any) -> None:
    """As trainers' parsers of other forms than JSON may make it."""
    env = opened(task)
    assert "the arguments are not valid JSON" in env.shell(cmd=value)
    assert env.shell(cmd="echo up") == "up\n"


def echo(episode: Any, **arguments: str) -> ToolResult:
    """A tool that says what it is given."""
    return ToolResult(json.dumps(arguments))


def test_a_tool_may_call_its_arguments_as_it_likes(task: Task) -> None:
    given = {"name": "a", "call_id": "b"}
    env = opened(task, tools=[Tool("echo", "Say it.", {"name": "one", "call_id": "two"}, echo)])
    assert json.loads(env.echo(**given)) == given


@pytest.mark.parametrize(
    "name",
    ["reset", "tool_schemas", "get_reward", "_score", "_call", "_episode", "__init__", "_mine"],
)
def test_a_tool_that_would_replace_a_method_is_refused(task: Task, name: str) -> None:
    with pytest.raises(ConfigError, match=f"no tool for TRL can be called '{name}'"):
        TrlSpec(task, tools=[Tool(name, "Do it.", {}, echo)])


@pytest.mark.parametrize("name", ["self", "class", "my-arg", ""])
def test_a_parameter_that_can_be_no_argument_is_refused(task: Task, name: str) -> None:
    with pytest.raises(ConfigError, match=f"no argument of a method can be called '{name}'; .* the tool mine"):
        TrlSpec(task, tools=[Tool("mine", "Do it.", {name: "what"}, echo)])


def test_numbers_that_no_float_holds_are_no_bug_of_ours(task: Task) -> None:
    """They ended the training with an OverflowError."""
    env = opened(task, reward=lambda *_: Score(0.5, {"n": 10**400}))
    assert env._score([*first_messages(task), DONE]) == 0.5
    assert "parts.n" not in env._metrics
    env = opened(task, reward=from_function(lambda *_: 10**400))
    assert env._score([*first_messages(task), DONE]) is None


def test_what_the_log_says_of_a_void_sample_moves_no_terminal(task: Task, caplog: pytest.LogCaptureFixture) -> None:
    def ill(*_: object) -> float:
        raise RewardError("\x1b]0;gone\x07\x1b[2J")

    env = opened(task, reward=from_function(ill))
    assert env._score([*first_messages(task), DONE]) is None
    assert "a sample is void: RewardError: \\x1b]0;gone\\x07\\x1b[2J" in caplog.text
    assert "\x1b" not in caplog.text


def test_a_method_is_documented_as_the_schema_is(task: Task) -> None:
    """TRL makes the policy's schema of signature and docstring."""
    env = opened(task)
    assert str(type(env).shell.__signature__) == "(self, /, *, cmd: str)"
    assert type(env).apply_patch.__annotations__ == {"search": str, "replace": str, "file": str}
    public = [name for name in dir(type(env)) if not name.startswith("_")]
    assert public == ["apply_patch", "reset", "shell", "tool_schemas"]


def test_calls_beyond_the_limit_are_not_run(task: Task) -> None:
    env = opened(task, max_steps=1)
    assert env.shell(cmd="echo up") == "up\n"
    assert env.shell(cmd="echo up") == NOT_RUN
    assert env._score([*first_messages(task), DONE]) == 0.5
    assert env.shell(cmd="echo up") == EPISODE_OVER


def test_a_failure_of_ours_voids_the_sample_and_tells_the_policy_nothing_of_it(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = opened(task)

    def broken(*_: object, **__: object) -> None:
        raise SandboxError("the disk is full")

    monkeypatch.setattr("nano_codex_env.tools.ToolContext.execute", broken)
    assert env.shell(cmd="ls") == EPISODE_OVER
    assert env.apply_patch(**FIX) == EPISODE_OVER
    assert env._score([*first_messages(task), DONE]) is None


def test_a_repository_that_is_gone_voids_the_sample(task: Task, tmp_path: Path) -> None:
    env = opened(task.with_(repo=str(tmp_path / "nowhere")))
    assert env.shell(cmd="ls") == EPISODE_OVER
    assert env._score([DONE]) is None


def test_folders_that_cannot_be_hidden_void_the_sample_and_no_other(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(repo: str) -> None:
        raise WorkspaceError("alternates cannot be read")

    with monkeypatch.context() as patch:
        patch.setattr("nano_codex_env.episode.repository_folders", fail)
        env = opened(task)
    assert env.shell(cmd="ls") == EPISODE_OVER
    assert env._score([DONE]) is None
    assert score(env, task) == 0.5


def test_a_reward_that_breaks_voids_the_sample(task: Task) -> None:
    env = opened(task, reward=lambda *_: 1 / 0)
    assert env._score([*first_messages(task), DONE]) is None


def test_a_bug_of_ours_in_a_reward_is_raised_and_the_episode_freed(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was None, for every sample, and the training went on."""

    def bug(*_: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr("nano_codex_env.rewards.resolved.Resolved.__call__", bug)
    env: Any = TrlSpec(task).environment_factory()
    env.reset(task=0)
    with pytest.raises(KeyError, match="ours"):
        env._score([*first_messages(task), DONE])
    assert env.shell(cmd="ls") == EPISODE_OVER


@pytest.mark.parametrize("where", ["repo.Workspace.diff", "adapters.trl_environment.TrlEnvironment._log"])
def test_a_bug_of_ours_in_the_diff_or_the_log_is_raised(
    task: Task, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = opened(task)

    def bug(*_: object, **__: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr(f"nano_codex_env.{where}", bug)
    with pytest.raises(KeyError, match="ours"):
        env._score([*first_messages(task), DONE])


def test_a_bug_of_ours_in_a_tool_is_no_tool_message_and_is_raised_at_the_score(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL would show the policy `{"error": ...}` and go on."""
    env = opened(task)

    def bug(*_: object, **__: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr("nano_codex_env.tools.ToolContext.execute", bug)
    assert env.shell(cmd="ls") == EPISODE_OVER
    with pytest.raises(KeyError, match="ours"):
        env._score([*first_messages(task), DONE])
    env.reset(task=0)
    assert env._score([*first_messages(task), DONE]) == 0.5


def test_a_tool_of_the_users_that_raises_voids_the_sample(task: Task) -> None:
    def run(episode: Any) -> ToolResult:
        raise KeyError("theirs")

    env = opened(task, tools=[*default_tools(), Tool("look", "Look around.", {}, run)])
    assert env.look() == EPISODE_OVER
    assert env._score([*first_messages(task), DONE]) is None


def score(env: Any, task: Task) -> Any:
    """A new sample that does nothing, scored."""
    env.reset(task=0)
    return env._score([*first_messages(task), DONE])


def test_too_many_void_samples_reach_the_trainer(task: Task, tmp_path: Path) -> None:
    """All environments of a spec share a window; what was void at reset counts too."""
    gone = task.with_(instance_id="gone", repo=str(tmp_path / "nowhere"))
    spec = TrlSpec([task, gone], reward=from_function(lambda *_: 1 / 0), max_void_share=0.05)
    first, second = spec.environment_factory(), spec.environment_factory()
    first.reset(task=1)
    assert first._score([DONE]) is None
    assert [score(second, task), score(first, task)] == [None, None]
    second.reset(task=0)
    words = r"4 of the last 64 samples are void, more than max_void_share=0.05 .*ZeroDivisionError.*there is no folder"
    with pytest.raises(RewardError, match=words):
        spec.reward_funcs[0](prompts=[[]], completions=[[DONE]], environments=[second])


def test_of_the_last_sixty_four_samples_half_may_be_void_and_no_more() -> None:
    window, any_share = VoidWindow(0.5), VoidWindow(1)
    for number in range(200):
        window.add("why" if number % 64 < 32 else None)
        any_share.add("why")
    window = VoidWindow(0.5)
    for _ in range(32):
        window.add("why")
    window.add(None)
    with pytest.raises(RewardError, match=r"33 of the last 64 samples .* The last reasons: late; why$"):
        window.add("late")
    window.add(None)  # a sample with a reward keeps it
    with pytest.raises(RewardError, match="1 of the last 64 samples"):
        VoidWindow(0).add("why")


@pytest.mark.parametrize("share", [-0.1, 1.01, float("nan"), True, "0.5", None])
def test_a_share_of_void_samples_is_a_number_from_0_to_1(task: Task, share: Any) -> None:
    with pytest.raises(ConfigError, match="max_void_share must be a number from 0 to 1; got"):
        TrlSpec(task, max_void_share=share)


def test_in_another_process_the_window_is_new_and_as_wide(task: Task) -> None:
    spec = TrlSpec(task, reward=Void(), asynchronous=True, max_void_share=0.02)
    env = spec.environment_factory()
    assert score(env, task) is None
    factory = pickle.loads(pickle.dumps(spec.environment_factory))
    others: list[Any] = [factory(), factory()]
    for other in others:
        other.reset(task=0)
    assert others[0].get_reward() is None
    with pytest.raises(RewardError, match="2 of the last 64 samples are void"):
        others[1].get_reward()


class Void:
    """A reward that can be pickled and never gives one."""

    def __call__(self, task: Task, transcript: object, diff: str) -> Score:
        """Break."""
        raise RewardError("the judge is ill")


def test_a_task_without_tests_needs_another_reward(task: Task) -> None:
    with pytest.raises(TaskError, match="no tests"):
        TrlSpec(task.with_(FAIL_TO_PASS=()))


def test_an_episode_is_freed_at_the_next_reset_at_its_score_and_with_its_environment(task: Task) -> None:
    sessions = cache_dir() / "sessions"

    def episodes() -> int:
        return len([path for path in sessions.glob("s-*") if path.is_dir()])

    before = episodes()
    env = opened(task)
    env.apply_patch(**FIX)
    env.reset(task=0)
    assert episodes() <= before + 1
    env.apply_patch(**FIX)
    env._score([DONE])
    assert episodes() == before
    env.reset(task=0)
    del env
    gc.collect()
    assert episodes() == before


def test_the_dataset_holds_what_an_episode_begins_with(task: Task) -> None:
    rows = list(TrlSpec([task, task.with_(instance_id="sums-2")]).train_dataset)
    assert [row["prompt"] for row in rows] == [first_messages(task)] * 2
    assert [(row["instance_id"], row["task"]) for row in rows] == [("sums-1", 0), ("sums-2", 1)]


def test_for_the_asynchronous_trainer_the_environment_owns_its_reward_and_travels(task: Task) -> None:
    spec = TrlSpec(task, reward=Half(), asynchronous=True)
    assert spec.reward_funcs == []
    assert type(spec.environment_factory()) is type(spec.environment_factory())  # TRL leaves out all but one class
    env: Any = pickle.loads(pickle.dumps(spec.environment_factory))()
    assert env.get_reward() is None  # never reset: void, not nothing
    env.reset(task=0)
    env.apply_patch(**FIX)
    assert env.get_reward() == 0.5


class Half:
    """A reward that can be pickled."""

    def __call__(self, task: Task, transcript: object, diff: str) -> Score:
        """Half of everything that changes something."""
        return Score(0.5 * bool(diff), {})


def test_a_batch_is_scored_with_its_metrics(task: Task) -> None:
    """A void sample is None, and counts in no mean but its own."""
    spec = TrlSpec(task, workers=2)
    envs: list[Any] = [spec.environment_factory() for _ in range(3)]
    for env in envs[:2]:
        env.reset(task=0)
    envs[0].apply_patch(**FIX)
    envs[1].shell(cmd="grep -n def sums.py | head -n 1")
    told: dict[str, float] = {}
    [reward] = spec.reward_funcs
    prompt = first_messages(task)
    rewards = reward(prompts=[prompt] * 3, completions=[[DONE]] * 3, environments=envs, log_metric=told.__setitem__)
    assert rewards == [1.0, 0.0, None]
    assert told["nano_codex/reward"] == 0.5
    assert told["nano_codex/void"] == pytest.approx(1 / 3)
    assert told["nano_codex/apply_patch.ok"] == 1.0
    counts = ("apply_patch.calls", "shell.calls", "commands.grep", "commands.head")
    assert [told[f"nano_codex/{name}"] for name in counts] == [0.5] * 4


@pytest.mark.parametrize("ranks", ["1", "2", "3", "1000", "0", "many", ""])
def test_the_processes_on_a_host_share_its_processors(ranks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of eight scored one episode for each processor: eight times too many."""
    monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
    count = int(ranks) if ranks.isdecimal() else 1
    assert _share_of_processors() == max(1, processors() // max(1, count))


@pytest.mark.parametrize("workers", [None, 2])
def test_a_batch_is_scored_by_so_many_at_once(workers: int | None, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the caller says holds, whatever the number of processes."""
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
    both, threads = threading.Barrier(workers or 1), set()

    def counting(task: Task, transcript: object, diff: str) -> float:
        both.wait(60)
        threads.add(threading.get_ident())
        return 0.5

    spec = TrlSpec(task, counting, workers=workers)
    envs: list[Any] = [spec.environment_factory() for _ in range(4)]
    for env in envs:
        env.reset(task=0)
    [reward] = spec.reward_funcs
    assert reward(prompts=[[]] * 4, completions=[[DONE]] * 4, environments=envs) == [0.5] * 4
    assert len(threads) == (workers or 1)


RANK = """
import sys, torch.distributed
from nano_codex_env.adapters.trl import _share_of_processors
torch.distributed.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=int(sys.argv[2]), world_size=2)
print(_share_of_processors())
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_where_no_launcher_says_so_torch_knows_the_processes(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed (pip install '.[trl]')")
    env = {name: value for name, value in os.environ.items() if name != "LOCAL_WORLD_SIZE"}
    command = [sys.executable, "-c", RANK, str(tmp_path / "store")]
    ranks = [subprocess.Popen([*command, rank], env=env, stdout=subprocess.PIPE) for rank in "01"]
    assert [int(rank.communicate(timeout=300)[0]) for rank in ranks] == [max(1, processors() // 2)] * 2


# With TRL.


TRAINING = "qwen3_training"  # the variant of Qwen3's template that TRL trains with: it rewrites nothing


@pytest.fixture(scope="module")
def easy() -> Task:
    """A bundled task of one line."""
    return easy_task()


def transcript(env: Any, task: Task, name: str, arguments: dict[str, str]) -> list[dict[str, Any]]:
    """An episode of one call, in TRL's words."""
    env.reset(task=0)
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    said = {"role": "assistant", "content": "", "tool_calls": [call]}
    answer = {"role": "tool", "name": name, "content": env._call(name, arguments)}
    return [*first_messages(task), said, answer, DONE]


@pytest.fixture(scope="module")
def trained(easy: Task, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """GRPO steps of a model that was taught to mend the bug, or to look and give up."""
    pytest.importorskip("trl", reason="trl is not installed (pip install '.[trl]')")
    import torch
    from trl import GRPOConfig, GRPOTrainer

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trl")
    seen: dict[str, list[Any]] = {"masks": [], "rewards": [], "saw": [], "prompts": []}
    spec = TrlSpec(easy, log_dir=folder / "log", time_limit=None)
    env: Any = spec.environment_factory()
    tools = env.tool_schemas
    examples = [transcript(env, easy, "apply_patch", fix_of(easy)), transcript(env, easy, "shell", {"cmd": "ls"})]
    texts = [json.dumps([tools, examples]), *(m["content"] for e in examples for m in e)]
    tokenizer = make_tokenizer(texts, trl_template("qwen3"))  # by which TRL knows the family
    model = make_model(tokenizer)
    rows = [(example, tools) for example in examples]
    assert teach(model, tokenizer, rows, steps=110, chat_template=trl_template(TRAINING)) < 0.5
    before = [parameter.detach().clone() for parameter in model.parameters()]
    [reward] = spec.reward_funcs

    def watched(**columns: Any) -> list[float | None]:
        rewards = reward(**columns)
        seen["rewards"].append(rewards)
        seen["saw"] += [[*p, *c] for p, c in zip(columns["prompts"], columns["completions"], strict=True)]
        return rewards

    class Watched(GRPOTrainer):  # type: ignore[misc]
        def _generate_single_turn(self, prompts: Any, *args: Any, **more: Any) -> Any:
            seen["prompts"].append(list(prompts[0]))
            return super()._generate_single_turn(prompts, *args, **more)

        def _tool_call_loop(self, *args: Any, **more: Any) -> Any:
            result = super()._tool_call_loop(*args, **more)
            seen["masks"] += list(zip(result[0], result[1], result[2], strict=True))
            return result

    args = GRPOConfig(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=8,
        num_generations=8,
        max_completion_length=700,
        max_steps=4,
        learning_rate=1e-4,
        seed=3,
        report_to=[],
        use_cpu=True,
        bf16=False,
        logging_steps=1,
        save_strategy="no",
        disable_tqdm=True,
        chat_template_kwargs={"enable_thinking": False},
    )
    trainer = Watched(
        model=model,
        args=args,
        processing_class=tokenizer,
        train_dataset=spec.train_dataset,
        environment_factory=spec.environment_factory,
        reward_funcs=[watched],
    )
    trainer.train()
    return {**seen, "trainer": trainer, "before": before, "tokenizer": tokenizer, "log": folder / "log", "tools": tools}


FILTERS = pytest.mark.filterwarnings("ignore")  # of torch, transformers and trl, which are not ours


@pytest.mark.slow
@FILTERS
def test_rewards_differ_gradients_are_finite_and_weights_move(trained: dict[str, Any]) -> None:
    import math

    assert any(len(set(rewards)) > 1 for rewards in trained["rewards"])
    norms = [row["grad_norm"] for row in trained["trainer"].state.log_history if "grad_norm" in row]
    assert all(math.isfinite(norm) for norm in norms)
    assert max(norms) > 0
    after = list(trained["trainer"].model.parameters())
    assert any(not bool((old == new.detach()).all()) for old, new in zip(trained["before"], after, strict=True))


@pytest.mark.slow
@FILTERS
def test_what_an_episode_begins_with_is_token_for_token_what_the_log_renders_to(trained: dict[str, Any]) -> None:
    """Tools and their order included: a model that was taught another order cannot spell its calls."""
    tokenizer = trained["tokenizer"]
    logged = Trajectory.load(next(trained["log"].glob("2*")))
    text = render(tokenizer, logged.messages[:2], logged.tools, trl_template("qwen3"), add_generation_prompt=True)
    assert trained["prompts"][0] == tokenizer.encode(text)


@pytest.mark.slow
@FILTERS
def test_the_mask_covers_exactly_what_the_tools_said(trained: dict[str, Any]) -> None:
    """1 on what the model sampled, 0 on the tool messages as the template writes them."""
    tokenizer, checked = trained["tokenizer"], 0
    for mask, messages, ids in trained["masks"]:
        told = tokenizer.decode([token for token, ours in zip(ids, mask, strict=True) if not ours])
        answers = [message["content"] for message in messages if message["role"] == "tool"]
        assert all(answer.rstrip("\n") in told for answer in answers)
        sampled = tokenizer.decode([token for token, ours in zip(ids, mask, strict=True) if ours])
        assert "<tool_response>" not in sampled or not answers
        checked += len(answers)
    assert checked


@pytest.mark.slow
@FILTERS
def test_what_is_logged_is_what_the_trainer_saw_and_it_replays(trained: dict[str, Any]) -> None:
    logged = [Trajectory.load(folder) for folder in sorted(trained["log"].glob("2*"))]
    assert len(logged) == len(trained["saw"])
    saw = sorted(json.dumps(messages) for messages in trained["saw"])
    assert sorted(json.dumps(one.messages) for one in logged) == saw
    assert all(one.tools == trained["tools"] for one in logged)
    acted = [one for one in logged if any(message["role"] == "tool" for message in one.messages)]
    assert acted
    whole = [one for one in acted if one.metadata["stop"] == "submitted"]
    assert [found for one in whole[:4] for found in replay(one.folder).differences] == []
    assert all(render(trained["tokenizer"], one.messages, one.tools, trl_template(TRAINING)) for one in logged)


@pytest.mark.slow
@FILTERS
def test_the_lines_of_the_documentation_train(
    trained: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they stand there, but for the model, and a step on a processor in the place of days on a GPU."""
    monkeypatch.chdir(tmp_path)
    for made in (trained["trainer"].model, trained["tokenizer"]):
        made.save_pretrained("model")
    code = next(block.text for block in blocks(ROOT / "docs" / "training-trl.md") if block.language == "python")
    small = "max_steps=1, max_completion_length=64, use_cpu=True, bf16=False, report_to=[], save_strategy='no'"
    for there, here in (('"Qwen/Qwen3-1.7B"', '"model"'), ("max_completion_length=8192", small)):
        assert there in code
        code = code.replace(there, here)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["trainer"].state.global_step == 1
    assert len(list(tmp_path.joinpath("runs/trl").glob("2*"))) == 8


@pytest.mark.slow
@FILTERS
def test_the_documentation_names_arguments_that_trl_has() -> None:
    for page in ("README.md", "docs/training-trl.md", "docs/export.md"):
        for block in blocks(ROOT / page):
            check(block)


@pytest.mark.slow
@FILTERS
@pytest.mark.parametrize("owns", [False, True], ids=["reward_funcs", "get_reward"])
def test_a_training_of_void_samples_ends(trained: dict[str, Any], easy: Task, tmp_path: Path, owns: bool) -> None:
    """It went on with no reward at all."""
    from trl import GRPOConfig, GRPOTrainer

    spec = TrlSpec(easy, reward=from_function(lambda *_: 1 / 0), max_void_share=0.04, asynchronous=owns)
    args = GRPOConfig(
        output_dir=str(tmp_path), per_device_train_batch_size=4, num_generations=4, max_completion_length=8,
        max_steps=1, use_cpu=True, bf16=False, report_to=[], save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=trained["trainer"].model,
        args=args,
        processing_class=trained["tokenizer"],
        train_dataset=spec.train_dataset,
        environment_factory=spec.environment_factory,
        reward_funcs=spec.reward_funcs,
    )
    with pytest.raises(RewardError, match=r"[34] of the last 64 samples are void"):  # two are scored at once
        trainer.train()


@pytest.mark.slow
@FILTERS
def test_two_hundred_episodes_leave_nothing_behind_but_their_shard(easy: Task, tmp_path: Path) -> None:
    import os

    pytest.importorskip("transformers")  # makes the schemas that a log holds
    spec = TrlSpec(easy, reward=Half(), time_limit=None, log="shard", log_dir=tmp_path)
    envs: list[Any] = [spec.environment_factory() for _ in range(8)]

    def batch() -> None:
        for env in envs:
            env.reset(task=0)
            env.shell(cmd="ls")
            env.apply_patch(**fix_of(easy))
        spec.reward_funcs[0](
            prompts=[first_messages(easy)] * 8, completions=[[DONE]] * 8, environments=envs, completion_ids=[]
        )

    batch()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(25):
        batch()
    assert len(os.listdir("/proc/self/fd")) == before
    [shard] = tmp_path.glob("*.jsonl")
    assert sorted(os.listdir(tmp_path)) == [".gitignore", shard.name]
    assert [episode.reward for episode in read_runs([shard])] == [0.5] * 208


@pytest.mark.slow
@FILTERS
def test_the_schema_that_trl_shows_is_ours(task: Task) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed (pip install '.[trl]')")
    env = opened(task)
    with NanoCodexEnv([task], log_dir=None) as ours:
        _, info = ours.reset()
    for tool in info["tools"]:
        del tool["function"]["parameters"]["additionalProperties"]
    assert env.tool_schemas == sorted(info["tools"], key=lambda tool: str(tool["function"]["name"]))
    assert isinstance(env, TrlEnvironment)
