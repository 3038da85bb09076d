"""GRPO with TRL on one easy task: a model that solves it one time in three learns to solve it nearly always.

It needs trl and matplotlib (pip install '.[trl]' matplotlib), a CPU and some minutes, and draws the reward in
`curve.png`. The model is the tiny one of `tiny.py`; for a model of your own, leave out `pretrain` and choose the usual
`optim`, `learning_rate` and `max_grad_norm`. The environment variables STEPS and SEED set the length and the seed.
"""

from __future__ import annotations

import json
import os
import tempfile
from statistics import fmean
from typing import Any

from tiny import easy_task, fix_of, make_model, make_tokenizer, played, teach, trl_template

from nano_codex_env.adapters.trl import TrlSpec
from nano_codex_env.messages import Message

STEPS = int(os.environ.get("STEPS", "20"))
SEED = int(os.environ.get("SEED", "0"))
GROUP = 8


def as_trl_message(message: Message) -> Message:
    """A message as TRL writes it: arguments are an object, and calls have no ids."""
    copy = json.loads(json.dumps(message))
    for call in copy.get("tool_calls", []):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        del call["id"]
    return {"role": "tool", "content": copy["content"]} if copy["role"] == "tool" else copy


def pretrain(spec: TrlSpec) -> tuple[Any, Any]:
    """Make a model that calls a tool and then submits: the correct patch, or one of two useless commands."""
    [task], tools = spec.tasks, spec.environment_factory().tool_schemas
    calls = [("apply_patch", fix_of(task)), ("shell", {"cmd": "ls"}), ("shell", {"cmd": "cat README.md"})]
    transcripts = [[as_trl_message(message) for message in played(task, *call)[0]] for call in calls]
    texts = [json.dumps([tools, transcripts]), *(str(m["content"]) for messages in transcripts for m in messages)]
    tokenizer = make_tokenizer(texts, trl_template("qwen3"))
    model = make_model(tokenizer, seed=SEED)
    rows = [(messages, tools) for messages in transcripts]
    loss = teach(model, tokenizer, rows, steps=100, chat_template=trl_template("qwen3_training"))
    print("pretrained to call tools, loss", round(loss, 3), flush=True)
    return model, tokenizer


def draw(rewards: list[float], path: str) -> None:
    """Plot the mean reward of each group and the moving average over five groups."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    smooth = [fmean(rewards[max(0, n - 4) : n + 1]) for n in range(len(rewards))]
    figure, axes = pyplot.subplots(figsize=(7, 4))
    steps = range(1, len(rewards) + 1)
    axes.plot(steps, rewards, "o", alpha=0.4, label=f"mean of a group of {GROUP}")
    axes.plot(steps, smooth, label="mean of the last five groups")
    axes.set(xlabel="GRPO step", ylabel="reward", ylim=(-0.05, 1.05), title="pocket-distance, tests as the reward")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def main() -> list[float]:
    """Train, draw the curve and return the mean reward of each step."""
    import torch
    from trl import GRPOConfig, GRPOTrainer

    torch.set_num_threads(1)
    spec = TrlSpec(easy_task(), time_limit=None)
    model, tokenizer = pretrain(spec)
    args = GRPOConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=GROUP,
        num_generations=GROUP,
        max_completion_length=700,
        max_steps=STEPS,
        optim="sgd",  # Adam would amplify the noise of the tokens that are certain
        learning_rate=0.2,
        lr_scheduler_type="constant",
        max_grad_norm=0.2,  # one failure in an otherwise successful group has a large advantage
        seed=SEED,
        report_to=[],
        use_cpu=True,
        bf16=False,
        logging_steps=1,
        save_strategy="no",
        disable_tqdm=True,
        chat_template_kwargs={"enable_thinking": False},
    )
    trainer = GRPOTrainer(
        model=model,
        args=args,
        processing_class=tokenizer,
        train_dataset=spec.train_dataset,
        environment_factory=spec.environment_factory,
        reward_funcs=spec.reward_funcs,
    )
    trainer.train()
    rewards = [row["reward"] for row in trainer.state.log_history if "reward" in row]
    draw(rewards, "curve.png")
    print(f"first three groups {fmean(rewards[:3]):.2f}, last five {fmean(rewards[-5:]):.2f}; all:", rewards)
    return rewards


if __name__ == "__main__":
    main()
