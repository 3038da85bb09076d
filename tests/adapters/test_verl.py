"""verl: what its parsers drop, patches as text, and its own config and workers over a scripted model."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from examples.tiny import easy_task, fix_of, make_tokenizer
from nano_codex_env import NanoCodexEnv, Task, Trajectory
from nano_codex_env.adapters import verl as adapter
from nano_codex_env.adapters import verl_reward
from nano_codex_env.adapters.verl_calls import as_call, as_message
from nano_codex_env.cli import main
from nano_codex_env.episode import NOT_RUN
from nano_codex_env.errors import ConfigError, RewardError, SandboxError, TaskError
from nano_codex_env.export.verl import AGENT, verl_rows
from nano_codex_env.parallel import parallel_map
from nano_codex_env.records.reader import episode_folders
from nano_codex_env.records.trajectory import LogWriter
from nano_codex_env.rewards import from_function, needs_tests
from nano_codex_env.runs.replay import replay
from nano_codex_env.tools import ToolContext
from nano_codex_env.tools.prompt import first_messages

CONFIGS = Path(__file__).parents[2] / "configs"
END = "<|im_end|>"


def block(name: str, **arguments: str) -> str:
    """A tool call as Hermes writes it."""
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


# Without verl.


def read(text: str, *calls: tuple[str, str], form: str = "hermes") -> dict[str, Any]:
    """The message of a text of which verl's parser read `calls`."""
    return as_message(text + END, text + END, [as_call(*call) for call in calls], form, [END])


def functions(message: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and arguments of each call."""
    return [(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls", [])]


def test_a_text_without_calls_is_said_without_its_last_token() -> None:
    assert read("Done.") == {"role": "assistant", "content": "Done."}


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        (
            '<tool_call>{"name": "shell", "arguments": {"cmd": </tool_call>',
            "shell",
            '{"name": "shell", "arguments": {"cmd":',
        ),
        ("<tool_call>ls -l</tool_call>", "", "ls -l"),
        ('<tool_call>{"name": "shell", "arguments": {"cmd": "ls"}}', "shell", '{"cmd": "ls"}'),
        ('<tool_call>{"name": "shell"}</tool_call>', "shell", '{"name": "shell"}'),
        ('<tool_call>["shell"]</tool_call>', "", '["shell"]'),
    ],
)
def test_a_call_that_the_parser_drops_is_a_call(text: str, name: str, arguments: str) -> None:
    message = read(f"Look: {text}".removesuffix(END))
    [(found, written)] = functions(message)
    assert found == name
    assert written.startswith(arguments)
    assert message["content"].startswith("Look: ")
    assert "tool_call>" not in message["content"]


def test_what_the_parser_read_is_not_read_again() -> None:
    good = '<tool_call>{"name": "shell", "arguments": {"cmd": "ls"}}</tool_call>'
    both = read(good + "<tool_call>no</tool_call>", ("shell", '{"cmd": "ls"}'))
    assert functions(both) == [("shell", '{"cmd": "ls"}'), ("", "no")]
    thought = read(f"<think><tool_call>maybe</tool_call></think>{good}", ("shell", '{"cmd": "ls"}'))
    assert functions(thought) == [("shell", '{"cmd": "ls"}')]


def test_other_forms_between_the_tags_are_left_to_their_parser() -> None:
    text = "<tool_call><function=shell><parameter=cmd>ls</parameter></function></tool_call>"
    assert functions(read(text, ("shell", "{}"), form="qwen3_coder")) == [("shell", "{}")]
    assert functions(read("<tool_call><function=shell ls</tool_call>", form="qwen3_coder"))[0][0] == "shell"


def test_a_dropped_call_is_answered_in_the_words_of_the_toolbox(env: NanoCodexEnv) -> None:
    env.reset()
    obs, *_, info = env.step(read('<tool_call>{"name": "shell", "arguments": {"cmd": </tool_call>'))
    assert info["ok"] == [False]
    assert "the arguments are not valid JSON" in obs[-1]["content"]
    obs, *_ = env.step(read("<tool_call>ls</tool_call>"))
    assert "no tool is called ''; there are: shell, apply_patch" in obs[-1]["content"]


def test_a_patch_in_a_text_is_worth_what_it_is_worth() -> None:
    task = easy_task()
    [row] = verl_rows([task], first_messages)

    def score(text: str) -> Any:
        return adapter.compute_score(AGENT, text, task.instance_id, row["extra_info"], num_turns=1)

    assert score(f"So:\n```diff\n{task.patch}```\nThat is it.") == {
        "score": 1.0,
        "parts.resolved": 1.0,
        "parts.fail_to_pass": 1.0,
        "parts.pass_to_pass": 1.0,
    }
    assert score("I do not know.")["score"] == 0.0


def test_the_last_patch_counts() -> None:
    assert verl_reward.patch_in("```diff\na\n```\n```patch\nb\n```\n") == "b\n"
    assert verl_reward.patch_in("It is\n--- a/x\n+++ b/x\n") == "--- a/x\n+++ b/x\n"
    assert verl_reward.patch_in("nothing - at all") == ""


def test_a_row_without_a_task_says_how_to_make_one() -> None:
    deep = "[" * 100_000
    for extra in ({"index": 1}, {"task": 5}, {"task": "no JSON"}, {"task": deep}, {"task": deep + "]" * 100_000}, None):
        with pytest.raises(TaskError, match="export verl-parquet"):
            adapter.compute_score("gsm8k", "42", "42", extra)


def test_a_reward_that_breaks_is_a_failure_of_ours(task: Task) -> None:
    broken = verl_reward.SharedReward(lambda *_: 1 / 0, 1)  # type: ignore[arg-type]
    with pytest.raises(RewardError, match="ZeroDivisionError"):
        broken(task, [], "")
    assert verl_reward.SharedReward(from_function(lambda *_: 0.5), 1)(task, [], "").value == 0.5
    with pytest.raises(ConfigError, match="workers must be a positive whole number; got 0"):
        verl_reward.SharedReward(broken, 0)


def test_no_more_are_scored_at_once_than_was_said(task: Task) -> None:
    running, most, lock, two = [0], [0], threading.Lock(), threading.Barrier(2)

    def watch(*_: object) -> float:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        two.wait(60)
        with lock:
            running[0] -= 1
        return 0.0

    reward = verl_reward.SharedReward(from_function(watch), 2)
    assert len(list(parallel_map(lambda _: reward(task, [], ""), range(12), 6))) == 12
    assert most == [2]


def test_one_reward_serves_all_samples_of_a_process() -> None:
    assert verl_reward.shared_reward("similarity") is verl_reward.shared_reward("similarity")
    assert needs_tests(verl_reward.shared_reward("resolved"))


def test_without_verl_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "verl", None)
    monkeypatch.delitem(sys.modules, "nano_codex_env.adapters.verl_loop", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'nano-codex-env\[verl\]'"):
        _ = adapter.NanoCodexAgentLoop


# With verl: its own config, dataset, workers; the model is a script.

FILTERS = pytest.mark.filterwarnings("ignore")  # of torch, transformers, ray and verl, which are not ours
Script = Callable[[int], str]
ABORTED = "Don"
"""The partial answer of a server that is stopped."""
NOTHING, FULL = "no token", "no room"
"""Answers without a token: one without a reason, and verl's SGLang server when the context is full."""


class Model:
    """In place of verl's client of an inference server: says what the script of a task says, turn by turn."""

    def __init__(self, tokenizer: Any, scripts: Sequence[tuple[str, Script]]) -> None:
        """`scripts`: what a task's issue begins with, and what is said at it; of several the next for each sample."""
        self.tokenizer, self.scripts = tokenizer, list(scripts)
        self.turns: dict[str, tuple[Script, list[str]]] = {}

    async def generate(self, request_id: str, *, prompt_ids: list[int], **_: Any) -> Any:
        """One answer; its logprobs tell the turn."""
        from verl.workers.rollout.replica import TokenOutput

        await asyncio.sleep(0)
        if request_id not in self.turns:
            prompt = self.tokenizer.decode(prompt_ids)
            place = next(n for n, (begin, _) in enumerate(self.scripts) if f"user\n{begin}" in prompt)
            self.turns[request_id] = (self.scripts.pop(place)[1], [])
        script, said = self.turns[request_id]
        said.append(script(len(said)))
        ids = self.tokenizer.encode(said[-1] + END) if said[-1] not in (NOTHING, FULL) else []
        about: dict[str, Any] = {"log_probs": [-float(len(said))] * len(ids), "extra_fields": {"global_steps": 3}}
        reason = {ABORTED: "aborted", FULL: "length"}.get(said[-1], "completed")
        return TokenOutput(token_ids=ids, stop_reason=reason, **about)


def say(*texts: str) -> Script:
    """One text after the other, and the last one for ever."""
    return lambda turn: texts[min(turn, len(texts) - 1)]


@pytest.fixture(scope="module")
def easy() -> Task:
    """A bundled task of one line."""
    return easy_task()


@pytest.fixture(scope="module")
def model_path(easy: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder without weights: a tokenizer and a config."""
    pytest.importorskip("verl", reason="verl is not installed (pip install '.[verl]')")
    from transformers import Qwen3Config

    folder = tmp_path_factory.mktemp("model")
    texts = [json.dumps(easy.to_row()), *(message["content"] for message in first_messages(easy))]
    make_tokenizer(texts).save_pretrained(folder)
    Qwen3Config(num_hidden_layers=1, architectures=["Qwen3ForCausalLM"]).save_pretrained(folder)
    return folder


@pytest.fixture
def compose(model_path: Path, tmp_path: Path) -> Callable[..., Any]:
    """Verl's own config with our files on top, and changes of the agent loop's YAML."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    here = {"log_dir": str(tmp_path / "log"), "time_limit": None, "allow_zero_for_void": True}

    def make(*overrides: str, **loop: Any) -> Any:
        [ours] = OmegaConf.load(CONFIGS / "verl_agent_loop.yaml")
        written = tmp_path / "loop.yaml"
        OmegaConf.save([{**ours, **here, **loop}], written)
        more = [
            f"actor_rollout_ref.model.path={model_path}",
            f"actor_rollout_ref.rollout.agent.agent_loop_config_path={written}",
            "data.max_prompt_length=3000",
            "data.max_response_length=1400",
            f"+data.cache_dir={tmp_path / 'data'}",
        ]
        with initialize_config_dir(str(CONFIGS), version_base=None):
            return compose("verl_grpo_swe_gym", [*more, *overrides])

    return make


def batch_of(tasks: Sequence[Task], config: Any, tokenizer: Any, folder: Path) -> Any:
    """Tasks as verl's dataset reads them from what `nano-codex export` wrote."""
    from verl import DataProto
    from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn

    files = []
    for number, task in enumerate(tasks):  # a file each: they share an id, by which the shipped plan is found
        source, parquet = folder / f"{number}.jsonl", folder / f"{number}.parquet"
        source.write_text(json.dumps(task.to_row()) + "\n")
        assert main(["export", "verl-parquet", str(source), "--out", str(parquet)]) == 0
        files.append(str(parquet))
    rows = RLHFDataset(files, tokenizer, config.data)
    assert len(rows) == len(tasks)
    return DataProto.from_single_dict(collate_fn([rows[number] for number in range(len(rows))]))


def worker_of(config: Any, scripts: Sequence[tuple[str, Script]], kind: Any = None) -> Any:
    """Verl's worker over a script."""
    from verl.experimental.agent_loop import AgentLoopWorker

    worker = (kind or AgentLoopWorker)(config, None)
    worker.llm_client = Model(worker.tokenizer, scripts)
    return worker


@pytest.mark.slow
@FILTERS
def test_verl_composes_and_accepts_the_launch_config(compose: Callable[..., Any]) -> None:
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    config = compose()
    validate_config(config, need_reference_policy(config), need_critic(config))
    assert not need_critic(config)
    assert config.trainer.use_v1
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    assert rollout.prompt_length == 3000  # data's lengths reach the rollout
    assert rollout.n == 8
    launched = compose("data.max_prompt_length=8192", "data.max_response_length=24576").actor_rollout_ref.rollout
    whole = launched.prompt_length + launched.response_length
    assert whole == rollout.max_model_len == actor.ppo_max_token_len_per_gpu * actor.ulysses_sequence_parallel_size


@pytest.mark.slow
@FILTERS
def test_a_batch_comes_back_scored_masked_and_with_columns(
    easy: Task, compose: Callable[..., Any], tmp_path: Path
) -> None:
    """Eight samples at once, in the real sandbox, judged by real tests."""
    fix, done = block("apply_patch", **fix_of(easy)), "Done."
    look = block("shell", cmd="seq 1 300")
    scripts = {
        "fix": say(f"I see.\n{fix}", done),
        "idle": say("I give up."),
        "both": say(block("shell", cmd="ls") + fix, done),
        "broken": say('<tool_call>{"name": "shell", "arguments": {"cmd": </tool_call>', done),
        "long": say(fix, look),
        "endless": say(block("shell", cmd="true")),
        "wordy": say(fix, "word " * 2000),
        "void": say(done),
    }
    tasks = [easy.with_(problem_statement=f"{name}: {easy.problem_statement}") for name in scripts]
    tasks[-1] = tasks[-1].with_(repo=str(tmp_path / "nowhere"))
    config = compose(max_steps=6, log="shard")
    worker = worker_of(config, [(f"{name}:", script) for name, script in scripts.items()])
    out = asyncio.run(worker.generate_sequences(batch_of(tasks, config, worker.tokenizer, tmp_path)))

    scores, columns = out.batch["rm_scores"].sum(dim=1).tolist(), out.non_tensor_batch
    assert dict(zip(scripts, scores, strict=True)) == {
        "fix": 1.0, "idle": 0.0, "both": 1.0, "broken": 0.0, "long": 1.0, "endless": 0.0, "wordy": 1.0, "void": 0.0,
    }  # fmt: skip
    assert list(columns["void"]) == [0.0] * 7 + [1.0]
    assert list(columns["shell.calls"]) == [0.0, 0.0, 1.0, 1.0, columns["steps"][4] - 1, 6.0, 0.0, None]
    assert list(columns["apply_patch.ok"]) == [1.0, None, 1.0, None, 1.0, None, 1.0, None]
    assert list(columns["parts.resolved"]) == [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, None]
    assert "reward" not in columns  # a column of verl's own

    said = {script: texts for script, texts in worker.llm_client.turns.values()}
    [shard] = (tmp_path / "log").glob("*.jsonl")
    logs = {log.messages[1]["content"].split(":")[0]: log for log in map(Trajectory.load, episode_folders([shard]))}
    assert logs.keys() == scripts.keys() - {"void"}  # that one could not even begin
    stops = {name: log.metadata["stop"] for name, log in logs.items()}
    assert stops == {
        **dict.fromkeys(scripts.keys() - {"void"}, "submitted"),
        "long": "token_limit",
        "wordy": "token_limit",
        "endless": "max_steps",
    }
    for number, (name, script) in enumerate(scripts.items()):
        mask, ids = out.batch["response_mask"][number], out.batch["responses"][number]
        if name == "void":
            assert int(mask.sum()) == 0
            continue
        length = int(out.batch["attention_mask"][number, 3000:].sum())
        sampled = worker.tokenizer.decode(ids[mask.bool()])
        whole = "".join(text + END for text in said[script])
        assert sampled == whole if name not in ("long", "wordy") else whole.startswith(sampled)
        told = worker.tokenizer.decode(
            [int(token) for token, ours in zip(ids[:length], mask, strict=False) if not ours]
        )
        answers = [message["content"] for message in logs[name].messages if message["role"] == "tool"]
        shown = answers if name not in ("long", "endless") else answers[:-1]
        assert all(answer.rstrip("\n") in told for answer in shown)
        assert length <= 1400
        assert name != "broken" or "the arguments are not valid JSON" in told
        check_log(logs[name], out, number)


def check_log(log: Trajectory, out: Any, number: int) -> None:
    """What is logged is what is trained on, and plays again."""
    example = log.to_training_example()
    prompt, response = out.batch["attention_mask"][number].split([3000, 1400])
    ids = out.batch["input_ids"][number][out.batch["attention_mask"][number].bool()].tolist()
    count = len(example.input_ids)
    assert example.input_ids[: len(ids)] == ids[:count]
    mask = out.batch["response_mask"][number][: int(response.sum())].tolist()
    assert ([0] * int(prompt.sum()) + mask)[:count] == example.mask[: len(ids)]
    logprobs = out.batch["rollout_log_probs"][number][: int(response.sum())].tolist()
    assert example.logprobs
    assert ([0.0] * int(prompt.sum()) + logprobs)[:count] == example.logprobs[: len(ids)]
    assert replay(log.folder).differences == []


@pytest.mark.slow
@FILTERS
@pytest.mark.parametrize("validate", [False, True], ids=["training", "validation"])
def test_under_verls_trainer_a_void_sample_is_not_there(
    easy: Task, compose: Callable[..., Any], tmp_path: Path, validate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of four samples of one task are stored, and no number stands for those that our or the server's fault ended.

    The same in validation, and nobody has to allow anything.
    """
    pytest.importorskip("transfer_queue")
    from verl.trainer.ppo.v1 import agent_loop_tq
    from verl.utils import tensordict_utils

    stored: dict[str, Any] = {}
    states: dict[str, str] = {}

    async def put(*, key: str, tag: dict[str, str], **_: Any) -> None:
        states[key] = tag["status"]

    async def put_all(*, keys: list[str], fields: Any, **_: Any) -> None:
        stored.update({key: fields[number] for number, key in enumerate(keys)})

    execute = ToolContext.execute

    def breaking(self: ToolContext, command: str, **more: Any) -> Any:
        if command == "break":
            raise SandboxError("the box is gone")
        return execute(self, command, **more)

    monkeypatch.setattr(agent_loop_tq.tq, "init", lambda: None)
    monkeypatch.setattr(agent_loop_tq.tq, "async_kv_put", put)
    monkeypatch.setattr(agent_loop_tq.tq, "async_kv_batch_put", put_all)
    monkeypatch.setattr(ToolContext, "execute", breaking)
    count = ["actor_rollout_ref.rollout.n=4", "actor_rollout_ref.rollout.val_kwargs.n=4"]
    config = compose(*count, reward="tests.adapters.test_verl:half", allow_zero_for_void=False)
    kind = agent_loop_tq.AgentLoopWorkerTQ.__ray_metadata__.modified_class
    fix = block("apply_patch", **fix_of(easy))
    scripts = (say(fix, "Done."), say(block("shell", cmd="break")), say("I give up."), say(fix, ABORTED))
    worker = worker_of(config, [("", script) for script in scripts], kind)
    rows = batch_of([easy], config, worker.tokenizer, tmp_path)
    batch = tensordict_utils.get_tensordict(
        {**rows.non_tensor_batch, "uid": ["u"]}, {"global_steps": 1, "validate": validate}
    )

    async def play() -> None:
        await worker.generate_sequences(batch)
        await asyncio.gather(*worker.background_tasks)

    asyncio.run(play())
    assert states == {"u": "failure"}
    assert sorted(float(fields["rm_scores"].sum()) for fields in stored.values()) == [0.0, 0.5]
    assert len(stored) == 2
    logs = [Trajectory.load(folder).metadata for folder in (tmp_path / "log").glob("2*")]
    assert {log["policy"]["uid"] for log in logs} == {"u"}
    assert sorted(log["policy"]["session_id"] for log in logs) == [0, 1, 2, 3]
    voids = sorted(str(log.get("void")) for log in logs)
    assert voids[:2] + voids[3:] == ["None", "None", "SandboxError: the box is gone"]
    assert voids[2].startswith("PolicyError: the server broke an answer off after ")


@pytest.mark.slow
@FILTERS
def test_an_answer_of_no_token_is_void_unless_the_context_is_full(
    easy: Task, compose: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It counted as a submission, and the logprobs of all turns were logged as its own."""
    fix = block("apply_patch", **fix_of(easy))
    scripts = {"nothing": say(fix, NOTHING), "full": say(fix, FULL), "at once": say(NOTHING)}
    tasks = [easy.with_(problem_statement=f"{name}: {easy.problem_statement}") for name in scripts]
    config = compose(reward="tests.adapters.test_verl:half")
    worker = worker_of(config, [(f"{name}:", script) for name, script in scripts.items()])
    out = asyncio.run(worker.generate_sequences(batch_of(tasks, config, worker.tokenizer, tmp_path)))
    assert list(out.non_tensor_batch["void"]) == [1.0, 0.0, 1.0]
    assert out.batch["rm_scores"].sum(dim=1).tolist() == [0.0, 0.5, 0.0]
    assert "the server broke an answer off after 0 tokens (completed)" in caplog.text
    logs = {
        log.messages[1]["content"].split(":")[0]: log for log in map(Trajectory.load, (tmp_path / "log").glob("2*"))
    }
    assert {name: log.metadata["stop"] for name, log in logs.items()} == {
        "nothing": None, "full": "token_limit", "at once": None,
    }  # fmt: skip
    assert [line["logprobs"] for line in logs["full"].tokens][1:] == [[]]


@pytest.mark.slow
@FILTERS
def test_what_the_log_says_of_a_void_sample_moves_no_terminal(
    easy: Task, compose: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker = worker_of(compose(reward="tests.adapters.test_verl:ill"), [("", say("Done."))])
    config = worker.config
    out = asyncio.run(worker.generate_sequences(batch_of([easy], config, worker.tokenizer, tmp_path)))
    assert list(out.non_tensor_batch["void"]) == [1.0]
    [words] = [record.getMessage() for record in caplog.records if "a sample is void" in record.getMessage()]
    assert words.endswith("RewardError: \\x1b[2J")


@from_function
def ill(*_: object) -> float:
    """A reward whose error message holds terminal escapes."""
    raise RewardError("\x1b[2J")


half = from_function(lambda task, transcript, diff: 0.5 * bool(diff))


@pytest.mark.slow
@FILTERS
def test_the_loop_begins_with_the_prompt_that_its_yaml_says(
    easy: Task, compose: Callable[..., Any], tmp_path: Path
) -> None:
    """Whatever stands in the dataset."""
    config = compose(system_prompt="Be brief.", reward="tests.adapters.test_verl:half")
    worker = worker_of(config, [("", say("I give up."))])
    out = asyncio.run(worker.generate_sequences(batch_of([easy], config, worker.tokenizer, tmp_path)))
    assert list(out.non_tensor_batch["void"]) == [0.0]
    assert "system\nBe brief." in worker.tokenizer.decode(out.batch["prompts"][0])
    [folder] = (tmp_path / "log").glob("2*")
    assert Trajectory.load(folder).metadata["system_prompt"] == "Be brief."
    assert replay(folder).identical


@pytest.mark.slow
@FILTERS
def test_a_cancelled_batch_frees_everything(easy: Task, compose: Callable[..., Any], tmp_path: Path) -> None:
    """The leak detector of all tests looks for threads, boxes and folders afterwards."""
    config = compose()
    worker = worker_of(config, [("", say(block("shell", cmd="ls"), block("shell", cmd="sleep 1")))] * 4)
    batch = batch_of([easy], config, worker.tokenizer, tmp_path).repeat(4)

    async def play() -> None:
        running = asyncio.ensure_future(worker.generate_sequences(batch))
        while sum(len(said) for _, said in worker.llm_client.turns.values()) < 6:
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(play())
    stops = [log.metadata["stop"] for log in map(Trajectory.load, (tmp_path / "log").glob("2*"))]
    assert stops == [None] * 4


@pytest.mark.slow
@FILTERS
def test_a_void_sample_whose_log_cannot_be_written_is_freed_and_says_what_failed_first(
    easy: Task, compose: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """The leak detector of all tests looks for its box afterwards."""

    def fail(*_: object, **__: object) -> None:
        raise OSError("the second")

    def gone(*_: object) -> None:
        raise SandboxError("the first")

    config = compose()
    worker = worker_of(config, [("", say(block("shell", cmd="ls"), "Done."))])
    monkeypatch.setattr(LogWriter, "finish", fail)
    verl_reward.shared_reward.cache_clear()  # it may know the score of no patch from another test
    monkeypatch.setattr(verl_reward.SharedReward, "__call__", gone)
    verl_reward.shared_reward.cache_clear()  # an earlier test's reward knows what this diff is worth
    out = asyncio.run(worker.generate_sequences(batch_of([easy], config, worker.tokenizer, tmp_path)))
    assert list(out.non_tensor_batch["void"]) == [1.0]
    assert "a sample is void: SandboxError: the first" in caplog.text


@pytest.mark.slow
@FILTERS
@pytest.mark.parametrize(
    ("overrides", "loop", "words"),
    [
        (["actor_rollout_ref.rollout.multi_turn.max_user_turns=3"], {}, "max_steps is the limit"),
        ([], {"notices": ["gong"]}, "no notice is called 'gong'"),
        ([], {"max_steps": 0}, "max_steps must be a positive whole number"),
        ([], {"reward": "best"}, "no reward is called 'best'"),
        ([], {"allow_zero_for_void": "no"}, "allow_zero_for_void must be true or false; got 'no'"),
        ([], {"allow_zero_for_void": False}, "a caller other than verl's trainer cannot leave out a sample"),
        (
            ["trainer.use_v1=false"],
            {"allow_zero_for_void": False},
            r"trainer.use_v1=False .* allow_zero_for_void: true",
        ),
    ],
)
def test_what_cannot_be_used_is_said(
    easy: Task, compose: Callable[..., Any], tmp_path: Path, overrides: list[str], loop: dict[str, Any], words: str
) -> None:
    config = compose(*overrides, **loop)
    worker = worker_of(config, [("", say("Done."))])
    with pytest.raises(Exception, match=words):
        asyncio.run(worker.generate_sequences(batch_of([easy], config, worker.tokenizer, tmp_path)))
    assert not worker.llm_client.turns  # before anything was sampled
    assert not (tmp_path / "log").exists()


@pytest.mark.slow
@FILTERS
def test_a_prompt_that_does_not_fit_is_void_and_not_cut(
    easy: Task, compose: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = compose("data.max_prompt_length=200", "data.filter_overlong_prompts=false")
    worker = worker_of(config, [])
    out = asyncio.run(worker.generate_sequences(batch_of([easy], config, worker.tokenizer, tmp_path)))
    assert list(out.non_tensor_batch["void"]) == [1.0]
    assert "data.max_prompt_length is 200" in caplog.text
    assert NOT_RUN not in caplog.text
