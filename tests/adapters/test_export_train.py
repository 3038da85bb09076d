"""Exports train: one step of TRL's trainers on real episodes, the loss on what was said; Harbor tasks are read."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from examples.tiny import make_model, make_tokenizer, trl_template
from nano_codex_env import Oracle, load_tasks, rollouts
from nano_codex_env.cli import main
from nano_codex_env.policies.scripted import Random

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of torch, transformers and trl, which are not ours
]
TASKS = ("pocket-distance", "pocket-tint")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the exports of a run by the oracle and of one without aim, scored by the hidden tests."""
    pytest.importorskip("trl", reason="trl is not installed (pip install '.[trl]')")
    folder = tmp_path_factory.mktemp("export")
    tasks = [task for task in load_tasks("bundled") if task.instance_id in TASKS]
    rollouts(tasks, Oracle(tasks), out=folder / "oracle", progress=False)
    rollouts(tasks, Random(turns=3), out=folder / "random", progress=False)
    runs = [str(folder / "oracle"), str(folder / "random")]
    for kind in ("sft", "dpo"):
        assert main(["export", kind, *runs, "--out", str(folder / f"{kind}.jsonl")]) == 0
    return folder


def load(path: Path) -> Any:
    from datasets import load_dataset

    return load_dataset("json", data_files=str(path), split="train", cache_dir=str(path.parent / "datasets"))


def tokenizer_of(path: Path) -> Any:
    return make_tokenizer(path.read_text().splitlines(), trl_template("qwen3"))


def settings(folder: Path) -> dict[str, Any]:
    """What both trainers are told: one step on the processor."""
    quiet = {"report_to": [], "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1}
    step = {"max_steps": 1, "per_device_train_batch_size": 2, "learning_rate": 1e-3, "max_length": None}
    return {"output_dir": str(folder / "out"), "use_cpu": True, "bf16": False, **quiet, **step}


def moved(trainer: Any) -> bool:
    """Train, and whether the weights are others then."""
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.train()
    assert all(row["grad_norm"] > 0 for row in trainer.state.log_history if "grad_norm" in row)
    return any(bool((old != new).any()) for old, new in zip(before, trainer.model.parameters(), strict=True))


def said(message: dict[str, Any]) -> str:
    """An assistant message as Qwen3 writes it."""
    calls = [call["function"] for call in message.get("tool_calls", ())]
    written = [
        f'<tool_call>\n{{"name": "{call["name"]}", "arguments": {json.dumps(call["arguments"])}}}\n</tool_call>'
        for call in calls
    ]
    parts = [message["content"]] if message["content"] else []
    return "<think>\n\n</think>\n\n" + "\n".join([*parts, *written]) + "<|im_end|>"


def test_an_export_trains_and_the_loss_is_on_what_the_assistant_said_and_nothing_else(work: Path) -> None:
    from trl import SFTConfig, SFTTrainer

    rows = load(work / "sft.jsonl")
    assert rows["instance_id"] == list(TASKS)
    tokenizer = tokenizer_of(work / "sft.jsonl")
    args = SFTConfig(assistant_only_loss=True, **settings(work))
    trainer = SFTTrainer(make_model(tokenizer), args=args, train_dataset=rows, processing_class=tokenizer)
    for row, made in zip(rows, trainer.train_dataset, strict=True):
        pairs = groupby(zip(made["input_ids"], made["labels"], strict=True), key=lambda pair: pair[1] != -100)
        spans = [(trained, tokenizer.decode([token for token, _ in span])) for trained, span in pairs]
        answers = [message for message in row["messages"] if message["role"] == "assistant"]
        assert [text.removesuffix("\n") for trained, text in spans if trained] == [said(answer) for answer in answers]
        rest = "".join(text for trained, text in spans if not trained)
        assert all(m["content"].strip() in rest for m in row["messages"] if m["role"] != "assistant")
        assert all(json.dumps(tool) in rest for tool in json.loads(row["tools"]))  # in their order
        calls = [call for answer in answers for call in answer.get("tool_calls", ())]
        assert {call["function"]["name"] for call in calls} == {"shell", "apply_patch"}
    assert moved(trainer)


def test_pairs_train(work: Path) -> None:
    from trl import DPOConfig, DPOTrainer

    rows = load(work / "dpo.jsonl")
    assert {(row["chosen_reward"], row["rejected_reward"]) for row in rows} == {(1.0, 0.0)}
    tokenizer = tokenizer_of(work / "dpo.jsonl")
    tokenizer.chat_template = trl_template("qwen3_training")  # the prompt is a beginning of both
    model, before = make_model(tokenizer), make_model(tokenizer)
    args = DPOConfig(**settings(work))
    trainer = DPOTrainer(model, before, args=args, train_dataset=rows, processing_class=tokenizer)
    for row, made in zip(rows, trainer.train_dataset, strict=True):
        assert tokenizer.decode(made["prompt_ids"]).endswith("<|im_start|>assistant\n")
        for side in ("chosen", "rejected"):
            text = tokenizer.decode(made[f"{side}_ids"])
            assert text.startswith(said(row[side][0]))
            assert all(said(message) in text for message in row[side] if message["role"] == "assistant")
    assert moved(trainer)


@pytest.fixture(scope="module")
def harbor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of all bundled tasks."""
    folder = tmp_path_factory.mktemp("harbor") / "tasks"
    assert main(["export", "harbor", "--out", str(folder)]) == 0
    return folder


def test_trls_harbor_reader_reads_the_tasks(harbor: Path) -> None:
    pytest.importorskip("trl", reason="trl is not installed (pip install '.[trl]')")
    from trl.experimental.harbor import HarborSpec

    tasks = load_tasks("bundled")
    for place in (harbor, harbor.parent):  # a folder of tasks, or one that holds it as `tasks`
        rows = HarborSpec(str(place)).train_dataset
        assert [Path(row["task_dir"]).name for row in rows] == [task.instance_id for task in tasks]
        assert rows["difficulty_level"] == [task.metadata["difficulty"] for task in tasks]


def test_harbor_itself_reads_the_tasks(harbor: Path) -> None:
    model = pytest.importorskip("harbor.models.task.task", reason="harbor is not installed (it needs Python 3.12)")
    for task in load_tasks("bundled"):
        assert model.Task.is_valid_dir(harbor / task.instance_id)
        read = model.Task(harbor / task.instance_id)
        assert read.name == task.instance_id
        assert task.problem_statement.strip().splitlines()[-1] in read.instruction
